//! A leadership at work: what was written goes to the copies, what they hold decides what counts.

use super::leader::{LEASE, Leader, Millis, Safety};
use super::link;
use super::peers::Peers;
use super::replica::{Over, encode};
use super::voters::Voters;
use crate::clock;
use crate::config::Config;
use crate::state::{Quorum, State};
use crate::store::Entry;
use roost_proto::error::Result;
use roost_proto::ids::{Epoch, NodeId, Serial};
use roost_proto::node::AloneNote;
use roost_proto::paths::Paths;
use roost_proto::rpc::node as npb;
use roost_proto::rpc::replica as pb;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How often a leader looks after itself, and the pause between two signs of life.
pub const TICK: Duration = Duration::from_millis(500);
/// Changes that a copy may lack without being told behind: they are on their way.
const ON_THEIR_WAY: u64 = 200;
/// How long the operator's word that a node is down lasts while changes count.
const WORD: Millis = 60_000;
/// How long a node may take to keep a note.
const NOTE: Duration = Duration::from_secs(3);
/// Bytes of the newest commits kept ready for copies; who lags more is served from the database.
const RECENT: usize = 4 << 20;

/// See the module.
#[derive(Debug)]
pub struct Leadership {
    pub(super) peers: Arc<Peers>,
    pub(super) state: State,
    pub(super) paths: Paths,
    pub(super) over: Over,
    epoch: Epoch,
    leader: Mutex<Leader>,
    /// The newest configuration that is written, counted or not: it has the voters' addresses.
    tip: Mutex<Arc<Config>>,
    recent: Mutex<Recent>,
    /// Who is down by the operator's word, and since when changes count without it.
    words: Mutex<BTreeMap<NodeId, Millis>>,
    written: watch::Sender<Serial>,
    /// The writer was told not to write and waits to hear that it may.
    blocked: AtomicBool,
    /// The nodes that promised to obey it when it began.
    elected_by: BTreeSet<NodeId>,
    /// The last note.
    note: Mutex<Note>,
}

#[derive(Debug, Default)]
struct Recent {
    entries: VecDeque<(Serial, pb::Entry)>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Note {
    round: u64,
    /// Who lacks something, as a majority of these nodes has noted in this leadership: more nodes
    /// need it again.
    noted: Option<(BTreeSet<NodeId>, BTreeSet<NodeId>)>,
    /// The operator was told of being alone.
    told: bool,
    since: u64,
}

/// How the copies are at a moment.
#[derive(Clone, Debug)]
pub struct Copies {
    pub safety: Safety,
    pub epoch: Epoch,
    pub written: Serial,
    pub counts: Serial,
    /// Voters other than the leader: what they hold, milliseconds since they were heard.
    pub others: Vec<(NodeId, Serial, Option<Millis>)>,
    /// Since when the leader has been alone, seconds since 1970.
    pub alone_since: u64,
}

impl Copies {
    /// What a voter other than the leader holds, and milliseconds since it was heard.
    pub fn of(&self, node: NodeId) -> Option<(Serial, Option<Millis>)> {
        let found = self.others.iter().find(|(other, ..)| *other == node);
        found.map(|(_, holds, heard)| (*holds, *heard))
    }

    /// In a few words; `leader` for whoever is no other voter.
    pub fn tell(&self, node: NodeId) -> String {
        match self.of(node) {
            None => "leader".into(),
            Some((_, None)) => "away since the master began".into(),
            Some((_, Some(ago))) if ago >= LEASE => format!("away for {} s", ago / 1000),
            Some((holds, _)) if self.counts.0 - holds.0.min(self.counts.0) > ON_THEIR_WAY => {
                format!("{} changes behind", self.counts.0 - holds.0)
            }
            Some(_) => "level".into(),
        }
    }

    /// What is wrong, and what to do; empty if nothing is. `name` names nodes.
    pub fn complaint(&self, name: &dyn Fn(NodeId) -> String) -> String {
        let is_away = |heard: &Option<Millis>| heard.is_none_or(|ago| ago >= LEASE);
        let away: Vec<String> = (self.others.iter())
            .filter(|(_, _, heard)| is_away(heard))
            .map(|(node, ..)| format!("{} ({})", name(*node), self.tell(*node)))
            .collect();
        match self.safety {
            Safety::Waiting => format!(
                "Changes wait: no majority of the master candidates answers: {}. Bring them back, \
                 or, if they are down for good, say so: gnt-node modify --offline=yes NODE",
                away.join(", ")
            ),
            Safety::Alone { without } => format!(
                "NOT REPLICATED: master candidate {} is away, so changes are kept on the master \
                 only and would be lost with it. Bring it back, or make another node a master \
                 candidate",
                name(without)
            ),
            Safety::Single | Safety::Replicated if away.is_empty() => String::new(),
            Safety::Single | Safety::Replicated => {
                format!("Master candidates that do not answer: {}", away.join(", "))
            }
        }
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Leadership {
    /// A leadership over a log that ends at `written`. `note`: what nodes told about a master that
    /// was alone.
    pub fn new(
        replica: &super::Replica,
        state: State,
        paths: Paths,
        leader: Leader,
        note: Option<&AloneNote>,
        elected_by: BTreeSet<NodeId>,
    ) -> Arc<Leadership> {
        let tip = state.config();
        let note = Note {
            round: 0,
            // Nodes that were not heard may have an older note, or one that never counted.
            noted: None,
            told: note.is_some_and(|note| note.alone),
            since: note.map_or(0, |note| note.since),
        };
        Arc::new(Leadership {
            peers: replica.peers().clone(),
            state,
            paths,
            over: replica.over().clone(),
            epoch: leader.epoch(),
            written: watch::Sender::new(leader.written()),
            leader: Mutex::new(leader),
            tip: Mutex::new(tip),
            recent: Mutex::default(),
            words: Mutex::default(),
            blocked: AtomicBool::new(false),
            note: Mutex::new(note),
            elected_by,
        })
    }

    /// Its epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The nodes that promised to obey it when it began: who is missing did not answer.
    pub fn elected_by(&self) -> &BTreeSet<NodeId> {
        &self.elected_by
    }

    /// How the copies are.
    pub fn copies(&self) -> Copies {
        let (leader, now) = (guard(&self.leader), clock::forward_millis());
        Copies {
            safety: leader.safety(now),
            epoch: self.epoch,
            written: leader.written(),
            counts: leader.counts(),
            others: leader.copies(now),
            alone_since: guard(&self.note).since,
        }
    }

    /// A node has promised a newer epoch to somebody. If he leads, this leadership is over; if he
    /// does not, it must be begun again with a higher one.
    pub fn refused(&self, why: &str) {
        self.over.now(why.to_owned());
    }

    /// The operator says that a node is down. `false`: it is there.
    pub fn exclude(&self, node: NodeId) -> bool {
        let excluded = guard(&self.leader).exclude(node, clock::forward_millis());
        if let Some(counts) = excluded {
            tracing::warn!(%node, "by the operator's word a master candidate is down");
            self.state.counts(counts);
        }
        excluded.is_some()
    }

    /// Takes the operator's word back some time after changes count again: by then the node is marked
    /// offline and has no say anyway, or the command that should have done so has failed.
    fn weigh_words(&self) {
        let now = clock::forward_millis();
        let mut leader = guard(&self.leader);
        let counting = leader.may_write(now);
        let mut words = guard(&self.words);
        words.retain(|node, _| leader.excluded().contains(node));
        for node in leader.excluded().clone() {
            let since = words.entry(node).or_insert(now);
            if !counting {
                *since = now;
            } else if now.saturating_sub(*since) >= WORD {
                leader.include(node);
            }
        }
    }

    /// This machine's copy is about to promise a newer epoch: nothing counts any more.
    pub(super) fn promised(&self, epoch: Epoch) {
        guard(&self.leader).promised(epoch);
    }

    pub(super) fn tip(&self) -> Arc<Config> {
        guard(&self.tip).clone()
    }

    pub(super) fn counts(&self) -> Serial {
        guard(&self.leader).counts()
    }

    pub(super) fn written(&self) -> watch::Receiver<Serial> {
        self.written.subscribe()
    }

    /// A copy answered.
    pub(super) fn heard(&self, node: NodeId, holds: Serial) {
        let now = clock::forward_millis();
        let (before, counts, may) = {
            let mut leader = guard(&self.leader);
            let before = leader.counts();
            (before, leader.heard(node, holds, now), leader.may_write(now))
        };
        if counts > before || (may && self.blocked.swap(false, Ordering::Relaxed)) {
            self.state.counts(counts);
        }
    }

    /// Commits after `serial` that are at hand, some of them; `None` if they are too old for that.
    pub(super) fn recent(&self, serial: Serial, limit: usize) -> Option<Vec<pb::Entry>> {
        let recent = guard(&self.recent);
        let first = recent.entries.front()?.0;
        let skip = usize::try_from((serial.0 + 1).checked_sub(first.0)?).ok()?;
        let mut size = 0;
        let entries = recent.entries.iter().skip(skip).take_while(|(_, entry)| {
            let room = size == 0 || size + entry.batch.len() <= limit;
            size += entry.batch.len();
            room
        });
        Some(entries.map(|(_, entry)| entry.clone()).collect())
    }

    /// Sends to all voters, and looks after being alone, until `shutdown`.
    pub async fn run(self: Arc<Leadership>, shutdown: CancellationToken) {
        let mut links: BTreeMap<NodeId, CancellationToken> = BTreeMap::new();
        let mut written = self.written();
        let mut retired = link::Retired::default();
        loop {
            written.mark_unchanged();
            let mut voters = guard(&self.leader).voters().all();
            voters.remove(&self.peers.me());
            links.retain(|node, stop| {
                let stays = voters.contains(node);
                if !stays {
                    stop.cancel();
                }
                stays
            });
            for node in &voters {
                links.entry(*node).or_insert_with(|| {
                    let stop = shutdown.child_token();
                    tokio::spawn(link::run(self.clone(), *node, stop.clone()));
                    stop
                });
            }
            // While a change of the voters is under way, the older ones are still needed.
            if guard(&self.leader).voters_count() {
                retired.tell(&self, &voters);
            }
            self.weigh_words();
            self.look_after_being_alone().await;
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(TICK) => {}
                // Voters change with what is written.
                changed = written.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn look_after_being_alone(&self) {
        let now = clock::forward_millis();
        let (wants, should) = {
            let leader = guard(&self.leader);
            (leader.may_go_alone(now), leader.should_note(now))
        };
        let Some(without) = should else { return };
        if let Some(other) = wants {
            let name = self.tip().node_name(other);
            if self.put_note(without, Some(other)).await {
                tracing::error!(
                    without = %name,
                    "NOT REPLICATED: the other master candidate is away; changes are kept here only"
                );
                let counts = guard(&self.leader).go_alone(other, clock::forward_millis());
                self.state.counts(counts);
            } else {
                tracing::warn!(
                    without = %name,
                    "changes wait: the other master candidate is away, and no majority of the nodes \
                     answers"
                );
            }
            return;
        }
        let clear = without.is_empty();
        let is_noted = {
            let (tip, note) = (self.tip(), guard(&self.note));
            let same = |(lacks, on): &(_, BTreeSet<_>)| {
                *lacks == without && tip.online_nodes().all(|node| on.contains(&node.uuid))
            };
            note.noted.as_ref().is_some_and(same)
        };
        if !is_noted
            && self.put_note(without, None).await
            && clear
            && std::mem::take(&mut guard(&self.note).told)
        {
            tracing::info!("changes are replicated again");
        }
    }

    /// Puts a note on a majority of the nodes; `false` if that failed. Of two nodes in all, one of
    /// which is the candidate that is away, this one is enough: no election can do without it.
    async fn put_note(&self, without: BTreeSet<NodeId>, away: Option<NodeId>) -> bool {
        let note = {
            let mut own = guard(&self.note);
            own.round += 1;
            // Until it is known what became of it, nodes may have the last one or this one.
            own.noted = None;
            if away.is_some() {
                own.told = true;
                own.since = clock::micros() / 1_000_000;
            }
            AloneNote {
                epoch: self.epoch,
                round: own.round,
                master: self.peers.me(),
                alone: !without.is_empty(),
                without: without.clone(),
                since: own.since,
            }
        };
        let Ok(text) = serde_json::to_string(&note) else { return false };
        let tip = self.tip();
        let nodes: Vec<_> = tip.nodes.values().filter(|node| !node.offline).cloned().collect();
        let fence = npb::Fence {
            epoch: self.epoch.0,
            cluster: self.peers.identity.cluster.to_string(),
            protocol: roost_proto::protocol::NODE.version,
        };
        let mut asked = JoinSet::new();
        for node in &nodes {
            let request = npb::NoteRequest { fence: Some(fence.clone()), alone: text.clone() };
            if let Ok(mut client) = self.peers.node(node.uuid, &node.primary_ip) {
                asked.spawn(async move {
                    let told = tokio::time::timeout(NOTE, client.note(request)).await;
                    matches!(told, Ok(Ok(_)))
                });
            }
        }
        let mut kept = 0;
        while let Some(told) = asked.join_next().await {
            kept += usize::from(told.unwrap_or(false));
        }
        let of_two = nodes.len() == 2 && away.is_some_and(|a| nodes.iter().any(|n| n.uuid == a));
        let enough = kept > nodes.len() / 2 || (of_two && kept == 1);
        if enough {
            let on = nodes.iter().map(|node| node.uuid).collect();
            guard(&self.note).noted = Some((without, on));
        }
        enough
    }

    /// What was not acknowledged to the operator goes on in [`Leadership::state`]; see there.
    pub(super) async fn entries_after(
        &self,
        serial: Serial,
        limit: usize,
    ) -> Result<Option<Vec<pb::Entry>>> {
        if let Some(entries) = self.recent(serial, limit) {
            return Ok(Some(entries));
        }
        match self.state.entries(serial, limit).await? {
            Some(entries) => entries.iter().map(encode).collect::<Result<_>>().map(Some),
            None => Ok(None),
        }
    }
}

impl Quorum for Leadership {
    fn may_write(&self) -> bool {
        let may = guard(&self.leader).may_write(clock::forward_millis());
        if !may {
            self.blocked.store(true, Ordering::Relaxed);
        }
        may
    }

    fn wrote(&self, entries: Vec<Entry>, voters: &Voters, tip: &Arc<Config>) -> Serial {
        let Some(last) = entries.last().map(|entry| entry.at.serial) else {
            return self.counts();
        };
        *guard(&self.tip) = tip.clone();
        let single = voters.all().len() == 1;
        let mut recent = guard(&self.recent);
        if single {
            // Nobody reads them, and what is kept must have no gaps.
            *recent = Recent::default();
        } else {
            for entry in &entries {
                match encode(entry) {
                    Ok(encoded) => {
                        recent.bytes += encoded.batch.len();
                        recent.entries.push_back((entry.at.serial, encoded));
                    }
                    Err(error) => {
                        // Copies read it from the database, and say so if they cannot.
                        tracing::error!(%error, "a commit cannot be sent");
                        *recent = Recent::default();
                    }
                }
            }
            while recent.bytes > RECENT
                && let Some((_, old)) = recent.entries.pop_front()
            {
                recent.bytes -= old.batch.len();
            }
        }
        drop(recent);
        let counts = guard(&self.leader).wrote(last, voters.clone());
        self.written.send_replace(last);
        counts
    }
}
