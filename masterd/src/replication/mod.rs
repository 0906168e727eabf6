//! Copies of the state on the other master candidates.
//!
//! ```text
//!   leader: state ─► Leadership (when does it count?) ─► one link for each copy ══ Append ══► Replica: state
//!                                                        whole file if the logs part ═ Install ═►
//!   candidate: Election ══ Promise, Fetch ══► Replicas;  ══ Vote ══► all nodes
//! ```
//!
//! Pure: [`Voters`], [`leader`], [`follower`], [`ballot`]: when a change counts, what a copy may take,
//! who may lead. Around them: [`Replica`] (this machine's copy and its service), [`Leadership`] and
//! its links (the sending side), [`Election`].

pub mod ballot;
mod elect;
pub mod follower;
pub mod leader;
mod leadership;
mod link;
mod peers;
mod promise;
mod replica;
mod transfer;
mod voters;

pub use elect::{Aim, Election, Outcome};
pub use leader::{LEASE, Safety};
pub use leadership::{Copies, Leadership};
pub use peers::Peers;
pub use replica::{Over, Replica};
pub use transfer::{set_aside, sweep};
pub use voters::Voters;
