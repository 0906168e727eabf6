//! The Node service: takes requests off the wire, has them checked, and answers.

use crate::block;
use crate::fence::Fence;
use crate::host::Host;
use crate::steps::{Event, Follower, Step, Steps};
use crate::{actions, peer, questions, watch};
use roost_proto::node::{Action, Question};
use roost_proto::protocol;
use roost_proto::rpc::node as rpc;
use roost_proto::rpc::node::node_server::Node;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument;

/// Goes with every answer.
const SPOKEN: u32 = protocol::NODE.version;
/// Who asks, for messages.
const MASTER: &str = "the master";
/// Answers waiting for a slow reader.
const AHEAD: usize = 16;

/// Serves one node.
#[derive(Debug)]
pub struct NodeService {
    host: Arc<Host>,
    fence: Fence,
    steps: Arc<Steps>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl NodeService {
    /// A service for this node.
    pub fn new(host: Arc<Host>, fence: Fence, steps: Arc<Steps>) -> NodeService {
        NodeService { host, fence, steps }
    }

    /// Lets only the master of this cluster through.
    async fn admit<T>(
        &self,
        request: Request<T>,
        fence: impl Fn(&T) -> Option<&rpc::Fence>,
    ) -> Result<T, Status> {
        let certificates = request.peer_certs();
        let own = certificates.as_ref().and_then(|chain| chain.first()).map(AsRef::as_ref);
        let admitted = self.fence.admit(fence(request.get_ref()), own).await;
        if let Err(status) = &admitted {
            tracing::warn!(peer = ?request.remote_addr(), why = status.message(), "refused");
        }
        admitted.map(|()| request.into_inner())
    }

    /// Lets only nodes through that still belong to the cluster: a removed one has a certificate
    /// too.
    fn fellow<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let certificates = request.peer_certs();
        let own = certificates.as_ref().and_then(|chain| chain.first());
        let known = peer::is_member(&self.host.paths, own.map(AsRef::as_ref));
        if let Err(status) = &known {
            tracing::warn!(peer = ?request.remote_addr(), why = status.message(), "refused");
        }
        known
    }
}

#[tonic::async_trait]
impl Node for NodeService {
    type RunStream = Answers<rpc::RunEvent>;
    type WatchStream = Answers<rpc::WatchEvent>;
    type TunnelStream = Answers<rpc::TunnelData>;
    type CopyStream = Answers<rpc::CopyReply>;

    async fn run(
        &self,
        request: Request<rpc::RunRequest>,
    ) -> Result<Response<Self::RunStream>, Status> {
        let request = self.admit(request, |r| r.fence.as_ref()).await?;
        let action: Action = protocol::read(&request.action, "action", MASTER)
            .map_err(|e| Status::invalid_argument(e.message))?;
        let step =
            Step { job: request.job, op: request.op, step: request.step, undo: request.undo };
        let host = self.host.clone();
        let memory = actions::memory(&action);
        let span = tracing::info_span!(
            "step",
            job = step.job,
            op = step.op,
            step = step.step,
            undo = step.undo,
            action = actions::name(&action),
        );
        let follower = self.steps.run(step, &request.action, memory, move |reporter| {
            actions::perform(host, action, step.undo, reporter).instrument(span)
        });
        Ok(Response::new(Box::pin(events(follower))))
    }

    async fn ask(
        &self,
        request: Request<rpc::AskRequest>,
    ) -> Result<Response<rpc::AskReply>, Status> {
        let request = self.admit(request, |r| r.fence.as_ref()).await?;
        let question: Question = protocol::read(&request.question, "question", MASTER)
            .map_err(|e| Status::invalid_argument(e.message))?;
        let reply = match questions::answer(&self.host, question).await {
            Ok(answer) => rpc::ask_reply::Reply::Answer(json(&answer)),
            Err(error) => rpc::ask_reply::Reply::Failed(json(&error)),
        };
        Ok(Response::new(rpc::AskReply { reply: Some(reply), protocol: SPOKEN }))
    }

    async fn watch(
        &self,
        request: Request<rpc::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.admit(request, |r| r.fence.as_ref()).await?;
        let (sender, receiver) = mpsc::channel(AHEAD);
        let host = self.host.clone();
        tokio::spawn(async move {
            let stop = host.stop.clone();
            tokio::select! {
                () = watch::watch(&host, &sender) => {}
                () = sender.closed() => {}
                () = stop.cancelled() => {}
            }
        });
        let told = ReceiverStream::new(receiver)
            .map(|saw| Ok(rpc::WatchEvent { observation: json(&saw), protocol: SPOKEN }));
        Ok(Response::new(Box::pin(told)))
    }

    async fn forget(
        &self,
        request: Request<rpc::ForgetRequest>,
    ) -> Result<Response<rpc::ForgetReply>, Status> {
        let request = self.admit(request, |r| r.fence.as_ref()).await?;
        self.steps.forget(&request.jobs);
        Ok(Response::new(rpc::ForgetReply { protocol: SPOKEN }))
    }

    async fn vote(
        &self,
        request: Request<rpc::VoteRequest>,
    ) -> Result<Response<rpc::VoteReply>, Status> {
        let certificates = request.peer_certs();
        let own = certificates.as_ref().and_then(|chain| chain.first()).map(AsRef::as_ref);
        let rpc::VoteRequest { cluster, epoch, protocol } = request.get_ref();
        protocol::NODE
            .meet(*protocol, MASTER)
            .map_err(|e| Status::failed_precondition(e.message))?;
        let vote = self.fence.vote(cluster, *epoch, own).await?;
        let alone = vote.alone.as_ref().map(json).unwrap_or_default();
        let reply =
            rpc::VoteReply { granted: vote.granted, epoch: vote.epoch, alone, protocol: SPOKEN };
        Ok(Response::new(reply))
    }

    async fn note(
        &self,
        request: Request<rpc::NoteRequest>,
    ) -> Result<Response<rpc::NoteReply>, Status> {
        let request = self.admit(request, |r| r.fence.as_ref()).await?;
        let note = serde_json::from_str(&request.alone)
            .map_err(|e| Status::invalid_argument(format!("Not a note: {e}")))?;
        self.fence.note(note).await?;
        Ok(Response::new(rpc::NoteReply { protocol: SPOKEN }))
    }

    async fn tunnel(
        &self,
        request: Request<Streaming<rpc::TunnelData>>,
    ) -> Result<Response<Self::TunnelStream>, Status> {
        // Any node of the cluster may come, and the token says what for.
        self.fellow(&request)?;
        self.host.migrations.tunnel(request.into_inner()).await.map(Response::new)
    }

    async fn copy(
        &self,
        request: Request<Streaming<rpc::CopyData>>,
    ) -> Result<Response<Self::CopyStream>, Status> {
        // As for tunnels: a node of the cluster, and a token.
        self.fellow(&request)?;
        let mut stream = request.into_inner();
        let Some(rpc::CopyData { data: Some(rpc::copy_data::Data::Token(token)) }) =
            stream.message().await?
        else {
            return Err(Status::invalid_argument("A copy begins with its token"));
        };
        let budget = Some(self.host.budgets.copies.clone());
        let replies = block::copy::receive(self.host.clone(), &token, stream, budget)
            .await
            .map_err(|e| Status::permission_denied(e.message))?;
        Ok(Response::new(Box::pin(replies)))
    }
}

/// What follows a step, for the wire.
fn events(mut follower: Follower) -> impl Stream<Item = Result<rpc::RunEvent, Status>> + Send {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                event = follower.next() => event,
                // Nobody listens any more; the work goes on without.
                () = sender.closed() => return,
            };
            let event = match event {
                Some(Event::Progress(progress)) => rpc::run_event::Event::Progress(json(&progress)),
                Some(Event::End(Ok(outcome))) => rpc::run_event::Event::Done(json(&outcome)),
                Some(Event::End(Err(error))) => rpc::run_event::Event::Failed(json(&error)),
                None => return,
            };
            if sender
                .send(Ok(rpc::RunEvent { event: Some(event), protocol: SPOKEN }))
                .await
                .is_err()
            {
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("what nodes say is plain data")
}
