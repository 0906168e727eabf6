//! `hcheck`: whether a cluster is well, and whether balancing it would help.
//!
//! ```text
//!   figures of each group ─ something is wrong ─► balance each group ─► figures again ─► exit code 1
//!                         └─ nothing is ────────────────────────────────────────────────► 0
//! ```

use super::Tool;
use super::load::{Loaded, Request, load};
use super::options::{
    Balancing, CapacityChecks, Data, DynamicFile, ExclusionTags, IgnoreDynamic, InstanceChoice,
    MachineReadable, NodeLimits, Offline, Verbosity,
};
use super::sources::UtilisationOptions;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::say;
use clap::Args;
use roost_htools::balance::{self, Scope};
use roost_htools::health::{GroupHealth, Health};
use roost_htools::model::GroupIdx;
use roost_htools::state::Placement;
use roost_htools::tables::decimals;

/// The options.
#[derive(Args, Clone, Debug)]
pub struct Hcheck {
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    balancing: Balancing,
    #[command(flatten)]
    file: DynamicFile,
    #[command(flatten)]
    ignore: IgnoreDynamic,
    #[command(flatten)]
    choice: InstanceChoice,
    #[command(flatten)]
    exclusion: ExclusionTags,
    #[command(flatten)]
    machine: MachineReadable,
    #[command(flatten)]
    limits: NodeLimits,
    #[command(flatten)]
    offline: Offline,
    #[command(flatten)]
    capacity: CapacityChecks,
    /// Do not try what balancing would come to
    #[arg(long)]
    no_simulation: bool,
    #[command(flatten)]
    verbosity: Verbosity,
}

/// What the figures are called for people, and for programs.
const FIGURES: [(&str, &str); 5] = [
    ("Nodes not N+1 happy", "N1_FAIL"),
    ("Nodes with conflicting instances", "CONFLICT_TAGS"),
    ("Instances having the primary node offline", "OFFLINE_PRI"),
    ("Instances having a secondary node offline", "OFFLINE_SEC"),
    ("Nodes not directly evacuateable", "GN1_FAIL"),
];

/// Before or after balancing.
#[derive(Clone, Copy)]
struct Phase {
    people: &'static str,
    programs: &'static str,
}

const BEFORE: Phase = Phase { people: "initially", programs: "INIT" };
const AFTER: Phase = Phase { people: "after rebalancing", programs: "FINAL" };

impl Tool for Hcheck {
    const NAME: &'static str = "hcheck";
    const ABOUT: &'static str = "cluster checker; prints information about cluster's health and checks whether \
                                 a rebalance done using hbal would help";

    async fn run(self, cx: &Cx) -> Outcome {
        let request = Request {
            source: self.data.source(),
            utilisation: UtilisationOptions {
                ignore: self.ignore.ignore_dynu,
                file: self.file.dynu_file.clone(),
                ..UtilisationOptions::default()
            },
            offline: self.offline.clone(),
            instances: self.choice.clone(),
            exclusion: self.exclusion.clone(),
            limits: self.limits,
            verbosity: self.verbosity.level(),
        };
        let loaded = load(cx, &request).await?;
        let capacity = !self.capacity.no_capacity_checks;
        let Loaded { cluster, options, selection } = loaded;
        let placement = Placement::new(cluster, &options);
        let before = Health::of(&placement, capacity);
        let (bad, programs) =
            (before.needs_balancing(), self.machine.machine_readable == Some(true));
        // [Q] People who want to hear less hear nothing: the exit code is the answer.
        let quiet = self.verbosity.level() < 1 && !programs;
        if !programs && !quiet {
            cx.say(match (self.no_simulation, bad) {
                (true, _) => "Running in no-simulation mode.",
                (_, true) => "Cluster needs rebalancing.",
                (_, false) => "No need to rebalance cluster, no problems found.",
            })?;
        }
        let print = Print { cx, placement: &placement, programs, quiet, capacity, bad };
        print.groups()?;
        print.health(BEFORE, &before)?;
        let simulates = bad && !self.no_simulation;
        let after = if simulates {
            let options = self.balancing.wanted();
            let mut balanced = placement.clone();
            for at in 0..placement.cluster().groups.len() {
                let scope = Scope::of(placement.cluster(), GroupIdx::of(at), &selection);
                balanced = balance::plan(&balanced, &scope, &options).placement;
            }
            Health::of(&balanced, capacity)
        } else {
            before
        };
        // Programs are told both in any case.
        if simulates || programs {
            print.health(AFTER, &after)?;
        }
        if programs {
            say!(cx, "HCHECK_OK=1");
        }
        if bad && !self.no_simulation { Err(Failure::Exit(1)) } else { Ok(()) }
    }
}

struct Print<'a> {
    cx: &'a Cx,
    placement: &'a Placement,
    programs: bool,
    /// Nothing is printed, neither for people nor for programs.
    quiet: bool,
    /// Whether it was asked what could fail.
    capacity: bool,
    /// [Q] The verdict before balancing is repeated after it.
    bad: bool,
}

impl Print<'_> {
    /// Which number is which group, for programs.
    fn groups(&self) -> Outcome {
        for (at, group) in
            self.placement.cluster().groups.iter().enumerate().filter(|_| self.programs)
        {
            say!(self.cx, "HCHECK_GROUP_UUID_{at}='{}'", group.uuid);
        }
        Ok(())
    }

    fn health(&self, phase: Phase, health: &Health) -> Outcome {
        if self.quiet {
            return Ok(());
        }
        for (group, figures) in &health.groups {
            self.group(phase, *group, figures)?;
        }
        if self.programs {
            let prefix = format!("HCHECK_{}_CLUSTER", phase.programs);
            self.figures(&prefix, health.counts())?;
            say!(self.cx, "{prefix}_NEED_REBALANCE={}", u8::from(self.bad));
            return Ok(());
        }
        say!(self.cx, "\nCluster statistics {}", phase.people);
        self.figures("", health.counts())?;
        say!(self.cx, "    Cluster is not healthy: {}", if self.bad { "True" } else { "False" });
        Ok(())
    }

    fn group(&self, phase: Phase, group: GroupIdx, figures: &GroupHealth) -> Outcome {
        let score = decimals(figures.score, 8);
        if self.programs {
            let prefix = format!("HCHECK_{}_GROUP_{}", phase.programs, group.at());
            self.figures(&prefix, figures.counts())?;
            say!(self.cx, "{prefix}_SCORE={score}");
            return Ok(());
        }
        let name = &self.placement.cluster().groups[group.at()].name;
        say!(self.cx, "\nStatistics for group {name} {}", phase.people);
        self.figures("", figures.counts())?;
        say!(self.cx, "    Group score: {score}");
        Ok(())
    }

    fn figures(&self, prefix: &str, counts: [usize; 5]) -> Outcome {
        let shown = if self.capacity { FIGURES.len() } else { FIGURES.len() - 1 };
        for ((people, programs), count) in FIGURES.iter().zip(counts).take(shown) {
            match self.programs {
                true => say!(self.cx, "{prefix}_{programs}={count}"),
                false => say!(self.cx, "    {people}: {count}"),
            }
        }
        Ok(())
    }
}
