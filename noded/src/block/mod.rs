//! Disks on this node.
//!
//! ```text
//!   Disk (what the configuration says) ──Device::of──► Device (how this node does it)
//!                                                        ├─ Diskless
//!                                                        ├─ FileDisk    file, sharedfile
//!                                                        └─ …           a device stands on its
//!                                                                       children: Devices again
//! ```
//!
//! Nothing above this folder knows how a template works. Every call may be repeated: what is so
//! already is success.

mod copy;
mod device;
mod diskless;
mod file;
mod list;
mod marker;
mod place;
mod sparse;

pub use copy::{Receivers, receive, send};
pub use device::{BlockDevice, Device, Doing, Place, Work};
pub use list::{attachments, create, each, paths, remove, statuses};
pub use place::{allowed_directories, check as check_place, space};
