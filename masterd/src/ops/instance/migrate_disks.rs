//! `OP_INSTANCE_MIGRATE` with `copy_disks`: a running instance goes to another node together with
//! the disks that only its own node has.
//!
//! ```text
//!   make disks on the target, usable there; accept; │ primary, and where │ finish; forget the guest,
//!   the hypervisor copies disks, then memory        │ its disks are      │ remove the source's disks
//! ```
//!
//! Until the guest has left, the source's disks are the ones that count and the target's are
//! removed by whatever goes wrong. The hypervisor writes what the guest writes to both sides, so
//! that at the moment of change both are equal. Disks that the target reaches anyway (on shared
//! storage) are opened there as in any migration.

use super::migrate::{self, wanted};
use super::{check, relocate, shutdown};
use crate::config::{Change, Config, Object};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{OnFailure, Plan, Step, Task};
use crate::ops::Context;
use crate::ops::disks::space;
use crate::ops::guest::{disks, filled_disks, guest, guest_with, instance_ref};
use roost_proto::capabilities::Mirroring;
use roost_proto::choices::{DiskMode, Hypervisor};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Action, Answer, DiskRole, InstanceRef, MigrationMode, Question};
use roost_proto::objects::{Disk, Instance};
use roost_proto::opcodes::InstanceMigrate;
use roost_proto::params::fill;

/// Whether this migration copies disks: it was asked for, and there are some to copy.
pub fn applies(op: &InstanceMigrate, config: &Config) -> Result<bool> {
    let instance = config.instance(&op.instance_name)?;
    Ok(op.copy_disks && !op.cleanup && config.disks_of(instance).iter().any(|d| is_local(d)))
}

/// Only its own node has it.
fn is_local(disk: &Disk) -> bool {
    disk.dev_type.mirroring() == Mirroring::None
}

/// Nodes it may go to. Errors: a disk that can be neither copied nor reached there.
fn possible(op: &InstanceMigrate, config: &Config, instance: &Instance) -> Result<Vec<NodeId>> {
    for disk in config.disks_of(instance) {
        let why = match disk.dev_type.mirroring() {
            Mirroring::Internal => "is mirrored, which other disks of the instance are not",
            Mirroring::None if disk.mode == DiskMode::Ro => {
                "is read-only, and hypervisors copy only what the guest may write; change its mode \
                 to rw, or use 'gnt-instance move'"
            }
            Mirroring::None | Mirroring::External => continue,
        };
        return Err(Error::wrong_state(format!(
            "Instance {} can't be migrated with its disks: {} (template '{}') {why}",
            instance.name, disk.iv_name, disk.dev_type
        )));
    }
    if !matches!(instance.hypervisor, Hypervisor::Kvm | Hypervisor::Fake) {
        return Err(Error::wrong_state(format!(
            "The hypervisor {} can't copy disks while instance {} runs; use 'gnt-instance move'",
            instance.hypervisor, instance.name
        )));
    }
    relocate::anywhere(config, instance, wanted(op))
}

/// The instance alone, its node and where it may go.
pub fn locks(op: &InstanceMigrate, config: &Config) -> Result<LockSet> {
    let mut locks = check::locks(config, &op.instance_name)?;
    let instance = config.instance(&op.instance_name)?;
    check::lock_nodes(&mut locks, config, &possible(op, config, instance)?);
    Ok(locks)
}

/// What a migration asks, and whether there is room for the disks.
pub fn questions(op: &InstanceMigrate, config: &Config) -> Result<Vec<(NodeId, Question)>> {
    let instance = config.instance(&op.instance_name)?;
    let mut questions = Vec::new();
    let source = config.node_by_id(instance.primary_node)?;
    let stored: Vec<Disk> = config.disks_of(instance).iter().map(|d| (**d).clone()).collect();
    if !source.offline {
        questions.push((source.uuid, Question::Guests));
        questions.push((source.uuid, Question::Node));
        let disks = filled_disks(config, source.uuid, &stored)?;
        questions.push((source.uuid, Question::Blocks { disks }));
    }
    let bridges = check::bridge_question(&guest(config, instance)?);
    let hvparams = fill::instance_hvparams(&config.cluster, instance);
    let hypervisor = instance.hypervisor;
    for node in possible(op, config, instance)? {
        questions.push((node, Question::Node));
        questions.push((node, Question::Guests));
        questions.extend(bridges.clone().map(|q| (node, q)));
        questions.push((node, Question::HvValidate { hypervisor, hvparams: hvparams.clone() }));
    }
    Ok(questions)
}

/// The plan.
pub fn plan(op: &InstanceMigrate, cx: &mut Context<'_, '_>, instance: &Instance) -> Result<Plan> {
    let config = cx.config();
    if let Some(why) = migrate::needs_failover(cx, instance)? {
        return Err(Error::wrong_state(format!(
            "Can't migrate with disks: {why}; use 'gnt-instance move' to copy them while the \
             instance is stopped"
        )));
    }
    let mode = MigrationMode { copy_disks: true, ..migrate::mode(op, config, instance)? };
    cx.say(format!("Migrating instance {}", instance.name));
    let source = config.node_by_id(instance.primary_node)?;
    let leaving = Box::new(guest(config, instance)?);
    let nodes = possible(op, config, instance)?;
    let target = relocate::choose(cx, instance, wanted(op), &nodes, leaving.minmem())?;
    migrate::hypervisor_works(cx, target.uuid)?;
    migrate::compare_versions(op, cx, instance, source.uuid, target.uuid)?;
    check::not_elsewhere(cx, instance, source.uuid)?;
    whole(cx, instance)?;

    let old: Vec<Disk> = config.disks_of(instance).iter().map(|d| (**d).clone()).collect();
    let new: Vec<Disk> = old.iter().map(|disk| moved(disk, target.uuid)).collect();
    let made: Vec<Disk> = new.iter().filter(|d| is_local(d)).cloned().collect();
    space::check(cx, &[target.uuid], &made)?;
    let mut arrived = instance.clone();
    arrived.primary_node = target.uuid;
    let arriving = Box::new(guest_with(config, &arrived, &new)?);
    let (here, there) = (disks(config, instance)?, filled_disks(config, target.uuid, &new)?);
    let who = instance_ref(instance);
    let token = cx.uuid().to_string();

    let mut plan = cx.start_plan();
    let on_source = |action| Task::on(source.uuid, action);
    let on_target = |action| Task::on(target.uuid, action);
    let made = filled_disks(config, target.uuid, &made)?;
    let create = Action::DisksCreate { instance: who.clone(), disks: made.clone() };
    let remove = Action::DisksRemove { instance: who.clone(), disks: made };
    plan.before.push(
        Step::new("creating disks on target", on_target(create))
            .saying(format!("* creating the instance's disks on node {}", target.name))
            .undone_by(on_target(remove)),
    );
    let assemble = Action::DisksAssemble {
        instance: who.clone(),
        disks: there.clone(),
        role: DiskRole::Primary,
        force: false,
        ignore_size: false,
        alone: false,
    };
    let close = Action::DisksShutdown { instance: who.clone(), disks: there.clone() };
    plan.before.push(
        Step::new("activating disks on target", on_target(assemble)).undone_by(on_target(close)),
    );
    plan.before.extend(share(&who, &here, &there, source.uuid, target.uuid));
    let finish =
        |success| Action::MigrateFinish { guest: arriving.clone(), token: token.clone(), success };
    let accept = Action::MigrateAccept { guest: arriving.clone(), token: token.clone() };
    plan.before.push(
        Step::new("preparing target to accept the instance", on_target(accept))
            .saying(format!("* preparing {} to accept the instance", target.name))
            .undone_by(on_target(finish(false))),
    );
    let run = Action::MigrateRun {
        guest: leaving,
        target: target.uuid,
        address: target.primary_ip.clone(),
        token: token.clone(),
        mode,
    };
    let mut moving = Step::new("migrating instance", on_source(run))
        .saying(format!("* migrating instance to {}, with its disks", target.name));
    moving.no_return = true;
    plan.before.push(moving);

    for disk in new.iter().filter(|d| is_local(d)) {
        plan.pivot.changes.push(Change::Update(Object::Disk(Box::new(disk.clone()))));
    }
    plan.pivot.changes.push(relocate::new_primary(instance, target.uuid));
    let warn = OnFailure::Warn;
    plan.after.push(Step::new("finishing on target", on_target(finish(true))).on_failure(warn));
    let forget = Action::GuestForget { instance: who.clone(), hypervisor: instance.hypervisor };
    plan.after.push(Step::new("cleaning up source", on_source(forget)).on_failure(warn));
    plan.after.extend(leave(instance, source.uuid, here));
    let shared: Vec<Disk> = there.into_iter().filter(|d| !is_local(d)).collect();
    if !shared.is_empty() {
        let open = Action::DisksOpen { instance: who, disks: shared, exclusive: true };
        plan.after.push(
            Step::new("opening disks exclusively on target", on_target(open)).on_failure(warn),
        );
    }
    plan.after.last_mut().into_iter().for_each(|step| step.say = Some("* done".into()));
    Ok(plan)
}

/// A disk as it is when its instance has moved.
fn moved(disk: &Disk, target: NodeId) -> Disk {
    match is_local(disk) {
        true => Disk { nodes: vec![target], ..disk.clone() },
        false => disk.clone(),
    }
}

/// Both nodes may write to the disks that both reach, for as long as it takes.
fn share(
    who: &InstanceRef,
    here: &[Disk],
    there: &[Disk],
    source: NodeId,
    target: NodeId,
) -> Vec<Step> {
    let reached = |all: &[Disk]| all.iter().filter(|d| !is_local(d)).cloned().collect::<Vec<_>>();
    let (here, there) = (reached(here), reached(there));
    if here.is_empty() {
        return vec![];
    }
    let open = |disks: &Vec<Disk>, exclusive| Action::DisksOpen {
        instance: who.clone(),
        disks: disks.clone(),
        exclusive,
    };
    let close = Action::DisksClose { instance: who.clone(), disks: there.clone() };
    vec![
        Step::new("sharing disks on source", Task::on(source, open(&here, false)))
            .undone_by(Task::on(source, open(&here, true))),
        Step::new("opening disks on target", Task::on(target, open(&there, false)))
            .undone_by(Task::on(target, close)),
    ]
}

/// Lets go of the disks on the node that the instance has left, and removes those that were copied.
fn leave(instance: &Instance, node: NodeId, here: Vec<Disk>) -> Vec<Step> {
    let copied: Vec<Disk> = here.iter().filter(|d| is_local(d)).cloned().collect();
    let mut steps: Vec<Step> = shutdown::deactivate(instance, node, here).into_iter().collect();
    if !copied.is_empty() {
        let gone = Action::DisksRemove { instance: instance_ref(instance), disks: copied };
        steps.push(
            Step::new("removing the disks on the original node", Task::on(node, gone))
                .saying("* removing the disks on the original node")
                .on_failure(OnFailure::Debris),
        );
    }
    steps
}

/// A migration with disks broke off and the guest was found on `node`: the disks that count are
/// where it is, and what was copied is left over on its former node.
pub fn found_elsewhere(
    plan: &mut Plan,
    config: &Config,
    instance: &Instance,
    node: NodeId,
) -> Result<()> {
    let local = config.disks_of(instance).into_iter().filter(|d| is_local(d));
    let local: Vec<Disk> = local.map(|d| (*d).clone()).collect();
    if local.is_empty() {
        return Ok(());
    }
    for disk in &local {
        plan.pivot.changes.push(Change::Update(Object::Disk(Box::new(moved(disk, node)))));
    }
    let old = instance.primary_node;
    let gone = Action::DisksRemove {
        instance: instance_ref(instance),
        disks: filled_disks(config, old, &local)?,
    };
    plan.after.push(
        Step::new("removing the disks on the former node", Task::on(old, gone))
            .on_failure(OnFailure::Debris),
    );
    Ok(())
}

/// The disks are there and as large as recorded: the target's are made by that size.
fn whole(cx: &Context<'_, '_>, instance: &Instance) -> Result<()> {
    let asked = |q: &Question| matches!(q, Question::Blocks { .. });
    let found = cx.answer(instance.primary_node, asked, |a| match a {
        Answer::Blocks(all) => Some(all),
        _ => None,
    })?;
    for (disk, status) in cx.config().disks_of(instance).iter().zip(found) {
        if let Some(size) = status.size.filter(|size| is_local(disk) && *size != disk.size) {
            return Err(Error::wrong_state(format!(
                "Disk {} of instance {} has {size} MiB and not {} as recorded; use 'gnt-cluster \
                 repair-disk-sizes {}' first",
                disk.iv_name, instance.name, disk.size, instance.name
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;
    use roost_proto::choices::DiskTemplate;
    use roost_proto::node::{BlockState, NodeReport};

    fn site() -> Site {
        let mut site = Site::new(&["node1", "node2"]);
        site.instance("web", "node1", |_| {});
        site.disk("web", DiskTemplate::File, "/srv/file/web/a");
        site.disk("web", DiskTemplate::SharedFile, "/srv/shared/web/b");
        site
    }

    fn op() -> InstanceMigrate {
        InstanceMigrate {
            copy_disks: true,
            target_node: Some("node2".into()),
            ..InstanceMigrate::new("web")
        }
    }

    fn answered(site: &mut Site, size: u64) {
        for (node, question) in site.questions(op()) {
            let answer = match &question {
                Question::Node => Answer::Node(Box::new(NodeReport {
                    memory_free: 4096,
                    ..NodeReport::default()
                })),
                Question::Guests if node == "node1" => {
                    Answer::Guests(vec![crate::ops::testing::running("web")])
                }
                Question::Guests => Answer::Guests(vec![]),
                Question::Blocks { disks } => Answer::Blocks(
                    disks
                        .iter()
                        .map(|_| roost_proto::node::BlockStatus {
                            size: Some(size),
                            ..crate::ops::testing::status(BlockState::Active)
                        })
                        .collect(),
                ),
                Question::HvValidate { .. } => Answer::Done,
                other => panic!("an unexpected question: {other:?}"),
            };
            site.answer(&node, question, Ok(answer));
        }
    }

    #[test]
    fn local_disks_are_made_there_and_removed_here_and_shared_ones_only_shared() {
        let mut site = site();
        answered(&mut site, 1024);
        let plan = site.plan(op()).expect("a plan");
        let names = |steps: &[Step]| steps.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
        let hooks = |name: &String| name.contains("hooks");
        let before: Vec<_> = names(&plan.before).into_iter().filter(|n| !hooks(n)).collect();
        assert_eq!(
            before,
            [
                "creating disks on target",
                "activating disks on target",
                "sharing disks on source",
                "opening disks on target",
                "preparing target to accept the instance",
                "migrating instance",
            ]
        );
        let count = |action: &Action| match action {
            Action::DisksCreate { disks, .. } | Action::DisksRemove { disks, .. } => disks.len(),
            _ => 0,
        };
        let all = plan.before.iter().chain(&plan.after);
        let counts: Vec<_> = all.filter_map(|s| s.task.action()).map(count).collect();
        assert_eq!(counts.iter().sum::<usize>(), 2, "the file disk, made and removed");
        let moves = plan.before.iter().find_map(|s| match s.task.action() {
            Some(Action::MigrateRun { mode, .. }) => Some(mode.copy_disks),
            _ => None,
        });
        assert_eq!(moves, Some(true));
        site.apply(&plan.pivot.changes);
        let node2 = site.config.node("node2").expect("a node").uuid;
        let web = site.config.instance("web").expect("an instance");
        let nodes: Vec<_> = site.config.disks_of(web).iter().map(|d| d.nodes.clone()).collect();
        assert_eq!((web.primary_node, nodes), (node2, vec![vec![node2], vec![]]));
    }

    #[test]
    fn what_cannot_be_copied_is_refused() {
        let mut wrong_size = site();
        answered(&mut wrong_size, 1025);
        let error = wrong_size.refusal(op());
        assert!(error.message.contains("repair-disk-sizes web"), "{error}");

        let mut read_only = site();
        let web = read_only.config.instance("web").expect("an instance").clone();
        let mut disk = (*read_only.config.disks_of(&web)[0]).clone();
        disk.mode = DiskMode::Ro;
        read_only.apply(&[Change::Update(Object::Disk(Box::new(disk)))]);
        let error = read_only.refusal(op());
        assert!(error.message.contains("disk/0 (template 'file') is read-only"), "{error}");

        let mut stopped = site();
        let mut web = (**stopped.config.instance("web").expect("an instance")).clone();
        web.admin_state = roost_proto::choices::AdminState::Down;
        stopped.apply(&[Change::Update(Object::Instance(Box::new(web)))]);
        answered(&mut stopped, 1024);
        let error = stopped.refusal(op());
        assert!(error.message.contains("use 'gnt-instance move'"), "{error}");
    }
}
