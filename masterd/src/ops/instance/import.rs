//! New instances from exports: `OP_INSTANCE_CREATE` with mode `import`.
//!
//! ```text
//!   export's config.ini ─► what the request lacks ─► a request like any other
//!                                                    its disks filled by dumps, not by `create`
//! ```

use super::check;
use crate::config::Config;
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{OnFailure, Step, Task};
use crate::ops::Context;
use crate::ops::backup::check_tool;
use crate::ops::backup::config_ini::{Sections, VERSION};
use roost_proto::choices::{DiskTemplate, Hypervisor, InstCreateMode};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{
    Action, Answer, ExportAction, ExportAnswer, ExportInfo, ExportQuestion, ExportScripts,
    GuestSpec, OsScript, Question,
};
use roost_proto::opcodes::{DiskSpec, InstanceCreate, NicSpec, PrivateParams};
use roost_proto::params::{ParamMap, backend, fill, hypervisor};
use serde_json::Value;

/// An export that an instance is made from.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it is.
    node: NodeId,
    /// Its directory there, absolute or below the export directory.
    path: String,
    /// Of each disk.
    dumps: Vec<String>,
    old_name: String,
}

/// Whether an instance is made from an export.
pub fn is_import(op: &InstanceCreate) -> bool {
    op.mode == InstCreateMode::Import
}

/// The template of an import, as long as the export was not read: two nodes are for a mirror.
pub fn likely_template(op: &InstanceCreate) -> Option<DiskTemplate> {
    let two = op.snode.is_some() || op.snode_uuid.is_some();
    (is_import(op) && two).then_some(DiskTemplate::Drbd)
}

/// Where the export is, if that was said.
fn named_node(op: &InstanceCreate, config: &Config) -> Result<Option<NodeId>> {
    let name = op.src_node_uuid.as_ref().or(op.src_node.as_ref());
    let Some(name) = name else { return Ok(None) };
    let node = config.node(name)?;
    if node.offline {
        return Err(Error::wrong_state(format!("Node {} is marked offline", node.name)));
    }
    Ok(Some(node.uuid))
}

/// The nodes on which it may be.
fn nodes(op: &InstanceCreate, config: &Config) -> Result<Vec<NodeId>> {
    Ok(match named_node(op, config)? {
        Some(node) => vec![node],
        None => config.online_nodes().map(|node| node.uuid).collect(),
    })
}

fn path(op: &InstanceCreate) -> Result<String> {
    let path = op.src_path.clone().unwrap_or_else(|| op.instance_name.to_ascii_lowercase());
    if path.starts_with('/') && op.src_node.is_none() && op.src_node_uuid.is_none() {
        return Err(Error::wrong_input(
            "Importing an instance from a path requires a source node option (--src-node)",
        ));
    }
    Ok(path)
}

/// Locks the node that has the export, if it is known.
pub fn lock(op: &InstanceCreate, config: &Config, locks: &mut LockSet) -> Result<()> {
    if is_import(op) {
        check::lock_nodes(locks, config, &named_node(op, config)?.into_iter().collect::<Vec<_>>());
    }
    Ok(())
}

/// What must be asked besides.
pub fn questions(op: &InstanceCreate, config: &Config) -> Result<Vec<(NodeId, Question)>> {
    if !is_import(op) {
        return Ok(vec![]);
    }
    let path = path(op)?;
    let ask = |node| (node, Question::Export(ExportQuestion::Info { path: path.clone() }));
    Ok(nodes(op, config)?.into_iter().map(ask).collect())
}

/// The request with what it lacks from the export, and where that is. A request without import
/// stays as it is.
pub fn complete(
    op: &InstanceCreate,
    cx: &mut Context<'_, '_>,
) -> Result<Option<(InstanceCreate, Source)>> {
    if op.mode == InstCreateMode::RemoteImport {
        return Err(Error::wrong_input(
            "Imports from another cluster are not available in this version; export the instance \
             there, carry the directory over, and use 'gnt-backup import'",
        ));
    }
    if !is_import(op) {
        return Ok(None);
    }
    let config = cx.config();
    check_tool(config, &op.compress)?;
    if op.disks.iter().any(|disk| disk.adopt.is_some()) {
        return Err(Error::wrong_input(
            "Disk adoption is not allowed when an instance is imported",
        ));
    }
    let path = path(op)?;
    let (node, info) = find(cx, &path)?;
    let ini = Sections::parse(&info.config)?;
    let version = ini.need("export", "version")?;
    if version != VERSION {
        return Err(Error::environment(format!(
            "Wrong export version {version} (wanted {VERSION})"
        )));
    }
    let old_name = ini.need("instance", "name")?.to_owned();
    let mut new = InstanceCreate { src_path: Some(path.clone()), ..op.clone() };
    new.force_variant = true;
    new.no_install = None;
    new.os_type = Some(match &op.os_type {
        Some(os) => os.clone(),
        None => ini.need("export", "os")?.to_owned(),
    });
    if new.disk_template.is_none() {
        let exported = ini.get("instance", "disk_template").and_then(|t| t.parse().ok());
        let enabled = |t: &DiskTemplate| config.cluster.enabled_disk_templates.contains(t);
        new.disk_template = exported.filter(enabled);
    }
    if new.hypervisor.is_none() {
        let exported = ini.get("instance", "hypervisor").map(str::parse::<Hypervisor>);
        new.hypervisor = exported.transpose().map_err(|e| Error::wrong_input(e.to_string()))?;
    }
    let dumps = disks(&mut new, &ini, info)?;
    nics(&mut new, &ini, &old_name)?;
    if new.tags.is_empty() {
        let tags = ini.get("instance", "tags").unwrap_or_default();
        new.tags = tags.split_whitespace().map(str::to_owned).collect();
    }
    params(&mut new, cx, &ini)?;
    cx.info(format!("Importing from the export '{path}' on node {}", config.node_name(node)));
    Ok(Some((new, Source { node, path, dumps, old_name })))
}

/// The export: on the node asked for, or on the only one that has it.
fn find<'b>(cx: &Context<'_, 'b>, path: &str) -> Result<(NodeId, &'b ExportInfo)> {
    let config = cx.config();
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for (node, question, answer) in cx.answers() {
        if !matches!(question, Question::Export(ExportQuestion::Info { .. })) {
            continue;
        }
        match answer {
            Ok(Answer::Export(ExportAnswer::Info(Some(info)))) => found.push((*node, info)),
            Ok(_) => {}
            Err(e) => problems.push(format!("; node {}: {}", config.node_name(*node), e.message)),
        }
    }
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(Error::unknown(format!(
            "No export found for relative path '{path}' on any node that was asked{}; see \
             'gnt-backup list'",
            problems.concat()
        ))),
        several => {
            let mut names: Vec<_> = several.iter().map(|(n, _)| config.node_name(*n)).collect();
            names.sort();
            Err(Error::wrong_input(format!(
                "There are exports '{path}' on several nodes ({}); say which one is meant with \
                 --src-node",
                names.join(", ")
            )))
        }
    }
}

/// Disks as large as they were, unless others were asked for; their dumps.
fn disks(op: &mut InstanceCreate, ini: &Sections, info: &ExportInfo) -> Result<Vec<String>> {
    let count = ini.number("instance", "disk_count")?;
    let mut dumps = Vec::new();
    for n in 0..count {
        let dump = ini.need("instance", &format!("disk{n}_dump"))?;
        if !info.dumps.contains_key(dump) {
            return Err(Error::environment(format!(
                "The dump '{dump}' of disk {n} is missing in the export"
            )));
        }
        dumps.push(dump.to_owned());
    }
    let asked = op.disks.len();
    if asked > 0 && asked < dumps.len() {
        return Err(Error::wrong_input(format!(
            "There are {} disk(s) in the export, but only {asked} disk(s) are asked for",
            dumps.len()
        )));
    }
    if asked == 0 {
        for n in 0..count {
            op.disks.push(DiskSpec {
                size: Some(ini.number("instance", &format!("disk{n}_size"))?),
                name: ini.get("instance", &format!("disk{n}_name")).map(str::to_owned),
                ..DiskSpec::default()
            });
        }
    }
    Ok(dumps)
}

/// Its cards, unless others were asked for. They keep their addresses only if the instance keeps
/// its name: otherwise there might soon be two of each.
fn nics(op: &mut InstanceCreate, ini: &Sections, old_name: &str) -> Result<()> {
    if !op.nics.is_empty() {
        return Ok(());
    }
    let same = old_name.eq_ignore_ascii_case(&op.instance_name);
    for n in 0..ini.number("instance", "nic_count").unwrap_or(0) {
        let get = |key: &str| ini.get("instance", &format!("nic{n}_{key}")).map(str::to_owned);
        let network = get("network");
        // A network says by itself what its cards are connected with.
        let own = |key: &str| if network.is_some() { None } else { get(key) };
        op.nics.push(NicSpec {
            mac: Some(get("mac").filter(|_| same).unwrap_or_else(|| "generate".into())),
            ip: get("ip"),
            mode: own("mode"),
            link: own("link"),
            vlan: own("vlan"),
            name: get("name"),
            network,
            ..NicSpec::default()
        });
    }
    Ok(())
}

/// Parameters that were not asked for otherwise.
fn params(op: &mut InstanceCreate, cx: &mut Context<'_, '_>, ini: &Sections) -> Result<()> {
    let config = cx.config();
    let text = |value: &str| Value::from(value);
    let hv = op.hypervisor.or(config.cluster.default_hypervisor());
    let mut left_out = Vec::new();
    for (key, value) in ini.all("hypervisor") {
        let Some(hv) = hv else { continue };
        let one = ParamMap::from([(key.to_owned(), meant(value))]);
        match hypervisor::typed(hv, &one, hypervisor::Scope::Instance) {
            Ok(typed) => add(&mut op.hvparams, typed),
            // Of another hypervisor, or of a version that knew others.
            Err(_) => left_out.push(key.to_owned()),
        }
    }
    for (key, value) in ini.all("backend") {
        let one = ParamMap::from([(key.to_owned(), meant(value))]);
        match backend::typed(&one) {
            Ok(typed) => add(&mut op.beparams, typed),
            Err(_) => left_out.push(key.to_owned()),
        }
    }
    for (key, old) in [("maxmem", "memory"), ("minmem", "memory"), ("vcpus", "vcpus")] {
        if !op.beparams.contains_key(key)
            && let Some(value) = ini.get("instance", key).or(ini.get("instance", old))
        {
            add(&mut op.beparams, backend::typed(&[(key.to_owned(), text(value))].into())?);
        }
    }
    for (key, value) in ini.all("os") {
        op.osparams.entry(key.to_owned()).or_insert_with(|| text(value));
    }
    let mut private = op.osparams_private.as_ref().map(|p| p.reveal().clone()).unwrap_or_default();
    for (key, value) in ini.all("os_private") {
        private.entry(key.to_owned()).or_insert_with(|| text(value));
    }
    op.osparams_private = (!private.is_empty()).then(|| PrivateParams::new(private));
    if op.identify_defaults {
        leave_to_defaults(op, config);
    }
    if !left_out.is_empty() {
        cx.warn(format!(
            "Parameters of the export that are not known here are left out: {}",
            left_out.join(", ")
        ));
    }
    Ok(())
}

/// What a text of the export stands for: Python writes its own words.
fn meant(value: &str) -> Value {
    match value {
        "None" => Value::Null,
        "True" => true.into(),
        "False" => false.into(),
        text => text.into(),
    }
}

fn add(to: &mut ParamMap, more: ParamMap) {
    for (key, value) in more {
        to.entry(key).or_insert(value);
    }
}

/// Values that equal the cluster's defaults are none of the instance's own.
fn leave_to_defaults(op: &mut InstanceCreate, config: &Config) {
    let cluster = &config.cluster;
    let os = op.os_type.clone().unwrap_or_default();
    let none = ParamMap::new();
    let differs = |own: &ParamMap, below: &ParamMap| -> ParamMap { fill::differences(own, below) };
    if let Some(hv) = op.hypervisor.or(cluster.default_hypervisor()) {
        op.hvparams = differs(&op.hvparams, &fill::hvparams(cluster, hv, &os, &none));
    }
    op.beparams = differs(&op.beparams, &fill::beparams_map(cluster, &none));
    op.osparams = differs(&op.osparams, &fill::osparams(cluster, &os, &none));
}

/// Fills the disks of the new instance, which are in use on its node.
pub fn steps(
    source: &Source,
    config: &Config,
    scripts: ExportScripts,
    compress: &str,
    token: String,
) -> Result<Vec<Step>> {
    let guest: &GuestSpec = &scripts.guest;
    let primary = config.node(&guest.primary_node)?;
    let on = |node, action| Task::on(node, Action::Export(action));
    let send = ExportAction::SendDumps {
        path: source.path.clone(),
        dumps: source.dumps.clone(),
        target: primary.uuid,
        address: primary.primary_ip.clone(),
        token: token.clone(),
        compress: compress.to_owned(),
    };
    let rename = Action::OsRun {
        guest: Box::new(guest.clone()),
        script: OsScript::Rename { old_name: source.old_name.clone() },
        osparams: scripts.osparams.clone(),
        osparams_private: scripts.osparams_private.clone(),
        debug: scripts.debug,
    };
    let accept = ExportAction::Accept { scripts: Box::new(scripts), token };
    Ok(vec![
        Step::new("preparing the import", on(primary.uuid, accept)),
        Step::new("running the instance OS import scripts", on(source.node, send))
            .saying("* running the instance OS import scripts..."),
        Step::new("running the instance OS rename script", Task::on(primary.uuid, rename))
            .on_failure(OnFailure::Warn),
    ])
}
