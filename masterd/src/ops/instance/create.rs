//! `OP_INSTANCE_CREATE`.
//!
//! ```text
//!   make disks, wipe them, install the OS │ add instance and disks │ start
//! ```

use super::check;
use super::devices;
use crate::config::{Change, Config, Object};
use crate::jobs::locks::{Level, LockName, LockSet, Mode};
use crate::jobs::plan::{OnFailure, Plan, Step, Task};
use crate::ops::guest::{filled_disks, guest_with, instance_ref};
use crate::ops::{Context, Operate, placement};
use roost_proto::choices::{
    AdminState, AdminStateSource, DiskTemplate, FileDriver, Hypervisor, InstCreateMode,
};
use roost_proto::error::{Error, Result};
use roost_proto::ids::{GroupId, InstanceId, NodeId};
use roost_proto::names::InstanceName;
use roost_proto::node::{Action, Answer, DiskRole, OsReport, OsScript, Question};
use roost_proto::objects::{Disk, Instance};
use roost_proto::opcodes::{InstanceCreate, REDACTED};
use roost_proto::params::{ParamMap, backend, fill, hypervisor};
use serde_json::{Value, json};
use std::collections::BTreeSet;

impl Operate for InstanceCreate {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let name = InstanceName::new(self.instance_name.to_ascii_lowercase())?;
        let mut locks = LockSet::new().with(LockName::new(Level::Instance, &name), Mode::Exclusive);
        check::lock_nodes(&mut locks, config, &possible_nodes(self, config)?);
        Ok(locks)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let hypervisor = hypervisor(self, config)?;
        let hvparams = hvparams(self, config, hypervisor)?;
        let bridges = bridges(self, config);
        let mut questions = Vec::new();
        for node in possible_nodes(self, config)? {
            questions.push((node, Question::Node));
            questions.push((node, Question::HvValidate { hypervisor, hvparams: hvparams.clone() }));
            if !bridges.is_empty() {
                questions.push((node, Question::MissingBridges { bridges: bridges.clone() }));
            }
            if installs(self) {
                questions.push((node, Question::OsList));
            }
        }
        Ok(questions)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        check_request(self, config)?;
        let name = InstanceName::new(self.instance_name.to_ascii_lowercase())?;
        if config.index.instance_by_name.contains_key(name.as_str()) {
            return Err(Error::exists(format!("Instance '{name}' is already in the cluster")));
        }
        let hypervisor = hypervisor(self, config)?;
        let template = template(self, config)?;
        let beparams = backend::typed(&self.beparams)?;
        let be = fill::beparams(&config.cluster, &beparams);
        be.check()?;
        let start = self.start && self.no_install != Some(true);
        if self.no_install == Some(true) && self.start {
            cx.info("No-installation mode selected, disabling startup");
        }

        let node = choose_node(self, cx, if start { be.maxmem } else { 0 })?;
        let node = config.node_by_id(node)?;
        check::good_target(node)?;
        ask_hypervisor(cx, node.uuid)?;
        check::bridges(cx, node.uuid)?;
        if start {
            check::memory(cx, node.uuid, be.maxmem, &format!("creating instance {name}"))?;
        }
        let os = os(self, cx, node.uuid)?;

        let mut nics = Vec::new();
        for (index, spec) in self.nics.iter().enumerate() {
            nics.push(devices::new_nic(cx, spec, index)?);
        }
        let mut macs = BTreeSet::new();
        if let Some(twice) = nics.iter().find(|nic| !macs.insert(nic.mac.clone())) {
            return Err(Error::wrong_input(format!("MAC address {} is given twice", twice.mac)));
        }
        let disks = new_disks(self, cx, &name, template, node.uuid)?;
        let own_hvparams =
            hypervisor::typed(hypervisor, &self.hvparams, hypervisor::Scope::Instance)?;
        let network_port =
            if hypervisor.needs_network_port() { Some(cx.new_port()?) } else { None };
        let now = cx.now();
        let private = self.osparams_private.as_ref().map(|p| p.reveal().clone());
        let instance = Instance {
            uuid: InstanceId(cx.uuid()),
            name: name.clone(),
            primary_node: node.uuid,
            os: os.clone(),
            hypervisor,
            hvparams: own_hvparams,
            beparams,
            osparams: self.osparams.clone(),
            osparams_private: private.unwrap_or_default(),
            admin_state: if start { AdminState::Up } else { AdminState::Down },
            admin_state_source: AdminStateSource::Admin,
            nics,
            disks: disks.iter().map(|d| d.uuid).collect(),
            disks_active: start && !disks.is_empty(),
            network_port,
            forthcoming: false,
            ctime: now,
            mtime: now,
            serial_no: 1,
            tags: tags(&self.tags)?,
            extra: ParamMap::new(),
        };
        for violation in check::ipolicy(config, &instance, &disks, node, self.ignore_ipolicy)? {
            cx.warn(violation);
        }

        let mut plan = cx.start_plan();
        fill_plan(self, config, &mut plan, &instance, &disks, start)?;
        plan.pivot.changes =
            disks.into_iter().map(|d| Change::Add(Object::Disk(Box::new(d)))).collect();
        plan.pivot.changes.push(Change::Add(Object::Instance(Box::new(instance))));
        plan.pivot.say.push(format!("adding instance {name} to cluster config"));
        plan.result = json!([node.name]);
        Ok(plan)
    }
}

fn fill_plan(
    op: &InstanceCreate,
    config: &Config,
    plan: &mut Plan,
    instance: &Instance,
    disks: &[Disk],
    start: bool,
) -> Result<()> {
    let node = instance.primary_node;
    let who = instance_ref(instance);
    let guest = Box::new(guest_with(config, instance, disks)?);
    let disks = filled_disks(config, node, disks)?;
    let on = |action| Task::on(node, action);
    let shutdown = || on(Action::DisksShutdown { instance: who.clone(), disks: disks.clone() });
    if !disks.is_empty() {
        let create = Action::DisksCreate { instance: who.clone(), disks: disks.clone() };
        let remove = Action::DisksRemove { instance: who.clone(), disks: disks.clone() };
        plan.before.push(
            Step::new("creating instance disks", on(create))
                .saying("* creating instance disks...")
                .undone_by(on(remove)),
        );
        if config.cluster.prealloc_wipe_disks {
            let wipe = Action::DisksWipe { instance: who.clone(), disks: disks.clone() };
            plan.before.push(
                Step::new("wiping instance disks", on(wipe)).saying("* wiping instance disks..."),
            );
        }
        let role = DiskRole::Primary;
        let assemble = Action::DisksAssemble {
            instance: who.clone(),
            disks: disks.clone(),
            role,
            force: false,
            ignore_size: false,
            alone: false,
        };
        plan.before
            .push(Step::new("activating instance disks", on(assemble)).undone_by(shutdown()));
    }
    if installs(op) && !disks.is_empty() {
        let run = Action::OsRun {
            guest: guest.clone(),
            script: OsScript::Create { reinstall: false },
            osparams: fill::osparams(&config.cluster, &instance.os, &instance.osparams),
            osparams_private: private_params(op, config, instance),
            debug: false,
        };
        plan.before.push(
            Step::new("running the instance OS create scripts", on(run))
                .saying("* running the instance OS create scripts..."),
        );
    }
    if start {
        plan.after.push(
            Step::new("starting instance", on(Action::GuestStart { guest, paused: false }))
                .saying("* starting instance..."),
        );
    } else if !disks.is_empty() {
        plan.after
            .push(Step::new("deactivating instance disks", shutdown()).on_failure(OnFailure::Warn));
    }
    Ok(())
}

/// The OS create script will run.
fn installs(op: &InstanceCreate) -> bool {
    op.no_install != Some(true) && op.os_type.is_some()
}

/// What can be refused without asking anybody.
fn check_request(op: &InstanceCreate, config: &Config) -> Result<()> {
    if op.mode != InstCreateMode::Create {
        return Err(Error::wrong_input(format!(
            "Instance creation mode '{}' is not available in this version",
            op.mode
        )));
    }
    if op.forthcoming || op.commit {
        return Err(Error::wrong_input("Forthcoming instances are not available in this version"));
    }
    if op.ip_check && !op.name_check {
        return Err(Error::wrong_input("Cannot do IP address check without a name check"));
    }
    if op.pnode.is_some() && op.iallocator.is_some() {
        return Err(Error::wrong_input("Give either a node (-n) or an iallocator (-I), not both"));
    }
    if op.instance_communication {
        return Err(Error::wrong_input("Instance communication is not available in this version"));
    }
    if op.os_type.is_none() && op.no_install != Some(true) {
        return Err(Error::wrong_input(
            "No guest OS or OS image specified: give one with -o, or use --no-install",
        ));
    }
    placement::check_allocator(op.iallocator.as_deref())?;
    if let Some(os) = &op.os_type {
        let base = os.split('+').next().unwrap_or_default();
        let blacklisted = &config.cluster.blacklisted_os;
        if blacklisted.iter().any(|b| b == os || b == base) {
            return Err(Error::wrong_state(format!(
                "Guest OS '{os}' is blacklisted, it can't be used for new instances"
            )));
        }
    }
    Ok(())
}

/// The nodes it may end up on.
fn possible_nodes(op: &InstanceCreate, config: &Config) -> Result<Vec<NodeId>> {
    if let Some(name) = op.pnode_uuid.as_ref().or(op.pnode.as_ref()) {
        let node = config.node(name)?;
        check::good_target(node)?;
        return Ok(vec![node.uuid]);
    }
    let group: Option<GroupId> =
        op.group_name.as_ref().map(|name| config.group(name).map(|g| g.uuid)).transpose()?;
    Ok(placement::candidates(config, group, &[]).map(|n| n.uuid).collect())
}

fn choose_node(op: &InstanceCreate, cx: &mut Context<'_, '_>, memory: u64) -> Result<NodeId> {
    let nodes = possible_nodes(op, cx.config())?;
    if op.pnode.is_some() || op.pnode_uuid.is_some() {
        return Ok(nodes[0]);
    }
    let node = placement::choose(cx, &nodes, memory)?;
    cx.info(format!(
        "Selected nodes for instance {} via iallocator {}: {}",
        op.instance_name,
        placement::NAME,
        cx.config().node_name(node)
    ));
    Ok(node)
}

fn hypervisor(op: &InstanceCreate, config: &Config) -> Result<Hypervisor> {
    let enabled = &config.cluster.enabled_hypervisors;
    let hypervisor = op
        .hypervisor
        .or(config.cluster.default_hypervisor())
        .ok_or_else(|| Error::wrong_state("The cluster has no hypervisor enabled"))?;
    if enabled.contains(&hypervisor) {
        return Ok(hypervisor);
    }
    let words: Vec<_> = enabled.iter().map(|h| h.as_str()).collect();
    Err(Error::wrong_state(format!(
        "Selected hypervisor ({hypervisor}) not enabled in the cluster ({})",
        words.join(", ")
    )))
}

fn template(op: &InstanceCreate, config: &Config) -> Result<DiskTemplate> {
    let enabled = &config.cluster.enabled_disk_templates;
    let template = op
        .disk_template
        .or(config.cluster.default_disk_template())
        .ok_or_else(|| Error::wrong_state("The cluster has no disk template enabled"))?;
    if enabled.contains(&template) {
        return Ok(template);
    }
    let words: Vec<_> = enabled.iter().map(|t| t.as_str()).collect();
    Err(Error::wrong_input(format!(
        "Disk template '{template}' is not enabled in cluster. Enabled disk templates are: {}",
        words.join(", ")
    )))
}

/// Filled parameters, checked as far as that is possible here.
fn hvparams(op: &InstanceCreate, config: &Config, hypervisor: Hypervisor) -> Result<ParamMap> {
    let own = hypervisor::typed(hypervisor, &op.hvparams, hypervisor::Scope::Instance)?;
    let os = op.os_type.as_deref().unwrap_or_default();
    let filled = fill::hvparams(&config.cluster, hypervisor, os, &own);
    hypervisor::check_hvparams(hypervisor, &filled)?;
    Ok(filled)
}

/// The bridges its cards will need.
fn bridges(op: &InstanceCreate, config: &Config) -> Vec<String> {
    let default = fill::nicparams(&config.cluster, &ParamMap::new());
    let bridges: BTreeSet<_> = op
        .nics
        .iter()
        .filter(|nic| nic.mode.as_deref().unwrap_or(default.mode.as_str()) == "bridged")
        .map(|nic| nic.link.as_ref().or(nic.bridge.as_ref()).unwrap_or(&default.link).clone())
        .collect();
    bridges.into_iter().collect()
}

fn ask_hypervisor(cx: &Context<'_, '_>, node: NodeId) -> Result<()> {
    let asked = |q: &Question| matches!(q, Question::HvValidate { .. });
    cx.answer(node, asked, |a| matches!(a, Answer::Done).then_some(()))
}

/// The OS, valid on the node, with a variant if it has any.
fn os(op: &InstanceCreate, cx: &Context<'_, '_>, node: NodeId) -> Result<String> {
    let Some(os) = &op.os_type else { return Ok(String::new()) };
    if installs(op) {
        let asked = |q: &Question| matches!(q, Question::OsList);
        let found = cx.answer(node, asked, |a| match a {
            Answer::Os(list) => Some(list),
            _ => None,
        })?;
        check_os(found, os, op.force_variant, &cx.config().node_name(node))?;
    }
    Ok(os.clone())
}

fn new_disks(
    op: &InstanceCreate,
    cx: &mut Context<'_, '_>,
    name: &InstanceName,
    template: DiskTemplate,
    node: NodeId,
) -> Result<Vec<Disk>> {
    if template == DiskTemplate::Diskless {
        return match op.disks.is_empty() {
            true => Ok(vec![]),
            false => Err(Error::wrong_input("Disk template 'diskless' takes no disks")),
        };
    }
    if op.disks.is_empty() {
        return Err(Error::wrong_input(format!(
            "Disk template '{template}' needs at least one disk (-s SIZE or --disk 0:size=SIZE)"
        )));
    }
    let driver = op.file_driver.unwrap_or(FileDriver::Loop);
    let subdirectory = op.file_storage_dir.as_deref();
    let directory = devices::file_directory(cx.config(), template, subdirectory, name)?;
    let mut disks = Vec::new();
    for (index, spec) in op.disks.iter().enumerate() {
        disks.push(devices::new_disk(cx, template, spec, index, node, &directory, driver)?);
    }
    Ok(disks)
}

/// Private parameters in clear, secret ones as placeholders: a plan is stored.
fn private_params(op: &InstanceCreate, config: &Config, instance: &Instance) -> ParamMap {
    let own = &instance.osparams_private;
    let mut all = fill::osparams_private(&config.cluster, &instance.os, own);
    if let Some(secret) = &op.osparams_secret {
        all.extend(secret.keys().map(|key| (key.to_owned(), Value::from(REDACTED))));
    }
    all
}

/// An OS with a good variant is on a node.
pub fn check_os(found: &[OsReport], os: &str, force_variant: bool, node: &str) -> Result<()> {
    let (base, variant) = match os.split_once('+') {
        Some((base, variant)) => (base, Some(variant)),
        None => (os, None),
    };
    let Some(report) = found.iter().find(|r| r.name == base) else {
        return Err(Error::unknown(format!("OS '{base}' not found on node {node}")));
    };
    if !report.valid {
        return Err(Error::environment(format!(
            "OS '{base}' is not usable on node {node}: {}",
            report.problem
        )));
    }
    let list = report.variants.join(", ");
    match variant {
        _ if force_variant => Ok(()),
        None if report.variants.is_empty() => Ok(()),
        None => Err(Error::wrong_input(format!(
            "OS '{base}' needs a variant, as in '{base}+{}'; it has: {list}",
            report.variants[0]
        ))),
        Some(_) if report.variants.is_empty() => {
            Err(Error::wrong_input(format!("OS '{base}' has no variants")))
        }
        Some(variant) if report.variants.iter().any(|v| v == variant) => Ok(()),
        Some(variant) => Err(Error::wrong_input(format!(
            "OS '{base}' has no variant '{variant}'; it has: {list} (or use --force-variant)"
        ))),
    }
}

/// Tags for a new object.
fn tags(tags: &[String]) -> Result<Vec<String>> {
    let mut checked: Vec<String> = Vec::new();
    for tag in tags {
        crate::ops::tags::check_tag(tag)?;
        if !checked.contains(tag) {
            checked.push(tag.clone());
        }
    }
    Ok(checked)
}
