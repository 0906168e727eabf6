//! `hinfo`: what is known about a cluster and how good it is.

use super::load::{Loaded, Request, load};
use super::options::{
    Data, IgnoreDynamic, Mond, MondData, Offline, PrintInstances, PrintNodes, Verbosity,
};
use super::sources::UtilisationOptions;
use super::{Tool, show};
use crate::context::Cx;
use crate::failure::Outcome;
use crate::{note, say};
use clap::Args;
use roost_htools::balance::{Scope, Selection};
use roost_htools::health;
use roost_htools::model::{GroupIdx, InstanceIdx, NodeIdx};
use roost_htools::names::ShortNames;
use roost_htools::score::Score;
use roost_htools::state::Placement;
use roost_htools::tables::{Table, decimals};

/// The options.
#[derive(Args, Clone, Debug)]
pub struct Hinfo {
    #[command(flatten)]
    nodes: PrintNodes,
    #[command(flatten)]
    instances: PrintInstances,
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    offline: Offline,
    #[command(flatten)]
    ignore: IgnoreDynamic,
    #[command(flatten)]
    mond: Mond,
    #[command(flatten)]
    mond_data: MondData,
    #[command(flatten)]
    verbosity: Verbosity,
}

impl Tool for Hinfo {
    const NAME: &'static str = "hinfo";
    const ABOUT: &'static str = "cluster information printer; it prints information about the current cluster \
                                 state and its residing nodes/instances";

    async fn run(self, cx: &Cx) -> Outcome {
        let verbosity = self.verbosity.level();
        let request = Request {
            source: self.data.source(),
            utilisation: UtilisationOptions {
                ignore: self.ignore.ignore_dynu,
                mond: self.mond.mond.unwrap_or(false),
                mond_data: self.mond_data.mond_data.clone(),
                ..UtilisationOptions::default()
            },
            offline: self.offline.clone(),
            verbosity,
            ..Request::default()
        };
        let Loaded { cluster, options, .. } = load(cx, &request).await?;
        show::tags(cx, &cluster)?;
        if verbosity > 2 {
            show::policy(cx, &cluster)?;
        }
        if verbosity > 1 && cluster.instances.is_empty() {
            cx.say("Cluster is empty.")?;
        }
        let counts = (cluster.nodes.len(), cluster.instances.len(), cluster.groups.len());
        say!(
            cx,
            "Loaded {}, {}, {}",
            counted(counts.0, "node"),
            counted(counts.1, "instance"),
            counted(counts.2, "node group")
        );
        let names = ShortNames::of(&cluster);
        if verbosity > 2 {
            show::stripped(cx, &names)?;
        }
        let placement = Placement::new(cluster, &options);
        if verbosity > 1 {
            groups(cx, &placement)?;
        }
        let all: Vec<NodeIdx> = (0..counts.0).map(NodeIdx::of).collect();
        let instances: Vec<InstanceIdx> = (0..counts.1).map(InstanceIdx::of).collect();
        show::instances(cx, self.instances, "Instances", &placement, &instances);
        show::nodes(cx, &self.nodes, "Cluster", &placement, &names, &all);
        let bad = health::bad_nodes(&placement, &all);
        cx.say(match bad.is_empty() {
            true => "Cluster is N+1 happy",
            false => "Cluster is N+1 unhappy",
        })?;
        let score = Score::of(&placement, &all);
        say!(cx, "Cluster coefficients:");
        show::terms(cx, &score)?;
        say!(cx, "Cluster score: {}", decimals(score.total, 8));
        Ok(())
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Instances with nodes in several groups, and a line for each group.
fn groups(cx: &Cx, placement: &Placement) -> Outcome {
    let cluster = placement.cluster();
    let group = |node: NodeIdx| cluster.nodes.get(node.at()).map(|node| node.group);
    let split = cluster.instances.iter().filter(|instance| {
        instance.secondary.is_some_and(|secondary| group(secondary) != group(instance.primary))
    });
    let split: Vec<&str> = split.map(|instance| instance.name.as_str()).collect();
    if split.is_empty() {
        cx.say("No split instances found")?;
    } else {
        cx.say("Found instances belonging to multiple node groups:")?;
        split.iter().for_each(|name| note!(cx, "  {name}"));
    }
    let mut table = Table::new([
        ("Group", false),
        ("Nodes", true),
        ("Instances", true),
        ("Bad_Nodes", true),
        ("Bad_Instances", true),
        ("N+1", false),
        ("Score", true),
    ]);
    for (at, group) in cluster.groups.iter().enumerate() {
        let nodes = Scope::of(cluster, GroupIdx::of(at), &Selection::default()).nodes;
        let held = cluster.instances.iter().filter(|instance| nodes.contains(&instance.primary));
        let bad = health::bad_nodes(placement, &nodes);
        table.rows.push(vec![
            group.name.clone(),
            nodes.len().to_string(),
            held.count().to_string(),
            bad.len().to_string(),
            health::bad_instances(placement, &bad).len().to_string(),
            if bad.is_empty() { "True" } else { "False" }.to_owned(),
            decimals(Score::of(placement, &nodes).total, 8),
        ]);
    }
    say!(cx, "Node group information:");
    cx.io.write_out(&table.render("  "))
}
