//! `jobs` (daemon): the job queue, on master candidates.
//!
//! ```json
//! {"status": {"code": 0, "message": ""}, "role": "leads", "master": "node1.example.org",
//!  "counts": {"error": 2, "queued": 0, "running": 1, "success": 57}, "queue_length": 1,
//!  "oldest_queued": null, "oldest_waiting": null, "oldest_running": 12.5,
//!  "errors_last_hour": 1, "drained": false, "debris": 0, "last": 60}
//! ```
//!
//! `role` is `leads`, `follows` or `unknown`; from `counts` on it is null where it does not lead: who leads knows.
//! `counts` is of jobs that are not archived, `queue_length` how many of them have not ended, the oldest ones are
//! ages in seconds. Status: 4 if masterd cannot lead here although it should, a job has been queued for an hour,
//! or something could not be undone (`debris`); 2 if masterd says nothing; else 0. A drained queue is somebody's
//! wish, and jobs that fail are the business of who submitted them: both are only told.
//!
//! Metrics: `roost_jobs{status}`, `roost_jobs_oldest_seconds{status}`, `roost_jobs_errors_last_hour`,
//! `roost_jobs_drained`, `roost_jobs_debris`, `roost_jobs_submitted_total`, `roost_masterd_leads`.

use super::masterd::{self, Masterd};
use super::proc::about;
use crate::clock;
use crate::collector::{About, Collected, Collector, Pending};
use crate::metrics::Metrics;
use crate::report::{Category, Code, Data, Health, Kind};
use crate::world::World;
use roost_proto::job::JobStatus;
use roost_proto::masterd_status::{JobsStatus, MasterdStatus};
use serde::Serialize;
use std::collections::BTreeMap;

/// A job that has been queued for longer does not move, seconds.
const STUCK: f64 = 3600.0;
/// Those that always have a number.
const KNOWN: [JobStatus; 7] = [
    JobStatus::Queued,
    JobStatus::Waiting,
    JobStatus::Canceling,
    JobStatus::Running,
    JobStatus::Canceled,
    JobStatus::Success,
    JobStatus::Error,
];
const HELP: &str = "Jobs that are not archived";

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Jobs;

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Report {
    status: Health,
    role: &'static str,
    master: Option<String>,
    counts: Option<BTreeMap<String, u64>>,
    queue_length: Option<u64>,
    oldest_queued: Option<f64>,
    oldest_waiting: Option<f64>,
    oldest_running: Option<f64>,
    errors_last_hour: Option<u64>,
    drained: Option<bool>,
    debris: Option<u64>,
    last: Option<u64>,
}

impl Collector for Jobs {
    fn about(&self) -> About {
        About::built_in("jobs", Category::Daemon, Kind::Status)
    }

    fn applies(&self, world: &World) -> bool {
        masterd::is_candidate(world)
    }

    fn collect<'a>(&'a self, world: &'a World) -> Pending<'a> {
        Box::pin(async move {
            let masterd = masterd::look(world.paths())?;
            let report = report(&masterd, clock::now().as_secs_f64());
            Ok(Collected { metrics: metrics(&report), data: Data::of(&report)? })
        })
    }
}

/// `now`: seconds since 1970.
fn report(masterd: &Masterd, now: f64) -> Report {
    let status = match masterd {
        Masterd::Says(status) => status,
        Masterd::Silent(_) | Masterd::Absent => {
            return Report {
                role: "unknown",
                ..empty(masterd::unheard(masterd).unwrap_or_default())
            };
        }
    };
    let master = Some(status.master.clone()).filter(|name| !name.is_empty());
    let role = if status.leads { "leads" } else { "follows" };
    let Some(jobs) = &status.jobs else {
        return Report { role, master, ..empty(judge(status, now)) };
    };
    let mut counts = jobs.counts.clone();
    for known in KNOWN {
        counts.entry(known.as_str().to_owned()).or_default();
    }
    let open = KNOWN.iter().filter(|known| !known.is_final());
    let queue_length = open.filter_map(|known| counts.get(known.as_str())).sum();
    let age = |at: Option<f64>| at.map(|at| ((now - at).max(0.0) * 10.0).round() / 10.0);
    Report {
        status: judge(status, now),
        role,
        master,
        counts: Some(counts),
        queue_length: Some(queue_length),
        oldest_queued: age(jobs.oldest_queued),
        oldest_waiting: age(jobs.oldest_waiting),
        oldest_running: age(jobs.oldest_running),
        errors_last_hour: Some(jobs.errors_last_hour),
        drained: Some(jobs.drained),
        debris: Some(jobs.debris),
        last: Some(jobs.last),
    }
}

fn empty(status: Health) -> Report {
    Report {
        status,
        role: "unknown",
        master: None,
        counts: None,
        queue_length: None,
        oldest_queued: None,
        oldest_waiting: None,
        oldest_running: None,
        errors_last_hour: None,
        drained: None,
        debris: None,
        last: None,
    }
}

/// Judges the queue of a masterd that reports.
fn judge(status: &MasterdStatus, now: f64) -> Health {
    if !status.waiting.is_empty() {
        return Health::new(Code::Bad, status.waiting.clone());
    }
    let Some(jobs) = &status.jobs else { return Health::ok() };
    let all = [stuck(jobs, now), debris(jobs)];
    Health::merged(all.iter().flatten())
}

fn stuck(jobs: &JobsStatus, now: f64) -> Option<Health> {
    let age = now - jobs.oldest_queued?;
    // In a drained queue jobs are still carried out.
    (age > STUCK).then(|| {
        Health::new(
            Code::Bad,
            format!(
                "A job has been queued for {}: 'gnt-job list' shows what runs instead, 'gnt-filter \
                 list' what holds jobs back",
                about(age)
            ),
        )
    })
}

fn debris(jobs: &JobsStatus) -> Option<Health> {
    (jobs.debris > 0).then(|| {
        Health::new(
            Code::Bad,
            format!(
                "{} things of failed jobs were left: 'gnt-cluster verify' names them, 'gnt-cluster \
                 repair-debris' removes them",
                jobs.debris
            ),
        )
    })
}

fn metrics(report: &Report) -> Metrics {
    let mut metrics = Metrics::default();
    metrics.gauge(
        "roost_masterd_leads",
        "Whether masterd leads on this node",
        &[],
        f64::from(u8::from(report.role == "leads")),
    );
    for (status, count) in report.counts.iter().flatten() {
        metrics.gauge("roost_jobs", HELP, &[("status", status)], *count as f64);
    }
    for (status, age) in [
        ("queued", report.oldest_queued),
        ("waiting", report.oldest_waiting),
        ("running", report.oldest_running),
    ] {
        if report.counts.is_some() {
            metrics.gauge(
                "roost_jobs_oldest_seconds",
                "Age of the oldest job of a status; 0 if there is none",
                &[("status", status)],
                age.unwrap_or(0.0),
            );
        }
    }
    for (name, help, value) in [
        (
            "roost_jobs_errors_last_hour",
            "Jobs that failed during the last hour",
            report.errors_last_hour,
        ),
        ("roost_jobs_drained", "Whether the queue takes no jobs", report.drained.map(u64::from)),
        ("roost_jobs_debris", "What could not be undone", report.debris),
    ] {
        if let Some(value) = value {
            metrics.gauge(name, help, &[], value as f64);
        }
    }
    if let Some(last) = report.last {
        metrics.counter("roost_jobs_submitted", "Jobs ever submitted", &[], last as f64);
    }
    metrics
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leader(jobs: JobsStatus) -> Masterd {
        Masterd::Says(Box::new(MasterdStatus {
            leads: true,
            master: "node1".into(),
            jobs: Some(jobs),
            ..MasterdStatus::default()
        }))
    }

    #[test]
    fn a_leader_reports_its_queue() {
        let jobs = JobsStatus {
            counts: [
                ("queued".to_owned(), 2),
                ("running".to_owned(), 1),
                ("success".to_owned(), 9),
            ]
            .into(),
            oldest_queued: Some(990.0),
            oldest_running: Some(900.04),
            last: 12,
            ..JobsStatus::default()
        };
        let report = report(&leader(jobs), 1000.0);
        assert_eq!((report.status.clone(), report.role), (Health::ok(), "leads"));
        assert_eq!(report.queue_length, Some(3));
        assert_eq!((report.oldest_queued, report.oldest_running), (Some(10.0), Some(100.0)));
        assert_eq!(report.counts.as_ref().unwrap()["error"], 0, "all have a number");
        let text = serde_json::to_string(&report).unwrap();
        assert!(text.starts_with(r#"{"status":{"code":0,"message":""},"role":"leads""#), "{text}");
        assert!(metrics(&report).families.iter().any(|f| f.name == "roost_jobs_submitted"));
    }

    #[test]
    fn what_is_somebodys_business_is_said() {
        let code = |jobs| report(&leader(jobs), 10_000.0).status;
        let stuck = |at| JobsStatus { oldest_queued: Some(at), ..JobsStatus::default() };
        assert_eq!(code(stuck(6_401.0)), Health::ok());
        let health = code(stuck(6_399.0));
        assert_eq!(health.code, Code::Bad);
        assert!(health.message.contains("queued for 60 min"), "{health:?}");
        let health = code(JobsStatus { debris: 3, ..JobsStatus::default() });
        assert_eq!(health.code, Code::Bad);
        assert!(health.message.contains("3 things") && health.message.contains("repair-debris"));
        let drained = JobsStatus { drained: true, ..JobsStatus::default() };
        assert_eq!(code(drained), Health::ok(), "somebody wanted it");
        let failed = JobsStatus { errors_last_hour: 50, ..JobsStatus::default() };
        assert_eq!(code(failed), Health::ok(), "who submitted them knows");
    }

    #[test]
    fn who_does_not_lead_knows_nothing_of_jobs() {
        let follower = MasterdStatus { master: "node1".into(), ..MasterdStatus::default() };
        let report = report(&Masterd::Says(Box::new(follower)), 0.0);
        assert_eq!((report.status, report.role, report.counts), (Health::ok(), "follows", None));
    }

    #[test]
    fn a_master_that_cannot_lead_and_one_that_says_nothing_are_told_apart() {
        let waiting = MasterdStatus { waiting: "no majority".into(), ..MasterdStatus::default() };
        let found = report(&Masterd::Says(Box::new(waiting)), 0.0);
        assert_eq!(found.status, Health::new(Code::Bad, "no majority"));
        let found = report(&Masterd::Silent(99.0), 0.0);
        assert_eq!((found.status.code, found.role), (Code::Unknown, "unknown"));
    }
}
