//! `OP_BACKUP_EXPORT`: writes an instance to a node.
//!
//! ```text
//!   with snapshots      stop, snapshot, start, begin, send dumps, finish │ │ drop snapshots
//!   live                      snapshot,        begin, send dumps, finish │ │ drop snapshots
//!   --long-sleep        stop,                  begin, send dumps, finish │ │ start
//!   --remove-instance   stop,                  begin, send dumps, finish │ remove it │ its disks
//!                                                                     … old exports elsewhere
//! ```
//!
//! Finished is before the pivot: an instance is never removed for an export that is not whole. Until
//! it is settled behind the pivot, it can be taken back, and the one before is kept.

use super::snapshot::{self, Freeze};
use super::{check_tool, config_ini, prepare, remove};
use crate::config::{Change, Config, ObjectKey};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{OnFailure, Plan, Step, Task};
use crate::ops::disks::active::{self, Assembling};
use crate::ops::disks::health;
use crate::ops::guest::{filled_disks, guest, instance_ref};
use crate::ops::instance::{check, shutdown};
use crate::ops::{Context, Operate};
use roost_proto::choices::ExportMode;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::names::InstanceName;
use roost_proto::node::{
    Action, Answer, ExportAction, ExportAnswer, ExportQuestion, ExportScripts, Question,
};
use roost_proto::objects::{Disk, Instance, Node};
use roost_proto::opcodes::{BackupExport, ExportTarget};
use roost_proto::params::fill;
use serde_json::json;
use std::sync::Arc;

/// What to do about a secondary node that does not answer.
const WAY_OUT: &str = "if it is dead mark it offline ('gnt-node modify --offline=yes')";

/// The node it goes to.
fn target<'a>(op: &BackupExport, config: &'a Config) -> Result<&'a Arc<Node>> {
    match (&op.target_node_uuid, &op.target_node) {
        (Some(uuid), _) => config.node(uuid),
        (None, ExportTarget::Node(name)) => config.node(name),
        (None, ExportTarget::Remote(_)) => Err(Error::wrong_input(prepare::NO_REMOTE)),
    }
}

impl Operate for BackupExport {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let mut locks = check::locks(config, &self.instance_name)?;
        check::lock_nodes(&mut locks, config, &[target(self, config)?.uuid]);
        Ok(locks)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let instance = config.instance(&self.instance_name)?;
        let node = check::online_primary(config, instance)?.uuid;
        let mut questions = health::ask_secondaries(config, instance);
        questions.push((node, Question::Guests));
        if !instance.disks.is_empty() {
            let os = instance.os.clone();
            questions.push((node, Question::Export(ExportQuestion::Scripts { os })));
        }
        questions.extend(remove::ask_all(config));
        Ok(questions)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        check_request(self, config)?;
        let instance = config.instance(&self.instance_name)?;
        let primary = check::online_primary(config, instance)?;
        let target = good_target(target(self, config)?)?;
        check_scripts(cx, instance, primary)?;
        let disks = health::stored(config, instance);
        let running = cx.runs_on(instance, primary.uuid)?;
        let way = way(self, instance, &disks, running)?;
        let without = health::away(cx, instance, false, WAY_OUT)?;
        let (old, silent) = remove::found(cx, &instance.name);
        for node in silent.into_iter().filter(|node| *node != target.uuid) {
            let node = config.node_name(node);
            cx.warn(format!("Node {node} does not answer: an old export there is not removed"));
        }
        let snapshots: Vec<Disk> = match way.snapshots {
            false => vec![],
            true => disks
                .iter()
                .enumerate()
                .map(|(index, disk)| snapshot::of(cx, index, disk, primary.uuid))
                .collect(),
        };
        let token = cx.uuid().to_string();
        let text = config_ini::text(config, instance, &disks, cx.now());
        let export = Export { op: self, config, instance, primary, target, without, disks };
        let mut plan = cx.start_plan();
        export.prepare(&mut plan, &way, &snapshots)?;
        export.send(&mut plan, &snapshots, token, text)?;
        export.clean_up(&mut plan, &way, &snapshots)?;
        for node in old.into_iter().filter(|node| *node != target.uuid) {
            plan.after.push(remove_old(config, &instance.name, node));
        }
        let good: Vec<bool> = instance.disks.iter().map(|_| true).collect();
        plan.result = json!([true, good]);
        Ok(plan)
    }
}

/// What can be refused at once.
fn check_request(op: &BackupExport, config: &Config) -> Result<()> {
    if op.mode == ExportMode::Remote {
        return Err(Error::wrong_input(prepare::NO_REMOTE));
    }
    check_tool(config, &op.compress)?;
    if op.zero_free_space
        || op.zeroing_timeout_fixed.is_some()
        || op.zeroing_timeout_per_mib.is_some()
    {
        return Err(Error::wrong_input(
            "Zeroing free space is not available in this version: it needs a helper image; zeros \
             that are there are never sent",
        ));
    }
    if op.long_sleep && !op.shutdown {
        return Err(Error::wrong_input(
            "The long sleep option only makes sense when the instance \
                                       can be shut down; leave out --noshutdown",
        ));
    }
    Ok(())
}

fn good_target(target: &Arc<Node>) -> Result<&Arc<Node>> {
    let why = match (target.offline, target.drained) {
        (true, _) => "is marked offline",
        (_, true) => "is drained",
        _ => return Ok(target),
    };
    Err(Error::wrong_state(format!("Node {} {why}, it can't get exports", target.name)))
}

/// The instance's node has the OS with which it is exported.
fn check_scripts(cx: &Context<'_, '_>, instance: &Instance, primary: &Node) -> Result<()> {
    if instance.disks.is_empty() {
        return Ok(());
    }
    let asked = |q: &Question| matches!(q, Question::Export(ExportQuestion::Scripts { .. }));
    let problems = cx.answer(primary.uuid, asked, |a| match a {
        Answer::Export(ExportAnswer::List(problems)) => Some(problems),
        _ => None,
    })?;
    match problems.first() {
        None => Ok(()),
        Some(problem) => Err(Error::wrong_state(format!(
            "Instance {} can't be exported from node {}: {problem}",
            instance.name, primary.name
        ))),
    }
}

/// How it is done.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Way {
    /// It runs and is stopped.
    stop: bool,
    snapshots: bool,
    /// As soon as there are snapshots.
    start_early: bool,
    /// When all is written.
    start_late: bool,
    /// Its disks are not in use now.
    activate: bool,
}

fn way(op: &BackupExport, instance: &Instance, disks: &[Disk], running: bool) -> Result<Way> {
    let freeze = snapshot::possible(disks);
    let stop = running && op.shutdown;
    let again = stop && !op.remove_instance;
    if op.remove_instance && running && !op.shutdown {
        return Err(Error::wrong_input("Can not remove instance without shutting it down before"));
    }
    let cannot = || {
        let mut words: Vec<_> = disks.iter().map(|d| d.dev_type.as_str()).collect();
        words.dedup();
        words.join(", ")
    };
    if running && !op.shutdown && freeze != Freeze::AtOnce {
        return Err(Error::wrong_state(format!(
            "Instance {} has disks of template {}, which can't be frozen while it runs; leave out \
             --noshutdown",
            instance.name,
            cannot()
        )));
    }
    if again && freeze == Freeze::Not && !op.long_sleep {
        return Err(Error::wrong_state(format!(
            "Instance {} has disks of template {}, of which there are no snapshots: it must stay \
             down during the whole export; use --long-sleep if that may be, or stop it yourself",
            instance.name,
            cannot()
        )));
    }
    let snapshots = match () {
        // Nobody writes to them until all is over.
        () if !running || op.remove_instance => false,
        () => freeze != Freeze::Not && !disks.is_empty(),
    };
    Ok(Way {
        stop,
        snapshots,
        start_early: again && (snapshots || disks.is_empty()),
        start_late: again && !snapshots && !disks.is_empty(),
        activate: !running && !instance.disks_active,
    })
}

/// An export to be planned.
struct Export<'a> {
    op: &'a BackupExport,
    config: &'a Config,
    instance: &'a Arc<Instance>,
    primary: &'a Arc<Node>,
    target: &'a Arc<Node>,
    /// Secondary nodes that are away.
    without: Vec<NodeId>,
    disks: Vec<Disk>,
}

impl Export<'_> {
    fn on_primary(&self, action: Action) -> Task {
        Task::on(self.primary.uuid, action)
    }

    fn start(&self) -> Result<Task> {
        let guest = Box::new(guest(self.config, self.instance)?);
        Ok(self.on_primary(Action::GuestStart { guest, paused: false }))
    }

    /// Until there is something to be exported that does not change.
    fn prepare(&self, plan: &mut Plan, way: &Way, snapshots: &[Disk]) -> Result<()> {
        let (config, name) = (self.config, &self.instance.name);
        let (who, primary) = (instance_ref(self.instance), self.primary.uuid);
        if way.stop {
            plan.before.push(
                shutdown::stop(self.instance, primary, self.op.shutdown_timeout)
                    .saying(format!("Shutting down instance {name}"))
                    .undone_by(self.start()?),
            );
        }
        if way.activate {
            let without = self.without.clone();
            let how = Assembling { without, ..Assembling::default() };
            let mut steps = active::assemble(config, &who, &self.disks, primary, &how)?;
            if let Some(first) = steps.first_mut() {
                first.say = Some(format!("Activating disks for {name}"));
            }
            plan.before.extend(steps);
        }
        if !snapshots.is_empty() {
            let data: Vec<Disk> = self.disks.iter().map(snapshot::source).cloned().collect();
            let from = filled_disks(config, primary, &data)?;
            let to = filled_disks(config, primary, snapshots)?;
            let take = Action::DisksSnapshot { instance: who.clone(), from, to: to.clone() };
            let drop = Action::DisksRemove { instance: who.clone(), disks: to };
            plan.before.push(
                Step::new("making snapshots of the disks", self.on_primary(take))
                    .saying(format!("Creating a snapshot of each disk of instance {name}"))
                    .undone_by(self.on_primary(drop)),
            );
            let how = Assembling::default();
            let mut steps = active::assemble(config, &who, snapshots, primary, &how)?;
            for step in &mut steps {
                step.name = "activating the snapshots".into();
            }
            plan.before.extend(steps);
        }
        if way.start_early {
            plan.before.push(
                Step::new("starting instance", self.start()?)
                    .saying(format!("Starting instance {name}")),
            );
        }
        Ok(())
    }

    fn send(&self, plan: &mut Plan, snapshots: &[Disk], token: String, text: String) -> Result<()> {
        let (config, instance) = (self.config, self.instance);
        let name = instance.name.clone();
        let on_target = |action| Task::on(self.target.uuid, Action::Export(action));
        let dumps = self.disks.iter().map(|disk| disk.uuid.to_string()).collect();
        let receive = ExportAction::Receive { name: name.clone(), dumps, token: token.clone() };
        let remove = ExportAction::Remove { name: name.to_string(), unfinished: true };
        plan.before.push(
            Step::new("beginning the export", on_target(receive)).undone_by(on_target(remove)),
        );
        if !self.disks.is_empty() {
            let disks = if snapshots.is_empty() { &self.disks } else { snapshots };
            let private = &instance.osparams_private;
            let scripts = ExportScripts {
                guest: guest(config, instance)?,
                osparams: fill::osparams(&config.cluster, &instance.os, &instance.osparams),
                osparams_private: fill::osparams_private(&config.cluster, &instance.os, private),
                debug: false,
            };
            let send = ExportAction::Send {
                scripts: Box::new(scripts),
                disks: filled_disks(config, self.primary.uuid, disks)?,
                target: self.target.uuid,
                address: self.target.primary_ip.clone(),
                token,
                compress: self.op.compress.clone(),
            };
            plan.before.push(
                Step::new("exporting the disks", self.on_primary(Action::Export(send))).saying(
                    format!(
                        "Exporting {} disk(s) from {} to {}",
                        self.disks.len(),
                        self.primary.name,
                        self.target.name
                    ),
                ),
            );
        }
        let finish = ExportAction::Finish { name, config: text };
        plan.before.push(
            Step::new("finalizing the export", on_target(finish))
                .saying(format!("Finalizing export on {}", self.target.name)),
        );
        Ok(())
    }

    fn clean_up(&self, plan: &mut Plan, way: &Way, snapshots: &[Disk]) -> Result<()> {
        let (config, instance) = (self.config, self.instance);
        let (who, primary) = (instance_ref(instance), self.primary.uuid);
        let settle = Action::Export(ExportAction::Settle { name: instance.name.clone() });
        plan.after.push(
            Step::new("settling the export", Task::on(self.target.uuid, settle))
                .on_failure(OnFailure::Warn),
        );
        if way.start_late {
            plan.after.push(
                Step::new("starting instance", self.start()?)
                    .saying(format!("Starting instance {}", instance.name)),
            );
        }
        if !snapshots.is_empty() {
            plan.after.extend(active::shutdown(config, &who, snapshots, primary, &[])?);
            let mut steps = active::remove(config, &who, snapshots, primary, &[])?;
            if let Some(first) = steps.first_mut() {
                first.say = Some("Removing the snapshots".into());
                first.name = "removing the snapshots".into();
            }
            plan.after.extend(steps);
        }
        if !self.op.remove_instance {
            if way.activate {
                let mut steps =
                    active::shutdown(config, &who, &self.disks, primary, &self.without)?;
                if let Some(first) = steps.first_mut() {
                    first.say = Some(format!("Deactivating disks for {}", instance.name));
                }
                plan.after.extend(steps);
            }
            return Ok(());
        }
        plan.pivot.say.push(format!("Removing instance {}", instance.name));
        plan.pivot.changes.push(Change::Remove(ObjectKey::Instance(instance.uuid)));
        plan.pivot
            .changes
            .extend(instance.disks.iter().map(|id| Change::Remove(ObjectKey::Disk(*id))));
        plan.after.extend(active::shutdown(config, &who, &self.disks, primary, &self.without)?);
        plan.after.extend(active::remove(config, &who, &self.disks, primary, &[])?);
        Ok(())
    }
}

fn remove_old(config: &Config, name: &InstanceName, node: NodeId) -> Step {
    let remove = ExportAction::Remove { name: name.to_string(), unfinished: false };
    let what = format!("removing the old export on node {}", config.node_name(node));
    Step::new(what, Task::on(node, Action::Export(remove)))
        .saying(format!("Removing old exports for instance {name}"))
        .on_failure(OnFailure::Warn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;
    use roost_proto::choices::DiskTemplate;
    use roost_proto::node::GuestReport;

    /// web on node1 with a disk, running or not; node3 has an old export of it.
    fn site(template: DiskTemplate, running: bool) -> Site {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        site.instance("web", "node1", |i| {
            i.os = "debian".into();
            i.disks_active = running;
        });
        match template {
            DiskTemplate::Drbd => site.drbd("web", "node2"),
            _ => site.disk("web", template, "/srv/file/web/disk0"),
        }
        let guests: Vec<GuestReport> =
            running.then(|| crate::ops::testing::running("web")).into_iter().collect();
        site.answer("node1", Question::Guests, Ok(Answer::Guests(guests)));
        let list = |names: &[&str]| {
            let names = names.iter().map(|n| (*n).to_owned()).collect();
            Ok(Answer::Export(ExportAnswer::List(names)))
        };
        let scripts = ExportQuestion::Scripts { os: "debian".into() };
        site.answer("node1", Question::Export(scripts), list(&[]));
        for (node, names) in [("node1", &[][..]), ("node2", &["web"]), ("node3", &["web"])] {
            site.answer(node, Question::Export(ExportQuestion::List), list(names));
        }
        site.free_memory("node2", 1024);
        site
    }

    fn op() -> BackupExport {
        BackupExport::new("web", "node2")
    }

    fn names(steps: &[Step]) -> Vec<&str> {
        steps.iter().map(|step| step.name.as_str()).collect()
    }

    #[test]
    fn a_running_instance_is_down_only_while_snapshots_are_made() {
        let plan = site(DiskTemplate::File, true).plan(op()).expect("a plan");
        assert_eq!(
            names(&plan.before),
            [
                "shutting down instance",
                "making snapshots of the disks",
                "activating the snapshots",
                "starting instance",
                "beginning the export",
                "exporting the disks",
                "finalizing the export",
            ]
        );
        assert!(plan.pivot.changes.is_empty());
        assert_eq!(
            names(&plan.after),
            [
                "settling the export",
                "deactivating instance disks",
                "removing the snapshots",
                "removing the old export on node node3"
            ]
        );
        assert_eq!(plan.result, json!([true, [true]]));
        let Some(Action::Export(ExportAction::Send { disks, scripts, .. })) =
            plan.before[5].task.action()
        else {
            panic!("dumps are sent")
        };
        assert_ne!(disks[0].uuid, scripts.guest.disks[0].disk.uuid, "of the snapshot");
        assert!(disks[0].path().expect("a file").starts_with("/srv/file/web/"));
    }

    #[test]
    fn of_a_mirror_this_sides_data_is_frozen() {
        let site = site(DiskTemplate::Plain, true);
        let live = BackupExport { shutdown: false, ..op() };
        let plan = site.plan(live).expect("live");
        assert_eq!(names(&plan.before)[0], "making snapshots of the disks");
    }

    #[test]
    fn what_is_down_is_read_as_it_is() {
        let plan = site(DiskTemplate::File, false).plan(op()).expect("a plan");
        assert_eq!(names(&plan.before)[..2], ["activating instance disks", "beginning the export"]);
        assert!(plan.before[0].undo.is_some());
        assert_eq!(names(&plan.after)[1], "deactivating instance disks");
    }

    #[test]
    fn without_snapshots_somebody_must_want_the_long_sleep() {
        let site = site(DiskTemplate::Gluster, true);
        let error = site.refusal(op());
        assert!(error.message.contains("--long-sleep"), "{error}");
        let plan = site.plan(BackupExport { long_sleep: true, ..op() }).expect("a plan");
        assert_eq!(names(&plan.after)[1], "starting instance");
        let error = site.refusal(BackupExport { shutdown: false, ..op() });
        assert!(error.message.contains("leave out --noshutdown"), "{error}");
    }

    #[test]
    fn an_instance_is_removed_only_when_its_export_is_whole() {
        let plan = site(DiskTemplate::File, true)
            .plan(BackupExport { remove_instance: true, ..op() })
            .expect("a plan");
        assert_eq!(names(&plan.before).last(), Some(&"finalizing the export"));
        assert!(!names(&plan.before).contains(&"starting instance"));
        assert_eq!(plan.pivot.changes.len(), 2);
        assert!(names(&plan.after).contains(&"removing instance disks"));
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        let mut site = site(DiskTemplate::File, true);
        let plain = |change: fn(&mut BackupExport)| {
            let mut op = op();
            change(&mut op);
            op
        };
        for (op, says) in [
            (plain(|op| op.mode = ExportMode::Remote), "another cluster"),
            (plain(|op| op.compress = "xz".into()), "xz"),
            (plain(|op| op.zero_free_space = true), "Zeroing free space"),
            (plain(|op| op.target_node = "nope".into()), "nope"),
            (
                plain(|op| {
                    op.remove_instance = true;
                    op.shutdown = false;
                }),
                "without shutting it down",
            ),
        ] {
            let error = site.refusal(op);
            assert!(error.message.contains(says), "{error}");
        }
        site.node("node2", |node| node.drained = true);
        assert!(site.refusal(op()).message.contains("drained"));
    }

    #[test]
    fn an_os_without_scripts_says_so() {
        let mut site = site(DiskTemplate::File, true);
        site.facts
            .answers
            .retain(|(_, q, _)| !matches!(q, Question::Export(ExportQuestion::Scripts { .. })));
        let scripts = ExportQuestion::Scripts { os: "debian".into() };
        let problem = ExportAnswer::List(vec!["the script 'export' is missing".into()]);
        site.answer("node1", Question::Export(scripts), Ok(Answer::Export(problem)));
        let error = site.refusal(op());
        assert!(error.message.contains("the script 'export' is missing"), "{error}");
    }
}
