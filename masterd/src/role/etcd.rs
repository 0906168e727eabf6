//! Who leads with the etcd store: whoever holds the lease. Another master candidate takes over by
//! itself when it ends.
//!
//! ```text
//!   reads, follows ─► campaigns (master candidates only) ─► wins ─► leads ─► loses the lease, or
//!        ▲                                                            │     makes way for another
//!        └──────────── starts over ◄── drops the master IP ◄──────────┘
//! ```
//!
//! A copy from the time of the embedded store is set aside as soon as etcd turns out to know all that
//! is in it; a cluster that has moved on from etcd is followed there.

use super::lead::{self, Ground};
use super::{begin, make_way, master_ip, stored_epoch};
use crate::api::{FailoverRequest, Role};
use crate::jobs::Engine;
use crate::replication::Over;
use crate::state::{NobodyElse, State};
use crate::store::etcd::{Campaign, Candidate, Etcd, EtcdStore, Leadership, complaint, follow};
use crate::store::{migrate, settings};
use crate::tls::Tls;
use crate::{files, watch};
use roost_proto::error::{Error, Result};
use roost_proto::ids::Epoch;
use roost_proto::paths::{Identity, Paths};
use roost_proto::store::{EtcdSettings, StoreSettings};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The pause between two attempts to read the state, and between two looks whether this node is a
/// master candidate.
const AGAIN: Duration = Duration::from_secs(1);

/// A masterd with the etcd store.
#[derive(Debug)]
pub struct WithEtcd {
    pub paths: Paths,
    pub tls: Tls,
    pub role: Role,
    pub identity: Identity,
    pub settings: EtcdSettings,
    pub over: Over,
}

fn failed(error: &dyn std::fmt::Display) -> Error {
    Error::environment(error.to_string())
}

impl WithEtcd {
    /// Follows, and leads when it wins. Ends with `shutdown`; returns the engine, if it led.
    pub async fn run(
        self,
        failovers: mpsc::Receiver<FailoverRequest>,
        shutdown: CancellationToken,
    ) -> Result<Option<Engine>> {
        let etcd = Etcd::new(&self.settings)?;
        self.role.set_etcd(etcd.clone());
        tokio::spawn(etcd.clone().watch_members(shutdown.clone()));
        let campaign = self.campaign(&etcd);
        let (role, me) = (self.role.clone(), self.identity.node);
        tokio::spawn(make_way::serve(failovers, campaign.clone(), role, me, shutdown.clone()));
        let work = async {
            let state = tokio::select! {
                state = self.read(&etcd) => state,
                () = self.say_what_is_wrong(&etcd) => std::future::pending().await,
            };
            self.role.set_state(state.clone());
            let following = shutdown.child_token();
            tokio::spawn(keep_up(
                etcd.clone(),
                self.identity.cluster,
                state.clone(),
                following.clone(),
            ));
            let leadership = self.win(&campaign, &state).await;
            following.cancel();
            leadership
        };
        let leadership = tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            leadership = work => leadership,
        };
        match self.lead(&etcd, &campaign, leadership, &shutdown).await {
            Ok(engine) => Ok(engine),
            Err(error) => {
                self.over.now(error.to_string());
                std::future::pending().await
            }
        }
    }

    fn campaign(&self, etcd: &Etcd) -> Campaign {
        let Identity { cluster, node, name, .. } = &self.identity;
        let candidate = Candidate { node: *node, name: name.to_string() };
        Campaign::new(etcd.clone(), *cluster, candidate, self.settings.ttl)
    }

    /// The state as others left it; waits for etcd as long as it takes.
    async fn read(&self, etcd: &Etcd) -> State {
        let mut said = String::new();
        loop {
            let store = EtcdStore::new(Handle::current(), etcd.clone(), self.identity.cluster);
            let paths = self.paths.clone();
            let opened = tokio::task::spawn_blocking(move || open(store, &paths)).await;
            let why = match opened {
                Ok(Ok(Some(state))) => return state,
                Ok(Ok(None)) => {
                    self.over.now("the cluster keeps its state in etcd no more".into());
                    return std::future::pending().await;
                }
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            if why != said {
                tracing::warn!(%why, "the state cannot be read from etcd; trying on");
                self.role.wait_for(why.clone());
                said = why;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Lets commands say why the state is not read yet, for ever.
    async fn say_what_is_wrong(&self, etcd: &Etcd) {
        loop {
            if let Some(complaint) = complaint(&etcd.known_members()) {
                self.role.wait_for(complaint);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Campaigns while this node is a master candidate.
    async fn win(&self, campaign: &Campaign, state: &State) -> Leadership {
        let me = self.identity.node;
        let may = || {
            let config = state.config();
            config.nodes.get(&me).is_some_and(|n| n.master_candidate && !n.offline && !n.drained)
        };
        let mut serial = state.serial();
        loop {
            if !may() {
                tokio::time::sleep(AGAIN).await;
                continue;
            }
            let demoted = async {
                while may() {
                    if serial.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            };
            tokio::select! {
                won = campaign.win() => match won {
                    Ok(leadership) => return leadership,
                    Err(error) => {
                        tracing::warn!(%error, "the lease cannot be had; trying on");
                        self.role.wait_for(error.to_string());
                        tokio::time::sleep(AGAIN).await;
                    }
                },
                () = demoted => {}
            }
        }
    }

    async fn lead(
        &self,
        etcd: &Etcd,
        campaign: &Campaign,
        mut leadership: Leadership,
        shutdown: &CancellationToken,
    ) -> Result<Option<Engine>> {
        let lost = leadership.lost();
        let stop = shutdown.child_token();
        let me = self.identity.node;
        let work = async {
            let mut store = EtcdStore::new(Handle::current(), etcd.clone(), self.identity.cluster);
            store.lead(leadership.guard());
            if self.settings.compact {
                store.compact();
            }
            let opened = tokio::task::spawn_blocking(|| State::open(Box::new(store))).await;
            let state = opened.map_err(|e| failed(&e))?.map_err(|e| failed(&e))?;
            // While the store was embedded, nodes may have promised more than what was stored.
            let epoch = Epoch(stored_epoch(&state).await?.max(obeyed(&self.paths)).0 + 1);
            let documents = state.lead(epoch, Arc::new(NobodyElse)).await?;
            let former = state.config().master();
            let moved = former != me;
            begin(&state, epoch, me, moved).await?;
            leadership.announce(epoch).await.map_err(|e| failed(&e))?;
            self.role.set_state(state.clone());
            let ground = Ground {
                paths: self.paths.clone(),
                tls: self.tls.clone(),
                state: state.clone(),
                epoch,
                leadership: None,
                doubtful: moved.then_some(former),
                documents,
            };
            let (engine, _) = lead::start(ground, &self.role, &stop).await?;
            let nodes = self.role.leading()?.nodes.clone();
            let settings =
                watch::store_settings::run(self.paths.clone(), state, nodes, stop.child_token());
            tokio::spawn(settings);
            Ok::<Engine, Error>(engine)
        };
        let engine = tokio::select! {
            engine = work => engine,
            () = lost.cancelled() => return Err(failed(&"the lease in etcd was lost")),
            () = shutdown.cancelled() => {
                leadership.resign().await;
                return Ok(None);
            }
        };
        let engine = match engine {
            Ok(engine) => engine,
            Err(error) => {
                // Another may fare better.
                stop.cancel();
                leadership.resign().await;
                return Err(error);
            }
        };
        tokio::select! {
            next = campaign.asked_to_make_way() => {
                tracing::info!(next, "making way, as asked");
                self.drop_address().await;
                stop.cancel();
                leadership.resign().await;
                Err(failed(&format!("{next} is to lead next")))
            }
            () = lost.cancelled() => {
                tracing::error!("the lease in etcd was lost: this node leads no more");
                stop.cancel();
                self.drop_address().await;
                Err(failed(&"the lease in etcd was lost"))
            }
            () = shutdown.cancelled() => {
                self.drop_address().await;
                leadership.resign().await;
                Ok(Some(engine))
            }
        }
    }

    /// Takes the master IP off this node, in what is left of the lease.
    async fn drop_address(&self) {
        let (Ok(leading), Ok(state)) = (self.role.leading(), self.role.state()) else { return };
        let config = state.config();
        let limit = Duration::from_secs(u64::from(self.settings.ttl)) / 3;
        let dropping = master_ip::drop_here(&leading.nodes, &config, self.identity.node);
        match tokio::time::timeout(limit, dropping).await {
            Ok(warnings) => {
                warnings.iter().for_each(|warning| tracing::warn!(%warning, "master IP"))
            }
            Err(_) => tracing::warn!("the master IP was not taken off this node in time"),
        }
    }
}

/// Takes over what the leader commits.
async fn keep_up(
    etcd: Etcd,
    cluster: roost_proto::ids::ClusterId,
    state: State,
    stop: CancellationToken,
) {
    let mut newest = follow(etcd, cluster, stop.clone());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = newest.changed() => if changed.is_err() { return },
        }
        if let Err(error) = state.refresh().await {
            tracing::warn!(%error, "what the leader has changed cannot be read");
        }
    }
}

/// The state, if the cluster is still there; if it has moved, this node's settings say so now.
/// Errors: etcd does not answer; this node knows more than etcd.
fn open(mut store: EtcdStore, paths: &Paths) -> Result<Option<State>> {
    let known = match store.position() {
        Ok(known) => known,
        Err(error) => {
            if store.is_retired().map_err(|e| failed(&e))? {
                settings::save(paths, &StoreSettings::Embedded)?;
                return Ok(None);
            }
            return Err(failed(&error));
        }
    };
    if let Some(kept) = migrate::set_aside(paths, known)? {
        let kept = kept.display();
        tracing::info!(%kept, "the copy from before the state was moved to etcd is set aside");
    }
    State::open(Box::new(store)).map(Some).map_err(|e| failed(&e))
}

/// The highest epoch that the node daemon of this machine has seen.
fn obeyed(paths: &Paths) -> Epoch {
    // Without that file it has seen none.
    let text = files::read(&paths.noded_dir().join("epoch")).unwrap_or_default();
    Epoch(text.trim().parse().unwrap_or_default())
}
