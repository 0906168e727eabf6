//! `OP_INSTANCE_STARTUP`.
//!
//! ```text
//!   assemble disks, start │ it shall be up │
//! ```

use super::check;
use crate::config::{Change, Config, Object};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{Plan, Step, Task};
use crate::ops::disks::active::{self, Assembling};
use crate::ops::disks::health;
use crate::ops::guest::{guest, instance_ref};
use crate::ops::{Context, Operate};
use roost_proto::choices::{AdminState, AdminStateSource};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Action, DiskRole, GuestSpec, Question};
use roost_proto::objects::Instance;
use roost_proto::opcodes::InstanceStartup;
use roost_proto::params::{backend, fill, hypervisor};

/// What to do about a secondary node that does not answer.
pub const WAY_OUT: &str = "if it is dead mark it offline ('gnt-node modify --offline=yes'), or use \
                           the disks without it: --force";

impl Operate for InstanceStartup {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        check::locks(config, &self.instance_name)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let instance = config.instance(&self.instance_name)?;
        let node = config.node_by_id(instance.primary_node)?;
        if node.offline {
            return Ok(vec![]);
        }
        let guest = guest_now(self, config, instance)?;
        let mut questions = vec![(node.uuid, Question::Node), (node.uuid, Question::Guests)];
        questions.extend(check::bridge_question(&guest).map(|q| (node.uuid, q)));
        questions.extend(health::ask_secondaries(config, instance));
        if !self.hvparams.is_empty() {
            let hvparams = guest.hvparams.clone();
            let hypervisor = instance.hypervisor;
            questions.push((node.uuid, Question::HvValidate { hypervisor, hvparams }));
        }
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
        let node = config.node_by_id(instance.primary_node)?;
        if node.offline {
            if !self.ignore_offline_nodes {
                check::online_primary(config, instance)?;
            }
            cx.warn("Primary node offline, marked instance as started");
            let mut plan = cx.start_plan();
            plan.pivot.changes.extend(change(self, instance));
            return Ok(plan);
        }
        for (_, question, answer) in cx.answers() {
            if matches!(question, Question::HvValidate { .. }) {
                answer.as_ref().map_err(Clone::clone)?;
            }
        }
        check::not_elsewhere(cx, instance, node.uuid)?;
        let running = cx.runs_on(instance, node.uuid)?;
        let guest = Box::new(guest_now(self, config, instance)?);
        if !running {
            check::bridges(cx, node.uuid)?;
            let what = format!("starting instance {}", instance.name);
            check::memory(cx, node.uuid, guest.minmem(), &what)?;
        }
        let without = match running {
            true => vec![],
            false => health::away(cx, instance, self.force, WAY_OUT)?,
        };
        let mut plan = cx.start_plan();
        if !running {
            let how = Assembling { without, ..Assembling::default() };
            let paused = self.startup_paused;
            plan.before.extend(start(config, instance, node.uuid, guest, paused, &how)?);
        }
        plan.pivot.changes.extend(change(self, instance));
        Ok(plan)
    }
}

/// The guest with the parameters that are only for this start.
fn guest_now(op: &InstanceStartup, config: &Config, instance: &Instance) -> Result<GuestSpec> {
    let mut guest = guest(config, instance)?;
    if !op.hvparams.is_empty() {
        let scope = hypervisor::Scope::Instance;
        let own = hypervisor::typed(instance.hypervisor, &op.hvparams, scope)?;
        guest.hvparams = fill::layers(guest.hvparams, [Some(&own)]);
        hypervisor::check_hvparams(instance.hypervisor, &guest.hvparams)?;
    }
    if !op.beparams.is_empty() {
        let own = backend::typed(&op.beparams)?;
        guest.beparams = fill::layers(guest.beparams, [Some(&own)]);
        roost_proto::params::FilledBe::from_map(&guest.beparams).check()?;
    }
    Ok(guest)
}

/// From now on it shall be up.
fn change(op: &InstanceStartup, instance: &Instance) -> Option<Change> {
    let mut new = instance.clone();
    if !op.no_remember {
        new.admin_state = AdminState::Up;
        new.admin_state_source = AdminStateSource::Admin;
    }
    new.disks_active = !new.disks.is_empty();
    (new != *instance).then(|| Change::Update(Object::Instance(Box::new(new))))
}

/// The steps that start a guest that does not run on `node`: its disks on all their nodes, then it.
pub fn start(
    config: &Config,
    instance: &Instance,
    node: NodeId,
    guest: Box<GuestSpec>,
    paused: bool,
    how: &Assembling,
) -> Result<Vec<Step>> {
    let who = instance_ref(instance);
    let disks = health::stored(config, instance);
    let mut steps = active::assemble(config, &who, &disks, node, how)?;
    if instance.disks_active {
        // They were before: a guest that does not start changes nothing about it.
        steps.iter_mut().for_each(|step| step.undo = None);
    }
    let stop = Action::GuestStop { instance: who, hypervisor: instance.hypervisor, timeout: 0 };
    steps.push(
        Step::new("starting instance", Task::on(node, Action::GuestStart { guest, paused }))
            .undone_by(Task::on(node, stop)),
    );
    Ok(steps)
}

/// The same for disks that are on that node only.
pub fn steps(instance: &Instance, node: NodeId, guest: Box<GuestSpec>, paused: bool) -> Vec<Step> {
    let who = instance_ref(instance);
    let disks: Vec<_> = guest.disks.iter().map(|d| d.disk.clone()).collect();
    let mut steps = Vec::new();
    if !disks.is_empty() {
        let role = DiskRole::Primary;
        let assemble = Action::DisksAssemble {
            instance: who.clone(),
            disks: disks.clone(),
            role,
            force: false,
            ignore_size: false,
            alone: false,
        };
        let shutdown = Action::DisksShutdown { instance: who.clone(), disks };
        steps.push(
            Step::new("activating instance disks", Task::on(node, assemble))
                .undone_by(Task::on(node, shutdown)),
        );
    }
    let stop = Action::GuestStop { instance: who, hypervisor: instance.hypervisor, timeout: 0 };
    steps.push(
        Step::new("starting instance", Task::on(node, Action::GuestStart { guest, paused }))
            .undone_by(Task::on(node, stop)),
    );
    steps
}
