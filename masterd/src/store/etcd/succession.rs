//! A leader that makes way: who is to lead next says so with a key of its own.
//!
//! ```text
//!   next one   puts `successor`, if there is none ──────────────► claims `leader`, removes `successor`
//!   leader           └─► sees it: stops, gives its lease back ─┘
//!   all others        nobody claims `leader` while there is a `successor` that is not its own
//! ```
//!
//! The key is tied to a lease without signs of life: whoever wanted to lead and died meanwhile keeps
//! the others waiting only until that ends.

use super::commit::{equal, get};
use super::connection::{Etcd, Failure};
use super::lease::{Campaign, Candidate, Leader};
use super::rpc::compare::{CompareTarget, TargetUnion};
use super::rpc::event::EventType;
use super::rpc::request_op::Request;
use super::rpc::response_op::Response;
use super::rpc::{KeyValue, PutRequest, RangeRequest, RequestOp, TxnRequest};
use crate::store::StoreError;
use roost_proto::ids::Epoch;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Between attempts while etcd does not answer.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a claim lasts at least: what a leader needs to stop, and more.
const SHORTEST: Duration = Duration::from_secs(10);

/// A claim to be the next leader. It ends by itself.
#[derive(Debug)]
pub struct Succession {
    etcd: Etcd,
    campaign: Campaign,
    lease: i64,
}

impl Succession {
    /// Withdraws the claim.
    pub async fn withdraw(self) {
        self.campaign.claimed.store(0, Ordering::Release);
        // It would end by itself.
        self.etcd.revoke(self.campaign.ttl, self.lease).await.ok();
    }
}

impl Campaign {
    /// Asks the leader to make way for this campaign, which must be under way for that
    /// ([`Campaign::win`]). Result: for how long nobody else can lead. Errors: somebody else is to be
    /// next.
    pub async fn succeed(&self) -> Result<(Succession, Duration), StoreError> {
        let failed = |failure: Failure| self.etcd.error(failure);
        let time = SHORTEST.max(self.ttl * 3);
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let (lease, _) = self.etcd.grant(self.ttl, seconds).await.map_err(failed)?;
        let Candidate { node, name } = self.candidate.clone();
        let next = Leader { node, name, epoch: Epoch(0) };
        let value = serde_json::to_vec(&next).map_err(|e| self.refused(e.to_string()))?;
        let put = PutRequest { key: self.keys.successor(), value, lease };
        let absent = TargetUnion::CreateRevision(0);
        let request = TxnRequest {
            compare: vec![equal(self.keys.successor(), CompareTarget::Create, absent)],
            success: vec![RequestOp { request: Some(Request::RequestPut(put)) }],
            failure: vec![get(self.keys.successor())],
        };
        let answer = self.etcd.txn(self.ttl, request).await.map_err(failed)?.value;
        let there = answer.responses.into_iter().next().and_then(|r| r.response);
        let revision = match there {
            _ if answer.succeeded => answer.header.map_or(0, |h| h.revision),
            Some(Response::ResponseRange(range)) => match range.kvs.into_iter().next() {
                // An earlier copy of the request made it.
                Some(kv) if kv.lease == lease => kv.create_revision,
                other => {
                    self.etcd.revoke(self.ttl, lease).await.ok();
                    let name = other.and_then(|kv| name_in(&kv)).unwrap_or("another node".into());
                    return Err(self.refused(format!(
                        "{name} has asked to lead next; try again in {seconds} s"
                    )));
                }
            },
            _ => return Err(self.refused("etcd neither wrote the claim nor found one".into())),
        };
        self.claimed.store(revision, Ordering::Release);
        let (etcd, campaign) = (self.etcd.clone(), self.clone());
        Ok((Succession { etcd, campaign, lease }, time))
    }

    /// Waits until somebody asks to lead next, for whoever leads. Returns the name.
    pub async fn asked_to_make_way(&self) -> String {
        loop {
            match self.successor().await {
                Ok((Some(name), _)) => return name,
                Ok((None, revision)) => self.wait_for_claim(revision + 1).await,
                Err(error) => {
                    tracing::debug!(%error, "whether somebody is to lead next is not known");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Who else is to be next, and the revision at which that was so.
    async fn successor(&self) -> Result<(Option<String>, i64), StoreError> {
        let request = RangeRequest { key: self.keys.successor(), ..RangeRequest::default() };
        let answer = self.etcd.range(request).await.map_err(|e| self.etcd.error(e))?;
        let revision = answer.header.map_or(0, |h| h.revision);
        let own = self.claimed.load(Ordering::Acquire);
        let other = answer.kvs.first().filter(|kv| kv.create_revision != own);
        Ok((other.map(|kv| name_in(kv).unwrap_or("another node".into())), revision))
    }

    /// Returns when there may be a claim.
    async fn wait_for_claim(&self, revision: i64) {
        let Ok(mut stream) = self.etcd.watch(self.keys.successor(), revision).await else {
            sleep(PAUSE).await;
            return;
        };
        loop {
            // A watch may die without a word: so look again now and then.
            match timeout(self.ttl * 2, stream.message()).await {
                Ok(Ok(Some(answer))) => {
                    let put = |event: &super::rpc::Event| event.r#type() == EventType::Put;
                    if answer.canceled || answer.events.iter().any(put) {
                        return;
                    }
                }
                Ok(_) => {
                    sleep(PAUSE).await;
                    return;
                }
                Err(_) => return,
            }
        }
    }

    fn refused(&self, detail: String) -> StoreError {
        StoreError::Refused { endpoints: self.etcd.endpoints(), detail }
    }
}

fn name_in(kv: &KeyValue) -> Option<String> {
    serde_json::from_slice::<Leader>(&kv.value).ok().map(|leader| leader.name)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Server, campaign};
    use super::*;
    use tokio::time::Instant;

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_leader_makes_way_for_the_one_who_asked() {
        let Some(server) = Server::start() else { return };
        let connect = || Etcd::new(&server.settings()).unwrap();
        let [one, two, three] = ["node1", "node2", "node3"].map(|n| campaign(&connect(), n));
        let first = one.win().await.unwrap();
        let (third, second) = (three.clone(), two.clone());
        // It waits longest, but was not the one who asked.
        let third = tokio::spawn(async move { third.win().await });
        let asked = tokio::spawn(async move { one.asked_to_make_way().await });
        let second = tokio::spawn(async move { second.win().await });
        let (_claim, _) = two.succeed().await.unwrap();
        assert_eq!(timeout(SOON, asked).await.unwrap().unwrap(), "node2");
        let refused = three.succeed().await.unwrap_err().to_string();
        assert!(refused.contains("node2 has asked"), "{refused}");
        first.resign().await;
        let second = timeout(SOON, second).await.unwrap().unwrap().unwrap();
        assert!(second.holds() && !third.is_finished());
        // The claim is used up.
        assert_eq!(three.successor().await.unwrap().0, None);
        second.resign().await;
        timeout(SOON, third).await.unwrap().unwrap().unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_claim_that_was_withdrawn_or_has_ended_holds_nobody_up() {
        let Some(server) = Server::start() else { return };
        let connect = || Etcd::new(&server.settings()).unwrap();
        let [one, two] = ["node1", "node2"].map(|n| campaign(&connect(), n));
        let (claim, time) = two.succeed().await.unwrap();
        assert!(timeout(Duration::from_secs(2), one.win()).await.is_err(), "it is reserved");
        claim.withdraw().await;
        let first = timeout(SOON, one.win()).await.unwrap().unwrap();
        let (claim, _) = two.succeed().await.unwrap();
        let begun = Instant::now();
        first.resign().await;
        // As if node2 had died: nobody campaigns there.
        let first = timeout(time * 2, one.win()).await.unwrap().unwrap();
        assert!(begun.elapsed() > time / 2, "{:?}", begun.elapsed());
        assert!(first.holds());
        drop(claim);
    }
}
