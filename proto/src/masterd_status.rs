//! What masterd says of itself for the monitoring of its machine: the file
//! [`crate::paths::Paths::masterd_status`], written anew every [`EVERY`]. Counts and names only: anybody may
//! read it.
//!
//! Versioned by defaults: whoever reads it ignores fields that it does not know and has a default for those that
//! are missing. All times are seconds since 1970 of the machine's clock.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often the file is written.
pub const EVERY: Duration = Duration::from_secs(5);

/// The content of the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MasterdStatus {
    /// When this was written.
    pub written: f64,
    /// Who wrote it.
    pub pid: u32,
    /// The node's name, as the configuration has it; empty if masterd knows none.
    pub node: String,
    /// The master's name; empty if masterd knows none.
    pub master: String,
    /// Whether the node is a master candidate.
    pub candidate: bool,
    /// Whether it leads.
    pub leads: bool,
    /// `embedded` or `etcd`.
    pub store: String,
    /// Why masterd does not do what it should (lead, read the state); empty if it does.
    pub waiting: String,
    /// The last commit that is visible here.
    pub serial: u64,
    /// Only of a leader.
    pub jobs: Option<JobsStatus>,
    /// Only of a leader with the embedded store.
    pub copies: Option<CopiesStatus>,
    /// Only of one that follows with the embedded store, and has heard a leader.
    pub heard: Option<Heard>,
    /// Members of etcd, if the state is there.
    pub members: Vec<MemberStatus>,
}

/// The queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobsStatus {
    /// Jobs that are not archived, by Ganeti's words for their status.
    pub counts: BTreeMap<String, u64>,
    /// When the oldest job came of those queued, and of those waiting.
    pub oldest_queued: Option<f64>,
    pub oldest_waiting: Option<f64>,
    /// When the job began that has been at work for longest.
    pub oldest_running: Option<f64>,
    /// Jobs that failed during the last hour.
    pub errors_last_hour: u64,
    /// No new jobs are taken.
    pub drained: bool,
    /// What could not be undone.
    pub debris: u64,
    /// The number of the newest job.
    pub last: u64,
}

/// What a leader knows of the copies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CopiesStatus {
    /// `single`, `replicated`, `alone`, `waiting`.
    pub safety: String,
    /// What is wrong and what to do; empty if nothing is.
    pub complaint: String,
    pub epoch: u64,
    /// The last commit that is durable here, and the last that counts.
    pub written: u64,
    pub counts: u64,
    /// Since when the leader has been alone.
    pub alone_since: Option<f64>,
    /// The copies of other master candidates.
    pub others: Vec<CopyStatus>,
}

/// A copy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CopyStatus {
    /// The node's name.
    pub node: String,
    /// The last commit that it holds.
    pub holds: u64,
    /// Commits that count and that it does not hold.
    pub behind: u64,
    /// For how long what it holds has not been everything, to about [`EVERY`].
    pub behind_seconds: f64,
    /// Whether it was heard within the last three seconds.
    pub connected: bool,
    /// Milliseconds since it was heard; None: not since this leader began.
    pub heard: Option<u64>,
}

/// Who led when a follower heard a leader last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Heard {
    /// The leader's name.
    pub node: String,
    pub epoch: u64,
    /// Milliseconds since then.
    pub ago: u64,
}

/// A member of etcd.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemberStatus {
    pub endpoint: String,
    /// Why it is of no use; empty if it is.
    pub trouble: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_version_is_read() {
        let text = r#"{"written": 1.5, "leads": true, "jobs": {"last": 7}, "later": {"x": 1}}"#;
        let status: MasterdStatus = serde_json::from_str(text).unwrap();
        assert!(status.leads && status.members.is_empty());
        assert_eq!(status.jobs.unwrap(), JobsStatus { last: 7, ..JobsStatus::default() });
    }
}
