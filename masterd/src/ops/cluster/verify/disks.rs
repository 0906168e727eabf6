//! Disks in a group's verification: those of instances, on every node that has a side of them, and
//! what nodes have that is nobody's.
//!
//! A mirror is told of once, by what is worst about it: that it was written on both sides, that it is
//! missing or broken on a node, or that its sides are not equal.

use super::findings::{self, Findings};
use super::group::Scene;
use super::under_way;
use crate::ops::disks::{adopt, health, minors};
use roost_proto::choices::DiskTemplate;
use roost_proto::ids::{DiskId, NodeId};
use roost_proto::node::{BlockState, BlockStatus, SyncStatus, VerifyReport, VolumeReport};
use roost_proto::objects::{Disk, Instance, Node};
use roost_proto::params::fill;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Tags of volumes that this cluster made begin so.
const OUR_TAG: &str = "roost-disk+";

/// The disks of an instance.
pub fn of_instance(scene: &Scene<'_>, instance: &Instance, findings: &mut Findings<'_>) {
    for (index, id) in instance.disks.iter().enumerate() {
        let sides = sides(scene, instance, *id);
        let good = sides.iter().all(|side| is_usable(scene, instance, index, side, findings));
        if good {
            equal(scene, instance, index, &sides, findings);
        }
    }
}

/// A disk on one of its nodes.
type Side<'a> = (NodeId, &'a Disk, &'a BlockStatus);

/// Where it is, as far as nodes told: the primary node first. One that was added after its nodes were
/// asked has no state yet.
fn sides<'a>(scene: &Scene<'a>, instance: &Instance, id: DiskId) -> Vec<Side<'a>> {
    let mut sides: Vec<Side<'a>> = scene
        .disks
        .range((id, NodeId(uuid::Uuid::nil()))..)
        .take_while(|((disk, _), _)| *disk == id)
        .map(|((_, node), (disk, status))| (*node, *disk, *status))
        .collect();
    sides.sort_by_key(|(node, ..)| *node != instance.primary_node);
    sides
}

/// It is there, whole, and active if it should be.
fn is_usable(
    scene: &Scene<'_>,
    instance: &Instance,
    index: usize,
    (node, disk, status): &Side<'_>,
    findings: &mut Findings<'_>,
) -> bool {
    let name = instance.name.as_str();
    let node = scene.config.node_name(*node);
    let (code, text) = match status.state {
        BlockState::Missing => {
            let place = place(disk).map(|place| format!(" ({place})")).unwrap_or_default();
            let detail = match status.detail.as_str() {
                "" => String::new(),
                why => format!(": {why}"),
            };
            let text = format!("disk/{index}{place} is missing on node {node}{detail}");
            (findings::EINSTANCEMISSINGDISK, text)
        }
        BlockState::Faulty => {
            let text = format!("disk/{index} on {node} is faulty: {}", status.detail);
            (findings::EINSTANCEFAULTYDISK, text)
        }
        BlockState::Inactive if instance.disks_active => {
            let text =
                format!("disk/{index} on {node} is not active; use 'gnt-instance activate-disks'");
            (findings::EINSTANCEFAULTYDISK, text)
        }
        BlockState::Inactive | BlockState::Active => return true,
    };
    findings.error(code, name, text);
    false
}

/// Where its data is, for people.
fn place(disk: &Disk) -> Option<String> {
    let path = disk.path().map(str::to_owned);
    path.or_else(|| under_way::volumes(disk).into_iter().next())
}

/// Both sides of a mirror are the same.
fn equal(
    scene: &Scene<'_>,
    instance: &Instance,
    index: usize,
    sides: &[Side<'_>],
    findings: &mut Findings<'_>,
) {
    let name = instance.name.as_str();
    let code = findings::EINSTANCEFAULTYDISK;
    let syncs: Vec<(NodeId, &SyncStatus)> =
        sides.iter().filter_map(|(node, _, s)| Some((*node, s.sync.as_ref()?))).collect();
    let parted = match syncs.as_slice() {
        [(_, a), (_, b)] => health::have_parted(a, b),
        others => others.iter().any(|(_, sync)| sync.split_brain),
    };
    if parted {
        let way_out = health::split_brain_way_out(name);
        let text = format!(
            "disk/{index} has a split brain, both sides were written while they did not see each \
             other; {way_out}"
        );
        return findings.error(code, name, text);
    }
    // What the primary says counts; the other side's word only where it is worse.
    let troubles = syncs.iter().filter_map(|(node, sync)| {
        health::trouble(sync).map(|(text, good)| (scene.config.node_name(*node), text, good))
    });
    let Some((node, text, good)) = troubles.min_by_key(|(.., good)| usize::from(*good)) else {
        return;
    };
    // Only what the guest uses is bad: a side that lags is what being made equal means.
    let primary_good = syncs
        .iter()
        .find(|(node, _)| *node == instance.primary_node)
        .is_none_or(|(_, sync)| sync.local_good);
    let text = format!("disk/{index} on {node} is degraded: {text}");
    match good || primary_good {
        true => findings.warn(code, name, text),
        false => findings.error(code, name, text),
    }
}

/// Volume groups, and what LVM and DRBD say of themselves on a node.
pub fn of_node(scene: &Scene<'_>, node: &Node, report: &VerifyReport, findings: &mut Findings<'_>) {
    let cluster = &scene.config.cluster;
    let enabled = |template: DiskTemplate| cluster.enabled_disk_templates.contains(&template);
    let lvm = enabled(DiskTemplate::Plain) || enabled(DiskTemplate::Drbd);
    let name = node.name.as_str();
    if let Some(vg) = cluster.volume_group_name.as_deref().filter(|_| lvm) {
        if report.volumes.is_none() {
            findings.error(findings::ENODELVM, name, "unable to check volume groups");
        } else if !report.node.volume_groups.contains_key(vg) {
            findings.error(findings::ENODELVM, name, format!("volume group '{vg}' missing"));
        }
    }
    for (code, problem) in &report.devices {
        let Some(code) = findings::of_devices(code) else { continue };
        let matters = if code == findings::ENODELVM { lvm } else { enabled(DiskTemplate::Drbd) };
        if matters {
            findings.error(code, name, problem);
        }
    }
    if enabled(DiskTemplate::Drbd) {
        mirrors(scene, node, report, findings);
    }
}

/// Exactly the minors are set up that should be.
fn mirrors(scene: &Scene<'_>, node: &Node, report: &VerifyReport, findings: &mut Findings<'_>) {
    let name = node.name.as_str();
    let Some(found) = &report.mirrors else {
        let text = "DRBD is not there; load its kernel module (modprobe drbd)";
        return findings.error(findings::ENODEDRBD, name, text);
    };
    let found: BTreeSet<u32> = found.iter().map(|mirror| mirror.minor).collect();
    // By minor: whose, and whether it should be set up.
    let mut known: BTreeMap<u32, (&str, bool)> = BTreeMap::new();
    for instance in scene.config.instances.values() {
        for id in &instance.disks {
            let minor = scene.config.disks.get(id).and_then(|d| minors::minor_of(d, node.uuid));
            if let Some(minor) = minor {
                let settled = !scene.under_way.instance(&instance.name);
                known.insert(minor, (&instance.name, instance.disks_active && settled));
            }
        }
    }
    for (minor, (instance, active)) in &known {
        if *active && !found.contains(minor) {
            let text = format!("drbd minor {minor} of instance {instance} is not active");
            findings.error(findings::ENODEDRBD, name, text);
        }
    }
    for minor in found {
        if !known.contains_key(&minor) && !scene.under_way.minor(node.uuid, minor) {
            let text = format!("unallocated drbd minor {minor} is in use");
            findings.error(findings::ENODEDRBD, name, text);
        }
    }
}

/// Volumes that are nobody's: in the cluster's volume group, or anywhere with our mark.
pub fn orphan_volumes(scene: &Scene<'_>, findings: &mut Findings<'_>) {
    let config = scene.config;
    for node in &scene.members {
        let Some(Ok(report)) = scene.reports.get(&node.uuid) else { continue };
        let mut known = BTreeSet::new();
        for disk in config.disks.values().filter(|disk| disk.nodes.contains(&node.uuid)) {
            known.extend(under_way::volumes(disk));
        }
        let ours = |volume: &&VolumeReport| {
            let marked = volume.tags.iter().any(|tag| tag.starts_with(OUR_TAG));
            marked || config.cluster.volume_group_name.as_deref() == Some(&volume.vg)
        };
        for volume in report.volumes.iter().flatten().filter(ours) {
            let full = format!("{}/{}", volume.vg, volume.name);
            let is_known = known.contains(&full) || scene.under_way.path(&full);
            if is_known || is_pool(scene, volume) || adopt::is_reserved(config, &full) {
                continue;
            }
            let text = format!("volume {full} ({} MiB) is unknown", volume.size);
            findings.warn(findings::ENODEORPHANLV, &node.name, text);
        }
    }
}

/// With exclusive storage a spindle is a physical volume, and how much it holds should not depend on
/// which one a disk gets. Within 2 % they count as equal.
pub fn spindles_are_alike(scene: &Scene<'_>, findings: &mut Findings<'_>) {
    let cluster = &scene.config.cluster;
    let Some(vg) = &cluster.volume_group_name else { return };
    let exclusive =
        |node: &&&Arc<Node>| fill::ndparams(cluster, scene.group, node).exclusive_storage;
    let mut all: Vec<(u64, &str, &Node)> = Vec::new();
    for node in scene.members.iter().filter(exclusive) {
        let Some(Ok(report)) = scene.reports.get(&node.uuid) else { continue };
        let ours = report.physical.iter().filter(|(group, ..)| group == vg);
        all.extend(ours.map(|(_, name, size)| (*size, name.as_str(), &***node)));
    }
    let smallest = all.iter().min_by_key(|(size, ..)| *size);
    let largest = all.iter().max_by_key(|(size, ..)| *size);
    let (Some((least, small, here)), Some((most, large, there))) = (smallest, largest) else {
        return;
    };
    if least * 101 < most * 99 {
        let text = format!(
            "physical volumes of volume group '{vg}' differ too much in size for exclusive \
             storage: '{small}' on node {} has {least} MiB, '{large}' on node {} has {most} MiB",
            here.name, there.name
        );
        findings.error(findings::EGROUPDIFFERENTPVSIZE, scene.group.name.as_str(), text);
    }
}

/// A thin pool that disks are made in.
fn is_pool(scene: &Scene<'_>, volume: &VolumeReport) -> bool {
    let config = scene.config;
    let groups = config.groups.values().map(|group| &group.diskparams);
    let plain = std::iter::once(&config.cluster.diskparams)
        .chain(groups)
        .filter_map(|params| params.get(DiskTemplate::Plain.as_str()));
    let own = config.disks.values().flat_map(|disk| {
        std::iter::once(&disk.params).chain(disk.children.iter().map(|c| &c.params))
    });
    plain.chain(own).any(|params| {
        params.get("thin-pool").and_then(|name| name.as_str()) == Some(volume.name.as_str())
    })
}

#[cfg(test)]
#[path = "disks_tests.rs"]
mod tests;
