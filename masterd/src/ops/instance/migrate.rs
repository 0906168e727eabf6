//! `OP_INSTANCE_MIGRATE`.
//!
//! ```text
//!   disks usable on both nodes, target accepts, memory moves │ primary := target │ clean the source
//! ```
//!
//! With `cleanup` nothing is moved: it is looked where the guest runs, and the configuration is
//! made to say so.

use super::failover::{self, Failover};
use super::relocate::{self, Wanted};
use super::{check, shutdown};
use crate::config::Config;
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{OnFailure, Plan, Step, Task};
use crate::ops::guest::{disks, guest, instance_ref};
use crate::ops::{Context, Operate};
use roost_proto::choices::{AdminState, MigrationMode as Mode};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Action, DiskRole, GuestReport, MigrationMode, Question};
use roost_proto::objects::Instance;
use roost_proto::opcodes::InstanceMigrate;
use roost_proto::params::fill;

/// Ganeti's grace for a guest that has to be stopped instead, seconds.
const SHUTDOWN_TIMEOUT: u64 = 120;

fn wanted(op: &InstanceMigrate) -> Wanted<'_> {
    Wanted {
        node: op.target_node_uuid.as_deref().or(op.target_node.as_deref()),
        iallocator: op.iallocator.as_deref(),
        ignore_ipolicy: op.ignore_ipolicy,
    }
}

impl Operate for InstanceMigrate {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        if self.cleanup {
            let mut locks = check::locks(config, &self.instance_name)?;
            check::lock_nodes(&mut locks, config, &online(config));
            return Ok(locks);
        }
        failover::locks(config, &self.instance_name, wanted(self))
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        if self.cleanup {
            return Ok(online(config).into_iter().map(|n| (n, Question::Guests)).collect());
        }
        let instance = config.instance(&self.instance_name)?;
        let mut questions = failover::questions(config, &self.instance_name, wanted(self))?;
        let hvparams = fill::instance_hvparams(&config.cluster, instance);
        let hypervisor = instance.hypervisor;
        for node in relocate::possible(config, instance, wanted(self))? {
            questions.push((node, Question::HvValidate { hypervisor, hvparams: hvparams.clone() }));
        }
        if !config.node_by_id(instance.primary_node)?.offline {
            questions.push((instance.primary_node, Question::Node));
        }
        Ok(questions)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let instance = config.instance(&self.instance_name)?;
        if self.cleanup {
            return cleanup(cx, instance);
        }
        if let Some(why) = needs_failover(cx, instance)? {
            if !self.allow_failover && !always_failover(config, instance) {
                return Err(Error::wrong_state(format!(
                    "Can't migrate, please use failover: {why}"
                )));
            }
            cx.info(format!("Can't migrate, falling back to failover: {why}"));
            let failover = Failover {
                wanted: wanted(self),
                shutdown_timeout: SHUTDOWN_TIMEOUT,
                ignore_consistency: false,
            };
            return failover::plan(cx, instance, failover);
        }
        let mode = mode(self, config, instance)?;
        cx.say(format!("Migrating instance {}", instance.name));
        let source = config.node_by_id(instance.primary_node)?;
        let guest = Box::new(guest(config, instance)?);
        let target = relocate::target(cx, instance, wanted(self), guest.minmem())?;
        hypervisor_works(cx, target.uuid)?;
        compare_versions(self, cx, instance, source.uuid, target.uuid)?;
        check::not_elsewhere(cx, instance, source.uuid)?;

        let disks = disks(config, instance)?;
        let who = instance_ref(instance);
        // A name for this migration that its two ends know and nobody else can guess.
        let token = cx.uuid().to_string();
        let mut plan = cx.start_plan();
        plan.say.push("* checking disk consistency between source and target".into());
        let on_target = |action| Task::on(target.uuid, action);
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
            let shutdown = Action::DisksShutdown { instance: who.clone(), disks: disks.clone() };
            plan.before.push(
                Step::new("activating disks on target", on_target(assemble))
                    .undone_by(on_target(shutdown)),
            );
            let open = |exclusive| Action::DisksOpen {
                instance: who.clone(),
                disks: disks.clone(),
                exclusive,
            };
            plan.before.push(
                Step::new("sharing disks on source", Task::on(source.uuid, open(false)))
                    .undone_by(Task::on(source.uuid, open(true))),
            );
            let close = Action::DisksClose { instance: who.clone(), disks: disks.clone() };
            plan.before.push(
                Step::new("opening disks on target", on_target(open(false)))
                    .saying(format!(
                        "* opening instance disks on node {} in shared mode",
                        target.name
                    ))
                    .undone_by(on_target(close)),
            );
        }
        let finish =
            |success| Action::MigrateFinish { guest: guest.clone(), token: token.clone(), success };
        let accept = Action::MigrateAccept { guest: guest.clone(), token: token.clone() };
        plan.before.push(
            Step::new("preparing target to accept the instance", on_target(accept))
                .saying(format!("* preparing {} to accept the instance", target.name))
                .undone_by(on_target(finish(false))),
        );
        let run = Action::MigrateRun {
            guest: guest.clone(),
            target: target.uuid,
            address: target.primary_ip.clone(),
            token: token.clone(),
            mode,
        };
        let mut moving = Step::new("migrating instance", Task::on(source.uuid, run))
            .saying(format!("* migrating instance to {}", target.name));
        moving.no_return = true;
        plan.before.push(moving);
        plan.pivot.changes.push(relocate::new_primary(instance, target.uuid));
        plan.after.push(
            Step::new("finishing on target", on_target(finish(true))).on_failure(OnFailure::Warn),
        );
        let forget = Action::GuestForget { instance: who.clone(), hypervisor: instance.hypervisor };
        plan.after.push(
            Step::new("cleaning up source", Task::on(source.uuid, forget))
                .on_failure(OnFailure::Warn),
        );
        if !disks.is_empty() {
            plan.after.extend(shutdown::deactivate(instance, source.uuid, disks.clone()));
            let open = Action::DisksOpen { instance: who, disks, exclusive: true };
            plan.after.push(
                Step::new("opening disks exclusively on target", on_target(open))
                    .on_failure(OnFailure::Warn),
            );
        }
        if let Some(last) = plan.after.last_mut() {
            last.say = Some("* done".into());
        }
        Ok(plan)
    }
}

fn online(config: &Config) -> Vec<NodeId> {
    config.online_nodes().filter(|n| n.vm_capable).map(|n| n.uuid).collect()
}

fn always_failover(config: &Config, instance: &Instance) -> bool {
    fill::instance_beparams(&config.cluster, instance).always_failover
}

/// Why it has to be a failover, if it has.
fn needs_failover(cx: &Context<'_, '_>, instance: &Instance) -> Result<Option<String>> {
    let config = cx.config();
    if always_failover(config, instance) {
        return Ok(Some("the backend parameter always_failover is set".into()));
    }
    if !instance.hypervisor.can_migrate() {
        return Ok(Some(format!("the hypervisor {} can't migrate", instance.hypervisor)));
    }
    let source = config.node_by_id(instance.primary_node)?;
    if source.offline {
        return Ok(Some(format!("its primary node {} is marked offline", source.name)));
    }
    if instance.admin_state != AdminState::Up {
        return Ok(Some(format!("instance {} is not meant to run", instance.name)));
    }
    match cx.runs_on(instance, source.uuid) {
        Ok(true) => Ok(None),
        Ok(false) => {
            Ok(Some(format!("instance {} does not run on {}", instance.name, source.name)))
        }
        Err(error) => Err(error),
    }
}

/// Live or not: as asked for, or as the hypervisor parameter says.
fn mode(op: &InstanceMigrate, config: &Config, instance: &Instance) -> Result<MigrationMode> {
    if op.live.is_some() && op.mode.is_some() {
        return Err(Error::wrong_input(
            "Only one of the 'live' and 'mode' parameters may be given",
        ));
    }
    let asked = op.mode.or(op.live.map(|live| if live { Mode::Live } else { Mode::NonLive }));
    let live = match asked {
        Some(mode) => mode == Mode::Live,
        None => {
            let hvparams = fill::instance_hvparams(&config.cluster, instance);
            hvparams.get("migration_mode").and_then(|m| m.as_str()) != Some("non-live")
        }
    };
    Ok(MigrationMode { live, copy_disks: false })
}

/// The target's hypervisor takes what the instance asks for.
fn hypervisor_works(cx: &Context<'_, '_>, node: NodeId) -> Result<()> {
    let asked = |q: &Question| matches!(q, Question::HvValidate { .. });
    cx.answer(node, asked, |answer| matches!(answer, roost_proto::node::Answer::Done).then_some(()))
}

/// Hypervisors of different versions may not understand each other.
fn compare_versions(
    op: &InstanceMigrate,
    cx: &mut Context<'_, '_>,
    instance: &Instance,
    source: NodeId,
    target: NodeId,
) -> Result<()> {
    let version = |node| -> Result<String> {
        let all = &cx.report(node)?.hypervisors;
        Ok(all.get(instance.hypervisor.as_str()).map(|a| a.version.clone()).unwrap_or_default())
    };
    let (from, to) = (version(source)?, version(target)?);
    if from == to {
        return Ok(());
    }
    let text =
        format!("hypervisor version mismatch between source ({from}) and target ({to}) node");
    if !op.ignore_hvversions {
        return Err(Error::environment(format!(
            "{text}: the guest may not survive; use --ignore-hvversions to try it all the same"
        )));
    }
    cx.say(format!("* warning: {text}"));
    Ok(())
}

/// Makes the configuration say where the guest runs.
fn cleanup(cx: &mut Context<'_, '_>, instance: &Instance) -> Result<Plan> {
    let config = cx.config();
    cx.say(
        "* checking where the instance actually runs (if this hangs, the hypervisor might be in a \
         bad state)",
    );
    let mut runs = Vec::new();
    for node in online(config) {
        let same = |g: &&GuestReport| g.name == instance.name.as_str() && g.state.is_running();
        match cx.guests(node) {
            Ok(guests) => runs.extend(guests.iter().find(same).map(|_| node)),
            Err(error) if node == instance.primary_node => return Err(error),
            Err(error) => cx.warn(format!(
                "node {} does not answer, it is not known what runs there: {error}",
                config.node_name(node)
            )),
        }
    }
    let node = match runs.as_slice() {
        [node] => *node,
        [] => {
            return Err(Error::wrong_state(format!(
                "Instance {} runs on no node; start it with 'gnt-instance startup', after a \
                 failover if its primary node is dead",
                instance.name
            )));
        }
        several => {
            let names: Vec<_> = several.iter().map(|n| config.node_name(*n)).collect();
            return Err(Error::wrong_state(format!(
                "Instance {} runs on several nodes ({}): shut it down by hand on all but one, its \
                 disks are in danger",
                instance.name,
                names.join(", ")
            )));
        }
    };
    cx.say(format!("* instance running on: {}", config.node_name(node)));
    let disks = disks(config, instance)?;
    let mut plan = cx.start_plan();
    if node == instance.primary_node {
        plan.say.push(format!(
            "* instance confirmed to be running on its primary node ({})",
            config.node_name(node)
        ));
    } else {
        plan.say.push(format!(
            "* instance running on secondary node ({}), updating config",
            config.node_name(node)
        ));
        plan.pivot.changes.push(relocate::new_primary(instance, node));
        let old = instance.primary_node;
        if !config.node_by_id(old)?.offline {
            plan.after.extend(shutdown::deactivate(instance, old, disks.clone()));
        }
    }
    if !disks.is_empty() {
        // A migration that broke off may have left them open for two.
        let open = Action::DisksOpen { instance: instance_ref(instance), disks, exclusive: true };
        plan.after.push(
            Step::new("opening disks exclusively", Task::on(node, open))
                .on_failure(OnFailure::Warn),
        );
    }
    plan.after.last_mut().into_iter().for_each(|step| step.say = Some("* done".into()));
    Ok(plan)
}
