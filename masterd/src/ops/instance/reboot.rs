//! `OP_INSTANCE_REBOOT`.
//!
//! ```text
//!   │ it shall be up │ soft, hard: the node restarts it
//!                    │ full, or not running: stop, deactivate disks, activate them, start
//! ```

use super::{check, shutdown, startup};
use crate::config::{Change, Config, Object};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{OnFailure, Plan, Step, Task};
use crate::ops::disks::active::Assembling;
use crate::ops::disks::health;
use crate::ops::guest::guest;
use crate::ops::{Context, Operate};
use roost_proto::choices::{AdminState, AdminStateSource, RebootType};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Action, Question, RebootKind};
use roost_proto::opcodes::InstanceReboot;

/// What to do about a secondary node that does not answer.
const WAY_OUT: &str = "if it is dead mark it offline ('gnt-node modify --offline=yes'), or use \
                       the disks without it: --ignore-secondaries";

impl Operate for InstanceReboot {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        check::locks(config, &self.instance_name)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let instance = config.instance(&self.instance_name)?;
        let node = check::online_primary(config, instance)?.uuid;
        let mut questions = vec![(node, Question::Node), (node, Question::Guests)];
        let bridges = check::bridge_question(&guest(config, instance)?);
        questions.extend(bridges.map(|q| (node, q)));
        questions.extend(health::ask_secondaries(config, instance));
        Ok(questions)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let instance = config.instance(&self.instance_name)?;
        if instance.admin_state == AdminState::Offline {
            return Err(Error::wrong_state(format!(
                "Instance '{}' is marked offline; use 'gnt-instance modify --online' first",
                instance.name
            )));
        }
        let node = check::online_primary(config, instance)?.uuid;
        check::not_elsewhere(cx, instance, node)?;
        check::bridges(cx, node)?;
        let running = cx.runs_on(instance, node)?;
        let guest = Box::new(guest(config, instance)?);
        if !running {
            cx.info(format!("Instance {} was already stopped, starting now", instance.name));
            let what = format!("rebooting instance {}", instance.name);
            check::memory(cx, node, guest.minmem(), &what)?;
        }
        let kind = match self.reboot_type {
            RebootType::Soft => Some(RebootKind::Soft),
            RebootType::Hard => Some(RebootKind::Hard),
            RebootType::Full => None,
        };
        let kind = kind.filter(|_| running);
        let without = match kind {
            Some(_) => vec![],
            None => health::away(cx, instance, self.ignore_secondaries, WAY_OUT)?,
        };
        let mut plan = cx.start_plan();
        let mut new = (**instance).clone();
        new.admin_state = AdminState::Up;
        new.admin_state_source = AdminStateSource::Admin;
        new.disks_active = !new.disks.is_empty();
        if new != **instance {
            plan.pivot.changes.push(Change::Update(Object::Instance(Box::new(new))));
        }
        match kind {
            Some(kind) => {
                let timeout = self.shutdown_timeout;
                let action = Action::GuestReboot { guest, kind, timeout };
                plan.after.push(Step::new("rebooting instance", Task::on(node, action)));
            }
            None => {
                if running {
                    plan.after.push(shutdown::stop(instance, node, self.shutdown_timeout));
                    plan.after.extend(shutdown::let_go(config, instance)?);
                }
                let how = Assembling { without, ..Assembling::default() };
                let start = startup::start(config, instance, node, guest, false, &how)?;
                // After the pivot nothing is undone.
                plan.after.extend(start.into_iter().map(|step| Step {
                    undo: None,
                    on_failure: OnFailure::Fail,
                    ..step
                }));
            }
        }
        Ok(plan)
    }
}
