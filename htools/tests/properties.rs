//! What holds of every cluster: what a move is said to cost is what it costs, and what is undone is as before.

use proptest::prelude::*;
use roost_htools::model::InstanceIdx;
use roost_htools::model::{
    AllocPolicy, Cluster, Disk, DiskTemplate, Group, GroupIdx, Instance, Node, NodeIdx, Policy,
    Status, Utilisation,
};
use roost_htools::moves::{Kind, Move};
use roost_htools::rules;
use roost_htools::score::{Score, Scorer};
use roost_htools::state::{Options, Placement};
use roost_htools::text;

fn node(
    at: usize,
    (memory, disk, cpus, role, rack, exclusive): (i64, i64, i64, u8, u8, bool),
) -> Node {
    Node {
        name: format!("node{at}.example.com"),
        group: GroupIdx(0),
        total_memory: memory as f64,
        node_memory: 512,
        free_memory: memory - 512,
        total_disk: disk as f64,
        free_disk: disk,
        total_cpus: cpus as f64,
        node_cpus: 1,
        cpu_speed: 1.0,
        spindles: 8,
        free_spindles: 8,
        exclusive_storage: exclusive,
        offline: role == 0 && at > 1,
        master: at == 0,
        tags: if rack < 3 { vec![format!("rack:{rack}")] } else { vec![] },
    }
}

type Shape = (usize, usize, i64, i64, i64, usize, (usize, u8, bool, bool, [f64; 4]));

fn instance(at: usize, nodes: &mut [Node], shape: Shape) -> Instance {
    let (one, other, memory, disk, vcpus, template, rest) = shape;
    let (status, service, auto_balance, forthcoming, load) = rest;
    let template = DiskTemplate::ALL[template];
    let primary = one % nodes.len();
    let secondary = (template == DiskTemplate::Drbd)
        .then(|| (primary + 1 + other % (nodes.len() - 1)) % nodes.len());
    let status = Status::ALL[status];
    let [cpu, memory_load, disk_load, net] = load;
    let instance = Instance {
        name: format!("instance{at}.example.com"),
        memory,
        disk,
        disks: vec![Disk { size: disk, spindles: Some(1) }],
        vcpus,
        status,
        auto_balance,
        primary: NodeIdx::of(primary),
        secondary: secondary.map(NodeIdx::of),
        template,
        tags: if service < 4 { vec![format!("svc:{service}"), "rack:1".into()] } else { vec![] },
        spindle_use: 1,
        forthcoming,
        utilisation: Utilisation { cpu, memory: memory_load, disk: disk_load, net },
        networks: vec![],
    };
    if instance.uses_memory() {
        nodes[primary].free_memory -= memory;
    }
    if template.uses_lvm() && !forthcoming {
        for node in [Some(primary), secondary].into_iter().flatten() {
            nodes[node].free_disk -= disk;
            nodes[node].free_spindles -= 1;
        }
    }
    instance
}

const RULES: [&str; 7] = [
    r#"a apart --instances '"svc:0" in tags or "svc:1" in tags'"#,
    r#"b apart --instances '"svc:1" in tags' --domain rack --mirrors"#,
    r#"c apart --instances 'be/vcpus < 5' --mirrors --strength 0.125"#,
    r#"d together --instances '"svc:2" in tags or "svc:3" in tags'"#,
    r#"e together --instances 'not be/auto_balance' --domain rack --strength 2"#,
    r#"f only-on --instances '"svc:3" in tags' --nodes '"rack:1" in tags'"#,
    r#"g prefer --instances 'disk_template == "drbd"' --nodes 'name =* "node1.*" or name == "node0"'"#,
];

fn clusters() -> impl Strategy<Value = Cluster> {
    let size = |step: i64| (1..32_i64).prop_map(move |n| n * step);
    let node_shape =
        (size(2048), size(10_240), 1..64_i64, 0..6_u8, 0..5_u8, prop::bool::weighted(0.2));
    let load = prop::array::uniform4(prop_oneof![Just(1.0), 0.0..4.0_f64]);
    let rest = (0..Status::ALL.len(), 0..8_u8, any::<bool>(), prop::bool::weighted(0.1), load);
    let shape = (0..100_usize, 0..100_usize, size(256), size(512), 1..9_i64, 0..9_usize, rest);
    let tags = prop::sample::subsequence(
        vec![
            "htools:iextags:svc",
            "htools:nlocation:rack",
            "htools:desiredlocation:rack",
            "htools:migration:rack",
            "htools:allowmigration:rack:0::rack:1",
        ],
        0..5,
    );
    let rules = prop::sample::subsequence(RULES.to_vec(), 0..=RULES.len());
    let nodes = prop::collection::vec(node_shape, 2..7);
    (nodes, prop::collection::vec(shape, 1..25), tags, rules).prop_map(
        |(nodes, shapes, tags, rules)| {
            let mut nodes: Vec<Node> =
                nodes.into_iter().enumerate().map(|(at, shape)| node(at, shape)).collect();
            let place = |(at, shape)| instance(at, &mut nodes, shape);
            let instances = shapes.into_iter().enumerate().map(place).collect();
            let group = Group {
                name: "default".into(),
                uuid: "6f3b".into(),
                alloc_policy: AllocPolicy::Preferred,
                tags: vec![],
                networks: vec![],
                policy: Policy::default(),
                own_policy: true,
            };
            let mut cluster = Cluster {
                groups: vec![group],
                nodes,
                instances,
                tags: tags.into_iter().map(str::to_owned).collect(),
                policy: Policy::default(),
                ..Cluster::default()
            };
            let specs = rules::read(&rules.join("\n")).expect("rules");
            cluster.rules = rules::resolve(&cluster, &specs).expect("rules");
            cluster
        },
    )
}

fn kind(choice: usize, to: NodeIdx) -> Kind {
    match choice {
        0 => Kind::Failover,
        1 => Kind::FailoverToAny(to),
        2 => Kind::ReplacePrimary(to),
        3 => Kind::ReplaceSecondary(to),
        4 => Kind::ReplaceAndFailover(to),
        _ => Kind::FailoverAndReplace(to),
    }
}

/// The move that brings an instance back.
fn inverse(kind: Kind, primary: NodeIdx, secondary: Option<NodeIdx>) -> Kind {
    let secondary = secondary.unwrap_or(primary);
    match kind {
        Kind::Failover => Kind::Failover,
        Kind::FailoverToAny(_) => Kind::FailoverToAny(primary),
        Kind::ReplacePrimary(_) => Kind::ReplacePrimary(primary),
        Kind::ReplaceSecondary(_) => Kind::ReplaceSecondary(secondary),
        Kind::ReplaceAndFailover(_) => Kind::FailoverAndReplace(secondary),
        Kind::FailoverAndReplace(_) => Kind::ReplaceAndFailover(primary),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_a_move_is_said_to_cost_is_what_it_costs(
        cluster in clusters(),
        tries in prop::collection::vec((0..100_usize, 0..6_usize, 0..100_usize, any::<bool>()), 1..30),
    ) {
        let mut placement = Placement::new(cluster.clone(), &Options::default());
        let nodes: Vec<NodeIdx> = cluster.nodes_of(GroupIdx(0)).collect();
        let mut scorer = Scorer::new(&placement, nodes.clone());
        for (which, choice, to, force) in tries {
            let instance = InstanceIdx::of(which % cluster.instances.len());
            let to = NodeIdx::of(to % nodes.len());
            let (primary, secondary) = (placement.primary(instance), placement.secondary(instance));
            let drbd = secondary.is_some();
            if to == primary || Some(to) == secondary || drbd == (choice == 1) {
                continue;
            }
            let kind = kind(choice, to);
            let what = Move { instance, kind };
            let Ok(outcome) = what.outcome(&placement, force) else { continue };
            let hard = |placement: &Placement| -> Vec<i64> {
                let rules = cluster.rules.iter().enumerate().filter(|(_, rule)| rule.is_hard());
                rules.map(|(at, _)| placement.ruling().broken(at)).collect()
            };
            let said = scorer.after(&placement, &outcome);
            let exact = scorer.exact_after(&placement, &outcome).total;
            let before = placement.clone();
            scorer.apply(&placement, &outcome);
            placement.apply(instance, &outcome);
            let is = Score::of(&placement, &nodes).total;
            let close = |one: f64, other: f64| (one - other).abs() <= 1e-7 * other.abs().max(1.0);
            prop_assert!(close(said, is), "{what:?}: said {said}, is {is}");
            prop_assert_eq!(exact, is);
            let broken = (0..cluster.rules.len()).map(|at| placement.ruling().broken(at));
            let judged = rules::judge(&placement.to_cluster()).into_iter().map(|verdict| verdict.broken);
            prop_assert_eq!(broken.collect::<Vec<_>>(), judged.collect::<Vec<_>>());
            let worse = hard(&before).into_iter().zip(hard(&placement)).any(|(was, is)| is > was);
            prop_assert!(!worse, "{what:?} breaks a hard rule");
            prop_assert!(close(scorer.now(), is), "{what:?}: kept {}, is {is}", scorer.now());

            // And back: everything is as it was.
            let back = Move { instance, kind: inverse(kind, primary, secondary) };
            let returned = back.outcome(&placement, true);
            if let Ok(returned) = returned {
                let mut again = placement.clone();
                again.apply(instance, &returned);
                for &node in &nodes {
                    let (now, was) = (again.node(node), before.node(node));
                    prop_assert!((now.cpu_load - was.cpu_load).abs() < 1e-9);
                    prop_assert!((now.disk_load - was.disk_load).abs() < 1e-9);
                    prop_assert_eq!(
                        (now.unallocated, now.free_disk, now.reserved, now.n1_fails, now.conflicts),
                        (was.unallocated, was.free_disk, was.reserved, was.n1_fails, was.conflicts)
                    );
                    prop_assert_eq!(
                        (now.primaries, now.secondaries, now.location, now.forth),
                        (was.primaries, was.secondaries, was.location, was.forth)
                    );
                }
                prop_assert_eq!(again.location_conflicts(), before.location_conflicts());
            }
        }
    }

    #[test]
    fn text_is_read_as_it_was_written(mut cluster in clusters()) {
        // The text does not know them.
        cluster.instances.iter_mut().for_each(|i| i.utilisation = Utilisation::ONE);
        cluster.rules.clear();
        prop_assert_eq!(text::read(&text::write(&cluster)), Ok(cluster));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "(?s).{0,200}") {
        let _ = text::read(&text);
    }

    #[test]
    fn a_broken_file_is_refused_with_its_line(
        cluster in clusters(), at in 0..4000_usize, with in "[|,;\\-\nYN?9a]{0,3}",
    ) {
        let mut text = text::write(&cluster);
        let at = at % text.len();
        text.replace_range(at..=at, &with);
        if let Ok(cluster) = text::read(&text) {
            Placement::new(cluster.clone(), &Options::default());
        }
    }
}
