//! `hsqueeze`: which nodes can be switched off, or have to be switched on.
//!
//! ```text
//!   off:  move instances ─► tag the nodes as on standby ─► mark them offline, switch them off
//!   on:   switch the nodes on, mark them online ─► move instances
//! ```

use super::execute::{JobSet, Label, execute};
use super::load::{Request, load};
use super::options::{
    Execute, KvmMemory, LuxiData, NoHeaders, PrintCommands, Save, TextData, Verbosity,
};
use super::personality::Tool;
use super::show;
use super::sources::SourceOptions;
use super::values::at_least;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::say;
use clap::Args;
use roost_htools::balance::Step;
use roost_htools::carry;
use roost_htools::model::{Cluster, NodeIdx};
use roost_htools::names::ShortNames;
use roost_htools::power::{self, Action, Options, Plan, STANDBY_AUTO};
use roost_proto::choices::{OobAction, TagKind};
use roost_proto::opcodes::{NodeSetParams, OobCommand, OpCode, TagsSet};
use std::fmt::Write;
use std::path::Path;

/// Frees nodes that are not needed, to switch them off, or switches nodes on when room gets scarce.
#[derive(Args, Debug)]
pub struct Hsqueeze {
    #[command(flatten)]
    luxi: LuxiData,
    #[command(flatten)]
    text: TextData,
    #[command(flatten)]
    kvm: KvmMemory,
    #[command(flatten)]
    execute: Execute,
    /// Switch nodes on when a node has less room than FACTOR standard instances
    #[arg(long, value_name = "FACTOR", default_value = "2", allow_hyphen_values = true,
          value_parser = at_least("minimal resources", 0.0, "Invalid minimal resources, expected >= 0"))]
    minimal_resources: f64,
    /// Leave room for FACTOR standard instances on each node when nodes are switched off
    #[arg(long, value_name = "FACTOR", default_value = "2", allow_hyphen_values = true,
          value_parser = at_least("target resources", 0.0, "Invalid target resources, expected >= 0"))]
    target_resources: f64,
    #[command(flatten)]
    save: Save,
    #[command(flatten)]
    commands: PrintCommands,
    #[command(flatten)]
    headers: NoHeaders,
    #[command(flatten)]
    verbosity: Verbosity,
}

impl Tool for Hsqueeze {
    const NAME: &'static str = "hsqueeze";
    const ABOUT: &'static str = "cluster dynamic power management; it powers up and down nodes to \
                                 keep the amount of free online resources in a given range";

    async fn run(self, cx: &Cx) -> Outcome {
        let verbosity = self.verbosity.level();
        let source = SourceOptions {
            text: self.text.text.clone(),
            rules: self.text.rules.clone(),
            luxi: self.luxi.luxi.clone(),
            static_kvm_node_memory: self.kvm.static_kvm_node_memory,
            ..SourceOptions::default()
        };
        let loaded = load(cx, &Request { source, verbosity, ..Request::default() }).await?;
        let cluster = &loaded.cluster;
        let file = self.save.save.as_ref();
        show::save(cx, file, "original", "before hsqueeze run", cluster)?;
        let options = Options { minimal: self.minimal_resources, target: self.target_resources };
        let plan = power::plan(cluster, &loaded.options, options);
        if verbosity > 1 {
            let names = |nodes: &[NodeIdx]| names(cluster, nodes).join(",");
            say!(cx, "Offline candidates: {}", names(&plan.offline_candidates));
            say!(cx, "Online candidates: {}", names(&plan.online_candidates));
        }
        let (title, when) = match plan.action {
            Action::Online => ("'Nodes to online'", "after hsqueeze expansion"),
            Action::Offline => ("'Nodes to offline'", "after hsqueeze run"),
            Action::Nothing => ("'No action'", "after hsqueeze doing nothing"),
        };
        if !self.headers.no_headers {
            say!(cx, "{title}");
        }
        for name in names(cluster, &plan.nodes) {
            say!(cx, "{name}");
        }
        if verbosity > 1 && !plan.enough {
            say!(cx, "Onlining all nodes will not yield enough capacity");
        }
        let sets = carry::jobsets(&plan.steps);
        self.show_commands(cx, &commands(cluster, &plan, &sets))?;
        if self.execute.exec {
            self.carry_out(cx, cluster, &plan, &sets).await?;
        }
        show::save(cx, file, "squeezed", when, &plan.after)
    }
}

fn names<'a>(cluster: &'a Cluster, nodes: &[NodeIdx]) -> Vec<&'a str> {
    nodes.iter().map(|node| cluster.nodes[node.at()].name.as_str()).collect()
}

/// The lines of a script that does it.
fn commands(cluster: &Cluster, plan: &Plan, sets: &[Vec<Step>]) -> String {
    let short = ShortNames::of(cluster);
    let nodes: Vec<&str> =
        names(cluster, &plan.nodes).into_iter().map(|name| short.show(name)).collect();
    // Instances by their whole names, as in the reference.
    let moves = carry::lines(cluster, &ShortNames::default(), &short, sets);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let mut each = |title: &str, command: &dyn Fn(&str) -> String| {
        writeln!(text, "{title}").ok();
        for node in &nodes {
            writeln!(text, "  gnt-node {}", command(node)).ok();
        }
    };
    match plan.action {
        Action::Online => {
            each("echo Power Commands", &|node| format!("power -f on {node}"));
            text + &moves
        }
        Action::Offline => {
            each("\necho Tagging Commands", &|node| format!("add-tags {node} {STANDBY_AUTO}"));
            each("\necho Power Commands", &|node| format!("power -f off {node}"));
            moves + &text
        }
        Action::Nothing => "echo Nothing to do".into(),
    }
}

impl Hsqueeze {
    fn show_commands(&self, cx: &Cx, lines: &str) -> Outcome {
        match self.commands.print_commands.as_deref() {
            None => Ok(()),
            Some("") => {
                say!(cx, "\nCommands to run:");
                cx.io.write_out(&carry::to_look_at(lines))
            }
            Some(file) => {
                show::write_file(Path::new(file), &carry::to_run(lines))?;
                cx.say(format_args!("The commands have been written to file '{file}'"))
            }
        }
    }

    async fn carry_out(
        &self,
        cx: &Cx,
        cluster: &Cluster,
        plan: &Plan,
        sets: &[Vec<Step>],
    ) -> Outcome {
        let Some(socket) = self.luxi.luxi.as_deref() else {
            let why = "Execution of commands possible only on LUXI";
            return Err(Failure::say(format!("Error: hsqueeze: {why}")));
        };
        let whole = ShortNames::default();
        let moves = sets.iter().map(|set| JobSet::of(cluster, &whole, set));
        let nodes = names(cluster, &plan.nodes);
        let (jobs, what) = match plan.action {
            Action::Nothing => return Ok(()),
            Action::Online if nodes.is_empty() => (moves.collect::<Vec<_>>(), "expanding"),
            Action::Online => {
                let power = power_jobs(&nodes, OobAction::PowerOn);
                (power.into_iter().chain(moves).collect(), "expanding")
            }
            Action::Offline => {
                let tags = nodes.iter().map(|node| tag_job(node));
                let power = power_jobs(&nodes, OobAction::PowerOff);
                (moves.chain(tags).chain(power).collect(), "condensing")
            }
        };
        let comment = format!("{what} by {} nodes", nodes.len());
        let label = Label {
            tool: "hsqueeze",
            reason: format!("hsqueeze {} called", env!("CARGO_PKG_VERSION")),
            comment: format!("{comment} {}", env!("CARGO_PKG_VERSION")),
            priority: 0,
        };
        execute(cx, socket, &label, jobs, usize::MAX).await
    }
}

/// Marks a node as switched off by us.
fn tag_job(node: &str) -> JobSet {
    let tags = TagsSet {
        name: Some(node.to_owned()),
        ..TagsSet::new(TagKind::Node, vec![STANDBY_AUTO.to_owned()])
    };
    JobSet {
        title: format!("that tags node {node} with standby"),
        jobs: vec![(node.to_owned(), vec![tags.into()])],
    }
}

/// Jobs that switch nodes off, after they were marked as offline, or on, before they are marked as online.
fn power_jobs(nodes: &[&str], action: OobAction) -> Vec<JobSet> {
    let off = action == OobAction::PowerOff;
    let mark = |node: &&str| -> OpCode {
        NodeSetParams {
            offline: Some(off),
            // As 'gnt-node power' does: another node takes over as candidate.
            auto_promote: off,
            ..NodeSetParams::new((*node).to_owned())
        }
        .into()
    };
    let all = nodes.join(", ");
    let set = |title: String, ops| JobSet { title, jobs: vec![(all.clone(), ops)] };
    let switch = OobCommand {
        node_names: nodes.iter().map(|node| (*node).to_owned()).collect(),
        ..OobCommand::new(action)
    };
    let (mark_as, way) = if off { ("offline", "off") } else { ("online", "on") };
    let marked = set(format!("that marks {all} as {mark_as}"), nodes.iter().map(mark).collect());
    let switched = set(format!("that switches {way} {all}"), vec![switch.into()]);
    if off { vec![marked, switched] } else { vec![switched, marked] }
}
