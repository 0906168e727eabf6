//! What holds of every allocation: the place is the best of all that pass every check, which are tried here one
//! by one and from scratch.

mod generated;

use generated::clusters;
use proptest::prelude::*;
use roost_htools::allocate::{Metric, Request, Rules, allocate, evacuate};
use roost_htools::model::{
    Cluster, Disk, DiskTemplate, GroupIdx, Instance, InstanceIdx, NodeIdx, Status, Utilisation,
};
use roost_htools::redundancy::{self, non_redundant};
use roost_htools::score::Score;
use roost_htools::state::{Options, Outcome, Placement};
use roost_proto::choices::EvacMode;

fn wanted(memory: i64, disk: i64, template: DiskTemplate, tags: Vec<String>) -> Instance {
    Instance {
        name: "new.example.com".into(),
        memory,
        disk,
        disks: vec![Disk { size: disk, spindles: Some(1) }],
        vcpus: 1,
        status: Status::Running,
        auto_balance: true,
        primary: NodeIdx::NONE,
        secondary: None,
        template,
        tags,
        spindle_use: 1,
        forthcoming: false,
        utilisation: Utilisation::ONE,
        networks: vec![],
    }
}

fn all_nodes(cluster: &Cluster) -> Vec<NodeIdx> {
    (0..cluster.nodes.len()).map(NodeIdx::of).collect()
}

/// Whether all nodes can fail, tried on copies.
fn survives(placement: &Placement) -> bool {
    all_nodes(placement.cluster()).into_iter().all(|node| can_fail(placement, node))
}

fn stays(template: DiskTemplate) -> bool {
    matches!(template, DiskTemplate::Plain | DiskTemplate::File | DiskTemplate::BlockDev)
}

fn goes_anywhere(template: DiskTemplate) -> bool {
    !stays(template) && template != DiskTemplate::Drbd
}

fn can_fail(placement: &Placement, node: NodeIdx) -> bool {
    let cluster = placement.cluster();
    let all = all_nodes(cluster);
    let mut after = placement.clone();
    let here = |instance: &InstanceIdx| {
        placement.primary(*instance) == node && !placement.instance(*instance).forthcoming
    };
    let residents: Vec<InstanceIdx> =
        (0..cluster.instances.len()).rev().map(InstanceIdx::of).filter(here).collect();
    let template = |instance: &InstanceIdx| placement.instance(*instance).template;
    let mut outcome = Outcome::default();
    for &instance in residents.iter().filter(|i| template(i) == DiskTemplate::Drbd) {
        if after.begin(instance).failover(true, &mut outcome).is_err() {
            return false;
        }
        after.apply(instance, &outcome);
    }
    let best = |after: &Placement, try_one: &dyn Fn(NodeIdx, &mut Outcome) -> bool| {
        let mut best: Option<(f64, Outcome)> = None;
        for &to in all.iter().filter(|to| **to != node) {
            let mut outcome = Outcome::default();
            if try_one(to, &mut outcome) {
                let score = Score::after(after, &all, &outcome).total;
                if best.is_none_or(|(least, _)| score <= least) {
                    best = Some((score, outcome));
                }
            }
        }
        best.map(|(_, outcome)| outcome)
    };
    for &instance in &residents {
        if goes_anywhere(template(&instance)) {
            let found = best(&after, &|to, outcome| {
                after.begin(instance).failover_to_any(to, true, outcome).is_ok()
            });
            let Some(outcome) = found else { return false };
            after.apply(instance, &outcome);
        }
    }
    let mut local: Vec<InstanceIdx> =
        residents.iter().copied().filter(|i| stays(template(i))).collect();
    local.sort_by_key(|instance| -placement.instance(*instance).memory);
    for instance in local {
        let copy = after.add(placement.instance(instance).clone());
        let given = placement.instance(instance);
        let found = best(&after, &|to, outcome| {
            let exclusive = cluster.nodes[to.at()].exclusive_storage;
            cluster.group_of(to).policy.admits(given, exclusive).is_ok()
                && after.begin(copy).place(to, None, (true, true), outcome).is_ok()
        });
        let Some(outcome) = found else { return false };
        after.apply(copy, &outcome);
    }
    true
}

/// All places that pass every check, with their scores; and how many there are in all.
fn places(
    placement: &Placement,
    instance: InstanceIdx,
    capacity: bool,
) -> (Vec<(f64, NodeIdx, Option<NodeIdx>)>, u64) {
    let cluster = placement.cluster();
    let given = placement.instance(instance);
    let online: Vec<NodeIdx> =
        all_nodes(cluster).into_iter().filter(|node| !cluster.nodes[node.at()].offline).collect();
    let mut candidates = vec![];
    for &primary in &online {
        match given.template.required_nodes() {
            1 => candidates.push((primary, None)),
            _ => candidates
                .extend(online.iter().filter(|n| **n != primary).map(|n| (primary, Some(*n)))),
        }
    }
    let (mut good, all) = (vec![], candidates.len() as u64);
    for (primary, secondary) in candidates {
        let exclusive = cluster.nodes[primary.at()].exclusive_storage;
        let mut outcome = Outcome::default();
        let placed =
            placement.begin(instance).place(primary, secondary, (false, false), &mut outcome);
        if placed.is_err() || cluster.group_of(primary).policy.admits(given, exclusive).is_err() {
            continue;
        }
        let mut after = placement.clone();
        after.apply(instance, &outcome);
        if !capacity || survives(&after) {
            let score = Score::of(&after, &all_nodes(cluster)).total;
            good.push((score, primary, secondary));
        }
    }
    (good, all)
}

fn templates() -> impl Strategy<Value = DiskTemplate> {
    prop::sample::select(vec![
        DiskTemplate::Drbd,
        DiskTemplate::Drbd,
        DiskTemplate::Plain,
        DiskTemplate::Ext,
        DiskTemplate::Diskless,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_best_place_that_passes_every_check_is_found(
        cluster in clusters(),
        (memory, disk) in (1..24_i64, 1..32_i64),
        template in templates(),
        tagged in any::<bool>(),
        capacity in any::<bool>(),
    ) {
        let mut cluster = cluster;
        // Whole clusters of exclusive storage have another metric.
        prop_assume!(cluster.nodes.iter().any(|node| !node.exclusive_storage));
        cluster.rules.clear();
        let mut placement = Placement::new(cluster, &Options::default());
        let tags = if tagged { vec!["svc:1".to_owned()] } else { vec![] };
        let index = placement.add(wanted(memory * 256, disk * 1024, template, tags));
        let request = Request { nodes: template.required_nodes(), group: None };
        let rules = Rules { capacity_checks: capacity, ..Rules::default() };
        let found = allocate(&placement, index, &request, &rules);
        let (good, all) = places(&placement, index, capacity);
        let least = good.iter().map(|(score, ..)| *score).fold(f64::INFINITY, f64::min);
        match found {
            Ok(found) => {
                let place = (found.primary, found.secondary);
                let of = good.iter().find(|(_, p, s)| (*p, *s) == place);
                let (score, ..) = of.expect("a place that passes every check");
                prop_assert!((score - least).abs() < 1e-8, "{score} instead of {least}");
                prop_assert_eq!(found.successes + found.failures.total(), all);
                let Metric::Score(said) = found.metric else { panic!("a score") };
                prop_assert!((said - score).abs() < 1e-8, "{said} is said, {score} it is");
                placement.apply(index, &found.outcome);
                prop_assert_eq!((placement.primary(index), placement.secondary(index)), place);
            }
            Err(none) => {
                prop_assert!(good.is_empty(), "{none}, but there is {good:?}");
                if none.failures.total() > 0 {
                    prop_assert_eq!(none.failures.total(), all);
                }
            }
        }
    }

    #[test]
    fn nodes_that_must_not_fail_are_found(cluster in clusters()) {
        let mut cluster = cluster;
        cluster.rules.clear();
        let placement = Placement::new(cluster, &Options::default());
        let all = all_nodes(placement.cluster());
        let found = non_redundant(&placement, &all, &redundancy::Options::default());
        let found: Vec<NodeIdx> = found.into_iter().map(|found| found.node).collect();
        let tried: Vec<NodeIdx> =
            all.iter().copied().filter(|node| !can_fail(&placement, *node)).collect();
        prop_assert_eq!(found, tried);
    }

    #[test]
    fn who_leaves_can_be_followed_step_by_step(
        cluster in clusters(),
        chosen in prop::collection::vec(0..100_usize, 1..5),
        mode in prop::sample::select(vec![EvacMode::PrimaryOnly, EvacMode::SecondaryOnly, EvacMode::All]),
        force in any::<bool>(),
    ) {
        let mut cluster = cluster;
        cluster.rules.clear();
        let count = cluster.instances.len();
        let mut instances: Vec<InstanceIdx> =
            chosen.into_iter().map(|at| InstanceIdx::of(at % count)).collect();
        instances.sort_unstable();
        instances.dedup();
        let placement = Placement::new(cluster, &Options::default());
        let rules = Rules { ignore_soft_errors: force, ..Rules::default() };
        let evacuation = evacuate(&placement, &instances, mode, &rules);
        prop_assert_eq!(evacuation.moved.len() + evacuation.failed.len(), instances.len());
        let mut replayed = placement.clone();
        for moved in &evacuation.moved {
            let mut outcome = Outcome::default();
            for step in &moved.steps {
                let done = step.attempt(&replayed.begin(moved.instance), force, &mut outcome);
                prop_assert_eq!(done, Ok(()), "{:?}", step);
                replayed.apply(moved.instance, &outcome);
            }
            prop_assert_eq!(replayed.primary(moved.instance), moved.to.primary);
            prop_assert_eq!(replayed.secondary(moved.instance), moved.to.secondary);
            prop_assert_eq!(moved.group, GroupIdx(0));
        }
        let all = all_nodes(placement.cluster());
        let (said, is) =
            (Score::of(&evacuation.placement, &all), Score::of(&replayed, &all));
        prop_assert!((said.total - is.total).abs() < 1e-8);
    }
}
