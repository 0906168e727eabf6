//! What the benchmark measures with.

pub mod client;
pub mod etcd;
pub mod export;
pub mod failover;
pub mod htools;
pub mod tiny;

use anyhow::{Context, Result};

/// Prints a figure.
pub fn figure(name: &str, value: f64, unit: &str) {
    let value = (value * 100.0).round() / 100.0;
    println!("{}", serde_json::json!({ "name": name, "value": value, "unit": unit }));
}

/// The middle value; 0 of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Bytes a daemon of this machine has had written to disks; 0 where they lie in memory.
pub fn written(daemon: &str) -> Result<u64> {
    let pid = std::fs::read_to_string(format!("/run/ganeti/{daemon}.pid"))?;
    let io = std::fs::read_to_string(format!("/proc/{}/io", pid.trim()))?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes:"));
    line.and_then(|n| n.trim().parse().ok()).with_context(|| format!("{daemon} shows no writes"))
}

/// The value that 95 of 100 do not exceed; 0 of none.
pub fn p95(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = (values.len() * 95).div_ceil(100).saturating_sub(1);
    values.get(last).copied().unwrap_or_default()
}

/// The resident memory of a daemon of this machine, MiB.
pub fn rss(daemon: &str) -> Result<f64> {
    let pid = std::fs::read_to_string(format!("/run/ganeti/{daemon}.pid"))?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("{daemon} shows no memory"))?;
    Ok(kib / 1024.0)
}

/// Runs a command to its end.
pub fn run(argv: &[&str]) -> Result<std::process::Output> {
    #[allow(clippy::disallowed_methods, reason = "commands are what is measured")]
    let mut command = std::process::Command::new(argv[0]);
    command.args(&argv[1..]).output().with_context(|| format!("{argv:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_of_twenty_is_not_among_95_of_100() {
        let values = |n: u32| (1..=n).rev().map(f64::from).collect::<Vec<_>>();
        assert_eq!((p95(values(20)), p95(values(100)), p95(values(1))), (19.0, 95.0, 1.0));
        assert_eq!((p95(Vec::new()), median(Vec::new()), median(values(5))), (0.0, 0.0, 3.0));
    }
}
