//! Existing volumes that become disks.
//!
//! ```text
//!   check: there, not in use, nobody's ─ before: rename (plain) │ pivot │
//!                                         undone by renaming back
//! ```
//!
//! A volume gets the name and the marks of a disk of ours; a block device stays as it is.

use super::active::{self, Assembling};
use super::make::NewDisk;
use super::minors;
use crate::config::Config;
use crate::jobs::plan::{Step, Task};
use crate::ops::Context;
use crate::ops::guest::filled_disks;
use regex::Regex;
use roost_proto::choices::DiskTemplate;
use roost_proto::error::{Error, Result};
use roost_proto::ids::{DiskId, NodeId};
use roost_proto::node::{Action, Answer, BlockState, InstanceRef, Question, VolumeReport};
use roost_proto::objects::{Disk, LogicalId};
use roost_proto::opcodes::DiskSpec;
use std::collections::BTreeSet;

/// Block devices are known by names that stay.
const DEVICE_DIR: &str = "/dev/disk/";

/// What the primary must be asked before disks can be adopted.
pub fn questions(
    template: DiskTemplate,
    specs: &[DiskSpec],
    node: NodeId,
) -> Vec<(NodeId, Question)> {
    let adopted: Vec<&str> = specs.iter().filter_map(|spec| spec.adopt.as_deref()).collect();
    if adopted.is_empty() {
        return vec![];
    }
    match template {
        DiskTemplate::Plain => vec![(node, Question::Volumes)],
        DiskTemplate::BlockDev => {
            let disks = adopted.iter().map(|path| device(path)).collect();
            vec![(node, Question::Blocks { disks })]
        }
        _ => vec![],
    }
}

/// All disks are adopted or none is, each from another volume.
pub fn check_all(specs: &[DiskSpec]) -> Result<()> {
    let adopted = specs.iter().filter(|spec| spec.adopt.is_some()).count();
    if adopted != 0 && adopted != specs.len() {
        return Err(Error::wrong_input(
            "Either all disks are adopted or none is: give 'adopt' for all, or for no disk",
        ));
    }
    let mut seen = BTreeSet::new();
    let mut names = specs.iter().filter_map(|s| s.adopt.as_ref().map(|name| (&s.vg, name)));
    match names.find(|name| !seen.insert(*name)) {
        Some((_, twice)) => {
            Err(Error::wrong_input(format!("Volume '{twice}' is given twice for adoption")))
        }
        None => Ok(()),
    }
}

/// A block device, for asking after it.
fn device(path: &str) -> Disk {
    Disk {
        uuid: DiskId(uuid::Uuid::nil()),
        dev_type: DiskTemplate::BlockDev,
        logical_id: LogicalId::Pair("manual".into(), path.into()),
        children: vec![],
        nodes: vec![],
        iv_name: String::new(),
        size: 0,
        mode: Default::default(),
        name: None,
        spindles: None,
        params: Default::default(),
        addresses: Default::default(),
        forthcoming: None,
        ctime: 0.0,
        mtime: 0.0,
        serial_no: 1,
        extra: Default::default(),
    }
}

/// MiB of what is to be adopted, which must be free to be taken.
pub(super) fn size(cx: &Context<'_, '_>, new: &NewDisk<'_>) -> Result<u64> {
    let adopt = new.spec.adopt.as_deref().unwrap_or_default();
    match new.template {
        DiskTemplate::BlockDev => device_size(cx, new.primary, adopt),
        _ => volume_size(cx, new, adopt),
    }
}

fn device_size(cx: &Context<'_, '_>, node: NodeId, path: &str) -> Result<u64> {
    if !path.starts_with(DEVICE_DIR) || path.split('/').any(|part| part == "..") {
        return Err(Error::wrong_input(format!(
            "Device node(s) {path} lie outside {DEVICE_DIR} and cannot be adopted"
        )));
    }
    let same = |disk: &Disk| disk.dev_type == DiskTemplate::BlockDev && disk.path() == Some(path);
    let stored = cx.config().disks.values().any(|disk| same(disk));
    if stored || minors::mentioned(cx).any(same) {
        return Err(Error::prereq(
            roost_proto::error::ErrorType::ResourceNotUnique,
            format!("Device {path} is used by another instance"),
        ));
    }
    let name = cx.config().node_name(node);
    let asked = |q: &Question| matches!(q, Question::Blocks { disks } if disks.iter().any(same));
    let place = cx.answers().iter().find_map(|(from, question, _)| match question {
        Question::Blocks { disks } if *from == node => disks.iter().position(same),
        _ => None,
    });
    let found = cx.answer(node, asked, |answer| match (answer, place) {
        (Answer::Blocks(statuses), Some(place)) => statuses.get(place),
        _ => None,
    })?;
    match (found.state, found.size) {
        (BlockState::Missing, _) | (_, None) => {
            Err(Error::unknown(format!("Missing block device {path} on node {name}, cannot adopt")))
        }
        (BlockState::Faulty, _) => Err(Error::environment(format!(
            "Block device {path} on node {name} is not usable: {}",
            found.detail
        ))),
        (_, Some(size)) => Ok(size),
    }
}

fn volume_size(cx: &Context<'_, '_>, new: &NewDisk<'_>, adopt: &str) -> Result<u64> {
    let config = cx.config();
    let vg = new.spec.vg.as_deref().or(config.cluster.volume_group_name.as_deref());
    let vg = vg.ok_or_else(|| Error::wrong_state("The cluster has no volume group; give vg=VG"))?;
    let full = format!("{vg}/{adopt}");
    let refused = |why: &str| {
        let name = config.node_name(new.primary);
        Error::wrong_state(format!("Logical volume {full} on node {name} {why}, cannot adopt"))
    };
    let volumes = cx.answer(
        new.primary,
        |q| matches!(q, Question::Volumes),
        |a| match a {
            Answer::Volumes(volumes) => Some(volumes),
            _ => None,
        },
    )?;
    let same = |volume: &&VolumeReport| volume.vg == vg && volume.name == adopt;
    let Some(volume) = volumes.iter().find(same) else {
        let name = config.node_name(new.primary);
        return Err(Error::unknown(format!(
            "Missing logical volume {full} on node {name}, cannot adopt"
        )));
    };
    if volume.open {
        return Err(refused("is in use (online)"));
    }
    if is_reserved(config, &full) {
        return Err(refused("is among the cluster's reserved volumes"));
    }
    let owned = |disk: &Disk| disk.nodes.contains(&new.primary) && has_volume(disk, vg, adopt);
    if config.disks.values().any(|disk| owned(disk)) || minors::mentioned(cx).any(owned) {
        return Err(refused("belongs to an instance"));
    }
    Ok(volume.size)
}

/// Whether a disk stands on a volume.
pub fn has_volume(disk: &Disk, vg: &str, name: &str) -> bool {
    let this = match (&disk.logical_id, disk.dev_type) {
        (LogicalId::Pair(a, b), DiskTemplate::Plain) => a == vg && b == name,
        _ => false,
    };
    this || disk.children.iter().any(|child| has_volume(child, vg, name))
}

/// Whether a volume (`vg/name`) is the administrator's own: matched by the cluster's patterns.
pub fn is_reserved(config: &Config, volume: &str) -> bool {
    let whole = |pattern: &String| Regex::new(&format!("^(?:{pattern})$")).ok();
    config.cluster.reserved_lvs.iter().filter_map(whole).any(|regex| regex.is_match(volume))
}

/// Takes volumes over as new disks (`disks` were made from `specs`) and makes them usable on the
/// primary. Undone by giving them their names back.
pub fn steps(
    config: &Config,
    who: &InstanceRef,
    disks: &[Disk],
    specs: &[DiskSpec],
    primary: NodeId,
) -> Result<Vec<Step>> {
    let named: Vec<Disk> = disks.iter().zip(specs).map(|(disk, spec)| before(disk, spec)).collect();
    let to = filled_disks(config, primary, disks)?;
    let from = filled_disks(config, primary, &named)?;
    // Also where the name stays: the node is told whose it is from now on.
    let take = Action::DisksRename { instance: who.clone(), from: from.clone(), to: to.clone() };
    let give = Action::DisksRename { instance: who.clone(), from: to, to: from };
    let mut steps = vec![
        Step::new("adopting volumes", Task::on(primary, take)).undone_by(Task::on(primary, give)),
    ];
    steps.extend(active::assemble(config, who, disks, primary, &Assembling::default())?);
    Ok(steps)
}

/// The disk as it is called before it is ours.
fn before(disk: &Disk, spec: &DiskSpec) -> Disk {
    let mut before = disk.clone();
    if let (DiskTemplate::Plain, LogicalId::Pair(_, name), Some(adopt)) =
        (disk.dev_type, &mut before.logical_id, &spec.adopt)
    {
        name.clone_from(adopt);
    }
    before
}
