//! `OP_INSTANCE_SHUTDOWN`.
//!
//! ```text
//!   │ it shall be down │ stop it, deactivate its disks
//! ```

use super::check;
use crate::config::{Change, Config, Object};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{OnFailure, Plan, Step, Task};
use crate::ops::disks::{active, health};
use crate::ops::guest::instance_ref;
use crate::ops::{Context, Operate};
use roost_proto::choices::{AdminState, AdminStateSource};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::Action;
use roost_proto::objects::{Disk, Instance};
use roost_proto::opcodes::InstanceShutdown;

impl Operate for InstanceShutdown {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        check::locks(config, &self.instance_name)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let instance = config.instance(&self.instance_name)?;
        if instance.admin_state == AdminState::Offline && !self.force {
            return Err(Error::wrong_state(format!(
                "Instance '{}' is marked offline, it should not be running; use --force to shut it \
                 down all the same",
                instance.name
            )));
        }
        let node = config.node_by_id(instance.primary_node)?;
        let offline = node.offline;
        if offline && !self.ignore_offline_nodes {
            check::online_primary(config, instance)?;
        }
        if offline {
            cx.warn("Primary node offline, marked instance as stopped");
        }
        let mut plan = cx.start_plan();
        let mut new = (**instance).clone();
        if !self.no_remember {
            if new.admin_state == AdminState::Up {
                new.admin_state = AdminState::Down;
            }
            new.admin_state_source = self.admin_state_source.unwrap_or(AdminStateSource::Admin);
        }
        new.disks_active = false;
        if new != **instance {
            plan.pivot.changes.push(Change::Update(Object::Instance(Box::new(new))));
        }
        if !offline {
            plan.after.push(stop(instance, node.uuid, self.timeout));
            plan.after.extend(let_go(config, instance)?);
        }
        Ok(plan)
    }
}

/// Stops the guest.
pub fn stop(instance: &Instance, node: NodeId, timeout: u64) -> Step {
    let action = Action::GuestStop {
        instance: instance_ref(instance),
        hypervisor: instance.hypervisor,
        timeout,
    };
    Step::new("shutting down instance", Task::on(node, action))
}

/// Lets go of its disks on all their nodes that are not marked offline.
pub fn let_go(config: &Config, instance: &Instance) -> Result<Vec<Step>> {
    let without = health::offline(config, instance);
    let disks = health::stored(config, instance);
    active::shutdown(config, &instance_ref(instance), &disks, instance.primary_node, &without)
}

/// Lets go of disks that are on one node only, if it has any. A failure leaves something active that need not be.
pub fn deactivate(instance: &Instance, node: NodeId, disks: Vec<Disk>) -> Option<Step> {
    if disks.is_empty() {
        return None;
    }
    let action = Action::DisksShutdown { instance: instance_ref(instance), disks };
    let step = Step::new("deactivating instance disks", Task::on(node, action));
    Some(step.on_failure(OnFailure::Warn))
}
