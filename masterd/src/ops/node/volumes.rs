//! `OP_NODE_QUERYVOLS`: logical volumes on nodes, and whose they are.

use super::rows;
use crate::config::Config;
use crate::jobs::locks::{LockSet, Mode};
use crate::jobs::plan::Plan;
use crate::ops::{Context, Operate, locking, node};
use roost_proto::error::Result;
use roost_proto::ids::NodeId;
use roost_proto::node::{Answer, Question, VolumeReport};
use roost_proto::objects::{Disk, LogicalId};
use roost_proto::opcodes::NodeQueryvols;
use roost_proto::query::fields::NodeVolumeField as F;
use serde_json::{Value, json};
use std::collections::HashMap;

impl Operate for NodeQueryvols {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let mut locks = LockSet::new();
        locking::add_nodes(&mut locks, config, &self.nodes, Mode::Shared)?;
        Ok(locks)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let mut questions = Vec::new();
        for id in node::named(config, &self.nodes)? {
            if !config.node_by_id(id)?.offline {
                questions.push((id, Question::Volumes));
            }
        }
        Ok(questions)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let fields = rows::fields::<F>(&self.output_fields)?;
        let owners = owners(config);
        let mut result = Vec::new();
        for (id, _, answer) in cx.answers() {
            let name = config.node_name(*id);
            let volumes = match answer {
                Ok(Answer::Volumes(volumes)) => volumes,
                Ok(_) => continue,
                Err(error) => {
                    cx.warn(format!("Can't compute volume data on node {name}: {error}"));
                    continue;
                }
            };
            let mut volumes: Vec<_> = volumes.iter().collect();
            volumes.sort_by(|a, b| a.device.cmp(&b.device));
            for (volume, device) in volumes.iter().flat_map(|v| parts(v).map(move |at| (v, at))) {
                let owner = owners.get(&(*id, volume.vg.as_str(), volume.name.as_str()));
                let row = fields.iter().map(|field| match field {
                    F::Node => json!(name),
                    F::Phys => json!(device),
                    F::VolumeGroup => json!(volume.vg),
                    F::Name => json!(volume.name),
                    F::Size => json!(volume.size),
                    F::Instance => json!(owner.copied().unwrap_or("-")),
                });
                result.push(row.collect::<Value>());
            }
        }
        Ok(Plan { result: result.into(), ..cx.start_plan() })
    }
}

/// The physical volumes it lies on, each once: there is a row for each. A thin volume lies on none
/// of its own and is itself told.
fn parts(volume: &VolumeReport) -> impl Iterator<Item = &str> {
    let mut all: Vec<&str> = Vec::new();
    for part in volume.devices.split(',').filter(|part| !part.is_empty()) {
        let device = part.rsplit_once('(').map_or(part, |(device, _)| device);
        if !all.contains(&device) {
            all.push(device);
        }
    }
    if all.is_empty() {
        all.push(&volume.device);
    }
    all.into_iter()
}

/// Instances by node, volume group and volume.
fn owners(config: &Config) -> HashMap<(NodeId, &str, &str), &str> {
    fn add<'a>(
        owners: &mut HashMap<(NodeId, &'a str, &'a str), &'a str>,
        nodes: &[NodeId],
        disk: &'a Disk,
        instance: &'a str,
    ) {
        if let (LogicalId::Pair(vg, volume), true) = (&disk.logical_id, disk.dev_type.uses_lvm()) {
            for node in nodes {
                owners.insert((*node, vg.as_str(), volume.as_str()), instance);
            }
        }
        for child in &disk.children {
            add(owners, nodes, child, instance);
        }
    }
    let mut owners = HashMap::new();
    for instance in config.instances.values() {
        for id in &instance.disks {
            if let Some(disk) = config.disks.get(id) {
                add(&mut owners, &disk.nodes, disk, &instance.name);
            }
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Change, Object};
    use crate::ops::testing::Site;
    use roost_proto::choices::DiskTemplate;
    use roost_proto::error::Error;

    fn op(fields: &[&str]) -> NodeQueryvols {
        NodeQueryvols::new(fields.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn volumes_and_their_owners() {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        site.node("node3", |n| n.offline = true);
        site.instance("web", "node1", |_| {});
        site.disk("web", DiskTemplate::Plain, "lv0");
        let mut disk = (**site.config.disks.values().next().expect("one")).clone();
        disk.logical_id = LogicalId::Pair("xenvg".into(), "lv0".into());
        disk.nodes = vec![site.config.node("node1").expect("it").uuid];
        site.apply(&[Change::Update(Object::Disk(Box::new(disk)))]);
        assert_eq!(site.questions(op(&["node"])).len(), 2);
        let volume = |name: &str| VolumeReport {
            device: format!("/dev/xenvg/{name}"),
            vg: "xenvg".into(),
            name: name.into(),
            size: 1024,
            devices: if name == "lv0" { "/dev/sda(0),/dev/sdb(0),/dev/sda(9)" } else { "" }.into(),
            ..VolumeReport::default()
        };
        let volumes = vec![volume("swap"), volume("lv0")];
        site.answer("node1", Question::Volumes, Ok(Answer::Volumes(volumes)));
        site.answer("node2", Question::Volumes, Err(Error::exec("no lvm")));
        let fields = ["node", "phys", "vg", "name", "size", "instance"];
        let plan = site.plan(op(&fields)).expect("a plan");
        assert_eq!(
            plan.result,
            json!([
                ["node1", "/dev/sda", "xenvg", "lv0", 1024, "web"],
                ["node1", "/dev/sdb", "xenvg", "lv0", 1024, "web"],
                ["node1", "/dev/xenvg/swap", "xenvg", "swap", 1024, "-"],
            ])
        );
        assert_eq!(plan.say, [" - WARNING: Can't compute volume data on node node2: no lvm"]);
        assert_eq!(
            site.refusal(op(&["node", "colour"])),
            Error::wrong_input(
                "Unknown output fields selected: colour; there are: node, phys, vg, name, size, \
                 instance"
            )
        );
    }
}
