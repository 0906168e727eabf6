//! `hbal`: makes a node group more even, by a plan of moves that can be looked at, saved, run.
//!
//! ```text
//!   load ─► one group ─► score ─► plan ─┬─► steps, score, tables (always)
//!                                       ├─► -C commands, -S states
//!                                       └─► -X jobs, a set after the other
//! ```
//!
//! `--pareto` only lists what can be had for how much. With `--algorithm=greedy` moves and output are the
//! reference's.

mod steps;

use super::execute::{JobSet, Label, execute};
use super::load::{Loaded, Request, load};
use super::options::{
    Balancing, Data, ExclusionTags, Execute, GroupOption, InstanceChoice, NodeLimits, Offline,
    PrintCommands, PrintInstances, PrintNodes, Save, Utilisation, Verbosity,
};
use super::values::at_least;
use super::{Tool, show};
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::say;
use clap::Args;
use roost_htools::balance::{self, Algorithm, Greedy, Plan, Scope, Step};
use roost_htools::carry;
use roost_htools::health;
use roost_htools::model::{InstanceIdx, NodeIdx};
use roost_htools::names::ShortNames;
use roost_htools::score::Score;
use roost_htools::state::Placement;
use roost_htools::tables::{Table, decimals, general};
use std::path::Path;
use std::time::Instant;
use steps::StepLines;

/// The options.
#[derive(Args, Clone, Debug)]
pub struct Hbal {
    #[command(flatten)]
    nodes: PrintNodes,
    #[command(flatten)]
    instances: PrintInstances,
    #[command(flatten)]
    commands: PrintCommands,
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    execute: Execute,
    /// With -X: only the first set of jobs
    #[arg(long)]
    first_job_group: bool,
    /// Why: recorded with the jobs
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Priority of the jobs
    #[arg(long, value_name = "PRIO", value_parser = priority)]
    priority: Option<i32>,
    #[command(flatten)]
    group: GroupOption,
    #[command(flatten)]
    balancing: Balancing,
    /// Look for better plans for so many seconds; otherwise the same plan for the same cluster
    #[arg(long, value_name = "SECONDS",
          value_parser = at_least("time", 0.0, "Invalid time, expected >= 0"))]
    time: Option<f64>,
    /// Explain every move: what it wins, and why not to another node
    #[arg(long)]
    explain: bool,
    /// Only list which scores can be had for how many moves and how much to copy
    #[arg(long)]
    pareto: bool,
    /// Change a secondary only where the instance leaves an offline primary
    #[arg(long)]
    restricted_migration: bool,
    #[command(flatten)]
    offline: Offline,
    #[command(flatten)]
    limits: NodeLimits,
    #[command(flatten)]
    choice: InstanceChoice,
    #[command(flatten)]
    exclusion: ExclusionTags,
    #[command(flatten)]
    utilisation: Utilisation,
    #[command(flatten)]
    save: Save,
    #[command(flatten)]
    verbosity: Verbosity,
}

/// Ganeti's numbers of its words.
fn priority(word: &str) -> Result<i32, String> {
    match word {
        "low" => Ok(10),
        "normal" => Ok(0),
        "high" => Ok(-10),
        other => Err(format!("Unknown priority '{other}'")),
    }
}

/// What is balanced, and how it is called.
struct Group {
    scope: Scope,
    /// Instances whose primary is in it.
    instances: Vec<InstanceIdx>,
    names: ShortNames,
}

impl Tool for Hbal {
    const NAME: &'static str = "hbal";
    const ABOUT: &'static str = "cluster balancer that looks at the current state of the cluster and computes a \
                                 series of steps designed to bring the cluster into a better state";

    async fn run(self, cx: &Cx) -> Outcome {
        if self.execute.exec && self.data.luxi.luxi.is_none() {
            return Err(Failure::say("Error: hbal: Execution of commands possible only on LUXI"));
        }
        let does = self.execute.exec || self.commands.print_commands.is_some();
        if self.pareto && (does || self.save.save.is_some()) {
            return Err(Failure::say(
                "Error: --pareto only lists plans; choose one with -l and --max-copy, without --pareto.",
            ));
        }
        let verbosity = self.verbosity.level();
        let Loaded { cluster, options, selection } = load(cx, &self.request()).await?;
        if verbosity > 1 {
            show::tags(cx, &cluster)?;
            show::policy(cx, &cluster)?;
        }
        if cluster.instances.is_empty() {
            return cx.say("Cluster is empty, exiting.");
        }
        say!(cx, "Loaded {} nodes, {} instances", cluster.nodes.len(), cluster.instances.len());
        let names = ShortNames::of(&cluster);
        if verbosity > 1 {
            show::stripped(cx, &names)?;
        }
        show::save(cx, self.save.save.as_ref(), "original", "before balancing", &cluster)?;
        let wanted = show::choose_group(cx, &cluster, self.group.group.as_deref())?;
        let title = cluster.groups[wanted.at()].name.clone();
        let scope = Scope::of(&cluster, wanted, &selection);
        let here = |node: NodeIdx| cluster.nodes.get(node.at()).is_some_and(|n| n.group == wanted);
        let all = (0..cluster.instances.len()).map(InstanceIdx::of);
        let instances = all.filter(|i| here(cluster.instances[i.at()].primary)).collect();
        let group = Group { scope, instances, names };
        let placement = Placement::new(cluster, &options);
        self.begin(cx, &title, &group, &placement)?;
        let score = Score::of(&placement, &group.scope.nodes);
        self.say_score(cx, "Initial score: ", "Initial coefficients: overall ", &score)?;
        let floor = roost_htools::score::unavoidable(&placement, &group.scope.nodes);
        if score.total - floor < self.balancing.min_score {
            return say_balanced(cx, score.total, floor, self.balancing.min_score);
        }
        if self.pareto {
            return self.front(cx, &group, &placement);
        }
        say!(cx, "Trying to minimize the CV...");
        let plan = self.plan(cx, &group, &placement)?;
        self.end(cx, &group, &placement, &plan).await
    }
}

fn say_balanced(cx: &Cx, score: f64, floor: f64, enough: f64) -> Outcome {
    say!(cx, "Cluster is already well balanced (initial score {},", general(score));
    say!(cx, "optimum score due to N+1 reservations {},", general(floor));
    say!(cx, "minimum score {}).", general(enough));
    say!(cx, "Nothing to do, exiting");
    Ok(())
}

impl Hbal {
    fn request(&self) -> Request {
        Request {
            source: self.data.source(),
            utilisation: self.utilisation.wanted(),
            offline: self.offline.clone(),
            instances: self.choice.clone(),
            exclusion: self.exclusion.clone(),
            limits: self.limits,
            verbosity: self.verbosity.level(),
        }
    }

    /// What is known before planning.
    fn begin(&self, cx: &Cx, title: &str, group: &Group, placement: &Placement) -> Outcome {
        let nodes = &group.scope.nodes;
        say!(cx, "Group size {} nodes, {} instances", nodes.len(), group.instances.len());
        say!(cx, "Selected node group: {title}");
        let bad = health::bad_nodes(placement, nodes);
        if self.verbosity.level() > 0 {
            let touched = health::bad_instances(placement, &bad).len();
            say!(cx, "Initial check done: {} bad nodes, {touched} bad instances.", bad.len());
        }
        let others: Vec<NodeIdx> =
            nodes.iter().copied().filter(|node| !bad.contains(node)).collect();
        if self.verbosity.level() > 4 {
            judged(cx, placement, &bad, &others)?;
        }
        if !bad.is_empty() {
            say!(
                cx,
                "Cluster is not N+1 happy, continuing but no guarantee that the cluster will end \
                 N+1 happy."
            );
        }
        let over = others.iter().filter(|node| health::policy(placement, **node).is_err()).count();
        if over > 0 {
            say!(cx, "The cluster contains {over} policy-violating nodes.");
            cx.say(match self.balancing.soft.ignore_soft_errors {
                true => "Continuing, ignoring soft errors.",
                false => {
                    "Continuing, but the set of moves might be too restricted; consider using the \
                     --ignore-soft-errors option."
                }
            })?;
        }
        show::instances(cx, self.instances, "Initial", placement, &group.instances);
        show::nodes(cx, &self.nodes, "Initial cluster", placement, &group.names, nodes);
        Ok(())
    }

    fn say_score(&self, cx: &Cx, short: &str, long: &str, score: &Score) -> Outcome {
        let total = decimals(score.total, 8);
        if self.verbosity.level() > 2 {
            say!(cx, "{long}{total}");
            return show::terms(cx, score);
        }
        cx.say(format_args!("{short}{total}"))
    }

    fn options(&self) -> balance::Options {
        let mut options = self.balancing.wanted();
        options.restricted_migration = self.restricted_migration;
        options
    }

    /// Whether to look for better plans still; without `--time` never, so that plans are the same each time.
    fn go_on(&self) -> impl Fn() -> bool + Sync + use<> {
        let (begun, time) = (Instant::now(), self.time);
        move || time.is_some_and(|seconds| begun.elapsed().as_secs_f64() < seconds)
    }

    /// What can be had for how much.
    fn front(&self, cx: &Cx, group: &Group, placement: &Placement) -> Outcome {
        let plans = balance::front(placement, &group.scope, &self.options(), &self.go_on());
        let mut table = Table::new([("Moves", true), ("GiB", true), ("Score", true)]);
        table.rows.extend(plans.iter().map(|plan| {
            let gib = decimals(plan.copied() as f64 / 1024.0, 1);
            vec![plan.steps.len().to_string(), gib, decimals(plan.score(), 8)]
        }));
        cx.io.write_out(&table.render("  "))
    }

    /// Plans, and prints the steps: the greedy ones as they are found.
    fn plan(&self, cx: &Cx, group: &Group, placement: &Placement) -> Outcome<Plan> {
        let options = self.options();
        let lines = StepLines::of(placement.cluster(), group);
        let mut before = self.explain.then(|| placement.clone());
        let mut print = |number: usize, step: &Step| {
            cx.say(lines.line(placement.cluster(), number, step))?;
            let why = before.as_mut().map(|before| lines.explain(before, &options, step));
            why.into_iter().flatten().try_for_each(|line| cx.say(line))
        };
        if options.algorithm == Algorithm::Search {
            let plan = balance::plan_while(placement, &group.scope, &options, &self.go_on());
            for (at, step) in plan.steps.iter().enumerate() {
                print(at + 1, step)?;
            }
            return Ok(plan);
        }
        let mut greedy = Greedy::new(placement.clone(), &group.scope, options.clone());
        let (initial, floor) = (greedy.score(), greedy.floor());
        let mut steps = vec![];
        for step in greedy.by_ref() {
            steps.push(step);
            print(steps.len(), &step)?;
        }
        Ok(Plan { initial, floor, steps, placement: greedy.into_placement() })
    }

    /// What came of it, and what is done about it.
    async fn end(&self, cx: &Cx, group: &Group, placement: &Placement, plan: &Plan) -> Outcome {
        let (nodes, verbosity) = (&group.scope.nodes, self.verbosity.level());
        if plan.steps.is_empty() {
            cx.say("No solution found")?;
        } else {
            let (old, new) = (decimals(plan.initial, 8), decimals(plan.score(), 8));
            let short = format!("Cluster score improved from {old} to ");
            let score = Score::of(&plan.placement, nodes);
            self.say_score(cx, &short, "Final coefficients:   overall ", &score)?;
            debug_assert!(
                verbosity > 2 || new == decimals(score.total, 8),
                "the plan's own figure"
            );
        }
        if verbosity > 0 {
            say!(cx, "Solution length={}", plan.steps.len());
            if self.balancing.algorithm == Algorithm::Search {
                show::copied(cx, plan)?;
            }
        }
        let cluster = placement.cluster();
        let sets = carry::jobsets(&plan.steps);
        match self.commands.print_commands.as_deref() {
            None => {}
            Some("") => {
                say!(cx, "\nCommands to run to reach the above solution:");
                cx.io.write_out(&carry::listing(cluster, &group.names, &sets))?;
            }
            Some(file) => {
                show::write_file(Path::new(file), &carry::script(cluster, &group.names, &sets))?;
                say!(cx, "The commands have been written to file '{file}'");
            }
        }
        if let Some(file) = &self.save.save {
            let after = plan.placement.to_cluster();
            show::save(cx, Some(file), "balanced", "after balancing", &after)?;
        }
        show::instances(cx, self.instances, "Final", &plan.placement, &group.instances);
        show::nodes(cx, &self.nodes, "Final cluster", &plan.placement, &group.names, nodes);
        if verbosity > 3 {
            let (memory, old) = totals(placement, nodes);
            let (_, new) = totals(&plan.placement, nodes);
            say!(cx, "Original: mem={memory} disk={old}");
            say!(cx, "Final:    mem={memory} disk={new}");
        }
        if self.execute.exec && !sets.is_empty() {
            let label = Label {
                tool: "hbal",
                comment: format!("rebalancing via hbal {}", env!("CARGO_PKG_VERSION")),
                reason: self.reason.clone().unwrap_or_else(|| "rebalancing".into()),
                priority: self.priority.unwrap_or(0),
            };
            let count = if self.first_job_group { 1 } else { sets.len() };
            let sets = sets.iter().map(|set| JobSet::of(cluster, &group.names, set)).collect();
            let socket = self.data.luxi.luxi.as_deref().unwrap_or_default();
            return execute(cx, socket, &label, sets, count).await;
        }
        Ok(())
    }
}

/// Which nodes are bad, which are not, and how those are by their policy.
fn judged(cx: &Cx, placement: &Placement, bad: &[NodeIdx], others: &[NodeIdx]) -> Outcome {
    let name = |node: &NodeIdx| format!("{:?}", placement.cluster().nodes[node.at()].name);
    let names = |nodes: &[NodeIdx]| nodes.iter().map(name).collect::<Vec<_>>().join(",");
    let verdict = |node: &NodeIdx| match health::policy(placement, *node) {
        Ok(()) => format!("({},Ok ())", name(node)),
        Err(limit) => format!("({},Bad {limit})", name(node)),
    };
    let verdicts: Vec<String> = others.iter().map(verdict).collect();
    say!(cx, "Bad nodes: [{}]", names(bad));
    say!(cx, "N+1 happy nodes: [{}]", names(others));
    say!(cx, "Node policy status: [{}]", verdicts.join(","));
    Ok(())
}

/// Memory as nodes reported it, and free disk; MiB of all nodes named.
fn totals(placement: &Placement, nodes: &[NodeIdx]) -> (i64, i64) {
    let memory = nodes.iter().map(|node| placement.cluster().nodes[node.at()].free_memory).sum();
    (memory, nodes.iter().map(|node| placement.node(*node).free_disk).sum())
}
