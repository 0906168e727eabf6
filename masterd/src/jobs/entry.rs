//! A job in memory: its record, its progress, and who watches it.

use super::journal::{Wish, job_key, wish_key};
use crate::clock;
use crate::store::Key;
use roost_proto::error::Error;
use roost_proto::ids::JobId;
use roost_proto::job::{JobProgress, JobRecord, JobStatus, LogEntry, OpRecord};
use roost_proto::opcodes::{OpInput, View};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A job that is not archived.
#[derive(Debug)]
pub struct JobEntry {
    pub id: JobId,
    record: RwLock<Arc<JobRecord>>,
    progress: RwLock<Option<JobProgress>>,
    changed: watch::Sender<u64>,
    /// Someone wants it to stop.
    pub cancel: CancellationToken,
    /// Someone wants it to end whatever it is doing.
    pub kill: CancellationToken,
    /// What its opcode does cannot be taken back any more.
    no_return: AtomicBool,
    /// What is wanted of it. Locked while that is made durable.
    pub(super) wish: tokio::sync::Mutex<Wish>,
    /// A wish is stored, or about to be.
    wished: AtomicBool,
    /// The opcodes with their secret parameters, which are never stored. Gone after a restart.
    inputs: Mutex<Vec<Option<OpInput>>>,
}

impl JobEntry {
    /// A job just submitted.
    pub fn new(id: JobId, inputs: Vec<OpInput>) -> JobEntry {
        let ops = inputs
            .iter()
            .map(|input| OpRecord {
                input: input.to_view(View::Stored),
                status: JobStatus::Queued,
                result: Value::Null,
                log: Vec::new(),
                priority: input.common.priority,
                start_timestamp: None,
                exec_timestamp: None,
                end_timestamp: None,
            })
            .collect();
        let record = JobRecord {
            id,
            ops,
            received_timestamp: Some(clock::now()),
            start_timestamp: None,
            end_timestamp: None,
            archived: false,
        };
        let entry = JobEntry::loaded(record);
        *entry.inputs.lock().unwrap_or_else(PoisonError::into_inner) =
            inputs.into_iter().map(Some).collect();
        entry
    }

    /// A job read from the store.
    pub fn loaded(record: JobRecord) -> JobEntry {
        JobEntry {
            id: record.id,
            record: RwLock::new(Arc::new(record)),
            progress: RwLock::new(None),
            changed: watch::channel(0).0,
            cancel: CancellationToken::new(),
            kill: CancellationToken::new(),
            no_return: AtomicBool::new(false),
            wish: tokio::sync::Mutex::default(),
            wished: AtomicBool::new(false),
            inputs: Mutex::new(Vec::new()),
        }
    }

    /// Its record, as it is now.
    pub fn record(&self) -> Arc<JobRecord> {
        self.record.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its state.
    pub fn status(&self) -> JobStatus {
        self.record().status()
    }

    /// How far it is.
    pub fn progress(&self) -> Option<JobProgress> {
        self.progress.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ticks with every change.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// An opcode, with secrets if there was no restart since it was submitted.
    pub fn input(&self, op: usize) -> Result<OpInput, Error> {
        let inputs = self.inputs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Some(input)) = inputs.get(op) {
            return Ok(input.clone());
        }
        drop(inputs);
        OpInput::from_json(&self.record().ops[op].input)
    }

    /// Its end: the secrets are not needed any more.
    pub fn drop_inputs(&self) {
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether it is too late to take back what its opcode does.
    pub fn is_past_return(&self) -> bool {
        self.no_return.load(Ordering::Relaxed)
    }

    pub(super) fn set_past_return(&self, past: bool) {
        self.no_return.store(past, Ordering::Relaxed);
    }

    /// Notes that a wish is stored or about to be.
    pub(super) fn set_wished(&self) {
        self.wished.store(true, Ordering::SeqCst);
    }

    /// Where a wish about it is stored, if there is one.
    pub(super) fn stored_wish(&self) -> Option<Key> {
        self.wished.load(Ordering::SeqCst).then(|| wish_key(self.id))
    }

    /// Notes in the reason trails who took it up, if that is not noted yet.
    pub(super) fn note_pickup(&self) {
        let noted = |trail: &Value, new: &Value| {
            let mut entries = trail.as_array().into_iter().flatten();
            entries.any(|entry| entry.get(0) == new.get(0) && entry.get(1) == new.get(1))
        };
        self.update(|record| {
            let id = record.id;
            for (index, op) in record.ops.iter_mut().enumerate() {
                let entry = reason(&format!("{PICKUP}:{}", reason_name(&op.input)), id, index);
                let Value::Object(fields) = &mut op.input else { continue };
                let trail = fields.entry("reason").or_insert_with(|| json!([]));
                if noted(trail, &entry) {
                    continue;
                }
                match trail {
                    Value::Array(entries) => entries.push(entry),
                    other => *other = json!([entry]),
                }
            }
        });
    }

    /// The reason trail of what an opcode causes: its own, and itself.
    pub(super) fn trail_of(&self, op: usize) -> Vec<Value> {
        let record = self.record();
        let input = &record.ops[op].input;
        let own = input.get("reason").and_then(Value::as_array).cloned().unwrap_or_default();
        let itself = reason(&format!("gnt:opcode:{}", reason_name(input)), self.id, op);
        own.into_iter().chain([itself]).collect()
    }

    /// Changes the record, and tells who watches.
    pub fn update<T>(&self, change: impl FnOnce(&mut JobRecord) -> T) -> T {
        let mut record = self.record.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(Arc::make_mut(&mut record));
        drop(record);
        self.tell();
        result
    }

    /// Sets how far it is, and tells who watches.
    pub fn set_progress(&self, progress: Option<JobProgress>) {
        *self.progress.write().unwrap_or_else(PoisonError::into_inner) = progress;
        self.tell();
    }

    /// Changes how far it is.
    pub fn update_progress(&self, change: impl FnOnce(&mut JobProgress)) {
        let mut progress = self.progress.write().unwrap_or_else(PoisonError::into_inner);
        change(progress.get_or_insert_default());
        drop(progress);
        self.tell();
    }

    fn tell(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    /// Adds a line to the log of an opcode. Durable with the next commit about the job.
    pub fn say(&self, op: usize, line: impl Into<String>) {
        let line = line.into();
        tracing::debug!(job = self.id.0, op, "{line}");
        self.update(|record| {
            let serial = record.log_serial() + 1;
            let entry = LogEntry(serial, clock::now(), LogEntry::MESSAGE.into(), line.into());
            record.ops[op].log.push(entry);
        });
    }

    /// Adds a warning to the log of an opcode, in Ganeti's form.
    pub fn warn(&self, op: usize, line: impl AsRef<str>) {
        self.say(op, format!(" - WARNING: {}", line.as_ref()));
    }

    /// The document it is stored as.
    pub fn document(&self) -> (Key, String) {
        document(&self.record())
    }

    /// The document it will be stored as after a change that nobody may see before it is durable.
    pub fn document_after(&self, change: impl FnOnce(&mut JobRecord)) -> (Key, String) {
        let mut record = JobRecord::clone(&self.record());
        change(&mut record);
        document(&record)
    }
}

/// Who takes jobs up, in reason trails.
const PICKUP: &str = "gnt:daemon:masterd:pickup";

/// An opcode's name in reason trails: `op_instance_create`.
fn reason_name(input: &Value) -> String {
    input.get("OP_ID").and_then(Value::as_str).unwrap_or("op_unknown").to_ascii_lowercase()
}

/// An entry of a reason trail, as Ganeti writes it.
fn reason(source: &str, job: JobId, index: usize) -> Value {
    let now = clock::now();
    let nanoseconds = now.0 * 1_000_000_000 + u64::from(now.1) * 1_000;
    json!([source, format!("job={job};index={index}"), nanoseconds])
}

fn document(record: &JobRecord) -> (Key, String) {
    let body = serde_json::to_string(record).expect("a job record is plain data with text keys");
    (job_key(record.id), body)
}
