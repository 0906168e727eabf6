//! `OP_INSTANCE_FAILOVER`.
//!
//! ```text
//!   stop it on the old node (if that lives) │ primary := new │ start it there
//! ```
//!
//! With mirrors the target is the other side: it is asked first whether its data is good. The old
//! primary gets the mirror, if it is there.
//!
//! An instance must never run twice. If its node does not answer, nobody can say that it does not
//! run: the administrator says so, by marking the node offline.

use super::{check, relocate, shutdown, startup};
use crate::config::{Change, Config, Object};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{OnFailure, Plan, Step, Task};
use crate::ops::disks::active::{self, Assembling};
use crate::ops::disks::health;
use crate::ops::guest::{guest, instance_ref};
use crate::ops::{Context, Operate};
use relocate::Wanted;
use roost_proto::choices::AdminState;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Action, Question};
use roost_proto::objects::{Disk, Instance};
use roost_proto::opcodes::InstanceFailover;

/// What a failover does, whoever asked for it.
#[derive(Clone, Copy, Debug)]
pub struct Failover<'a> {
    pub wanted: Wanted<'a>,
    pub shutdown_timeout: u64,
    pub ignore_consistency: bool,
}

fn failover(op: &InstanceFailover) -> Failover<'_> {
    Failover {
        wanted: Wanted {
            node: op.target_node_uuid.as_deref().or(op.target_node.as_deref()),
            iallocator: op.iallocator.as_deref(),
            ignore_ipolicy: op.ignore_ipolicy,
        },
        shutdown_timeout: op.shutdown_timeout,
        ignore_consistency: op.ignore_consistency,
    }
}

impl Operate for InstanceFailover {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        locks(config, &self.instance_name, failover(self).wanted)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        questions(config, &self.instance_name, failover(self).wanted)
    }

    fn further(&self, cx: &mut Context<'_, '_>) -> Result<Vec<(NodeId, Question)>> {
        let (config, wanted) = (cx.config(), failover(self).wanted);
        let instance = config.instance(&self.instance_name)?;
        let nodes = relocate::possible(config, instance, wanted)?;
        relocate::further(cx, instance, wanted, &nodes)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let instance = cx.config().instance(&self.instance_name)?;
        plan(cx, instance, failover(self))
    }
}

/// Locks for moving an instance: it alone, its node and where it may go.
pub fn locks(config: &Config, name: &str, wanted: Wanted<'_>) -> Result<LockSet> {
    let mut locks = check::locks(config, name)?;
    let instance = config.instance(name)?;
    check::lock_nodes(&mut locks, config, &relocate::possible(config, instance, wanted)?);
    Ok(locks)
}

/// What both ends are asked.
pub fn questions(
    config: &Config,
    name: &str,
    wanted: Wanted<'_>,
) -> Result<Vec<(NodeId, Question)>> {
    let instance = config.instance(name)?;
    let mut questions = Vec::new();
    if !config.node_by_id(instance.primary_node)?.offline {
        questions.push((instance.primary_node, Question::Guests));
    }
    let bridges = check::bridge_question(&guest(config, instance)?);
    for node in relocate::possible(config, instance, wanted)? {
        questions.push((node, Question::Node));
        questions.push((node, Question::Guests));
        questions.extend(bridges.clone().map(|q| (node, q)));
        questions.extend(health::question(config, instance, node)?.map(|q| (node, q)));
    }
    Ok(questions)
}

/// The plan.
pub fn plan(cx: &mut Context<'_, '_>, instance: &Instance, failover: Failover<'_>) -> Result<Plan> {
    let config = cx.config();
    let source = config.node_by_id(instance.primary_node)?;
    let up = instance.admin_state == AdminState::Up;
    cx.say(format!("Failover instance {}", instance.name));
    let reachable = match (source.offline, cx.guests(source.uuid)) {
        (true, _) => {
            cx.info(format!("Node {} is offline, nothing is stopped there", source.name));
            false
        }
        (false, Ok(_)) => true,
        (false, Err(error)) if failover.ignore_consistency => {
            cx.warn(format!(
                "Could not reach node {} ({error}); going on as told, instance {} may still run \
                 there",
                source.name, instance.name
            ));
            false
        }
        (false, Err(error)) => {
            return Err(Error::environment(format!(
                "Can't tell whether instance {name} still runs on node {node}: {error}. If the \
                 machine is dead for certain, mark it offline ('gnt-node modify --offline=yes \
                 {node}') and retry; starting an instance twice destroys its disks",
                name = instance.name,
                node = source.name
            )));
        }
    };
    let guest = guest(config, instance)?;
    let memory = if up { guest.minmem() } else { 0 };
    let target = relocate::target(cx, instance, failover.wanted, memory)?;
    if up {
        for (other, view) in cx.seen() {
            let runs =
                view.guests.get(instance.name.as_str()).is_some_and(|g| g.state.is_running());
            if view.up && runs && *other != source.uuid {
                return Err(Error::wrong_state(format!(
                    "Instance {} runs on node {}, which is not its primary node; use \
                     'gnt-instance migrate --cleanup {}'",
                    instance.name,
                    config.node_name(*other),
                    instance.name
                )));
            }
        }
    }
    let running = reachable && cx.runs_on(instance, source.uuid)?;
    if up {
        cx.say("* checking disk consistency between source and target");
        let problems = health::objections(cx, instance, target.uuid, source.uuid, reachable)?;
        refuse(cx, instance, problems, failover.ignore_consistency)?;
    } else {
        cx.say("* not checking disk consistency as instance is not running");
    }

    let disks = health::stored(config, instance);
    let who = instance_ref(instance);
    let mut plan = cx.start_plan();
    if running {
        let start = Action::GuestStart { guest: Box::new(guest.clone()), paused: false };
        let mut stop = shutdown::stop(instance, source.uuid, failover.shutdown_timeout)
            .saying("* shutting down instance on source node")
            .undone_by(Task::on(source.uuid, start));
        if failover.ignore_consistency {
            stop = stop.on_failure(OnFailure::Warn);
        }
        plan.before.push(stop);
    }
    if reachable && !disks.is_empty() {
        let mut step = deactivate(config, instance, &disks)?;
        if !(instance.disks_active || running) {
            step.undo = None;
        }
        if failover.ignore_consistency {
            step = step.on_failure(OnFailure::Warn);
        }
        plan.before.push(step);
    }
    let mut new = instance.clone();
    new.primary_node = target.uuid;
    new.disks_active = up && !new.disks.is_empty();
    plan.pivot.changes.push(Change::Update(Object::Instance(Box::new(new.clone()))));
    let mut without = health::offline(config, &new);
    if !reachable {
        without.push(source.uuid);
    }
    if up {
        let mut moved = guest;
        moved.primary_node = target.uuid.to_string();
        let how = Assembling { force: failover.ignore_consistency, without, ..Default::default() };
        let steps = startup::start(config, &new, target.uuid, Box::new(moved), false, &how)?;
        for mut step in steps {
            step.undo = None;
            let on_target = step.task.nodes() == [target.uuid];
            if !on_target {
                // The old primary: its mirror follows when it can.
                step.on_failure = OnFailure::Warn;
            }
            step.say = on_target.then(|| match &step.task.action() {
                Some(Action::GuestStart { .. }) => {
                    format!("* starting the instance on the target node {}", target.name)
                }
                _ => format!("* activating the instance's disks on target node {}", target.name),
            });
            plan.after.push(step);
        }
    } else if instance.disks_active {
        // They were in use without it.
        let gone = without.iter().copied().chain([source.uuid]).collect::<Vec<_>>();
        plan.after.extend(active::shutdown(config, &who, &disks, target.uuid, &gone)?);
    }
    Ok(plan)
}

/// Lets go of the disks on the old primary. A guest that is started there again needs them.
fn deactivate(config: &Config, instance: &Instance, disks: &[Disk]) -> Result<Step> {
    let (source, who) = (instance.primary_node, instance_ref(instance));
    let shutdown = Action::DisksShutdown {
        instance: who.clone(),
        disks: active::on_node(config, source, source, disks)?,
    };
    let again = active::assemble(config, &who, disks, source, &Assembling::default())?;
    let again = again.into_iter().last().map(|step| step.task);
    let mut step = Step::new("deactivating disks on source node", Task::on(source, shutdown))
        .saying("* deactivating the instance's disks on source node");
    step.undo = again;
    Ok(step)
}

/// Data that may be old is not used, unless that is wanted.
fn refuse(
    cx: &mut Context<'_, '_>,
    instance: &Instance,
    problems: Vec<String>,
    ignore: bool,
) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    let problems = problems.join("; ");
    if ignore {
        cx.warn(format!("Going on as told (--ignore-consistency): {problems}"));
        return Ok(());
    }
    Err(Error::wrong_state(format!(
        "Instance {} can't be failed over: {problems}. If that data is to be used all the same, \
         use --ignore-consistency: what is newer elsewhere is lost then",
        instance.name
    )))
}
