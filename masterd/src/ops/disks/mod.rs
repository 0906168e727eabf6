//! Disks of instances, on all nodes that hold something of them.
//!
//! ```text
//!   make.rs    what a user asked for ─► a Disk: names, minors, ports, secrets
//!   adopt.rs   … of a volume that exists
//!   provider.rs  … if its external storage can do that
//!   space.rs   … if there is room for it
//!   active.rs  Disk ─► steps on every node it has data on, in the right order, with undo
//!   moving.rs  … while its guest moves from node to node
//!   health.rs  what nodes say of it ─► whether it can be relied on
//! ```
//!
//! What is stored and handed around here is never filled; filling (parameters of all layers,
//! addresses of mirrors) happens where a node is told something.

pub mod active;
pub mod adopt;
pub mod health;
pub mod make;
pub mod minors;
pub mod moving;
pub mod provider;
pub mod space;
