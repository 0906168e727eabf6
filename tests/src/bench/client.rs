//! A client of masterd that keeps many jobs outstanding.

use anyhow::{Context, Result, bail, ensure};
use roost_proto::paths::Paths;
use roost_proto::rpc::master as pb;
use roost_proto::rpc::master::master_client::MasterClient;
use serde_json::{Value, json};
use std::time::Instant;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};

/// How many instances are started; the rest are only there.
const STARTED: usize = 9_000;

/// A connection to masterd.
#[derive(Clone, Debug)]
pub struct Bench {
    client: MasterClient<Channel>,
}

impl Bench {
    /// Connects to the masterd of this machine.
    pub async fn connect() -> Result<Bench> {
        let socket = Paths::new(None).master_socket();
        let uri = format!("unix://{}", socket.display());
        let channel = Endpoint::from_shared(uri)?.connect().await?;
        Ok(Bench { client: MasterClient::new(channel) })
    }

    /// Submits one job and waits for its success.
    async fn job(mut self, opcode: Value) -> Result<()> {
        let jobs = vec![pb::Job { opcodes: vec![opcode.to_string()] }];
        let request = pb::SubmitJobsRequest { jobs, even_if_drained: false };
        let reply = self.client.submit_jobs(request).await?.into_inner();
        let job = match reply.jobs.into_iter().next().and_then(|s| s.outcome) {
            Some(pb::submitted::Outcome::Job(job)) => job,
            other => bail!("refused: {other:?}"),
        };
        let request = pb::WaitForJobChangeRequest { job, log_serial: 0 };
        let mut changes = self.client.wait_for_job_change(request).await?.into_inner();
        let mut last = None;
        while let Some(change) = changes.message().await? {
            last = Some(change);
        }
        let last = last.context("no word of the job")?;
        ensure!(last.status == "success", "job {job}: {} {}", last.status, last.results);
        Ok(())
    }

    /// Runs jobs, `outstanding` at a time. Returns jobs a second.
    async fn rate(&self, opcodes: impl Iterator<Item = Value>, outstanding: usize) -> Result<f64> {
        let begin = Instant::now();
        let mut running = JoinSet::new();
        let mut count = 0_u32;
        for opcode in opcodes {
            if running.len() >= outstanding {
                running.join_next().await.context("nothing runs")???;
            }
            running.spawn(self.clone().job(opcode));
            count += 1;
        }
        while let Some(done) = running.join_next().await {
            done??;
        }
        Ok(f64::from(count) / begin.elapsed().as_secs_f64())
    }

    /// Jobs that do nothing.
    pub async fn noop_jobs(&self, count: usize, outstanding: usize) -> Result<f64> {
        let op = json!({ "OP_ID": "OP_TEST_DELAY", "duration": 0.0, "on_master": true });
        self.rate((0..count).map(|_| op.clone()), outstanding).await
    }

    /// Diskless instances `bench-<n>.lab`, spread over the nodes; the first ones are started.
    pub async fn create_instances(&self, from: usize, to: usize) -> Result<f64> {
        let opcodes = (from..to).map(|n| {
            json!({
                "OP_ID": "OP_INSTANCE_CREATE",
                "instance_name": format!("bench-{n}.lab"),
                "mode": "create",
                "disk_template": "diskless",
                "disks": [],
                "nics": [{}],
                "os_type": "tiny+default",
                // 4 MiB each, and not all started: the nodes count the memory of this machine.
                "beparams": { "memory": 4 },
                "start": n < STARTED,
                "ignore_ipolicy": true,
                "pnode": format!("node{}.lab", n % 3 + 1),
            })
        });
        self.rate(opcodes, 32).await
    }

    /// How long a job's acceptance takes: one commit, one after another. Milliseconds.
    pub async fn acceptances(&self, count: usize) -> Result<Vec<f64>> {
        let op = json!({ "OP_ID": "OP_TEST_DELAY", "duration": 0.0, "on_master": true });
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            let jobs = vec![pb::Job { opcodes: vec![op.to_string()] }];
            let request = pb::SubmitJobsRequest { jobs, even_if_drained: false };
            let begin = Instant::now();
            let reply = self.client.clone().submit_jobs(request).await?.into_inner();
            all.push(begin.elapsed().as_secs_f64() * 1e3);
            let job = match reply.jobs.into_iter().next().and_then(|s| s.outcome) {
                Some(pb::submitted::Outcome::Job(job)) => job,
                other => bail!("refused: {other:?}"),
            };
            // Its own commits must not be in the way of the next.
            let request = pb::WaitForJobChangeRequest { job, log_serial: 0 };
            let mut changes = self.client.clone().wait_for_job_change(request).await?.into_inner();
            while changes.message().await?.is_some() {}
        }
        Ok(all)
    }

    /// How many commits there have been.
    pub async fn serial(&self) -> Result<u64> {
        let request = pb::ReplicationRequest::default();
        Ok(self.client.clone().replication(request).await?.into_inner().written)
    }

    /// Puts all jobs aside that have ended.
    pub async fn archive(&self) -> Result<()> {
        self.client.clone().auto_archive_jobs(pb::AutoArchiveRequest { age: -1 }).await?;
        Ok(())
    }
}
