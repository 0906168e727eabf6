//! `OP_INSTANCE_ACTIVATE_DISKS`, `OP_INSTANCE_DEACTIVATE_DISKS`.

use super::{check, shutdown};
use crate::config::{Change, Config, Object};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{OnFailure, Plan, Step, Task};
use crate::ops::guest::{disks, instance_ref};
use crate::ops::{Context, Operate};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Action, DiskRole, Question};
use roost_proto::objects::Instance;
use roost_proto::opcodes::{InstanceActivateDisks, InstanceDeactivateDisks};

impl Operate for InstanceActivateDisks {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        check::locks(config, &self.instance_name)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let instance = config.instance(&self.instance_name)?;
        let node = check::online_primary(config, instance)?.uuid;
        let disks = disks(config, instance)?;
        let mut plan = cx.start_plan();
        if disks.is_empty() {
            plan.result = serde_json::json!([]);
            return Ok(plan);
        }
        let who = instance_ref(instance);
        let role = DiskRole::Primary;
        let assemble = Action::DisksAssemble {
            instance: who.clone(),
            disks: disks.clone(),
            role,
            force: false,
            ignore_size: false,
            alone: false,
        };
        let mut step = Step::new("activating instance disks", Task::on(node, assemble));
        step.returns_devices = true;
        if !instance.disks_active {
            let shutdown = Action::DisksShutdown { instance: who, disks };
            step = step.undone_by(Task::on(node, shutdown));
        }
        plan.before.push(step);
        plan.pivot.changes.extend(active(instance, true));
        Ok(plan)
    }
}

impl Operate for InstanceDeactivateDisks {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        check::locks(config, &self.instance_name)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let instance = config.instance(&self.instance_name)?;
        Ok(vec![(check::online_primary(config, instance)?.uuid, Question::Guests)])
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let instance = config.instance(&self.instance_name)?;
        let node = check::online_primary(config, instance)?.uuid;
        if !self.force && cx.runs_on(instance, node)? {
            return Err(Error::wrong_state(format!(
                "Instance {} is running, its disks can't be deactivated; shut it down first",
                instance.name
            )));
        }
        let mut plan = cx.start_plan();
        plan.pivot.changes.extend(active(instance, false));
        let step = shutdown::deactivate(instance, node, disks(config, instance)?);
        plan.after.extend(step.map(|step| step.on_failure(OnFailure::Fail)));
        Ok(plan)
    }
}

/// The instance with its disks meant to be active, or not; nothing if it says so already.
fn active(instance: &Instance, active: bool) -> Option<Change> {
    let mut new = instance.clone();
    new.disks_active = active;
    (instance.disks_active != active).then(|| Change::Update(Object::Instance(Box::new(new))))
}
