//! `replication` (daemon): copies of the cluster's state, on master candidates.
//!
//! ```json
//! {"status": {"code": 0, "message": ""}, "role": "leads", "store": "embedded", "master": "node1.example.org",
//!  "serial": 412, "epoch": 3, "safety": "replicated", "written": 412, "counts": 412, "alone_since": null,
//!  "copies": [{"node": "node2.example.org", "holds": 412, "behind": 0, "behind_seconds": 0.0,
//!              "connected": true, "heard_seconds": 0.2}],
//!  "leader_heard_seconds": null, "members": []}
//! ```
//!
//! `serial` is the last commit that is visible here. With the embedded store a leader has `safety` (`single`: no
//! other candidate; `replicated`: a majority holds all that counts; `alone`: of two candidates the other is away;
//! `waiting`: no majority, nothing can be changed) and `copies`; a follower has `leader_heard_seconds`. With etcd
//! there are `members` (`{"endpoint", "trouble"}`, empty if there is none), and whoever leads holds the lease: one
//! that loses it does not lead any more. What does not apply is null or empty.
//!
//! Status: 4 alone, no majority, or this node cannot lead although it should; 4 also for a follower that has not
//! heard a leader for a minute, 2 if it has heard none since it was started; 1 for a copy that is away or a
//! minute behind while a majority is there, or a member of etcd that is of no use while the others are enough;
//! 2 if masterd says nothing.
//!
//! Metrics: `roost_replication_serial`, `…_epoch`, `…_majority`, `…_copy_behind{node}`,
//! `…_copy_behind_seconds{node}`, `…_copy_connected{node}`, `…_leader_heard_seconds`, `…_member_usable{endpoint}`.

use super::masterd::{self, Masterd};
use super::proc::about;
use crate::collector::{About, Collected, Collector, Pending};
use crate::metrics::Metrics;
use crate::report::{Category, Code, Data, Health, Kind};
use crate::world::World;
use roost_proto::masterd_status::{CopiesStatus, MasterdStatus, MemberStatus};
use serde::Serialize;

/// A copy that is this far behind, and a leader that was not heard for so long, are worth a word. Seconds.
const LONG: f64 = 60.0;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Replication;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Report {
    status: Health,
    role: &'static str,
    store: Option<String>,
    master: Option<String>,
    serial: Option<u64>,
    epoch: Option<u64>,
    safety: Option<String>,
    written: Option<u64>,
    counts: Option<u64>,
    /// Seconds since 1970.
    alone_since: Option<f64>,
    copies: Vec<Copy>,
    leader_heard_seconds: Option<f64>,
    members: Vec<MemberStatus>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Copy {
    node: String,
    holds: u64,
    behind: u64,
    behind_seconds: f64,
    connected: bool,
    heard_seconds: Option<f64>,
}

impl Collector for Replication {
    fn about(&self) -> About {
        About::built_in("replication", Category::Daemon, Kind::Status)
    }

    fn applies(&self, world: &World) -> bool {
        masterd::is_candidate(world)
    }

    fn collect<'a>(&'a self, world: &'a World) -> Pending<'a> {
        Box::pin(async move {
            let report = report(&masterd::look(world.paths())?);
            Ok(Collected { metrics: metrics(&report), data: Data::of(&report)? })
        })
    }
}

fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1e3
}

fn report(masterd: &Masterd) -> Report {
    let says = match masterd {
        Masterd::Says(says) => says,
        Masterd::Silent(_) | Masterd::Absent => {
            let status = masterd::unheard(masterd).unwrap_or_default();
            return Report { status, role: "unknown", ..Report::default() };
        }
    };
    let copies = says.copies.as_ref();
    let copy = |copy: &roost_proto::masterd_status::CopyStatus| Copy {
        node: copy.node.clone(),
        holds: copy.holds,
        behind: copy.behind,
        behind_seconds: copy.behind_seconds,
        connected: copy.connected,
        heard_seconds: copy.heard.map(seconds),
    };
    Report {
        status: judge(says),
        role: if says.leads { "leads" } else { "follows" },
        store: Some(says.store.clone()).filter(|store| !store.is_empty()),
        master: Some(says.master.clone()).filter(|master| !master.is_empty()),
        serial: Some(says.serial),
        epoch: copies.map(|c| c.epoch).or(says.heard.as_ref().map(|heard| heard.epoch)),
        safety: copies.map(|copies| copies.safety.clone()),
        written: copies.map(|copies| copies.written),
        counts: copies.map(|copies| copies.counts),
        alone_since: copies.and_then(|copies| copies.alone_since),
        copies: copies.map(|copies| copies.others.iter().map(copy).collect()).unwrap_or_default(),
        leader_heard_seconds: says.heard.as_ref().map(|heard| seconds(heard.ago)),
        members: says.members.clone(),
    }
}

fn judge(says: &MasterdStatus) -> Health {
    if !says.waiting.is_empty() {
        return Health::new(Code::Bad, says.waiting.clone());
    }
    if let Some(health) = judge_members(&says.members) {
        return health;
    }
    if let Some(copies) = &says.copies {
        return judge_copies(copies);
    }
    if says.leads || says.store == "etcd" {
        return Health::ok();
    }
    let master = &says.master;
    match &says.heard {
        None => Health::new(
            Code::Unknown,
            format!(
                "No leader has been heard since masterd was started here: does masterd run on \
                 {master}?"
            ),
        ),
        Some(heard) if seconds(heard.ago) > LONG => Health::new(
            Code::Bad,
            format!(
                "The leader has not been heard for {}: this copy ages. Bring {master} back, or let \
                 another lead: 'gnt-cluster master-failover' on a candidate",
                about(seconds(heard.ago))
            ),
        ),
        Some(_) => Health::ok(),
    }
}

/// The copies of a leader.
fn judge_copies(copies: &CopiesStatus) -> Health {
    let complaint = copies.complaint.clone();
    match copies.safety.as_str() {
        "alone" | "waiting" => Health::new(Code::Bad, complaint),
        _ if !complaint.is_empty() => Health::new(Code::Fixing, complaint),
        _ => {
            let late = copies.others.iter().filter(|copy| copy.behind_seconds > LONG);
            let late: Vec<String> = late
                .map(|copy| {
                    let (node, commits) = (&copy.node, copy.behind);
                    format!("{node} ({commits} changes, {})", about(copy.behind_seconds))
                })
                .collect();
            match late.is_empty() {
                true => Health::ok(),
                false => Health::new(
                    Code::Fixing,
                    format!("Copies are behind and catching up: {}", late.join(", ")),
                ),
            }
        }
    }
}

/// Members of etcd; None: all are well, or there are none.
fn judge_members(members: &[MemberStatus]) -> Option<Health> {
    let ill: Vec<String> = (members.iter())
        .filter(|member| !member.trouble.is_empty())
        .map(|member| format!("{} ({})", member.endpoint, member.trouble))
        .collect();
    if ill.is_empty() {
        return None;
    }
    let is_enough = members.len() - ill.len() > members.len() / 2;
    let (code, what) = match is_enough {
        true => (Code::Fixing, "the others are enough"),
        false => (Code::Bad, "nothing can be changed"),
    };
    let message = format!(
        "Members of etcd of no use: {}; {what}. Start etcd there, or mend the network",
        ill.join(", ")
    );
    Some(Health::new(code, message))
}

fn metrics(report: &Report) -> Metrics {
    let mut metrics = Metrics::default();
    let majority = report.safety.as_ref().map(|safety| u64::from(safety != "waiting"));
    for (name, help, value) in [
        ("roost_replication_serial", "The last change that is visible here", report.serial),
        ("roost_replication_epoch", "The number of the leadership", report.epoch),
        ("roost_replication_majority", "Whether a majority of the copies answers", majority),
    ] {
        if let Some(value) = value {
            metrics.gauge(name, help, &[], value as f64);
        }
    }
    for copy in &report.copies {
        let labels = [("node", copy.node.as_str())];
        for (name, help, value) in [
            (
                "roost_replication_copy_behind",
                "Changes that count and that a copy does not hold",
                copy.behind as f64,
            ),
            (
                "roost_replication_copy_behind_seconds",
                "For how long a copy has not held all changes",
                copy.behind_seconds,
            ),
            (
                "roost_replication_copy_connected",
                "Whether a copy answers",
                f64::from(u8::from(copy.connected)),
            ),
        ] {
            metrics.gauge(name, help, &labels, value);
        }
    }
    if let Some(heard) = report.leader_heard_seconds {
        let help = "Time since the leader was heard";
        metrics.gauge("roost_replication_leader_heard_seconds", help, &[], heard);
    }
    for member in &report.members {
        metrics.gauge(
            "roost_replication_member_usable",
            "Whether a member of etcd is of use",
            &[("endpoint", &member.endpoint)],
            f64::from(u8::from(member.trouble.is_empty())),
        );
    }
    metrics
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_proto::masterd_status::{CopyStatus, Heard};

    fn copies(safety: &str, complaint: &str, behind_seconds: f64) -> MasterdStatus {
        let other = CopyStatus {
            node: "node2".into(),
            holds: 5,
            behind: 3,
            behind_seconds,
            connected: true,
            heard: Some(250),
        };
        MasterdStatus {
            leads: true,
            store: "embedded".into(),
            copies: Some(CopiesStatus {
                safety: safety.into(),
                complaint: complaint.into(),
                epoch: 4,
                others: vec![other],
                ..CopiesStatus::default()
            }),
            ..MasterdStatus::default()
        }
    }

    fn follower(ago: Option<u64>) -> MasterdStatus {
        MasterdStatus {
            store: "embedded".into(),
            master: "node1".into(),
            heard: ago.map(|ago| Heard { node: "node1".into(), epoch: 4, ago }),
            ..MasterdStatus::default()
        }
    }

    #[test]
    fn a_leader_is_judged_by_its_majority() {
        assert_eq!(judge(&copies("replicated", "", 0.0)), Health::ok());
        assert_eq!(judge(&copies("single", "", 0.0)), Health::ok());
        for safety in ["alone", "waiting"] {
            assert_eq!(judge(&copies(safety, "why", 0.0)), Health::new(Code::Bad, "why"));
        }
        let away = judge(&copies("replicated", "node3 is away", 0.0));
        assert_eq!(away, Health::new(Code::Fixing, "node3 is away"));
        assert_eq!(judge(&copies("replicated", "", 60.0)), Health::ok());
        let late = judge(&copies("replicated", "", 90.0));
        assert_eq!(late.code, Code::Fixing);
        assert!(late.message.contains("node2 (3 changes, 90 s)"), "{late:?}");
        let waiting = MasterdStatus { waiting: "cannot lead".into(), ..copies("single", "", 0.0) };
        assert_eq!(judge(&waiting), Health::new(Code::Bad, "cannot lead"));
    }

    #[test]
    fn a_follower_is_judged_by_when_it_heard_the_leader() {
        assert_eq!(judge(&follower(Some(60_000))), Health::ok());
        let health = judge(&follower(Some(61_000)));
        assert_eq!(health.code, Code::Bad);
        assert!(health.message.contains("61 s") && health.message.contains("node1"), "{health:?}");
        assert_eq!(judge(&follower(None)).code, Code::Unknown);
        let shared = MasterdStatus { store: "etcd".into(), ..follower(None) };
        assert_eq!(judge(&shared), Health::ok(), "it reads the same state");
    }

    #[test]
    fn members_of_etcd_are_judged_by_their_majority() {
        let members = |ill: usize| -> Vec<MemberStatus> {
            let member = |n: usize| MemberStatus {
                endpoint: format!("https://etcd{n}"),
                trouble: if n < ill { "refused" } else { "" }.into(),
            };
            (0..3).map(member).collect()
        };
        let code = |ill| judge_members(&members(ill)).map(|health| health.code);
        assert_eq!([0, 1, 2].map(code), [None, Some(Code::Fixing), Some(Code::Bad)]);
        assert!(judge_members(&members(1)).unwrap().message.contains("https://etcd0 (refused)"));
    }

    #[test]
    fn the_report_has_its_status_first_and_seconds() {
        let report = report(&Masterd::Says(Box::new(copies("replicated", "", 0.0))));
        assert_eq!((report.role, report.copies[0].heard_seconds), ("leads", Some(0.25)));
        let text = serde_json::to_string(&report).unwrap();
        assert!(text.starts_with(r#"{"status":{"code":0"#), "{text}");
        let names: Vec<&str> = metrics(&report).families.iter().map(|f| f.name).collect();
        assert!(names.contains(&"roost_replication_copy_behind"), "{names:?}");
        assert_eq!(super::report(&Masterd::Absent).status.code, Code::Unknown);
    }
}
