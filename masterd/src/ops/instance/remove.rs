//! `OP_INSTANCE_REMOVE`.
//!
//! ```text
//!   stop it │ remove instance and disks │ remove the data, on all nodes that have some
//! ```

use super::check;
use crate::config::{Change, Config, ObjectKey};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{OnFailure, Plan, Step, Task};
use crate::ops::disks::{active, health};
use crate::ops::guest::{guest, instance_ref};
use crate::ops::{Context, Operate};
use roost_proto::error::Result;
use roost_proto::ids::NodeId;
use roost_proto::node::{Action, Question};
use roost_proto::opcodes::InstanceRemove;

/// What to do about a secondary node that does not answer.
const WAY_OUT: &str = "if it is dead mark it offline ('gnt-node modify --offline=yes'), or leave \
                       what is there for later: --ignore-failures";

impl Operate for InstanceRemove {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        check::locks(config, &self.instance_name)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let instance = config.instance(&self.instance_name)?;
        let node = config.node_by_id(instance.primary_node)?;
        let mut questions = health::ask_secondaries(config, instance);
        if !node.offline {
            questions.push((node.uuid, Question::Guests));
        }
        Ok(questions)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let instance = config.instance(&self.instance_name)?;
        let node = config.node_by_id(instance.primary_node)?;
        let reachable = if self.ignore_failures && (node.offline || cx.guests(node.uuid).is_err()) {
            cx.warn(format!(
                "Node {} can't be reached: what is on it of instance {} stays there until \
                 'gnt-cluster repair-debris' removes it",
                node.name, instance.name
            ));
            false
        } else {
            check::online_primary(config, instance)?;
            true
        };
        let running = reachable && cx.runs_on(instance, node.uuid)?;
        let mut away = health::away(cx, instance, self.ignore_failures, WAY_OUT)?;
        if !reachable {
            away.push(node.uuid);
        }
        let mut plan = cx.start_plan();
        let who = instance_ref(instance);
        let disks = health::stored(config, instance);
        if running {
            let timeout = self.shutdown_timeout;
            let hypervisor = instance.hypervisor;
            let stop = Action::GuestStop { instance: who.clone(), hypervisor, timeout };
            let start =
                Action::GuestStart { guest: Box::new(guest(config, instance)?), paused: false };
            let mut step = Step::new("shutting down instance", Task::on(node.uuid, stop))
                .undone_by(Task::on(node.uuid, start));
            if self.ignore_failures {
                step = step.on_failure(OnFailure::Warn);
            }
            plan.before.push(step);
        }
        plan.pivot.changes.push(Change::Remove(ObjectKey::Instance(instance.uuid)));
        plan.pivot
            .changes
            .extend(instance.disks.iter().map(|id| Change::Remove(ObjectKey::Disk(*id))));
        plan.pivot.say.push(format!("removing instance {} out of cluster config", instance.name));
        // What is on nodes that are away is not forgotten: it becomes debris.
        plan.after.extend(active::shutdown(config, &who, &disks, node.uuid, &away)?);
        plan.after.extend(active::remove(config, &who, &disks, node.uuid, &[])?);
        Ok(plan)
    }
}
