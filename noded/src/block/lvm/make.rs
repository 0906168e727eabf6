//! Makes and grows logical volumes, and takes snapshots.
//!
//! ```text
//!   thin        in a thin pool of its group: takes room when it is written
//!   exclusive   on whole physical volumes (spindles) that nobody else uses
//!   otherwise   wherever there is room, in stripes where there are physical volumes enough
//! ```

use super::super::device::Work;
use super::inventory::Inventory;
use super::marks::{self, Owner};
use super::report::{Group, Logical, Physical, Sort};
use super::volume::{MIB, Volume};
use roost_proto::error::{Error, Result};

/// A pool this full is worth a warning.
const NEARLY_FULL: f64 = 90.0;

impl Volume {
    /// Makes it. One with this disk's mark and its size is taken as made before.
    pub(super) async fn make(&self, work: &Work) -> Result<()> {
        let (seen, found) = self.find().await?;
        if let Some(found) = found {
            return self.made_before(&seen, &found);
        }
        let group = seen.group(&self.group)?;
        check_group(group)?;
        let mut args = vec!["--yes".to_owned(), "-Wn".to_owned()];
        args.extend(["--name".to_owned(), self.name.clone()]);
        args.extend(self.tags(work).into_iter().flat_map(|tag| ["--addtag".to_owned(), tag]));
        if let Some(name) = &self.pool {
            let pool = self.thin_pool(&seen, name)?;
            self.warn_of_pool(&seen, pool, self.size, work);
            args.extend(["--virtualsize".to_owned(), self.size_arg()]);
            args.extend(["--thinpool".to_owned(), name.clone(), self.group.clone()]);
            return self.run("lvcreate", args).await.map_err(|e| self.error("make", e));
        }
        args.extend(["--size".to_owned(), self.size_arg()]);
        let (stripes, spindles) = match self.exclusive {
            true => {
                let spindles = self.whole_spindles(group)?;
                (self.stripes.min(spindles.len() as u64), spindles)
            }
            false => {
                self.check_room(group, self.size)?;
                let with_room = group.physical.iter().filter(|pv| pv.is_usable() && pv.free > 0);
                (self.stripes.min(with_room.count() as u64), vec![])
            }
        };
        let places: Vec<_> = std::iter::once(self.group.clone()).chain(spindles).collect();
        self.striped("lvcreate", "make", args, stripes, &places, work).await
    }

    /// Runs the command with as many stripes as there can be: room may be spread badly.
    async fn striped(
        &self,
        verb: &str,
        what: &str,
        args: Vec<String>,
        stripes: u64,
        places: &[String],
        work: &Work,
    ) -> Result<()> {
        let mut outcome = Ok(());
        for n in (1..=stripes.max(1)).rev() {
            let mut args = args.clone();
            args.extend(["--stripes".to_owned(), n.to_string()]);
            args.extend_from_slice(places);
            outcome = self.run(verb, args).await;
            if outcome.is_ok() {
                if n < self.stripes {
                    work.reporter.message(format!(
                        "Volume {} has {n} stripe{} instead of {}: volume group {} has not room on \
                         more physical volumes",
                        self.full_name(),
                        if n == 1 { "" } else { "s" },
                        self.stripes,
                        self.group
                    ));
                }
                return Ok(());
            }
        }
        outcome.map_err(|e| self.error(what, e))
    }

    async fn run(&self, verb: &str, args: Vec<String>) -> Result<()> {
        self.lvm.change(verb, args).await.map(drop)
    }

    fn made_before(&self, seen: &Inventory, found: &Logical) -> Result<()> {
        match marks::owner(found, self.disk) {
            Owner::Ours => {}
            owner => {
                let whose = match owner {
                    Owner::Other(other) => format!(" but disk {other}'s"),
                    _ => String::new(),
                };
                return Err(Error::exists(format!(
                    "A volume '{0}' exists on this node and is not this disk's{whose}; give it \
                     another name with 'lvrename {0} NEWNAME', or remove it with 'lvremove {0}' if \
                     nobody needs it",
                    self.full_name()
                )));
            }
        }
        // Rounded up to extents, of each stripe.
        let extent = seen.groups.get(&self.group).map_or(1, |group| group.extent);
        let (wanted, most) = (self.size * MIB, found.stripes.max(self.stripes).max(1) * extent);
        if found.size >= wanted && found.size < wanted + most {
            return Ok(());
        }
        Err(Error::exists(format!(
            "The volume '{}' of this disk exists and has {} MiB, not {}",
            self.full_name(),
            found.size / MIB,
            self.size
        )))
    }

    fn check_room(&self, group: &Group, mib: u64) -> Result<()> {
        let free = group.usable() / MIB;
        if free >= mib {
            return Ok(());
        }
        Err(Error::resources(format!(
            "Volume group '{}' has {free} MiB free of {} MiB, and volume '{}' needs {mib} MiB; \
             remove or move disks, or add a physical volume with 'vgextend {0} DEVICE'",
            self.group,
            group.size / MIB,
            self.name
        )))
    }

    /// The thin pool it is to be made in.
    fn thin_pool<'a>(&self, seen: &'a Inventory, name: &str) -> Result<&'a Logical> {
        let is_pool = |lv: &&Logical| lv.group == self.group && lv.sort == Sort::ThinPool;
        if let Some(pool) = seen.volumes.iter().filter(is_pool).find(|lv| lv.name == name) {
            return Ok(pool);
        }
        let pools: Vec<_> =
            seen.volumes.iter().filter(is_pool).map(|lv| lv.name.as_str()).collect();
        let pools = if pools.is_empty() { "none".to_owned() } else { pools.join(", ") };
        Err(Error::environment(format!(
            "There is no thin pool '{name}' in volume group '{0}' on this node (there: {pools}); \
             make it with 'lvcreate --type thin-pool --size SIZE --name {name} {0}'",
            self.group
        )))
    }

    /// Promising more than a pool has is allowed, but not in silence.
    fn warn_of_pool(&self, seen: &Inventory, pool: &Logical, more: u64, work: &Work) {
        let promised = promised(seen, pool) / MIB + more;
        let (size, used) = (pool.size / MIB, pool.data_percent.unwrap_or_default());
        if promised > size {
            work.reporter.message(format!(
                "Thin pool {} has {size} MiB ({used:.1} % used), and {promised} MiB are promised \
                 to its volumes",
                pool.full_name()
            ));
        }
        if used >= NEARLY_FULL || pool.metadata_percent.is_some_and(|used| used >= NEARLY_FULL) {
            work.reporter.message(format!(
                "Thin pool {0} is nearly full; extend it with 'lvextend {0}', or its volumes will \
                 stand still",
                pool.full_name()
            ));
        }
    }

    /// Physical volumes with nothing on them, as many as it is to have.
    fn whole_spindles(&self, group: &Group) -> Result<Vec<String>> {
        let spindles = self.spindles.ok_or_else(|| {
            Error::wrong_input(format!(
                "Disk {} does not say how many spindles it has, and this node has exclusive \
                 storage; say it with 'spindles=', or try 'gnt-cluster repair-disk-sizes'",
                self.disk
            ))
        })?;
        let mut empty: Vec<&Physical> =
            group.physical.iter().filter(|pv| pv.is_usable() && pv.is_empty()).collect();
        let wanted = usize::try_from(spindles).unwrap_or(usize::MAX);
        if empty.len() < wanted {
            return Err(Error::resources(format!(
                "Not enough empty physical volumes in volume group '{}' for volume '{}': {spindles} \
                 needed, {} there; with exclusive storage each is one disk's alone",
                self.group,
                self.name,
                empty.len()
            )));
        }
        // The smallest first: large ones are left for what needs them.
        empty.sort_by_key(|pv| pv.free);
        let room = |chosen: &[&Physical]| chosen.iter().map(|pv| pv.free).sum::<u64>() / MIB;
        // The first window that is large enough.
        let chosen = empty.windows(wanted.max(1)).find(|chosen| room(chosen) >= self.size);
        chosen.map(|chosen| chosen.iter().map(|pv| pv.name.clone()).collect()).ok_or_else(|| {
            let most = empty.len().saturating_sub(wanted);
            Error::resources(format!(
                "{spindles} spindle(s) are not enough for volume '{}' of {} MiB: the {spindles} \
                 largest empty physical volumes of volume group '{}' have {} MiB; ask for more \
                 with 'spindles='",
                self.name,
                self.size,
                self.group,
                room(&empty[most..])
            ))
        })
    }

    /// Makes it `size` MiB large.
    pub(super) async fn extend(&self, size: u64, work: &Work) -> Result<()> {
        let (seen, found) = self.get("grow").await?;
        self.wake(&found).await?;
        if found.size >= size * MIB {
            return Ok(());
        }
        let snapshots = dependents(&seen, &found);
        if !snapshots.is_empty() && found.active {
            return Err(self.error(
                "grow",
                format!(
                    "it has snapshots ({}), and LVM grows such volumes only while they are not \
                     active; remove the snapshots or shut the instance down",
                    snapshots.join(", ")
                ),
            ));
        }
        let mut args = vec!["--yes".to_owned(), "--size".to_owned(), format!("{size}m")];
        if found.sort == Sort::Thin {
            if let Some(pool) = seen.volume(&found.group, &found.pool) {
                self.warn_of_pool(&seen, pool, size - found.size / MIB, work);
            }
            args.push(found.full_name());
            return self.run("lvextend", args).await.map_err(|e| self.error("grow", e));
        }
        let group = seen.group(&self.group)?;
        check_group(group)?;
        let more = size - found.size / MIB;
        let mut places = vec![found.full_name()];
        if self.exclusive {
            let own = self.own_spindles(group, &found);
            let free: u64 = own.iter().map(|pv| pv.free).sum::<u64>() / MIB;
            if free < more {
                return Err(Error::resources(format!(
                    "The spindles of volume '{}' have {free} MiB left, and it needs {more} MiB \
                     more; with exclusive storage a disk grows on its own physical volumes only. \
                     Make it anew with more spindles: 'gnt-instance recreate-disks'",
                    self.full_name()
                )));
            }
            places.extend(own.into_iter().map(|pv| pv.name.clone()));
        } else {
            self.check_room(group, more)?;
        }
        let stripes = found.stripes.max(1);
        self.striped("lvextend", "grow", args, stripes, &places, work).await
    }

    fn own_spindles<'a>(&self, group: &'a Group, found: &Logical) -> Vec<&'a Physical> {
        let mine = found.spindles();
        let usable = group.physical.iter().filter(|pv| pv.is_usable());
        usable.filter(|pv| mine.contains(&pv.name.as_str())).collect()
    }

    /// Makes `to` a copy of it as it is now.
    pub(super) async fn freeze(&self, to: &Volume, work: &Work) -> Result<()> {
        if to.group != self.group {
            return Err(self.error(
                "snapshot",
                format!("a snapshot is in the same volume group, not in '{}'", to.group),
            ));
        }
        let (seen, found) = self.get("snapshot").await?;
        self.wake(&found).await?;
        if let Some(there) = to.look(&seen)? {
            if marks::owner(there, to.disk) == Owner::Ours && there.origin == self.name {
                return Ok(());
            }
            return Err(Error::exists(format!(
                "Volume '{}' cannot be snapshot to '{}': that exists and is something else",
                self.full_name(),
                to.full_name()
            )));
        }
        let mut args = vec!["--yes".to_owned(), "--snapshot".to_owned()];
        args.extend(["--name".to_owned(), to.name.clone()]);
        args.extend(to.tags(work).into_iter().flat_map(|tag| ["--addtag".to_owned(), tag]));
        if found.sort == Sort::Thin {
            if let Some(pool) = seen.volume(&found.group, &found.pool) {
                self.warn_of_pool(&seen, pool, found.size / MIB, work);
            }
            // Active like any other volume.
            args.extend(["--setactivationskip", "n"].map(str::to_owned));
        } else {
            let group = seen.group(&self.group)?;
            check_group(group)?;
            // What the origin overwrites, all of it in the worst case, and what says where.
            let extents = found.size.div_ceil(group.extent);
            let extents = extents + extents.div_ceil(100) + 1;
            to.check_room(group, extents * group.extent / MIB)?;
            args.extend(["--extents".to_owned(), extents.to_string()]);
        }
        args.push(found.full_name());
        self.run("lvcreate", args).await.map_err(|e| self.error("snapshot", e))
    }
}

/// What a group must be for anything to be made in it.
fn check_group(group: &Group) -> Result<()> {
    if group.exported {
        return Err(Error::wrong_state(format!(
            "Volume group '{0}' is exported to another machine; take it back with 'vgimport {0}'",
            group.name
        )));
    }
    if group.missing > 0 {
        return Err(Error::wrong_state(format!(
            "Volume group '{0}' lacks {1} of its physical volumes and cannot be changed; bring them \
             back, or give them up with 'gnt-node repair-storage NODE lvm-vg {0}'",
            group.name, group.missing
        )));
    }
    Ok(())
}

/// Snapshots that lose their data with the volume, by name. Those in thin pools do not.
pub(super) fn dependents(seen: &Inventory, of: &Logical) -> Vec<String> {
    let on_it =
        |lv: &&Logical| lv.sort == Sort::Snapshot && lv.group == of.group && lv.origin == of.name;
    seen.volumes.iter().filter(on_it).map(Logical::full_name).collect()
}

/// Bytes that the volumes of a pool may want.
pub(super) fn promised(seen: &Inventory, pool: &Logical) -> u64 {
    let inside = |lv: &&Logical| lv.group == pool.group && lv.pool == pool.name;
    seen.volumes.iter().filter(inside).map(|lv| lv.size).sum()
}

#[cfg(test)]
#[path = "make_tests.rs"]
mod tests;
