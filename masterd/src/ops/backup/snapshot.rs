//! What is exported while an instance goes on: snapshots of its disks.

use crate::ops::Context;
use roost_proto::choices::DiskTemplate;
use roost_proto::ids::NodeId;
use roost_proto::objects::{Disk, LogicalId};

/// How a disk can be kept as it is at one moment. Ordered: the best is the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freeze {
    /// Not at all.
    Not,
    /// By a copy, while nobody writes to it.
    Copy,
    /// At once, also while it is written to.
    AtOnce,
}

/// What can be done with all of these disks.
pub fn possible(disks: &[Disk]) -> Freeze {
    let of = |disk: &Disk| match disk.dev_type {
        DiskTemplate::Plain | DiskTemplate::Drbd | DiskTemplate::Ext | DiskTemplate::Rbd => {
            Freeze::AtOnce
        }
        DiskTemplate::File | DiskTemplate::SharedFile => Freeze::Copy,
        DiskTemplate::Gluster | DiskTemplate::BlockDev | DiskTemplate::Diskless => Freeze::Not,
    };
    disks.iter().map(of).min().unwrap_or(Freeze::AtOnce)
}

/// What a snapshot is made of: of a mirror, this side's data.
pub fn source(disk: &Disk) -> &Disk {
    match disk.dev_type {
        DiskTemplate::Drbd => disk.children.first().unwrap_or(disk),
        _ => disk,
    }
}

/// A snapshot of a disk, which is a disk of its own beside it, on the instance's node.
pub fn of(cx: &mut Context<'_, '_>, index: usize, disk: &Disk, primary: NodeId) -> Disk {
    let data = source(disk);
    let unique = cx.uuid();
    let name = |kind: &str| format!("{unique}.{kind}snap{index}");
    let logical_id = match (&data.logical_id, data.dev_type) {
        (LogicalId::Pair(driver, path), DiskTemplate::File | DiskTemplate::SharedFile) => {
            let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
            LogicalId::Pair(driver.clone(), format!("{directory}/{}", name("file.")))
        }
        (LogicalId::Pair(provider, _), DiskTemplate::Ext) => {
            LogicalId::Pair(provider.clone(), name("ext."))
        }
        (LogicalId::Pair(first, _), DiskTemplate::Rbd) => {
            LogicalId::Pair(first.clone(), name("rbd."))
        }
        (LogicalId::Pair(first, _), _) => LogicalId::Pair(first.clone(), name("")),
        (other, _) => other.clone(),
    };
    Disk {
        uuid: cx.uuid().into(),
        logical_id,
        children: vec![],
        nodes: if data.nodes.is_empty() { vec![] } else { vec![primary] },
        iv_name: disk.iv_name.clone(),
        name: None,
        spindles: None,
        ..data.clone()
    }
}
