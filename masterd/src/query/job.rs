//! Jobs as rows.

use super::World;
use super::rows::Asked;
use roost_proto::error::Result;
use roost_proto::ids::JobId;
use roost_proto::job::{JobRecord, OpRecord, Timestamp};
use roost_proto::opcodes::{OpCode, shown};
use roost_proto::query::fields::JobField as F;
use roost_proto::query::{Cell, Filter, FilterValue, QueryResponse, Row};
use serde_json::{Value, json};
use std::collections::HashMap;

pub(super) fn answer(
    world: &World,
    fields: &[String],
    filter: Option<&Filter>,
) -> Result<QueryResponse> {
    let asked = Asked::<F>::new(fields, filter)?;
    let rows = match &asked.names {
        None => all(world),
        Some(names) => named(world, names),
    };
    asked.answer(rows)
}

fn all(world: &World) -> Vec<JobRow<'_>> {
    let mut jobs: Vec<&JobRecord> = world.jobs.iter().map(|job| &**job).collect();
    jobs.sort_by_key(|job| job.id);
    jobs.into_iter().map(|job| JobRow { id: job.id, job: Some(job) }).collect()
}

fn named<'a>(world: &'a World, names: &[&FilterValue]) -> Vec<JobRow<'a>> {
    let jobs: HashMap<JobId, &JobRecord> = world.jobs.iter().map(|job| (job.id, &**job)).collect();
    let number = |name: &&FilterValue| match name {
        FilterValue::Int(number) => u64::try_from(*number).ok(),
        FilterValue::Float(_) | FilterValue::Text(_) => None,
    };
    let ids = names.iter().filter_map(number).map(JobId);
    ids.map(|id| JobRow { id, job: jobs.get(&id).copied() }).collect()
}

/// A job; one that does not exist has only its number.
#[derive(Debug)]
struct JobRow<'a> {
    id: JobId,
    job: Option<&'a JobRecord>,
}

impl Row for JobRow<'_> {
    type Field = F;

    fn cell(&self, field: &F) -> Cell {
        if *field == F::Id {
            return Cell::new(self.id.0);
        }
        let Some(job) = self.job else { return Cell::UNAVAILABLE };
        let each = |get: &dyn Fn(&OpRecord) -> Value| Cell::list(job.ops.iter().map(get));
        match *field {
            F::Id => Cell::new(job.id.0),
            F::Status => Cell::new(job.status().as_str()),
            F::Priority => Cell::new(job.priority()),
            F::Archived => Cell::new(job.archived),
            F::Ops => each(&|op| shown(&op.input)),
            F::OpResult => each(&|op| op.result.clone()),
            F::OpStatus => each(&|op| op.status.as_str().into()),
            F::OpLog => each(&|op| op.log.iter().map(|entry| json!(entry)).collect()),
            F::OpStart => each(&|op| time(op.start_timestamp)),
            F::OpExec => each(&|op| time(op.exec_timestamp)),
            F::OpEnd => each(&|op| time(op.end_timestamp)),
            F::OpPriority => each(&|op| op.priority.into()),
            F::Summary => each(&|op| summary(op).into()),
            F::ReceivedTs => moment(job.received_timestamp),
            F::StartTs => moment(job.start_timestamp),
            F::EndTs => moment(job.end_timestamp),
        }
    }
}

/// `[seconds, microseconds]`, or null for what was not yet.
fn time(time: Option<Timestamp>) -> Value {
    time.map_or(Value::Null, |Timestamp(seconds, micros)| json!([seconds, micros]))
}

fn moment(timestamp: Option<Timestamp>) -> Cell {
    match timestamp {
        Some(_) => Cell::new(time(timestamp)),
        None => Cell::UNAVAILABLE,
    }
}

/// An opcode in short. One that this version cannot read is named.
fn summary(op: &OpRecord) -> String {
    match OpCode::from_json(&op.input) {
        Ok(code) => code.summary(),
        Err(_) => {
            let id = op.input.get("OP_ID").and_then(Value::as_str).unwrap_or("OP_UNKNOWN");
            id.strip_prefix("OP_").unwrap_or(id).to_owned()
        }
    }
}

#[cfg(test)]
#[path = "job_tests.rs"]
mod tests;
