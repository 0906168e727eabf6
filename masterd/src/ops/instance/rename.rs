//! `OP_INSTANCE_RENAME`.
//!
//! ```text
//!   move its files │ new name │ tell the OS
//! ```

use super::check;
use crate::config::{Change, Config, Object};
use crate::jobs::locks::{Level, LockName, LockSet, Mode};
use crate::jobs::plan::{OnFailure, Plan, Step, Task};
use crate::ops::disks::active::{self, Assembling};
use crate::ops::disks::health;
use crate::ops::guest::{filled_disks, guest_with, instance_ref};
use crate::ops::{Context, Operate};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::names::InstanceName;
use roost_proto::node::{Action, OsScript, Question};
use roost_proto::objects::{Disk, Instance, LogicalId};
use roost_proto::opcodes::InstanceRename;
use roost_proto::params::fill;
use serde_json::json;

fn new_name(op: &InstanceRename) -> Result<InstanceName> {
    InstanceName::new(op.new_name.to_ascii_lowercase())
}

impl Operate for InstanceRename {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let name = LockName::new(Level::Instance, new_name(self)?);
        Ok(check::locks(config, &self.instance_name)?.with(name, Mode::Exclusive))
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let instance = config.instance(&self.instance_name)?;
        let node = check::online_primary(config, instance)?;
        Ok(vec![(node.uuid, Question::Guests)])
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let instance = config.instance(&self.instance_name)?;
        let name = new_name(self)?;
        let node = check::online_primary(config, instance)?;
        if cx.runs_on(instance, node.uuid)? {
            return Err(Error::wrong_state(format!(
                "Instance {} is running, it can be renamed only while it is down",
                instance.name
            )));
        }
        if name != instance.name && config.index.instance_by_name.contains_key(name.as_str()) {
            return Err(Error::exists(format!("Instance '{name}' is already in the cluster")));
        }
        let old: Vec<Disk> = config.disks_of(instance).iter().map(|d| (**d).clone()).collect();
        let new: Vec<Disk> = old.iter().map(|d| moved(d, &instance.name, &name)).collect();
        let mut renamed = Instance::clone(instance);
        renamed.name = name.clone();

        let mut plan = cx.start_plan();
        let on = |action| Task::on(node.uuid, action);
        let who = instance_ref(&renamed);
        let filled_new = filled_disks(config, node.uuid, &new)?;
        if old != new {
            let filled_old = filled_disks(config, node.uuid, &old)?;
            let there = Action::DisksRename {
                instance: who.clone(),
                from: filled_old.clone(),
                to: filled_new.clone(),
            };
            let back = Action::DisksRename {
                instance: instance_ref(instance),
                from: filled_new.clone(),
                to: filled_old,
            };
            plan.before.push(Step::new("renaming instance disks", on(there)).undone_by(on(back)));
        }
        for (disk, _) in new.iter().zip(&old).filter(|(new, old)| new != old) {
            plan.pivot.changes.push(Change::Update(Object::Disk(Box::new(disk.clone()))));
        }
        if renamed != **instance {
            plan.pivot.changes.push(Change::Update(Object::Instance(Box::new(renamed.clone()))));
        }
        if !renamed.os.is_empty() && !new.is_empty() {
            let mut guest = guest_with(config, &renamed, &new)?;
            guest.name = name.clone();
            let run = Action::OsRun {
                guest: Box::new(guest),
                script: OsScript::Rename { old_name: instance.name.to_string() },
                osparams: fill::osparams(&config.cluster, &renamed.os, &renamed.osparams),
                osparams_private: fill::osparams_private(
                    &config.cluster,
                    &renamed.os,
                    &renamed.osparams_private,
                ),
                debug: false,
            };
            // The name has changed whether the OS learns of it or not.
            let warn = OnFailure::Warn;
            let without = health::offline(config, instance);
            let how = Assembling { without: without.clone(), ..Assembling::default() };
            let assemble = active::assemble(config, &who, &new, node.uuid, &how)?;
            let assemble = assemble.into_iter().map(|step| Step { undo: None, ..step });
            plan.after.extend(assemble.map(|step| step.on_failure(warn)));
            plan.after.push(Step::new("running the OS rename script", on(run)).on_failure(warn));
            if !instance.disks_active {
                plan.after.extend(active::shutdown(config, &who, &new, node.uuid, &without)?);
            }
        }
        plan.result = json!(name);
        Ok(plan)
    }
}

/// A disk whose file is in the instance's directory goes to the directory of the new name.
fn moved(disk: &Disk, old: &InstanceName, new: &InstanceName) -> Disk {
    let mut moved = disk.clone();
    if !disk.dev_type.is_file_based() {
        return moved;
    }
    if let LogicalId::Pair(_, path) = &mut moved.logical_id
        && let Some((directory, file)) = path.rsplit_once('/')
        && let Some((above, own)) = directory.rsplit_once('/')
        && own == old.as_str()
    {
        *path = format!("{above}/{new}/{file}");
    }
    moved
}
