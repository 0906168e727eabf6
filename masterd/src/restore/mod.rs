//! Making a cluster of a file: of a backup, or of Ganeti's configuration.
//!
//! ```text
//!   file ─► understood ─► checked ─► changed as it must be ─► report ──(dry run)──► end
//!                                                               └─► place: identity, keys, ssconf,
//!                                                                   and last the database
//! ```
//!
//! As with a new cluster the database comes last: without it there is no cluster, and what failed
//! half way can be repeated. What was there before is set aside, never removed.

mod backup;
mod ganeti;
mod place;
#[cfg(test)]
mod tests;

use crate::store::{Key, Space};
use roost_proto::error::{Error, Result};
use roost_proto::ids::JobId;
use roost_proto::import::ImportSpec;
use roost_proto::job::{JobRecord, JobStatus, LogEntry, OpRecord, Timestamp};
use roost_proto::paths::Paths;
use serde_json::json;

/// Does it, or with a dry run only looks. Returns what there is to say.
pub fn import(paths: &Paths, spec: &ImportSpec) -> Result<String> {
    match spec {
        ImportSpec::Backup(spec) => backup::restore(paths, spec),
        ImportSpec::Ganeti(spec) => ganeti::import(paths, spec),
    }
}

/// An archived job that did nothing: the numbers up to its own are used up. Nodes remember work by
/// the number of its job, so none may come twice.
fn numbers_end(last: JobId, why: &str, now: Timestamp) -> Result<(Key, String)> {
    let record = JobRecord {
        id: last,
        ops: vec![OpRecord {
            input: json!({"OP_ID": "OP_CLUSTER_POST_INIT", "comment": why}),
            status: JobStatus::Success,
            result: json!(true),
            log: vec![LogEntry(1, now, LogEntry::MESSAGE.into(), why.into())],
            priority: 0,
            start_timestamp: Some(now),
            exec_timestamp: Some(now),
            end_timestamp: Some(now),
        }],
        received_timestamp: Some(now),
        start_timestamp: Some(now),
        end_timestamp: Some(now),
        archived: true,
    };
    Ok((crate::jobs::journal::archive_key(last), json_text(&record)?))
}

fn json_text<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::internal(format!("unstorable: {e}")))
}

/// A note of the store.
fn meta(id: &str, body: String) -> (Key, String) {
    (Key::new(Space::Meta, id), body)
}

/// A point in time, for people.
fn date(seconds: f64) -> String {
    let whole = seconds.clamp(0.0, 253e9) as i64;
    x509_parser::time::ASN1Time::from_timestamp(whole)
        .map_or_else(|_| "?".into(), |t| t.to_string())
}
