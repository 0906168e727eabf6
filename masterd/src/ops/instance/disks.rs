//! `OP_INSTANCE_ACTIVATE_DISKS`, `OP_INSTANCE_DEACTIVATE_DISKS`.
//!
//! ```text
//!   activate     secondaries, then the primary │ they shall be active │ wait until equal, if asked
//!   deactivate   │ they shall not │ the primary, then secondaries
//! ```

use super::{check, shutdown};
use crate::config::{Change, Config, Object};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{OnFailure, Plan};
use crate::ops::disks::active::{self, Assembling};
use crate::ops::disks::health;
use crate::ops::guest::instance_ref;
use crate::ops::{Context, Operate};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::Question;
use roost_proto::objects::Instance;
use roost_proto::opcodes::{InstanceActivateDisks, InstanceDeactivateDisks};

/// What to do about a secondary node that does not answer.
const WAY_OUT: &str = "if it is dead mark it offline ('gnt-node modify --offline=yes')";

impl Operate for InstanceActivateDisks {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        check::locks(config, &self.instance_name)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        Ok(health::ask_secondaries(config, config.instance(&self.instance_name)?))
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let instance = config.instance(&self.instance_name)?;
        let node = check::online_primary(config, instance)?.uuid;
        let without = health::away(cx, instance, false, WAY_OUT)?;
        let disks = health::stored(config, instance);
        let who = instance_ref(instance);
        let mut plan = cx.start_plan();
        plan.result = serde_json::json!([]);
        let how = Assembling { ignore_size: self.ignore_size, without, ..Assembling::default() };
        plan.before = active::assemble(config, &who, &disks, node, &how)?;
        if let Some(step) = plan.before.last_mut() {
            step.returns_devices = true;
        }
        if instance.disks_active {
            plan.before.iter_mut().for_each(|step| step.undo = None);
        }
        plan.pivot.changes.extend(active_disks(instance, !disks.is_empty()));
        if self.wait_for_sync {
            // They are active and stay so: only that they are not equal is an error.
            plan.after.extend(active::sync(config, &who, &disks, node)?);
        }
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
        plan.pivot.changes.extend(active_disks(instance, false));
        plan.after = shutdown::let_go(config, instance)?;
        for step in plan.after.iter_mut().filter(|step| step.task.nodes() == [node]) {
            step.on_failure = OnFailure::Fail;
        }
        Ok(plan)
    }
}

/// The instance with its disks meant to be active, or not; nothing if it says so already.
fn active_disks(instance: &Instance, active: bool) -> Option<Change> {
    let mut new = instance.clone();
    new.disks_active = active;
    (instance.disks_active != active).then(|| Change::Update(Object::Instance(Box::new(new))))
}
