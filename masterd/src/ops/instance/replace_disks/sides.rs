//! What both nodes say of their sides: which of them is faulty, and whether the other one can be
//! relied on.

use super::Replacing;
use crate::ops::Context;
use crate::ops::disks::health;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{BlockState, BlockStatus, SyncStatus};
use roost_proto::objects::Disk;

/// What a node says of the connection of a mirror that is not set up.
const UNCONFIGURED: &str = "Unconfigured";

/// How the disks that are meant are on a node, in order. Errors: it did not answer.
pub fn statuses<'b>(
    cx: &Context<'_, 'b>,
    node: NodeId,
    disks: &[Disk],
) -> Result<Vec<&'b BlockStatus>> {
    let answers = health::answers(cx, node)?;
    let find = |disk: &Disk| {
        let same = answers.iter().find(|(known, _)| known.uuid == disk.uuid);
        same.map(|(_, status)| *status).ok_or_else(|| {
            let node = cx.config().node_name(node);
            Error::internal(format!("Node {node} did not tell how {} is", disk.iv_name))
        })
    };
    disks.iter().map(find).collect()
}

/// Its volumes are all there.
pub fn has_storage(status: &BlockStatus) -> bool {
    status.state != BlockState::Missing
        && status.children.iter().all(|child| child.state != BlockState::Missing)
}

/// It is set up there: its state is more than what its meta data say.
pub fn set_up(status: &BlockStatus) -> Option<&SyncStatus> {
    status.sync.as_ref().filter(|sync| sync.connection != UNCONFIGURED)
}

/// Which of the volumes below it are there.
pub fn volumes_there(status: &BlockStatus, number: usize) -> bool {
    match status.children.get(number) {
        Some(child) => child.state != BlockState::Missing,
        None => status.state != BlockState::Missing,
    }
}

/// Why a side has to be replaced, if it has: its storage is gone or broken. One that is only behind
/// catches up by itself.
fn fault(status: &BlockStatus) -> Option<String> {
    if !has_storage(status) {
        return Some("its volumes are missing".into());
    }
    let sync = match (status.state, set_up(status)) {
        (BlockState::Faulty, None) => return Some(status.detail.clone()),
        (_, Some(sync)) => sync,
        (_, None) => return None,
    };
    let syncing = health::talks(sync) && sync.percent < 100.0 && sync.connection != "Connected";
    match sync.disk.as_str() {
        "Diskless" | "Failed" => Some(format!("it is {}", sync.disk)),
        "Inconsistent" if !syncing => Some("its data is inconsistent".into()),
        _ if status.state == BlockState::Faulty && !sync.split_brain => Some(status.detail.clone()),
        _ => None,
    }
}

/// The node whose side is faulty, with the disks that are. Nothing: none is.
pub fn faulty(
    cx: &mut Context<'_, '_>,
    replacing: &Replacing,
) -> Result<Option<(NodeId, Vec<Disk>)>> {
    let config = cx.config();
    let name = &replacing.instance.name;
    let mut found: Vec<(NodeId, Vec<Disk>)> = Vec::new();
    for node in [replacing.primary, replacing.secondary] {
        let all = statuses(cx, node, &replacing.disks)?;
        let mut disks = Vec::new();
        for (disk, status) in replacing.disks.iter().zip(all) {
            if set_up(status).is_none() && has_storage(status) {
                return Err(Error::wrong_state(format!(
                    "{} is not active on node {}, so nobody can tell which side is faulty; please \
                     run 'gnt-instance activate-disks {name}' first",
                    disk.iv_name,
                    config.node_name(node)
                )));
            }
            if let Some(why) = fault(status) {
                let node = config.node_name(node);
                cx.info(format!("{} is faulty on node {node}: {why}", disk.iv_name));
                disks.push(disk.clone());
            }
        }
        if !disks.is_empty() {
            found.push((node, disks));
        }
    }
    if found.len() > 1 {
        return Err(Error::wrong_state(format!(
            "Instance {name} has faulty disks on more than one node and can't be repaired \
             automatically; replace one side after the other with -p and -s and --disks"
        )));
    }
    Ok(found.pop())
}

/// This side's data will be the only one for a while: it must be good, and know all that was
/// written. `used` says that the disks are in use; `other` is how the side to be replaced is.
pub fn must_be_good(
    cx: &Context<'_, '_>,
    replacing: &Replacing,
    node: NodeId,
    other: Option<&[&BlockStatus]>,
) -> Result<()> {
    let statuses = statuses(cx, node, &replacing.disks)?;
    for (place, (disk, status)) in replacing.disks.iter().zip(statuses).enumerate() {
        let there = other.map(|all| all[place]);
        if let Some(why) = objection(replacing, node, status, there) {
            return Err(Error::wrong_state(format!(
                "Node {} has degraded storage, unsafe to replace disks for instance {}: {} {why}",
                cx.config().node_name(node),
                replacing.instance.name,
                disk.iv_name
            )));
        }
    }
    Ok(())
}

fn objection(
    replacing: &Replacing,
    node: NodeId,
    status: &BlockStatus,
    other: Option<&BlockStatus>,
) -> Option<String> {
    let name = replacing.instance.name.as_str();
    if !has_storage(status) {
        return Some("lacks volumes there".into());
    }
    if status.state == BlockState::Faulty && set_up(status).is_none() {
        return Some(format!("is faulty there: {}", status.detail));
    }
    let parted = |s: &BlockStatus| s.sync.as_ref().is_some_and(|sync| sync.split_brain);
    if parted(status) || other.is_some_and(parted) {
        return Some(format!(
            "was written on both nodes while they did not see each other (split brain); {}",
            health::split_brain_way_out(name)
        ));
    }
    let Some(sync) = set_up(status) else {
        // It will be activated, which looks at its data.
        return replacing.instance.disks_active.then(|| {
            format!("is not active there; run 'gnt-instance activate-disks {name}' first")
        });
    };
    if !sync.local_good {
        return Some(format!("is {} there", sync.disk));
    }
    // The side in use knows all that is written. The other one does if it is told.
    let told = node == replacing.primary
        || health::talks(sync)
        || other.is_some_and(|other| set_up(other).is_none() && !has_storage(other));
    (!told).then(|| format!("is not connected there ({})", sync.connection))
}
