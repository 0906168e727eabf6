//! What nodes remember about masters besides the highest epoch.

use crate::ids::{Epoch, NodeId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A note that one of two master candidates accepts changes without the other, or does so no more.
///
/// Of several notes the one with the highest (epoch, round) is true. A majority of the nodes holds
/// it before the first such change is acknowledged, so whoever asks a majority learns of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AloneNote {
    /// The leadership that went alone.
    pub epoch: Epoch,
    /// Counts notes of one leadership.
    pub round: u64,
    pub master: NodeId,
    /// It does, or did; `false`: the others have everything again.
    pub alone: bool,
    /// Candidates that may lack what was accepted without them: they must not lead without asking
    /// the master, whoever else has a say by now.
    #[serde(default)]
    pub without: BTreeSet<NodeId>,
    /// Since when, seconds since 1970.
    pub since: u64,
}

impl AloneNote {
    /// Whether this one replaces `other`.
    pub fn is_newer_than(&self, other: &AloneNote) -> bool {
        (self.epoch, self.round) > (other.epoch, other.round)
    }
}
