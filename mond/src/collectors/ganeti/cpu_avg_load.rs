//! How many processors were busy on average lately.
//! Source: Ganeti's reference on mond, cpu-avg-load.
//!
//! All ticks but idle ones are load, as in the reference: also those of waiting for disks, and those of guests
//! twice, as the kernel counts them. Who wants them apart has `/metrics`.

use super::read;
use super::window::Window;
use crate::collector::{About, Collected, Collector, Pending, Sampling};
use crate::metrics::Metrics;
use crate::report::{Category, Data, Kind};
use crate::world::World;
use nix::unistd::{SysconfVar, sysconf};
use roost_proto::error::{Error, Result};
use serde::Serialize;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How far back the average goes: Ganeti's `CPUAVGLOAD_WINDOW_SIZE`.
const WINDOW: Duration = Duration::from_secs(600);
/// So many samples are kept at most: Ganeti's `CPUAVGLOAD_BUFFER_SIZE`.
const BUFFER: usize = 150;
/// What the kernel counts, in the order of its columns; kernels add new ones at the end.
const MODES: [&str; 10] =
    ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice"];
const IDLE: usize = 3;

/// The collector.
#[derive(Debug)]
pub struct CpuAvgLoad {
    start: Instant,
    samples: Mutex<Window<Ticks>>,
}

impl Default for CpuAvgLoad {
    fn default() -> CpuAvgLoad {
        CpuAvgLoad { start: Instant::now(), samples: Mutex::new(Window::new(WINDOW, BUFFER)) }
    }
}

impl Collector for CpuAvgLoad {
    fn about(&self) -> About {
        About {
            sampling: Sampling::Background,
            ..About::built_in("cpu-avg-load", Category::Default, Kind::Performance)
        }
    }

    fn collect<'a>(&'a self, _world: &'a World) -> Pending<'a> {
        Box::pin(async {
            let lines = parse(&read("/proc/stat")?)?;
            let second = ticks_per_second();
            let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
            samples.push(self.start.elapsed(), Ticks::of(&lines));
            let average = average(&samples, second);
            let metrics = metrics(&lines, &average, second);
            Ok(Collected { data: Data::of(&average)?, metrics })
        })
    }
}

/// A processor's line in `/proc/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which one; `None`: all together.
    pub cpu: Option<u32>,
    /// Ticks in each of [`MODES`].
    pub modes: [u64; MODES.len()],
}

impl Line {
    fn busy(&self) -> u64 {
        let idle = self.modes[IDLE];
        self.modes.iter().fold(0u64, |sum, ticks| sum.saturating_add(*ticks)) - idle
    }
}

/// Reads `/proc/stat`, down to where it speaks of other things. Errors: there are no processors in it, or
/// something else where their numbers should be.
pub fn parse(text: &str) -> Result<Vec<Line>> {
    let mut lines = vec![];
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("cpu") else { break };
        lines.push(parse_line(rest).ok_or_else(|| {
            Error::environment(format!("/proc/stat has a line that is not understood: '{line}'"))
        })?);
    }
    match lines.as_slice() {
        [Line { cpu: None, .. }, ..] => Ok(lines),
        _ => Err(Error::environment("/proc/stat does not begin with a line of all processors")),
    }
}

/// A line behind its `cpu`.
fn parse_line(rest: &str) -> Option<Line> {
    let mut words = rest.split_ascii_whitespace();
    let cpu = match rest.as_bytes().first()? {
        b'0'..=b'9' => Some(words.next()?.parse().ok()?),
        _ => None,
    };
    let mut modes = [0; MODES.len()];
    let mut known = 0;
    // Kernels of old have fewer columns, those to come may have more.
    for (mode, word) in modes.iter_mut().zip(words) {
        *mode = word.parse().ok()?;
        known += 1;
    }
    (known > IDLE).then_some(Line { cpu, modes })
}

/// A sample: ticks of work since the machine started.
#[derive(Debug)]
pub struct Ticks {
    all: u64,
    /// By number, ascending.
    cpus: Vec<(u32, u64)>,
}

impl Ticks {
    fn of(lines: &[Line]) -> Ticks {
        let mut cpus: Vec<_> =
            lines.iter().filter_map(|line| Some((line.cpu?, line.busy()))).collect();
        cpus.sort_unstable();
        let all = lines.iter().find(|line| line.cpu.is_none()).map_or(0, Line::busy);
        Ticks { all, cpus }
    }

    fn cpu(&self, number: u32) -> Option<u64> {
        self.cpus.binary_search_by_key(&number, |cpu| cpu.0).ok().map(|at| self.cpus[at].1)
    }
}

/// The `data` of the report.
#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Average {
    Known { cpu_number: usize, cpus: Vec<f64>, cpu_total: f64 },
    Unknown { error: &'static str },
}

/// What is known of the samples.
#[allow(clippy::cast_precision_loss, reason = "ticks of an age of the universe are not met")]
pub fn average(samples: &Window<Ticks>, second: f64) -> Average {
    let Some((_, newest)) = samples.newest() else {
        return Average::Unknown { error: "Empty buffer" };
    };
    let Some(total) = samples.growth(|ticks| Some(ticks.all as f64)).rate() else {
        // The words of the reference; there is no blank behind the full stop.
        return Average::Unknown {
            error: "Time covered by data is not sufficient.The window considered is 600",
        };
    };
    let cpu = |number| samples.growth(|ticks| ticks.cpu(number).map(|busy| busy as f64)).rate();
    // A processor that has only just been switched on has no average yet: it has done nothing.
    let cpus = newest.cpus.iter().map(|(number, _)| cpu(*number).unwrap_or(0.0) / second);
    Average::Known {
        cpu_number: newest.cpus.len(),
        cpus: cpus.collect(),
        cpu_total: total / second,
    }
}

#[allow(clippy::cast_precision_loss, reason = "ticks of an age of the universe are not met")]
fn metrics(lines: &[Line], average: &Average, second: f64) -> Metrics {
    let mut metrics = Metrics::default();
    if let Average::Known { cpu_number, cpu_total, .. } = average {
        metrics.gauge("roost_cpus", "Processors that are switched on.", &[], *cpu_number as f64);
        metrics.gauge(
            "roost_cpus_busy",
            "Processors that were busy on average during the last ten minutes.",
            &[],
            *cpu_total,
        );
    }
    for line in lines {
        let Some(cpu) = line.cpu else { continue };
        let cpu = cpu.to_string();
        for (mode, ticks) in MODES.iter().zip(line.modes) {
            metrics.counter(
                "roost_cpu_seconds",
                "What processors did; what they did for guests is part of user and nice, too.",
                &[("cpu", &cpu), ("mode", mode)],
                ticks as f64 / second,
            );
        }
    }
    metrics
}

/// The kernel's unit of time.
#[allow(clippy::cast_precision_loss, reason = "it is 100 or so")]
fn ticks_per_second() -> f64 {
    match sysconf(SysconfVar::CLK_TCK) {
        Ok(Some(ticks @ 1..)) => ticks as f64,
        _ => 100.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STAT: &str = include_str!("../../../fixtures/proc-stat-6.18");

    fn sample(text: &str) -> Ticks {
        Ticks::of(&parse(text).unwrap())
    }

    /// Two processors, of which each did that many ticks of work.
    fn stat(cpus: &[(u32, u64)]) -> Ticks {
        let line = |name: &str, busy| format!("{name} {busy} 0 0 77 0 0 0 0 0 0\n");
        let mut text = line("cpu ", cpus.iter().map(|cpu| cpu.1).sum());
        for (number, busy) in cpus {
            text += &line(&format!("cpu{number}"), *busy);
        }
        sample(&(text + "intr 1 2 3\ncpu9 garbage is not looked at\n"))
    }

    fn over(samples: Vec<(u64, Ticks)>) -> Average {
        let mut window = Window::new(WINDOW, BUFFER);
        for (at, ticks) in samples {
            window.push(Duration::from_secs(at), ticks);
        }
        average(&window, 100.0)
    }

    #[test]
    fn the_file_of_a_kernel_is_read() {
        let lines = parse(STAT).unwrap();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].cpu, None);
        assert_eq!(lines[2].cpu, Some(1));
        assert_eq!(
            lines[1].modes,
            [1_071_245, 61_150, 543_275, 609_545, 8_434, 0, 8_402, 2_817, 0, 0]
        );
        assert_eq!(sample(STAT).all, 2_221_650 + 126_652 + 1_083_845 + 22_463 + 20_360 + 5_644);
    }

    #[test]
    fn old_kernels_have_fewer_columns_and_new_ones_may_have_more() {
        let lines = parse("cpu  1 2 3 4\ncpu0 1 2 3 4\n").unwrap();
        assert_eq!(lines[1].busy(), 6);
        let lines = parse("cpu  1 1 1 1 1 1 1 1 1 1 1 1\ncpu0 1 1 1 1 1 1 1 1 1 1 1 1\n").unwrap();
        assert_eq!(lines[1].busy(), 9);
        for bad in
            ["", "intr 1\n", "cpu  1 2 3\n", "cpu  1 2 3 x\n", "cpu0 1 2 3 4\n", "cpux 1 2 3 4\n"]
        {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn until_there_are_two_samples_the_error_is_the_references() {
        let json = |average: &Average| serde_json::to_string(average).unwrap();
        assert_eq!(json(&over(vec![])), r#"{"error":"Empty buffer"}"#);
        assert_eq!(
            json(&over(vec![(1, stat(&[(0, 5)]))])),
            r#"{"error":"Time covered by data is not sufficient.The window considered is 600"}"#
        );
    }

    #[test]
    fn the_average_is_of_the_whole_window_and_each_processor() {
        let average = over(vec![
            (0, stat(&[(0, 0), (1, 0)])),
            (5, stat(&[(0, 500), (1, 0)])),
            (10, stat(&[(0, 1000), (1, 250)])),
        ]);
        assert_eq!(
            serde_json::to_string(&average).unwrap(),
            r#"{"cpu_number":2,"cpus":[1.0,0.25],"cpu_total":1.25}"#
        );
    }

    #[test]
    fn processors_come_and_go() {
        let off = over(vec![
            (0, stat(&[(0, 0), (1, 0)])),
            (10, stat(&[(0, 500), (1, 500)])),
            (20, stat(&[(0, 900)])),
        ]);
        // The sum of all went backwards then: the rest of the time is what counts.
        assert_eq!(off, Average::Known { cpu_number: 1, cpus: vec![0.45], cpu_total: 1.0 });
        let on = over(vec![(0, stat(&[(1, 0)])), (10, stat(&[(0, 0), (1, 1000)]))]);
        assert_eq!(on, Average::Known { cpu_number: 2, cpus: vec![0.0, 1.0], cpu_total: 1.0 });
    }

    #[test]
    fn metrics_count_seconds() {
        let lines = parse(STAT).unwrap();
        let average = Average::Known { cpu_number: 2, cpus: vec![1.0, 0.5], cpu_total: 1.5 };
        let metrics = metrics(&lines, &average, 100.0);
        let names: Vec<_> = metrics.families.iter().map(|family| family.name).collect();
        assert_eq!(names, ["roost_cpus", "roost_cpus_busy", "roost_cpu_seconds"]);
        assert_eq!(metrics.families[2].samples.len(), 20);
        assert_eq!(metrics.families[2].samples[0].value, 10_712.45);
    }

    #[tokio::test]
    async fn this_machine_has_processors() {
        let world = World::new(roost_proto::paths::Paths::new(None), Default::default());
        let collector = CpuAvgLoad::default();
        let first = collector.collect(&world).await.unwrap();
        assert!(first.data.get().contains("Time covered"), "{}", first.data.get());
        let second = collector.collect(&world).await.unwrap();
        assert!(second.data.get().starts_with(r#"{"cpu_number":"#), "{}", second.data.get());
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "(cpu[ 0-9]{0,3}[ 0-9a-z-]{0,60}\n|\\PC{0,20}\n){0,8}") {
            if let Ok(lines) = parse(&text) {
                let ticks = Ticks::of(&lines);
                prop_assert!(ticks.cpus.len() < lines.len());
            }
        }

        #[test]
        fn what_a_kernel_prints_is_read(cpus in prop::collection::vec(prop::array::uniform10(0u64..1 << 50), 1..20)) {
            let mut text = "cpu  0 0 0 0 0 0 0 0 0 0\n".to_owned();
            for (number, modes) in cpus.iter().enumerate() {
                let modes: Vec<_> = modes.iter().map(u64::to_string).collect();
                text += &format!("cpu{number} {}\n", modes.join(" "));
            }
            let lines = parse(&text).unwrap();
            prop_assert_eq!(lines[1..].iter().map(|line| line.modes).collect::<Vec<_>>(), cpus);
        }
    }
}
