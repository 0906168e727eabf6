//! What masterd wants to know of a node.

use super::crypto::{CryptoAnswer, CryptoQuestion, CryptoReport};
use super::export::{ExportAnswer, ExportQuestion};
use super::guest::GuestSpec;
use super::master_ip::{IpReport, ResolvedName};
use super::observation::{GuestReport, NodeReport};
use super::oob::{OobCall, OobReply};
use crate::choices::Hypervisor;
use crate::objects::{Disk, ParamMap};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Reads something; changes nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Question {
    /// The node's state, fresh. Answer: `node`.
    Node,
    /// All guests, fresh. Answer: `guests`.
    Guests,
    /// The state of disks. Answer: `blocks`, in order.
    Blocks { disks: Vec<Disk> },
    /// All OS definitions found. Answer: `os`.
    OsList,
    /// All external storage providers found. Answer: `ext-providers`.
    ExtProviders,
    /// Whether an OS takes these parameters. Answer: `done`, or an error with the script's words.
    OsValidate { os: String, osparams: ParamMap, force_variant: bool },
    /// Whether the hypervisor can do what these parameters ask. Answer: `done` or an error.
    HvValidate { hypervisor: Hypervisor, hvparams: ParamMap },
    /// Which of these bridges are missing. Answer: `names`.
    MissingBridges { bridges: Vec<String> },
    /// How a person gets at the guest's console. Answer: `console`.
    Console { guest: Box<GuestSpec> },
    /// A health check. `storage` are directories that must be usable. Answer: `verify`.
    Verify { hypervisors: Vec<Hypervisor>, storage: Vec<String>, bridges: Vec<String> },
    /// Volumes (LVM). Answer: `volumes`.
    Volumes,
    /// Storage units of a type. Answer: `storage`.
    Storage { storage_type: String, names: Vec<String> },
    /// Free and total MiB where a disk of this kind would be made. Answer: `space`.
    Space { disk: Box<Disk> },
    /// About certificates and shared secrets. Answer: `crypto`.
    Crypto(CryptoQuestion),
    /// About exports of instances. Answer: `export`.
    Export(ExportQuestion),
    /// Runs a shell command line as root. Answer: `command`.
    Command { command: String },
    /// Whether the node has an address; with `probe` also whether another machine answers to it,
    /// which takes a second when none does. `netdev` is where neighbours are asked. Answer:
    /// `ip-address`.
    IpAddress { ip: IpAddr, netdev: String, probe: bool },
    /// What a name stands for, and whether somebody has that address. Answer: `resolved`.
    Resolve { name: String, ipv6: bool, netdev: String },
    /// All allocator scripts found. Answer: `names`.
    IallocatorList,
    /// Runs an allocator script on a request, as text, with these arguments behind it. Answer:
    /// `iallocator`.
    Iallocator { name: String, request: String, args: Vec<String> },
    /// Runs out-of-band helpers that only look. Answer: `oob`, in order.
    Oob { calls: Vec<OobCall> },
    /// Whether these out-of-band helpers can be run. Answer: `oob-programs`.
    OobPrograms { programs: Vec<String> },
    /// Writes a file as root. Answer: `done`.
    PutFile { path: String, mode: u32, content: Vec<u8> },
}

/// What a node answers; one variant for each kind of question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Nothing to say but that it is so.
    Done,
    Node(Box<NodeReport>),
    Guests(Vec<GuestReport>),
    Blocks(Vec<BlockStatus>),
    Os(Vec<OsReport>),
    ExtProviders(Vec<ExtReport>),
    Names(Vec<String>),
    Console(ConsoleInfo),
    Verify(Box<VerifyReport>),
    Volumes(Vec<VolumeReport>),
    Storage(Vec<StorageUnit>),
    /// (total, free) in MiB; nothing where it cannot be told.
    Space(Option<(u64, u64)>),
    IpAddress(IpReport),
    Resolved(ResolvedName),
    Crypto(CryptoAnswer),
    Export(ExportAnswer),
    Command {
        code: i32,
        output: Vec<u8>,
    },
    /// What an allocator script printed.
    Iallocator(String),
    /// What out-of-band helpers said.
    Oob(Vec<OobReply>),
    /// Why out-of-band helpers cannot be run, by their paths; those that can are not in it.
    OobPrograms(BTreeMap<String, String>),
}

/// What a hypervisor runs guests with on a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Acceleration {
    /// Guests can be run at all.
    pub usable: bool,
    /// `kvm`, `tcg`, `none`, …
    pub accelerator: String,
    /// Why this one, in words.
    pub reason: String,
    /// Versions of the parts: `qemu 10.0.2, libvirt 11.3.0`.
    pub version: String,
}

/// The state of a disk on a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockStatus {
    pub state: BlockState,
    /// Local path, when assembled; the URI of one that only a hypervisor opens, without passwords.
    #[serde(default)]
    pub path: Option<String>,
    /// Kernel device numbers, where it is a device.
    #[serde(default)]
    pub major_minor: Option<(u32, u32)>,
    /// MiB it really has.
    #[serde(default)]
    pub size: Option<u64>,
    /// Mirrors only.
    #[serde(default)]
    pub sync: Option<SyncStatus>,
    /// More to say: why it is faulty.
    #[serde(default)]
    pub detail: String,
    #[serde(default)]
    pub children: Vec<BlockStatus>,
}

impl BlockStatus {
    /// Nothing more is known than this.
    pub fn of(state: BlockState) -> BlockStatus {
        BlockStatus {
            state,
            path: None,
            major_minor: None,
            size: None,
            sync: None,
            detail: String::new(),
            children: vec![],
        }
    }
}

/// What a disk is like on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockState {
    /// Usable now.
    Active,
    /// There, not assembled.
    Inactive,
    /// Not there.
    Missing,
    /// There and broken.
    Faulty,
}

/// How far the two sides of a mirror are from being equal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SyncStatus {
    /// Share that is equal, 0–100.
    pub percent: f64,
    /// Seconds left, where known.
    #[serde(default)]
    pub eta: Option<f64>,
    /// One side is missing or behind.
    pub degraded: bool,
    /// This side's data is good.
    pub local_good: bool,
    /// Bytes a second, while they are being made equal.
    #[serde(default)]
    pub rate: Option<f64>,
    /// The connection in DRBD's word: `Connected`, `SyncSource`, `WFConnection`, `StandAlone`, …
    #[serde(default)]
    pub connection: String,
    /// This side's role in DRBD's word: `Primary`, `Secondary`, …
    #[serde(default)]
    pub role: String,
    /// The data here and on the other side in DRBD's words: `UpToDate`, `Inconsistent`, …
    #[serde(default)]
    pub disk: String,
    #[serde(default)]
    pub peer_disk: String,
    /// DRBD's identifiers of this side's data: current, bitmap, and two of its history. They tell
    /// whether two sides that do not talk have both been written.
    #[serde(default)]
    pub generations: Vec<String>,
    /// Both sides were written while they did not see each other.
    #[serde(default)]
    pub split_brain: bool,
}

/// An OS definition on a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OsReport {
    pub name: String,
    pub path: String,
    pub valid: bool,
    /// Why not.
    #[serde(default)]
    pub problem: String,
    #[serde(default)]
    pub api_versions: Vec<u32>,
    #[serde(default)]
    pub variants: Vec<String>,
    /// (name, description).
    #[serde(default)]
    pub parameters: Vec<(String, String)>,
    /// Its create script may run on the node itself.
    #[serde(default)]
    pub trusted: bool,
}

/// An external storage provider on a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExtReport {
    pub name: String,
    pub path: String,
    pub valid: bool,
    /// Why not.
    #[serde(default)]
    pub problem: String,
    /// (name, description).
    #[serde(default)]
    pub parameters: Vec<(String, String)>,
}

/// How to get at a console: Ganeti's dict.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConsoleInfo {
    pub instance: String,
    /// `ssh`, `vnc`, `spice` or `msg`.
    pub kind: String,
    #[serde(default)]
    pub message: Option<String>,
    #[serde(default)]
    pub host: Option<String>,
    #[serde(default)]
    pub port: Option<u16>,
    #[serde(default)]
    pub user: Option<String>,
    /// To be run on the node.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    #[serde(default)]
    pub display: Option<u16>,
}

/// A node's check of itself. Each text is a problem.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VerifyReport {
    pub node: NodeReport,
    pub guests: Vec<GuestReport>,
    /// (hypervisor, problem).
    #[serde(default)]
    pub hypervisors: Vec<(String, String)>,
    /// (directory, problem).
    #[serde(default)]
    pub storage: Vec<(String, String)>,
    #[serde(default)]
    pub missing_bridges: Vec<String>,
    #[serde(default)]
    pub daemons: Vec<DaemonStatus>,
    /// SHA-256 of the ssconf files, by key.
    #[serde(default)]
    pub ssconf: BTreeMap<String, String>,
    /// Seconds since 1970 at which the node's certificate ends.
    #[serde(default)]
    pub certificate_expires: Option<f64>,
    /// Its certificates and shared secrets.
    #[serde(default)]
    pub crypto: Option<CryptoReport>,
    #[serde(default)]
    pub os: Vec<OsReport>,
    /// Files in the storage directories that look like disks: path and MiB.
    #[serde(default)]
    pub files: Vec<(String, u64)>,
    /// All logical volumes; nothing where there is no LVM.
    #[serde(default)]
    pub volumes: Option<Vec<VolumeReport>>,
    /// Physical volumes that are in a volume group and there: group, name, MiB.
    #[serde(default)]
    pub physical: Vec<(String, String, u64)>,
    /// Mirrors that are set up; nothing where there is no DRBD.
    #[serde(default)]
    pub mirrors: Option<Vec<MirrorReport>>,
    /// Problems of LVM and DRBD themselves: (verify code, problem).
    #[serde(default)]
    pub devices: Vec<(String, String)>,
}

/// A DRBD device that a node has set up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MirrorReport {
    pub minor: u32,
    pub sync: SyncStatus,
}

/// A daemon of ours on a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DaemonStatus {
    pub name: String,
    pub running: bool,
}

/// A logical volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VolumeReport {
    pub device: String,
    pub vg: String,
    pub name: String,
    /// MiB.
    pub size: u64,
    /// Something has it open.
    #[serde(default)]
    pub open: bool,
    /// Not set up by the kernel.
    #[serde(default)]
    pub inactive: bool,
    #[serde(default)]
    pub tags: Vec<String>,
    /// Where its parts are: `/dev/sdb(0)`.
    #[serde(default)]
    pub devices: String,
}

/// A storage unit: a directory, a volume group, a physical volume. Sizes in MiB.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StorageUnit {
    pub name: String,
    pub size: u64,
    pub used: u64,
    pub free: u64,
    pub allocatable: bool,
}

/// What one hook script did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HookResult {
    /// `<path>-<phase>.d/<script>`.
    pub script: String,
    /// Skipped (not executable), failed, or succeeded: `None`, `Some(false)`, `Some(true)`.
    pub ok: Option<bool>,
    pub output: String,
}
