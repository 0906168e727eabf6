//! What placement costs on one core, and how good it is: seconds of CPU time, so that it does not matter what else
//! the machine does. Reading the cluster is not measured.
//!
//! The clusters are those of [`generate_cluster`](crate::generate_cluster): figures of other programs for them can
//! be compared.

use super::{figure, tiny};
use crate::generate_cluster::{Shape, generate};
use anyhow::{Context, Result, anyhow, ensure};
use nix::time::{ClockId, clock_gettime};
use roost_htools::allocate::{self, Request, Rules};
use roost_htools::balance::{self, Plan, Scope, Selection};
use roost_htools::capacity::{self, Field, Filled, Health, Kind, Size};
use roost_htools::model::{
    Cluster, Disk, DiskTemplate, GroupIdx, Instance, NodeIdx, Status, Utilisation,
};
use roost_htools::state::{self, Placement};
use roost_htools::text;
use std::time::Duration;

/// Measures; `quick`: without what takes minutes.
pub fn measure(quick: bool) -> Result<()> {
    balancing(quick)?;
    let (nodes, instances) = if quick { (200, 4_000) } else { (1_000, 20_000) };
    for template in ["drbd", "ext"] {
        allocation(nodes, instances, template)?;
    }
    space()?;
    tiny::gaps(if quick { 3 } else { 20 })
}

/// A generated cluster.
pub fn cluster(shape: &Shape) -> Result<Cluster> {
    text::read(&generate(shape)?).context("a generated cluster")
}

/// What something costs, seconds of CPU time.
pub fn cost<T>(what: impl FnOnce() -> T) -> Result<(T, f64)> {
    let now = || clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map(Duration::from);
    let begin = now()?;
    let result = what();
    Ok((result, (now()? - begin).as_secs_f64()))
}

/// A plan for the only group of a cluster, on one core. Also returns the seconds it took.
pub fn plan(start: &Placement, options: &balance::Options) -> Result<(Plan, f64)> {
    let options = balance::Options { threads: 1, ..options.clone() };
    let scope = Scope::of(start.cluster(), GroupIdx(0), &Selection::default());
    cost(|| balance::plan(start, &scope, &options))
}

/// How it is now.
pub fn place(cluster: Cluster) -> Placement {
    Placement::new(cluster, &state::Options::default())
}

fn balancing(quick: bool) -> Result<()> {
    let moves = |max_moves| balance::Options { max_moves, ..balance::Options::default() };
    let (best, _) = plan(&place(cluster(&Shape::new(20, 400, 1))?), &moves(77))?;
    figure("score after 77 moves, 20 nodes, 400 instances", best.score(), "score");
    let (best, seconds) = plan(&place(cluster(&Shape::new(40, 800, 1))?), &moves(usize::MAX))?;
    figure("score when balanced, 40 nodes, 800 instances", best.score(), "score");
    figure("balancing to the end, 40 nodes, 800 instances, one core", seconds, "s");
    let large = [(200, 4_000), (1_000, 20_000)];
    for (nodes, instances) in large.into_iter().take(if quick { 1 } else { 2 }) {
        let (_, seconds) = plan(&place(cluster(&Shape::new(nodes, instances, 1))?), &moves(100))?;
        let name = format!("first 100 moves, {nodes} nodes, {instances} instances, one core");
        figure(&name, seconds, "s");
    }
    Ok(())
}

fn allocation(nodes: usize, instances: usize, template: &'static str) -> Result<()> {
    let mut placement = place(cluster(&Shape { template, ..Shape::new(nodes, instances, 1) })?);
    let template: DiskTemplate = template.parse().map_err(|_| anyhow!("no template"))?;
    let index = placement.add(Instance {
        name: "new1.vm.example.com".into(),
        memory: 4096,
        disk: 40_960,
        disks: vec![Disk { size: 40_960, spindles: None }],
        vcpus: 2,
        status: Status::Running,
        auto_balance: true,
        primary: NodeIdx::NONE,
        secondary: None,
        template,
        tags: vec![],
        spindle_use: 1,
        forthcoming: false,
        utilisation: Utilisation::ONE,
        networks: vec![],
    });
    let sides = if template == DiskTemplate::Drbd { 2 } else { 1 };
    let mut times = vec![];
    for _ in 0..5 {
        let request = Request { nodes: sides, group: None };
        let (found, seconds) =
            cost(|| allocate::allocate(&placement, index, &request, &Rules::default()))?;
        times.push(seconds * 1e3);
        ensure!(found.is_ok(), "no place: {found:?}");
    }
    let name = format!(
        "allocation without reading, {}, {nodes} nodes, {instances} instances",
        template.as_str()
    );
    figure(&name, super::median(times), "ms");
    Ok(())
}

/// How many more instances fit: tiered and standard, as `hspace` is asked.
fn space() -> Result<()> {
    let cluster = cluster(&Shape::new(40, 800, 1))?;
    let (count, seconds) = cost(|| fill(place(cluster)))?;
    ensure!(count? > 0, "nothing fits");
    figure("capacity, 40 nodes, 800 instances", seconds, "s");
    Ok(())
}

fn fill(placement: Placement) -> Result<usize> {
    let policy = placement.cluster().policy.clone();
    let rules = Rules::default();
    let health = Health::of(&placement, &rules.redundancy);
    let field = Field::new(placement.cluster(), &health, rules, false);
    let kind = Kind { template: DiskTemplate::Drbd, spindle_use: 1 };
    let sizes: Vec<Size> = policy.ranges.iter().map(|range| range.max.into()).collect();
    let mut filled = Filled::nothing(placement.clone());
    capacity::tiered(&field, &mut filled, kind, &sizes, None).map_err(|why| anyhow!(why))?;
    let standard = capacity::standard(&field, placement, kind, policy.standard.into(), None)
        .map_err(|why| anyhow!(why))?;
    Ok(filled.instances.len().min(standard.instances.len()))
}
