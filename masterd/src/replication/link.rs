//! From the leader to one copy.
//!
//! ```text
//!             ┌── TAKEN: send what follows, or a sign of life ──┐
//!   ask where it ends ──► in our log: send what follows ◄───────┘
//!             │           not in our log, or no log: a whole file ──► it starts over ──► ask again
//!             └── DEPOSED: this leadership is over
//! ```

use super::leader::Millis;
use super::leadership::{Leadership, TICK};
use super::peers::unreachable;
use super::replica::position;
use super::transfer;
use crate::clock;
use crate::store::Position;
use roost_proto::error::{Error, Result};
use roost_proto::ids::{Epoch, NodeId, Serial};
use roost_proto::protocol::REPLICA;
use roost_proto::rpc::replica as pb;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// Bytes of commits in one message.
const LIMIT: usize = 4 << 20;
/// A copy that says nothing for this long is away.
const SILENCE: Duration = Duration::from_secs(4);
/// When a copy is told what counts, if nothing else is to be told.
const SOON: Duration = Duration::from_millis(20);
/// When a node that did not answer is told again to drop its copy.
const TELL_AGAIN: Millis = 10_000;
/// A whole file may take this long.
const WHOLE: Duration = Duration::from_secs(3_600);

/// Keeps a copy level until `stop`.
pub async fn run(leadership: Arc<Leadership>, node: NodeId, stop: CancellationToken) {
    let mut complaint = String::new();
    loop {
        let shown = leadership.peers.shown(node);
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = follow(&leadership, node) => ended,
        };
        match ended {
            // A whole copy went over: that machine starts again.
            Ok(()) => complaint.clear(),
            Err(error) => {
                leadership.peers.change_certificate(node, shown);
                let text = error.to_string();
                if text != complaint {
                    let name = leadership.tip().node_name(node);
                    tracing::warn!(node = %name, %error, "a copy of the state is not reached");
                    complaint = text;
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// Talks to one copy until something breaks, or it got a whole file.
async fn follow(leadership: &Leadership, node: NodeId) -> Result<()> {
    let tip = leadership.tip();
    let name = tip.node_name(node);
    let found = tip.nodes.get(&node);
    let address = found.map(|n| n.primary_ip.clone()).ok_or_else(|| {
        Error::internal(format!("Node {node} has a say and is not in the configuration"))
    })?;
    let mut client;
    let mut written = leadership.written();
    // Where the copy ends; unknown at first: then a place it surely tells us about if it differs.
    let mut end = leadership.state.end().await?.0;
    let mut known = false;
    loop {
        // Another connection when certificates were renewed.
        client = leadership.peers.replica(node, &address)?;
        written.mark_unchanged();
        let entries = match known {
            true => match leadership.entries_after(end.serial, LIMIT).await? {
                Some(entries) => entries,
                None => return install(leadership, node, &name, &mut client).await,
            },
            false => vec![],
        };
        let more = entries.last().and_then(|entry| entry.at).map(|at| at.serial);
        let told = leadership.counts();
        let request = pb::AppendRequest {
            cluster: leadership.peers.identity.cluster.to_string(),
            epoch: leadership.epoch().0,
            after: Some(position(end)),
            entries,
            counts: told.0,
            protocol: REPLICA.version,
        };
        let reply = tokio::time::timeout(SILENCE, client.append(request))
            .await
            .map_err(|_| Error::environment(format!("masterd on {name} is silent")))?
            .map_err(|status| unreachable(&format!("masterd on {name}"), &status))?
            .into_inner();
        let theirs =
            reply.end.map(|end| Position { epoch: Epoch(end.epoch), serial: Serial(end.serial) });
        match (reply.verdict(), theirs) {
            (pb::append_reply::Verdict::Deposed, _) => {
                let why = format!("{name} obeys the master of epoch {}", reply.promised);
                leadership.over.now(why);
                return Ok(());
            }
            (pb::append_reply::Verdict::Taken, Some(theirs)) => {
                (end, known) = (theirs, true);
                leadership.heard(node, theirs.serial);
            }
            (pb::append_reply::Verdict::Elsewhere, Some(theirs))
                if leadership.state.epoch_of(theirs.serial).await? == Some(theirs.epoch) =>
            {
                (end, known) = (theirs, true);
                leadership.heard(node, theirs.serial);
                continue;
            }
            _ => return install(leadership, node, &name, &mut client).await,
        }
        // The copy shows what it knows to count: it should not learn of that much later.
        let pause = if told < end.serial { SOON } else { TICK };
        // Something was sent: there may be more already.
        if more.is_none() || *written.borrow() == end.serial {
            tokio::select! {
                changed = written.changed() => if changed.is_err() { return Ok(()) },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

/// Sends a whole file.
async fn install(
    leadership: &Leadership,
    node: NodeId,
    name: &str,
    client: &mut pb::replica_client::ReplicaClient<tonic::transport::Channel>,
) -> Result<()> {
    tracing::info!(node = name, id = %node, "a whole copy of the state is sent");
    let mut file = transfer::Outgoing::create(&leadership.paths).await?;
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let part = |part| pb::InstallRequest { part: Some(part) };
    let head = pb::InstallHead {
        cluster: leadership.peers.identity.cluster.to_string(),
        epoch: leadership.epoch().0,
        protocol: REPLICA.version,
    };
    let send = async move {
        // A receiver that is gone is told by its answer.
        let mut open = sender.send(part(pb::install_request::Part::Head(head))).await.is_ok();
        while open && let Some(bytes) = file.read()? {
            open = sender.send(part(pb::install_request::Part::File(bytes))).await.is_ok();
        }
        let digest = part(pb::install_request::Part::Digest(file.digest()));
        if open {
            sender.send(digest).await.ok();
        }
        Ok::<(), Error>(())
    };
    let receive = async {
        tokio::time::timeout(WHOLE, client.install(ReceiverStream::new(receiver)))
            .await
            .map_err(|_| Error::environment(format!("masterd on {name} took too long")))?
            .map_err(|status| unreachable(&format!("masterd on {name}"), &status))
    };
    let (sent, received) = tokio::join!(send, receive);
    sent?;
    received.map(|_| ())
}

/// Nodes that are no candidates (any more) and were told to drop what only candidates have.
#[derive(Debug, Default)]
pub struct Retired {
    /// They have done it.
    done: Arc<Mutex<BTreeSet<NodeId>>>,
    /// When the others were told last.
    told: BTreeMap<NodeId, Millis>,
}

impl Retired {
    /// Tells nodes that have no say any more; again and again those that do not answer.
    pub fn tell(&mut self, leadership: &Arc<Leadership>, voters: &BTreeSet<NodeId>) {
        let tip = leadership.tip();
        let now = clock::forward_millis();
        let done = {
            let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            done.retain(|node| !voters.contains(node));
            done.clone()
        };
        for node in tip.nodes.values() {
            let stays = voters.contains(&node.uuid) || node.uuid == leadership.peers.me();
            let lately = self.told.get(&node.uuid).is_some_and(|told| now - told < TELL_AGAIN);
            if stays || node.master_candidate || node.offline || lately {
                continue;
            }
            if done.contains(&node.uuid) {
                continue;
            }
            self.told.insert(node.uuid, now);
            let (leadership, id, address) =
                (leadership.clone(), node.uuid, node.primary_ip.clone());
            let done = self.done.clone();
            tokio::spawn(async move {
                let request = pb::RetireRequest {
                    cluster: leadership.peers.identity.cluster.to_string(),
                    epoch: leadership.epoch().0,
                    protocol: REPLICA.version,
                };
                let Ok(mut client) = leadership.peers.replica(id, &address) else { return };
                let told = tokio::time::timeout(SILENCE, client.retire(request)).await;
                if matches!(told, Ok(Ok(_))) {
                    done.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
                }
            });
        }
    }
}
