//! Carries out actions: each arm hands on to the part that knows how, and says what came of it.

use crate::block::{self, Device, Work};
use crate::blocking::blocking;
use crate::host::Host;
use crate::hypervisor::{AnyHypervisor, Attachment, Source};
use crate::steps::{Memory, Reporter};
use crate::{hooks, join, net, os, power, ssconf};
use roost_proto::choices::Hypervisor;
use roost_proto::error::{Error, Result};
use roost_proto::node::{Action, GuestSpec, InstanceRef, Outcome};
use roost_proto::objects::Disk;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// An action's name as it travels, for logs.
pub fn name(action: &Action) -> String {
    match serde_json::to_value(action) {
        Ok(value) => value["do"].as_str().unwrap_or_default().to_owned(),
        Err(_) => String::new(),
    }
}

/// How long an action's outcome holds.
pub fn memory(action: &Action) -> Memory {
    match action {
        // They open a door in this process.
        Action::DisksReceive { .. } | Action::MigrateAccept { .. } => Memory::Process,
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
    let done = Doer { host: &host, undo, reporter }.perform(action).await;
    match &done {
        Ok(_) => tracing::info!(seconds = began.elapsed().as_secs_f64(), "done"),
        Err(error) => tracing::warn!(%error, "failed"),
    }
    done
}

/// One action at work.
struct Doer<'a> {
    host: &'a Arc<Host>,
    undo: bool,
    reporter: Reporter,
}

impl Doer<'_> {
    async fn perform(&self, action: Action) -> Result<Outcome> {
        let work = &self.work();
        match action {
            Action::DisksCreate { disks, .. } => nothing(block::create(&disks, work).await),
            Action::DisksRemove { instance, disks } => {
                self.host.receivers.end(instance.uuid);
                nothing(block::remove(&disks, work).await)
            }
            Action::DisksWipe { disks, .. } => {
                nothing(block::each(&disks, work, Device::wipe).await)
            }
            Action::DisksAssemble { instance, disks, role, .. } => {
                self.host.receivers.end(instance.uuid);
                block::each(&disks, work, |d, work| d.assemble(role, work)).await?;
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
            Action::DiskGrow { instance, disk, size } => {
                nothing(self.grow(&instance, &disk, size).await)
            }
            Action::DisksRename { from, to, .. } => nothing(self.rename(&from, &to).await),
            Action::DisksSnapshot { from, to, .. } => {
                same_number(&from, &to)?;
                for (from, to) in from.iter().zip(&to) {
                    Device::of(from, work)?.snapshot(to, work).await?;
                }
                Ok(Outcome::default())
            }
            Action::MirrorsSeed { .. }
            | Action::MirrorsSync { .. }
            | Action::MirrorsDetach { .. }
            | Action::MirrorsDisconnect { .. }
            | Action::MirrorsDiscard { .. } => {
                Err(Error::environment("Mirrored disks cannot be used on this node"))
            }
            Action::StorageModify { storage_type, name, .. }
            | Action::StorageRepair { storage_type, name } => Err(Error::environment(format!(
                "Storage unit '{name}' of type '{storage_type}' cannot be changed on this node"
            ))),
            Action::DisksCopy { from, to, target, address, token, .. } => {
                let files = self.files(&from).await?;
                same_formats(&from, &to)?;
                let channel = crate::peer::connect(&self.host.paths, target, &address).await?;
                nothing(block::send(channel, token, files, self.reporter.clone()).await)
            }
            Action::DisksReceive { instance, disks, token } => {
                let files = self.files(&disks).await?;
                self.host.receivers.allow(token, instance.uuid, files);
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
                self.host.enable_hypervisors();
                Ok(Outcome::default())
            }
            Action::Crypto(action) => nothing(crate::crypto::perform(self.host, action).await),
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
            undo: self.undo,
            reporter: self.reporter.clone(),
        }
    }

    fn hypervisor(&self, kind: Hypervisor) -> Result<AnyHypervisor> {
        self.host.hypervisors.get(kind)
    }

    async fn attachments(&self, guest: &GuestSpec) -> Result<Vec<Attachment>> {
        block::attachments(&guest.disks, &self.work()).await
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
        let work = self.work();
        let device = Device::of(disk, &work)?;
        let (guests, problems) = self.host.hypervisors.list().await;
        let running = guests.iter().find(|g| *g.name == *instance.name && g.state.is_running());
        if let (None, Some((kind, error))) = (running, problems.first()) {
            return Err(Error::environment(format!(
                "Disk {} was not grown: whether {} runs cannot be told, hypervisor {kind}: {error}",
                disk.uuid, instance.name
            )));
        }
        if running.is_none() || !device.grows_by_hypervisor() {
            device.grow(size, &work).await?;
        }
        match running {
            Some(guest) => {
                self.hypervisor(guest.hypervisor)?.resize_disk(instance, disk.uuid, size).await
            }
            None => Ok(()),
        }
    }

    async fn rename(&self, from: &[Disk], to: &[Disk]) -> Result<()> {
        same_number(from, to)?;
        let work = self.work();
        for (from, to) in from.iter().zip(to) {
            Device::of(from, &work)?.rename(to, &work).await?;
        }
        Ok(())
    }

    /// The files of disks whose data is in files.
    async fn files(&self, disks: &[Disk]) -> Result<Vec<PathBuf>> {
        let work = self.work();
        let mut files = vec![];
        for disk in disks {
            match Device::of(disk, &work)?.place(&work).await?.source {
                Source::File(path) => files.push(path),
                Source::Block(_) | Source::Uri(_) => {
                    return Err(Error::environment(format!(
                        "Disk {} of template {} cannot be copied to another node: only disks that \
                         are files can",
                        disk.uuid, disk.dev_type
                    )));
                }
            }
        }
        Ok(files)
    }
}

fn nothing(done: Result<()>) -> Result<Outcome> {
    done.map(|()| Outcome::default())
}

fn reference(guest: &GuestSpec) -> InstanceRef {
    InstanceRef { uuid: guest.uuid, name: guest.name.clone() }
}

fn same_number(from: &[Disk], to: &[Disk]) -> Result<()> {
    if from.len() == to.len() {
        return Ok(());
    }
    Err(Error::internal(format!("{} disks cannot become {}", from.len(), to.len())))
}

fn same_formats(from: &[Disk], to: &[Disk]) -> Result<()> {
    same_number(from, to)?;
    match from.iter().zip(to).find(|(a, b)| a.format() != b.format()) {
        None => Ok(()),
        Some((a, b)) => Err(Error::environment(format!(
            "Disk {} is {} and cannot be copied into one that is {}",
            a.uuid,
            a.format(),
            b.format()
        ))),
    }
}
