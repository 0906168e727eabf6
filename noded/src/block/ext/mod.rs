//! Disks on external storage: volumes that a provider's scripts make and attach (`ext`).
//!
//! ```text
//!             create                 assemble            open
//!   nothing ─────────► made ──────────────────► attached ─────► open
//!      ▲    remove      │ ◄──────────────────    │  ◄────────────┘
//!      └────────────────┘       shutdown            close
//! ```
//!
//! Scripts need not be repeatable (only `attach` and `detach` are, by contract), but everything here
//! is. Two records make it so. The *mark* ([`mark`]) outlives the machine and says which volumes
//! were made from this node and how far that came. The *attachment* ([`attachment`]) is forgotten
//! at boot and says what is attached and open here. Both are written before the script runs.
//!
//! One volume is worked on by one call at a time; a script that hangs holds up nothing else.

mod attachment;
mod device;
mod life;
mod lock;
mod mark;
mod scripts;

pub use device::ExtDisk;

use crate::blocking::blocking;
use roost_extstorage::report;
use roost_proto::error::Result;
use roost_proto::node::ExtReport;
use roost_proto::paths::Paths;

/// Every provider on this node.
pub async fn providers(paths: &Paths) -> Result<Vec<ExtReport>> {
    let search = paths.es_search_path();
    blocking(move || Ok(report(&search))).await
}
