//! Whether two ends are the same, and whether the configuration and the machines agree.

use super::disks::{key, leaves};
use super::world::{Access, Data, World};
use regex::Regex;
use roost_masterd::config::Config;
use roost_masterd::store::{Contents, Key};
use roost_proto::choices::{AdminState, DiskTemplate};
use roost_proto::ids::DiskId;
use roost_proto::objects::Instance;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

static UUID: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").expect("a pattern")
});
static MAC: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("aa:00:00(:[0-9a-f]{2}){3}").expect("a pattern"));

/// Of mirrors.
static SECRET: LazyLock<Regex> = LazyLock::new(|| Regex::new("[0-9a-f]{40}").expect("a pattern"));

/// The documents of the configuration, exactly.
pub fn exact(contents: &Contents) -> BTreeMap<Key, String> {
    contents.documents.iter().filter(|(key, _)| key.space.is_config()).cloned().collect()
}

/// Names for what has no lasting identity of its own: a created instance gets new UUIDs each time.
struct Names(BTreeMap<String, String>);

impl Names {
    fn of(config: &Config) -> Names {
        let mut names = BTreeMap::new();
        names.insert(config.cluster.uuid.to_string(), "cluster".to_owned());
        names.extend(config.nodes.values().map(|n| (n.uuid.to_string(), n.name.to_string())));
        names.extend(config.groups.values().map(|g| (g.uuid.to_string(), g.name.to_string())));
        names.extend(config.networks.values().map(|n| (n.uuid.to_string(), n.name.to_string())));
        for instance in config.instances.values() {
            names.insert(instance.uuid.to_string(), instance.name.to_string());
            for (i, disk) in instance.disks.iter().enumerate() {
                names.insert(disk.to_string(), format!("{}/disk/{i}", instance.name));
            }
            for (i, nic) in instance.nics.iter().enumerate() {
                names.insert(nic.uuid.to_string(), format!("{}/nic/{i}", instance.name));
            }
        }
        Names(names)
    }

    fn replace(&self, text: &str) -> String {
        let known = |found: &regex::Captures<'_>| {
            self.0.get(&found[0]).cloned().unwrap_or_else(|| "UUID".into())
        };
        let text = UUID.replace_all(text, known);
        let text = MAC.replace_all(&text, "MAC");
        SECRET.replace_all(&text, "SECRET").into_owned()
    }

    fn object(&self, object: &impl Serialize) -> String {
        let mut value = serde_json::to_value(object).expect("plain data");
        if let Value::Object(fields) = &mut value {
            for volatile in ["ctime", "mtime", "serial_no"] {
                fields.remove(volatile);
            }
        }
        self.replace(&value.to_string())
    }
}

/// The configuration without what differs each time.
pub fn config(config: &Config) -> Vec<String> {
    let names = Names::of(config);
    let mut lines = vec![names.object(&*config.cluster)];
    lines.extend(config.nodes.values().map(|o| names.object(&**o)));
    lines.extend(config.groups.values().map(|o| names.object(&**o)));
    lines.extend(config.instances.values().map(|o| names.object(&**o)));
    lines.extend(config.disks.values().map(|o| names.object(&**o)));
    lines.extend(config.networks.values().map(|o| names.object(&**o)));
    lines.extend(config.filters.values().map(|o| names.object(&**o)));
    lines.sort();
    lines
}

/// The machines without what differs each time.
pub fn world(world: &World, config: &Config) -> Vec<String> {
    let names = Names::of(config);
    let mut settled = world.clone();
    settled.settle();
    let world = &settled;
    let mut lines = Vec::new();
    let mut line = |text: String| lines.push(names.replace(&text));
    let shown = |data: &Data| {
        let Data { disk, size, content, good, outdated, .. } = data;
        format!("{disk} {size} {content:?} good {good} outdated {outdated}")
    };
    for (path, data) in &world.shared {
        line(format!("shared {path} {}", shown(data)));
    }
    for node in &world.off {
        line(format!("{node} switched off"));
    }
    for (id, machine) in &world.machines {
        let name = &machine.name;
        line(format!("{name} dead {} left {}", machine.dead, machine.left));
        line(format!("{name} crypto {:?}", machine.crypto));
        for (path, data) in &machine.files {
            line(format!("{name} file {path} {}", shown(data)));
        }
        for disk in machine.mirrors.keys() {
            let talks = world.connected(*id, *disk).is_some();
            line(format!("{name} mirror {disk} talks {talks}"));
        }
        for (disk, access) in &machine.assembled {
            line(format!("{name} assembled {disk} {access:?}"));
        }
        for (guest, state) in &machine.guests {
            let cards: BTreeSet<_> =
                state.nics.iter().map(|n| names.replace(&format!("{n:?}"))).collect();
            let disks: BTreeSet<_> =
                state.disks.iter().map(|d| names.replace(&d.to_string())).collect();
            let (mode, memory) = (state.state, state.memory);
            line(format!("{name} guest {guest} {mode:?} {memory} {cards:?} {disks:?}"));
        }
        for guest in machine.accepted.values() {
            line(format!("{name} accepts {guest}"));
        }
        for instance in machine.receiving.values() {
            line(format!("{name} receives {instance}"));
        }
        for (of, export) in &machine.exports.whole {
            let timeless = |line: &&str| !line.starts_with("timestamp");
            let config: Vec<&str> = export.config.lines().filter(timeless).collect();
            line(format!("{name} export {of} {config:?} {:?}", export.dumps));
        }
        for export in machine.exports.unfinished.keys() {
            line(format!("{name} begun export {export}"));
        }
        for (ip, place) in &machine.addresses {
            line(format!("{name} address {ip} {place}"));
        }
        // What a machine knows of a cluster it is not part of is of no account.
        for (key, value) in machine.ssconf.iter().filter(|_| config.nodes.contains_key(id)) {
            line(format!("{name} ssconf {key} {value:?}"));
        }
    }
    lines.sort();
    lines
}

/// The machines without the data on their disks, for what cannot bring data back.
pub fn without_content(mut model: World) -> World {
    let machines = model.machines.values_mut().flat_map(|machine| machine.files.values_mut());
    for data in machines.chain(model.shared.values_mut()) {
        data.content.clear();
    }
    model
}

/// The machines without the sizes of disks, for what cannot shrink again.
pub fn without_sizes(mut model: World) -> World {
    let machines = model.machines.values_mut().flat_map(|machine| machine.files.values_mut());
    for data in machines.chain(model.shared.values_mut()) {
        data.size = 0;
    }
    model
}

fn runs(instance: &Instance) -> bool {
    instance.admin_state == AdminState::Up
}

/// Where the machines are not as the configuration says.
pub fn disagreements(config: &Config, world: &World) -> Vec<String> {
    let mut problems = world.violations.clone();
    problems.extend(world.crypto_disagreements(config));
    let mut shared: BTreeMap<String, _> = BTreeMap::new();
    for (id, machine) in &world.machines {
        let node = &machine.name;
        let mut problem = |text: String| problems.push(format!("{node}: {text}"));
        let here: Vec<_> = config.instances_on(*id).collect();
        let mut files: BTreeMap<String, _> = BTreeMap::new();
        for disk in config.disks.values() {
            for leaf in leaves(disk) {
                let Ok(name) = key(leaf) else { continue };
                match leaf.dev_type {
                    DiskTemplate::File | DiskTemplate::Plain if disk.nodes.contains(id) => {
                        files.insert(name, (leaf.uuid, leaf.size));
                    }
                    DiskTemplate::File | DiskTemplate::Plain => {}
                    _ => {
                        shared.insert(name, (leaf.uuid, leaf.size));
                    }
                }
            }
        }
        if machine.dead {
            continue;
        }
        let owned = machine.files.iter().filter(|(_, data)| !data.is_nobodys());
        let found: BTreeMap<String, _> =
            owned.map(|(p, d)| (p.clone(), (d.disk, d.size))).collect();
        if files != found {
            problem(format!("files should be {files:?}, are {found:?}"));
        }
        let up: BTreeMap<&str, _> = here
            .iter()
            .filter(|i| runs(i))
            .map(|i| {
                let disks: BTreeSet<_> = i.disks.iter().copied().collect();
                let nics: BTreeSet<_> = i.nics.iter().map(|n| n.uuid).collect();
                (i.name.as_str(), (disks, nics))
            })
            .collect();
        let running: BTreeMap<&str, _> = machine
            .guests
            .iter()
            .map(|(name, g)| {
                let disks: BTreeSet<_> = g.disks.iter().copied().collect();
                let nics: BTreeSet<_> = g.nics.keys().copied().collect();
                (name.as_str(), (disks, nics))
            })
            .collect();
        if up != running {
            problem(format!("guests should be {up:?}, are {running:?}"));
        }
        // Open on the primary node; ready on a mirror's other side.
        let mut active: BTreeMap<DiskId, Access> = BTreeMap::new();
        for instance in config.instances.values().filter(|i| i.disks_active) {
            for disk in config.disks_of(instance) {
                if instance.primary_node == *id {
                    active.insert(disk.uuid, Access::Exclusive);
                } else if disk.dev_type == DiskTemplate::Drbd && disk.nodes.contains(id) {
                    active.insert(disk.uuid, Access::Closed);
                }
            }
        }
        if active != machine.assembled {
            problem(format!("active disks should be {active:?}, are {:?}", machine.assembled));
        }
        let mirrors: BTreeSet<_> = machine.mirrors.keys().copied().collect();
        let is_mirror =
            |id: &DiskId| config.disks.get(id).is_some_and(|d| d.dev_type == DiskTemplate::Drbd);
        let wanted: BTreeSet<_> = active.keys().copied().filter(is_mirror).collect();
        if mirrors != wanted {
            problem(format!("mirrors should be {wanted:?}, are {mirrors:?}"));
        }
        for instance in here.iter().filter(|i| i.disks_active) {
            for disk in config.disks_of(instance) {
                if disk.dev_type == DiskTemplate::Drbd
                    && let Some(text) = world.clone().mirror_problem(*id, &disk)
                {
                    problem(text);
                }
            }
        }
        if !machine.accepted.is_empty() || !machine.receiving.is_empty() {
            problem(format!("doors are open: {:?} {:?}", machine.accepted, machine.receiving));
        }
    }
    // It may be nowhere: an administrator may want that.
    let c = &config.cluster;
    let right = (c.master_ip.clone(), format!("{}/{}", c.master_netdev, c.master_netmask));
    for (id, machine) in &world.machines {
        for (ip, place) in &machine.addresses {
            if *id != c.master_node || (ip.to_string(), place.clone()) != right {
                problems.push(format!("{} has the address {ip} on {place}", machine.name));
            }
        }
    }
    let owned = world.shared.iter().filter(|(_, data)| !data.is_nobodys());
    let found: BTreeMap<String, _> = owned.map(|(p, d)| (p.clone(), (d.disk, d.size))).collect();
    if shared != found {
        problems.push(format!("shared files should be {shared:?}, are {found:?}"));
    }
    problems
}
