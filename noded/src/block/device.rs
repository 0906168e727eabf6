//! One disk on this node, whichever its template.

use super::blockdev::AdoptedDevice;
use super::diskless::Diskless;
use super::drbd::DrbdDisk;
use super::ext::ExtDisk;
use super::file::FileDisk;
use super::gluster::GlusterDisk;
use super::lvm::Volume;
use super::rbd::RbdDisk;
use crate::budget::Budget;
use crate::hypervisor::{ImageFormat, Source};
use crate::steps::Reporter;
use roost_proto::choices::DiskTemplate;
use roost_proto::error::Result;
use roost_proto::ids::NodeId;
use roost_proto::node::{BlockStatus, DiskRole, InstanceRef};
use roost_proto::objects::Disk;
use roost_proto::paths::Paths;
use std::pin::Pin;

/// What devices work with.
#[derive(Clone, Debug)]
pub struct Work {
    pub paths: Paths,
    /// This node: a mirror has a side here and one elsewhere.
    pub node: NodeId,
    /// Whose disks these are, where that was said.
    pub instance: Option<InstanceRef>,
    /// An earlier step is being undone: only what that step made may go.
    pub undo: bool,
    pub reporter: Reporter,
    /// What it may take of the node for moving data.
    pub budget: Budget,
}

/// Where an assembled disk is, for whoever opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub source: Source,
    pub format: ImageFormat,
    /// Other nodes reach the same data.
    pub shared: bool,
}

/// How disks are made usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assembly {
    pub role: DiskRole,
    /// Also with data that is not known to be the newest.
    pub force: bool,
    /// Also where a device has not the recorded size.
    pub ignore_size: bool,
    /// The other side of mirrors is away.
    pub alone: bool,
}

impl Assembly {
    /// As usual, in a role.
    pub fn of(role: DiskRole) -> Assembly {
        Assembly { role, force: false, ignore_size: false, alone: false }
    }
}

/// What a template can do. Sizes in MiB. All of it may be repeated.
pub trait BlockDevice {
    /// Makes it, with its size and no data. What has this disk's mark already is taken as made by
    /// an earlier try; something foreign in its place is an error. A failure leaves nothing.
    fn create(&self, work: &Work) -> impl Future<Output = Result<()>> + Send;
    /// Removes it with its data.
    fn remove(&self, work: &Work) -> impl Future<Output = Result<()>> + Send;
    /// Overwrites it with zeros.
    fn wipe(&self, work: &Work) -> impl Future<Output = Result<()>> + Send;
    /// Makes it usable on this node.
    fn assemble(&self, role: DiskRole, work: &Work) -> impl Future<Output = Result<()>> + Send;
    /// The opposite.
    fn shutdown(&self, work: &Work) -> impl Future<Output = Result<()>> + Send;
    /// Allows writing; together with another node only if not `exclusive`.
    fn open(&self, exclusive: bool, work: &Work) -> impl Future<Output = Result<()>> + Send;
    /// Forbids writing.
    fn close(&self, work: &Work) -> impl Future<Output = Result<()>> + Send;
    /// Makes it `size` MiB large, never smaller.
    fn grow(&self, size: u64, work: &Work) -> impl Future<Output = Result<()>> + Send;
    /// Moves its data to where `to` says.
    fn rename(&self, to: &Disk, work: &Work) -> impl Future<Output = Result<()>> + Send;
    /// Makes `to` a copy of its data as of now.
    fn snapshot(&self, to: &Disk, work: &Work) -> impl Future<Output = Result<()>> + Send;
    /// How it is. A missing disk is an answer, not an error.
    fn status(&self, work: &Work) -> impl Future<Output = Result<BlockStatus>> + Send;
    /// Where it is, once assembled. Errors if it is not there.
    fn place(&self, work: &Work) -> impl Future<Output = Result<Place>> + Send;
}

/// A disk of any template. Those on which others stand hold them as Devices, too.
#[derive(Clone, Debug)]
pub enum Device {
    Diskless(Diskless),
    File(FileDisk),
    Plain(Volume),
    Ext(ExtDisk),
    Gluster(GlusterDisk),
    Rbd(RbdDisk),
    Adopted(AdoptedDevice),
    Drbd(DrbdDisk),
}

/// A call under way.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Hands a call on to the device there is; boxed, because devices stand on devices.
macro_rules! hand_on {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $kind:ty),*) -> $out:ty;)+) => {
        impl Device {$(
            $(#[$doc])*
            pub fn $name<'a>(&'a self, $($arg: $kind,)* work: &'a Work) -> Doing<'a, $out> {
                match self {
                    Device::Diskless(device) => Box::pin(device.$name($($arg,)* work)),
                    Device::File(device) => Box::pin(device.$name($($arg,)* work)),
                    Device::Plain(device) => Box::pin(device.$name($($arg,)* work)),
                    Device::Ext(device) => Box::pin(device.$name($($arg,)* work)),
                    Device::Gluster(device) => Box::pin(device.$name($($arg,)* work)),
                    Device::Rbd(device) => Box::pin(device.$name($($arg,)* work)),
                    Device::Adopted(device) => Box::pin(device.$name($($arg,)* work)),
                    Device::Drbd(device) => Box::pin(device.$name($($arg,)* work)),
                }
            }
        )+}
    };
}

hand_on! {
    /// See [`BlockDevice::create`].
    create() -> ();
    /// See [`BlockDevice::remove`].
    remove() -> ();
    /// See [`BlockDevice::wipe`].
    wipe() -> ();
    /// See [`BlockDevice::assemble`].
    assemble(role: DiskRole) -> ();
    /// See [`BlockDevice::shutdown`].
    shutdown() -> ();
    /// See [`BlockDevice::open`].
    open(exclusive: bool) -> ();
    /// See [`BlockDevice::close`].
    close() -> ();
    /// See [`BlockDevice::grow`].
    grow(size: u64) -> ();
    /// See [`BlockDevice::rename`].
    rename(to: &'a Disk) -> ();
    /// See [`BlockDevice::snapshot`].
    snapshot(to: &'a Disk) -> ();
    /// See [`BlockDevice::status`].
    status() -> BlockStatus;
    /// See [`BlockDevice::place`].
    place() -> Place;
}

impl Device {
    /// How this node does a disk. Errors: a template this version cannot do, a path outside the
    /// storage directories.
    pub fn of(disk: &Disk, work: &Work) -> Result<Device> {
        match disk.dev_type {
            DiskTemplate::Diskless => Ok(Device::Diskless(Diskless)),
            DiskTemplate::File | DiskTemplate::SharedFile => {
                FileDisk::of(disk, &work.paths).map(Device::File)
            }
            DiskTemplate::Ext => ExtDisk::of(disk).map(Device::Ext),
            DiskTemplate::Gluster => GlusterDisk::of(disk, &work.paths).map(Device::Gluster),
            DiskTemplate::Rbd => RbdDisk::of(disk).map(Device::Rbd),
            DiskTemplate::BlockDev => AdoptedDevice::of(disk).map(Device::Adopted),
            DiskTemplate::Plain => Volume::of(disk).map(Device::Plain),
            DiskTemplate::Drbd => DrbdDisk::of(disk, work).map(Device::Drbd),
        }
    }

    /// Makes it usable as is said; what only mirrors can heed, others need not.
    pub fn assemble_as<'a>(&'a self, how: Assembly, work: &'a Work) -> Doing<'a, ()> {
        match self {
            Device::Drbd(disk) => Box::pin(disk.assemble_as(how, work)),
            other => other.assemble(how.role, work),
        }
    }

    /// While a guest uses it, only its hypervisor may grow it.
    pub fn grows_by_hypervisor(&self) -> bool {
        match self {
            Device::Diskless(_)
            | Device::Plain(_)
            | Device::Ext(_)
            | Device::Adopted(_)
            | Device::Drbd(_) => false,
            Device::Gluster(disk) => disk.grows_by_hypervisor(),
            Device::Rbd(disk) => disk.grows_by_hypervisor(),
            Device::File(file) => file.grows_by_hypervisor(),
        }
    }
}
