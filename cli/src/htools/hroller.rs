//! `hroller`: which nodes may be rebooted together, in which order.

use super::load::{self, Request};
use super::options::{Data, GroupOption, NoHeaders, Offline, Save, Verbosity};
use super::personality::Tool;
use super::show;
use super::values::list;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::{note, say};
use clap::Args;
use roost_htools::model::{Cluster, NodeIdx};
use roost_htools::reboots::{self, Options, RebootGroup, Refusal, Relocation};
use roost_htools::state::Placement;

/// Plans reboots of all nodes: in each group are nodes that may be down together, the master is last.
#[derive(Args, Debug)]
pub struct Hroller {
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    offline: Offline,
    #[command(flatten)]
    group: GroupOption,
    /// Only nodes that have one of these tags
    #[arg(long, value_name = "TAG,...")]
    node_tags: Option<String>,
    /// Leave out nodes with instances that have no mirror
    #[arg(long)]
    skip_non_redundant: bool,
    /// Reboot nodes with their instances that have no mirror, instead of moving these elsewhere
    #[arg(long)]
    ignore_non_redundant: bool,
    /// Pretend that all instances are down
    #[arg(long)]
    offline_maintenance: bool,
    /// Move mirrors off the nodes, too
    #[arg(long)]
    full_evacuation: bool,
    /// Only the first group
    #[arg(long)]
    one_step_only: bool,
    /// Print what has to be moved for each group
    #[arg(long)]
    print_moves: bool,
    /// Go on where it is not known which node is the master
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    save: Save,
    #[command(flatten)]
    headers: NoHeaders,
    #[command(flatten)]
    verbosity: Verbosity,
}

impl Tool for Hroller {
    const NAME: &'static str = "hroller";
    const ABOUT: &'static str = "cluster rolling maintenance helper; it helps scheduling node reboots in a manner that \
         doesn't conflict with the instances' topology";

    async fn run(self, cx: &Cx) -> Outcome {
        let verbosity = self.verbosity.level();
        let request = Request { source: self.data.source(), verbosity, ..Request::default() };
        let loaded = load::load(cx, &request).await?;
        let mut cluster = loaded.cluster;
        self.check_master(cx, &cluster)?;
        let given = cluster.clone();
        load::set_offline(&mut cluster, &self.offline.offline)?;
        show::save(cx, self.save.save.as_ref(), "original", "before hroller run", &given)?;
        let group = match &self.group.group {
            None => None,
            Some(name) => {
                let found = cluster.find_group(name);
                Some(found.ok_or_else(|| Failure::say("Error: Cannot find target group."))?)
            }
        };
        let options = Options {
            group,
            tags: self.node_tags.as_deref().map(list),
            skip_non_redundant: self.skip_non_redundant,
            ignore_non_redundant: self.ignore_non_redundant,
            offline_maintenance: self.offline_maintenance,
            full_evacuation: self.full_evacuation,
        };
        let placement = Placement::new(cluster, &loaded.options);
        let cluster = placement.cluster();
        let refused = |refusal: Refusal| {
            // In one line what people's scripts know; more for whoever wants to know it.
            let why = match verbosity > 1 {
                true => format!("\n{}", refusal.explain(cluster)),
                false => String::new(),
            };
            Failure::say(format!("Error: {refusal}{why}"))
        };
        let plan = reboots::plan(&placement, &options).map_err(refused)?;
        if verbosity > 2 {
            say!(cx, "Node Graph: {}", plan.graph);
        }
        let groups = plan.groups.map_err(refused)?;
        if verbosity > 1 {
            say!(cx, "{}", reboots::comparison(&plan.colourings));
        }
        self.print(cx, cluster, &groups)
    }
}

impl Hroller {
    fn check_master(&self, cx: &Cx, cluster: &Cluster) -> Outcome {
        let nodes = cluster.nodes.iter().filter(|node| node.master);
        let masters: Vec<String> = nodes.map(|node| format!("{:?}", node.name)).collect();
        let unknown = "No master node found (maybe not supported by backend).";
        match masters.len() {
            0 if self.force => note!(cx, "Warning: {unknown}"),
            0 => return Err(Failure::say(format!("Error: {unknown}"))),
            1 => {}
            _ => {
                let masters = masters.join(",");
                return Err(Failure::say(format!(
                    "Error: Found more than one master node: [{masters}]"
                )));
            }
        }
        Ok(())
    }

    fn print(&self, cx: &Cx, cluster: &Cluster, groups: &[RebootGroup]) -> Outcome {
        let (title, between, shown) = match self.one_step_only {
            true => ("'First Reboot Group'", "\n", &groups[..groups.len().min(1)]),
            false => ("'Node Reboot Groups'", ",", groups),
        };
        if !self.headers.no_headers {
            say!(cx, "{title}");
        }
        let name = |node: &NodeIdx| cluster.nodes[node.at()].name.as_str();
        for group in shown {
            let names: Vec<&str> = group.nodes.iter().map(name).collect();
            say!(cx, "{}", names.join(between));
            if !self.print_moves {
                continue;
            }
            for Relocation { instance, primary, secondary } in &group.moves {
                let instance = &cluster.instances[instance.at()].name;
                match secondary {
                    None => say!(cx, "  {instance} {}", name(primary)),
                    Some(node) => say!(cx, "  {instance} {} {}", name(primary), name(node)),
                }
            }
        }
        Ok(())
    }
}
