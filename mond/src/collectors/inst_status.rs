//! The state of instances: what is reported of each is the same for all hypervisors.
//! Source: Ganeti's reference on mond, inst-status-xen.
//!
//! ```text
//!   what the cluster wants (Guest) ─┐
//!   what the hypervisor says ───────┼─► Status, judged ─► data, metrics
//!   why it is so (reason trail) ────┘
//! ```

use crate::collector::Collected;
use crate::metrics::Metrics;
use crate::report::{Code, Data, Health};
use crate::world::Guest;
use roost_proto::error::Result;
use roost_proto::paths::Paths;
use serde::Serialize;
use std::fs::File;
use std::io::Read;
use std::path::Component;

/// A trail of reasons is a few lines; bytes.
const LONGEST_TRAIL: u64 = 64 << 10;

/// What an instance does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ActualState {
    Running,
    /// Up, and has nothing to do.
    Blocked,
    Paused,
    Shutdown,
    Crashed,
    Dying,
    /// Up, but does not get on.
    Hung,
    Unknown,
}

/// Who did why what, when: nanoseconds since 1970.
pub type Reason = (String, String, u64);

/// What is reported of an instance. The order of the fields is the reference's.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub name: String,
    pub uuid: String,
    /// `up`, `down`, `offline`.
    pub admin_state: String,
    pub actual_state: ActualState,
    /// In the hypervisor's words.
    pub uptime: Option<String>,
    /// When the configuration was last changed: seconds since 1970.
    pub mtime: f64,
    #[serde(rename = "state_reason")]
    pub state_reason: Vec<Reason>,
    pub status: Health,
}

impl Status {
    /// Of an instance that the hypervisor knows in this state; `None`: that it does not know.
    pub fn new(
        guest: &Guest,
        actual: Option<ActualState>,
        uptime: Option<String>,
        state_reason: Vec<Reason>,
    ) -> Status {
        let actual_state = actual.unwrap_or(match guest.admin_state.as_str() {
            "down" => ActualState::Shutdown,
            _ => ActualState::Unknown,
        });
        Status {
            name: guest.name.clone(),
            uuid: guest.uuid.clone(),
            admin_state: guest.admin_state.clone(),
            actual_state,
            uptime,
            mtime: guest.mtime.as_secs_f64(),
            state_reason,
            status: judge(&guest.admin_state, actual_state),
        }
    }
}

/// Whether an instance does what it should.
fn judge(admin_state: &str, actual: ActualState) -> Health {
    use ActualState::{Blocked, Dying, Hung, Running, Shutdown};
    match (admin_state, actual) {
        ("down", Shutdown | Dying) | ("up", Running | Blocked) => Health::ok(),
        ("down", _) => Health::new(Code::Bad, "The instance is not stopped as it should be"),
        ("up", Hung) => {
            Health::new(Code::Unknown, "Instance marked as running, but it appears to be hung")
        }
        ("up", _) => Health::new(Code::Bad, "The instance is not running as it should be"),
        _ => Health::new(Code::Unknown, "The instance is marked as offline"),
    }
}

/// Why an instance is in its state, as noded wrote it down; empty if nobody did.
pub fn reasons(paths: &Paths, instance: &str) -> Vec<Reason> {
    let mut parts = std::path::Path::new(instance).components();
    if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
        return vec![];
    }
    let mut text = vec![];
    let read = File::open(paths.instance_reasons().join(instance))
        .and_then(|file| file.take(LONGEST_TRAIL).read_to_end(&mut text));
    match read {
        Ok(_) => serde_json::from_slice(&text).unwrap_or_default(),
        Err(_) => vec![],
    }
}

/// The report on all instances. `hypervisor` labels its metrics.
pub fn collected(instances: Vec<Status>, hypervisor: &str) -> Result<Collected> {
    let status = Health::merged(instances.iter().map(|one| &one.status));
    let metrics = metrics(&instances, hypervisor);
    Ok(Collected { data: Data::of(&Report { instances, status })?, metrics })
}

/// What every hypervisor's instances have for `/metrics`.
pub fn metrics(instances: &[Status], hypervisor: &str) -> Metrics {
    let mut metrics = Metrics::default();
    for one in instances {
        let labels = [("instance_name", one.name.as_str()), ("hypervisor", hypervisor)];
        metrics.gauge(
            "roost_instance_admin_up",
            "Whether the instance should run.",
            &labels,
            f64::from(u8::from(one.admin_state == "up")),
        );
        let runs = matches!(one.actual_state, ActualState::Running | ActualState::Blocked);
        metrics.gauge(
            "roost_instance_up",
            "Whether the instance runs.",
            &labels,
            f64::from(u8::from(runs)),
        );
        metrics.gauge(
            "roost_instance_status",
            "Whether the instance is as it should be: 0 yes, 1 being mended, 2 unknown, 4 no.",
            &labels,
            f64::from(one.status.code as u8),
        );
    }
    metrics
}

/// The report when the hypervisor could not be asked.
pub fn unknown(why: &str) -> Result<Collected> {
    let status = Health::new(Code::Bad, format!("Unable to receive the list of instances: {why}"));
    let data = Data::of(&Report { instances: vec![], status })?;
    Ok(Collected { data, metrics: Metrics::default() })
}

/// The data of the report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub instances: Vec<Status>,
    pub status: Health,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn guest(admin_state: &str) -> Guest {
        Guest {
            name: "inst1.example.org".into(),
            uuid: "6b6f7b1c-0000-4000-8000-000000000001".into(),
            admin_state: admin_state.into(),
            mtime: Duration::from_millis(1_700_000_000_250),
            ..Guest::default()
        }
    }

    #[test]
    fn a_report_has_the_keys_of_the_reference_in_their_order() {
        let trail =
            vec![("gnt:user".to_owned(), "maintenance".to_owned(), 1_700_000_000_000_000_000)];
        let one =
            Status::new(&guest("up"), Some(ActualState::Blocked), Some("0:01:00".into()), trail);
        let collected = collected(vec![one], "xen-pvm").unwrap();
        assert_eq!(
            collected.data.get(),
            r#"{"instances":[{"name":"inst1.example.org","uuid":"6b6f7b1c-0000-4000-8000-000000000001","adminState":"up","actualState":"blocked","uptime":"0:01:00","mtime":1700000000.25,"state_reason":[["gnt:user","maintenance",1700000000000000000]],"status":{"code":0,"message":""}}],"status":{"code":0,"message":""}}"#
        );
        assert_eq!(collected.metrics.families[1].samples[0].value, 1.0);
    }

    #[test]
    fn an_instance_is_judged_by_what_it_should_do() {
        use ActualState::*;
        let all = [Running, Blocked, Paused, Shutdown, Crashed, Dying, Hung, Unknown];
        let codes = |admin| all.map(|state| judge(admin, state).code as u8);
        assert_eq!(codes("up"), [0, 0, 4, 4, 4, 4, 2, 4]);
        assert_eq!(codes("down"), [4, 4, 4, 0, 4, 0, 4, 4]);
        assert_eq!(codes("offline"), [2; 8]);
        // Not there: right when it is to be down, and only then.
        assert_eq!(Status::new(&guest("down"), None, None, vec![]).status, Health::ok());
        let missing = Status::new(&guest("up"), None, None, vec![]);
        assert_eq!((missing.actual_state, missing.status.code), (Unknown, Code::Bad));
    }

    #[test]
    fn reasons_are_read_from_the_run_directory_and_nowhere_else() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(Some(root.path().to_owned()));
        assert_eq!(reasons(&paths, "inst1"), vec![]);
        let dir = paths.instance_reasons();
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("inst1"), r#"[["gnt:user", "disk full", 12]]"#).unwrap();
        std::fs::write(dir.join("inst2"), "half a fi").unwrap();
        std::fs::write(dir.join("../outside"), r#"[["a", "b", 1]]"#).unwrap();
        assert_eq!(reasons(&paths, "inst1"), vec![("gnt:user".into(), "disk full".into(), 12)]);
        assert_eq!(reasons(&paths, "inst2"), vec![]);
        for evil in ["../outside", "/etc/passwd", ".", "..", ""] {
            assert_eq!(reasons(&paths, evil), vec![], "{evil}");
        }
    }

    #[test]
    fn a_hypervisor_that_does_not_answer_is_bad() {
        let collected = unknown("xl is gone").unwrap();
        assert_eq!(
            collected.data.get(),
            r#"{"instances":[],"status":{"code":4,"message":"Unable to receive the list of instances: xl is gone"}}"#
        );
    }
}
