//! Job filter rules.

use crate::ids::{FilterId, JobId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A rule that holds, refuses or limits jobs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FilterRule {
    pub uuid: FilterId,
    /// The last job's number when the rule was made.
    pub watermark: JobId,
    /// 0 is looked at first.
    pub priority: u32,
    /// All must match: `[name, filter]` each.
    #[serde(default)]
    pub predicates: Vec<(String, Value)>,
    pub action: FilterAction,
    #[serde(default)]
    pub reason_trail: Vec<(String, String, u64)>,
}

/// What a rule does with the jobs that match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FilterAction {
    Accept,
    Pause,
    Reject,
    Continue,
    #[serde(untagged)]
    RateLimit(RateLimitWord, u32),
}

/// The word `RATE_LIMIT` in `["RATE_LIMIT", n]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RateLimitWord {
    #[serde(rename = "RATE_LIMIT")]
    RateLimit,
}
