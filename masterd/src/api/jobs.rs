//! Requests about jobs.

use super::server::Api;
use crate::jobs::{self, Engine, JobEntry};
use crate::ops::Operations;
use crate::query;
use roost_proto::error::{Error, ErrorKind, Result};
use roost_proto::ids::JobId;
use roost_proto::job::JobRecord;
use roost_proto::opcodes::OpInput;
use roost_proto::query::{Filter, Resource};
use roost_proto::rpc::master as pb;
use roost_proto::status::to_status;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

fn text<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("jobs and errors are plain data with text keys")
}

fn refused(error: &Error) -> pb::Submitted {
    pb::Submitted { outcome: Some(pb::submitted::Outcome::Refused(text(error))) }
}

fn read(job: &pb::Job) -> Result<Vec<OpInput>> {
    job.opcodes
        .iter()
        .map(|opcode| {
            let json = serde_json::from_str(opcode)
                .map_err(|e| Error::wrong_input(format!("Unreadable opcode: {e}")))?;
            let op = OpInput::from_json(&json)?;
            Operations::check(&op)?;
            Ok(op)
        })
        .collect()
}

/// Accepts jobs; each for itself.
pub async fn submit(engine: &Engine, request: pb::SubmitJobsRequest) -> pb::SubmitJobsReply {
    let mut replies: Vec<Option<pb::Submitted>> = Vec::new();
    let mut good = Vec::new();
    for job in &request.jobs {
        match read(job) {
            Ok(ops) => {
                good.push(ops);
                replies.push(None);
            }
            Err(error) => {
                // Relative dependencies count refused jobs too: an empty one keeps the place.
                good.push(Vec::new());
                replies.push(Some(refused(&error)));
            }
        }
    }
    let ids = engine.submit(good, request.even_if_drained).await;
    let jobs = replies.into_iter().zip(ids).map(|(reply, id)| match (reply, id) {
        (Some(refused), _) => refused,
        (None, Ok(id)) => pb::Submitted { outcome: Some(pb::submitted::Outcome::Job(id.0)) },
        (None, Err(error)) => refused(&error),
    });
    pb::SubmitJobsReply { jobs: jobs.collect() }
}

/// What became of a wish about a job.
pub fn reply(result: Result<jobs::Reply>) -> std::result::Result<Response<pb::JobReply>, Status> {
    match result {
        Ok(jobs::Reply { done, message }) => Ok(Response::new(pb::JobReply { done, message })),
        Err(error) => Err(to_status(&error)),
    }
}

/// A job's changes, until it is final.
pub async fn follow(
    engine: &Engine,
    request: pb::WaitForJobChangeRequest,
) -> Result<ReceiverStream<std::result::Result<pb::JobChange, Status>>> {
    let id = JobId(request.job);
    let (sender, receiver) = mpsc::channel(16);
    if let Some(entry) = engine.job(id) {
        tokio::spawn(send_changes(entry, request.log_serial, sender));
    } else if let Some(record) = engine.archived(id).await? {
        // The receiver is ours and has room.
        sender.send(Ok(change(&record, String::new(), request.log_serial))).await.ok();
    } else {
        return Err(Error {
            kind: ErrorKind::JobLost,
            error_type: None,
            message: format!("Job {id} does not exist"),
        });
    }
    Ok(ReceiverStream::new(receiver))
}

async fn send_changes(
    entry: Arc<JobEntry>,
    mut log_serial: u64,
    sender: mpsc::Sender<std::result::Result<pb::JobChange, Status>>,
) {
    let mut changed = entry.watch();
    loop {
        changed.mark_unchanged();
        let record = entry.record();
        let progress = entry.progress().map(|p| text(&p)).unwrap_or_default();
        let is_final = record.status().is_final();
        let message = change(&record, progress, log_serial);
        log_serial = log_serial.max(record.log_serial());
        if sender.send(Ok(message)).await.is_err() || is_final || changed.changed().await.is_err() {
            return;
        }
    }
}

fn change(record: &JobRecord, progress: String, log_serial: u64) -> pb::JobChange {
    let status = record.status();
    let log: Vec<_> =
        record.ops.iter().flat_map(|op| &op.log).filter(|entry| entry.0 > log_serial).collect();
    let results = match status.is_final() {
        true => {
            let results: Vec<_> =
                record.ops.iter().map(|op| json!([op.status, op.result])).collect();
            text(&results)
        }
        false => String::new(),
    };
    pb::JobChange { status: status.as_str().into(), log: text(&log), progress, results }
}

/// Jobs of how many numbers are looked at together.
const PAGE: u64 = 2_000;

/// The answer to a query about all jobs, archived ones too: a page at a time, because there may be
/// more than fit into memory.
///
/// Errors: the query does not fit the fields of jobs.
pub async fn with_archived(
    api: Api,
    fields: Vec<String>,
    filter: Option<Filter>,
) -> Result<ReceiverStream<std::result::Result<pb::QueryChunk, Status>>> {
    let leading = api.role.leading()?.clone();
    let last = leading.engine.last_job().0;
    let page = async move |first: u64| -> Result<pb::QueryChunk> {
        let numbers = first..(first + PAGE).min(last + 1);
        let world = api.world(leading.engine.jobs_between(numbers).await?)?;
        let answer = query::answer(&world, Resource::Job, &fields, filter.as_ref())?;
        let rows = serde_json::to_vec(&answer.data)
            .map_err(|e| Error::internal(format!("unsendable jobs: {e}")))?;
        let fields = if first == 1 { text(&answer.fields) } else { String::new() };
        Ok(pb::QueryChunk { fields, rows })
    };
    let (sender, receiver) = mpsc::channel(2);
    let mut chunk = page(1).await?;
    tokio::spawn(async move {
        let mut first = 1;
        loop {
            // A client that went away wants no more.
            if sender.send(Ok(chunk)).await.is_err() {
                return;
            }
            first += PAGE;
            if first > last {
                return;
            }
            chunk = match page(first).await {
                Ok(chunk) => chunk,
                Err(error) => return drop(sender.send(Err(to_status(&error))).await),
            };
        }
    });
    Ok(ReceiverStream::new(receiver))
}

/// Debris: as it is, or after another try to remove it.
pub async fn debris(engine: &Engine, repair: bool) -> Result<pb::RepairReply> {
    let before = engine.debris();
    let left: Vec<_> = match repair {
        true => engine.repair_debris().await?,
        false => before
            .iter()
            .map(|(key, d)| (key.clone(), d.clone(), Error::exec(d.error.clone())))
            .collect(),
    };
    let nodes = |task: &crate::jobs::plan::Task| {
        let config = engine.state().config();
        task.nodes().iter().map(|node| config.node_name(*node)).collect()
    };
    Ok(pb::RepairReply {
        removed: (before.len() - left.len()) as u64,
        left: left
            .into_iter()
            .map(|(_, debris, error)| pb::Debris {
                job: debris.job.0,
                step: debris.step,
                nodes: nodes(&debris.task),
                error: error.message,
            })
            .collect(),
    })
}
