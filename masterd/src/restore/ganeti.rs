//! From Ganeti's configuration: the same objects under new certificates.
//!
//! Nothing that runs is touched. Guests were started by Ganeti and are not ours to see, so instances
//! that were up are recorded as stopped, with a tag that finds them again: nobody starts them a
//! second time. Other nodes are known but have no certificate, and so are no candidates, until they
//! join.

use super::numbers_end;
use super::place::{self, Place};
use crate::config::{Config, Object};
use crate::store::{Contents, Key};
use crate::{clock, files, pki};
use roost_proto::choices::AdminState;
use roost_proto::error::{Error, Result};
use roost_proto::ids::{Epoch, JobId, NodeId, Serial};
use roost_proto::import::{GanetiImport, KEPT_FILES, understand};
use roost_proto::names::match_name;
use roost_proto::objects::ConfigData;
use roost_proto::paths::{Identity, Paths};
use std::fmt::Write;
use std::path::Path;

/// Ganeti's own `config.data`, kept beside what is published in its place.
const ORIGINAL: &str = "config.data.ganeti";
/// Found on instances that were up.
const WAS_UP: &str = "imported:up";

/// Does it. See the module.
pub fn import(paths: &Paths, spec: &GanetiImport) -> Result<String> {
    let (config, report) = understand(&spec.config);
    let mut text = report.to_text();
    let Some(mut config) = config else {
        return Err(Error::wrong_input(format!(
            "This configuration cannot be taken over.\n\n{text}"
        )));
    };
    let own = match &spec.master {
        Some(name) => node_named(&config, name)?,
        None => config.cluster.master_node,
    };
    let (others, found) = secrets(spec.data_dir.as_deref())?;
    let last = spec.data_dir.as_deref().map_or(0, last_job);
    let _ = writeln!(text, "\nThis machine will be node {}.", config.nodes[&own].name);
    text.push_str(&found);
    if spec.dry_run {
        return Ok(text);
    }
    if !report.unsupported.is_empty() && !spec.force {
        return Err(Error::wrong_state(format!(
            "{text}\nSome of it is not supported (see above). To take it over all the same, as a part of \
             the configuration that this version leaves alone, use --force"
        )));
    }
    if let Some(path) = place::occupied(paths) {
        return Err(Error::wrong_state(format!(
            "This machine belongs to a cluster already: {} exists",
            path.display()
        )));
    }
    adapt(&mut config, own, spec.keep_admin_state);
    let authority = pki::new_authority(&config.cluster.cluster_name)?;
    let pair = pki::new_node(&authority, own)?;
    config.cluster.candidate_certs = [(own, pki::fingerprint(&pair.certificate)?)].into();
    let identity = Identity {
        cluster: config.cluster.uuid,
        node: own,
        name: config.nodes[&own].name.clone(),
        address: config.nodes[&own].primary_ip.clone(),
    };
    let mut documents = documents(config);
    let contents = Contents { serial: Serial(0), documents: documents.clone() };
    let config = Config::load(&contents)
        .map_err(|e| Error::wrong_input(format!("This configuration cannot be taken over: {e}")))?;
    if last > 0 {
        let why = format!("taken over from Ganeti, whose last job was {last}");
        documents.push(numbers_end(JobId(last), &why, clock::now())?);
    }
    let epoch = Epoch(0);
    keep_original(paths)?;
    Place { identity, authority, own: pair, others, config, documents, epoch }.write(paths)?;
    Ok(text)
}

/// Where Ganeti's file is masterd will publish ours: the way back needs the original.
fn keep_original(paths: &Paths) -> Result<()> {
    let (original, kept) = (paths.published_config(), paths.data_dir().join(ORIGINAL));
    if original.exists() && !kept.exists() {
        files::write(&kept, &files::read_bytes(&original)?, 0o600)?;
    }
    Ok(())
}

fn node_named(config: &ConfigData, name: &str) -> Result<NodeId> {
    let names = config.nodes.values().map(|n| n.name.as_str());
    let found = match_name(name, names)
        .map_err(|_| Error::unknown(format!("The configuration has no node '{name}'")))?;
    let node = config.nodes.values().find(|n| n.name.as_str() == found);
    node.map(|n| n.uuid).ok_or_else(|| Error::unknown(format!("There is no node '{name}'")))
}

/// Makes it ours: this node leads alone, and nothing is taken for running.
fn adapt(config: &mut ConfigData, own: NodeId, keep_admin_state: bool) {
    let cluster = &mut config.cluster;
    cluster.master_node = own;
    cluster.modify_etc_hosts = false;
    cluster.modify_ssh_setup = false;
    for node in config.nodes.values_mut() {
        node.master_candidate = node.uuid == own;
        if node.uuid == own {
            node.offline = false;
            node.drained = false;
            node.master_capable = true;
        }
    }
    if keep_admin_state {
        return;
    }
    for instance in config.instances.values_mut().filter(|i| i.admin_state == AdminState::Up) {
        instance.admin_state = AdminState::Down;
        instance.disks_active = false;
        if !instance.tags.iter().any(|tag| tag == WAS_UP) {
            instance.tags.push(WAS_UP.to_owned());
        }
    }
}

/// As the store keeps them.
fn documents(config: ConfigData) -> Vec<(Key, String)> {
    let mut objects = vec![Object::Cluster(Box::new(config.cluster))];
    objects.extend(config.nodegroups.into_values().map(Object::Group));
    objects.extend(config.networks.into_values().map(Object::Network));
    objects.extend(config.nodes.into_values().map(|o| Object::Node(Box::new(o))));
    objects.extend(config.disks.into_values().map(|o| Object::Disk(Box::new(o))));
    objects.extend(config.instances.into_values().map(|o| Object::Instance(Box::new(o))));
    objects.extend(config.filters.into_values().map(Object::Filter));
    objects.iter().map(|object| (object.key(), object.to_body())).collect()
}

/// Ganeti's other secrets, and a sentence on each.
fn secrets(data_dir: Option<&str>) -> Result<(Vec<(String, String)>, String)> {
    let Some(dir) = data_dir.map(Path::new) else {
        let none = "No --data-dir: the keys of confd and of the REST gateway will be new ones.\n";
        return Ok((vec![], none.to_owned()));
    };
    if !dir.is_dir() {
        return Err(Error::wrong_input(format!("{} is not a directory", dir.display())));
    }
    let mut found = Vec::new();
    for name in KEPT_FILES {
        let path = dir.join(name);
        if path.exists() {
            found.push(((*name).to_owned(), files::read(&path)?));
        }
    }
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    Ok((found, format!("Taken over from {}: {names}.\n", dir.display())))
}

/// The number of the last job in Ganeti's queue.
fn last_job(data_dir: &str) -> u64 {
    let text = std::fs::read_to_string(Path::new(data_dir).join("queue/serial"));
    text.unwrap_or_default().trim().parse().unwrap_or(0)
}
