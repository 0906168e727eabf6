//! `gnt-cluster balancer`: what the cluster's own balancer may do; without options, what it does and why.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::options;
use crate::submit::{self, JobOptions};
use crate::verb::Verb;
use crate::{clock, table};
use clap::Args;
use roost_proto::balancer::{BalancerTold, GroupTold, MadeTold, MoveTold, PlanTold};
use roost_proto::choices::BalancerMode;
use roost_proto::opcodes::ClusterSetBalancer;
use roost_proto::units::{SizeUnit, format_unit, parse_timespec};
use std::fmt::Write as _;

/// `balancer`. Ganeti has none.
#[derive(Args, Debug)]
pub struct Balancer {
    #[command(flatten)]
    job: JobOptions,
    /// off: nothing; report: it says what it would do; on: it moves instances
    #[arg(long, value_name = "off|report|on")]
    mode: Option<BalancerMode>,
    /// Groups whose score is not more than this above what cannot be avoided are left alone
    #[arg(long, value_name = "SCORE")]
    threshold: Option<f64>,
    /// For how long a group has to be above the threshold
    #[arg(long, value_name = "TIME", value_parser = parse_timespec)]
    hold: Option<u64>,
    /// What a plan has to win at least
    #[arg(long, value_name = "GAIN")]
    margin: Option<f64>,
    /// Moves in any hour, at most
    #[arg(long, value_name = "N")]
    moves_per_hour: Option<u32>,
    /// What may be copied for moves in any hour
    #[arg(long, value_name = "SIZE", value_parser = options::size)]
    copy_per_hour: Option<u64>,
    /// How often it looks
    #[arg(long, value_name = "TIME", value_parser = parse_timespec)]
    interval: Option<u64>,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
}

impl Verb for Balancer {
    const NAME: &'static str = "balancer";
    const ABOUT: &'static str = "Shows or changes what the cluster balances by itself";

    async fn run(self, cx: &Cx) -> Outcome {
        let op = ClusterSetBalancer {
            mode: self.mode,
            threshold: self.threshold,
            hold: self.hold,
            margin: self.margin,
            moves_per_hour: self.moves_per_hour,
            copy_per_hour: self.copy_per_hour,
            interval: self.interval,
        };
        if op != ClusterSetBalancer::new() {
            submit::run(cx, op, &self.job.how()).await?;
            return Ok(());
        }
        let told = cx.client().await?.balancer().await?;
        cx.io.write_out(&match self.json {
            true => table::pretty(&serde_json::to_value(&told).unwrap_or_default()),
            false => text(&told),
        })
    }
}

fn size(mib: u64) -> String {
    format_unit(mib as f64, SizeUnit::Human)
}

fn time(seconds: f64) -> String {
    clock::stamp(seconds as u64)
}

/// As people read it.
fn text(told: &BalancerTold) -> String {
    let mut text = String::new();
    // Writing to memory does not fail.
    write_all(&mut text, told).ok();
    text
}

fn write_all(out: &mut String, told: &BalancerTold) -> std::fmt::Result {
    let settings = &told.settings;
    writeln!(out, "Mode: {}", settings.mode)?;
    writeln!(out, "Threshold: {}", settings.threshold)?;
    writeln!(out, "Hold time: {} s", settings.hold)?;
    writeln!(out, "Margin: {}", settings.margin)?;
    let (moves, copy) = (settings.moves_per_hour, settings.copy_per_hour);
    writeln!(out, "Moves per hour: {moves}, {} left", told.moves_left)?;
    writeln!(out, "Copies per hour: {}, {} left", size(copy), size(told.copy_left))?;
    let looked = told.looked.map_or_else(|| "never".into(), time);
    writeln!(out, "Interval: {} s, looked last: {looked}", settings.interval)?;
    if !told.groups.is_empty() {
        writeln!(out, "Node groups:")?;
    }
    told.groups.iter().try_for_each(|group| write_group(out, group))?;
    if !told.resting.is_empty() {
        writeln!(out, "Resting after failed moves:")?;
    }
    for rest in &told.resting {
        let (name, until) = (&rest.instance, time(rest.until));
        writeln!(out, "  {name}: until {until}, failed in a row: {}", rest.failures)?;
    }
    if !told.moves.is_empty() {
        writeln!(out, "Moves of the last hour:")?;
    }
    told.moves.iter().try_for_each(|made| write_made(out, made))
}

fn write_group(out: &mut String, group: &GroupTold) -> std::fmt::Result {
    writeln!(out, "  {}: {}", group.name, group.doing)?;
    if let (Some(score), Some(unavoidable)) = (group.score, group.unavoidable) {
        let above = score - unavoidable;
        write!(out, "    score {score:.4}, {above:.4} above what cannot be avoided")?;
        match group.above_since {
            Some(since) => writeln!(out, "; above the threshold since {}", time(since))?,
            None => writeln!(out)?,
        }
    }
    let Some(PlanTold { made, before, after, moves }) = &group.plan else { return Ok(()) };
    writeln!(out, "    plan of {}: score {before:.4} to {after:.4}", time(*made))?;
    for MoveTold { instance, from, to, copy } in moves {
        write!(out, "      {instance}: {} to {}", from.join(":"), to.join(":"))?;
        match copy {
            0 => writeln!(out)?,
            copy => writeln!(out, ", copies {}", size(*copy))?,
        }
    }
    Ok(())
}

fn write_made(out: &mut String, made: &MadeTold) -> std::fmt::Result {
    let MadeTold { at, instance, job, copy, end } = made;
    write!(out, "  {}: {instance}", time(*at))?;
    if let Some(job) = job {
        write!(out, ", job {job}")?;
    }
    if *copy > 0 {
        write!(out, ", copies {}", size(*copy))?;
    }
    writeln!(out, ": {end}")
}
