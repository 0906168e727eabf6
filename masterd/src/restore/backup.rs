//! From a backup: the same cluster again, at most as new as the backup.
//!
//! The nodes have seen more since. So the epoch is raised far above the backup's, and job numbers
//! jump; what jobs were doing when the backup was made is not resumed.

use super::place::{self, Place};
use super::{json_text, meta, numbers_end};
use crate::backup::{digest, epoch_key};
use crate::clock;
use crate::config::{Change, Config, Object};
use crate::jobs::journal::job_key;
use crate::pki::Pair;
use crate::replication::Voters;
use crate::store::{Contents, Key, Space};
use roost_proto::error::{Error, Result};
use roost_proto::ids::{Epoch, JobId, Serial};
use roost_proto::import::{Backup, BackupImport, Document, KEPT_FILES};
use roost_proto::job::{JobRecord, JobStatus, Timestamp};
use roost_proto::paths::{Identity, Paths};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

/// Leaderships and jobs that may have been since the backup was made.
const LEADERSHIPS: u64 = 1_000_000;
const JOBS: u64 = 10_000;

/// Does it. See the module.
pub fn restore(paths: &Paths, spec: &BackupImport) -> Result<String> {
    let backup = Backup::read(&spec.file)?;
    if digest(&backup) != backup.digest {
        return Err(Error::wrong_input(
            "This backup is damaged: its content does not have its digest; take another copy of it",
        ));
    }
    let mut config = Config::load(&contents(&backup)?)
        .map_err(|e| Error::wrong_input(format!("This backup cannot be used: {e}")))?;
    let mut identity: Identity = serde_json::from_str(&backup.files.identity)
        .map_err(|e| Error::wrong_input(format!("This backup's identity is unreadable: {e}")))?;
    if identity.node != config.master() || identity.cluster != config.cluster.uuid {
        return Err(Error::wrong_input(format!(
            "This backup contradicts itself: it has the keys of node {}, but its master is {}",
            identity.name,
            config.node_name(config.master())
        )));
    }
    let changes = changes(&config, spec, &mut identity)?;
    let mut documents = kept(&backup)?;
    if !changes.is_empty() {
        let (next, written) = config
            .apply(&changes, clock::seconds())
            .map_err(|e| Error::wrong_input(format!("This cannot be restored so: {e}")))?;
        config = next;
        documents.extend(written.puts);
    }
    // Who votes on changes and masters: those who are still candidates, and no set from before.
    let voters = Voters::one(Voters::wanted(&config));
    documents.insert(Voters::key(), json_text(&voters)?);
    let now = clock::now();
    let jobs = close_jobs(&mut documents, now);
    let numbers = last_job(&documents) + JOBS;
    documents.extend([numbers_end(
        JobId(numbers),
        &format!("restored from a backup; jobs up to {numbers} may have been since"),
        now,
    )?]);
    let seen = seen_here(paths);
    let epoch = spec.epoch.unwrap_or(0).saturating_sub(1);
    // Seconds since 1970 grow faster than leaderships: a second restore is above the first.
    let epoch = Epoch(epoch.max(seen).max(backup.epoch + LEADERSHIPS).max(now.0));
    documents.extend([meta(&epoch_key().id, epoch.to_string())]);

    let mut report = describe(&backup, &config, &jobs, epoch);
    let there = place::occupied(paths);
    if spec.dry_run {
        if let Some(path) = there.filter(|_| !spec.force) {
            let line = format!("This machine belongs to a cluster ({}): --force\n", path.display());
            report.push_str(&line);
        }
        return Ok(report);
    }
    if let Some(path) = there.filter(|_| !spec.force) {
        return Err(Error::wrong_state(format!(
            "This machine belongs to a cluster already: {} exists. To put the backup in its place \
             (the old files are kept beside) use --force",
            path.display()
        )));
    }
    let files = backup.files;
    let others = files.others.into_iter().filter(|(name, _)| KEPT_FILES.contains(&name.as_str()));
    let place = Place {
        identity,
        authority: Pair { certificate: files.authority, key: files.authority_key },
        own: Pair { certificate: files.certificate, key: files.key },
        others: others.collect(),
        config,
        documents: documents.into_iter().collect(),
        epoch,
    };
    for path in place.write(paths)? {
        let _ = writeln!(report, "What was here is now {}", path.display());
    }
    Ok(report)
}

/// All documents as a store would give them.
fn contents(backup: &Backup) -> Result<Contents> {
    let documents = kept(backup)?.into_iter().collect();
    Ok(Contents { serial: Serial(backup.serial), documents })
}

fn kept(backup: &Backup) -> Result<BTreeMap<Key, String>> {
    let read = |Document(space, id, body): &Document| {
        let space = Space::of(space).ok_or_else(|| {
            Error::wrong_input(format!("This backup has documents of the unknown kind '{space}'"))
        })?;
        Ok((Key::new(space, id), body.clone()))
    };
    backup.documents.iter().map(read).collect()
}

/// What of the configuration is no longer so: this machine's address, machines that are gone.
fn changes(config: &Config, spec: &BackupImport, identity: &mut Identity) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    if let Some(text) = &spec.address {
        let address: IpAddr =
            text.parse().map_err(|_| Error::wrong_input(format!("'{text}' is not an address")))?;
        let mut node = (**config.node_by_id(identity.node)?).clone();
        if node.secondary_ip == node.primary_ip {
            node.secondary_ip = address.to_string();
        }
        node.primary_ip = address.to_string();
        identity.address = address.to_string();
        changes.push(Change::Update(Object::Node(Box::new(node))));
    }
    let mut cluster = (*config.cluster).clone();
    for name in &spec.lost {
        let mut node = (**config.node(name)?).clone();
        if node.uuid == identity.node {
            return Err(Error::wrong_input(format!(
                "Node {} is the master, which this machine is to be; it cannot be lost",
                node.name
            )));
        }
        node.offline = true;
        node.drained = false;
        node.master_candidate = false;
        cluster.candidate_certs.remove(&node.uuid);
        changes.push(Change::Update(Object::Node(Box::new(node))));
    }
    if cluster != *config.cluster {
        changes.push(Change::Update(Object::Cluster(Box::new(cluster))));
    }
    Ok(changes)
}

/// Ends jobs that were not over. Returns them with the states they had.
fn close_jobs(documents: &mut BTreeMap<Key, String>, now: Timestamp) -> Vec<(JobId, JobStatus)> {
    let mut closed = Vec::new();
    documents.retain(|key, _| key.space != Space::Journal);
    for (key, body) in documents.iter_mut().filter(|(key, _)| key.space == Space::Job) {
        let Ok(mut record) = serde_json::from_str::<JobRecord>(body) else { continue };
        let status = record.status();
        if status.is_final() || *key != job_key(record.id) {
            continue;
        }
        let error = Error::exec(
            "The cluster was restored from a backup made while this was not over; it was not resumed. \
             Look with 'gnt-cluster verify' what it left behind",
        );
        for op in record.ops.iter_mut().filter(|op| !op.status.is_final()) {
            op.status = match op.status {
                JobStatus::Queued | JobStatus::Waiting => JobStatus::Canceled,
                _ => JobStatus::Error,
            };
            op.result = error.to_result();
            op.end_timestamp = Some(now);
        }
        record.end_timestamp = Some(now);
        if let Ok(text) = json_text(&record) {
            *body = text;
            closed.push((record.id, status));
        }
    }
    closed
}

/// The highest number of a job there is.
fn last_job(documents: &BTreeMap<Key, String>) -> u64 {
    let jobs = documents.keys().filter(|k| matches!(k.space, Space::Job | Space::Archive));
    jobs.filter_map(|key| key.id.parse().ok()).max().unwrap_or(0)
}

/// The epoch that this machine's own node daemon has seen.
fn seen_here(paths: &Paths) -> u64 {
    let text = std::fs::read_to_string(paths.noded_dir().join("epoch")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

fn describe(backup: &Backup, config: &Config, jobs: &[(JobId, JobStatus)], epoch: Epoch) -> String {
    let mut out = String::new();
    let age = (clock::seconds() - backup.made).max(0.0);
    // Writing to text cannot fail.
    let _ = writeln!(out, "Backup of cluster {} ({})", backup.cluster_name, backup.cluster_uuid);
    let _ = writeln!(
        out,
        "made {} ({} ago) by Roost {}, at serial {} of epoch {}",
        super::date(backup.made),
        span(age),
        backup.release,
        backup.serial,
        backup.epoch
    );
    let _ = writeln!(
        out,
        "{} node(s), {} instance(s), {} disk(s), {} network(s)",
        config.nodes.size(),
        config.instances.size(),
        config.disks.size(),
        config.networks.size()
    );
    let mut nodes: Vec<_> = config.nodes.values().collect();
    roost_proto::nicesort::sort_by_key(&mut nodes, |n| n.name.to_string());
    for node in nodes {
        let role = node.role(config.master()).letter();
        let _ = writeln!(out, "  - node {} ({role}, {})", node.name, node.primary_ip);
    }
    for (id, status) in jobs {
        let _ = writeln!(out, "Job {id} was {status}: it is not resumed");
    }
    let _ = writeln!(
        out,
        "Nodes are commanded with an epoch above {epoch}. If one says that it obeys a higher one, \
         import again with --force --epoch and a number above that"
    );
    let _ = writeln!(
        out,
        "What was changed since the backup is not known to it: look with 'gnt-cluster verify' for \
         disks and guests without an instance"
    );
    out
}

/// A time span, roughly.
fn span(seconds: f64) -> String {
    for (unit, length) in [("days", 86_400.0), ("hours", 3_600.0), ("minutes", 60.0)] {
        if seconds >= 2.0 * length {
            return format!("{:.0} {unit}", seconds / length);
        }
    }
    format!("{seconds:.0} seconds")
}
