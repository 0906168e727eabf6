//! How many virtual processors of each Xen guest were busy on average lately.
//! Source: Ganeti's reference on mond, xen-cpu-avg-load.

use super::window::Window;
use super::xl;
use crate::collector::{About, Collected, Collector, Pending, Sampling};
use crate::exec::is_missing;
use crate::helper::Task;
use crate::metrics::Metrics;
use crate::report::{Category, Data, Kind};
use crate::world::World;
use roost_proto::error::Result;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How far back the average goes.
const WINDOW: Duration = Duration::from_secs(600);
/// So many samples of a guest are kept at most.
const BUFFER: usize = 150;
/// A guest has an average when so much time is covered; one that was not seen for so long is forgotten:
/// Ganeti's `XENTOP_AVERAGE_THRESHOLD`.
const THRESHOLD: Duration = Duration::from_secs(100);

/// The collector.
#[derive(Debug)]
pub struct XenCpuAvgLoad {
    start: Instant,
    guests: Mutex<Guests>,
}

impl Default for XenCpuAvgLoad {
    fn default() -> XenCpuAvgLoad {
        XenCpuAvgLoad { start: Instant::now(), guests: Mutex::default() }
    }
}

impl Collector for XenCpuAvgLoad {
    fn about(&self) -> About {
        About {
            sampling: Sampling::Background,
            ..About::built_in("xen-cpu-avg-load", Category::Default, Kind::Performance)
        }
    }

    fn collect<'a>(&'a self, world: &'a World) -> Pending<'a> {
        Box::pin(async {
            let times = match world.privileged(Task::XenTop).await {
                Ok(output) => xl::cpu_times(&String::from_utf8_lossy(&output))?,
                // Without Xen there are no guests of it.
                Err(error) if is_missing(&error) => vec![],
                Err(error) => return Err(error),
            };
            let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
            guests.sample(self.start.elapsed(), times);
            collected(&guests.averages())
        })
    }
}

fn collected(averages: &BTreeMap<&str, f64>) -> Result<Collected> {
    let mut metrics = Metrics::default();
    for (instance, average) in averages {
        metrics.gauge(
            "roost_xen_vcpus_busy",
            "Virtual processors of the guest that were busy on average during the last ten minutes.",
            &[("instance_name", *instance)],
            *average,
        );
    }
    Ok(Collected { data: Data::of(averages)?, metrics })
}

/// Samples of all guests, by name: seconds they had on processors.
#[derive(Debug, Default)]
struct Guests(BTreeMap<String, Window<f64>>);

impl Guests {
    fn sample(&mut self, at: Duration, times: Vec<(String, f64)>) {
        for (name, seconds) in times {
            let samples = self.0.entry(name).or_insert_with(|| Window::new(WINDOW, BUFFER));
            samples.push(at, seconds);
        }
        self.0.retain(|_, samples| {
            samples.newest().is_some_and(|(seen, _)| at.saturating_sub(*seen) < THRESHOLD)
        });
    }

    /// Of those that were watched long enough. A guest that started anew counts from then on.
    fn averages(&self) -> BTreeMap<&str, f64> {
        let averages = self.0.iter().filter_map(|(name, samples)| {
            let growth = samples.growth(|seconds| Some(*seconds));
            (growth.time >= THRESHOLD).then_some((name.as_str(), growth.rate()?))
        });
        averages.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(guests: &mut Guests, times: &[(u64, &str, f64)]) -> String {
        for (at, name, seconds) in times {
            guests.sample(Duration::from_secs(*at), vec![((*name).to_owned(), *seconds)]);
        }
        collected(&guests.averages()).unwrap().data.get().to_owned()
    }

    #[test]
    fn an_average_needs_a_while() {
        let mut guests = Guests::default();
        assert_eq!(watched(&mut guests, &[]), "{}");
        assert_eq!(watched(&mut guests, &[(0, "inst1", 50.0), (95, "inst1", 145.0)]), "{}");
        assert_eq!(watched(&mut guests, &[(100, "inst1", 200.0)]), r#"{"inst1":1.5}"#);
    }

    #[test]
    fn what_is_not_seen_any_more_is_forgotten() {
        let mut guests = Guests::default();
        watched(&mut guests, &[(0, "inst1", 0.0), (100, "inst1", 50.0), (100, "inst2", 0.0)]);
        assert_eq!(watched(&mut guests, &[(199, "inst2", 99.0)]), r#"{"inst1":0.5}"#);
        assert_eq!(watched(&mut guests, &[(200, "inst2", 100.0)]), r#"{"inst2":1.0}"#);
    }

    #[test]
    fn a_guest_that_starts_anew_is_watched_anew() {
        let mut guests = Guests::default();
        let old = [(0, "inst1", 9000.0), (90, "inst1", 9090.0), (95, "inst1", 3.0)];
        assert_eq!(watched(&mut guests, &old), "{}");
        assert_eq!(watched(&mut guests, &[(105, "inst1", 13.0)]), r#"{"inst1":1.0}"#);
    }
}
