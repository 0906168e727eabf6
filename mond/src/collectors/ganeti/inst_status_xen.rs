//! The state of the Xen instances whose primary node this is.
//! Source: Ganeti's reference on mond, inst-status-xen.
//!
//! A guest hangs if it is on a processor, or wants to be, in two looks that are some time apart, and got no time on
//! one between them. The reference takes any guest for hung that got none between two looks at once: also idle ones.

use super::xl::{self, Domain};
use crate::collector::{About, Collected, Collector, Pending, Sampling};
use crate::collectors::inst_status::{self, ActualState, Reason, Status};
use crate::helper::Task;
use crate::report::{Category, Kind};
use crate::world::{ClusterView, Guest, World};
use roost_proto::error::Result;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Two looks are so far apart at least. A guest that wants to run gets a tenth of a second in it on any host that
/// is of use, and that is as exactly as times are told.
const APART: Duration = Duration::from_secs(1);

/// The collector.
#[derive(Debug, Default)]
pub struct InstStatusXen {
    /// The one of the last report.
    look: Mutex<Option<Look>>,
}

type Domains = BTreeMap<String, Domain>;

#[derive(Debug)]
struct Look {
    at: Instant,
    domains: Domains,
}

impl Collector for InstStatusXen {
    fn about(&self) -> About {
        About {
            sampling: Sampling::Background,
            ..About::built_in("inst-status-xen", Category::Instance, Kind::Status)
        }
    }

    fn applies(&self, world: &World) -> bool {
        world.cluster().enabled_hypervisors.iter().any(|one| is_xen(one))
    }

    fn collect<'a>(&'a self, world: &'a World) -> Pending<'a> {
        Box::pin(async {
            let last = self.look.lock().unwrap_or_else(PoisonError::into_inner).take();
            let (before, now) = match looks(world, last).await {
                Ok(looks) => looks,
                Err(error) => return inst_status::unknown(&error.message),
            };
            // A report without uptimes is better than none.
            let uptimes = match world.privileged(Task::XenUptimes).await {
                Ok(output) => xl::uptimes(&String::from_utf8_lossy(&output)),
                Err(error) => Err(error),
            };
            let uptimes = uptimes.unwrap_or_else(|error| {
                tracing::debug!("No uptimes of Xen guests: {error}");
                BTreeMap::new()
            });
            let reasons = |guest: &Guest| inst_status::reasons(world.paths(), &guest.name);
            let report = report(&world.cluster(), &before.domains, &now.domains, &uptimes, reasons);
            *self.look.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
            report
        })
    }
}

fn is_xen(hypervisor: &str) -> bool {
    hypervisor.starts_with("xen-")
}

/// The last look and one now; two if there is no last one, or it was only just now.
async fn looks(world: &World, last: Option<Look>) -> Result<(Look, Look)> {
    let before = match last {
        Some(last) if last.at.elapsed() >= APART => last,
        _ => {
            let look = look(world).await?;
            tokio::time::sleep(APART).await;
            look
        }
    };
    Ok((before, look(world).await?))
}

async fn look(world: &World) -> Result<Look> {
    let output = world.privileged(Task::XenDomains).await?;
    let domains = xl::domains(&String::from_utf8_lossy(&output))?;
    Ok(Look { at: Instant::now(), domains })
}

fn report(
    cluster: &ClusterView,
    before: &Domains,
    now: &Domains,
    uptimes: &BTreeMap<u32, String>,
    reasons: impl Fn(&Guest) -> Vec<Reason>,
) -> Result<Collected> {
    let ours = cluster.guests.iter().filter(|guest| guest.primary && is_xen(&guest.hypervisor));
    let statuses = ours.map(|guest| {
        let domain = now.get(&guest.name);
        let state = domain.map(|domain| {
            if hangs(before.get(&guest.name), domain) { ActualState::Hung } else { domain.state }
        });
        let uptime = domain.and_then(|domain| uptimes.get(&domain.id)).cloned();
        Status::new(guest, state, uptime, reasons(guest))
    });
    inst_status::collected(statuses.collect(), "xen")
}

fn hangs(before: Option<&Domain>, now: &Domain) -> bool {
    before.is_some_and(|before| {
        let runs = |domain: &Domain| domain.state == ActualState::Running;
        runs(before) && runs(now) && before.id == now.id && before.cpu_time >= now.cpu_time
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(name: &str, admin_state: &str) -> Guest {
        Guest {
            name: name.into(),
            uuid: format!("uuid-of-{name}"),
            admin_state: admin_state.into(),
            hypervisor: "xen-pvm".into(),
            primary: true,
            ..Guest::default()
        }
    }

    #[test]
    fn instances_are_reported_with_what_xen_says() {
        let domains = xl::domains(include_str!("../../../fixtures/xl-list")).unwrap();
        let uptimes = xl::uptimes(include_str!("../../../fixtures/xl-uptime")).unwrap();
        let guests = vec![
            guest("inst1.example.org", "up"),
            guest("inst3.example.org", "up"),
            guest("inst9.example.org", "down"),
            Guest { primary: false, ..guest("inst2.example.org", "up") },
            Guest { hypervisor: "kvm".into(), ..guest("other.example.org", "up") },
        ];
        let cluster = ClusterView { guests, ..ClusterView::default() };
        let trail = vec![("gnt:user".to_owned(), "why".to_owned(), 7)];
        let collected =
            report(&cluster, &Domains::new(), &domains, &uptimes, |_| trail.clone()).unwrap();
        let data: serde_json::Value = serde_json::from_str(collected.data.get()).unwrap();
        let instances = data["instances"].as_array().unwrap();
        let column = |key: &str| -> Vec<String> {
            instances.iter().map(|one| one[key].to_string().replace('"', "")).collect()
        };
        assert_eq!(column("name"), ["inst1.example.org", "inst3.example.org", "inst9.example.org"]);
        assert_eq!(column("actualState"), ["blocked", "paused", "shutdown"]);
        assert_eq!(column("uptime"), ["15 days, 20:57:07", "2:03:04", "null"]);
        assert_eq!(column("state_reason")[0], "[[gnt:user,why,7]]");
        assert_eq!(data["status"]["code"], 4);
        assert_eq!(data["status"]["message"], "\nThe instance is not running as it should be");
    }

    #[test]
    fn a_guest_hangs_that_wants_to_run_and_does_not() {
        let domain = |id, state, cpu_time| Domain { id, state, cpu_time };
        let running = |id, time| domain(id, ActualState::Running, time);
        assert!(hangs(Some(&running(1, 5.0)), &running(1, 5.0)));
        assert!(!hangs(Some(&running(1, 5.0)), &running(1, 5.1)));
        assert!(!hangs(None, &running(1, 5.0)), "seen for the first time");
        assert!(!hangs(Some(&running(1, 5.0)), &running(2, 0.1)), "started anew");
        let idle = domain(1, ActualState::Blocked, 5.0);
        assert!(!hangs(Some(&idle), &idle), "it has nothing to do");
        assert!(!hangs(Some(&running(1, 5.0)), &idle));
    }

    #[tokio::test]
    async fn a_host_that_does_not_answer_is_reported_as_bad() {
        let world = World::new(roost_proto::paths::Paths::new(None), Default::default());
        let collected = InstStatusXen::default().collect(&world).await.unwrap();
        let start = r#"{"instances":[],"status":{"code":4,"message":"Unable to receive the list of instances: "#;
        assert!(collected.data.get().starts_with(start), "{}", collected.data.get());
    }

    #[test]
    fn it_works_where_the_cluster_has_xen() {
        let world = World::new(roost_proto::paths::Paths::new(None), Default::default());
        let collector = InstStatusXen::default();
        assert!(!collector.applies(&world));
        let hypervisors = vec!["kvm".to_owned(), "xen-hvm".to_owned()];
        world.set_cluster(ClusterView {
            enabled_hypervisors: hypervisors,
            ..ClusterView::default()
        });
        assert!(collector.applies(&world));
    }
}
