//! The verification of a cluster.
//!
//! ```text
//!   OP_CLUSTER_VERIFY ─┬─► OP_CLUSTER_VERIFY_CONFIG     what is recorded
//!                      └─► OP_CLUSTER_VERIFY_GROUP …    what nodes say, group by group
//! ```
//!
//! Nothing is held up by it: it takes no locks of instances and says nothing of those that jobs
//! under way are working on.

mod all;
mod certificates;
mod config;
mod disks;
mod findings;
mod group;
mod helpers;
mod instances;
mod nodes;
mod redundancy;
mod rules;
mod under_way;
