//! The contract: everything two Roost programs must agree on.
//!
//! Pure: no I/O, no async, no clock, no randomness. See `ARCHITECTURE.md` at the top of the tree.

pub mod balancer;
pub mod capabilities;
pub mod choices;
pub mod collectors;
pub mod error;
pub mod ids;
pub mod import;
pub mod init;
pub mod job;
pub mod keyval;
pub mod masterd_status;
pub mod names;
pub mod nicesort;
pub mod node;
pub mod objects;
pub mod opcodes;
pub mod params;
pub mod paths;
pub mod placement;
pub mod protocol;
pub mod published;
pub mod query;
pub mod rpc;
pub mod secrets;
pub mod status;
pub mod store;
pub mod units;
