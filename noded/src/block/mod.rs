//! Disks on this node.
//!
//! ```text
//!   Disk (what the configuration says) ──Device::of──► Device (how this node does it)
//!                                                        ├─ Diskless
//!                                                        ├─ FileDisk    file, sharedfile
//!                                                        ├─ Volume      plain
//!                                                        ├─ ExtDisk     ext
//!                                                        ├─ DrbdDisk    drbd, on two Volumes
//!                                                        └─ …           a device stands on its
//!                                                                       children: Devices again
//! ```
//!
//! Nothing above this folder knows how a template works. Every call may be repeated: what is so
//! already is success.

mod blockdev;
pub mod copy;
mod device;
mod diskless;
pub mod drbd;
mod ext;
mod file;
mod gluster;
mod list;
pub mod lvm;
mod marker;
mod place;
mod rbd;
mod sparse;
mod tail;
mod uri;
pub mod users;
pub mod wipe;

pub use device::{Assembly, BlockDevice, Device, Doing, Place, Work};
pub use ext::providers as ext_providers;
pub use list::{attachments, create, each, paths, places, remove, statuses};
pub use place::{allowed_directories, check as check_place, space};
pub use tail::zero as zero_new_part;
