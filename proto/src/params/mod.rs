//! Parameters: what there is, what is allowed, and how layers of settings become one.
//!
//! ```text
//! hypervisor  built-in ← cluster ← OS ← instance
//! backend     built-in ← cluster ← instance          (memory, CPUs, …)
//! nic         built-in ← cluster ← card
//! node        built-in ← cluster ← group ← node
//! disk        built-in ← cluster ← group             (by disk template)
//! ipolicy     built-in ← cluster ← group
//! ```
//!
//! Each layer stores only what differs from the one below ([`fill`]). The tables say what a
//! parameter's type is, so text from a command line and JSON from a client go through the same
//! door ([`value`]).

pub mod backend;
pub mod disk;
pub mod fill;
pub mod hypervisor;
pub mod ipolicy;
pub mod nic;
pub mod node;
pub mod state;
pub mod value;

pub use backend::FilledBe;
pub use ipolicy::{IPolicy, ISpec, InstanceSpec, MinMax};
pub use nic::FilledNic;
pub use node::FilledNd;

use serde_json::Value;
use std::collections::BTreeMap;

/// Parameter values by name.
pub type ParamMap = BTreeMap<String, Value>;

/// In a modification: drop the value, so that the layer below shows through.
pub const DEFAULT: &str = "default";

/// In the backend parameters of a new instance: take the cluster's value.
pub const AUTO: &str = "auto";
