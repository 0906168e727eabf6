//! `certificates` (daemon): until when this node's certificates are good.
//!
//! ```json
//! {"status": {"code": 0, "message": ""},
//!  "certificates": [{"file": "node.pem", "subject": "CN=…", "issuer": "CN=…",
//!                    "not_before": 1795080071, "not_after": 1952760071, "days_left": 1825.0,
//!                    "status": {"code": 0, "message": ""}}]}
//! ```
//!
//! Times are seconds since 1970. A file with several certificates has them all; one that cannot be read has its
//! name and nulls. Status: 4 ended, not good yet (a clock is wrong), or less than 7 days left; 1 less than 30 days:
//! the master renews what it made itself when a third of its life is left, so long before; 2 unreadable. For
//! certificates with short lives these are a tenth and a third of their life, if that is less.
//!
//! Metrics: `roost_certificate_not_after_seconds{file}`, `roost_certificate_status{file}`.

use crate::certificates::Certificate;
use crate::clock;
use crate::collector::{About, Collected, Collector, Pending};
use crate::helper::Task;
use crate::metrics::Metrics;
use crate::report::{Category, Code, Data, Health, Kind};
use crate::world::World;
use roost_proto::error::Error;
use serde::Serialize;

const DAY: f64 = 86_400.0;
/// Less time is left than when it should have been renewed, or than is comfortable.
const LATE: f64 = 30.0 * DAY;
const VERY_LATE: f64 = 7.0 * DAY;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Certificates;

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Report {
    status: Health,
    certificates: Vec<Judged>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Judged {
    file: String,
    subject: Option<String>,
    issuer: Option<String>,
    not_before: Option<i64>,
    not_after: Option<i64>,
    days_left: Option<f64>,
    status: Health,
}

impl Collector for Certificates {
    fn about(&self) -> About {
        About::built_in("certificates", Category::Daemon, Kind::Status)
    }

    fn applies(&self, world: &World) -> bool {
        world.paths().identity().exists()
    }

    fn collect<'a>(&'a self, world: &'a World) -> Pending<'a> {
        Box::pin(async move {
            let json = world.privileged(Task::Certificates).await?;
            let all: Vec<Certificate> = serde_json::from_slice(&json).map_err(|e| {
                Error::internal(format!("what the helper said of certificates: {e}"))
            })?;
            let report = report(all, clock::now().as_secs_f64());
            Ok(Collected { metrics: metrics(&report), data: Data::of(&report)? })
        })
    }
}

fn report(all: Vec<Certificate>, now: f64) -> Report {
    let certificates: Vec<Judged> = all.into_iter().map(|one| judged(one, now)).collect();
    let named: Vec<Health> = (certificates.iter())
        .map(|one| Health::new(one.status.code, format!("{}: {}", one.file, one.status.message)))
        .collect();
    Report { status: Health::merged(&named), certificates }
}

fn judged(one: Certificate, now: f64) -> Judged {
    if let Some(error) = one.error {
        return Judged {
            file: one.file,
            subject: None,
            issuer: None,
            not_before: None,
            not_after: None,
            days_left: None,
            status: Health::new(Code::Unknown, error),
        };
    }
    let days = (one.not_after as f64 - now) / DAY;
    Judged {
        status: judge(&one, now),
        file: one.file,
        subject: Some(one.subject),
        issuer: Some(one.issuer),
        not_before: Some(one.not_before),
        not_after: Some(one.not_after),
        days_left: Some((days * 100.0).round() / 100.0),
    }
}

fn judge(one: &Certificate, now: f64) -> Health {
    let (begins, ends) = (one.not_before as f64, one.not_after as f64);
    let (life, left) = (ends - begins, ends - now);
    let renew = match one.file.split(' ').next().unwrap_or_default() {
        "node.pem" => "'gnt-cluster renew-crypto --new-node-certificates' on the master",
        // It is there until all nodes know the new one.
        "node-former.pem" => "the master removes it when all nodes know the new one",
        "ca.pem" => "'gnt-cluster renew-crypto --new-cluster-certificate' on the master",
        "rapi.pem" => {
            "'gnt-cluster renew-crypto --new-rapi-certificate' on the master, or \
             --rapi-certificate=FILE with one of yours"
        }
        _ => {
            "'gnt-cluster renew-crypto --new-spice-certificate' on the master, or \
             --spice-certificate=FILE with one of yours"
        }
    };
    let time = super::proc::about(left.abs());
    // A former one has done its work.
    let worst = if one.file.starts_with("node-former.pem") { Code::Fixing } else { Code::Bad };
    if left <= 0.0 {
        return Health::new(worst, format!("It ended {time} ago: {renew}"));
    }
    if now < begins {
        let early = super::proc::about(begins - now);
        return Health::new(
            Code::Bad,
            format!(
                "It is not good before {early} from now: the clock of this node, or of the master, \
                 is wrong. Set it; see that time is synchronized"
            ),
        );
    }
    if left < VERY_LATE.min(life / 10.0) {
        return Health::new(worst, format!("It ends in {time} and has not been renewed: {renew}"));
    }
    if left < LATE.min(life / 3.0) {
        return Health::new(
            Code::Fixing,
            format!(
                "It ends in {time}. What the master made it renews by itself; what you brought is \
                 yours to renew: {renew}"
            ),
        );
    }
    Health::ok()
}

fn metrics(report: &Report) -> Metrics {
    let mut metrics = Metrics::default();
    for one in &report.certificates {
        let labels = [("file", one.file.as_str())];
        if let Some(ends) = one.not_after {
            let help = "When a certificate ends, since 1970";
            metrics.gauge("roost_certificate_not_after_seconds", help, &labels, ends as f64);
        }
        let help =
            "How a certificate is: 0 well, 1 to be renewed, 2 unreadable, 4 about to end or ended";
        let code = f64::from(one.status.code as u8);
        metrics.gauge("roost_certificate_status", help, &labels, code);
    }
    metrics
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: f64 = 1_800_000_000.0;

    /// Good for five years, with so many days left.
    fn certificate(days_left: f64) -> Certificate {
        let ends = NOW + days_left * DAY;
        Certificate {
            file: "node.pem".into(),
            not_before: (ends - 1825.0 * DAY) as i64,
            not_after: ends as i64,
            ..Certificate::default()
        }
    }

    fn code(days_left: f64) -> Code {
        judge(&certificate(days_left), NOW).code
    }

    #[test]
    fn certificates_are_judged_by_what_is_left() {
        assert_eq!([1824.0, 31.0].map(code), [Code::Ok; 2]);
        assert_eq!([29.9, 7.1].map(code), [Code::Fixing; 2]);
        assert_eq!([6.9, 0.1, 0.0, -400.0].map(code), [Code::Bad; 4]);
        let health = judge(&certificate(-2.0), NOW);
        assert!(health.message.starts_with("It ended 2 days ago"), "{health:?}");
        assert!(health.message.contains("renew-crypto --new-node-certificates"), "{health:?}");
    }

    #[test]
    fn one_that_is_not_good_yet_tells_of_a_wrong_clock() {
        let health = judge(&certificate(1826.0), NOW);
        assert_eq!(health.code, Code::Bad);
        assert!(health.message.contains("clock"), "{health:?}");
    }

    #[test]
    fn short_lives_have_short_limits() {
        let minutes = |left: f64| Certificate {
            not_before: (NOW + left * 60.0) as i64 - 900,
            not_after: (NOW + left * 60.0) as i64,
            ..Certificate::default()
        };
        let code = |left| judge(&minutes(left), NOW).code;
        assert_eq!([14.0, 6.0, 4.0, 1.0].map(code), [Code::Ok, Code::Ok, Code::Fixing, Code::Bad]);
    }

    #[test]
    fn a_former_certificate_may_end() {
        let former = Certificate { file: "node-former.pem".into(), ..certificate(-1.0) };
        assert_eq!(judge(&former, NOW).code, Code::Fixing);
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        let error = Some("node.pem holds no readable certificate".to_owned());
        let broken = Certificate { file: "rapi.pem".into(), error, ..Certificate::default() };
        let report = report(vec![certificate(400.0), broken], NOW);
        assert_eq!(report.status.code, Code::Unknown);
        assert!(report.status.message.starts_with("\nrapi.pem: node.pem holds no"), "{report:?}");
        assert_eq!(report.certificates[0].days_left, Some(400.0));
        let text = serde_json::to_string(&report).unwrap();
        assert!(text.starts_with(r#"{"status":{"code":2"#), "{text}");
        let families = metrics(&report).families;
        assert_eq!(families.iter().map(|f| f.samples.len()).collect::<Vec<_>>(), [1, 2]);
    }

    proptest! {
        #[test]
        fn every_judgement_but_well_has_a_sentence(begins in any::<i64>(), ends in any::<i64>(), now in any::<f64>()) {
            let one = Certificate { not_before: begins, not_after: ends, ..Certificate::default() };
            let health = judge(&one, now);
            prop_assert_eq!(health.code == Code::Ok, health.message.is_empty());
        }
    }
}
