//! Numbers of the kernel: `/proc` and `/sys`, read by pure parsers.

use std::collections::HashSet;
use std::fs;

/// Names this boot of the machine.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Memory of the machine, MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    pub total: u64,
    /// What programs could get without swapping.
    pub free: u64,
}

/// Processors of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpus {
    /// NUMA nodes.
    pub nodes: u64,
    pub sockets: u64,
    /// Threads the kernel schedules on.
    pub total: u64,
}

/// Reads the memory now.
pub fn memory() -> Memory {
    parse_memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default())
}

/// Reads what processors there are.
pub fn cpus() -> Cpus {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let online = fs::read_to_string("/sys/devices/system/node/online").unwrap_or_default();
    Cpus { nodes: count_ranges(&online).max(1), ..parse_cpus(&text) }
}

fn parse_memory(meminfo: &str) -> Memory {
    let kib = |wanted: &str| {
        meminfo.lines().find_map(|line| {
            let rest = line.strip_prefix(wanted)?.strip_prefix(':')?;
            rest.split_whitespace().next()?.parse::<u64>().ok()
        })
    };
    let sum = || ["MemFree", "Buffers", "Cached"].iter().filter_map(|key| kib(key)).sum();
    // What the kernel itself reckons knows about caches that cannot be dropped.
    let free = kib("MemAvailable").unwrap_or_else(sum);
    Memory { total: kib("MemTotal").unwrap_or(0) / 1024, free: free / 1024 }
}

/// Counts processors and sockets; the NUMA nodes are told elsewhere.
fn parse_cpus(cpuinfo: &str) -> Cpus {
    let values = |wanted: &'static str| {
        cpuinfo.lines().filter_map(move |line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == wanted).then(|| value.trim())
        })
    };
    let total = values("processor").count() as u64;
    let sockets = values("physical id").collect::<HashSet<_>>().len() as u64;
    // Some machines do not tell sockets: then they have one.
    Cpus { nodes: 1, sockets: sockets.max(1), total: total.max(1) }
}

/// How many numbers a list like `0-3,8` has.
fn count_ranges(list: &str) -> u64 {
    list.trim()
        .split(',')
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some((last.parse::<u64>().ok()? + 1).saturating_sub(first.parse().ok()?))
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_could_be_had() {
        let new = "MemTotal:       24683808 kB\nMemFree:        1000000 kB\n\
                   MemAvailable:   23571456 kB\nBuffers: 10 kB\nCached: 20 kB\n";
        assert_eq!(parse_memory(new), Memory { total: 24105, free: 23019 });
        let old =
            "MemTotal: 2048 kB\nMemFree: 1000 kB\nBuffers: 20 kB\nCached: 4 kB\nSwapCached: 9 kB\n";
        assert_eq!(parse_memory(old), Memory { total: 2, free: 1 });
        assert_eq!(parse_memory(""), Memory::default());
    }

    #[test]
    fn sockets_are_counted_once() {
        let text = "processor\t: 0\nphysical id\t: 0\n\nprocessor\t: 1\nphysical id\t: 0\n\n\
                    processor\t: 2\nphysical id\t: 1\n";
        assert_eq!(parse_cpus(text), Cpus { nodes: 1, sockets: 2, total: 3 });
        assert_eq!(parse_cpus("processor: 0\n"), Cpus { nodes: 1, sockets: 1, total: 1 });
    }

    #[test]
    fn ranges_are_counted() {
        assert_eq!(count_ranges("0\n"), 1);
        assert_eq!(count_ranges("0-3,8"), 5);
        assert_eq!(count_ranges(""), 0);
    }

    #[test]
    fn this_machine_has_some() {
        assert!(memory().total > 0 && cpus().total > 0 && !boot_id().is_empty());
    }
}
