//! A client of a masterd at a given socket, which keeps apart what a fault makes different: what
//! was acknowledged, what was refused, and what nobody knows.

use anyhow::{Context as _, Result, bail};
use roost_proto::rpc::master as pb;
use roost_proto::rpc::master::master_client::MasterClient;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// Largest answer: all instances with all fields.
const LARGEST: usize = 512 << 20;
/// How long a masterd may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// A connection to one masterd. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Master {
    rpc: MasterClient<Channel>,
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// The job has this number: it must never be forgotten.
    Accepted(u64),
    /// It is not there, and never will be.
    Refused(String),
    /// The connection broke off or the wait was given up: it may be there or not.
    Unknown(String),
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// `success`, `error`, `canceled`.
    pub status: String,
    /// `[[op status, op result], …]`.
    pub results: Value,
}

impl Ended {
    /// Whether all of it was done.
    pub fn ok(&self) -> bool {
        self.status == "success"
    }
}

impl Master {
    /// Connects to a masterd by its socket.
    pub async fn connect(socket: &Path) -> Result<Master> {
        let uri = format!("unix://{}", socket.display());
        let endpoint = Endpoint::from_shared(uri)?.connect_timeout(CONNECT);
        let channel = tokio::time::timeout(CONNECT, endpoint.connect()).await??;
        Ok(Master { rpc: MasterClient::new(channel).max_decoding_message_size(LARGEST) })
    }

    /// Submits a job of one opcode.
    pub async fn submit(&self, opcode: &Value) -> Submitted {
        let jobs = vec![pb::Job { opcodes: vec![opcode.to_string()] }];
        let request = pb::SubmitJobsRequest { jobs, even_if_drained: false };
        let reply = match self.rpc.clone().submit_jobs(request).await {
            Ok(reply) => reply.into_inner(),
            // A masterd that answers at all says so before anything is written.
            Err(status) if status.code() == tonic::Code::FailedPrecondition => {
                return Submitted::Refused(status.message().to_owned());
            }
            Err(status) => return Submitted::Unknown(status.to_string()),
        };
        match reply.jobs.into_iter().next().and_then(|s| s.outcome) {
            Some(pb::submitted::Outcome::Job(job)) => Submitted::Accepted(job),
            Some(pb::submitted::Outcome::Refused(error)) if is_final(&error) => {
                Submitted::Refused(error)
            }
            Some(pb::submitted::Outcome::Refused(error)) => Submitted::Unknown(error),
            None => Submitted::Unknown("neither accepted nor refused".into()),
        }
    }

    /// The same, given up after a while.
    pub async fn submit_within(&self, limit: Duration, opcode: &Value) -> Submitted {
        let late = |_| Submitted::Unknown(format!("no answer within {limit:?}"));
        tokio::time::timeout(limit, self.submit(opcode)).await.unwrap_or_else(late)
    }

    /// Follows a job to its end. Errors: masterd went away before it told of one.
    pub async fn wait(&self, job: u64) -> Result<Ended> {
        let request = pb::WaitForJobChangeRequest { job, log_serial: 0 };
        let mut changes = self.rpc.clone().wait_for_job_change(request).await?.into_inner();
        while let Some(change) = changes.message().await? {
            if matches!(change.status.as_str(), "success" | "error" | "canceled") {
                let results = serde_json::from_str(&change.results).unwrap_or(Value::Null);
                return Ok(Ended { status: change.status, results });
            }
        }
        bail!("job {job}: masterd told of no end")
    }

    /// Submits a job and waits for its success.
    pub async fn run(&self, opcode: &Value) -> Result<Ended> {
        match self.submit(opcode).await {
            Submitted::Accepted(job) => {
                let ended = self.wait(job).await?;
                if !ended.ok() {
                    bail!("job {job} ended with {}: {}", ended.status, ended.results);
                }
                Ok(ended)
            }
            other => bail!("{opcode}: {other:?}"),
        }
    }

    /// Rows of a query, a value for each field.
    pub async fn query(&self, what: &str, fields: &[&str]) -> Result<Vec<Vec<Value>>> {
        let request = pb::QueryRequest {
            what: what.into(),
            fields: fields.iter().map(|f| (*f).to_owned()).collect(),
            filter: String::new(),
        };
        let mut chunks = self.rpc.clone().query(request).await?.into_inner();
        let mut all = Vec::new();
        while let Some(chunk) = chunks.message().await? {
            if !chunk.rows.is_empty() {
                let rows: Vec<Vec<(i64, Value)>> = serde_json::from_slice(&chunk.rows)?;
                let values = |row: Vec<(i64, Value)>| row.into_iter().map(|cell| cell.1).collect();
                all.extend(rows.into_iter().map(values));
            }
        }
        Ok(all)
    }

    /// How the copies are; nodes in `down` are by our word down.
    pub async fn replication(&self, down: &[&str]) -> Result<pb::ReplicationReply> {
        let down = down.iter().map(|n| (*n).to_owned()).collect();
        Ok(self.rpc.clone().replication(pb::ReplicationRequest { down }).await?.into_inner())
    }

    /// Makes this masterd's node the master; returns what was said.
    pub async fn fail_over(&self, no_voting: bool, accept_loss: bool) -> Result<Vec<String>> {
        let request = pb::FailoverRequest { no_voting, accept_loss };
        let mut events = self.rpc.clone().failover(request).await?.into_inner();
        let mut said = Vec::new();
        while let Some(event) = events.message().await? {
            match event.event {
                Some(pb::failover_event::Event::Done(_)) => return Ok(said),
                Some(pb::failover_event::Event::Failed(error)) => bail!("{error}"),
                Some(
                    pb::failover_event::Event::Message(text)
                    | pb::failover_event::Event::Warning(text),
                ) => said.push(text),
                None => {}
            }
        }
        bail!("masterd ended before the failover did; it had said {said:?}")
    }

    /// What is left of earlier jobs; with `repair`, after an attempt to remove it.
    pub async fn debris(&self, repair: bool) -> Result<Vec<String>> {
        let reply = self.rpc.clone().repair_debris(pb::RepairRequest { repair }).await?;
        Ok(reply
            .into_inner()
            .left
            .into_iter()
            .map(|d| format!("{}: {}", d.step, d.error))
            .collect())
    }

    /// Jobs and their status.
    pub async fn jobs(&self) -> Result<Vec<(u64, String)>> {
        let rows = self.query("job", &["id", "status"]).await?;
        rows.into_iter()
            .map(|row| {
                let id = row.first().and_then(Value::as_u64).context("a job without a number")?;
                let status = row.get(1).and_then(Value::as_str).context("a job without status")?;
                Ok((id, status.to_owned()))
            })
            .collect()
    }

    /// One text column of all objects of a kind.
    pub async fn names(&self, what: &str) -> Result<Vec<String>> {
        let rows = self.query(what, &["name"]).await?;
        let name = |row: Vec<Value>| row.first().and_then(Value::as_str).map(str::to_owned);
        Ok(rows.into_iter().filter_map(name).collect())
    }
}

/// Whether a refusal means that the job is not there. A commit that failed says nothing of that.
fn is_final(error: &str) -> bool {
    !(error.contains("could not be stored")
        || error.contains("masterd is stopping")
        || error.contains("does not lead"))
}

/// A job that does nothing.
pub fn noop() -> Value {
    json!({ "OP_ID": "OP_TEST_DELAY", "duration": 0.0, "on_master": true })
}

/// A diskless instance, started.
pub fn diskless(name: &str, os: &str, node: &str) -> Value {
    json!({
        "OP_ID": "OP_INSTANCE_CREATE",
        "instance_name": name,
        "mode": "create",
        "disk_template": "diskless",
        "disks": [],
        "nics": [{}],
        "os_type": os,
        // All nodes count the memory of this machine.
        "beparams": { "memory": 4 },
        "start": true,
        "ignore_ipolicy": true,
        "pnode": node,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_failed_leaves_the_job_in_doubt() {
        assert!(is_final("Job queue is drained, refusing job"));
        assert!(!is_final("masterd is stopping"));
        assert!(!is_final("the change could not be stored: no space"));
    }
}
