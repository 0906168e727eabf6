//! Becoming the master: asking, promising, fetching. What the answers mean is in [`super::ballot`].

use super::ballot::{Ballot, CopySays, Count, NodeSays};
use super::leader::{Leader, Millis};
use super::leadership::Leadership;
use super::peers::{Peers, unreachable};
use super::replica::{Replica, decode, position};
use super::transfer;
use crate::clock;
use crate::config::Config;
use crate::role;
use crate::state::State;
use crate::store::Position;
use roost_proto::error::{Error, Result};
use roost_proto::ids::{Epoch, NodeId, Serial};
use roost_proto::node::AloneNote;
use roost_proto::paths::Paths;
use roost_proto::protocol::{NODE, REPLICA};
use roost_proto::rpc::{node as npb, replica as pb};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long anybody may take to answer.
const ANSWER: Duration = Duration::from_secs(4);
/// How long those may take who are not needed.
const STRAGGLERS: Duration = Duration::from_millis(500);
/// How long what lacks may take to arrive.
const FETCH: Duration = Duration::from_secs(600);

/// Why this machine wants to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// It is the master, and masterd was started.
    Restart,
    /// The operator wants it to be.
    Failover {
        /// Also without the answers that are needed.
        no_voting: bool,
        /// Also if changes that were acknowledged may be lost.
        accept_loss: bool,
    },
}

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// It leads.
    Won(Arc<Leadership>),
    /// Another one leads already.
    Follow(NodeId),
    /// A whole copy was fetched: the process starts over with it and tries again.
    StartOver,
}

/// An attempt. `tell` hears what the operator should know on the way.
#[derive(Debug)]
pub struct Election<'a> {
    pub replica: &'a Replica,
    pub state: &'a State,
    pub paths: &'a Paths,
    pub alone_after: Millis,
}

impl Election<'_> {
    /// Tries once. Errors: it may not lead now; who is missing or what may be lost.
    pub async fn run(&self, aim: Aim, tell: &(dyn Fn(String) + Send + Sync)) -> Result<Outcome> {
        let config = self.state.config();
        let asked = self.ask(&config, None).await?;
        if aim == Aim::Restart
            && let Some((_, leader)) = asked.other_leader()
        {
            return Ok(Outcome::Follow(leader));
        }
        let count = asked.count();
        self.judge(&config, &count, aim, tell)?;
        let stored = Epoch(role::stored_epoch(self.state).await?.0 + 1);
        let mut epoch = count.epoch(self.me()).max(stored);
        let backed = count.backed;
        let mut promised = self.ask(&config, Some(epoch)).await?;
        let mut count = promised.count();
        self.judge(&config, &count, aim, tell)?;
        if backed && !count.backed {
            // Somebody else may get their promise of the same epoch.
            epoch = count.epoch(self.me()).max(stored);
            promised = self.ask(&config, Some(epoch)).await?;
            count = promised.count();
            self.judge(&config, &count, aim, tell)?;
        }
        let Some((best, holder)) = count.best else {
            return Err(Error::internal(
                "nobody has a copy of the configuration, not even this one",
            ));
        };
        let (end, _) = self.state.end().await?;
        if best > end {
            let name = config.node_name(holder);
            tell(format!("Fetching what this node lacks from {name}"));
            if self.fetch(&config, holder, epoch, end).await? {
                return Ok(Outcome::StartOver);
            }
            // What was fetched may say that others have a say, or that another is master.
            let config = self.state.config_written().await?;
            let voters = self.state.end().await?.1;
            if voters != promised.voters {
                return Err(Error::environment(
                    "The set of master candidates has changed meanwhile, please retry",
                ));
            }
            if aim == Aim::Restart && config.master() != self.me() {
                return Ok(Outcome::Follow(config.master()));
            }
        }
        Ok(Outcome::Won(self.begin(epoch, &promised).await?))
    }

    fn me(&self) -> NodeId {
        self.replica.peers().me()
    }

    async fn begin(&self, epoch: Epoch, ballot: &Ballot) -> Result<Arc<Leadership>> {
        let note = newest_note(ballot);
        let there = ballot.said.keys().copied().collect();
        let (end, voters) = self.state.end().await?;
        let now = clock::forward_millis();
        // Whoever is not in the cluster any more needs no note.
        let known = self.state.config_written().await?;
        let lacks = note.iter().flat_map(|note| note.without.iter().copied());
        let lacks: BTreeSet<_> = lacks.filter(|node| known.nodes.contains_key(node)).collect();
        let own = |note: &AloneNote| note.alone && note.master == self.me();
        let mine = note.as_ref().is_some_and(own) && !lacks.is_disjoint(&voters.all());
        // Who was alone before it was started again need not wait again.
        let began = if mine { now.saturating_sub(self.alone_after) } else { now };
        let leader = Leader::new(self.me(), epoch, end.serial, voters, self.alone_after, began)
            .while_lacking(lacks);
        let state = self.state.clone();
        let paths = self.paths.clone();
        Ok(Leadership::new(self.replica, state, paths, leader, note.as_ref(), there))
    }

    /// Says why it may not lead, unless the operator takes it upon himself.
    fn judge(
        &self,
        config: &Config,
        count: &Count,
        aim: Aim,
        tell: &(dyn Fn(String) + Send + Sync),
    ) -> Result<()> {
        let names = |nodes: &[NodeId]| {
            let names: Vec<_> = nodes.iter().map(|n| config.node_name(*n)).collect();
            names.join(", ")
        };
        let (no_voting, accept_loss) = match aim {
            Aim::Restart => (false, false),
            Aim::Failover { no_voting, accept_loss } => (no_voting, accept_loss),
        };
        if let Some(note) = &count.may_lose {
            let text = format!(
                "Node {} has accepted changes alone, from {} s ago on; it cannot be asked for them, \
                 and they would be lost",
                config.node_name(note.master),
                (clock::micros() / 1_000_000).saturating_sub(note.since),
            );
            if !accept_loss {
                return Err(Error::environment(format!(
                    "{text}: start that node, or give --accept-loss to go on without them"
                )));
            }
            tell(format!("{text}: going on as asked"));
        }
        if !count.nodes_missing.is_empty() {
            let text = format!(
                "No majority of the nodes answers; missing: {}",
                names(&count.nodes_missing)
            );
            if !no_voting {
                return Err(Error::environment(format!(
                    "{text}. Without a majority nobody knows whether another master is at work: \
                     bring nodes back, or, if you are sure that there is none, use --no-voting"
                )));
            }
            tell(format!("{text}: going on without, as asked"));
        }
        // Whom the operator goes on without is not missing besides.
        let alone = count.may_lose.as_ref().map(|note| note.master);
        let is_missed = |node: &NodeId| !accept_loss || Some(*node) != alone;
        if count.copies_missing.iter().any(is_missed) {
            let text = format!(
                "No majority of the master candidates answers; missing: {}",
                names(&count.copies_missing)
            );
            if !(no_voting && accept_loss) {
                return Err(Error::environment(format!(
                    "{text}. They may hold changes this node lacks: bring them back, or give \
                     --no-voting and --accept-loss to go on with what this node has"
                )));
            }
            tell(format!("{text}: going on without, as asked; what only they hold is lost"));
        }
        Ok(())
    }

    /// Asks everybody what they know, or with an epoch to promise it: then only who promised is in
    /// the ballot.
    async fn ask(&self, config: &Config, epoch: Option<Epoch>) -> Result<Ballot> {
        let (_, voters) = self.state.end().await?;
        let nodes: BTreeMap<NodeId, String> = (config.nodes.values())
            .filter(|node| !node.offline || node.uuid == self.me())
            .map(|node| (node.uuid, node.primary_ip.clone()))
            .collect();
        let cluster = self.replica.peers().identity.cluster.to_string();
        let number = epoch.map_or(0, |epoch| epoch.0);
        let mut ballot = Ballot {
            me: self.me(),
            nodes: nodes.keys().copied().collect(),
            copies: BTreeMap::new(),
            said: BTreeMap::new(),
            voters,
        };
        let mut copies = JoinSet::new();
        for node in ballot.voters.all().into_iter().filter(|node| *node != self.me()) {
            let Some(address) = config.nodes.get(&node).map(|n| n.primary_ip.clone()) else {
                continue;
            };
            let peers = self.replica.peers().clone();
            let request = pb::PromiseRequest {
                cluster: cluster.clone(),
                epoch: number,
                protocol: REPLICA.version,
            };
            copies.spawn(async move { (node, ask_copy(&peers, node, &address, request).await) });
        }
        let mut said = JoinSet::new();
        for (node, address) in nodes {
            let peers = self.replica.peers().clone();
            let request = npb::VoteRequest {
                cluster: cluster.clone(),
                epoch: number,
                protocol: NODE.version,
            };
            said.spawn(async move { (node, ask_node(&peers, node, &address, request).await) });
        }
        let own = self.replica.promise(Epoch(number)).await?;
        ballot.copies.extend(copy_says(own, epoch).map(|says| (self.me(), says)));
        // When those who are needed have answered, the others are waited for a little only.
        let mut patience = ANSWER;
        while !(copies.is_empty() && said.is_empty()) {
            let deadline = tokio::time::sleep(patience);
            tokio::select! {
                Some(answered) = copies.join_next() => {
                    if let Ok((node, Ok(reply))) = answered {
                        ballot.copies.extend(copy_says(reply, epoch).map(|says| (node, says)));
                    }
                }
                Some(answered) = said.join_next() => {
                    if let Ok((node, Ok(reply))) = answered {
                        ballot.said.extend(node_says(reply, epoch).map(|says| (node, says)));
                    }
                }
                () = deadline => break,
            }
            if ballot.count().is_enough() {
                patience = STRAGGLERS;
            }
        }
        Ok(ballot)
    }

    /// Fetches what follows `end` from another copy. `true`: it was a whole file.
    async fn fetch(
        &self,
        config: &Config,
        from: NodeId,
        epoch: Epoch,
        end: Position,
    ) -> Result<bool> {
        let name = config.node_name(from);
        let address = config.node_by_id(from)?.primary_ip.clone();
        let mut client = self.replica.peers().replica(from, &address)?;
        let request = pb::FetchRequest {
            cluster: self.replica.peers().identity.cluster.to_string(),
            epoch: epoch.0,
            end: Some(position(end)),
            protocol: REPLICA.version,
        };
        let failed = |status: tonic::Status| unreachable(&format!("masterd on {name}"), &status);
        let work = async {
            let mut pieces = client.fetch(request).await.map_err(failed)?.into_inner();
            let mut file: Option<transfer::Incoming> = None;
            while let Some(piece) = pieces.message().await.map_err(failed)? {
                match piece.piece {
                    Some(pb::piece::Piece::Entry(entry)) => {
                        self.state.append(vec![decode(entry)?], Serial(0)).await?;
                    }
                    Some(pb::piece::Piece::File(bytes)) => {
                        if file.is_none() {
                            file = Some(transfer::Incoming::create(self.paths)?);
                        }
                        if let Some(file) = &mut file {
                            file.write(&bytes)?;
                        }
                    }
                    None => {}
                }
            }
            match file {
                Some(file) => self.replica.replace(file, epoch).await.map(|()| true),
                None => Ok(false),
            }
        };
        tokio::time::timeout(FETCH, work)
            .await
            .map_err(|_| Error::environment(format!("masterd on {name} took too long")))?
    }
}

fn newest_note(ballot: &Ballot) -> Option<AloneNote> {
    let notes = ballot.said.values().filter_map(|says| says.alone.clone());
    notes.max_by_key(|note| (note.epoch, note.round))
}

async fn ask_copy(
    peers: &Peers,
    node: NodeId,
    address: &str,
    request: pb::PromiseRequest,
) -> Result<pb::PromiseReply> {
    let shown = peers.shown(node);
    let mut client = peers.replica(node, address)?;
    let silent = |_| Error::environment("it is silent");
    let asked = client.promise(request.clone());
    let mut reply = tokio::time::timeout(ANSWER, asked).await.map_err(silent)?;
    if reply.is_err() && peers.change_certificate(node, shown) {
        let mut client = peers.replica(node, address)?;
        let asked = client.promise(request);
        reply = tokio::time::timeout(ANSWER, asked).await.map_err(silent)?;
    }
    reply.map(tonic::Response::into_inner).map_err(|status| unreachable("masterd", &status))
}

async fn ask_node(
    peers: &Peers,
    node: NodeId,
    address: &str,
    request: npb::VoteRequest,
) -> Result<npb::VoteReply> {
    let shown = peers.shown(node);
    let mut client = peers.node(node, address)?;
    let silent = |_| Error::environment("it is silent");
    let asked = client.vote(request.clone());
    let mut reply = tokio::time::timeout(ANSWER, asked).await.map_err(silent)?;
    if reply.is_err() && peers.change_certificate(node, shown) {
        let mut client = peers.node(node, address)?;
        let asked = client.vote(request);
        reply = tokio::time::timeout(ANSWER, asked).await.map_err(silent)?;
    }
    reply.map(tonic::Response::into_inner).map_err(|status| unreachable("noded", &status))
}

/// What a copy's answer is worth: nothing without a log, or if it refused to promise.
fn copy_says(reply: pb::PromiseReply, epoch: Option<Epoch>) -> Option<CopySays> {
    let end = reply.end?;
    (epoch.is_none() || reply.granted).then(|| CopySays {
        promised: Epoch(reply.promised),
        end: Position { epoch: Epoch(end.epoch), serial: Serial(end.serial) },
        leader: reply.leader.parse().ok().map(|node| (Epoch(reply.leader_epoch), node)),
    })
}

fn node_says(reply: npb::VoteReply, epoch: Option<Epoch>) -> Option<NodeSays> {
    (epoch.is_none() || reply.granted).then(|| NodeSays {
        epoch: Epoch(reply.epoch),
        alone: serde_json::from_str(&reply.alone).ok(),
    })
}
