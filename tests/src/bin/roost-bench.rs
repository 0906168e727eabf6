//! `roost-bench`: the figures we promise, measured. One JSON object a line:
//! `{"name", "value", "unit"}`.
//!
//! Brings up a lab of three nodes on the fake hypervisor (a real masterd, real nodeds, real
//! sockets, real fsync unless the lab is on tmpfs) and measures what a user would: commands from
//! the shell by their wall time, jobs by their durable end.

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use roost_tests::bench::{
    client::Bench, etcd, export, failover, figure, htools, median, p95, rss, written,
};
use roost_tests::lab::{Hypervisor, Lab, Options};
use std::time::{Duration, Instant};

#[derive(Debug, Parser)]
#[command(about = "Measures Roost; prints one JSON object a line")]
struct Arguments {
    /// Small figures only: a minute instead of several
    #[arg(long)]
    quick: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Only how soon another candidate leads when the master is killed, with the state in etcd
    Etcd {
        /// Five kills instead of twenty
        #[arg(long)]
        quick: bool,
    },
    /// Only how fast an instance is exported and imported, compared with `cat` over TLS
    Export {
        /// Each once instead of three times
        #[arg(long)]
        quick: bool,
    },
    /// Only placement: what plans, allocations and capacity questions cost on one core, and how good plans are
    Htools {
        /// Without what takes minutes
        #[arg(long)]
        quick: bool,
    },
    /// Measure from inside the master node of a lab (used by the program itself)
    #[command(hide = true)]
    Inside {
        #[arg(long)]
        quick: bool,
    },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::Inside { quick }) => inside(quick),
        Some(Command::Etcd { quick }) => leaderless(quick),
        Some(Command::Export { quick }) => export::measure(quick),
        Some(Command::Htools { quick }) => htools::measure(quick),
        None => outside(arguments.quick),
    }
}

/// Brings up the lab and runs the rest in its master node.
fn outside(quick: bool) -> Result<()> {
    let lab =
        Lab::up(Options { hypervisor: Hypervisor::Fake, init: true, ..Options::new("bench") })?;
    let (times, master) = failover::measure(&lab, "node1".into(), 5)?;
    figure("failover after kill -9, to the first accepted job", median(times), "ms");
    let own = std::env::current_exe()?.display().to_string();
    let limit = Duration::from_secs(3000);
    let mut argv = vec![own.as_str(), "inside"];
    if quick {
        argv.push("--quick");
    }
    let output = lab.exec_within(limit, &master, &argv)?;
    eprint!("{}", output.stderr);
    print!("{}", output.stdout);
    ensure!(output.ok(), "measuring failed");
    let (times, _) = failover::measure(&lab, master, 5)?;
    let size = if quick { "200" } else { "20,000" };
    let name = format!("failover after kill -9, to the first accepted job, {size} instances");
    figure(&name, median(times), "ms");
    drop(lab);
    export::measure(quick)?;
    htools::measure(quick)?;
    leaderless(quick)
}

/// How soon another candidate leads, with the state in etcd.
fn leaderless(quick: bool) -> Result<()> {
    let seconds = etcd::kills(if quick { 5 } else { 20 })?;
    figure("etcd_failover_median_s", median(seconds.clone()), "s");
    figure("etcd_failover_p95_s", p95(seconds), "s");
    Ok(())
}

fn inside(quick: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(quick))
}

/// The median wall time of a command, milliseconds.
fn command(argv: &[&str], times: usize) -> Result<f64> {
    let mut all = Vec::new();
    for _ in 0..times {
        let begin = Instant::now();
        let output = roost_tests::bench::run(argv)?;
        all.push(begin.elapsed().as_secs_f64() * 1e3);
        ensure!(output.status.success(), "{argv:?} failed: {output:?}");
    }
    Ok(median(all))
}

async fn measure(quick: bool) -> Result<()> {
    let bench = Bench::connect().await.context("no masterd here")?;
    figure("masterd memory, empty cluster", rss("masterd")?, "MiB");

    // One client that keeps 64 jobs outstanding; each is waited for to its durable end.
    let jobs = if quick { 1_000 } else { 5_000 };
    figure("no-op jobs, submit to done, durable", bench.noop_jobs(jobs, 64).await?, "jobs/s");
    figure("no-op jobs, one after another", bench.noop_jobs(500, 1).await?, "jobs/s");
    bench.archive().await?;
    let delay = command(&["gnt-debug", "delay", "0.000001"], 31)?;
    figure("gnt-debug delay 0.000001, from the shell", delay, "ms");

    let rate = bench.create_instances(0, 200).await?;
    figure("instance creations, fake hypervisor, diskless, started", rate, "instances/s");
    bench.archive().await?;
    figure("masterd memory, 200 instances", rss("masterd")?, "MiB");
    figure("noded memory, 67 guests", rss("noded")?, "MiB");
    let list = command(&["gnt-instance", "list"], 31)?;
    figure("gnt-instance list, 200 instances", list, "ms");
    figure("gnt-cluster verify, 200 instances", command(&["gnt-cluster", "verify"], 5)?, "ms");
    let few = commits(&bench, "200 instances").await?;
    if quick {
        return Ok(());
    }
    let rate = bench.create_instances(200, 20_000).await?;
    figure("instance creations up to 20,000", rate, "instances/s");
    bench.archive().await?;
    let list = command(&["gnt-instance", "list"], 11)?;
    figure("gnt-instance list, 20,000 instances", list, "ms");
    let names = command(&["gnt-instance", "list", "-o", "name", "--no-headers"], 11)?;
    figure("gnt-instance list -o name, 20,000 instances", names, "ms");
    let one = command(&["gnt-instance", "list", "bench-777.lab"], 11)?;
    figure("gnt-instance list of one of 20,000 instances", one, "ms");
    figure("gnt-cluster verify, 20,000 instances", command(&["gnt-cluster", "verify"], 3)?, "ms");
    let many = commits(&bench, "20,000 instances").await?;
    figure("commit with 20,000 instances to commit with 200", many / few, "times");
    let rate = bench.noop_jobs(jobs, 64).await?;
    figure("no-op jobs with 20,000 instances", rate, "jobs/s");
    figure("masterd memory, 20,000 instances", rss("masterd")?, "MiB");
    bench.archive().await?;
    let list = command(&["gnt-job", "list"], 11)?;
    figure("gnt-job list, more than 25,000 archived jobs", list, "ms");
    let all = command(&["gnt-job", "list", "--archived"], 3)?;
    figure("gnt-job list --archived, more than 25,000", all, "ms");
    Ok(())
}

/// One commit at a time with all candidates' copies: the median, milliseconds.
async fn commits(bench: &Bench, size: &str) -> Result<f64> {
    let (before, serial) = (written("masterd")?, bench.serial().await?);
    let middle = median(bench.acceptances(500).await?);
    figure(&format!("commit on three candidates, {size}, median"), middle, "ms");
    let commits = bench.serial().await?.saturating_sub(serial).max(1);
    let bytes = written("masterd")?.saturating_sub(before) as f64 / commits as f64;
    figure(&format!("written to the master's disk for a commit, {size}"), bytes, "bytes");
    bench.archive().await?;
    Ok(middle)
}
