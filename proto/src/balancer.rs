//! What masterd tells of its balancer: to `gnt-cluster balancer`, as JSON.
//!
//! Versioned by defaults: unknown fields are ignored, missing ones have a default. Times are seconds since 1970.

use crate::ids::JobId;
use crate::objects::Balancer;
use serde::{Deserialize, Serialize};

/// The tag of an instance that is not to be moved by the balancer, and of a group that it leaves alone.
pub const OFF_TAG: &str = "roost:balancer:off";

/// Who submitted the balancer's jobs, in their reason trails.
pub const REASON: &str = "roost:balancer";

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BalancerTold {
    pub settings: Balancer,
    /// When it looked last. None: not yet.
    pub looked: Option<f64>,
    /// What is left of the hour: moves, and MiB to copy.
    pub moves_left: u32,
    pub copy_left: u64,
    /// In nice order of their names.
    pub groups: Vec<GroupTold>,
    /// Instances whose last moves failed.
    pub resting: Vec<RestTold>,
    /// Moves of the last hour, oldest first.
    pub moves: Vec<MadeTold>,
}

/// A node group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupTold {
    pub name: String,
    /// None: it is not known.
    pub score: Option<f64>,
    /// What even the best placement scores.
    pub unavoidable: Option<f64>,
    /// Since when it has been above the threshold.
    pub above_since: Option<f64>,
    /// What it does, or why it does nothing: a sentence without its full stop.
    pub doing: String,
    /// The newest plan.
    pub plan: Option<PlanTold>,
}

/// A plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanTold {
    /// When it was made.
    pub made: f64,
    /// The score before and after.
    pub before: f64,
    pub after: f64,
    pub moves: Vec<MoveTold>,
}

/// A move of a plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MoveTold {
    pub instance: String,
    /// Nodes, the primary first.
    pub from: Vec<String>,
    pub to: Vec<String>,
    /// MiB.
    pub copy: u64,
}

/// An instance that rests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestTold {
    pub instance: String,
    pub until: f64,
    /// Moves that failed, one after the other.
    pub failures: u32,
}

/// A move that was submitted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MadeTold {
    pub at: f64,
    pub instance: String,
    pub job: Option<JobId>,
    pub copy: u64,
    /// `under way`, `done`, `failed`, `not submitted`.
    pub end: String,
}
