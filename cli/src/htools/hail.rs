//! `hail`: the allocator as a program, which reads a request and prints the answer.

use super::load::{self, inconsistencies};
use super::options::{
    CapacityChecks, IgnoreDynamic, KvmMemory, Mond, MondXen, PrintNodes, Save, Simulation,
    SoftErrors, TextData, Verbosity,
};
use super::sources::{self, SourceOptions, UtilisationOptions, read_file};
use super::values::list;
use super::{Tool, show};
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::note;
use clap::Args;
use roost_htools::allocate::{Rules, is_dedicated};
use roost_htools::model::{Cluster, NodeIdx};
use roost_htools::names::ShortNames;
use roost_htools::request::{Wanted, answer, read};
use roost_htools::state::{Options, Placement};
use std::io::Read;
use std::path::Path;

/// The options.
#[derive(Args, Clone, Debug)]
pub struct Hail {
    #[command(flatten)]
    nodes: PrintNodes,
    #[command(flatten)]
    save: Save,
    #[command(flatten)]
    text: TextData,
    #[command(flatten)]
    simulation: Simulation,
    #[command(flatten)]
    verbosity: Verbosity,
    #[command(flatten)]
    ignore: IgnoreDynamic,
    #[command(flatten)]
    soft: SoftErrors,
    #[command(flatten)]
    capacity: CapacityChecks,
    /// Allocate on these nodes only
    #[arg(long, value_name = "NODE,...")]
    restrict_allocation_to: Option<String>,
    #[command(flatten)]
    mond: Mond,
    #[command(flatten)]
    xen: MondXen,
    #[command(flatten)]
    kvm: KvmMemory,
    /// The request; '-': standard input
    #[arg(value_name = "FILE")]
    files: Vec<String>,
}

impl Tool for Hail {
    const NAME: &'static str = "hail";
    const ABOUT: &'static str =
        "iallocator plugin, a tool for computing the allocation (or move) of instances";

    async fn run(self, cx: &Cx) -> Outcome {
        let text = match self.files.as_slice() {
            [] => return Err(Failure::say("Error: This program needs an input file.")),
            [file] => content(file)?,
            _ => {
                return Err(Failure::say("Error: Only one argument is accepted (the input file)"));
            }
        };
        let request = read(&text).map_err(|why| Failure::say(format!("Error: {why}")))?;
        if self.text.text.is_some() && !self.simulation.simulate.is_empty() {
            return Err(Failure::say(load::TWO_SOURCES));
        }
        let kvm = self.kvm.static_kvm_node_memory;
        let wanted = request.wanted;
        let mut cluster = match self.other_source() {
            Some(source) => sources::load(cx, &source).await.map_err(|why| {
                Failure::say(format!("Error: failed to load data, aborting: {why}"))
            })?,
            None => request.known.with_kvm_memory(kvm),
        };
        if let Some(path) = &self.text.rules {
            let failed = |why| Failure::say(format!("Error: {why}"));
            cluster.rules = sources::rules_file(&cluster, path).map_err(failed)?;
        }
        let used = UtilisationOptions {
            ignore: self.ignore.ignore_dynu,
            mond: self.mond.mond.unwrap_or(false),
            mond_xen: self.xen.mond_xen,
            ..UtilisationOptions::default()
        };
        sources::use_utilisation(cx, &mut cluster, &used).await?;
        warn(cx, &cluster);
        let rules = self.rules(&cluster)?;
        let verbosity = self.verbosity.level();
        if verbosity > 1 {
            note!(cx, "Received request: {wanted:?}");
            if concerns_dedicated(&cluster, &wanted) {
                note!(cx, "Allocation on a dedicated cluster; using lost-allocations metrics.");
            }
        }
        let before = self.nodes.columns().map(|_| Placement::new(cluster.clone(), &options()));
        if let Some(before) = &before {
            self.print(cx, "Initial cluster", before);
        }
        let file = self.save.save.as_ref();
        show::save(cx, file, "pre-ialloc", "before iallocator run", &cluster)?;
        let answer = answer(cluster, &options(), &wanted, &rules)
            .map_err(|why| Failure::say(format!("Error: {why}")))?;
        cx.say(answer.to_json())?;
        self.print(cx, "Final cluster", &answer.placement);
        if file.is_some() {
            let after = answer.placement.to_cluster();
            show::save(cx, file, "post-ialloc", "after iallocator run", &after)?;
        }
        Ok(())
    }
}

fn options() -> Options {
    Options::default()
}

/// What is in a file, or comes in.
fn content(file: &str) -> Outcome<String> {
    let text = match file {
        "-" => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map(|_| text).map_err(|why| format!("standard input: {why}"))
        }
        path => read_file(Path::new(path)),
    };
    text.map_err(|why| Failure::say(format!("Error: {why}")))
}

/// Says where nodes report less than their instances leave.
fn warn(cx: &Cx, cluster: &Cluster) {
    let missing = inconsistencies(cluster);
    if !missing.is_empty() {
        note!(cx, "Warning: cluster has inconsistent data:");
        missing.iter().rev().for_each(|line| note!(cx, "  - {line}"));
        note!(cx, "");
    }
}

/// Whether a request is one for storage that belongs to one instance each.
fn concerns_dedicated(cluster: &Cluster, wanted: &Wanted) -> bool {
    let dedicated = |group: &Option<String>| {
        is_dedicated(cluster, group.as_deref().and_then(|name| cluster.find_group(name)))
    };
    match wanted {
        Wanted::Allocate(asked) => dedicated(&asked.group),
        Wanted::MultiAllocate(all) => all.iter().any(|asked| dedicated(&asked.group)),
        _ => false,
    }
}

impl Hail {
    /// Where the cluster comes from, if not from the request. Rules are read for either.
    fn other_source(&self) -> Option<SourceOptions> {
        let (text, simulate) = (self.text.text.clone(), self.simulation.simulate.clone());
        let static_kvm_node_memory = self.kvm.static_kvm_node_memory;
        (text.is_some() || !simulate.is_empty()).then(|| SourceOptions {
            text,
            simulate,
            static_kvm_node_memory,
            ..SourceOptions::default()
        })
    }

    fn rules(&self, cluster: &Cluster) -> Outcome<Rules> {
        let find = |name: &String| {
            let unknown =
                || Failure::say(format!("Error: unknown node '{name}' to restrict allocation to"));
            cluster.find_node(name).ok_or_else(unknown)
        };
        let names = self.restrict_allocation_to.as_deref().map(list);
        let nodes = names.map(|names| names.iter().map(find).collect::<Outcome<Vec<NodeIdx>>>());
        Ok(Rules {
            restrict_to: nodes.transpose()?,
            capacity_checks: !self.capacity.no_capacity_checks,
            ignore_soft_errors: self.soft.ignore_soft_errors,
            ..Rules::default()
        })
    }

    fn print(&self, cx: &Cx, when: &str, placement: &Placement) {
        let cluster = placement.cluster();
        let all: Vec<NodeIdx> = (0..cluster.nodes.len()).map(NodeIdx::of).collect();
        show::nodes(cx, &self.nodes, when, placement, &ShortNames::of(cluster), &all);
    }
}
