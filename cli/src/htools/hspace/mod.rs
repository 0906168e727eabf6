//! `hspace`: how many more instances fit.

mod print;
mod spec;

use super::load::{Loaded, Request, load};
use super::options::{
    CapacityChecks, Data, MachineReadable, MaxLength, NodeLimits, Offline, PrintNodes, Save,
    Simulation, Verbosity,
};
use super::sources::SourceOptions;
use super::{Tool, show};
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::note;
use clap::Args;
use print::{Phase, Printer};
use roost_htools::allocate::Rules;
use roost_htools::capacity::{self, Field, Filled, Health, Kind, Mix, Resources, Size};
use roost_htools::fail::FailMode;
use roost_htools::model::{Cluster, DiskTemplate, NodeIdx};
use roost_htools::names::ShortNames;
use roost_htools::redundancy;
use roost_htools::score::Score;
use roost_htools::state::Placement;
use roost_htools::tables::decimals;
use spec::MixPart;

/// The options.
#[derive(Args, Clone, Debug)]
pub struct Hspace {
    #[command(flatten)]
    nodes: PrintNodes,
    /// The disk template of new instances [default: the first that the cluster allows]
    #[arg(long, value_name = "TEMPLATE", value_parser = spec::template)]
    disk_template: Option<DiskTemplate>,
    /// The spindles that new instances use [default: those of the cluster's standard]
    #[arg(long, value_name = "SPINDLES", value_parser = spec::spindle_use, allow_hyphen_values = true)]
    spindle_use: Option<i64>,
    #[command(flatten)]
    simulation: Simulation,
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    verbosity: Verbosity,
    /// Each node group for itself: one with errors does not keep others from being filled
    #[arg(long)]
    independent_groups: bool,
    /// Nodes that fail N+1 already do not matter; only no new ones
    #[arg(long)]
    accept_existing_errors: bool,
    #[command(flatten)]
    offline: Offline,
    #[command(flatten)]
    capacity: CapacityChecks,
    #[command(flatten)]
    machine: MachineReadable,
    #[command(flatten)]
    limits: NodeLimits,
    #[command(flatten)]
    length: MaxLength,
    /// The size of standard instances, as 'disk,ram,cpu[,spindles]' [default: the cluster's standard]
    #[arg(long, value_name = "SPEC", value_parser = spec::standard)]
    standard_alloc: Option<Size>,
    /// The size to begin with, as 'disk,ram,cpu[,spindles]' [default: the largest the cluster allows]
    #[arg(long, value_name = "SPEC", value_parser = spec::tiered)]
    tiered_alloc: Option<Size>,
    /// Also how many rounds of a mix fit: parts with ';' between, each as 'count*disk,ram,cpu'; ',spindles' and
    /// ',template' may follow
    #[arg(long, value_name = "MIX", value_parser = spec::mix)]
    mixed_alloc: Option<spec::MixSpec>,
    #[command(flatten)]
    save: Save,
}

impl Tool for Hspace {
    const NAME: &'static str = "hspace";
    const ABOUT: &'static str =
        "cluster space analyzer tool; determines how many instances a cluster can hold";

    async fn run(self, cx: &Cx) -> Outcome {
        let verbosity = self.verbosity.level();
        let request = Request {
            source: SourceOptions {
                simulate: self.simulation.simulate.clone(),
                ..self.data.source()
            },
            offline: self.offline.clone(),
            limits: self.limits,
            verbosity,
            ..Request::default()
        };
        let Loaded { cluster, options, .. } = load(cx, &request).await?;
        let placement = Placement::new(cluster, &options);
        let cluster = placement.cluster();
        let Some(&first) = cluster.policy.templates.first() else {
            return Err(Failure::say("Error: null list of disk templates received from cluster"));
        };
        let Some(largest) = cluster.policy.ranges.first().map(|range| range.max) else {
            return Err(Failure::say("Error: Empty list of specs received from the cluster"));
        };
        let kind = Kind {
            template: self.disk_template.unwrap_or(first),
            spindle_use: self.spindle_use.unwrap_or(cluster.policy.standard.spindles),
        };
        let names = ShortNames::of(cluster);
        if verbosity > 1 && !names.suffix().is_empty() {
            note!(cx, "Note: Stripping common suffix of '{}' from names", names.suffix());
        }
        let printer = Printer::new(cx, self.machine.machine_readable.unwrap_or(false), cluster);
        self.show_nodes(cx, "Initial cluster", &placement, &names);
        if verbosity > 2 {
            initial_coefficients(cx, &placement);
        }
        let before = Resources::of(&placement);
        printer.cluster(&before, cluster.nodes.len())?;
        let field = self.field(cx, &placement, verbosity);
        let run = Run { options: &self, cx, printer: &printer, names: &names, before: &before };

        let tiers = match self.tiered_alloc {
            Some(size) => vec![size],
            None => cluster.policy.ranges.iter().map(|range| range.max.into()).collect(),
        };
        let limit = usize::try_from(self.length.max_length).ok();
        let mut filled = Filled::nothing(placement.clone());
        if !field.is_closed() {
            capacity::tiered(&field, &mut filled, kind, &tiers, limit).map_err(no_nodes)?;
        }
        let first = self.tiered_alloc.unwrap_or(largest.into());
        let filled = run.finished(Phase::Tiered, first, kind, filled, field.is_closed())?;
        printer.tiered(&filled, &before, &Resources::of(&filled.placement))?;

        let size = self.standard_alloc.unwrap_or(cluster.policy.standard.into());
        let filled = match field.is_closed() {
            true => Filled::nothing(placement.clone()),
            false => capacity::standard(&field, placement.clone(), kind, size, limit)
                .map_err(no_nodes)?,
        };
        let filled = run.finished(Phase::Standard, size, kind, filled, field.is_closed())?;
        printer.standard(&filled, &before, cluster.instances.len(), field.is_closed())?;

        if let Some(mix) = &self.mixed_alloc {
            run.mixed(&field, &placement, kind, &mix.0, limit)?;
        }
        printer.ends()
    }
}

fn no_nodes(why: &'static str) -> Failure {
    Failure::say(format!("Error: failure during allocation: {why}"))
}

fn initial_coefficients(cx: &Cx, placement: &Placement) {
    let nodes: Vec<NodeIdx> = (0..placement.cluster().nodes.len()).map(NodeIdx::of).collect();
    let score = Score::of(placement, &nodes);
    let table = roost_htools::tables::score(&score).render("  ");
    cx.io
        .write_err(&format!("Initial coefficients: overall {}\n{table}", decimals(score.total, 8)));
}

impl Hspace {
    fn show_nodes(&self, cx: &Cx, when: &str, placement: &Placement, names: &ShortNames) {
        let nodes: Vec<NodeIdx> = (0..placement.cluster().nodes.len()).map(NodeIdx::of).collect();
        show::nodes(cx, &self.nodes, when, placement, names, &nodes);
    }

    /// Where instances may go.
    fn field(&self, cx: &Cx, placement: &Placement, verbosity: i32) -> Field {
        let cluster = placement.cluster();
        let rules = Rules {
            capacity_checks: !self.capacity.no_capacity_checks,
            redundancy: redundancy::Options {
                accept_existing: self.accept_existing_errors,
                ignore_groups: vec![],
            },
            ..Rules::default()
        };
        let health = Health::of(placement, &rules.redundancy);
        if verbosity > 3 {
            say_bad(cx, cluster, &health);
        }
        Field::new(cluster, &health, rules, self.independent_groups)
    }
}

fn say_bad(cx: &Cx, cluster: &Cluster, health: &Health) {
    let nodes: Vec<&str> =
        health.bad_nodes.iter().map(|node| cluster.nodes[node.at()].name.as_str()).collect();
    let groups: Vec<&str> =
        health.bad_groups.iter().map(|group| cluster.groups[group.at()].name.as_str()).collect();
    for (what, names) in [("nodes", nodes), ("groups", groups)] {
        if !names.is_empty() {
            note!(cx, "Bad {what}: {names:?}");
        }
    }
}

/// What all fillings have in common.
struct Run<'a> {
    options: &'a Hspace,
    cx: &'a Cx,
    printer: &'a Printer<'a>,
    names: &'a ShortNames,
    before: &'a Resources,
}

impl Run<'_> {
    /// Says what was asked, and shows what became of the cluster.
    fn finished(
        &self,
        phase: Phase,
        size: Size,
        kind: Kind,
        mut filled: Filled,
        closed: bool,
    ) -> Outcome<Filled> {
        if closed {
            filled.failures.add(FailMode::N1, 1);
        }
        self.printer.spec(phase, size, kind)?;
        let (name, word) = (phase.name(), phase.word());
        if self.options.verbosity.level() > 1 {
            let map = self.printer.map(&filled);
            self.cx.io.write_err(&format!("{name} allocation map\n{map}"));
        }
        let what = format!("{name} allocation");
        self.options.show_nodes(self.cx, &what, &filled.placement, self.names);
        if let file @ Some(_) = self.options.save.save.as_ref() {
            let when = format!("after {word} allocation");
            show::save(self.cx, file, word, &when, &filled.placement.to_cluster())?;
        }
        Ok(filled)
    }

    fn mixed(
        &self,
        field: &Field,
        placement: &Placement,
        kind: Kind,
        mix: &[MixPart],
        limit: Option<usize>,
    ) -> Outcome {
        let parts: Vec<Mix> = mix
            .iter()
            .map(|part| Mix {
                count: part.count,
                size: part.size,
                kind: Kind { template: part.template.unwrap_or(kind.template), ..kind },
            })
            .collect();
        let start = Filled::nothing(placement.clone());
        let limit = if field.is_closed() { Some(0) } else { limit };
        let mut mixed = capacity::mixed(field, start, &parts, limit).map_err(no_nodes)?;
        if field.is_closed() {
            for part in &mut mixed.parts {
                (part.more, part.failures) = (0, Default::default());
                part.failures.add(FailMode::N1, 1);
            }
        }
        self.printer.mixed(&parts, &mixed, self.before)?;
        let what = "Mixed allocation";
        self.options.show_nodes(self.cx, what, &mixed.filled.placement, self.names);
        if let file @ Some(_) = self.options.save.save.as_ref() {
            let after = mixed.filled.placement.to_cluster();
            show::save(self.cx, file, "mixed", "after mixed allocation", &after)?;
        }
        Ok(())
    }
}
