//! The journal: what is stored about an opcode under way.
//!
//! Two documents each. The *plan* is written once, together with the locks it was made under,
//! before the first step. The *cursor* is small and written at every transition. Both go, in the
//! commit that makes the opcode's end durable. A third, the *wish*, says what users want of a job
//! that is under way: to stop, another priority. After a crash the cursor says which step is next;
//! that step may have been started, or have ended unnoticed, so it is run again: steps are
//! idempotent and nodes remember what they finished.

use super::locks::{Level, LockName, LockSet, Mode};
use super::plan::{Cursor, PLAN_FORMAT, Plan};
use crate::store::{Key, Space};
use roost_proto::ids::JobId;
use serde::{Deserialize, Serialize};

/// A plan as stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredPlan {
    pub format: u32,
    /// (level, name, exclusive).
    pub locks: Vec<(u8, String, bool)>,
    pub plan: Plan,
}

const LEVELS: [Level; 6] = [
    Level::Cluster,
    Level::Instance,
    Level::NodeGroup,
    Level::Node,
    Level::NodeRes,
    Level::Network,
];

impl StoredPlan {
    /// For storing.
    pub fn new(plan: &Plan, locks: &LockSet) -> StoredPlan {
        let locks = locks
            .0
            .iter()
            .map(|(name, mode)| (name.level as u8, name.name.clone(), *mode == Mode::Exclusive))
            .collect();
        StoredPlan { format: PLAN_FORMAT, locks, plan: plan.clone() }
    }

    /// The locks it was made under.
    pub fn lock_set(&self) -> LockSet {
        let mut set = LockSet::default();
        for (level, name, exclusive) in &self.locks {
            let mode = if *exclusive { Mode::Exclusive } else { Mode::Shared };
            if let Some(level) = LEVELS.get(usize::from(*level)) {
                set.add(LockName::new(*level, name), mode);
            }
        }
        set
    }
}

/// Where the plan of an opcode is stored.
pub fn plan_key(job: JobId, op: usize) -> Key {
    Key::new(Space::Journal, format!("{:012}/{op:03}/plan", job.0))
}

/// Where its cursor is stored.
pub fn cursor_key(job: JobId, op: usize) -> Key {
    Key::new(Space::Journal, format!("{:012}/{op:03}/cursor", job.0))
}

/// What users want of a job that is under way. Stored apart from the job, because the job itself is
/// written by whoever drives it, and by nobody else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// It shall stop.
    #[serde(default)]
    pub cancel: bool,
    /// It shall stop whatever it is doing.
    #[serde(default)]
    pub kill: bool,
    /// The priority of what has not ended.
    #[serde(default)]
    pub priority: Option<i32>,
}

/// Where a wish is stored.
pub fn wish_key(job: JobId) -> Key {
    Key::new(Space::Journal, format!("{:012}/wish", job.0))
}

/// The job of a wish's document.
pub fn parse_wish(id: &str) -> Option<JobId> {
    id.strip_suffix("/wish")?.parse().ok().map(JobId)
}

/// Where a job is stored.
pub fn job_key(job: JobId) -> Key {
    Key::new(Space::Job, format!("{:012}", job.0))
}

/// Where it is stored once archived.
pub fn archive_key(job: JobId) -> Key {
    Key::new(Space::Archive, format!("{:012}", job.0))
}

/// Reads a journal document's id: (job, opcode, `plan` or `cursor`).
pub fn parse_id(id: &str) -> Option<(JobId, usize, &str)> {
    let mut parts = id.split('/');
    let job = JobId(parts.next()?.parse().ok()?);
    let op = parts.next()?.parse().ok()?;
    Some((job, op, parts.next()?))
}

/// A cursor's stored form.
pub fn cursor_body(cursor: &Cursor) -> String {
    serde_json::to_string(cursor).expect("a cursor is plain data with text keys")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_survive_storing() {
        let set = LockSet::new()
            .with(LockName::new(Level::Instance, "web1"), Mode::Exclusive)
            .with(LockName::new(Level::Network, "n"), Mode::Shared);
        assert_eq!(StoredPlan::new(&Plan::default(), &set).lock_set(), set);
    }

    #[test]
    fn ids_read_back() {
        let key = plan_key(JobId(17), 2);
        assert_eq!(parse_id(&key.id), Some((JobId(17), 2, "plan")));
        assert_eq!(parse_id("x"), None);
        let key = wish_key(JobId(17));
        assert_eq!((parse_wish(&key.id), parse_id(&key.id)), (Some(JobId(17)), None));
    }
}
