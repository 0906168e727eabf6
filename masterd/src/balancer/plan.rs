//! Plans for a group, and the jobs that begin them: pure.

use super::ledger::Cost;
use super::sight::Scene;
use crate::config::Config;
use roost_htools::balance::{self, Options, Scope, Selection, Step};
use roost_htools::carry;
use roost_htools::model::{InstanceIdx, NodeIdx};
use roost_htools::state::Seat;
use roost_proto::balancer::{MoveTold, PlanTold};
use roost_proto::ids::{GroupId, InstanceId, NodeId};
use roost_proto::opcodes::OpCode;

/// More moves are not planned, whatever the budget: only the first few are made before it looks again.
const MOST: u32 = 100;

/// A plan, and how to begin it.
#[derive(Clone, Debug)]
pub struct Found {
    pub told: PlanTold,
    /// Moves that have no node in common.
    pub first: Vec<Beginning>,
}

/// A move to begin with.
#[derive(Clone, Debug)]
pub struct Beginning {
    pub cost: Cost,
    /// Where the instance was when it was planned, the primary first.
    from: Vec<NodeId>,
    /// What its job consists of.
    pub ops: Vec<OpCode>,
}

impl Beginning {
    /// Whether the instance is still where it was.
    pub fn is_true(&self, config: &Config) -> bool {
        let Some(instance) = config.instances.get(&self.cost.instance) else { return false };
        let now: Vec<NodeId> =
            [instance.primary_node].into_iter().chain(config.secondaries(instance)).collect();
        now == self.from
    }
}

/// Looks for the best plan with at most so many moves and MiB to copy, in one thread. `resting` instances stay.
pub fn plan(
    scene: &Scene,
    group: GroupId,
    (moves, copy): (u32, u64),
    resting: &[InstanceId],
    now: f64,
) -> Found {
    let mut found = Found { told: PlanTold { made: now, ..PlanTold::default() }, first: vec![] };
    let Some(index) = scene.snapshot.group(group) else { return found };
    let cluster = &scene.snapshot.cluster;
    let resting = resting.iter().filter_map(|id| scene.snapshot.instance(*id));
    let exclude = scene.still.iter().copied().chain(resting).collect();
    let scope = Scope::of(cluster, index, &Selection { exclude, ..Selection::default() });
    let options = Options {
        max_moves: moves.min(MOST) as usize,
        max_copy: Some(i64::try_from(copy).unwrap_or(i64::MAX)),
        threads: 1,
        ..Options::default()
    };
    let plan = balance::plan(&scene.placement, &scope, &options);
    (found.told.before, found.told.after) = (plan.initial, plan.score());
    found.told.moves = plan.steps.iter().map(|step| told(scene, step)).collect();
    let first = carry::jobsets(&plan.steps).into_iter().next().unwrap_or_default();
    found.first = first.iter().map(|step| beginning(scene, step)).collect();
    found
}

fn mebibytes(step: &Step) -> u64 {
    u64::try_from(step.copied).unwrap_or(0)
}

fn seat(seat: Seat) -> impl Iterator<Item = NodeIdx> {
    [seat.primary].into_iter().chain(seat.secondary)
}

fn told(scene: &Scene, step: &Step) -> MoveTold {
    let cluster = &scene.snapshot.cluster;
    let names = |at: Seat| seat(at).map(|node| cluster.nodes[node.at()].name.clone()).collect();
    MoveTold {
        instance: cluster.instances[step.what.instance.at()].name.clone(),
        from: names(step.from),
        to: names(step.to),
        copy: mebibytes(step),
    }
}

fn beginning(scene: &Scene, step: &Step) -> Beginning {
    let instance: InstanceIdx = step.what.instance;
    let mut ops = carry::opcodes(&scene.snapshot.cluster, step);
    for op in &mut ops {
        if let OpCode::InstanceMigrate(op) = op {
            // Nobody asked for an interruption.
            op.allow_failover = false;
        }
    }
    Beginning {
        cost: Cost { instance: scene.snapshot.instance_id(instance), copy: mebibytes(step) },
        from: seat(step.from).map(|node| scene.snapshot.node_id(node)).collect(),
        ops,
    }
}
