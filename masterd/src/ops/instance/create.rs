//! `OP_INSTANCE_CREATE`.
//!
//! ```text
//!   make or adopt disks on all their nodes, wipe them, │ add instance │ start
//!   install the OS, wait until mirrors are equal       │ and disks    │
//! ```

use super::create_nodes::{self as nodes, Nodes};
use super::{check, devices, import};
use crate::config::{Change, Config, Object};
use crate::jobs::locks::{Level, LockName, LockSet, Mode};
use crate::jobs::plan::{Plan, Step, Task};
use crate::ops::disks::make::{self, NewDisk};
use crate::ops::disks::{active, adopt, provider, space};
use crate::ops::guest::{guest_with, instance_ref};
use crate::ops::{Context, Operate};
use roost_proto::choices::{AdminState, AdminStateSource, DiskTemplate, FileDriver, Hypervisor};
use roost_proto::error::{Error, Result};
use roost_proto::ids::{InstanceId, NodeId};
use roost_proto::names::InstanceName;
use roost_proto::node::{Action, Answer, ExportScripts, OsReport, OsScript, Question};
use roost_proto::objects::{Disk, Instance};
use roost_proto::opcodes::{InstanceCreate, REDACTED};
use roost_proto::params::{ParamMap, backend, fill, hypervisor};
use serde_json::Value;
use std::collections::BTreeSet;

/// Ganeti's limits.
const MAX_DISKS: usize = 16;
const MAX_NICS: usize = 8;

impl Operate for InstanceCreate {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let name = InstanceName::new(self.instance_name.to_ascii_lowercase())?;
        let mut locks = LockSet::new().with(LockName::new(Level::Instance, &name), Mode::Exclusive);
        let template = template(self, config)?;
        check::lock_nodes(&mut locks, config, &nodes::possible(self, config, template)?);
        import::lock(self, config, &mut locks)?;
        Ok(locks)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let hypervisor = hypervisor(self, config)?;
        let hvparams = hvparams(self, config, hypervisor)?;
        let bridges = bridges(self, config);
        let template = template(self, config)?;
        let primaries = nodes::primaries(self, config)?;
        let mut questions = import::questions(self, config)?;
        for node in nodes::possible(self, config, template)? {
            questions.push((node, Question::Node));
        }
        for node in primaries {
            questions.extend(adopt::questions(template, &self.disks, node));
            questions.extend(provider::question(template, node));
            questions.push((node, Question::HvValidate { hypervisor, hvparams: hvparams.clone() }));
            if !bridges.is_empty() {
                questions.push((node, Question::MissingBridges { bridges: bridges.clone() }));
            }
            if installs(self) || import::is_import(self) {
                questions.push((node, Question::OsList));
            }
        }
        Ok(questions)
    }

    fn further(&self, cx: &mut Context<'_, '_>) -> Result<Vec<(NodeId, Question)>> {
        let config = cx.config();
        let imported = import::complete(self, cx)?;
        let op = imported.as_ref().map_or(self, |(op, _)| op);
        let template = template(op, config)?;
        check_request(op, config, template)?;
        let asking = nodes::asking(op, cx, template, hypervisor(op, config)?)?;
        Ok(asking.map_or_else(Vec::new, |asking| asking.further(cx)))
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        match import::complete(self, cx)? {
            Some((op, source)) => op.make(cx, Some(&source)),
            None => self.make(cx, None),
        }
    }
}

/// How it is made; with `source` from an export.
trait Make {
    fn make(&self, cx: &mut Context<'_, '_>, source: Option<&import::Source>) -> Result<Plan>;
}

impl Make for InstanceCreate {
    fn make(&self, cx: &mut Context<'_, '_>, source: Option<&import::Source>) -> Result<Plan> {
        let config = cx.config();
        let template = template(self, config)?;
        check_request(self, config, template)?;
        let name = InstanceName::new(self.instance_name.to_ascii_lowercase())?;
        if config.index.instance_by_name.contains_key(name.as_str()) {
            return Err(Error::exists(format!("Instance '{name}' is already in the cluster")));
        }
        let hypervisor = hypervisor(self, config)?;
        let beparams = backend::typed(&self.beparams)?;
        let be = fill::beparams(&config.cluster, &beparams);
        be.check()?;
        let start = self.start && self.no_install != Some(true);
        if self.no_install == Some(true) && self.start {
            cx.info("No-installation mode selected, disabling startup");
        }

        let Nodes { primary, secondary } = nodes::choose(self, cx, template, hypervisor)?;
        let node = config.node_by_id(primary)?;
        check::good_target(node)?;
        if let Some(other) = secondary.map(|id| config.node_by_id(id)).transpose()?
            && other.group != node.group
        {
            cx.warn(
                "The primary and secondary nodes are in two different node groups; the disk \
                 parameters from the first disk's node group will be used",
            );
        }
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
        let uuid = InstanceId(cx.uuid());
        let place = Nodes { primary, secondary };
        let disks = new_disks(self, cx, (uuid, &name), template, place)?;
        check::access(config, hypervisor, node, &disks)?;
        if template == DiskTemplate::Ext {
            provider::check(cx, primary, &self.disks)?;
        }
        if !adopts(self) {
            let used = active::sides(primary, &disks);
            space::check(cx, &used, &disks)?;
        }
        let own_hvparams =
            hypervisor::typed(hypervisor, &self.hvparams, hypervisor::Scope::Instance)?;
        let network_port =
            if hypervisor.needs_network_port() { Some(cx.new_port()?) } else { None };
        let now = cx.now();
        let private = self.osparams_private.as_ref().map(|p| p.reveal().clone());
        let instance = Instance {
            uuid,
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
            // Mirrors that nobody waits for go on becoming equal.
            disks_active: !disks.is_empty() && (start || goes_on(self, &disks)),
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

        let source = source.map(|source| (source, cx.uuid().to_string()));
        let mut plan = cx.start_plan();
        fill_plan(self, config, &mut plan, &instance, (&disks, source), start)?;
        plan.pivot.changes =
            disks.into_iter().map(|d| Change::Add(Object::Disk(Box::new(d)))).collect();
        plan.pivot.changes.push(Change::Add(Object::Instance(Box::new(instance))));
        plan.pivot.say.push(format!("adding instance {name} to cluster config"));
        let names = std::iter::once(primary).chain(secondary).map(|id| config.node_name(id));
        plan.result = names.collect();
        Ok(plan)
    }
}

/// Disks are taken over, not made.
fn adopts(op: &InstanceCreate) -> bool {
    op.disks.iter().any(|spec| spec.adopt.is_some())
}

/// Mirrors become equal after the job has ended.
fn goes_on(op: &InstanceCreate, disks: &[Disk]) -> bool {
    !op.wait_for_sync && disks.iter().any(active::is_mirror)
}

fn fill_plan(
    op: &InstanceCreate,
    config: &Config,
    plan: &mut Plan,
    instance: &Instance,
    (disks, source): (&[Disk], Option<(&import::Source, String)>),
    start: bool,
) -> Result<()> {
    let node = instance.primary_node;
    let who = instance_ref(instance);
    let guest = Box::new(guest_with(config, instance, disks)?);
    let on = |action| Task::on(node, action);
    let mut steps = match adopts(op) {
        true => adopt::steps(config, &who, disks, &op.disks, node)?,
        false => active::create(config, &who, disks, node)?,
    };
    if let Some(first) = steps.first_mut() {
        first.say = Some(match adopts(op) {
            true => "* adopting existing volumes...".into(),
            false => "* creating instance disks...".into(),
        });
    }
    if goes_on(op, disks)
        && let Some(last) = steps.last_mut()
    {
        // It is connected, or this step fails.
        last.say = Some("* checking mirrors status".into());
    }
    plan.before.extend(steps);
    if config.cluster.prealloc_wipe_disks && !disks.is_empty() && !adopts(op) {
        // On the primary: what is written there is written to mirrors, too.
        let here = active::on_node(config, node, node, disks)?;
        let wipe = Action::DisksWipe { instance: who.clone(), disks: here };
        plan.before.push(
            Step::new("wiping instance disks", on(wipe)).saying("* wiping instance disks..."),
        );
    }
    if let Some((source, token)) = source {
        let scripts = ExportScripts {
            guest: (*guest).clone(),
            osparams: fill::osparams(&config.cluster, &instance.os, &instance.osparams),
            osparams_private: private_params(op, config, instance),
            debug: false,
        };
        plan.before.extend(import::steps(source, config, scripts, &op.compress, token)?);
    } else if installs(op) && !disks.is_empty() {
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
    if op.wait_for_sync {
        plan.before.extend(active::sync(config, &who, disks, node)?);
    }
    if start {
        plan.after.push(
            Step::new("starting instance", on(Action::GuestStart { guest, paused: false }))
                .saying("* starting instance..."),
        );
    } else if !goes_on(op, disks) {
        plan.after.extend(active::shutdown(config, &who, disks, node, &[])?);
    }
    Ok(())
}

/// The OS create script will run.
fn installs(op: &InstanceCreate) -> bool {
    op.no_install != Some(true) && op.os_type.is_some()
}

/// What can be refused without asking anybody.
fn check_request(op: &InstanceCreate, config: &Config, template: DiskTemplate) -> Result<()> {
    if op.forthcoming || op.commit {
        return Err(Error::wrong_input("Forthcoming instances are not available in this version"));
    }
    if op.ip_check && !op.name_check {
        return Err(Error::wrong_input("Cannot do IP address check without a name check"));
    }
    if op.instance_communication {
        return Err(Error::wrong_input("Instance communication is not available in this version"));
    }
    if op.os_type.is_none() && op.no_install != Some(true) {
        return Err(Error::wrong_input(
            "No guest OS or OS image specified: give one with -o, or use --no-install",
        ));
    }
    nodes::check(op, config, template)?;
    adopt::check_all(&op.disks)?;
    if adopts(op) && op.pnode.is_none() && op.pnode_uuid.is_none() {
        return Err(Error::wrong_input(
            "Disk adoption is not possible with an iallocator: name the node that has them (-n)",
        ));
    }
    for (count, most, what) in
        [(op.disks.len(), MAX_DISKS, "disks"), (op.nics.len(), MAX_NICS, "network cards")]
    {
        if count > most {
            return Err(Error::wrong_input(format!("An instance can have at most {most} {what}")));
        }
    }
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
        .or(import::likely_template(op))
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
    (instance, name): (InstanceId, &InstanceName),
    template: DiskTemplate,
    nodes: Nodes,
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
    let directory = match template {
        DiskTemplate::File | DiskTemplate::SharedFile => {
            devices::file_directory(cx.config(), template, subdirectory, name)?
        }
        _ => String::new(),
    };
    let Nodes { primary, secondary } = nodes;
    let directory = directory.as_str();
    let specs = op.disks.iter().enumerate();
    let mut new = |(index, spec)| {
        let what =
            NewDisk { template, spec, index, instance, primary, secondary, directory, driver };
        make::new_disk(cx, &what)
    };
    specs.map(&mut new).collect()
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
