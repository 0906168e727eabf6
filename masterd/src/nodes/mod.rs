//! The nodes, as masterd sees them: connections, and what they report.
//!
//! Everything that changes a node carries the fence (cluster and epoch). A node that cannot be
//! reached is tried again for a while, because a noded that is being restarted must not fail a
//! job; after that its step fails like any other.

mod client;
mod crypto;
mod joined;
mod lines;
mod observed;
mod watch;

pub use joined::{Joined, JoinedNodes};
pub use lines::Lines;
pub use observed::{NodeView, Observed};

use crate::jobs::{BoxFuture, Hands, StepId};
use crate::replication::{Copies, Leadership};
use crate::state::State;
use crate::store::etcd::{Etcd, Member};
use crate::tls::{Own, Tls};
use roost_proto::error::{Error, Result};
use roost_proto::ids::{ClusterId, Epoch, JobId, NodeId};
use roost_proto::node::{Action, Answer, Outcome, Progress, Question};
use roost_proto::protocol;
use roost_proto::rpc::node as pb;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How long an action waits for a node that does not answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a question waits for a node that is not offline and does not answer.
const RESTARTING: Duration = Duration::from_secs(5);
/// The pause between two tries.
const RETRY: Duration = Duration::from_millis(500);

/// All nodes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Nodes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: State,
    cluster: ClusterId,
    epoch: Epoch,
    port: u16,
    lines: Lines,
    observed: Observed,
    joined: JoinedNodes,
    leadership: Option<Arc<Leadership>>,
    /// Where the state is, if it is shared.
    etcd: OnceLock<Etcd>,
    forget: mpsc::UnboundedSender<JobId>,
    patience: Duration,
}

impl Nodes {
    /// Connects lazily; starts watching all nodes that are online, until `shutdown`.
    pub fn start(
        state: State,
        tls: Tls,
        epoch: Epoch,
        port: u16,
        joined: JoinedNodes,
        leadership: Option<Arc<Leadership>>,
        shutdown: CancellationToken,
    ) -> Nodes {
        let (forget, ended) = mpsc::unbounded_channel();
        let cluster = state.config().cluster.uuid;
        let nodes = Nodes(Arc::new(Inner {
            state,
            cluster,
            epoch,
            port,
            lines: Lines::new(tls),
            observed: Observed::default(),
            joined,
            leadership,
            etcd: OnceLock::new(),
            forget,
            patience: PATIENCE,
        }));
        tokio::spawn(watch::run(nodes.clone(), shutdown.clone()));
        tokio::spawn(nodes.clone().forget_jobs(ended, shutdown));
        nodes
    }

    /// Waits until every online node has reported or turned out not to answer, `limit` at most:
    /// plans made before would not know of nodes' hooks. If it is known who is `there`, only for
    /// those.
    pub async fn first_reports(&self, limit: Duration, there: Option<&BTreeSet<NodeId>>) {
        let all = async {
            let known = |node: NodeId| {
                there.is_some_and(|there| !there.contains(&node))
                    || self.0.observed.node(node).is_some()
            };
            while !self.0.state.config().online_nodes().all(|node| known(node.uuid)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // Whoever is silent for longer is treated as a node that does not answer.
        tokio::time::timeout(limit, all).await.ok();
    }

    /// The state is in this etcd.
    pub fn set_etcd(&self, etcd: Etcd) {
        // Once in a leadership.
        self.0.etcd.set(etcd).ok();
    }

    /// What nodes report.
    pub fn observed(&self) -> &Observed {
        &self.0.observed
    }

    /// The leadership under which nodes are told things.
    pub fn epoch(&self) -> Epoch {
        self.0.epoch
    }

    fn fence(&self) -> Option<pb::Fence> {
        Some(pb::Fence {
            epoch: self.0.epoch.0,
            cluster: self.0.cluster.to_string(),
            protocol: protocol::NODE.version,
        })
    }

    /// Where a node is: from the configuration, or as it joined.
    fn address(&self, node: NodeId) -> Result<String> {
        let config = self.0.state.config();
        match config.nodes.get(&node) {
            Some(found) if found.offline => {
                Err(Error::environment(format!("Node {} is marked offline", found.name)))
            }
            Some(found) => Ok(found.primary_ip.clone()),
            None => match self.0.joined.by_id(node) {
                Some(joined) => Ok(joined.address),
                None => Err(Error::internal(format!("Node {node} does not exist"))),
            },
        }
    }

    fn client(&self, node: NodeId) -> Result<client::Client> {
        let address = self.address(node)?;
        Ok(client::new(self.0.lines.channel(node, &address, self.0.port)?))
    }

    /// A node did not accept us. While certificates are being renewed, it may know only the other
    /// one of ours: then that is shown from now on. Result: whether there is another.
    fn change_certificate(&self, node: NodeId, shown: Own) -> bool {
        self.0.lines.change_certificate(node, shown)
    }

    fn name(&self, node: NodeId) -> String {
        self.0.state.config().node_name(node)
    }

    async fn ask_node(&self, node: NodeId, question: &Question) -> Result<Answer> {
        // Its noded may be starting anew, or its machine have just come back.
        let give_up = tokio::time::Instant::now() + RESTARTING;
        let (mut again, mut refused) = (false, false);
        loop {
            let shown = self.0.lines.shown(node);
            let failure = match client::ask(self.client(node)?, self.fence(), question).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match &failure {
                // A connection that broke while idle shows only now: once more, on a new one.
                client::Failure::Unreachable(_) if !again => again = true,
                client::Failure::Unreachable(_) if tokio::time::Instant::now() < give_up => {
                    tokio::time::sleep(RETRY).await;
                }
                client::Failure::Refused(_) if !refused && self.change_certificate(node, shown) => {
                    refused = true;
                    continue;
                }
                _ => return Err(failure.into_error(&format!("node {}", self.name(node)))),
            }
            self.change_certificate(node, shown);
        }
    }

    async fn run_on(
        &self,
        id: StepId,
        node: NodeId,
        action: &Action,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Outcome> {
        let action = serde_json::to_string(&*self.complete(action).await?)
            .map_err(|e| Error::internal(format!("unsendable action: {e}")))?;
        let request = pb::RunRequest {
            fence: self.fence(),
            job: id.job.0,
            op: u32::try_from(id.op).unwrap_or(u32::MAX),
            step: u32::try_from(id.step).unwrap_or(u32::MAX),
            undo: id.undo,
            action,
        };
        let give_up = tokio::time::Instant::now() + self.0.patience;
        let mut refused = false;
        loop {
            let shown = self.0.lines.shown(node);
            match client::run(self.client(node)?, request.clone(), progress).await {
                Ok(outcome) => {
                    self.0.observed.apply_outcome(node, &outcome);
                    return Ok(outcome);
                }
                Err(client::Failure::Unreachable(why)) => {
                    if tokio::time::Instant::now() >= give_up {
                        return Err(client::Failure::Unreachable(why)
                            .into_error(&format!("node {}", self.name(node))));
                    }
                    self.change_certificate(node, shown);
                    tokio::time::sleep(RETRY).await;
                }
                Err(client::Failure::Refused(_))
                    if !refused && self.change_certificate(node, shown) =>
                {
                    refused = true;
                }
                Err(other) => return Err(other.into_error(&format!("node {}", self.name(node)))),
            }
        }
    }

    /// Tells nodes now and then which jobs are over.
    async fn forget_jobs(
        self,
        mut ended: mpsc::UnboundedReceiver<JobId>,
        shutdown: CancellationToken,
    ) {
        let mut jobs = Vec::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                got = ended.recv_many(&mut jobs, 1000) => if got == 0 { return },
            }
            // Many jobs at once cost one message each node.
            tokio::time::sleep(Duration::from_secs(5)).await;
            while let Ok(job) = ended.try_recv() {
                jobs.push(job);
            }
            let ids: Vec<u64> = jobs.drain(..).map(|job| job.0).collect();
            let config = self.0.state.config();
            for node in config.online_nodes().map(|n| n.uuid) {
                let request = pb::ForgetRequest { fence: self.fence(), jobs: ids.clone() };
                if let Ok(mut client) = self.client(node) {
                    // Forgetting is housekeeping: nodes also forget by age.
                    client.forget(request).await.ok();
                }
            }
        }
    }
}

impl Hands for Nodes {
    fn ask<'a>(&'a self, node: NodeId, question: &'a Question) -> BoxFuture<'a, Result<Answer>> {
        Box::pin(async move {
            match self.answer_here(node, question).await {
                Some(answer) => answer,
                None => self.ask_node(node, question).await,
            }
        })
    }

    fn run<'a>(
        &'a self,
        id: StepId,
        node: NodeId,
        action: &'a Action,
        progress: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> BoxFuture<'a, Result<Outcome>> {
        Box::pin(self.run_on(id, node, action, progress))
    }

    fn seen(&self) -> HashMap<NodeId, Arc<NodeView>> {
        self.0.observed.all()
    }

    fn copies(&self) -> Option<Copies> {
        self.0.leadership.as_ref().map(|leadership| leadership.copies())
    }

    fn members(&self) -> Vec<Member> {
        self.0.etcd.get().map(Etcd::known_members).unwrap_or_default()
    }

    fn joined(&self) -> Vec<Joined> {
        self.0.joined.all()
    }

    fn forget(&self, job: JobId) {
        // The receiver ends only with the daemon.
        self.0.forget.send(job).ok();
    }
}
