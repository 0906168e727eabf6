//! One hypervisor of this node, whichever it is.

use super::{Attachment, Fake, Kvm};
use roost_proto::choices::Hypervisor;
use roost_proto::error::Result;
use roost_proto::ids::DiskId;
use roost_proto::node::{
    Acceleration, ConsoleInfo, GuestNic, GuestReport, GuestSpec, InstanceRef, RebootKind,
};
use roost_proto::objects::ParamMap;
use std::time::Duration;

/// One hypervisor. Every call may be repeated: what is so already is success.
///
/// Errors are `OpPrereqError` when nothing was touched (a parameter that cannot be had, a missing
/// file), `OpExecError` when the hypervisor failed.
#[derive(Clone, Debug)]
pub enum AnyHypervisor {
    /// QEMU through libvirt.
    Kvm(Kvm),
    /// Guests are files.
    Fake(Fake),
}

/// Hands a call on to the hypervisor there is.
macro_rules! each {
    ($self:ident, $hv:ident => $call:expr) => {
        match $self {
            AnyHypervisor::Kvm($hv) => $call,
            AnyHypervisor::Fake($hv) => $call,
        }
    };
}

impl AnyHypervisor {
    /// Which one it is.
    pub fn kind(&self) -> Hypervisor {
        match self {
            AnyHypervisor::Kvm(_) => Hypervisor::Kvm,
            AnyHypervisor::Fake(_) => Hypervisor::Fake,
        }
    }

    /// Starts a guest, frozen if `paused`. `disks` are its assembled disks, in order.
    pub async fn start(&self, guest: &GuestSpec, disks: &[Attachment], paused: bool) -> Result<()> {
        each!(self, hv => hv.start(guest, disks, paused).await)
    }

    /// Asks a guest to shut down and kills it after `timeout`; at once if that is zero.
    pub async fn stop(&self, guest: &InstanceRef, timeout: Duration) -> Result<()> {
        each!(self, hv => hv.stop(guest, timeout).await)
    }

    /// Restarts a running guest. Soft: the guest is asked and keeps its process; if it does not
    /// obey within `timeout`, and for hard, it is stopped and started.
    pub async fn reboot(
        &self,
        guest: &GuestSpec,
        disks: &[Attachment],
        kind: RebootKind,
        timeout: Duration,
    ) -> Result<()> {
        each!(self, hv => hv.reboot(guest, disks, kind, timeout).await)
    }

    /// Changes the memory of a running guest, MiB.
    pub async fn balloon(&self, guest: &InstanceRef, memory: u64) -> Result<()> {
        each!(self, hv => hv.balloon(guest, memory).await)
    }

    /// Lets a frozen guest run on.
    pub async fn resume(&self, guest: &InstanceRef) -> Result<()> {
        each!(self, hv => hv.resume(guest).await)
    }

    /// Gives a running guest a disk.
    pub async fn plug_disk(&self, guest: &GuestSpec, disk: &Attachment) -> Result<()> {
        each!(self, hv => hv.plug_disk(guest, disk).await)
    }

    /// Takes a disk out of a running guest; on return nothing holds it open.
    pub async fn unplug_disk(&self, guest: &GuestSpec, disk: DiskId) -> Result<()> {
        each!(self, hv => hv.unplug_disk(guest, disk).await)
    }

    /// The first of these disks that a guest holds, if it is here and holds one.
    pub async fn uses(&self, guest: &str, disks: &[DiskId]) -> Result<Option<DiskId>> {
        each!(self, hv => hv.uses(guest, disks).await)
    }

    /// Tells a guest, if it runs, that a disk of it has grown to `size` MiB.
    pub async fn resize_disk(&self, guest: &InstanceRef, disk: DiskId, size: u64) -> Result<()> {
        each!(self, hv => hv.resize_disk(guest, disk, size).await)
    }

    /// Gives a running guest a network card.
    pub async fn plug_nic(&self, guest: &GuestSpec, nic: &GuestNic) -> Result<()> {
        each!(self, hv => hv.plug_nic(guest, nic).await)
    }

    /// Takes a network card out of a running guest.
    pub async fn unplug_nic(&self, guest: &GuestSpec, nic: &GuestNic) -> Result<()> {
        each!(self, hv => hv.unplug_nic(guest, nic).await)
    }

    /// Makes a card of a running guest what `nic` says.
    pub async fn replug_nic(&self, guest: &GuestSpec, nic: &GuestNic) -> Result<()> {
        self.unplug_nic(guest, nic).await?;
        self.plug_nic(guest, nic).await
    }

    /// All guests, also those that are not ours.
    pub async fn list(&self) -> Result<Vec<GuestReport>> {
        each!(self, hv => hv.list().await)
    }

    /// One guest, if it is there.
    pub async fn info(&self, name: &str) -> Result<Option<GuestReport>> {
        each!(self, hv => hv.info(name).await)
    }

    /// How a person gets at a guest's console. The host is left for whoever knows it.
    pub async fn console(&self, guest: &GuestSpec) -> Result<ConsoleInfo> {
        each!(self, hv => hv.console(guest).await)
    }

    /// Whether this node can do what the parameters ask.
    pub async fn validate(&self, hvparams: &ParamMap) -> Result<()> {
        each!(self, hv => hv.validate(hvparams).await)
    }

    /// What guests run with here. Cheap after the first time.
    pub async fn acceleration(&self) -> Acceleration {
        each!(self, hv => hv.acceleration().await)
    }

    /// Removes what is left of a guest that does not run here any more (it moved away, or its
    /// instance is gone). Errors if it does run.
    pub async fn forget(&self, guest: &InstanceRef) -> Result<()> {
        each!(self, hv => hv.forget(guest).await)
    }
}
