//! Carries out actions: each arm hands on to the part that knows how, and says what came of it.

use crate::block::drbd::{self, DrbdDisk};
use crate::block::{self, Assembly, Device, Work};
use crate::blocking::blocking;
use crate::host::Host;
use crate::hypervisor::{AnyHypervisor, Attachment};
use crate::steps::{Memory, Reporter};
use crate::{facts, gone_on, hooks, join, net, oob, os, power, ssconf};
use roost_proto::choices::Hypervisor;
use roost_proto::error::{Error, Result};
use roost_proto::node::{
    Action, ExportAction, GrowStage, GuestDisk, GuestSpec, InstanceRef, Outcome,
};
use roost_proto::objects::Disk;
use std::sync::Arc;
use std::time::Duration;

/// An action's name as it travels, for logs.
pub fn name(action: &Action) -> String {
    match serde_json::to_value(action) {
        Ok(value) => value["do"].as_str().unwrap_or_default().to_owned(),
        Err(_) => String::new(),
    }
}

/// The instance whose disks an action is about.
fn instance(action: &Action) -> Option<InstanceRef> {
    match action {
        Action::DisksCreate { instance, .. }
        | Action::DisksRemove { instance, .. }
        | Action::DisksWipe { instance, .. }
        | Action::DisksAssemble { instance, .. }
        | Action::DisksShutdown { instance, .. }
        | Action::DisksOpen { instance, .. }
        | Action::DisksClose { instance, .. }
        | Action::DiskGrow { instance, .. }
        | Action::DisksRename { instance, .. }
        | Action::DisksSnapshot { instance, .. }
        | Action::MirrorsSeed { instance, .. }
        | Action::MirrorsSync { instance, .. }
        | Action::MirrorsDetach { instance, .. }
        | Action::MirrorsDisconnect { instance, .. }
        | Action::MirrorsDiscard { instance, .. }
        | Action::DisksCopy { instance, .. }
        | Action::DisksReceive { instance, .. } => Some(instance.clone()),
        Action::OsRun { guest, .. }
        | Action::GuestStart { guest, .. }
        | Action::GuestReboot { guest, .. }
        | Action::DiskPlug { guest, .. }
        | Action::DisksMirror { guest, .. }
        | Action::MigrateAccept { guest, .. }
        | Action::MigrateRun { guest, .. } => Some(reference(guest)),
        _ => None,
    }
}

/// How long an action's outcome holds.
pub fn memory(action: &Action) -> Memory {
    match action {
        // They open a door in this process.
        Action::MigrateAccept { .. } | Action::Export(ExportAction::Accept { .. }) => {
            Memory::Process
        }
        _ => Memory::Boot,
    }
}

/// Does it. `undo`: as the undoing of a step that may have failed halfway.
pub async fn perform(
    host: Arc<Host>,
    action: Action,
    undo: bool,
    reporter: Reporter,
) -> Result<Outcome> {
    let began = std::time::Instant::now();
    let instance = instance(&action);
    let done = Doer { host: &host, instance, undo, reporter }.perform(action).await;
    match &done {
        Ok(_) => tracing::info!(seconds = began.elapsed().as_secs_f64(), "done"),
        Err(error) => tracing::warn!(%error, "failed"),
    }
    done
}

/// One action at work.
struct Doer<'a> {
    host: &'a Arc<Host>,
    /// Whose disks the action is about.
    instance: Option<InstanceRef>,
    undo: bool,
    reporter: Reporter,
}

impl Doer<'_> {
    async fn perform(&self, action: Action) -> Result<Outcome> {
        let work = &self.work();
        match action {
            Action::DisksCreate { disks, .. } => nothing(block::create(&disks, work).await),
            Action::DisksRemove { instance, disks } => {
                // Whatever went wrong before: a guest's disks are not taken from under it.
                self.host.hypervisors.let_go(&instance, &disks).await?;
                if self.undo {
                    gone_on::check(&self.host.paths, &disks).await?;
                }
                self.host.receivers.end(instance.uuid);
                block::remove(&disks, work).await?;
                nothing(gone_on::is_off(&self.host.paths, &disks).await)
            }
            Action::DisksWipe { instance, disks } => {
                self.host.hypervisors.let_go(&instance, &disks).await?;
                nothing(block::each(&disks, work, Device::wipe).await)
            }
            Action::DisksAssemble { instance, disks, role, force, ignore_size, alone } => {
                self.host.receivers.end(instance.uuid);
                let how = Assembly { role, force, ignore_size, alone };
                block::each(&disks, work, |d, work| d.assemble_as(how, work)).await?;
                Ok(Outcome { devices: block::paths(&disks, work).await?, ..Outcome::default() })
            }
            Action::DisksShutdown { instance, disks } => {
                self.host.receivers.end(instance.uuid);
                nothing(block::each(&disks, work, Device::shutdown).await)
            }
            Action::DisksOpen { disks, exclusive, .. } => {
                nothing(block::each(&disks, work, |d, work| d.open(exclusive, work)).await)
            }
            Action::DisksClose { disks, .. } => {
                nothing(block::each(&disks, work, Device::close).await)
            }
            Action::DiskGrow { instance, disk, size, stage } => match stage {
                GrowStage::Whole => nothing(self.grow(&instance, &disk, size).await),
                GrowStage::Storage => nothing(self.grow_storage(&instance, &disk, size).await),
                GrowStage::Zero => nothing(block::zero_new_part(&disk, size, work).await),
            },
            Action::DisksRename { from, to, .. } => nothing(self.rename(&from, &to).await),
            Action::DisksSnapshot { from, to, .. } => {
                block::copy::same_number(&from, &to)?;
                for (from, to) in from.iter().zip(&to) {
                    Device::of(from, work)?.snapshot(to, work).await?;
                }
                Ok(Outcome::default())
            }
            Action::MirrorsSeed { disks, .. } => {
                for disk in sides(&disks, work)? {
                    disk.seed(work).await.map_err(|e| disk.named(e))?;
                }
                Ok(Outcome::default())
            }
            Action::MirrorsSync { disks, .. } => {
                nothing(drbd::sync(&sides(&disks, work)?, work).await)
            }
            Action::MirrorsDetach { disks, .. } => {
                for disk in sides(&disks, work)? {
                    disk.detach(work).await.map_err(|e| disk.named(e))?;
                }
                Ok(Outcome::default())
            }
            Action::MirrorsDisconnect { disks, outdate, .. } => {
                for disk in sides(&disks, work)? {
                    disk.disconnect(outdate, work).await.map_err(|e| disk.named(e))?;
                }
                Ok(Outcome::default())
            }
            Action::MirrorsDiscard { disks, .. } => {
                for disk in sides(&disks, work)? {
                    disk.discard(work).await.map_err(|e| disk.named(e))?;
                }
                Ok(Outcome::default())
            }
            Action::StorageModify { storage_type, name, changes } => {
                nothing(facts::modify_unit(&storage_type, &name, &changes).await)
            }
            Action::StorageRepair { storage_type, name } => {
                let messages = facts::repair_unit(&storage_type, &name).await?;
                Ok(Outcome { messages, ..Outcome::default() })
            }
            Action::DisksCopy { instance, from, to, target, address, token, compress } => {
                block::copy::same_number(&from, &to)?;
                let copy =
                    block::copy::Copy { instance, from, to, target, address, token, compress };
                nothing(block::copy::copy(self.host, copy, self.reporter.clone()).await)
            }
            Action::DisksReceive { instance, disks, token } => {
                // What cannot be written is better known before the other side begins.
                block::places(&disks, work).await?;
                let about = instance.uuid.to_string();
                let awaited = block::copy::Awaited::Disks { instance, disks };
                self.host.receivers.allow(&token, &about, awaited)?;
                Ok(Outcome::default())
            }
            Action::OsRun { guest, script, osparams, osparams_private, debug } => {
                let disks = self.attachments(&guest).await?;
                let run = os::Run { guest: &guest, osparams, osparams_private, debug, disks };
                nothing(os::run(&self.host.paths, run, &script).await)
            }
            Action::GuestStart { guest, paused } => {
                let disks = self.attachments(&guest).await?;
                self.hypervisor(guest.hypervisor)?.start(&guest, &disks, paused).await?;
                self.guest(&reference(&guest), guest.hypervisor).await
            }
            Action::GuestStop { instance, hypervisor, timeout } => {
                let timeout = Duration::from_secs(timeout);
                self.hypervisor(hypervisor)?.stop(&instance, timeout).await?;
                self.guest(&instance, hypervisor).await
            }
            Action::GuestReboot { guest, kind, timeout } => {
                let disks = self.attachments(&guest).await?;
                let timeout = Duration::from_secs(timeout);
                self.hypervisor(guest.hypervisor)?.reboot(&guest, &disks, kind, timeout).await?;
                self.guest(&reference(&guest), guest.hypervisor).await
            }
            Action::GuestBalloon { instance, hypervisor, memory } => {
                self.hypervisor(hypervisor)?.balloon(&instance, memory).await?;
                self.guest(&instance, hypervisor).await
            }
            Action::DiskPlug { guest, disk } => {
                let disks = self.attachments(&guest).await?;
                let disk = disks.iter().find(|a| a.uuid == disk.uuid).ok_or_else(|| {
                    Error::internal(format!("Disk {} is not one of {}", disk.uuid, guest.name))
                })?;
                nothing(self.hypervisor(guest.hypervisor)?.plug_disk(&guest, disk).await)
            }
            Action::DiskUnplug { guest, disk } => {
                nothing(self.hypervisor(guest.hypervisor)?.unplug_disk(&guest, disk.uuid).await)
            }
            Action::DisksMirror { guest, from, to } => {
                let left = from.clone();
                if self.mirror(&guest, from, to).await? {
                    gone_on::is_off(&self.host.paths, &left).await?;
                }
                Ok(Outcome::default())
            }
            Action::NicPlug { guest, nic } => {
                nothing(self.hypervisor(guest.hypervisor)?.plug_nic(&guest, &nic).await)
            }
            Action::NicUnplug { guest, nic } => {
                nothing(self.hypervisor(guest.hypervisor)?.unplug_nic(&guest, &nic).await)
            }
            Action::NicReplug { guest, nic } => {
                nothing(self.hypervisor(guest.hypervisor)?.replug_nic(&guest, &nic).await)
            }
            Action::GuestResume { instance, hypervisor } => {
                self.hypervisor(hypervisor)?.resume(&instance).await?;
                self.guest(&instance, hypervisor).await
            }
            Action::MigrateAccept { guest, token } => {
                let disks = self.attachments(&guest).await?;
                nothing(self.host.migrations.accept(&guest, &disks, &token).await)
            }
            Action::MigrateRun { guest, target, address, token, mode } => {
                let disks = self.attachments(&guest).await?;
                let tell = |progress| self.reporter.progress(progress);
                let migrations = &self.host.migrations;
                migrations.run(&guest, &disks, target, &address, &token, mode, &tell).await?;
                self.guest(&reference(&guest), guest.hypervisor).await
            }
            Action::MigrateFinish { guest, token, success } => {
                self.host.migrations.finish(&guest, &token, success).await?;
                self.guest(&reference(&guest), guest.hypervisor).await
            }
            Action::GuestForget { instance, hypervisor } => {
                self.hypervisor(hypervisor)?.forget(&instance).await?;
                self.guest(&instance, hypervisor).await
            }
            Action::MasterIpUp { address } => {
                let messages = net::master_ip::up(self.host, &address).await?;
                Ok(Outcome { messages, ..Outcome::default() })
            }
            Action::MasterIpDown { address } => {
                let messages = net::master_ip::down(self.host, &address).await?;
                Ok(Outcome { messages, ..Outcome::default() })
            }
            Action::Hooks { path, phase, env } => {
                let hooks = hooks::run(&self.host.paths, &path, phase, &env).await?;
                Ok(Outcome { hooks, ..Outcome::default() })
            }
            Action::SsconfWrite { values } => {
                let paths = self.host.paths.clone();
                blocking(move || ssconf::write(&paths, &values)).await?;
                self.host.follow_ssconf();
                Ok(Outcome::default())
            }
            Action::Crypto(action) => nothing(crate::crypto::perform(self.host, action).await),
            Action::Export(action) => crate::export::perform(self.host, action, work).await,
            Action::Delay { duration } => {
                let duration = Duration::try_from_secs_f64(duration).map_err(|e| {
                    Error::wrong_input(format!("A delay of {duration} s cannot be kept: {e}"))
                })?;
                tokio::time::sleep(duration).await;
                Ok(Outcome::default())
            }
            Action::Powercycle { hypervisor } => {
                nothing(power::cycle(&self.host.paths, hypervisor))
            }
            Action::Oob(call) => nothing(oob::switch(&self.host.paths, &call).await),
            Action::Leave => {
                let paths = self.host.paths.clone();
                blocking(move || join::wipe(&paths)).await?;
                tracing::info!("this machine has left its cluster; noded ends");
                self.host.stop.cancel();
                Ok(Outcome::default())
            }
        }
    }

    fn work(&self) -> Work {
        Work {
            paths: self.host.paths.clone(),
            node: self.host.identity.node,
            instance: self.instance.clone(),
            undo: self.undo,
            reporter: self.reporter.clone(),
            budget: self.host.budgets.copies.clone(),
        }
    }

    fn hypervisor(&self, kind: Hypervisor) -> Result<AnyHypervisor> {
        self.host.hypervisors.get(kind)
    }

    async fn attachments(&self, guest: &GuestSpec) -> Result<Vec<Attachment>> {
        block::attachments(&guest.disks, &self.work()).await
    }

    /// A running guest goes on with other disks. Returns whether it does: undoing, it may be gone.
    async fn mirror(&self, guest: &GuestSpec, from: Vec<Disk>, to: Vec<Disk>) -> Result<bool> {
        block::copy::same_number(&from, &to)?;
        let hypervisor = self.hypervisor(guest.hypervisor)?;
        let here = hypervisor.info(&guest.name).await?;
        if !here.is_some_and(|guest| guest.state.is_running()) {
            // Nothing holds the disks that it would be taken back from.
            return match self.undo {
                true => Ok(false),
                false => Err(Error::wrong_state(format!(
                    "Instance {} does not run on this node any more: its disks cannot be mirrored",
                    guest.name
                ))),
            };
        }
        let work = self.work();
        let guests = |disks: &[Disk]| -> Vec<GuestDisk> {
            let each = (0..).zip(disks.iter().cloned());
            each.map(|(index, disk)| GuestDisk { index, disk }).collect()
        };
        let old = block::attachments(&guests(&from), &work).await?;
        let new = block::attachments(&guests(&to), &work).await?;
        gone_on::may_be_on(&self.host.paths, &to).await?;
        match hypervisor {
            AnyHypervisor::Kvm(kvm) => {
                block::copy::say_limit(self.host, &self.reporter);
                let rate = self.host.budgets.copies.rate();
                let tell = |progress| self.reporter.progress(progress);
                kvm.mirror_disks(guest, &old, &new, rate, &tell).await?;
            }
            AnyHypervisor::Fake(fake) => {
                // It writes nothing: a copy is a mirror.
                let held: Vec<_> = old.iter().map(|disk| disk.uuid).collect();
                if fake.uses(&guest.name, &held).await?.is_some() {
                    let copy = block::copy::Copy {
                        instance: reference(guest),
                        from,
                        to,
                        target: self.host.identity.node,
                        address: String::new(),
                        token: guest.uuid.to_string(),
                        compress: String::new(),
                    };
                    block::copy::copy(self.host, copy, self.reporter.clone()).await?;
                }
                fake.swap_disks(guest, &old, &new)?;
            }
        }
        Ok(true)
    }

    /// The guest as it is now, for who asks after the job.
    async fn guest(&self, instance: &InstanceRef, kind: Hypervisor) -> Result<Outcome> {
        Ok(match self.hypervisor(kind)?.info(&instance.name).await? {
            Some(guest) => Outcome { guest: Some(guest), ..Outcome::default() },
            None => Outcome { gone: vec![instance.name.clone()], ..Outcome::default() },
        })
    }

    /// A guest that uses the disk sees it grow; some images only its hypervisor may touch then.
    async fn grow(&self, instance: &InstanceRef, disk: &Disk, size: u64) -> Result<()> {
        let running = self.user(instance, disk).await?;
        self.grow_unless_used(running.is_some(), disk, size).await?;
        match running {
            Some(hypervisor) => {
                self.hypervisor(hypervisor)?.resize_disk(instance, disk.uuid, size).await
            }
            None => Ok(()),
        }
    }

    /// The same, but no guest is told.
    async fn grow_storage(&self, instance: &InstanceRef, disk: &Disk, size: u64) -> Result<()> {
        let running = self.user(instance, disk).await?;
        self.grow_unless_used(running.is_some(), disk, size).await
    }

    async fn grow_unless_used(&self, used: bool, disk: &Disk, size: u64) -> Result<()> {
        let work = self.work();
        let device = Device::of(disk, &work)?;
        if used && device.grows_by_hypervisor() {
            return Ok(());
        }
        device.grow(size, &work).await
    }

    /// The hypervisor that runs the instance here, if one does.
    async fn user(&self, instance: &InstanceRef, disk: &Disk) -> Result<Option<Hypervisor>> {
        let (guests, problems) = self.host.hypervisors.list().await;
        let running = guests.iter().find(|g| *g.name == *instance.name && g.state.is_running());
        match (running, problems.first()) {
            (Some(guest), _) => Ok(Some(guest.hypervisor)),
            (None, None) => Ok(None),
            (None, Some((kind, error))) => Err(Error::environment(format!(
                "Disk {} was not grown: whether {} runs cannot be told, hypervisor {kind}: {error}",
                disk.uuid, instance.name
            ))),
        }
    }

    async fn rename(&self, from: &[Disk], to: &[Disk]) -> Result<()> {
        block::copy::same_number(from, to)?;
        let work = self.work();
        for (from, to) in from.iter().zip(to) {
            Device::of(from, &work)?.rename(to, &work).await?;
        }
        Ok(())
    }
}

/// This node's sides of mirrors.
fn sides(disks: &[Disk], work: &Work) -> Result<Vec<DrbdDisk>> {
    disks.iter().map(|disk| DrbdDisk::of(disk, work)).collect()
}

fn nothing(done: Result<()>) -> Result<Outcome> {
    done.map(|()| Outcome::default())
}

fn reference(guest: &GuestSpec) -> InstanceRef {
    InstanceRef { uuid: guest.uuid, name: guest.name.clone() }
}
