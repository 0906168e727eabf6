//! Our confd and mond beside Debian's own ganeti-confd and ganeti-mond: the same configuration, the same machine,
//! the same questions from the same program. And our placement tools beside those of ganeti-htools.
//!
//! ```text
//!   network and mounts of our own ─┬─ chroot into Debian's root ─ ganeti-confd, ganeti-mond
//!                                  └─ gnt-confd, gnt-mond
//!   round by round: peer, ours, peer, ours, … ; figures are medians of rounds, ratios are those of medians
//! ```

mod confd;
mod daemons;
mod flood;
mod htools;
mod http;
mod memory;
mod mond;
mod udp;
mod world;

use crate::bench::{figure, median};
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::time::Duration;

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Answers of confd, beside the peer's
    Confd,
    /// Reports of mond, beside the peer's
    Mond,
    /// Memory of ours
    Memory,
    /// What answers cost while nonsense arrives
    Flood,
    /// Placement tools: whether they say what the peer's say, and what that costs
    Htools,
}

/// How to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Debian's root, made by scripts/build-ganeti-peer.
    pub root: PathBuf,
    /// Our programs.
    pub programs: PathBuf,
    pub rounds: usize,
    /// How long each question is asked in a round.
    pub span: Duration,
    /// A smoke run: figures mean nothing.
    pub quick: bool,
    /// All if empty.
    pub parts: Vec<Part>,
}

/// Measures and prints one JSON object a line. Must run in a process of one thread, as root: the process gets a
/// network and mounts of its own.
pub fn run(plan: &Plan) -> Result<()> {
    let wants = |part| plan.parts.is_empty() || plan.parts.contains(&part);
    ensure!(
        plan.root.join(world::PEER_LIBRARY).is_dir(),
        "there is no Debian's ganeti in {}: scripts/build-ganeti-peer makes it",
        plan.root.display()
    );
    world::leave_this_machine()?;
    let scratch = world::Scratch::new().context("cannot make a directory to work in")?;
    if wants(Part::Confd) {
        confd::measure(plan, scratch.path()).context("confd")?;
    }
    if wants(Part::Mond) {
        mond::measure(plan, scratch.path()).context("mond")?;
    }
    if wants(Part::Memory) {
        memory::measure(plan, scratch.path()).context("memory")?;
    }
    if wants(Part::Flood) {
        flood::measure(plan, scratch.path()).context("flood")?;
    }
    if wants(Part::Htools) {
        htools::measure(plan, scratch.path()).context("htools")?;
    }
    Ok(())
}

/// Rounds of one figure.
#[derive(Debug, Default)]
struct Rounds {
    peer: Vec<f64>,
    ours: Vec<f64>,
}

impl Rounds {
    /// Prints the medians, and how many times ours is the peer's.
    fn print(self, name: &str, unit: &str) {
        let compared = !self.peer.is_empty() && !self.ours.is_empty();
        let (peer, ours) = (median(self.peer), median(self.ours));
        if compared {
            figure(&format!("{name}, peer"), peer, unit);
        }
        figure(&format!("{name}, ours"), ours, unit);
        if compared && peer > 0.0 {
            figure(&format!("{name}, ours to peer"), ours / peer, "times");
        }
    }
}

/// The value that `percent` of 100 do not exceed, of values that are sorted; 0 of none.
fn percentile(sorted: &[u32], percent: usize) -> f64 {
    let last = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(last).copied().map_or(0.0, f64::from)
}
