//! LVM: disks of template `plain`, and what stands on them.
//!
//! ```text
//!   volume ── one logical volume as a BlockDevice ── make, remove, rename, status
//!     │ marks: whose it is (LVM tags)
//!     ▼
//!   inventory ── all there is, read at most once for those who ask together
//!     │ report: what LVM's words mean
//!     ▼
//!   tools ── runs `lvm`
//! ```
//!
//! A logical volume is ours by its tag, which it gets in the moment it is made. So what a crash
//! left is found again, and nobody else's volume is ever removed, renamed or written to.

mod inventory;
mod make;
mod marks;
mod remove;
mod rename;
mod report;
#[cfg(test)]
mod stand_in;
mod status;
mod storage;
mod tools;
mod verify;
mod volume;

pub use inventory::{Figures, lvm};
pub use storage::{grouped, groups, modify, physical_volumes, repair, space, volumes};
pub use verify::problems;
pub use volume::Volume;
