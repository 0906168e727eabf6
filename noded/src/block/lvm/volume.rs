//! One logical volume: a disk of template `plain`, or a part of a mirror.
//!
//! ```text
//!   (nothing) ──create──► inactive ◄──shutdown── active: /dev/VG/NAME
//!                            │      ──assemble──►   │
//!                            └────────remove────────┘ refused while something has it open
//! ```
//!
//! A command that was killed halfway can leave the volume suspended: reads and writes wait. Then
//! the next call that needs it wakes it up.

use super::super::device::{BlockDevice, Place, Work};
use super::super::{users, wipe};
use super::inventory::{Inventory, Lvm, lvm};
use super::marks::{self, Owner};
use super::report::Logical;
use crate::blocking::blocking;
use crate::hypervisor::{ImageFormat, Source};
use roost_proto::error::{Error, Result};
use roost_proto::ids::DiskId;
use roost_proto::node::{BlockStatus, DiskRole};
use roost_proto::objects::{Disk, LogicalId, ParamMap};
use serde_json::Value;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;

pub(super) const MIB: u64 = 1 << 20;
/// LVM's own words: it makes volumes with these names itself.
const RESERVED: [&str; 4] = [".", "..", "snapshot", "pvmove"];
const RESERVED_PARTS: [&str; 8] =
    ["_mlog", "_mimage", "_rimage", "_rmeta", "_tdata", "_tmeta", "_cdata", "_cmeta"];

/// A disk that is a logical volume.
#[derive(Clone, Debug)]
pub struct Volume {
    pub(super) disk: DiskId,
    /// MiB.
    pub(super) size: u64,
    pub(super) group: String,
    pub(super) name: String,
    /// Wanted, where there are physical volumes enough.
    pub(super) stripes: u64,
    /// It is made in this thin pool of its group.
    pub(super) pool: Option<String>,
    /// It gets whole physical volumes: so many, if it was said.
    pub(super) exclusive: bool,
    pub(super) spindles: Option<u64>,
    pub(super) lvm: &'static Lvm,
}

impl Volume {
    /// The volume of a disk. Errors: it does not say which, or LVM has no such names.
    pub fn of(disk: &Disk) -> Result<Volume> {
        let LogicalId::Pair(group, name) = &disk.logical_id else {
            return Err(Error::wrong_input(format!(
                "Disk {} of template {} does not say which volume it is",
                disk.uuid, disk.dev_type
            )));
        };
        let pool = text(&disk.params, "thin-pool");
        for word in [Some(group.as_str()), Some(name.as_str()), pool].into_iter().flatten() {
            check_name(word)?;
        }
        Ok(Volume {
            disk: disk.uuid,
            size: disk.size,
            group: group.clone(),
            name: name.clone(),
            stripes: number(&disk.params, "stripes").unwrap_or(1).max(1),
            pool: pool.map(str::to_owned),
            exclusive: disk.params.get("exclusive_storage") == Some(&Value::Bool(true)),
            spindles: disk.spindles.map(u64::from),
            lvm: lvm(),
        })
    }

    /// `xenvg/name`, as LVM and people write it.
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.group, self.name)
    }

    /// The size in LVM's words.
    pub(super) fn size_arg(&self) -> String {
        format!("{}m", self.size)
    }

    pub(super) fn error(&self, what: &str, why: impl std::fmt::Display) -> Error {
        Error::exec(format!("Cannot {what} volume '{}': {why}", self.full_name()))
    }

    /// It should be there and is not.
    pub(super) fn missing(&self) -> Error {
        Error::environment(format!(
            "There is no volume '{}' on this node; bring it back, or make new disks with \
             'gnt-instance recreate-disks'",
            self.full_name()
        ))
    }

    /// The volume of that name in `seen`. The error: that it is not there is not certain.
    pub(super) fn look<'a>(&self, seen: &'a Inventory) -> Result<Option<&'a Logical>> {
        let found = seen.volume(&self.group, &self.name);
        if found.is_none() {
            seen.sure(&format!("a volume '{}'", self.full_name()))?;
        }
        Ok(found)
    }

    /// The volume of that name as it is now, with everything else.
    pub(super) async fn find(&self) -> Result<(Arc<Inventory>, Option<Logical>)> {
        let seen = self.lvm.now().await?;
        let found = self.look(&seen)?.cloned();
        Ok((seen, found))
    }

    /// The volume as it is now; it must be there and not another disk's.
    pub(super) async fn get(&self, what: &str) -> Result<(Arc<Inventory>, Logical)> {
        let (seen, found) = self.find().await?;
        let found = found.ok_or_else(|| self.missing())?;
        if let Owner::Other(other) = marks::owner(&found, self.disk) {
            let why = format!("it belongs to disk {other}, not to disk {}", self.disk);
            return Err(self.error(what, why));
        }
        Ok((seen, found))
    }

    /// The tags it should have: the instance's only where it is known.
    pub(super) fn tags(&self, work: &Work) -> Vec<String> {
        let instance = work.instance.as_ref().map(|instance| marks::instance(&instance.name));
        [marks::disk(self.disk)].into_iter().chain(instance).collect()
    }

    /// Sees to it that the volume says whose it is. Where the instance is not known, what it says
    /// of that stays.
    pub(super) async fn mark(&self, found: &Logical, work: &Work) -> Result<()> {
        let mut wanted = self.tags(work);
        wanted.extend(marks::adopted(found).map(marks::had_name));
        let mut args = marks::changes(found, &wanted);
        if work.instance.is_none() {
            args.retain(|arg| !arg.starts_with("--deltag") && !arg.starts_with("originstname+"));
        }
        if args.is_empty() {
            return Ok(());
        }
        args.push(found.full_name());
        self.lvm.change("lvchange", args).await.map(drop).map_err(|e| self.error("mark", e))
    }

    /// Reads and writes that wait go on.
    pub(super) async fn wake(&self, found: &Logical) -> Result<()> {
        if !found.suspended {
            return Ok(());
        }
        tracing::warn!(volume = self.full_name(), "it was left suspended and is resumed");
        let args = ["--refresh".to_owned(), found.full_name()];
        self.lvm.change("lvchange", args).await.map(drop).map_err(|e| self.error("resume", e))
    }

    /// Where its device is, if it has one.
    pub(super) fn node(&self, kernel: Option<(u32, u32)>) -> Option<PathBuf> {
        let mapped = |name: &str| name.replace('-', "--");
        let all = [
            format!("/dev/{}/{}", self.group, self.name),
            format!("/dev/mapper/{}-{}", mapped(&self.group), mapped(&self.name)),
        ];
        all.into_iter().map(PathBuf::from).find(|path| {
            let Ok(meta) = path.metadata() else { return false };
            // A node that nobody removed may stand for another device by now.
            let right = kernel.is_none_or(|(major, minor)| {
                meta.rdev() == nix::sys::stat::makedev(major.into(), minor.into())
            });
            meta.file_type().is_block_device() && right
        })
    }

    async fn activate(&self, work: &Work) -> Result<()> {
        let (_, found) = self.get("activate").await?;
        if found.is_partial() {
            return Err(self.error(
                "activate",
                format!(
                    "a part of it is on a physical volume that is missing. Bring that back; \
                     otherwise give it up with 'gnt-node repair-storage NODE lvm-vg {}' and make \
                     the disk again ('gnt-instance replace-disks' or 'recreate-disks')",
                    self.group
                ),
            ));
        }
        self.mark(&found, work).await?;
        self.wake(&found).await?;
        if !found.active {
            // -K: snapshots in thin pools are made so that they are else skipped.
            let args = ["-ay", "-K", &self.full_name()].map(str::to_owned);
            self.lvm.change("lvchange", args).await.map_err(|e| self.error("activate", e))?;
        }
        let (seen, found) = self.get("activate").await?;
        if self.node(found.kernel).is_some() {
            return Ok(());
        }
        // Without udev nobody else makes it. What this command says of others does not matter.
        let _ = self.lvm.change("vgmknodes", [self.group.as_str()]).await;
        if self.node(found.kernel).is_some() {
            return Ok(());
        }
        let said = seen.warnings.join("; ");
        Err(self.error(
            "activate",
            format!(
                "its device '/dev/{}' was not made; see whether udev is at work and what 'dmsetup \
                 info' tells. {said}",
                self.full_name()
            ),
        ))
    }

    async fn deactivate(&self, work: &Work) -> Result<()> {
        let (_, Some(found)) = self.find().await? else { return Ok(()) };
        match marks::owner(&found, self.disk) {
            Owner::Ours => {}
            // The configuration says it is ours; but an undo may speak of one never made.
            Owner::Unmarked if !work.undo => {}
            Owner::Unmarked | Owner::Other(_) => return Ok(()),
        }
        if !found.active {
            return Ok(());
        }
        self.wake(&found).await?;
        let args = ["-an".to_owned(), found.full_name()];
        let Err(error) = self.lvm.change("lvchange", args).await else { return Ok(()) };
        if let (_, Some(still)) = self.find().await?
            && still.active
        {
            let users = blocking(move || Ok(users::told(still.kernel))).await?;
            return Err(self.error("deactivate", format!("{error}{users}")));
        }
        Ok(())
    }

    async fn erase(&self, work: &Work) -> Result<()> {
        let (seen, found) = self.get("wipe").await?;
        self.mark(&found, work).await?;
        let path = self.path()?;
        let pool = seen.volume(&self.group, &found.pool);
        // What a pool takes back reads as zeros from then on, if it gives whole zeroed pieces.
        if let Some(pool) = pool
            && pool.discards
            && pool.zeroes
            && pool.chunk > 0
            && found.size % pool.chunk == 0
        {
            return wipe::discard(&path).await.map_err(|e| self.error("wipe", e));
        }
        let Err(error) = wipe::zeros(&path, 0, found.size, work).await else { return Ok(()) };
        let users = blocking(move || Ok(users::told(found.kernel))).await?;
        Err(self.error("wipe", format!("{error}{users}")))
    }

    /// What was never written reads as zeros: it is in a thin pool that gives zeroed pieces.
    pub async fn is_zero_until_written(&self) -> Result<bool> {
        let (seen, found) = self.get("look at").await?;
        Ok(seen.volume(&self.group, &found.pool).is_some_and(|pool| pool.zeroes))
    }

    /// The device of the active volume.
    fn path(&self) -> Result<PathBuf> {
        self.node(None).ok_or_else(|| {
            Error::environment(format!(
                "The volume '{}' is not active on this node; activate it with 'gnt-instance \
                 activate-disks'",
                self.full_name()
            ))
        })
    }
}

fn text<'a>(params: &'a ParamMap, key: &str) -> Option<&'a str> {
    params.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn number(params: &ParamMap, key: &str) -> Option<u64> {
    params.get(key).and_then(Value::as_u64)
}

/// LVM's rule for names. They stand in command lines, too.
pub(super) fn check_name(name: &str) -> Result<()> {
    let good = !name.is_empty()
        && !name.starts_with('-')
        && name.len() < 128
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "+_.-".contains(c))
        && !RESERVED.contains(&name)
        && !RESERVED_PARTS.iter().any(|part| name.contains(part));
    if good {
        return Ok(());
    }
    Err(Error::wrong_input(format!(
        "'{name}' cannot be the name of a volume or volume group: letters, digits and '+_.-' make \
         one, not beginning with '-', and some words are LVM's own"
    )))
}

impl BlockDevice for Volume {
    async fn create(&self, work: &Work) -> Result<()> {
        self.make(work).await
    }

    async fn remove(&self, work: &Work) -> Result<()> {
        self.delete(work).await
    }

    async fn wipe(&self, work: &Work) -> Result<()> {
        self.activate(work).await?;
        self.erase(work).await
    }

    async fn assemble(&self, _role: DiskRole, work: &Work) -> Result<()> {
        self.activate(work).await
    }

    async fn shutdown(&self, work: &Work) -> Result<()> {
        self.deactivate(work).await
    }

    async fn open(&self, _exclusive: bool, _work: &Work) -> Result<()> {
        Ok(())
    }

    async fn close(&self, _work: &Work) -> Result<()> {
        Ok(())
    }

    async fn grow(&self, size: u64, work: &Work) -> Result<()> {
        self.extend(size, work).await
    }

    async fn rename(&self, to: &Disk, work: &Work) -> Result<()> {
        self.become_other(&Volume { lvm: self.lvm, ..Volume::of(to)? }, work).await
    }

    async fn snapshot(&self, to: &Disk, work: &Work) -> Result<()> {
        self.freeze(&Volume { lvm: self.lvm, ..Volume::of(to)? }, work).await
    }

    async fn status(&self, _work: &Work) -> Result<BlockStatus> {
        self.tell().await
    }

    async fn place(&self, _work: &Work) -> Result<Place> {
        Ok(Place { source: Source::Block(self.path()?), format: ImageFormat::Raw, shared: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lvms() {
        for good in ["xenvg", "4bd4f5a6.disk0_data", "a+b-c", "x_replaced-123"] {
            check_name(good).expect(good);
        }
        for bad in ["", "-x", "a b", "a/b", "..", "snapshot", "x_tmeta", "a;b", "$(x)"] {
            check_name(bad).expect_err(bad);
        }
    }

    #[test]
    fn a_disk_says_which_volume() {
        let disk = serde_json::json!({
            "uuid": "22222222-0000-4000-8000-000000000001", "dev_type": "plain", "size": 100,
            "logical_id": ["xenvg", "u.disk0"], "spindles": 2,
            "params": {"stripes": 2, "thin-pool": "", "exclusive_storage": true},
        });
        let mut disk: Disk = serde_json::from_value(disk).expect("a disk");
        let volume = Volume::of(&disk).expect("a volume");
        assert_eq!(volume.full_name(), "xenvg/u.disk0");
        assert_eq!((volume.stripes, volume.spindles, volume.exclusive), (2, Some(2), true));
        assert_eq!(volume.pool, None);
        disk.params.insert("thin-pool".into(), "tp".into());
        assert_eq!(Volume::of(&disk).expect("a volume").pool.as_deref(), Some("tp"));
        disk.logical_id = LogicalId::default();
        assert!(Volume::of(&disk).expect_err("none").message.contains("does not say"));
    }
}
