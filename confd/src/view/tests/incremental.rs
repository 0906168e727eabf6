//! However a configuration came to be, it answers as one that was loaded as a whole.

use super::generate_config::{self, Shape};
use super::*;
use crate::wire::Dict;
use proptest::prelude::*;
use std::collections::BTreeMap;

const SHAPE: Shape = Shape { nodes: 5, instances: 8 };
/// Nodes, instances and disks are chosen from this many; not all are there in the beginning.
const CHOICE: usize = 8;

fn id(kind: char, n: usize) -> String {
    let c = kind.to_string();
    format!("{}-0000-4000-8000-{n:012x}", c.repeat(8))
}

/// One change, in numbers that choose.
#[derive(Clone, Debug)]
enum Change {
    Node {
        node: usize,
        name: usize,
        flags: u8,
    },
    Instance {
        instance: usize,
        name: usize,
        primary: usize,
        disks: Vec<usize>,
        ips: Vec<(usize, usize)>,
    },
    Plain {
        disk: usize,
    },
    Drbd {
        disk: usize,
        nodes: (usize, usize),
        minors: (u8, u8),
        below: bool,
    },
    Link {
        link: usize,
        master: usize,
    },
    Delete {
        kind: usize,
        which: usize,
    },
    /// A part of an update that is refused.
    Bad {
        instance: usize,
    },
}

fn any_change() -> impl Strategy<Value = Change> {
    let n = 0..CHOICE;
    prop_oneof![
        2 => (n.clone(), n.clone(), any::<u8>()).prop_map(|(node, name, flags)| Change::Node { node, name, flags }),
        4 => (n.clone(), n.clone(), n.clone(), prop::collection::vec(n.clone(), 0..3),
            prop::collection::vec((0..12_usize, 0..4_usize), 0..3))
            .prop_map(|(instance, name, primary, disks, ips)| Change::Instance { instance, name, primary, disks, ips }),
        1 => n.clone().prop_map(|disk| Change::Plain { disk }),
        3 => (n.clone(), (n.clone(), n.clone()), any::<(u8, u8)>(), any::<bool>())
            .prop_map(|(disk, nodes, minors, below)| Change::Drbd { disk, nodes, minors, below }),
        1 => (0..3_usize, n.clone()).prop_map(|(link, master)| Change::Link { link, master }),
        3 => (0..3_usize, n.clone()).prop_map(|(kind, which)| Change::Delete { kind, which }),
        1 => n.prop_map(|instance| Change::Bad { instance }),
    ]
}

/// The names overlap so that short ones are of several.
fn name(of: &str, n: usize) -> String {
    format!("{of}{}.{}.example.org", n / 2, n % 2)
}

fn ip(n: usize) -> String {
    if n < 9 { format!("10.0.0.{}", n * 7) } else { format!("fd00::{n}") }
}

fn disk(n: usize, dev_type: &str, logical_id: Value, children: Value) -> Value {
    json!({
        "uuid": id('c', n), "dev_type": dev_type, "logical_id": logical_id, "children": children,
        "size": 1024 + n, "serial_no": 1, "ctime": 1.5, "mtime": 1.5,
    })
}

impl Change {
    /// What is there from then on; None: nothing.
    fn body(&self, cluster: &Value) -> (Space, String, Option<Value>) {
        match self {
            Change::Node { node, name: of, flags } => {
                let flag = |bit: u8| json!(flags & bit != 0);
                let body = json!({
                    "uuid": id('a', *node), "name": name("node", *of), "serial_no": 1 + flags / 8,
                    "primary_ip": format!("192.0.2.{node}"), "master_candidate": flag(1),
                    "drained": flag(2), "offline": flag(4),
                });
                (Space::Node, id('a', *node), Some(body))
            }
            Change::Instance { instance, name: of, primary, disks, ips } => {
                let nic = |(n, link): &(usize, usize)| {
                    let params =
                        if *link == 3 { json!({}) } else { json!({"link": format!("br{link}")}) };
                    json!({"ip": ip(*n), "mac": "aa:00:01:02:03:04", "nicparams": params, "uuid": id('f', *n)})
                };
                let body = json!({
                    "uuid": id('b', *instance), "name": name("inst", *of), "serial_no": 3,
                    "primary_node": id('a', *primary), "admin_state": "up", "hypervisor": "kvm",
                    "disks": disks.iter().map(|n| id('c', *n)).collect::<Vec<_>>(),
                    "nics": ips.iter().map(nic).collect::<Vec<_>>(), "ctime": 0.5, "mtime": 1e9,
                });
                (Space::Instance, id('b', *instance), Some(body))
            }
            Change::Plain { disk: n } => (
                Space::Disk,
                id('c', *n),
                Some(disk(*n, "plain", json!(["vg", format!("lv{n}")]), json!([]))),
            ),
            Change::Drbd { disk: n, nodes, minors, below } => {
                let logical_id = json!([
                    id('a', nodes.0),
                    id('a', nodes.1),
                    11_000,
                    minors.0,
                    minors.1,
                    "0123456789abcdef"
                ]);
                let volume = disk(*n, "plain", json!(["vg", format!("lv{n}_data")]), json!([]));
                let mut body = disk(*n, "drbd", logical_id, json!([volume]));
                if *below {
                    body = disk(*n, "plain", json!(["vg", "over"]), json!([body]));
                }
                (Space::Disk, id('c', *n), Some(body))
            }
            Change::Link { link, master } => {
                let mut cluster = cluster.clone();
                cluster["nicparams"]["default"]["link"] = json!(format!("br{link}"));
                cluster["master_node"] = json!(id('a', *master));
                (Space::Cluster, String::new(), Some(cluster))
            }
            Change::Delete { kind, which } => {
                let kinds = [(Space::Node, 'a'), (Space::Instance, 'b'), (Space::Disk, 'c')];
                let (space, letter) = kinds[*kind];
                (space, id(letter, *which), None)
            }
            Change::Bad { instance } => {
                (Space::Instance, id('b', *instance), Some(json!({"name": 5})))
            }
        }
    }
}

type Model = BTreeMap<(Space, String), Value>;

/// As one snapshot, in this order or the other way round: what is referred to may come later.
fn whole(shared: &Arc<Shared>, model: &Model, order: bool) {
    let mut update = begin(shared, true);
    let mut objects: Vec<_> = model.iter().collect();
    if !order {
        objects.reverse();
    }
    for ((space, id), body) in objects {
        put(&mut update, *space, id, body).unwrap();
    }
    shared.commit(update).unwrap();
}

fn from_scratch(model: &Model, order: bool) -> Arc<Shared> {
    let shared = Arc::new(Shared::new());
    whole(&shared, model, order);
    shared
}

/// Every question about everything.
fn questions() -> Vec<(QueryType, Query<'static>)> {
    let owned = |text: String| Query::Text(text.into());
    let mut all: Vec<_> = QueryType::ALL.map(|kind| (kind, Query::Empty)).into();
    for map in ["nodes", "instances", "disks", "cluster", "nodegroups", "networks", "version"] {
        all.push((QueryType::ConfigQuery, owned(format!("/{map}"))));
    }
    for n in 0..CHOICE {
        for node in [name("node", n), format!("node{}", n / 2), id('a', n)] {
            for kind in [
                QueryType::NodeRoleByName,
                QueryType::NodeDrbd,
                QueryType::NodeInstances,
                QueryType::NodeGuests,
            ] {
                all.push((kind, owned(node.clone())));
            }
        }
        for instance in [name("inst", n), format!("inst{}", n / 2), id('b', n)] {
            all.push((QueryType::InstanceDisks, owned(instance)));
        }
        all.push((QueryType::ConfigQuery, owned(format!("/instances/{}/nics/0/ip", id('b', n)))));
    }
    let ips: Vec<_> = (0..12).map(|n| ip(n).into()).collect();
    for link in ["br0", "br1", "br2", "br9"] {
        all.push((QueryType::InstancesIpsList, text(link)));
        let dict = Dict { link: Some(link.into()), ips: ips.clone(), ..Dict::default() };
        all.push((QueryType::NodePipByInstanceIp, Query::Dict(dict)));
    }
    all.push((QueryType::NodePipByInstanceIp, Query::Dict(Dict { ips, ..Dict::default() })));
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn changes_lead_to_the_same_answers(
        updates in prop::collection::vec(prop::collection::vec(any_change(), 1..8), 1..8),
        order in any::<bool>(),
    ) {
        let config = generate_config::config_text(SHAPE);
        let config: Value = serde_json::from_str(&config).unwrap();
        let cluster = &config["cluster"];
        let mut model = Model::new();
        model.insert((Space::Cluster, String::new()), cluster.clone());
        model.insert((Space::Top, String::new()), json!({"version": 3_020_000, "serial_no": 1}));
        for node in 0..3 {
            let (space, id, body) = Change::Node { node, name: node, flags: 1 }.body(cluster);
            model.insert((space, id), body.unwrap());
        }
        let shared = from_scratch(&model, true);
        // Gets a snapshot each time.
        let followed = from_scratch(&model, true);
        let questions = questions();
        for changes in &updates {
            let mut update = begin(&shared, false);
            let mut next = model.clone();
            let mut good = true;
            for change in changes {
                let (space, id, body) = change.body(cluster);
                match body {
                    Some(body) => {
                        good &= put(&mut update, space, &id, &body).is_ok();
                        next.insert((space, id), body);
                    }
                    None => {
                        delete(&mut update, space, &id).unwrap();
                        next.remove(&(space, id));
                    }
                }
            }
            prop_assert_eq!(shared.commit(update).is_ok(), good);
            if good {
                model = next;
            }
            let fresh = from_scratch(&model, order);
            whole(&followed, &model, order);
            for (kind, query) in &questions {
                let show = |(status, serial, out): (Status, u64, Vec<u8>)| {
                    (status, serial, String::from_utf8(out).unwrap())
                };
                let expected = show(ask_raw(&fresh, *kind, query.clone()));
                for shared in [&shared, &followed] {
                    let got = show(ask_raw(shared, *kind, query.clone()));
                    prop_assert_eq!(&got, &expected, "{:?} {:?}", kind, query);
                }
            }
        }
    }
}
