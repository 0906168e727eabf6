//! Removing what earlier jobs could not.
//!
//! Debris may be old when someone repairs it, and the world has gone on: what was a leftover then
//! may be wanted now — the guest whose failed start was to be undone runs, its disks are in use. So
//! the configuration is asked again, under the instance's lock, and what is wanted is let be.

use super::StepId;
use super::engine::Engine;
use super::locks::{Level, LockName, LockSet, Mode};
use super::plan::{Debris, Task};
use crate::config::Config;
use crate::state::Commit;
use crate::store::{Key, Space};
use roost_proto::choices::AdminState;
use roost_proto::error::{Error, Result};
use roost_proto::ids::{DiskId, InstanceId, NicId, NodeId};
use roost_proto::names::InstanceName;
use roost_proto::node::{Action, CryptoAction, MasterIp};
use roost_proto::objects::{Disk, Instance};
use std::collections::HashSet;
use std::sync::Arc;

/// It may be tried again much later. Not so what starts a guest or changes it: unasked, when
/// nobody thinks of it any more, that could do great harm.
pub(super) fn can_wait(task: &Task) -> bool {
    !matches!(
        task.action(),
        Some(
            Action::GuestStart { .. }
                | Action::GuestBalloon { .. }
                | Action::DisksAssemble { .. }
                | Action::MirrorsSync { .. }
                | Action::NicReplug { .. }
        )
    )
}

/// What of it is still to be done on a node; nothing if the configuration wants it otherwise now.
fn leftover(config: &Config, node: NodeId, action: &Action) -> Option<Action> {
    let here =
        |id: InstanceId| config.instances.get(&id).filter(|instance| instance.primary_node == node);
    let has_disk = |id, disk: DiskId| here(id).is_some_and(|i| i.disks.contains(&disk));
    let has_nic = |id, nic: NicId| {
        here(id).is_some_and(|i: &Arc<Instance>| i.nics.iter().any(|known| known.uuid == nic))
    };
    let unless = |wanted: bool| (!wanted).then(|| action.clone());
    match action {
        Action::GuestStop { instance, .. } => {
            unless(here(instance.uuid).is_some_and(|i| i.admin_state == AdminState::Up))
        }
        Action::MigrateFinish { guest, success: false, .. } => unless(here(guest.uuid).is_some()),
        Action::DisksShutdown { instance, disks } => {
            let owner = config.instances.get(&instance.uuid).filter(|i| i.disks_active);
            let is_here = |disk: &Disk| {
                let mirrored =
                    config.disks.get(&disk.uuid).is_some_and(|d| d.nodes.contains(&node));
                mirrored || here(instance.uuid).is_some()
            };
            let wanted =
                |disk: &&Disk| owner.is_some_and(|i| i.disks.contains(&disk.uuid)) && is_here(disk);
            let disks: Vec<Disk> = disks.iter().filter(|d| !wanted(d)).cloned().collect();
            let instance = instance.clone();
            (!disks.is_empty()).then_some(Action::DisksShutdown { instance, disks })
        }
        Action::DisksClose { instance, .. } => {
            unless(here(instance.uuid).is_some_and(|i| i.disks_active))
        }
        Action::DisksOpen { instance, .. } => {
            unless(!here(instance.uuid).is_some_and(|i| i.disks_active))
        }
        Action::DiskUnplug { guest, disk } => unless(has_disk(guest.uuid, disk.uuid)),
        Action::DiskPlug { guest, disk } => unless(!has_disk(guest.uuid, disk.uuid)),
        Action::NicUnplug { guest, nic } => unless(has_nic(guest.uuid, nic.uuid)),
        Action::NicPlug { guest, nic } => unless(!has_nic(guest.uuid, nic.uuid)),
        Action::DisksRemove { instance, disks } => {
            let used = places_in_use(config, node);
            let wanted = |disk: &&Disk| leaves(disk).into_iter().any(|l| used.contains(&place(l)));
            let disks: Vec<Disk> = disks.iter().filter(|d| !wanted(d)).cloned().collect();
            let instance = instance.clone();
            (!disks.is_empty()).then_some(Action::DisksRemove { instance, disks })
        }
        // A mirror that is wanted is put right by activating it, not by what was wanted once.
        Action::MirrorsDisconnect { disks, .. } | Action::MirrorsDetach { disks, .. } => {
            let here =
                |d: &&Disk| config.disks.get(&d.uuid).is_some_and(|d| d.nodes.contains(&node));
            unless(disks.iter().any(|disk| here(&disk)))
        }
        // The master's, or not: nobody else may have it, and no former address is wanted.
        Action::MasterIpUp { address } => unless(!is_master_ip(config, node, address)),
        Action::MasterIpDown { address } => unless(is_master_ip(config, node, address)),
        // What was to be trusted or shared then is not what is now.
        Action::Crypto(CryptoAction::Trust { .. }) => {
            let authorities = config.cluster.crypto.authorities.clone();
            let trust = CryptoAction::Trust { authorities, candidates: None };
            Some(Action::Crypto(trust))
        }
        Action::Crypto(CryptoAction::Write { file, .. }) => {
            let (file, version) = (*file, config.cluster.crypto.secrets.get(file)?.clone());
            Some(Action::Crypto(CryptoAction::Write { file, version, content: None }))
        }
        other => Some(other.clone()),
    }
}

/// What has data of its own: the disk, or the devices it stands on.
fn leaves(disk: &Disk) -> Vec<&Disk> {
    match disk.children.is_empty() {
        true => vec![disk],
        false => disk.children.iter().flat_map(leaves).collect(),
    }
}

/// Where a device's data is, in the terms of its template.
fn place(leaf: &Disk) -> String {
    format!("{} {}", leaf.dev_type, serde_json::to_string(&leaf.logical_id).unwrap_or_default())
}

/// Where on a node the cluster has data: the same disk may have left one place for another.
fn places_in_use(config: &Config, node: NodeId) -> HashSet<String> {
    let here = config.disks.values().filter(|d| d.nodes.is_empty() || d.nodes.contains(&node));
    here.flat_map(|disk| leaves(disk)).map(place).collect()
}

/// Whether it is the cluster's address of today, and the node its master.
fn is_master_ip(config: &Config, node: NodeId, address: &MasterIp) -> bool {
    let today = node == config.master() && config.cluster.master_ip.parse() == Ok(address.ip);
    today && config.cluster.master_netdev == address.netdev
}

/// The instance it is about, if it is about one.
fn instance(action: &Action) -> Option<&InstanceName> {
    match action {
        Action::GuestStop { instance, .. }
        | Action::GuestForget { instance, .. }
        | Action::DisksCreate { instance, .. }
        | Action::DisksRemove { instance, .. }
        | Action::DisksShutdown { instance, .. }
        | Action::DisksOpen { instance, .. }
        | Action::DisksClose { instance, .. }
        | Action::DisksRename { instance, .. }
        | Action::MirrorsDetach { instance, .. }
        | Action::MirrorsDisconnect { instance, .. } => Some(&instance.name),
        Action::MigrateFinish { guest, .. }
        | Action::DiskPlug { guest, .. }
        | Action::DiskUnplug { guest, .. }
        | Action::NicPlug { guest, .. }
        | Action::NicUnplug { guest, .. } => Some(&guest.name),
        _ => None,
    }
}

impl Engine {
    /// Tries again to remove debris. What is gone or wanted is forgotten; the rest is returned with
    /// the reason.
    pub async fn repair_debris(&self) -> Result<Vec<(String, Debris, Error)>> {
        let _alone = self.0.repairing.lock().await;
        let mut left = Vec::new();
        let mut stuck = HashSet::new();
        // As it would have been undone: last first, and nothing below something that is still
        // there.
        for (key, debris) in self.debris().into_iter().rev() {
            let opcode = key.rsplit_once('/').map_or("", |(opcode, _)| opcode).to_owned();
            let result = if stuck.contains(&opcode) {
                Err(Error::wrong_state("What was made after it must be removed first"))
            } else {
                self.retry_debris(&key, &debris).await
            };
            match result {
                Ok(()) => {
                    let deletes = vec![Key::new(Space::Debris, &key)];
                    self.0.state.commit(Commit { deletes, ..Commit::default() }).await?;
                    self.set_debris(key, None);
                }
                Err(error) => {
                    stuck.insert(opcode);
                    left.push((key, debris, error));
                }
            }
        }
        left.reverse();
        Ok(left)
    }

    async fn retry_debris(&self, key: &str, debris: &Debris) -> Result<()> {
        let Some(action) = debris.task.action() else { return Ok(()) };
        let mut locks = LockSet::new();
        if let Some(name) = instance(action) {
            locks.add(LockName::new(Level::Instance, name), Mode::Exclusive);
        }
        let _held = self.0.locks.acquire(debris.job, 0, &locks, |_, _| {}).await;
        let step = key.rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        // A name of its own: nodes must not take it for the step that failed then.
        let id = StepId { job: debris.job, op: usize::from(u16::MAX), step, undo: true };
        for node in debris.task.nodes() {
            let config = self.0.state.config();
            // A node that has left took it along.
            let there = config.nodes.contains_key(node) || instance(action).is_none();
            if there && let Some(action) = leftover(&config, *node, action) {
                self.0.hands.run(id, *node, &action, &|_| {}).await?;
            }
        }
        self.0.hands.forget(debris.job);
        Ok(())
    }
}
