//! What jobs under way are working on: not to be judged while it changes.

use crate::config::{Change, Config, Object, ObjectKey};
use crate::jobs::plan::{Plan, Step, Task};
use crate::ops::disks::minors;
use roost_proto::choices::DiskTemplate;
use roost_proto::ids::NodeId;
use roost_proto::node::Action;
use roost_proto::objects::{Disk, LogicalId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Names of instances, paths of disks, volumes (`vg/name`), minors.
#[derive(Debug, Default)]
pub struct UnderWay {
    instances: BTreeSet<String>,
    paths: BTreeSet<String>,
    minors: BTreeSet<(NodeId, u32)>,
    /// Some job changes the configuration.
    pub changes: bool,
}

impl UnderWay {
    /// From the plans.
    pub fn of(active: &[Arc<Plan>], config: &Config) -> UnderWay {
        let mut all = UnderWay::default();
        for plan in active {
            all.changes |= !plan.pivot.changes.is_empty() || !plan.pivot.rows.is_empty();
            for change in &plan.pivot.changes {
                all.add_change(change, config);
            }
            for Step { task, undo, .. } in plan.before.iter().chain(&plan.after) {
                for action in std::iter::once(task).chain(undo).filter_map(Task::action) {
                    all.add_action(action);
                }
            }
        }
        all
    }

    /// Whether a job works on this instance.
    pub fn instance(&self, name: &str) -> bool {
        self.instances.contains(name)
    }

    /// Whether a job works on this file or volume.
    pub fn path(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    /// Whether a job works on this mirror of a node.
    pub fn minor(&self, node: NodeId, minor: u32) -> bool {
        self.minors.contains(&(node, minor))
    }

    fn add_change(&mut self, change: &Change, config: &Config) {
        match change {
            Change::Add(Object::Instance(o)) | Change::Update(Object::Instance(o)) => {
                self.instances.insert(o.name.to_string());
            }
            Change::Add(Object::Disk(o)) | Change::Update(Object::Disk(o)) => self.add_disk(o),
            Change::Remove(ObjectKey::Instance(id)) => {
                let name = config.instances.get(id).map(|i| i.name.to_string());
                self.instances.extend(name);
            }
            Change::Remove(ObjectKey::Disk(id)) => {
                if let Some(disk) = config.disks.get(id) {
                    self.add_disk(disk);
                }
            }
            _ => {}
        }
    }

    fn add_action(&mut self, action: &Action) {
        // What an action is about is where its fields say so; read from its form for the wire, so
        // that a new action cannot be forgotten here.
        let Ok(value) = serde_json::to_value(action) else { return };
        for key in ["instance", "guest"] {
            let name = value.get(key).and_then(|of| of.get("name")).and_then(|name| name.as_str());
            self.instances.extend(name.map(str::to_owned));
        }
        minors::of_action(action).for_each(|disk| self.add_disk(disk));
    }

    fn add_disk(&mut self, disk: &Disk) {
        self.paths.extend(disk.path().map(str::to_owned));
        self.paths.extend(volumes(disk));
        for node in &disk.nodes {
            self.minors.extend(minors::minor_of(disk, *node).map(|minor| (*node, minor)));
        }
    }
}

/// The volumes (`vg/name`) that a disk stands on.
pub fn volumes(disk: &Disk) -> Vec<String> {
    match (&disk.logical_id, disk.dev_type) {
        (LogicalId::Pair(vg, name), DiskTemplate::Plain) => vec![format!("{vg}/{name}")],
        _ => disk.children.iter().flat_map(volumes).collect(),
    }
}
