//! Tells the monitoring of this machine how masterd is: a small file, written anew every few seconds.
//!
//! ```text
//!   role ─► leads:   jobs, copies (or members of etcd)
//!       └─► follows: whom it heard, and when          ──► status/masterd.json ──► mond
//! ```
//!
//! A file and no question, so that the answer needs nothing of a masterd that hangs: the file's age tells. It is
//! not made durable: after a crash of the machine there is nothing to tell.

use crate::api::Role;
use crate::clock;
use crate::jobs::JobEntry;
use crate::replication::{Copies, LEASE, Safety};
use roost_proto::error::{Error, Result};
use roost_proto::ids::{NodeId, Serial};
use roost_proto::job::{JobStatus, Timestamp};
use roost_proto::masterd_status::{
    CopiesStatus, CopyStatus, EVERY, Heard, JobsStatus, MasterdStatus, MemberStatus,
};
use roost_proto::paths::Paths;
use std::collections::VecDeque;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};
use tokio_util::sync::CancellationToken;

/// For how long it is known when which commit counted: a copy that is further behind is so for at least this
/// long.
const KNOWN: usize = 720;
/// What "during the last hour" means, seconds.
const HOUR: f64 = 3600.0;

/// Writes the file until `shutdown`, then removes it: masterd was stopped, it did not die.
pub async fn run(paths: Paths, role: Role, me: NodeId, shutdown: CancellationToken) {
    let path = paths.masterd_status();
    let mut when = When::default();
    let mut said = String::new();
    loop {
        let status = look(&role, me, &mut when);
        match write(&path, &status) {
            Ok(()) => said.clear(),
            Err(error) if error.message != said => {
                tracing::warn!(%error, "monitoring does not learn how masterd is");
                said = error.message;
            }
            Err(_) => {}
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    // Whether it is there or not: nobody is told wrongly.
    let _ = fs::remove_file(&path);
}

/// How masterd is now.
fn look(role: &Role, me: NodeId, when: &mut When) -> MasterdStatus {
    let now = clock::seconds();
    let mut status = MasterdStatus {
        written: now,
        pid: std::process::id(),
        store: if role.replica().is_some() { "embedded" } else { "etcd" }.into(),
        ..MasterdStatus::default()
    };
    if let Some(etcd) = role.etcd() {
        let member = |m: crate::store::etcd::Member| MemberStatus {
            endpoint: m.endpoint,
            trouble: m.trouble.unwrap_or_default(),
        };
        status.members = etcd.known_members().into_iter().map(member).collect();
    }
    let state = match role.state() {
        Ok(state) => state,
        Err(error) => {
            status.waiting = error.message;
            return status;
        }
    };
    let config = state.config();
    let name = |node: NodeId| config.node_name(node);
    status.node = name(me);
    status.master = name(config.master());
    status.serial = config.serial.0;
    let own = config.nodes.get(&me);
    status.candidate = own.is_some_and(|node| node.master_candidate && !node.offline);
    match role.leading() {
        Ok(leading) => {
            status.leads = true;
            let engine = &leading.engine;
            status.jobs = Some(JobsStatus {
                drained: engine.is_drained(),
                debris: engine.debris().len() as u64,
                last: engine.last_job().0,
                ..jobs(&engine.jobs(), now)
            });
            status.copies = leading.leadership.as_ref().map(|leadership| {
                let copies = leadership.copies();
                when.counted(copies.counts, now);
                of_copies(&copies, &name, when, now)
            });
        }
        Err(error) => {
            if role.is_master_by_config() {
                status.waiting = error.message;
            }
            let heard = role.replica().and_then(crate::replication::Replica::heard);
            status.heard =
                heard.map(|(epoch, node, ago)| Heard { node: name(node), epoch: epoch.0, ago });
        }
    }
    status
}

/// The queue. `now`: seconds since 1970.
fn jobs(all: &[Arc<JobEntry>], now: f64) -> JobsStatus {
    let mut jobs = JobsStatus::default();
    for entry in all {
        let record = entry.record();
        let status = record.status();
        *jobs.counts.entry(status.as_str().to_owned()).or_default() += 1;
        let received = record.received_timestamp.map(Timestamp::as_secs_f64);
        let started = record.start_timestamp.map(Timestamp::as_secs_f64);
        match status {
            JobStatus::Queued => older(&mut jobs.oldest_queued, received),
            JobStatus::Waiting | JobStatus::Canceling => older(&mut jobs.oldest_waiting, received),
            JobStatus::Running => older(&mut jobs.oldest_running, started.or(received)),
            JobStatus::Error => {
                let ended = record.end_timestamp.map(Timestamp::as_secs_f64);
                if ended.is_some_and(|ended| now - ended < HOUR) {
                    jobs.errors_last_hour += 1;
                }
            }
            JobStatus::Canceled | JobStatus::Success => {}
        }
    }
    jobs
}

fn older(oldest: &mut Option<f64>, at: Option<f64>) {
    let Some(at) = at else { return };
    *oldest = Some(oldest.map_or(at, |known| known.min(at)));
}

fn of_copies(
    copies: &Copies,
    name: &dyn Fn(NodeId) -> String,
    when: &When,
    now: f64,
) -> CopiesStatus {
    let safety = match copies.safety {
        Safety::Single => "single",
        Safety::Replicated => "replicated",
        Safety::Alone { .. } => "alone",
        Safety::Waiting => "waiting",
    };
    let is_alone = matches!(copies.safety, Safety::Alone { .. });
    let other = |(node, holds, heard): &(NodeId, Serial, Option<u64>)| CopyStatus {
        node: name(*node),
        holds: holds.0,
        behind: copies.counts.0.saturating_sub(holds.0),
        behind_seconds: when.behind(*holds, now),
        connected: heard.is_some_and(|ago| ago < LEASE),
        heard: *heard,
    };
    CopiesStatus {
        safety: safety.into(),
        complaint: copies.complaint(name),
        epoch: copies.epoch.0,
        written: copies.written.0,
        counts: copies.counts.0,
        alone_since: (is_alone && copies.alone_since > 0).then_some(copies.alone_since as f64),
        others: copies.others.iter().map(other).collect(),
    }
}

/// When which commit was the last that counted.
#[derive(Debug, Default)]
struct When(VecDeque<(Serial, f64)>);

impl When {
    /// At `now`, `counts` was the last that counted.
    fn counted(&mut self, counts: Serial, now: f64) {
        // Only the first look at a commit is of interest.
        if self.0.back().is_some_and(|(serial, _)| *serial >= counts) {
            return;
        }
        if self.0.len() == KNOWN {
            self.0.pop_front();
        }
        self.0.push_back((counts, now));
    }

    /// For how many seconds a copy that holds everything up to `holds` has not held all: since the first
    /// look at a commit that it lacks.
    fn behind(&self, holds: Serial, now: f64) -> f64 {
        let lacks = self.0.iter().find(|(serial, _)| *serial > holds);
        lacks.map_or(0.0, |(_, since)| (now - since).max(0.0))
    }
}

/// Replaces the file whole. Everybody may read it.
fn write(path: &Path, status: &MasterdStatus) -> Result<()> {
    let text = serde_json::to_vec(status)
        .map_err(|e| Error::internal(format!("the status cannot be written: {e}")))?;
    let put = || -> io::Result<()> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
        }
        let new = path.with_extension("json.new");
        fs::write(&new, &text)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o644))?;
        fs::rename(&new, path)
    };
    put().map_err(|e| Error::environment(format!("Cannot write {}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_proto::ids::{Epoch, JobId};
    use roost_proto::job::{JobRecord, OpRecord};
    use serde_json::json;

    fn job(
        status: JobStatus,
        received: u64,
        started: Option<u64>,
        ended: Option<u64>,
    ) -> Arc<JobEntry> {
        let at = |seconds: u64| Timestamp(seconds, 0);
        let op = OpRecord {
            input: json!({}),
            status,
            result: json!(null),
            log: vec![],
            priority: 0,
            start_timestamp: None,
            exec_timestamp: None,
            end_timestamp: None,
        };
        Arc::new(JobEntry::loaded(JobRecord {
            id: JobId(received),
            ops: vec![op],
            received_timestamp: Some(at(received)),
            start_timestamp: started.map(at),
            end_timestamp: ended.map(at),
            archived: false,
        }))
    }

    #[test]
    fn jobs_are_counted_and_the_oldest_known() {
        let all = [
            job(JobStatus::Queued, 9_000, None, None),
            job(JobStatus::Queued, 8_000, None, None),
            job(JobStatus::Waiting, 7_000, Some(7_001), None),
            job(JobStatus::Running, 6_000, Some(6_500), None),
            job(JobStatus::Error, 5_000, Some(5_001), Some(5_002)),
            job(JobStatus::Error, 5_500, Some(9_001), Some(9_002)),
            job(JobStatus::Success, 1_000, Some(1_001), Some(1_002)),
        ];
        let found = jobs(&all, 10_000.0);
        assert_eq!(found.counts["queued"], 2);
        assert_eq!(found.counts["error"], 2);
        assert_eq!(found.oldest_queued, Some(8_000.0));
        assert_eq!(found.oldest_waiting, Some(7_000.0));
        assert_eq!(found.oldest_running, Some(6_500.0));
        assert_eq!(found.errors_last_hour, 1, "the other failed more than an hour ago");
    }

    #[test]
    fn a_copy_is_behind_since_the_first_commit_that_it_lacks() {
        let mut when = When::default();
        when.counted(Serial(5), 100.0);
        when.counted(Serial(5), 105.0);
        when.counted(Serial(9), 110.0);
        when.counted(Serial(12), 115.0);
        assert_eq!(when.behind(Serial(12), 120.0), 0.0);
        assert_eq!(when.behind(Serial(9), 120.0), 5.0);
        assert_eq!(when.behind(Serial(5), 120.0), 10.0);
        assert_eq!(when.behind(Serial(0), 120.0), 20.0);
        for more in 0..2_000 {
            when.counted(Serial(100 + more), 200.0);
        }
        assert_eq!(when.0.len(), KNOWN, "bounded");
    }

    #[test]
    fn copies_are_told_by_name() {
        let node = NodeId(uuid::Uuid::nil());
        let mut when = When::default();
        when.counted(Serial(40), 100.0);
        let copies = Copies {
            safety: Safety::Alone { without: node },
            epoch: Epoch(3),
            written: Serial(42),
            counts: Serial(42),
            others: vec![(node, Serial(40), Some(70_000))],
            alone_since: 90,
        };
        when.counted(Serial(42), 110.0);
        let found = of_copies(&copies, &|_| "node2".into(), &when, 170.0);
        assert_eq!((found.safety.as_str(), found.alone_since), ("alone", Some(90.0)));
        assert!(found.complaint.contains("node2"), "{}", found.complaint);
        let other = &found.others[0];
        assert_eq!((other.behind, other.behind_seconds, other.connected), (2, 60.0, false));
    }

    #[test]
    fn the_file_is_replaced_whole_and_everybody_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("status/masterd.json");
        let status = MasterdStatus { pid: 7, ..MasterdStatus::default() };
        write(&path, &status).unwrap();
        write(&path, &status).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(serde_json::from_str::<MasterdStatus>(&text).unwrap(), status);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(dir.path().join("status")).unwrap().count(), 1);
        let blocked = dir.path().join("file");
        fs::write(&blocked, "").unwrap();
        let error = write(&blocked.join("x/masterd.json"), &status).unwrap_err();
        assert!(error.message.contains("masterd.json"), "{error}");
    }
}
