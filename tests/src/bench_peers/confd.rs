//! Answers of confd, each question at 1 and at 64 outstanding.

use super::daemons::Daemon;
use super::udp::{Figures, Load};
use super::world::{Node, Peer};
use super::{Plan, Rounds};
use crate::bench::{figure, median};
use crate::generate_config::{Shape, instance_ip, instance_name, node_name};
use anyhow::{Context, Result};
use roost_confd::wire::{Dict, Field, Query, QueryType};
use std::path::Path;

/// The configuration that is measured with.
pub(super) const SHAPE: Shape = Shape { nodes: 20, instances: 200 };
const OUTSTANDING: [usize; 2] = [1, 64];

/// A question in all its variants.
pub(super) struct Question {
    pub(super) name: &'static str,
    pub(super) all: Vec<(QueryType, Query<'static>)>,
    /// The peer does not know it.
    pub(super) ours_only: bool,
}

/// Every type of question, about all that there is to ask about.
pub(super) fn questions(shape: Shape) -> Vec<Question> {
    let one = |name, kind, query: Query<'static>| Question {
        name,
        all: vec![(kind, query)],
        ours_only: false,
    };
    let texts = |name, kind, texts: Vec<String>| Question {
        name,
        all: texts.into_iter().map(|text| (kind, Query::Text(text.into()))).collect(),
        ours_only: false,
    };
    let nodes = || (0..shape.nodes).map(node_name).collect::<Vec<_>>();
    let instances = || (0..shape.instances).map(instance_name).collect::<Vec<_>>();
    // Each fifth is on another link.
    let ip = |i: usize| instance_ip(i / 4 * 5 % shape.instances + i % 4);
    let ips = |i: usize| (i..i + 10).map(|i| ip(i % 100).into()).collect();
    let pips = (0..100)
        .map(|i| Query::Dict(Dict { ip: Some(ip(i).into()), ..Dict::default() }))
        .map(|query| (QueryType::NodePipByInstanceIp, query));
    let pip_lists = (0..100)
        .map(|i| Query::Dict(Dict { ips: ips(i), ..Dict::default() }))
        .map(|query| (QueryType::NodePipByInstanceIp, query));
    let fields = vec![Field::Name, Field::Ip, Field::MasterPip];
    let fields = Query::Dict(Dict { fields, ..Dict::default() });
    vec![
        one("ping", QueryType::Ping, Query::Empty),
        texts("node-role", QueryType::NodeRoleByName, nodes()),
        Question { name: "pip-by-ip", all: pips.collect(), ours_only: false },
        Question { name: "pip-by-10-ips", all: pip_lists.collect(), ours_only: false },
        one("master", QueryType::ClusterMaster, Query::Empty),
        one("master-fields", QueryType::ClusterMaster, fields),
        one("node-pips", QueryType::NodePipList, Query::Empty),
        one("candidate-pips", QueryType::McPipList, Query::Empty),
        one("instance-ips", QueryType::InstancesIpsList, Query::Empty),
        texts("node-drbd", QueryType::NodeDrbd, nodes()),
        texts("node-instances", QueryType::NodeInstances, nodes()),
        texts("instance-disks", QueryType::InstanceDisks, instances()),
        texts(
            "config-query",
            QueryType::ConfigQuery,
            ["/cluster/cluster_name", "/version", "/cluster/nicparams/default", "/serial_no"]
                .map(str::to_owned)
                .into(),
        ),
        one("data-collectors", QueryType::DataCollectors, Query::Empty),
        Question { ours_only: true, ..texts("node-guests", QueryType::NodeGuests, nodes()) },
    ]
}

#[derive(Default)]
struct Side {
    rates: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    /// Microseconds of a processor an answer.
    cpu: Vec<f64>,
    lost: usize,
}

impl Side {
    fn take(&mut self, figures: &Figures, cpu: f64) {
        self.cpu.push(cpu * 1e6 / figures.answered.max(1) as f64);
        self.rates.push(figures.per_second());
        self.p50.push(figures.percentile(50));
        self.p99.push(figures.percentile(99));
        self.lost += figures.lost;
    }
}

/// Both daemons, in turns.
pub(super) fn measure(plan: &Plan, scratch: &Path) -> Result<()> {
    let theirs = Node::new(scratch.join("peer-confd"), SHAPE)?;
    let own = Node::new(scratch.join("confd"), SHAPE)?;
    let peer = Peer::prepare(&plan.root, &theirs, scratch)?;
    let peer = Daemon::peer_confd(&peer, &theirs, 1814)?;
    let ours = Daemon::confd(&plan.programs, &own, 1914)?;
    for question in questions(SHAPE) {
        for outstanding in OUTSTANDING {
            let name = format!("confd {}, {outstanding} outstanding", question.name);
            let (mut they, mut we) = (Side::default(), Side::default());
            for _ in 0..plan.rounds {
                let run = |daemon: &Daemon, side: &mut Side| -> Result<()> {
                    let mut load = Load::new(daemon.port, outstanding, &question.all)?;
                    let before = daemon.cpu()?;
                    let figures = load.run(plan.span)?;
                    side.take(&figures, daemon.cpu()? - before);
                    Ok(())
                };
                if !question.ours_only {
                    run(&peer, &mut they).with_context(|| format!("{name}, peer"))?;
                }
                run(&ours, &mut we).with_context(|| format!("{name}, ours"))?;
            }
            Rounds { peer: they.rates, ours: we.rates }.print(&name, "answers/s");
            let cpu = Rounds { peer: they.cpu, ours: we.cpu };
            cpu.print(&format!("{name}, processor for an answer"), "µs");
            for (who, side) in [("peer", they.p50), ("ours", we.p50)] {
                print(&format!("{name}, p50, {who}"), side, "µs");
            }
            for (who, side) in [("peer", they.p99), ("ours", we.p99)] {
                print(&format!("{name}, p99, {who}"), side, "µs");
            }
            for (who, lost) in [("peer", they.lost), ("ours", we.lost)] {
                if lost > 0 {
                    figure(&format!("{name}, lost, {who}"), lost as f64, "answers");
                }
            }
        }
    }
    figure("confd memory, 200 instances, peer", peer.memory("VmRSS")?, "MiB");
    figure("confd memory, 200 instances, ours", ours.memory("VmRSS")?, "MiB");
    Ok(())
}

fn print(name: &str, values: Vec<f64>, unit: &str) {
    if !values.is_empty() {
        figure(name, median(values), unit);
    }
}
