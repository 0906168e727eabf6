//! Changing running guests: disks, cards, memory.

use super::lifecycle::not_running;
use super::{Kvm, Phase, QUICK, live, xml};
use crate::hypervisor::Attachment;
use roost_proto::error::{Error, Result};
use roost_proto::ids::DiskId;
use roost_proto::node::{GuestNic, GuestSpec, InstanceRef};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use virt::domain::Domain;
use virt_sys as sys;

/// A guest takes its time to let go of a device: it is asked again, and given up at last.
const ASK_AGAIN: Duration = Duration::from_secs(5);
const GIVE_UP: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(200);

const LIVE: u32 = sys::VIR_DOMAIN_AFFECT_LIVE;

impl Kvm {
    /// The XML of a running guest.
    pub(super) async fn live_xml(&self, name: &str) -> Result<String> {
        let what = format!("Cannot look at instance {name}");
        let get = |domain: &Domain| domain.get_xml_desc(0);
        self.with(name, what, QUICK, get).await?.ok_or_else(|| not_running(name))
    }

    pub(crate) async fn plug_disk(&self, guest: &GuestSpec, disk: &Attachment) -> Result<()> {
        if live::disk(&self.live_xml(&guest.name).await?, disk.uuid).is_some() {
            return Ok(());
        }
        let host = self.host(guest).await?;
        let xml = xml::plugged_disk(guest, disk, &host)?;
        self.attach(&guest.name, &format!("disk {}", disk.index), xml).await
    }

    pub(crate) async fn unplug_disk(&self, guest: &GuestSpec, disk: DiskId) -> Result<()> {
        match live::disk_alias(&self.live_xml(&guest.name).await?, disk) {
            Some(alias) => self.detach(&guest.name, "disk", &alias).await,
            None => Ok(()),
        }
    }

    pub(crate) async fn plug_nic(&self, guest: &GuestSpec, nic: &GuestNic) -> Result<()> {
        let alias = xml::nic_alias(nic.uuid);
        if live::device(&self.live_xml(&guest.name).await?, "interface", &alias).is_some() {
            return Ok(());
        }
        let mut host = self.host(guest).await?;
        host.scripted = self.0.nics.scripted(std::slice::from_ref(nic));
        let xml = xml::plugged_nic(guest, nic, &host)?;
        self.0.nics.connect(guest, std::slice::from_ref(nic), Phase::Start).await?;
        let attached = self.attach(&guest.name, &format!("network card {}", nic.index), xml).await;
        if attached.is_err() {
            self.0.nics.disconnect_one(&guest.name, nic.uuid).await?;
        }
        attached
    }

    pub(crate) async fn unplug_nic(&self, guest: &GuestSpec, nic: &GuestNic) -> Result<()> {
        self.detach(&guest.name, "interface", &xml::nic_alias(nic.uuid)).await?;
        self.0.nics.disconnect_one(&guest.name, nic.uuid).await
    }

    async fn attach(&self, name: &str, device: &str, xml: String) -> Result<()> {
        let what = format!("Cannot plug {device} into instance {name}");
        let attach = move |domain: &Domain| domain.attach_device_flags(&xml, LIVE).map(drop);
        self.with(name, what, QUICK, attach).await?.ok_or_else(|| not_running(name))
    }

    /// Takes a device out and waits until the guest has let go of it.
    async fn detach(&self, name: &str, kind: &'static str, alias: &str) -> Result<()> {
        let deadline = Instant::now() + GIVE_UP;
        let mut asked: Option<Instant> = None;
        let mut refusal = String::new();
        loop {
            let xml = self.live_xml(name).await?;
            let Some(device) = live::device(&xml, kind, alias).map(str::to_owned) else {
                return Ok(());
            };
            if Instant::now() >= deadline {
                return Err(Error::exec(format!(
                    "Instance {name} does not let go of its {kind} within {} seconds{refusal}; \
                     unmount it in the guest and try again, or stop the instance first",
                    GIVE_UP.as_secs()
                )));
            }
            if asked.is_none_or(|at| at.elapsed() >= ASK_AGAIN) {
                asked = Some(Instant::now());
                let what = format!("Cannot unplug a {kind} of instance {name}");
                let detach =
                    move |domain: &Domain| domain.detach_device_flags(&device, LIVE).map(drop);
                // An earlier request may still be under way: the next look decides.
                if let Err(error) = self.with(name, what, QUICK, detach).await {
                    refusal = format!(" ({})", error.message);
                }
            }
            sleep(LOOK).await;
        }
    }

    /// The first of these disks that a guest holds, running or frozen. If libvirt cannot be asked,
    /// a guest without a process holds none.
    pub(crate) async fn uses(&self, name: &str, disks: &[DiskId]) -> Result<Option<DiskId>> {
        let what = format!("Cannot tell which disks instance {name} uses");
        let get = |domain: &Domain| domain.get_xml_desc(0);
        let xml = match self.with(name, what, QUICK, get).await {
            Ok(xml) => xml.unwrap_or_default(),
            Err(_) if !super::moving::has_process(name) => return Ok(None),
            Err(error) => return Err(error),
        };
        let held = |disk: &&DiskId| live::disk(&xml, **disk).is_some();
        Ok(disks.iter().find(held).copied())
    }

    pub(crate) async fn resize_disk(
        &self,
        guest: &InstanceRef,
        disk: DiskId,
        size: u64,
    ) -> Result<()> {
        let name = guest.name.as_str();
        if self.state(name).await?.is_none() {
            return Ok(());
        }
        let xml = self.live_xml(name).await?;
        let Some(device) = live::disk(&xml, disk) else {
            return Ok(());
        };
        let target = live::attribute(device, "target", "dev")
            .ok_or_else(|| Error::internal(format!("{name}: a disk without a target: {device}")))?;
        let what = format!("Cannot tell instance {name} the new size of disk {target}");
        let resize = move |domain: &Domain| {
            let bytes = size << 20;
            domain.block_resize(&target, bytes, sys::VIR_DOMAIN_BLOCK_RESIZE_BYTES).map(drop)
        };
        self.with(name, what, QUICK, resize).await.map(drop)
    }

    pub(crate) async fn balloon(&self, guest: &InstanceRef, memory: u64) -> Result<()> {
        let what = format!("Cannot change the memory of instance {} to {memory} MiB", guest.name);
        let set = move |domain: &Domain| domain.set_memory_flags(memory << 10, LIVE).map(drop);
        self.with(&guest.name, what, QUICK, set).await?.ok_or_else(|| not_running(&guest.name))
    }
}
