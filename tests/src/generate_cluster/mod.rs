//! Clusters of any size for the placement tools: the same for the same numbers, and as uneven as real ones.
//!
//! Nodes come in three generations, instances in sizes of which small ones are frequent. `fill` is the share of
//! the nodes' memory in use; with the chance `imbalance` an instance lands where a biased draw puts it instead of
//! on the least loaded of a few nodes. No node is filled beyond its memory or disk, so that every cluster is one
//! that Ganeti could be in.

mod twister;

pub use twister::Random;

use anyhow::{Result, anyhow};
use std::fmt::Write;

/// How large, and of what kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    pub seed: u64,
    pub groups: usize,
    pub nodes: usize,
    pub instances: usize,
    pub imbalance: f64,
    pub fill: f64,
    /// Disk templates with their weights: `drbd:7,plain:1,ext:2`.
    pub template: &'static str,
    /// The share of nodes, the last ones, without instances.
    pub empty_nodes: f64,
    /// Nodes that are offline and still have instances.
    pub offline: usize,
    /// The share of instances that are stopped.
    pub down: f64,
    pub spindles: usize,
    pub exclusion_tags: bool,
    /// With location tags over so many racks.
    pub racks: usize,
    pub cpu_speed: bool,
    /// How much of what a node has to keep free for others is left alone.
    pub n1: f64,
}

impl Shape {
    /// Usual for the rest.
    pub fn new(nodes: usize, instances: usize, seed: u64) -> Shape {
        Shape {
            seed,
            groups: 1,
            nodes,
            instances,
            imbalance: 0.4,
            fill: 0.6,
            template: "drbd",
            empty_nodes: 0.0,
            offline: 0,
            down: 0.05,
            spindles: 12,
            exclusion_tags: false,
            racks: 0,
            cpu_speed: false,
            n1: 1.0,
        }
    }
}

const MEMORY: [(i64, f64); 6] =
    [(1024, 20.0), (2048, 28.0), (4096, 26.0), (8192, 16.0), (16_384, 8.0), (32_768, 2.0)];
const DISK: [(i64, f64); 6] = [
    (10_240, 20.0),
    (20_480, 26.0),
    (40_960, 24.0),
    (81_920, 16.0),
    (163_840, 9.0),
    (327_680, 5.0),
];
/// Weight; memory, disk and CPUs of a node; its speed.
const GENERATIONS: [(f64, f64, f64); 3] = [(3.0, 1.0, 1.0), (4.0, 1.5, 1.0), (3.0, 2.0, 1.15)];
/// What a node uses itself, MiB.
const OWN_MEMORY: i64 = 4096;

#[derive(Clone, Debug)]
struct Instance {
    memory: i64,
    disk: i64,
    cpus: i64,
    runs: bool,
    template: String,
    group: usize,
    service: usize,
    primary: usize,
    secondary: Option<usize>,
}

impl Instance {
    fn needs(&self) -> i64 {
        if self.runs { self.memory } else { 0 }
    }

    fn mirrored(&self) -> bool {
        self.template == "drbd"
    }

    fn local(&self) -> bool {
        self.mirrored() || self.template == "plain"
    }
}

#[derive(Clone, Debug)]
struct Node {
    group: usize,
    size: f64,
    speed: f64,
    memory: i64,
    disk: i64,
    cpus: i64,
    free_memory: i64,
    free_disk: i64,
    bias: f64,
    fresh: bool,
    offline: bool,
    /// Memory kept free for the instances of other nodes, by node.
    peers: Vec<(usize, i64)>,
}

impl Node {
    fn reserved(&self) -> i64 {
        self.peers.iter().map(|(_, memory)| *memory).max().unwrap_or(0)
    }

    fn peer(&mut self, node: usize) -> &mut i64 {
        let at = self.peers.iter().position(|(peer, _)| *peer == node);
        let at = at.unwrap_or_else(|| {
            self.peers.push((node, 0));
            self.peers.len() - 1
        });
        &mut self.peers[at].1
    }
}

/// The cluster in the tools' text format. Errors: the instances do not fit; less `fill` makes room.
pub fn generate(shape: &Shape) -> Result<String> {
    let mut random = Random::new(&format!(
        "{}/{}/{}/{}/{}/{}/{}",
        shape.seed,
        shape.groups,
        shape.nodes,
        shape.instances,
        shape.imbalance,
        shape.fill,
        shape.template
    ));
    let mut instances = instances(shape, &mut random)?;
    let mut nodes: Vec<Node> = (0..shape.nodes)
        .map(|at| {
            let (_, size, speed) = GENERATIONS[random.weighted(GENERATIONS.map(|g| g.0))];
            let speed = if shape.cpu_speed { speed } else { 1.0 };
            Node { group: at % shape.groups, size, speed, ..Node::bare() }
        })
        .collect();
    for group in 0..shape.groups {
        let members: Vec<usize> = (0..nodes.len()).filter(|at| nodes[*at].group == group).collect();
        if members.is_empty() {
            continue;
        }
        size_nodes(shape, &mut random, &mut nodes, &members, &instances, group);
        let mut order: Vec<usize> =
            (0..instances.len()).filter(|at| instances[*at].group == group).collect();
        order.sort_by_key(|at| std::cmp::Reverse(instances[*at].memory));
        for at in order {
            place(shape, &mut random, &mut nodes, &members, &mut instances[at])?;
        }
    }
    if shape.offline > 0 {
        let others: Vec<usize> = (1..nodes.len()).collect();
        for at in random.sample(&others, shape.offline) {
            nodes[at].offline = true;
        }
    }
    Ok(text(shape, &nodes, &instances))
}

impl Node {
    fn bare() -> Node {
        Node {
            group: 0,
            size: 1.0,
            speed: 1.0,
            memory: 0,
            disk: 0,
            cpus: 0,
            free_memory: 0,
            free_disk: 0,
            bias: 1.0,
            fresh: false,
            offline: false,
            peers: vec![],
        }
    }
}

fn instances(shape: &Shape, random: &mut Random) -> Result<Vec<Instance>> {
    let templates = shape
        .template
        .split(',')
        .map(|part| match part.split_once(':') {
            None => Ok((part, 1.0)),
            Some((name, weight)) => Ok((name, weight.parse()?)),
        })
        .collect::<Result<Vec<(&str, f64)>>>()?;
    let draw = |at: usize| {
        let memory = MEMORY[random.weighted(MEMORY.map(|m| m.1))].0;
        let cpus = memory as f64 / 2048.0 * random.choice(&[0.5, 1.0, 1.0, 2.0]);
        let disk = DISK[random.weighted(DISK.map(|d| d.1))].0;
        let disk = disk + 1024 * random.below(10) as i64;
        Instance {
            memory,
            disk,
            cpus: (cpus.round_ties_even() as i64).clamp(1, 8),
            runs: random.unit() > shape.down,
            template: templates[random.weighted(templates.iter().map(|t| t.1))].0.to_owned(),
            group: at % shape.groups,
            service: random.below((shape.instances / 3).max(1)),
            primary: 0,
            secondary: None,
        }
    };
    Ok((0..shape.instances).map(draw).collect())
}

/// Nodes as large as the instances of the group need them.
fn size_nodes(
    shape: &Shape,
    random: &mut Random,
    nodes: &mut [Node],
    members: &[usize],
    instances: &[Instance],
    group: usize,
) {
    let mine = || instances.iter().filter(|instance| instance.group == group);
    let sum = |of: fn(&Instance) -> i64| mine().map(of).sum::<i64>() as f64;
    let memory = sum(Instance::needs);
    let disk = sum(|i| if i.local() { i.disk * if i.mirrored() { 2 } else { 1 } } else { 0 });
    let cpus = sum(|i| i.cpus);
    let sizes: f64 = members.iter().map(|at| nodes[*at].size).sum();
    let memory_unit = memory / shape.fill / sizes;
    let disk_unit = disk.max(1.0) / (shape.fill * 0.9) / sizes;
    let cpu_unit = cpus / 2.0 / sizes;
    let steps = |amount: f64, step: f64| (amount / step).ceil() as i64 * step as i64;
    for at in members {
        let node = &mut nodes[*at];
        node.memory = steps(memory_unit * node.size + OWN_MEMORY as f64, 16_384.0);
        node.disk = steps((disk_unit * node.size).max(204_800.0), 102_400.0);
        node.cpus = steps(cpu_unit * node.size, 8.0).max(8);
        node.free_memory = node.memory - OWN_MEMORY;
        node.free_disk = node.disk;
        node.bias = random.gauss(0.0, 1.2).exp();
    }
    let fresh = (shape.empty_nodes * members.len() as f64).round_ties_even() as usize;
    for at in &members[members.len() - fresh..] {
        nodes[*at].fresh = true;
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Primary,
    Secondary,
}

fn place(
    shape: &Shape,
    random: &mut Random,
    nodes: &mut [Node],
    members: &[usize],
    instance: &mut Instance,
) -> Result<()> {
    let choose = |random: &mut Random, nodes: &[Node], role: Role, not: Option<usize>| {
        let fits = |at: &&usize| {
            let node = &nodes[**at];
            if Some(**at) == not || node.fresh {
                return false;
            }
            if instance.local() && node.free_disk - instance.disk <= 0 {
                return false;
            }
            let kept = node.reserved() as f64 * shape.n1;
            role == Role::Secondary || (node.free_memory - instance.needs()) as f64 > kept
        };
        let fitting: Vec<usize> = members.iter().filter(fits).copied().collect();
        if fitting.is_empty() {
            return None;
        }
        if random.unit() < shape.imbalance {
            return Some(fitting[random.weighted(fitting.iter().map(|at| nodes[*at].bias))]);
        }
        let share = |at: usize| match role {
            Role::Primary => nodes[at].free_memory as f64 / nodes[at].memory as f64,
            Role::Secondary => nodes[at].free_disk as f64 / nodes[at].disk as f64,
        };
        let few = random.sample(&fitting, fitting.len().min(6));
        few.into_iter().reduce(|best, at| if share(at) > share(best) { at } else { best })
    };
    let primary = choose(random, nodes, Role::Primary, None)
        .ok_or_else(|| anyhow!("an instance does not fit: less fill makes room"))?;
    nodes[primary].free_memory -= instance.needs();
    if instance.local() {
        nodes[primary].free_disk -= instance.disk;
    }
    if !instance.mirrored() {
        instance.primary = primary;
        return Ok(());
    }
    let mut secondary = primary;
    for _ in 0..20 {
        secondary = choose(random, nodes, Role::Secondary, Some(primary))
            .ok_or_else(|| anyhow!("a mirror does not fit: less fill makes room"))?;
        let kept = *nodes[secondary].peer(primary) + instance.memory;
        if shape.n1 == 0.0 || nodes[secondary].free_memory > kept {
            break;
        }
    }
    nodes[secondary].free_disk -= instance.disk;
    *nodes[secondary].peer(primary) += instance.memory;
    (instance.primary, instance.secondary) = (primary, Some(secondary));
    Ok(())
}

fn text(shape: &Shape, nodes: &[Node], instances: &[Instance]) -> String {
    let mut out = String::new();
    let mut line = |text: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        writeln!(out, "{text}").ok();
    };
    let uuid = |group: usize| format!("00000000-0000-4000-8000-{group:012}");
    for group in 0..shape.groups {
        line(format_args!("g{group:02}|{}|preferred||", uuid(group)));
    }
    line(format_args!(""));
    let node_name = |at: usize| format!("n{at:04}.hw.example.com");
    for (at, node) in nodes.iter().enumerate() {
        let Node { memory, disk, cpus, free_memory, free_disk, speed, .. } = node;
        let role = match (node.offline, at) {
            (true, _) => "Y",
            (_, 0) => "M",
            _ => "N",
        };
        let tags = match shape.racks {
            0 => String::new(),
            racks => format!("rack:r{}", at * racks / nodes.len()),
        };
        line(format_args!(
            "{}|{memory}|{OWN_MEMORY}|{free_memory}|{disk}|{free_disk}|{cpus}|{role}|{}|{}|{tags}|N|0|1|{speed:?}",
            node_name(at),
            uuid(node.group),
            shape.spindles
        ));
    }
    line(format_args!(""));
    for (at, instance) in instances.iter().enumerate() {
        let Instance { memory, disk, cpus, template, .. } = instance;
        let status = if instance.runs { "running" } else { "ADMIN_down" };
        let secondary = instance.secondary.map(node_name).unwrap_or_default();
        let tags = match shape.exclusion_tags {
            true => format!("service:svc{}", instance.service),
            false => String::new(),
        };
        line(format_args!(
            "i{at:05}.vm.example.com|{memory}|{disk}|{cpus}|{status}|Y|{}|{secondary}|{template}|{tags}|1|-",
            node_name(instance.primary)
        ));
    }
    line(format_args!(""));
    if shape.exclusion_tags {
        line(format_args!("htools:iextags:service"));
    }
    if shape.racks > 0 {
        line(format_args!("htools:nlocation:rack"));
    }
    line(format_args!(""));
    let owners =
        std::iter::once(String::new()).chain((0..shape.groups).map(|g| format!("g{g:02}")));
    for owner in owners {
        line(format_args!(
            "{owner}|4096,2,40960,1,1,1|128,1,1024,1,1,1;65536,16,1048576,16,8,12|\
             drbd,plain,diskless,ext,rbd,file,sharedfile,blockdev,gluster|4.0|32.0"
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_htools::text;
    use sha2::{Digest, Sha512};

    /// Figures that were published are of these very clusters.
    #[test]
    fn clusters_are_always_the_same() {
        let shapes = [
            (Shape::new(20, 400, 1), "c33d2de6476680d5"),
            (Shape::new(40, 800, 1), "a94d73aa1e5dcf27"),
            (Shape { template: "ext", ..Shape::new(200, 2000, 3) }, "a493bbb06dc17fa5"),
            (
                Shape {
                    groups: 2,
                    template: "drbd:7,plain:1,ext:2",
                    empty_nodes: 0.2,
                    offline: 1,
                    exclusion_tags: true,
                    racks: 3,
                    cpu_speed: true,
                    imbalance: 0.8,
                    fill: 0.5,
                    down: 0.1,
                    ..Shape::new(12, 100, 7)
                },
                "c3fc2b924d259d7c",
            ),
        ];
        for (shape, digest) in shapes {
            let made = generate(&shape).expect("room");
            let is: String = Sha512::digest(made.as_bytes())
                .iter()
                .take(8)
                .map(|b| format!("{b:02x}"))
                .collect();
            assert_eq!(is, digest, "{shape:?}");
            let cluster = text::read(&made).expect("a cluster");
            assert_eq!(cluster.nodes.len(), shape.nodes);
            assert_eq!(cluster.instances.len(), shape.instances);
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let shape = Shape { fill: 1.5, ..Shape::new(4, 40, 1) };
        assert!(generate(&shape).expect_err("too full").to_string().contains("less fill"));
    }
}
