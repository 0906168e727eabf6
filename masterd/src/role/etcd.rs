//! Who leads with the etcd store: whoever holds the lease. Another master candidate takes over by
//! itself when it ends.
//!
//! ```text
//!   reads, follows ─► campaigns (master candidates only) ─► wins ─► leads ─► loses the lease
//!        ▲                                                                        │ drops the master IP
//!        └──────────────────────── starts over ◄──────────────────────────────────┘
//! ```

use super::lead::{self, Ground};
use super::{begin, master_ip, stored_epoch};
use crate::api::{FailoverEvent, FailoverRequest, Role};
use crate::jobs::Engine;
use crate::replication::Over;
use crate::state::{NobodyElse, State};
use crate::store::etcd::{Campaign, Candidate, Etcd, EtcdStore, Leadership, follow};
use crate::tls::Tls;
use crate::watch;
use roost_proto::error::{Error, Result};
use roost_proto::ids::Epoch;
use roost_proto::paths::{Identity, Paths};
use roost_proto::store::EtcdSettings;
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
        let etcd = Etcd::new(&self.settings).map_err(|e| failed(&e))?;
        tokio::spawn(refuse(failovers, shutdown.clone()));
        let work = async {
            let state = self.read(&etcd).await;
            self.role.set_state(state.clone());
            let following = shutdown.child_token();
            tokio::spawn(keep_up(
                etcd.clone(),
                self.identity.cluster,
                state.clone(),
                following.clone(),
            ));
            let leadership = self.win(&etcd, &state).await;
            following.cancel();
            leadership
        };
        let leadership = tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            leadership = work => leadership,
        };
        match self.lead(&etcd, leadership, &shutdown).await {
            Ok(engine) => Ok(engine),
            Err(error) => {
                // The lease ends with the process's memory; another may try.
                self.over.now(error.to_string());
                std::future::pending().await
            }
        }
    }

    /// The state as others left it; waits for etcd as long as it takes.
    async fn read(&self, etcd: &Etcd) -> State {
        let mut said = String::new();
        loop {
            let store = EtcdStore::new(Handle::current(), etcd.clone(), self.identity.cluster);
            let opened = tokio::task::spawn_blocking(|| State::open(Box::new(store))).await;
            let why = match opened {
                Ok(Ok(state)) => return state,
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

    /// Campaigns while this node is a master candidate.
    async fn win(&self, etcd: &Etcd, state: &State) -> Leadership {
        let me = self.identity.node;
        let candidate = Candidate { node: me, name: self.identity.name.to_string() };
        let cluster = self.identity.cluster;
        let campaign = Campaign::new(etcd.clone(), cluster, candidate, self.settings.ttl);
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
            let epoch = Epoch(stored_epoch(&state).await?.0 + 1);
            let documents = state.lead(epoch, Arc::new(NobodyElse)).await?;
            let moved = state.config().master() != me;
            begin(&state, epoch, me, moved).await?;
            leadership.announce(epoch).await.map_err(|e| failed(&e))?;
            self.role.set_state(state.clone());
            let ground = Ground {
                paths: self.paths.clone(),
                tls: self.tls.clone(),
                state: state.clone(),
                epoch,
                leadership: None,
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
            engine = work => engine?,
            () = lost.cancelled() => return Err(failed(&"the lease in etcd was lost")),
            () = shutdown.cancelled() => {
                leadership.resign().await;
                return Ok(None);
            }
        };
        tokio::select! {
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

/// With etcd nobody is made the master by command.
async fn refuse(mut failovers: mpsc::Receiver<FailoverRequest>, shutdown: CancellationToken) {
    loop {
        let wanted = tokio::select! {
            () = shutdown.cancelled() => return,
            wanted = failovers.recv() => wanted,
        };
        let Some(wanted) = wanted else { return };
        let error = Error::wrong_state(
            "With the state in etcd the master changes by itself; to have another one now, stop \
             masterd on the master: 'daemon-util stop masterd'",
        );
        wanted.tell.send(FailoverEvent::Ended(Err(error))).ok();
    }
}
