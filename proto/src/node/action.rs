//! What changes a node.

use super::crypto::CryptoAction;
use super::export::ExportAction;
use super::guest::{GuestNic, GuestSpec};
use super::master_ip::MasterIp;
use super::observation::GuestReport;
use super::oob::OobCall;
use crate::choices::Hypervisor;
use crate::ids::{InstanceId, NodeId};
use crate::names::InstanceName;
use crate::objects::{Disk, ParamMap};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One change of one node. Idempotent: a node that finds it done says so and succeeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Action {
    /// Makes the disks and everything below them. What exists already with the right size is
    /// taken as made by an earlier try.
    DisksCreate { instance: InstanceRef, disks: Vec<Disk> },
    /// Removes them with their data. What does not exist is removed.
    DisksRemove { instance: InstanceRef, disks: Vec<Disk> },
    /// Overwrites them with zeros.
    DisksWipe { instance: InstanceRef, disks: Vec<Disk> },
    /// Makes them usable on this node, as they are described: a mirror gets the storage and the
    /// connection that its description says, whatever it had before.
    DisksAssemble {
        instance: InstanceRef,
        disks: Vec<Disk>,
        role: DiskRole,
        /// Also with data that is not known to be the newest. An administrator wants it.
        #[serde(default)]
        force: bool,
        /// Also where a device has not the recorded size.
        #[serde(default)]
        ignore_size: bool,
        /// The other side of mirrors is away: it is not waited for.
        #[serde(default)]
        alone: bool,
    },
    /// The opposite: nothing holds them any more.
    DisksShutdown { instance: InstanceRef, disks: Vec<Disk> },
    /// Allows writing; not exclusively while the other end of a migration also has them open.
    DisksOpen { instance: InstanceRef, disks: Vec<Disk>, exclusive: bool },
    /// Forbids writing.
    DisksClose { instance: InstanceRef, disks: Vec<Disk> },
    /// Grows one to `size` MiB.
    DiskGrow {
        instance: InstanceRef,
        disk: Disk,
        size: u64,
        #[serde(default)]
        stage: GrowStage,
    },
    /// Moves the data of `from[i]` to where `to[i]` says it is, on this node.
    DisksRename { instance: InstanceRef, from: Vec<Disk>, to: Vec<Disk> },
    /// Makes `to[i]`, a disk of its own, a copy of `from[i]` as of now.
    DisksSnapshot { instance: InstanceRef, from: Vec<Disk>, to: Vec<Disk> },
    /// New mirrors, connected: what this node has on them is what counts, the other side gets all
    /// of it. Refused where the other side has good data and this one has not.
    MirrorsSeed { instance: InstanceRef, disks: Vec<Disk> },
    /// Waits until both sides of the mirrors are equal. Fails when that cannot come to be.
    MirrorsSync { instance: InstanceRef, disks: Vec<Disk> },
    /// Lets go of this node's storage of the mirrors, which go on with the other side's.
    MirrorsDetach { instance: InstanceRef, disks: Vec<Disk> },
    /// Parts the mirrors from their other side. With `outdate` this side's data is marked as not
    /// the newest any more: it is not used again unless forced, or until it is equal again.
    MirrorsDisconnect { instance: InstanceRef, disks: Vec<Disk>, outdate: bool },
    /// The sides have parted and both were written: gives up what this side wrote since then and
    /// takes the other's.
    MirrorsDiscard { instance: InstanceRef, disks: Vec<Disk> },
    /// Changes a storage unit: `allocatable` of a physical volume.
    StorageModify { storage_type: String, name: String, changes: ParamMap },
    /// Makes a storage unit consistent again: a volume group that lost a physical volume.
    StorageRepair { storage_type: String, name: String },
    /// Sends the data of the disks to the node at `address`, into disks made there before, of any
    /// template; `target` may be this node itself. All are assembled, and the target awaits it
    /// ([`Action::DisksReceive`], needed only where it is another node). A copy that broke goes on
    /// where it was.
    DisksCopy {
        instance: InstanceRef,
        from: Vec<Disk>,
        to: Vec<Disk>,
        target: NodeId,
        address: String,
        token: String,
        /// How it travels: a name of a compression tool; empty: as it is.
        #[serde(default)]
        compress: String,
    },
    /// Allows the disks to be written over by [`Action::DisksCopy`] of that token.
    DisksReceive { instance: InstanceRef, disks: Vec<Disk>, token: String },

    /// Runs a script of an OS definition.
    OsRun {
        guest: Box<GuestSpec>,
        script: OsScript,
        /// Public parameters.
        #[serde(default)]
        osparams: ParamMap,
        /// Private and secret ones. Never logged.
        #[serde(default)]
        osparams_private: ParamMap,
        #[serde(default)]
        debug: bool,
    },

    /// Starts it; if it runs already, that is success.
    GuestStart { guest: Box<GuestSpec>, paused: bool },
    /// Asks it to shut down; kills it after `timeout` seconds. Not running is success.
    GuestStop { instance: InstanceRef, hypervisor: Hypervisor, timeout: u64 },
    /// Restarts a running guest.
    GuestReboot { guest: Box<GuestSpec>, kind: RebootKind, timeout: u64 },
    /// Changes the memory of a running guest, MiB.
    GuestBalloon { instance: InstanceRef, hypervisor: Hypervisor, memory: u64 },
    /// Adds a disk to a running guest (`disk` is one of `guest.disks`).
    DiskPlug { guest: Box<GuestSpec>, disk: Disk },
    /// Takes a disk out of a running guest.
    DiskUnplug { guest: Box<GuestSpec>, disk: Disk },
    /// While the guest runs: copies each disk `from[i]` to `to[i]`, both assembled, and has the
    /// guest go on with that. Done already is success. A failure leaves it on its old disks.
    DisksMirror { guest: Box<GuestSpec>, from: Vec<Disk>, to: Vec<Disk> },
    /// Adds a network card to a running guest.
    NicPlug { guest: Box<GuestSpec>, nic: GuestNic },
    /// Takes a card out of a running guest.
    NicUnplug { guest: Box<GuestSpec>, nic: GuestNic },
    /// Changes a card of a running guest.
    NicReplug { guest: Box<GuestSpec>, nic: GuestNic },
    /// Lets a running guest go on that was started paused.
    GuestResume { instance: InstanceRef, hypervisor: Hypervisor },

    /// On the target: get ready to receive the guest; connections that name `token` are let in.
    MigrateAccept { guest: Box<GuestSpec>, token: String },
    /// On the source: move the guest to the node at `address`. Success means that it runs there
    /// and not here. Found running on the target already: success.
    MigrateRun {
        guest: Box<GuestSpec>,
        target: NodeId,
        address: String,
        token: String,
        mode: MigrationMode,
    },
    /// On the target: no more connections; what was prepared is forgotten. `success` says whether
    /// the guest is now here.
    MigrateFinish { guest: Box<GuestSpec>, token: String, success: bool },
    /// On the source, after the guest has left: nothing of it remains.
    GuestForget { instance: InstanceRef, hypervisor: Hypervisor },

    /// Takes the master IP and tells the neighbours. Refused if another machine answers to it.
    MasterIpUp { address: MasterIp },
    /// Gives it up. Not having it is success.
    MasterIpDown { address: MasterIp },
    /// Runs the hooks of a phase. Outcome: `hooks`.
    Hooks { path: String, phase: HookPhase, env: BTreeMap<String, String> },
    /// Writes `ssconf_<key>` files; all others of that kind are removed.
    SsconfWrite { values: BTreeMap<String, String> },
    /// Certificates and shared secrets.
    Crypto(CryptoAction),
    /// Exports of instances, and imports.
    Export(ExportAction),
    /// Does nothing for some seconds.
    Delay { duration: f64 },
    /// Restarts the machine, hard.
    Powercycle { hypervisor: Hypervisor },
    /// On the master's node: switches another machine by its out-of-band helper.
    Oob(OobCall),
    /// Forgets the cluster: certificates, ssconf, remembered results. The last thing a node hears.
    Leave,
}

/// The instance an action is about, for messages and file names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceRef {
    pub uuid: InstanceId,
    pub name: InstanceName,
}

/// What a node will do with the disks it assembles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskRole {
    /// Runs the guest.
    Primary,
    /// Holds a mirror.
    Secondary,
}

/// How much of growing a disk is done. What it was before is `disk.size`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GrowStage {
    /// All of it: the storage grows, then a guest that uses the disk is told.
    #[default]
    Whole,
    /// Only the storage grows.
    Storage,
    /// What was added is overwritten with zeros, unless it reads as zeros anyway. Only between
    /// the other two: no guest may know of it yet.
    Zero,
}

/// How a guest moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationMode {
    /// It keeps running while its memory is copied.
    pub live: bool,
    /// Its disks are copied too.
    #[serde(default)]
    pub copy_disks: bool,
}

/// Ganeti's kinds of reboot that a node does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RebootKind {
    /// The guest is asked to.
    Soft,
    /// It is stopped and started.
    Hard,
}

/// Which script of an OS definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OsScript {
    /// Installs the OS.
    Create { reinstall: bool },
    /// Tells it its new name.
    Rename { old_name: String },
}

/// When hooks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HookPhase {
    /// Before; may veto.
    Pre,
    /// After; failures are only reported.
    Post,
}

/// How far an action is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// 0–100, where known.
    #[serde(default)]
    pub percent: Option<f64>,
    /// Bytes a second, where known.
    #[serde(default)]
    pub rate: Option<f64>,
    /// Seconds left, where known.
    #[serde(default)]
    pub eta: Option<f64>,
    /// A line for the job's log, where there is something to say.
    #[serde(default)]
    pub message: Option<String>,
}

/// What an action leaves to say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Lines for the job's log.
    #[serde(default)]
    pub messages: Vec<String>,
    /// Local paths of assembled disks, in order.
    #[serde(default)]
    pub devices: Vec<String>,
    /// What the hooks said.
    #[serde(default)]
    pub hooks: Vec<super::HookResult>,
    /// The guest concerned as it is now, so that whoever asks after the job sees it at once.
    #[serde(default)]
    pub guest: Option<GuestReport>,
    /// Names of guests that are gone from this node.
    #[serde(default)]
    pub gone: Vec<InstanceName>,
    /// The exports that are on this node now, where the action changed them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exports: Option<Vec<String>>,
}
