//! `OP_INSTANCE_SET_PARAMS`.
//!
//! ```text
//!   make new disks, plug them and new cards in │ what it says │ unplug and remove the rest
//! ```
//!
//! Cards are in [`super::set_devices`], disks in [`super::set_disks`], their conversion to another
//! template in [`super::convert`].

use super::check;
use super::convert;
use super::create::check_os;
use super::{set_devices, set_disks};
use crate::config::{Change, Config, Object};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{Plan, Step, Task};
use crate::ops::guest::{guest, instance_ref};
use crate::ops::{Context, Operate};
use roost_proto::choices::AdminState;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Action, Answer, GuestReport, Question};
use roost_proto::objects::{Instance, ParamMap};
use roost_proto::opcodes::InstanceSetParams;
use roost_proto::params::{backend, fill, hypervisor};
use serde_json::{Value, json};

/// What was changed, for people: (what, new value).
pub type Changes = Vec<(String, Value)>;

impl Operate for InstanceSetParams {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let mut locks = check::locks(config, &self.instance_name)?;
        if let Some(name) = new_primary(self) {
            check::lock_nodes(&mut locks, config, &[config.node(name)?.uuid]);
        }
        if let Some(node) = set_disks::named_secondary(self, config)? {
            check::lock_nodes(&mut locks, config, &[node]);
        }
        convert::add_locks(self, config, &mut locks)?;
        Ok(locks)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let instance = config.instance(&self.instance_name)?;
        let node = config.node_by_id(instance.primary_node)?;
        if node.offline {
            return convert::questions(self, config);
        }
        let node = node.uuid;
        let mut questions = vec![(node, Question::Node), (node, Question::Guests)];
        if !self.hvparams.is_empty() {
            let own = new_hvparams(self, instance)?;
            let hvparams = fill::hvparams(&config.cluster, instance.hypervisor, &instance.os, &own);
            let hypervisor = instance.hypervisor;
            questions.push((node, Question::HvValidate { hypervisor, hvparams }));
        }
        if self.os_name.is_some() && !self.force {
            questions.push((node, Question::OsList));
        }
        let bridges = set_devices::wanted_bridges(self, config);
        if !bridges.is_empty() {
            questions.push((node, Question::MissingBridges { bridges }));
        }
        questions.extend(set_disks::questions(self, config)?);
        questions.extend(convert::questions(self, config)?);
        Ok(questions)
    }

    fn further(&self, cx: &mut Context<'_, '_>) -> Result<Vec<(NodeId, Question)>> {
        convert::further(cx, self)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let instance = config.instance(&self.instance_name)?;
        refuse_what_is_missing(self)?;
        let running = running(cx, instance);
        let devices_change = !(self.nics.is_empty() && self.disks.is_empty());
        if devices_change && !config.node_by_id(instance.primary_node)?.offline {
            // A guest may have them in use: not knowing is not good enough.
            cx.guests(instance.primary_node)?;
        }
        let mut new = Instance::clone(instance);
        let mut changes = Changes::new();
        change_state(self, &mut new, &running, &mut changes)?;
        change_backend(self, cx, &mut new, &running, &mut changes)?;
        change_hypervisor(self, cx, &mut new, &mut changes)?;
        change_os(self, cx, &mut new, &mut changes)?;
        change_primary(self, cx, &mut new, &running)?;

        let live = running.as_ref().is_some_and(|r| r.is_some()) && self.hotplug;
        let hotplug = live && instance.hypervisor.can_hotplug();
        if live && !hotplug && devices_change {
            cx.warn("Modification will take place without hotplugging.");
        }
        let mut devices = set_devices::plan(cx, self, &mut new, hotplug)?;
        convert::plan(cx, self, &mut new, &mut devices)?;
        changes.append(&mut devices.changes);

        let disks: Vec<_> = devices.all_disks.clone();
        let node = config.node_by_id(new.primary_node)?;
        let before = check::ipolicy(
            config,
            instance,
            &config.disks_of(instance).iter().map(|d| (**d).clone()).collect::<Vec<_>>(),
            node,
            true,
        )?;
        for violation in check::ipolicy(config, &new, &disks, node, true)? {
            if before.contains(&violation) || self.ignore_ipolicy {
                cx.warn(violation);
            } else {
                return Err(Error::wrong_input(format!(
                    "This would violate the instance policy: {violation} (use --ignore-ipolicy to \
                     do it anyway)"
                )));
            }
        }

        let balloon = balloon(self, cx, instance, &running, &mut changes)?;
        if changes.is_empty() && new == **instance && devices.disk_changes.is_empty() {
            return Err(Error::wrong_input("No changes submitted"));
        }
        let mut plan = cx.start_plan();
        plan.before = devices.before;
        plan.before.extend(balloon);
        plan.pivot.changes = devices.disk_changes;
        if new != **instance {
            plan.pivot.changes.push(Change::Update(Object::Instance(Box::new(new))));
        }
        plan.pivot.changes.extend(devices.removals);
        plan.after = devices.after;
        plan.result = json!(changes);
        Ok(plan)
    }
}

fn new_primary(op: &InstanceSetParams) -> Option<&str> {
    op.pnode_uuid.as_deref().or(op.pnode.as_deref())
}

/// What this version does not do.
fn refuse_what_is_missing(op: &InstanceSetParams) -> Result<()> {
    if op.instance_communication.is_some() {
        return Err(Error::wrong_input("Instance communication is not available in this version"));
    }
    Ok(())
}

/// The guest as it runs: `None` if its node could not be asked, `Some(None)` if it does not run.
type Running = Option<Option<GuestReport>>;

fn running(cx: &Context<'_, '_>, instance: &Instance) -> Running {
    let guests = cx.guests(instance.primary_node).ok()?;
    let same = |g: &&GuestReport| g.name == instance.name.as_str() && g.state.is_running();
    Some(guests.iter().find(same).cloned())
}

fn change_state(
    op: &InstanceSetParams,
    new: &mut Instance,
    running: &Running,
    changes: &mut Changes,
) -> Result<()> {
    match op.offline {
        Some(true) => {
            if new.admin_state != AdminState::Down || matches!(running, Some(Some(_))) {
                return Err(Error::wrong_state(format!(
                    "Instance {} must be down to be marked offline; shut it down first",
                    new.name
                )));
            }
            new.admin_state = AdminState::Offline;
            changes.push(("admin_state".into(), json!("offline")));
        }
        Some(false) => {
            if new.admin_state != AdminState::Offline {
                return Err(Error::wrong_state(format!(
                    "Instance {} is not marked offline",
                    new.name
                )));
            }
            new.admin_state = AdminState::Down;
            changes.push(("admin_state".into(), json!("down")));
        }
        None => {}
    }
    Ok(())
}

fn change_backend(
    op: &InstanceSetParams,
    cx: &mut Context<'_, '_>,
    new: &mut Instance,
    running: &Running,
    changes: &mut Changes,
) -> Result<()> {
    if op.beparams.is_empty() {
        return Ok(());
    }
    let cluster = &cx.config().cluster;
    let typed = backend::typed(&op.beparams)?;
    let old = fill::instance_beparams(cluster, new);
    new.beparams = fill::modified(&new.beparams, &typed);
    let be = fill::instance_beparams(cluster, new);
    be.check()?;
    if be.maxmem > old.maxmem && !op.force {
        let node = new.primary_node;
        let used = running.as_ref().and_then(|r| r.as_ref()).map_or(0, |g| g.memory);
        match cx.free_memory(node) {
            Ok(free) if free + used < be.maxmem => {
                return Err(Error::resources(format!(
                    "This change will prevent the instance from starting, due to {} MiB of memory \
                     missing on its primary node (use --force to do it anyway)",
                    be.maxmem - free - used
                )));
            }
            Ok(_) => {}
            Err(error) => cx.warn(format!("Can't get info from primary node: {error}")),
        }
    }
    changes.extend(typed.iter().map(|(key, value)| (format!("be/{key}"), value.clone())));
    Ok(())
}

fn new_hvparams(op: &InstanceSetParams, instance: &Instance) -> Result<ParamMap> {
    let typed = hypervisor::typed(instance.hypervisor, &op.hvparams, hypervisor::Scope::Instance)?;
    Ok(fill::modified(&instance.hvparams, &typed))
}

fn change_hypervisor(
    op: &InstanceSetParams,
    cx: &mut Context<'_, '_>,
    new: &mut Instance,
    changes: &mut Changes,
) -> Result<()> {
    if op.hvparams.is_empty() {
        return Ok(());
    }
    new.hvparams = new_hvparams(op, new)?;
    let filled = fill::instance_hvparams(&cx.config().cluster, new);
    hypervisor::check_hvparams(new.hypervisor, &filled)?;
    for (_, question, answer) in cx.answers() {
        if matches!(question, Question::HvValidate { .. }) {
            answer.as_ref().map_err(Clone::clone)?;
        }
    }
    changes.extend(op.hvparams.iter().map(|(key, value)| (format!("hv/{key}"), value.clone())));
    Ok(())
}

fn change_os(
    op: &InstanceSetParams,
    cx: &mut Context<'_, '_>,
    new: &mut Instance,
    changes: &mut Changes,
) -> Result<()> {
    if let Some(os) = &op.os_name {
        if !op.force {
            let node = new.primary_node;
            let asked = |q: &Question| matches!(q, Question::OsList);
            let found = cx.answer(node, asked, |a| match a {
                Answer::Os(list) => Some(list),
                _ => None,
            })?;
            check_os(found, os, op.force_variant, &cx.config().node_name(node))?;
        }
        new.os = os.clone();
    }
    if op.clear_osparams {
        new.osparams.clear();
    }
    if op.clear_osparams_private {
        new.osparams_private.clear();
    }
    for name in op.remove_osparams.iter().flatten() {
        new.osparams.remove(name);
    }
    for name in op.remove_osparams_private.iter().flatten() {
        new.osparams_private.remove(name);
    }
    new.osparams = fill::modified(&new.osparams, &op.osparams);
    changes.extend(op.osparams.iter().map(|(key, value)| (format!("os/{key}"), value.clone())));
    if let Some(private) = &op.osparams_private {
        new.osparams_private = fill::modified(&new.osparams_private, private.reveal());
        let shown = private.redacted();
        changes.extend(shown.into_iter().map(|(key, value)| (format!("os_private/{key}"), value)));
    }
    if let Some(twice) = new.osparams.keys().find(|key| new.osparams_private.contains_key(*key)) {
        return Err(Error::wrong_input(format!(
            "OS parameter '{twice}' is given both as public and as private"
        )));
    }
    Ok(())
}

fn change_primary(
    op: &InstanceSetParams,
    cx: &Context<'_, '_>,
    new: &mut Instance,
    running: &Running,
) -> Result<()> {
    let Some(name) = new_primary(op) else { return Ok(()) };
    let node = cx.node(name)?;
    if !op.force && matches!(running, Some(Some(_))) {
        return Err(Error::wrong_state(format!(
            "Instance {} is running on {}; its primary node can't be changed while it runs \
             (use migrate or failover, or --force if you know better)",
            new.name,
            cx.config().node_name(new.primary_node)
        )));
    }
    new.primary_node = node.uuid;
    Ok(())
}

/// Changes the memory of the running guest.
fn balloon(
    op: &InstanceSetParams,
    cx: &mut Context<'_, '_>,
    instance: &Instance,
    running: &Running,
    changes: &mut Changes,
) -> Result<Option<Step>> {
    let Some(memory) = op.runtime_mem else { return Ok(None) };
    let Some(Some(now)) = running else {
        return Err(Error::wrong_state(format!("Instance {} is not running", instance.name)));
    };
    let spec = guest(cx.config(), instance)?;
    let (min, max) = (spec.minmem(), spec.maxmem());
    if !op.force && !(min..=max).contains(&memory) {
        return Err(Error::wrong_input(format!(
            "Instance {} must have memory between {min} and {max} MiB (use --force to change that)",
            instance.name
        )));
    }
    if memory > now.memory {
        let what = format!("ballooning memory for instance {}", instance.name);
        check::memory(cx, instance.primary_node, memory - now.memory, &what)?;
    }
    changes.push(("runtime_memory".into(), json!(memory)));
    let set = |memory| {
        let action = Action::GuestBalloon {
            instance: instance_ref(instance),
            hypervisor: instance.hypervisor,
            memory,
        };
        Task::on(instance.primary_node, action)
    };
    Ok(Some(Step::new("changing instance memory", set(memory)).undone_by(set(now.memory))))
}
