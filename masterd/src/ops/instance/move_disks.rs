//! `OP_INSTANCE_MOVE`: an instance with disks on one node goes to another, disks and all.
//!
//! ```text
//!   stop it, make disks there, copy │ primary := new │ remove the old disks, start
//! ```
//!
//! If anything fails before the pivot the new disks go and the instance runs where it was.

use super::{check, shutdown, startup};
use crate::config::{Change, Config, Object};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{OnFailure, Plan, Step, Task};
use crate::ops::backup;
use crate::ops::disks::active::{self, Assembling};
use crate::ops::disks::space;
use crate::ops::guest::{guest, guest_with, instance_ref};
use crate::ops::{Context, Operate};
use roost_proto::choices::AdminState;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Action, Question};
use roost_proto::objects::{Disk, Instance};
use roost_proto::opcodes::InstanceMove;

fn target_name(op: &InstanceMove) -> &str {
    op.target_node_uuid.as_deref().unwrap_or(&op.target_node)
}

impl Operate for InstanceMove {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let mut locks = check::locks(config, &self.instance_name)?;
        check::lock_nodes(&mut locks, config, &[config.node(target_name(self))?.uuid]);
        Ok(locks)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let instance = config.instance(&self.instance_name)?;
        let target = config.node(target_name(self))?;
        let source = check::online_primary(config, instance)?;
        let mut questions = vec![(source.uuid, Question::Guests), (target.uuid, Question::Node)];
        let bridges = check::bridge_question(&guest(config, instance)?);
        questions.extend(bridges.map(|q| (target.uuid, q)));
        Ok(questions)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let instance = config.instance(&self.instance_name)?;
        let source = check::online_primary(config, instance)?;
        let target = config.node(target_name(self))?;
        if source.uuid == target.uuid {
            return Err(Error::wrong_state(format!(
                "Instance {} is already on the node {}",
                instance.name, target.name
            )));
        }
        check::good_target(target)?;
        let old: Vec<Disk> = config.disks_of(instance).iter().map(|d| (**d).clone()).collect();
        if let Some(disk) = old.iter().find(|d| !d.dev_type.can_move()) {
            return Err(Error::wrong_state(format!(
                "Instance disk {} is of template '{}', which can't be copied to another node; use \
                 migrate or failover",
                disk.iv_name, disk.dev_type
            )));
        }
        check::bridges(cx, target.uuid)?;
        let up = instance.admin_state == AdminState::Up;
        let running = cx.runs_on(instance, source.uuid)?;
        let was = guest(config, instance)?;
        if up {
            let what = format!("moving instance {}", instance.name);
            check::memory(cx, target.uuid, was.maxmem(), &what)?;
        }
        for violation in check::ipolicy(config, instance, &old, target, self.ignore_ipolicy)? {
            cx.warn(violation);
        }
        let new: Vec<Disk> =
            old.iter().map(|disk| Disk { nodes: vec![target.uuid], ..disk.clone() }).collect();
        space::check(cx, &[target.uuid], &new)?;
        backup::check_tool(config, &self.compress)?;
        let mut moved = Instance::clone(instance);
        moved.primary_node = target.uuid;
        moved.disks_active = up && !new.is_empty();
        let there = active::on_node(config, target.uuid, target.uuid, &new)?;
        let here = active::on_node(config, source.uuid, source.uuid, &old)?;
        let token = cx.uuid().to_string();

        let mut plan = cx.start_plan();
        let who = instance_ref(instance);
        let on_source = |action| Task::on(source.uuid, action);
        let on_target = |action| Task::on(target.uuid, action);
        if running {
            let start = Action::GuestStart { guest: Box::new(was), paused: false };
            let mut stop = shutdown::stop(instance, source.uuid, self.shutdown_timeout)
                .saying(format!(
                    "Shutting down instance {} on source node {}",
                    instance.name, source.name
                ))
                .undone_by(on_source(start));
            if self.ignore_consistency {
                stop = stop.on_failure(OnFailure::Warn);
            }
            plan.before.push(stop);
        }
        if !instance.disks_active {
            let how = Assembling::default();
            plan.before.extend(active::assemble(config, &who, &old, source.uuid, &how)?);
        }
        plan.before.extend(active::create(config, &who, &new, target.uuid)?);
        if !new.is_empty() {
            let receive = Action::DisksReceive {
                instance: who.clone(),
                disks: there.clone(),
                token: token.clone(),
            };
            plan.before.push(Step::new("preparing target to receive", on_target(receive)));
            let copy = Action::DisksCopy {
                instance: who.clone(),
                from: here,
                to: there,
                target: target.uuid,
                address: target.primary_ip.clone(),
                token,
                compress: self.compress.clone(),
            };
            plan.before.push(Step::new("copying instance disks", on_source(copy)).saying(format!(
                "Copying disks of instance {} to node {}",
                instance.name, target.name
            )));
        }
        for disk in &new {
            plan.pivot.changes.push(Change::Update(Object::Disk(Box::new(disk.clone()))));
        }
        plan.pivot.changes.push(Change::Update(Object::Instance(Box::new(moved.clone()))));
        plan.after.extend(active::shutdown(config, &who, &old, source.uuid, &[])?);
        let mut gone = active::remove(config, &who, &old, source.uuid, &[])?;
        for step in &mut gone {
            step.name = "removing the disks on the original node".into();
            step.say = Some("Removing the disks on the original node".into());
        }
        plan.after.extend(gone);
        if up {
            let guest = Box::new(guest_with(config, &moved, &new)?);
            for step in startup::steps(&moved, target.uuid, guest, false) {
                plan.after.push(Step { undo: None, ..step });
            }
            if let Some(last) = plan.after.last_mut() {
                last.say =
                    Some(format!("Starting instance {} on node {}", instance.name, target.name));
            }
        } else {
            // Nothing writes over them any more.
            plan.after.extend(active::shutdown(config, &who, &new, target.uuid, &[])?);
        }
        Ok(plan)
    }
}
