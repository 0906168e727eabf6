//! Backups: the whole state at one serial, for `gnt-cluster export-config`.

use crate::config::{Config, RELEASE};
use crate::state::State;
use crate::store::{Contents, Key, Since, Space};
use crate::{clock, files};
use roost_proto::error::{Error, Result};
use roost_proto::ids::Serial;
use roost_proto::import::{BACKUP_FORMAT, Backup, Document, KEPT_FILES, KeptFiles, strict};
use roost_proto::objects::{CONFIG_VERSION, ConfigData, ParamMap};
use roost_proto::paths::Paths;
use roost_proto::rpc::master as pb;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Where the store keeps the epoch of the last leadership.
pub fn epoch_key() -> Key {
    Key::new(Space::Meta, "epoch")
}

/// Bytes in one message.
const CHUNK: usize = 1 << 20;

/// The answer to `ExportConfig`, in pieces.
pub async fn export(
    state: &State,
    paths: &Paths,
    request: &pb::ExportRequest,
) -> Result<ReceiverStream<std::result::Result<pb::ExportChunk, Status>>> {
    let (text, notes) = match request.format.as_str() {
        "roost" => (whole(state, paths, request.archived).await?, vec![]),
        "ganeti" => ganeti(&state.config())?,
        other => {
            return Err(Error::wrong_input(format!(
                "'{other}' is not a format of backups; there are roost, ganeti"
            )));
        }
    };
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        let first = pb::ExportChunk { data: vec![], notes };
        let pieces = text.as_bytes().chunks(CHUNK);
        let rest = pieces.map(|data| pb::ExportChunk { data: data.to_vec(), notes: vec![] });
        for chunk in std::iter::once(first).chain(rest) {
            // A client that went away wants no more.
            if sender.send(Ok(chunk)).await.is_err() {
                return;
            }
        }
    });
    Ok(ReceiverStream::new(receiver))
}

/// A backup from which the cluster can be made again.
async fn whole(state: &State, paths: &Paths, archived: bool) -> Result<String> {
    let contents = match state.since(Serial(0)).await? {
        Since::Snapshot(contents) => contents,
        Since::Tail(_) => return Err(Error::internal("the store gave no snapshot")),
    };
    let mut backup = make(&contents, paths)?;
    if archived {
        let jobs = state.scan(Space::Archive).await?;
        let word = Space::Archive.as_str();
        backup.documents.extend(jobs.into_iter().map(|(id, b)| Document(word.into(), id, b)));
    }
    backup.digest = digest(&backup);
    let mut text = serde_json::to_string_pretty(&backup)
        .map_err(|e| Error::internal(format!("the backup cannot be written: {e}")))?;
    text.push('\n');
    Ok(text)
}

/// A backup of what a store holds, without the digest.
fn make(contents: &Contents, paths: &Paths) -> Result<Backup> {
    let config = Config::load(contents).map_err(|e| Error::internal(e.to_string()))?;
    let epoch = contents.documents.iter().find(|(key, _)| *key == epoch_key());
    let mut others = std::collections::BTreeMap::new();
    for name in KEPT_FILES {
        let path = paths.data_dir().join(name);
        if path.exists() {
            others.insert((*name).to_owned(), files::read(&path)?);
        }
    }
    Ok(Backup {
        roost_backup: BACKUP_FORMAT,
        release: RELEASE.into(),
        made: clock::seconds(),
        cluster_name: config.cluster.cluster_name.to_string(),
        cluster_uuid: config.cluster.uuid.to_string(),
        master: config.node_name(config.master()),
        serial: contents.serial.0,
        epoch: epoch.and_then(|(_, text)| text.parse().ok()).unwrap_or(0),
        digest: String::new(),
        files: KeptFiles {
            identity: files::read(&paths.identity())?,
            authority: files::read(&paths.authority())?,
            authority_key: match paths.authority_key() {
                path if path.exists() => files::read(&path)?,
                _ => String::new(),
            },
            certificate: files::read(&paths.certificate())?,
            key: files::read(&paths.key())?,
            others,
        },
        documents: contents
            .documents
            .iter()
            // What a job was about to do means nothing to a cluster that is made again.
            .filter(|(key, _)| key.space != Space::Journal)
            .map(|(key, b)| Document(key.space.as_str().into(), key.id.clone(), b.clone()))
            .collect(),
    })
}

/// The digest of a backup. Each piece is preceded by its length, so that none can move to another.
pub fn digest(backup: &Backup) -> String {
    let mut hash = Sha256::new();
    for piece in backup.pieces() {
        hash.update((piece.len() as u64).to_be_bytes());
        hash.update(piece.as_bytes());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The configuration as Ganeti's `config.data`, and what had to be left out.
fn ganeti(config: &Config) -> Result<(String, Vec<String>)> {
    let (value, left_out) = strict(&config_data(config));
    let text = serde_json::to_string(&value)
        .map_err(|e| Error::internal(format!("the configuration cannot be written: {e}")))?;
    Ok((format!("{text}\n"), left_out))
}

/// A snapshot as one file.
pub fn config_data(config: &Config) -> ConfigData {
    macro_rules! all {
        ($map:ident) => {
            config.$map.iter().map(|(id, object)| (*id, (**object).clone())).collect()
        };
    }
    let cluster = Arc::clone(&config.cluster);
    ConfigData {
        version: CONFIG_VERSION,
        nodes: all!(nodes),
        nodegroups: all!(groups),
        instances: all!(instances),
        networks: all!(networks),
        disks: all!(disks),
        filters: all!(filters),
        ctime: cluster.ctime,
        mtime: cluster.mtime,
        // One number for every change: ours counts commits.
        serial_no: config.serial.0.max(1),
        extra: ParamMap::new(),
        cluster: (*cluster).clone(),
    }
}
