//! Who leads: whoever holds the lease to which the key `leader` is tied.
//!
//! ```text
//!              ┌──────────── the key went away ─────────────┐
//!              ▼                                            │
//!   ask ──► no key ──► lease, key if still absent ──► ours? ┴─no─► wait for the key's end
//!                                                      │yes
//!                                                      ▼
//!                            leading: a sign of life each TTL/6
//!                              │ none for 2/3 of the TTL     │ resign
//!                              ▼                             ▼
//!                            lost ── 1/3 TTL later ──►  the key goes away
//! ```
//!
//! Time is counted from before a sign of life was sent, by a clock that also runs while the
//! machine sleeps, and looked at again after every wait: a process that was frozen knows that it
//! lost before it does anything else. The revision at which the key appeared names the leadership;
//! every commit is tied to it, so even a leader that knows nothing of its end changes nothing.

use super::commit::{delete_range, equal, get};
use super::connection::{Etcd, Failure};
use super::keys::Keys;
use super::rpc::compare::{CompareTarget, TargetUnion};
use super::rpc::event::EventType;
use super::rpc::request_op::Request;
use super::rpc::response_op::Response;
use super::rpc::{KeyValue, PutRequest, RangeRequest, RequestOp, TxnRequest};
use crate::clock;
use crate::store::StoreError;
use roost_proto::ids::{ClusterId, Epoch, NodeId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Between attempts while etcd does not answer.
const PAUSE: Duration = Duration::from_millis(500);

/// Who wants to lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub node: NodeId,
    pub name: String,
}

/// Who leads, as the key says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    pub node: NodeId,
    pub name: String,
    /// 0 until it has begun one.
    pub epoch: Epoch,
}

/// What a leadership looks like to a store: commits need it.
#[derive(Clone, Debug)]
pub struct Guard {
    /// When the leader's key appeared.
    pub(super) revision: i64,
    /// Fires when the leadership is over.
    pub(super) lost: CancellationToken,
    /// Milliseconds of [`clock::since_boot`] until which it lasts without another sign of life.
    until: Arc<AtomicU64>,
}

impl Guard {
    /// Does the leadership last, by the clock too?
    pub fn holds(&self) -> bool {
        if !self.lost.is_cancelled() && now() >= self.until.load(Ordering::Acquire) {
            self.lost.cancel();
        }
        !self.lost.is_cancelled()
    }

    fn left(&self) -> Duration {
        Duration::from_millis(self.until.load(Ordering::Acquire).saturating_sub(now()))
    }

    /// A sign of life that was sent at `sent` arrived in time.
    fn extend(&self, sent: u64, trusted: u64) {
        if self.holds() {
            self.until.store(sent + trusted, Ordering::Release);
        }
    }
}

/// Wants to lead a cluster. Clones are the same campaign.
#[derive(Clone, Debug)]
pub struct Campaign {
    pub(super) etcd: Etcd,
    pub(super) keys: Keys,
    pub(super) candidate: Candidate,
    pub(super) ttl: Duration,
    /// When our claim to be next appeared ([`super::succession`]); 0: there is none.
    pub(super) claimed: Arc<AtomicI64>,
}

/// What came of one attempt.
enum Attempt {
    Won(Leadership),
    /// Somebody leads, at this revision.
    Lost(Leader, i64),
    /// Nobody leads, and somebody else is to be next.
    Reserved,
}

impl Campaign {
    /// `ttl`: seconds a leadership lasts after the last sign of life.
    pub fn new(etcd: Etcd, cluster: ClusterId, candidate: Candidate, ttl: u32) -> Campaign {
        let ttl = Duration::from_secs(ttl.into());
        Campaign { etcd, keys: Keys::new(cluster), candidate, ttl, claimed: Arc::default() }
    }

    /// Who leads now.
    pub async fn leader(&self) -> Result<Option<Leader>, StoreError> {
        let (kv, _) = self.read().await?;
        kv.map(|kv| self.parse(&kv)).transpose()
    }

    /// Leads as soon as nobody else does. While etcd does not answer it goes on trying; drop the
    /// future to stop. Errors: etcd refuses.
    pub async fn win(&self) -> Result<Leadership, StoreError> {
        let mut silent = false;
        loop {
            match self.attempt().await {
                Ok(Attempt::Won(leadership)) => return Ok(leadership),
                Ok(Attempt::Lost(leader, revision)) => {
                    silent = false;
                    tracing::debug!(leader = leader.name, "somebody leads; waiting");
                    self.wait_for_end(revision + 1).await;
                }
                // Whoever it is leads in a moment, or loses the claim.
                Ok(Attempt::Reserved) => sleep(PAUSE).await,
                Err(error @ StoreError::Unavailable { .. }) => {
                    if !std::mem::replace(&mut silent, true) {
                        tracing::warn!(%error, "nobody can lead");
                    }
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Leads if nobody else does; else who does.
    pub async fn try_win(&self) -> Result<Result<Leadership, Leader>, StoreError> {
        loop {
            match self.attempt().await? {
                Attempt::Won(leadership) => return Ok(Ok(leadership)),
                Attempt::Lost(leader, _) => return Ok(Err(leader)),
                Attempt::Reserved => sleep(PAUSE).await,
            }
        }
    }

    async fn attempt(&self) -> Result<Attempt, StoreError> {
        if let (Some(kv), revision) = self.read().await? {
            return Ok(Attempt::Lost(self.parse(&kv)?, revision));
        }
        let failed = |e: Failure| self.etcd.error(e);
        let patience = self.ttl;
        let sent = now();
        let ttl = i64::try_from(self.ttl.as_secs()).unwrap_or(i64::MAX);
        let (lease, _) = self.etcd.grant(patience, ttl).await.map_err(failed)?;
        let Candidate { node, name } = self.candidate.clone();
        let leader = Leader { node, name, epoch: Epoch(0) };
        let absent = TargetUnion::CreateRevision(0);
        let claimed = self.claimed.load(Ordering::Acquire);
        let ours = TargetUnion::CreateRevision(claimed);
        let request = TxnRequest {
            compare: vec![
                equal(self.keys.leader(), CompareTarget::Create, absent),
                equal(self.keys.successor(), CompareTarget::Create, ours),
            ],
            success: vec![
                self.claim(&leader, lease)?,
                delete_range(self.keys.successor(), Vec::new()),
            ],
            failure: vec![get(self.keys.leader())],
        };
        let answer = self.etcd.txn(patience, request).await.map_err(failed)?.value;
        let revision = answer.header.map_or(0, |h| h.revision);
        let winner = answer.responses.into_iter().next().and_then(|r| r.response);
        if answer.succeeded {
            self.claimed.store(0, Ordering::Release);
        }
        let won = match winner {
            _ if answer.succeeded => Some(revision),
            Some(Response::ResponseRange(range)) => match range.kvs.into_iter().next() {
                // An earlier copy of the request made it.
                Some(kv) if kv.lease == lease => Some(kv.create_revision),
                Some(kv) => {
                    // It would expire by itself.
                    self.etcd.revoke(patience, lease).await.ok();
                    return Ok(Attempt::Lost(self.parse(&kv)?, revision));
                }
                None => {
                    self.etcd.revoke(patience, lease).await.ok();
                    // If it was ours, it is gone: from now on as everybody else.
                    self.claimed.store(0, Ordering::Release);
                    return Ok(Attempt::Reserved);
                }
            },
            _ => None,
        };
        let revision = won.ok_or_else(|| StoreError::Failed {
            path: self.place(),
            detail: "etcd neither wrote it nor found it".into(),
        })?;
        Ok(Attempt::Won(Leadership::begin(self.clone(), leader, lease, revision, sent)))
    }

    /// Returns when the leader's key may have gone.
    async fn wait_for_end(&self, revision: i64) {
        let Ok(mut stream) = self.etcd.watch(self.keys.leader(), revision).await else {
            sleep(PAUSE).await;
            return;
        };
        loop {
            // A watch dies without a word with its member's machine, which may be the leader's too: so
            // look again often enough to be ready when the lease expires.
            match timeout(self.ttl / 2, stream.message()).await {
                Ok(Ok(Some(answer))) => {
                    let ended = |event: &super::rpc::Event| event.r#type() == EventType::Delete;
                    if answer.canceled || answer.events.iter().any(ended) {
                        return;
                    }
                }
                Ok(_) => {
                    self.etcd.give_up_member();
                    sleep(PAUSE).await;
                    return;
                }
                Err(_) => return,
            }
        }
    }

    async fn read(&self) -> Result<(Option<KeyValue>, i64), StoreError> {
        let request = RangeRequest { key: self.keys.leader(), ..RangeRequest::default() };
        let answer = self.etcd.range(request).await.map_err(|e| self.etcd.error(e))?;
        let revision = answer.header.map_or(0, |h| h.revision);
        Ok((answer.kvs.into_iter().next(), revision))
    }

    fn claim(&self, leader: &Leader, lease: i64) -> Result<RequestOp, StoreError> {
        let value = serde_json::to_vec(leader)
            .map_err(|e| StoreError::Failed { path: self.place(), detail: e.to_string() })?;
        let put = PutRequest { key: self.keys.leader(), value, lease };
        Ok(RequestOp { request: Some(Request::RequestPut(put)) })
    }

    fn parse(&self, kv: &KeyValue) -> Result<Leader, StoreError> {
        serde_json::from_slice(&kv.value).map_err(|e| StoreError::Damaged {
            path: self.place(),
            detail: format!("who leads is unreadable: {e}"),
        })
    }

    fn place(&self) -> std::path::PathBuf {
        format!("etcd:{}leader", self.keys.root()).into()
    }
}

/// We lead. Dropping it ends the signs of life: another may lead when the lease has expired.
#[derive(Debug)]
pub struct Leadership {
    campaign: Campaign,
    leader: Leader,
    lease: i64,
    guard: Guard,
    _beating: DropGuard,
}

impl Leadership {
    fn begin(
        campaign: Campaign,
        leader: Leader,
        lease: i64,
        revision: i64,
        sent: u64,
    ) -> Leadership {
        let trusted = millis(campaign.ttl * 2 / 3);
        let guard = Guard {
            revision,
            lost: CancellationToken::new(),
            until: Arc::new(AtomicU64::new(sent + trusted)),
        };
        let stop = CancellationToken::new();
        let (etcd, every) = (campaign.etcd.clone(), campaign.ttl / 6);
        let life = beat(etcd, lease, guard.clone(), every, trusted);
        tokio::spawn(stop.clone().run_until_cancelled_owned(life));
        let watch = watch_clock(guard.clone(), campaign.ttl / 12);
        tokio::spawn(stop.clone().run_until_cancelled_owned(watch));
        tracing::info!(lease, revision, "the lease is ours: leading");
        Leadership { campaign, leader, lease, guard, _beating: stop.drop_guard() }
    }

    /// What a store needs to commit.
    pub fn guard(&self) -> Guard {
        self.guard.clone()
    }

    /// Fires when it is over, for whatever reason; a third of the lease's time before anybody else
    /// can lead.
    pub fn lost(&self) -> CancellationToken {
        self.guard.lost.clone()
    }

    /// Does it last? By the clock, without waiting for [`Leadership::lost`].
    pub fn holds(&self) -> bool {
        self.guard.holds()
    }

    /// When the leader's key appeared.
    pub fn revision(&self) -> i64 {
        self.guard.revision
    }

    /// Its lease.
    pub fn lease(&self) -> i64 {
        self.lease
    }

    /// Tells everybody who reads the key which epoch has begun.
    pub async fn announce(&mut self, epoch: Epoch) -> Result<(), StoreError> {
        self.leader.epoch = epoch;
        let Campaign { etcd, keys, .. } = &self.campaign;
        let ours = TargetUnion::CreateRevision(self.guard.revision);
        let request = TxnRequest {
            compare: vec![equal(keys.leader(), CompareTarget::Create, ours)],
            success: vec![self.campaign.claim(&self.leader, self.lease)?],
            failure: Vec::new(),
        };
        let answer = etcd.txn(self.campaign.ttl, request).await.map_err(|e| etcd.error(e))?;
        if answer.value.succeeded {
            return Ok(());
        }
        self.guard.lost.cancel();
        Err(StoreError::NotLeader { detail: "its key in etcd is gone".into() })
    }

    /// Gives it up: another can lead at once.
    pub async fn resign(self) {
        self.guard.lost.cancel();
        let Campaign { etcd, ttl, .. } = &self.campaign;
        if let Err(failure) = etcd.revoke(*ttl, self.lease).await {
            tracing::info!(?failure, "the lease is not given back: it expires by itself");
        }
    }
}

/// Signs of life until it is over.
async fn beat(etcd: Etcd, lease: i64, guard: Guard, every: Duration, trusted: u64) {
    while guard.holds() {
        let sent = now();
        match etcd.keep_alive(guard.left(), lease).await {
            Ok(0) => {
                tracing::error!("etcd has ended the lease");
                guard.lost.cancel();
            }
            Ok(_) => guard.extend(sent, trusted),
            Err(failure) => tracing::warn!(?failure, "no sign of life reaches etcd"),
        }
        sleep(every).await;
    }
}

/// Fires when the time is up. On its own: the other waits for answers.
async fn watch_clock(guard: Guard, every: Duration) {
    while guard.holds() {
        // Short, as this wait does not notice that the machine slept.
        sleep(guard.left().min(every)).await;
    }
    tracing::error!("leadership is over");
}

fn now() -> u64 {
    millis(clock::since_boot())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(until: u64) -> Guard {
        let until = Arc::new(AtomicU64::new(until));
        Guard { revision: 1, lost: CancellationToken::new(), until }
    }

    #[test]
    fn a_late_sign_of_life_revives_nothing() {
        // As after the process was frozen: the sign of life arrives, but its time was over.
        let frozen = guard(now().saturating_sub(1));
        frozen.extend(now(), 60_000);
        assert!(frozen.lost.is_cancelled() && !frozen.holds());

        let alive = guard(now() + 60_000);
        alive.extend(now(), 120_000);
        assert!(alive.holds() && alive.left() > Duration::from_secs(90));
    }

    #[tokio::test]
    async fn the_clock_ends_a_leadership_without_any_answer() {
        let guard = guard(now() + 50);
        let begun = clock::since_boot();
        watch_clock(guard.clone(), Duration::from_millis(10)).await;
        assert!(guard.lost.is_cancelled());
        assert!(clock::since_boot() - begun >= Duration::from_millis(49));
    }
}
