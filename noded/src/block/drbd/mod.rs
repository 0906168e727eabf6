//! Disks mirrored between two nodes by DRBD: a data volume and a small one for meta data on each.
//!
//! ```text
//!   node A  guest ─► /dev/drbdN ─┬─► data volume          node B  /dev/drbdM ─┬─► data volume
//!                                └─► meta data volume                         └─► meta data volume
//!                     A and B ══ one TCP connection, authenticated by the disk's secret
//!
//!   (nothing) ──create──► volumes ──assemble──► Secondary ──open, assemble as primary──► Primary
//!                            ▲ ◄────shutdown────────┘ ◄──────────────close──────────────────┘
//! ```
//!
//! What is to be done is planned (`plan`) from what the kernel says (`show`, `table`); decisions are
//! taken from a fresh look, waits are ended by events (`mirrors`). Nothing of somebody else is
//! touched: a device is ours by its storage or by its secret.
//!
//! A split brain is never settled by itself, unless one side wrote nothing.

mod assemble;
mod disk;
mod events;
mod figures;
mod meta;
mod mirrors;
mod netlink;
mod options;
mod plan;
mod rates;
mod report;
mod role;
mod show;
mod sides;
mod state;
mod sync;
mod table;
mod tools;
mod version;

pub use disk::DrbdDisk;
pub use mirrors::{Mirrors, mirrors};
pub use report::{all as reports, verify};
pub use sync::sync;
