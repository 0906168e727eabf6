//! Hypervisors: what runs guests on this node.
//!
//! ```text
//!   Hypervisors        one per noded: which are in use, one stream of what happens to guests
//!     └─ AnyHypervisor   one per kind: start, stop, plug, list, …; all calls may be repeated
//!          ├─ Kvm           QEMU through libvirt
//!          └─ Fake          guests are files: for simulation and tests
//! ```
//!
//! Nothing above this folder knows libvirt. Disks come as [`Attachment`]s: the block layer makes
//! them, a hypervisor only opens them.

mod any;
mod attachment;
mod event;
mod fake;
mod libvirt;
mod probe;
mod registry;

pub use any::AnyHypervisor;
pub use attachment::{Attachment, ImageFormat, Source};
pub use event::{EventSender, Events, GuestEvent};
pub use fake::{Fake, FakeGuest};
pub use libvirt::{Kvm, Move, Peer};
pub use registry::Hypervisors;
