//! What the disks of this machine did: all of `/proc/diskstats`.
//! Source: Ganeti's reference on mond, diskstats.

use super::read;
use crate::collector::{About, Collected, Collector, Pending};
use crate::metrics::Metrics;
use crate::report::{Category, Data, Kind};
use crate::world::World;
use roost_proto::error::{Error, Result};
use serde::Serialize;

/// The kernel counts in sectors of so many bytes, whatever those of the disk are.
const SECTOR: u64 = 512;

/// The collector.
#[derive(Debug, Default)]
pub struct Diskstats;

impl Collector for Diskstats {
    fn about(&self) -> About {
        About::built_in("diskstats", Category::Storage, Kind::Performance)
    }

    fn collect<'a>(&'a self, _world: &'a World) -> Pending<'a> {
        Box::pin(async { collected(&read("/proc/diskstats")?) })
    }
}

/// The report on the text of `/proc/diskstats`.
pub fn collected(text: &str) -> Result<Collected> {
    let disks = parse(text)?;
    Ok(Collected { data: Data::of(&disks)?, metrics: metrics(&disks) })
}

/// A disk or a part of one. Times in milliseconds, the names are the reference's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Disk<'a> {
    pub major: u64,
    pub minor: u64,
    pub name: &'a str,
    pub reads_num: u64,
    pub merged_reads: u64,
    pub sec_read: u64,
    pub time_read: u64,
    pub writes: u64,
    pub merged_writes: u64,
    pub sec_written: u64,
    pub time_write: u64,
    /// Under way at the moment.
    pub ios: u64,
    #[serde(rename = "timeIO")]
    pub time_io: u64,
    #[serde(rename = "wIOmillis")]
    pub weighted: u64,
}

/// Reads the file. Of the fields that newer kernels add (discards, flushes) nothing is reported: clients know
/// fourteen. Errors: a line with fewer, or with something else than numbers.
pub fn parse(text: &str) -> Result<Vec<Disk<'_>>> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            parse_line(line).ok_or_else(|| {
                Error::environment(format!(
                    "The statistics of disks have a line that is not understood: '{line}'"
                ))
            })
        })
        .collect()
}

fn parse_line(line: &str) -> Option<Disk<'_>> {
    let mut words = line.split_ascii_whitespace();
    let (major, minor, name) =
        (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?);
    let mut figures = [0; 11];
    for figure in &mut figures {
        *figure = words.next()?.parse().ok()?;
    }
    let [
        reads_num,
        merged_reads,
        sec_read,
        time_read,
        writes,
        merged_writes,
        sec_written,
        time_write,
        ios,
        time_io,
        weighted,
    ] = figures;
    Some(Disk {
        major,
        minor,
        name,
        reads_num,
        merged_reads,
        sec_read,
        time_read,
        writes,
        merged_writes,
        sec_written,
        time_write,
        ios,
        time_io,
        weighted,
    })
}

#[allow(clippy::cast_precision_loss, reason = "figures for graphs")]
fn metrics(disks: &[Disk<'_>]) -> Metrics {
    let mut metrics = Metrics::default();
    // Kernels have dozens of loop and network devices that nobody uses.
    for disk in disks.iter().filter(|disk| disk.reads_num > 0 || disk.writes > 0) {
        let labels = [("device", disk.name)];
        let seconds = |millis| millis as f64 / 1000.0;
        let bytes = |sectors: u64| sectors.saturating_mul(SECTOR) as f64;
        let mut count = |name, help, value| metrics.counter(name, help, &labels, value);
        count("roost_disk_reads", "Reads that were done.", disk.reads_num as f64);
        count("roost_disk_read_bytes", "Bytes that were read.", bytes(disk.sec_read));
        count(
            "roost_disk_read_time_seconds",
            "Time that all reads took together.",
            seconds(disk.time_read),
        );
        count("roost_disk_writes", "Writes that were done.", disk.writes as f64);
        count("roost_disk_written_bytes", "Bytes that were written.", bytes(disk.sec_written));
        count(
            "roost_disk_write_time_seconds",
            "Time that all writes took together.",
            seconds(disk.time_write),
        );
        count("roost_disk_io_time_seconds", "Time with something to do.", seconds(disk.time_io));
        count(
            "roost_disk_io_time_weighted_seconds",
            "Time that everything took together, waiting in the queue included.",
            seconds(disk.weighted),
        );
        metrics.gauge("roost_disk_io_now", "Reads and writes under way.", &labels, disk.ios as f64);
    }
    metrics
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MODERN: &str = include_str!("../../../fixtures/proc-diskstats-6.18");
    const KERNEL_4_18: &str = include_str!("../../../fixtures/proc-diskstats-4.18");
    const KERNEL_3_16: &str = include_str!("../../../fixtures/proc-diskstats-3.16");

    #[test]
    fn the_example_of_the_reference_comes_out_exactly() {
        let collected = collected("   8       0 sda 100 5 2000 30 50 2 400 20 1 45 50\n").unwrap();
        assert_eq!(
            collected.data.get(),
            r#"[{"major":8,"minor":0,"name":"sda","readsNum":100,"mergedReads":5,"secRead":2000,"timeRead":30,"writes":50,"mergedWrites":2,"secWritten":400,"timeWrite":20,"ios":1,"timeIO":45,"wIOmillis":50}]"#
        );
    }

    #[test]
    fn kernels_of_all_ages_are_understood() {
        for (text, fields) in [(KERNEL_3_16, 14), (KERNEL_4_18, 18), (MODERN, 20)] {
            let first = text.lines().next().unwrap();
            assert_eq!(first.split_ascii_whitespace().count(), fields);
            assert_eq!(parse(text).unwrap().len(), text.lines().count());
        }
        let disks = parse(MODERN).unwrap();
        let disk = disks.iter().find(|disk| disk.name == "vda").unwrap();
        assert_eq!((disk.major, disk.minor, disk.ios), (254, 0, 0));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for bad in ["8 0 sda", "8 0 sda 1 2 3 4 5 6 7 8 9 10 x", "not a line"] {
            let error = parse(bad).unwrap_err().message;
            assert!(error.ends_with(&format!("'{bad}'")), "{error}");
        }
        assert_eq!(parse("").unwrap(), vec![]);
    }

    #[test]
    fn metrics_are_in_base_units_and_of_used_disks_only() {
        let text = "8 0 sda 100 5 2000 30 50 2 400 20 1 45 50\n7 0 loop0 0 0 0 0 0 0 0 0 0 0 0\n";
        let metrics = collected(text).unwrap().metrics;
        let value = |name| {
            let family = metrics.families.iter().find(|family| family.name == name).unwrap();
            assert_eq!(family.samples.len(), 1);
            family.samples[0].value
        };
        assert_eq!(value("roost_disk_read_bytes"), 1_024_000.0);
        assert_eq!(value("roost_disk_write_time_seconds"), 0.02);
        assert_eq!(value("roost_disk_io_now"), 1.0);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "([ 0-9a-z-]{0,80}\n|\\PC{0,20}\n){0,8}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_a_kernel_prints_is_read(
            figures in prop::collection::vec(any::<u64>(), 11..=17),
            name in "[a-z]{1,8}[0-9]{0,3}",
        ) {
            let text: Vec<_> = figures.iter().map(u64::to_string).collect();
            let line = format!("{:4} {:7} {name} {}", 8, 16, text.join(" "));
            let disks = parse(&line).unwrap();
            let disk = &disks[0];
            prop_assert_eq!((disk.major, disk.minor, disk.name), (8, 16, name.as_str()));
            prop_assert_eq!((disk.reads_num, disk.ios, disk.weighted), (figures[0], figures[8], figures[10]));
        }
    }
}
