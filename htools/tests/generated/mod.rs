//! Clusters of all shapes.

use proptest::prelude::*;
use roost_htools::model::{
    AllocPolicy, Cluster, Disk, DiskTemplate, Group, GroupIdx, Instance, Node, NodeIdx, Policy,
    Status, Utilisation,
};
use roost_htools::rules;

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

/// Up to six nodes with up to 24 instances.
pub fn clusters() -> impl Strategy<Value = Cluster> {
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
