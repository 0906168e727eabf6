//! Storage units: volume groups and physical volumes, and all volumes. Sizes in MiB.

use super::inventory::{Lvm, lvm};
use super::marks;
use super::report::{Group, Logical, Physical, Sort};
use super::volume::{MIB, Volume, check_name};
use roost_proto::error::{Error, Result};
use roost_proto::node::{StorageUnit, VolumeReport};
use roost_proto::objects::{Disk, ParamMap};

/// Volume groups of these names; all of them if there are none.
pub async fn groups(names: &[String]) -> Result<Vec<StorageUnit>> {
    let seen = lvm().now().await?;
    for name in names {
        seen.group(name)?;
    }
    let wanted = seen.groups.values().filter(|g| names.is_empty() || names.contains(&g.name));
    let units = wanted.map(|group| StorageUnit {
        name: group.name.clone(),
        size: group.size / MIB,
        used: group.size.saturating_sub(group.free) / MIB,
        free: group.usable() / MIB,
        allocatable: !group.exported && group.physical.iter().any(Physical::is_usable),
    });
    Ok(units.collect())
}

/// Physical volumes of these names; all of them if there are none.
pub async fn physical_volumes(names: &[String]) -> Result<Vec<StorageUnit>> {
    let all = known_physical(lvm()).await?;
    for name in names {
        find(&all, name)?;
    }
    let wanted = all.iter().filter(|pv| names.is_empty() || names.contains(&pv.name));
    let units = wanted.map(|pv| StorageUnit {
        name: pv.name.clone(),
        size: pv.size / MIB,
        used: pv.size.saturating_sub(pv.free) / MIB,
        free: pv.free / MIB,
        allocatable: pv.is_usable(),
    });
    Ok(units.collect())
}

/// Physical volumes that are in a volume group and there, nothing where there is no LVM: group, name,
/// MiB.
pub async fn grouped() -> Vec<(String, String, u64)> {
    if !lvm().is_there() {
        return vec![];
    }
    match lvm().now().await {
        Ok(seen) => seen.groups.values().flat_map(parts).collect(),
        // Told of by `problems`.
        Err(_) => vec![],
    }
}

fn parts(group: &Group) -> impl Iterator<Item = (String, String, u64)> + '_ {
    let there = group.physical.iter().filter(|pv| !pv.missing);
    there.map(|pv| (group.name.clone(), pv.name.clone(), pv.size / MIB))
}

async fn known_physical(lvm: &Lvm) -> Result<Vec<Physical>> {
    let seen = lvm.now().await?;
    let grouped = seen.groups.values().flat_map(|group| &group.physical);
    Ok(grouped.chain(&seen.loose).cloned().collect())
}

fn find<'a>(all: &'a [Physical], name: &str) -> Result<&'a Physical> {
    all.iter().find(|pv| pv.name == name && !pv.missing).ok_or_else(|| {
        let known: Vec<_> = all.iter().map(|pv| pv.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Error::environment(format!(
            "There is no physical volume '{name}' on this node; there are: {known}"
        ))
    })
}

/// All volumes; thin pools only if they are asked for.
pub async fn volumes(pools: bool) -> Result<Vec<VolumeReport>> {
    let seen = lvm().now().await?;
    let wanted = seen.volumes.iter().filter(|lv| pools || lv.sort != Sort::ThinPool);
    Ok(wanted.map(report).collect())
}

fn report(volume: &Logical) -> VolumeReport {
    VolumeReport {
        device: format!("/dev/{}", volume.full_name()),
        vg: volume.group.clone(),
        name: volume.name.clone(),
        size: volume.size / MIB,
        open: volume.open,
        inactive: !volume.active,
        tags: volume.tags.clone(),
        devices: volume.devices.join(","),
    }
}

/// Total and free room where a disk would be made: its volume group, or its thin pool.
pub async fn space(disk: &Disk) -> Result<Option<(u64, u64)>> {
    let volume = Volume::of(disk)?;
    let seen = lvm().now().await?;
    let group = seen.group(&volume.group)?;
    let Some(pool) = &volume.pool else {
        return Ok(Some((group.size / MIB, group.usable() / MIB)));
    };
    let pool = seen.volume(&volume.group, pool).filter(|lv| lv.sort == Sort::ThinPool);
    Ok(pool.map(|pool| {
        let free = pool.size as f64 * (100.0 - pool.data_percent.unwrap_or_default()) / 100.0;
        (pool.size / MIB, free as u64 / MIB)
    }))
}

/// Changes a physical volume: `allocatable`.
pub async fn modify(name: &str, changes: &ParamMap) -> Result<()> {
    let mut wanted = None;
    for (key, value) in changes {
        match (key.as_str(), value.as_bool()) {
            ("allocatable", Some(value)) => wanted = Some(value),
            _ => {
                return Err(Error::wrong_input(format!(
                    "A physical volume's '{key}' cannot be changed to {value}; only 'allocatable' \
                     can, to true or false"
                )));
            }
        }
    }
    let all = known_physical(lvm()).await?;
    let found = find(&all, name)?;
    let Some(wanted) = wanted.filter(|wanted| *wanted != found.allocatable) else { return Ok(()) };
    if found.group.is_empty() {
        return Err(Error::wrong_state(format!(
            "The physical volume '{name}' is in no volume group, so nothing is allocated on it"
        )));
    }
    let args = ["--allocatable", if wanted { "y" } else { "n" }, name];
    lvm()
        .change("pvchange", args)
        .await
        .map(drop)
        .map_err(|e| Error::exec(format!("Cannot change physical volume '{name}': {e}")))
}

/// Gives up what a volume group lost: the physical volumes that are missing, and the volumes that
/// had a part on them. Returns lines that say so. Errors: somebody else's volume would go, too.
pub async fn repair(name: &str) -> Result<Vec<String>> {
    check_name(name)?;
    let seen = lvm().now().await?;
    let group = seen.group(name)?;
    if group.missing == 0 {
        return Ok(vec![format!("Volume group '{name}' has all its physical volumes")]);
    }
    let lost: Vec<_> =
        seen.volumes.iter().filter(|lv| lv.group == name && lv.health == 'p').collect();
    let foreign: Vec<_> = lost
        .iter()
        .filter(|lv| !marks::is_known(lv) && !lv.redundant)
        .map(|lv| lv.full_name())
        .collect();
    if !foreign.is_empty() {
        return Err(Error::wrong_state(format!(
            "Volume group '{name}' was not repaired: volumes that are not this cluster's have a \
             part on the physical volume that is missing and would be removed: {}. Save what is \
             left of them and remove them, or do it yourself with 'vgreduce --removemissing --force \
             {name}'",
            foreign.join(", ")
        )));
    }
    let failed = |e: Error| Error::exec(format!("Cannot repair volume group '{name}': {e}"));
    let args: &[&str] = match lost.is_empty() {
        true => &["--removemissing", name],
        false => &["--removemissing", "--force", name],
    };
    lvm().change("vgreduce", args.iter().copied()).await.map_err(failed)?;
    let after = lvm().now().await?;
    if after.group(name)?.missing > 0 {
        return Err(failed(Error::exec("physical volumes are still missing")));
    }
    let mut said =
        vec![format!("Volume group '{name}' goes on without {} physical volume(s)", group.missing)];
    for volume in lost {
        let fate = match after.volume(&volume.group, &volume.name) {
            Some(_) => "goes on with what it has elsewhere",
            None => "had a part there and is gone",
        };
        said.push(format!("Volume '{}' {fate}", volume.full_name()));
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::super::report;
    use super::*;

    #[test]
    fn physical_volumes_that_are_there() {
        let pvs = include_bytes!("fixtures/pvs-lost-pv.json");
        let (groups, _) = report::physical(pvs).expect("readable");
        let found: Vec<_> = parts(&groups["xenvg"]).map(|(group, name, _)| (group, name)).collect();
        assert_eq!(found, [("xenvg".to_owned(), "/dev/ubdb".to_owned())]);
    }
}
