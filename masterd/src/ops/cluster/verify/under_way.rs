//! What jobs under way are working on: not to be judged while it changes.

use crate::config::{Change, Config, Object, ObjectKey};
use crate::jobs::plan::{Plan, Step, Task};
use roost_proto::node::Action;
use roost_proto::objects::Disk;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Names of instances and paths of disks.
#[derive(Debug, Default)]
pub struct UnderWay {
    instances: BTreeSet<String>,
    paths: BTreeSet<String>,
    /// Some job changes the configuration.
    pub changes: bool,
}

impl UnderWay {
    /// From the plans.
    pub fn of(active: &[Arc<Plan>], config: &Config) -> UnderWay {
        let mut all = UnderWay::default();
        for plan in active {
            all.changes |= !plan.pivot.changes.is_empty();
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

    /// Whether a job works on this disk.
    pub fn path(&self, path: &str) -> bool {
        self.paths.contains(path)
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
        match action {
            Action::DisksCreate { disks, .. }
            | Action::DisksRemove { disks, .. }
            | Action::DisksReceive { disks, .. } => disks.iter().for_each(|d| self.add_disk(d)),
            Action::DisksRename { from, to, .. } | Action::DisksCopy { from, to, .. } => {
                from.iter().chain(to).for_each(|d| self.add_disk(d));
            }
            _ => {}
        }
    }

    fn add_disk(&mut self, disk: &Disk) {
        self.paths.extend(disk.path().map(str::to_owned));
        disk.children.iter().for_each(|child| self.add_disk(child));
    }
}
