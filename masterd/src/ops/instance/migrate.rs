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
use super::{check, migrate_disks};
use crate::config::Config;
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{OnFailure, Plan, Step, Task};
use crate::ops::disks::{active, health, moving};
use crate::ops::guest::{guest, instance_ref};
use crate::ops::{Context, Operate};
use roost_proto::choices::{AdminState, MigrationMode as Mode};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Action, GuestReport, MigrationMode, Question};
use roost_proto::objects::Instance;
use roost_proto::opcodes::InstanceMigrate;
use roost_proto::params::fill;

/// Ganeti's grace for a guest that has to be stopped instead, seconds.
const SHUTDOWN_TIMEOUT: u64 = 120;

/// Where it is to go.
pub fn wanted(op: &InstanceMigrate) -> Wanted<'_> {
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
        if migrate_disks::applies(self, config)? {
            return migrate_disks::locks(self, config);
        }
        failover::locks(config, &self.instance_name, wanted(self))
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        if self.cleanup {
            return Ok(online(config).into_iter().map(|n| (n, Question::Guests)).collect());
        }
        if migrate_disks::applies(self, config)? {
            return migrate_disks::questions(self, config);
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

    fn further(&self, cx: &mut Context<'_, '_>) -> Result<Vec<(NodeId, Question)>> {
        if self.cleanup {
            return Ok(vec![]);
        }
        let (config, wanted) = (cx.config(), wanted(self));
        let instance = config.instance(&self.instance_name)?;
        let nodes = match migrate_disks::applies(self, config)? {
            true => relocate::anywhere(config, instance, wanted)?,
            false => relocate::possible(config, instance, wanted)?,
        };
        relocate::further(cx, instance, wanted, &nodes)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let instance = config.instance(&self.instance_name)?;
        if self.cleanup {
            return cleanup(cx, instance);
        }
        if migrate_disks::applies(self, config)? {
            return migrate_disks::plan(self, cx, instance);
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

        let disks = health::stored(config, instance);
        let who = instance_ref(instance);
        let ends = (source.uuid, target.uuid);
        consistent(cx, instance, ends)?;
        // A name for this migration that its two ends know and nobody else can guess.
        let token = cx.uuid().to_string();
        let mut plan = cx.start_plan();
        plan.say.push("* checking disk consistency between source and target".into());
        let on_target = |action| Task::on(target.uuid, action);
        plan.before.extend(moving::share(config, &who, &disks, ends)?);
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
        plan.after.extend(moving::settle(config, &who, &disks, ends)?);
        if let Some(last) = plan.after.last_mut() {
            last.say = Some("* done".into());
        }
        Ok(plan)
    }
}

fn online(config: &Config) -> Vec<NodeId> {
    config.online_nodes().filter(|n| n.vm_capable).map(|n| n.uuid).collect()
}

fn is_online(config: &Config, node: NodeId) -> bool {
    config.nodes.get(&node).is_some_and(|node| !node.offline)
}

fn always_failover(config: &Config, instance: &Instance) -> bool {
    fill::instance_beparams(&config.cluster, instance).always_failover
}

/// Why it has to be a failover, if it has.
pub fn needs_failover(cx: &Context<'_, '_>, instance: &Instance) -> Result<Option<String>> {
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

/// Both sides of mirrors are equal: the guest must find on the target what it left.
fn consistent(
    cx: &Context<'_, '_>,
    instance: &Instance,
    (source, target): (NodeId, NodeId),
) -> Result<()> {
    let problems = health::objections(cx, instance, target, source, true)?;
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::wrong_state(format!(
        "Instance {} can't be migrated: {}",
        instance.name,
        problems.join("; ")
    )))
}

/// Live or not: as asked for, or as the hypervisor parameter says.
pub fn mode(op: &InstanceMigrate, config: &Config, instance: &Instance) -> Result<MigrationMode> {
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
pub fn hypervisor_works(cx: &Context<'_, '_>, node: NodeId) -> Result<()> {
    let asked = |q: &Question| matches!(q, Question::HvValidate { .. });
    cx.answer(node, asked, |answer| matches!(answer, roost_proto::node::Answer::Done).then_some(()))
}

/// Hypervisors of different versions may not understand each other.
pub fn compare_versions(
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
    let disks = health::stored(config, instance);
    let who = instance_ref(instance);
    let secondaries = config.secondaries(instance);
    let mut plan = cx.start_plan();
    if node == instance.primary_node {
        plan.say.push(format!(
            "* instance confirmed to be running on its primary node ({})",
            config.node_name(node)
        ));
        // A migration that broke off may have left mirrors open for two.
        let mirrors: Vec<_> = disks.iter().filter(|d| active::is_mirror(d)).cloned().collect();
        for other in secondaries.into_iter().filter(|id| is_online(config, *id)) {
            plan.after.extend(moving::give_up(config, &who, &mirrors, (other, node))?);
        }
    } else {
        if !secondaries.is_empty() && !secondaries.contains(&node) {
            return Err(Error::wrong_state(format!(
                "Instance {} runs on node {}, which has no mirror of its disks; shut it down there",
                instance.name,
                config.node_name(node)
            )));
        }
        plan.say.push(format!(
            "* instance running on secondary node ({}), updating config",
            config.node_name(node)
        ));
        plan.pivot.changes.push(relocate::new_primary(instance, node));
        let old = instance.primary_node;
        if is_online(config, old) {
            plan.after.extend(moving::give_up(config, &who, &disks, (old, node))?);
        }
        // Where the guest is, there are its disks: those here are the ones it was moved away from.
        migrate_disks::found_elsewhere(&mut plan, config, instance, node)?;
    }
    let here = active::on_node(config, node, node, &disks)?;
    if !here.is_empty() {
        // A migration that broke off may have left them open for two.
        let open = Action::DisksOpen { instance: who, disks: here, exclusive: true };
        plan.after.push(
            Step::new("opening disks exclusively", Task::on(node, open))
                .on_failure(OnFailure::Warn),
        );
    }
    plan.after.last_mut().into_iter().for_each(|step| step.say = Some("* done".into()));
    Ok(plan)
}
