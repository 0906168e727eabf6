//! This machine's copy: what it takes from the leader, what it promises, and its service.

use super::follower::{Follower, Verdict};
use super::leader::LEASE;
use super::leadership::Leadership;
use super::peers::Peers;
use super::promise::Promise;
use super::transfer;
use crate::clock;
use crate::state::State;
use crate::store::{Batch, Entry, Position};
use roost_proto::error::{Error, Result};
use roost_proto::ids::{Epoch, NodeId, Serial};
use roost_proto::paths::Paths;
use roost_proto::protocol::REPLICA;
use roost_proto::rpc::replica as pb;
use roost_proto::rpc::replica::replica_server::{Replica as Service, ReplicaServer};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// Bytes of commits sent at once.
const PIECE: usize = 1 << 20;

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Replica(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    paths: Paths,
    peers: Arc<Peers>,
    /// None: this machine has no copy (yet).
    state: Option<State>,
    /// Held while commits are taken, so that no promise comes in between.
    promise: tokio::sync::Mutex<Promise>,
    heard: Mutex<Option<Heard>>,
    leadership: OnceLock<Arc<Leadership>>,
    over: Over,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    epoch: Epoch,
    leader: NodeId,
    at: super::leader::Millis,
}

/// How this process ends when its role does: it starts over, with nothing in memory.
#[derive(Clone, Debug, Default)]
pub struct Over {
    token: CancellationToken,
    why: Arc<OnceLock<String>>,
}

impl Over {
    /// The first reason counts.
    pub fn now(&self, why: String) {
        if self.why.set(why).is_ok() {
            self.token.cancel();
        }
    }

    /// Whether it is over.
    pub fn is_now(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Returns why, when it is over.
    pub async fn wait(&self) -> String {
        self.token.cancelled().await;
        self.why.get().cloned().unwrap_or_default()
    }
}

fn internal(error: Error) -> Status {
    Status::unavailable(error.to_string())
}

fn at(position: Option<pb::Position>) -> Position {
    let position = position.unwrap_or_default();
    Position { epoch: Epoch(position.epoch), serial: Serial(position.serial) }
}

/// A position for the wire.
pub fn position(at: Position) -> pb::Position {
    pb::Position { epoch: at.epoch.0, serial: at.serial.0 }
}

/// A commit for the wire.
pub fn encode(entry: &Entry) -> Result<pb::Entry> {
    let batch = serde_json::to_vec(&entry.batch)
        .map_err(|e| Error::internal(format!("unsendable commit: {e}")))?;
    Ok(pb::Entry { at: Some(position(entry.at)), batch })
}

/// A commit from the wire.
pub fn decode(entry: pb::Entry) -> Result<Entry> {
    let batch: Batch = serde_json::from_slice(&entry.batch)
        .map_err(|e| Error::internal(format!("a commit cannot be read: {e}")))?;
    Ok(Entry { at: at(entry.at), batch })
}

impl Replica {
    /// With the copy in `state`, if there is one.
    pub fn new(
        paths: Paths,
        peers: Arc<Peers>,
        state: Option<State>,
        over: Over,
    ) -> Result<Replica> {
        let promise = tokio::sync::Mutex::new(Promise::load(&paths)?);
        Ok(Replica(Arc::new(Inner {
            paths,
            peers,
            state,
            promise,
            heard: Mutex::default(),
            leadership: OnceLock::new(),
            over,
        })))
    }

    /// The service.
    pub fn service(&self) -> ReplicaServer<Replica> {
        ReplicaServer::new(self.clone())
            .max_decoding_message_size(super::peers::MESSAGE_LIMIT)
            .max_encoding_message_size(super::peers::MESSAGE_LIMIT)
    }

    /// Whom it talks to.
    pub fn peers(&self) -> &Arc<Peers> {
        &self.0.peers
    }

    /// Its copy.
    pub fn state(&self) -> Option<&State> {
        self.0.state.as_ref()
    }

    /// How it ends.
    pub fn over(&self) -> &Over {
        &self.0.over
    }

    /// Who it was that led lately: epoch, node, and milliseconds since it was heard.
    pub fn heard(&self) -> Option<(Epoch, NodeId, u64)> {
        let heard = *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.map(|h| (h.epoch, h.leader, clock::forward_millis().saturating_sub(h.at)))
    }

    /// It leads from now on. Error: since it was elected, a newer epoch was promised to another.
    pub async fn leads(&self, leadership: Arc<Leadership>) -> Result<()> {
        // Held, so that a promise comes before, and is seen here, or after, and ends the leadership.
        let promise = self.0.promise.lock().await;
        if self.0.over.is_now() || promise.epoch() != leadership.epoch() {
            return Err(Error::environment(format!(
                "This node was elected in epoch {}, and has promised epoch {} to another since: \
                 please retry",
                leadership.epoch(),
                promise.epoch()
            )));
        }
        // Once in a process: whoever is deposed starts over.
        self.0.leadership.set(leadership).ok();
        Ok(())
    }

    /// Puts a whole log that was fetched for an election in place, and ends this process.
    pub async fn replace(&self, file: transfer::Incoming, epoch: Epoch) -> Result<()> {
        let promise = self.0.promise.lock().await;
        if self.0.over.is_now() || promise.epoch() != epoch {
            return Err(Error::environment(
                "Another epoch was promised while the copy was fetched, please retry",
            ));
        }
        file.put_in_place(true)?;
        self.0.over.now("a whole copy of the state was fetched".into());
        Ok(())
    }

    /// What it knows of itself; `epoch` other than 0 is promised if it can be.
    pub async fn promise(&self, epoch: Epoch) -> Result<pb::PromiseReply> {
        let mut promise = self.0.promise.lock().await;
        self.still_has_its_copy()?;
        let mut end = self.end().await?;
        let copy = Follower { promised: promise.epoch(), end };
        let granted = epoch.0 > 0 && copy.can_promise(epoch);
        if granted {
            if let Some(own) = self.0.leadership.get() {
                own.promised(epoch);
            }
            if let Err(error) = promise.raise(epoch) {
                self.depose_before(epoch, self.0.peers.me());
                return Err(error);
            }
            // Whatever counted until now is in it.
            end = self.end().await?;
        }
        let lately = self.heard().filter(|(_, _, ago)| *ago < LEASE);
        let leading = self.0.leadership.get().map(|l| (l.epoch(), self.0.peers.me()));
        let leader = leading.or(lately.map(|(epoch, node, _)| (epoch, node)));
        Ok(pb::PromiseReply {
            granted,
            promised: promise.epoch().0,
            end: end.map(position),
            leader_epoch: leader.map_or(0, |(epoch, _)| epoch.0),
            leader: leader.map(|(_, node)| node.to_string()).unwrap_or_default(),
            protocol: REPLICA.version,
        })
    }

    /// Which master candidate sent a request.
    fn known<T>(
        &self,
        request: &Request<T>,
        of: impl Fn(&T) -> (&String, u32),
    ) -> std::result::Result<NodeId, Status> {
        let (cluster, protocol) = of(request.get_ref());
        self.0.peers.candidate(request, cluster, protocol)
    }

    async fn end(&self) -> Result<Option<Position>> {
        match &self.0.state {
            Some(state) => Ok(Some(state.end().await?.0)),
            None => Ok(None),
        }
    }

    /// When it is over, another file may be in the place of the one that is still open here: what
    /// were written to that would be lost.
    fn still_has_its_copy(&self) -> Result<()> {
        match self.0.over.is_now() {
            true => Err(Error::environment("this masterd starts over")),
            false => Ok(()),
        }
    }

    /// Somebody else leads in this epoch: if this one leads in an older, it does so no more.
    fn depose_before(&self, epoch: Epoch, by: NodeId) -> bool {
        match self.0.leadership.get() {
            Some(own) if own.epoch() < epoch => {
                let why = format!("node {by} leads or wants to, in epoch {epoch}");
                self.0.over.now(why);
                true
            }
            _ => false,
        }
    }

    async fn take(&self, from: NodeId, request: pb::AppendRequest) -> Result<pb::AppendReply> {
        let epoch = Epoch(request.epoch);
        let mut promise = self.0.promise.lock().await;
        self.still_has_its_copy()?;
        let end = self.end().await?;
        let verdict = Follower { promised: promise.epoch(), end }.judge(epoch, at(request.after));
        let reply = |verdict: pb::append_reply::Verdict, promised: Epoch, end| pb::AppendReply {
            verdict: verdict.into(),
            promised: promised.0,
            end,
            protocol: REPLICA.version,
        };
        if verdict == Verdict::Deposed {
            let verdict = pb::append_reply::Verdict::Deposed;
            return Ok(reply(verdict, promise.epoch(), end.map(position)));
        }
        if self.depose_before(epoch, from) {
            return Err(Error::environment("this masterd led until now and starts over"));
        }
        *self.0.heard.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Heard { epoch, leader: from, at: clock::forward_millis() });
        let (verdict, end) = match (verdict, &self.0.state) {
            (Verdict::Take { raise }, Some(state)) => {
                if raise {
                    promise.raise(epoch)?;
                }
                let entries: Vec<Entry> =
                    request.entries.into_iter().map(decode).collect::<Result<_>>()?;
                let end = state.append(entries, Serial(request.counts)).await?;
                (pb::append_reply::Verdict::Taken, Some(position(end)))
            }
            (Verdict::Elsewhere, _) => (pb::append_reply::Verdict::Elsewhere, end.map(position)),
            _ => (pb::append_reply::Verdict::Empty, None),
        };
        Ok(reply(verdict, promise.epoch(), end))
    }

    async fn install_file(
        &self,
        mut stream: Streaming<pb::InstallRequest>,
        epoch: Epoch,
    ) -> Result<()> {
        let mut file = transfer::Incoming::create(&self.0.paths)?;
        while let Some(part) =
            stream.message().await.map_err(|e| super::peers::unreachable("a copy broke off", &e))?
        {
            match part.part {
                Some(pb::install_request::Part::File(bytes)) => file.write(&bytes)?,
                Some(pb::install_request::Part::Digest(digest)) => {
                    // No commit and no promise from here on: the process starts over with it.
                    let mut promise = self.0.promise.lock().await;
                    self.still_has_its_copy()?;
                    if epoch < promise.epoch() || self.0.leadership.get().is_some() {
                        return Err(Error::environment(format!("Epoch {epoch} is over")));
                    }
                    promise.raise(epoch)?;
                    file.finish(&digest, self.0.state.is_some())?;
                    self.0.over.now("a new copy of the state has arrived".into());
                    return Ok(());
                }
                _ => return Err(Error::internal("not a part of a copy")),
            }
        }
        Err(Error::environment("a copy ended before its digest"))
    }
}

type Reply<T> = std::result::Result<Response<T>, Status>;

#[tonic::async_trait]
impl Service for Replica {
    async fn append(&self, request: Request<pb::AppendRequest>) -> Reply<pb::AppendReply> {
        let from = self.known(&request, |r| (&r.cluster, r.protocol))?;
        self.take(from, request.into_inner()).await.map(Response::new).map_err(internal)
    }

    async fn promise(&self, request: Request<pb::PromiseRequest>) -> Reply<pb::PromiseReply> {
        let from = self.known(&request, |r| (&r.cluster, r.protocol))?;
        let epoch = Epoch(request.into_inner().epoch);
        let reply = Replica::promise(self, epoch).await.map_err(internal)?;
        if reply.granted {
            tracing::info!(%epoch, node = %from, "an epoch was promised");
            self.depose_before(epoch, from);
        }
        Ok(Response::new(reply))
    }

    type FetchStream = ReceiverStream<std::result::Result<pb::Piece, Status>>;

    async fn fetch(&self, request: Request<pb::FetchRequest>) -> Reply<Self::FetchStream> {
        self.known(&request, |r| (&r.cluster, r.protocol))?;
        let request = request.into_inner();
        let state = self.0.state.clone().ok_or_else(|| {
            Status::failed_precondition("This node has no copy of the configuration")
        })?;
        if Epoch(request.epoch) != self.0.promise.lock().await.epoch() {
            return Err(Status::failed_precondition("Another epoch was promised since"));
        }
        let (sender, receiver) = mpsc::channel(4);
        let paths = self.0.paths.clone();
        tokio::spawn(async move {
            let end = request.end.map(|end| at(Some(end)));
            if let Err(error) = send_rest(&paths, &state, end, &sender).await {
                // The receiver may be gone; then nobody needs to know.
                sender.send(Err(internal(error))).await.ok();
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn install(
        &self,
        request: Request<Streaming<pb::InstallRequest>>,
    ) -> Reply<pb::InstallReply> {
        let (meta, extensions, mut stream) = request.into_parts();
        let Some(pb::InstallRequest { part: Some(pb::install_request::Part::Head(head)) }) =
            stream.message().await?
        else {
            return Err(Status::invalid_argument("A copy begins with its head"));
        };
        let request = Request::from_parts(meta, extensions, ());
        let from = self.0.peers.candidate(&request, &head.cluster, head.protocol)?;
        let epoch = Epoch(head.epoch);
        if epoch < self.0.promise.lock().await.epoch() {
            return Err(Status::failed_precondition(format!("Epoch {epoch} is over")));
        }
        if self.depose_before(epoch, from) {
            return Err(Status::unavailable("this masterd led until now and starts over"));
        }
        self.install_file(stream, epoch).await.map_err(internal)?;
        Ok(Response::new(pb::InstallReply {}))
    }

    async fn retire(&self, request: Request<pb::RetireRequest>) -> Reply<pb::RetireReply> {
        self.known(&request, |r| (&r.cluster, r.protocol))?;
        let promise = self.0.promise.lock().await;
        if Epoch(request.into_inner().epoch) < promise.epoch() {
            return Err(Status::failed_precondition("That epoch is over"));
        }
        transfer::drop_secrets(&self.0.paths).map_err(internal)?;
        if self.0.state.is_some() {
            transfer::drop_copy(&self.0.paths).map_err(internal)?;
            self.0.over.now("this node is no master candidate any more".into());
        }
        Ok(Response::new(pb::RetireReply {}))
    }
}

/// Sends what follows `end`, or all if the logs part there.
async fn send_rest(
    paths: &Paths,
    state: &State,
    end: Option<Position>,
    to: &mpsc::Sender<std::result::Result<pb::Piece, Status>>,
) -> Result<()> {
    if let Some(mut end) = end
        && state.epoch_of(end.serial).await? == Some(end.epoch)
    {
        while let Some(entries) = state.entries(end.serial, PIECE).await? {
            let Some(last) = entries.last() else { return Ok(()) };
            end = last.at;
            for entry in &entries {
                let piece = pb::piece::Piece::Entry(encode(entry)?);
                if to.send(Ok(pb::Piece { piece: Some(piece) })).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
    let mut file = transfer::Outgoing::create(paths).await?;
    while let Some(bytes) = file.read()? {
        let piece = pb::piece::Piece::File(bytes);
        if to.send(Ok(pb::Piece { piece: Some(piece) })).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}
