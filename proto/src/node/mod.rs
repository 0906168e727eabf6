//! What masterd asks of a node, and what it is told.
//!
//! ```text
//!   Action    changes something; runs under a fence, may report Progress, ends in an Outcome.
//!             Idempotent: done twice is done once.
//!   Question  reads something; ends in an Answer.
//!   Observation  what a node sees by itself and tells whoever watches.
//! ```
//!
//! These types are sent (as JSON, in the envelope of `node.proto`) and journaled: a plan's steps
//! are actions. They must therefore stay readable by the next version: new fields have defaults.

mod action;
mod crypto;
mod export;
mod guest;
mod master_ip;
mod observation;
mod oob;
mod question;
mod vote;

pub use action::{
    Action, DiskRole, GrowStage, HookPhase, InstanceRef, MigrationMode, OsScript, Outcome,
    Progress, RebootKind,
};
pub use crypto::{Certified, CryptoAction, CryptoAnswer, CryptoQuestion, CryptoReport};
pub use export::{ExportAction, ExportAnswer, ExportInfo, ExportQuestion, ExportScripts};
pub use guest::{GuestDisk, GuestNic, GuestSpec, NetworkInfo};
pub use master_ip::{IpReport, MasterIp, ResolvedName};
pub use observation::{GuestReport, GuestState, NodeReport, Observation};
pub use oob::{AT_ONCE as OOB_AT_ONCE, OobCall, OobReply};
pub use question::{
    Acceleration, Answer, BlockState, BlockStatus, ConsoleInfo, DaemonStatus, ExtReport,
    HookResult, MirrorReport, OsReport, Question, StorageUnit, SyncStatus, VerifyReport,
    VolumeReport,
};
pub use vote::AloneNote;
