//! Who leads with the embedded store: the operator's choice, and a vote that makes sure that
//! nobody else does and nothing is lost.

use super::lead::{self, Ground};
use super::{begin, stored_epoch};
use crate::api::{FailoverEvent, FailoverRequest, Role};
use crate::failpoint::{self, Place};
use crate::jobs::Engine;
use crate::replication::{
    Aim, Election, LEASE, Leadership, Outcome, Over, Peers, Replica, set_aside, sweep,
};
use crate::state::{StartError, State};
use crate::store::StoreError;
use crate::store::sqlite::SqliteStore;
use crate::tls::Tls;
use roost_proto::error::{Error, Result};
use roost_proto::paths::{Identity, Paths};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The pause between two attempts of the master to lead again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long the first commit of a failover may take to count.
const FIRST_COMMIT: Duration = Duration::from_secs(60);

/// A masterd with the embedded store.
#[derive(Debug)]
pub struct Embedded {
    pub paths: Paths,
    pub tls: Tls,
    pub role: Role,
    pub replica: Replica,
    /// Milliseconds after which one of two master candidates goes on alone.
    pub alone_after: u64,
}

/// Opens this machine's copy. A damaged one is set aside, and said so: the master sends another.
pub fn open_copy(paths: &Paths) -> Result<Option<State>> {
    sweep(paths);
    let opened = SqliteStore::open(&paths.database())
        .map_err(StartError::from)
        .and_then(|store| State::open(Box::new(store)));
    match opened {
        Ok(state) => Ok(Some(state)),
        Err(StartError::Store(StoreError::Missing { .. })) => Ok(None),
        Err(
            error @ (StartError::Load(_)
            | StartError::Store(StoreError::Damaged { .. } | StoreError::Foreign { .. })),
        ) => {
            let aside = set_aside(paths, "damaged")?;
            tracing::error!(
                %error,
                kept = %aside.display(),
                "this node's copy of the state is damaged: it is set aside, and the master will \
                 send a whole one; if this node was the master, make another one the master"
            );
            Ok(None)
        }
        Err(other) => Err(Error::environment(other.to_string())),
    }
}

/// This machine's part among the copies.
pub fn replica(
    paths: &Paths,
    tls: &Tls,
    identity: &Identity,
    state: Option<State>,
    over: Over,
) -> Result<Replica> {
    let peers = Arc::new(Peers::new(paths.clone(), tls.clone(), identity.clone()));
    Replica::new(paths.clone(), peers, state, over)
}

impl Embedded {
    /// Follows, and leads when it is its turn. Ends with `shutdown`; returns the engine, if it led.
    pub async fn run(
        self,
        mut failovers: mpsc::Receiver<FailoverRequest>,
        shutdown: CancellationToken,
    ) -> Result<Option<Engine>> {
        let mut said = String::new();
        loop {
            let (leads, why_not) = self.try_to_lead_again().await?;
            if let Some(leadership) = leads {
                match self.lead(leadership, false, &shutdown).await {
                    Ok((engine, _)) => {
                        self.refuse(failovers, &shutdown).await;
                        return Ok(Some(engine));
                    }
                    // The process starts over, whatever it was.
                    Err(error) => self.replica.over().now(error.to_string()),
                }
            }
            if let Some(why) = why_not
                && why != said
            {
                tracing::warn!(%why, "this node is the master and cannot lead yet");
                self.role.wait_for(why.clone());
                said = why;
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(None),
                () = tokio::time::sleep(AGAIN) => {}
                Some(wanted) = failovers.recv() => {
                    if let Some(engine) = self.fail_over(wanted, &shutdown).await {
                        self.refuse(failovers, &shutdown).await;
                        return Ok(Some(engine));
                    }
                }
            }
        }
    }

    /// If this node is the master: leads, or says why it does not.
    async fn try_to_lead_again(&self) -> Result<(Option<Arc<Leadership>>, Option<String>)> {
        let Some(state) = self.replica.state() else { return Ok((None, None)) };
        let me = self.replica.peers().me();
        if state.config().master() != me {
            return Ok((None, None));
        }
        if self.replica.heard().is_some_and(|(_, node, ago)| node != me && ago < LEASE) {
            return Ok((None, Some("another node leads, and this one catches up with it".into())));
        }
        match self.election(state).run(Aim::Restart, &|_| {}).await {
            Ok(Outcome::Won(leadership)) => Ok((Some(leadership), None)),
            Ok(Outcome::Follow(leader)) => {
                let name = state.config().node_name(leader);
                Ok((None, Some(format!("node {name} has become the master meanwhile"))))
            }
            Ok(Outcome::StartOver) => {
                self.replica.over().now("a whole copy of the state was fetched".into());
                Ok((None, None))
            }
            Err(error) => Ok((None, Some(error.to_string()))),
        }
    }

    fn election<'a>(&'a self, state: &'a State) -> Election<'a> {
        let alone_after = self.alone_after;
        Election { replica: &self.replica, state, paths: &self.paths, alone_after }
    }

    /// The operator wants this node to be the master.
    async fn fail_over(
        &self,
        wanted: FailoverRequest,
        shutdown: &CancellationToken,
    ) -> Option<Engine> {
        let tell = wanted.tell.clone();
        // Whoever asked may have gone; the work goes on.
        let say = move |event| drop(tell.send(event));
        match self.try_to_take_over(&wanted, &say, shutdown).await {
            Ok((engine, warnings)) => {
                for warning in warnings {
                    say(FailoverEvent::Warning(warning));
                }
                say(FailoverEvent::Ended(Ok(())));
                Some(engine)
            }
            Err(error) => {
                say(FailoverEvent::Ended(Err(error)));
                None
            }
        }
    }

    async fn try_to_take_over(
        &self,
        wanted: &FailoverRequest,
        say: &(dyn Fn(FailoverEvent) + Send + Sync),
        shutdown: &CancellationToken,
    ) -> Result<(Engine, Vec<String>)> {
        let state = self.replica.state().ok_or_else(|| {
            Error::wrong_state("This node has no copy of the configuration: it cannot lead")
        })?;
        let me = self.replica.peers().me();
        let config = state.config();
        let node = config.node_by_id(me)?;
        if !node.master_candidate {
            return Err(Error::wrong_state(format!(
                "Node {} is not a master candidate, it cannot become the master; candidates are: {}",
                node.name,
                names_of_candidates(&config).join(", ")
            )));
        }
        let aim = Aim::Failover { no_voting: wanted.no_voting, accept_loss: wanted.accept_loss };
        let tell = |text| say(FailoverEvent::Message(text));
        match self.election(state).run(aim, &tell).await? {
            Outcome::Won(leadership) => {
                say(FailoverEvent::Message(format!(
                    "Node {} leads, in epoch {}",
                    node.name,
                    leadership.epoch()
                )));
                let led = self.lead(leadership, true, shutdown).await;
                led.inspect_err(|e| self.replica.over().now(e.to_string()))
            }
            Outcome::Follow(other) => Err(Error::wrong_state(format!(
                "Node {} has become the master meanwhile",
                config.node_name(other)
            ))),
            Outcome::StartOver => {
                self.replica.over().now("a whole copy of the state was fetched".into());
                Err(Error::environment(
                    "This node's copy of the configuration was too old; it has fetched a whole one \
                     and starts again with it: please repeat the command",
                ))
            }
        }
    }

    async fn lead(
        &self,
        leadership: Arc<Leadership>,
        failover: bool,
        shutdown: &CancellationToken,
    ) -> Result<(Engine, Vec<String>)> {
        let state =
            self.replica.state().cloned().ok_or_else(|| {
                Error::internal("it was elected without a copy of the configuration")
            })?;
        let epoch = leadership.epoch();
        if epoch <= stored_epoch(&state).await? {
            return Err(Error::environment(format!(
                "Epoch {epoch} has been used meanwhile, please retry"
            )));
        }
        self.replica.leads(leadership.clone()).await?;
        tokio::spawn(leadership.clone().run(shutdown.child_token()));
        failpoint::hit(Place::Elected);
        let documents = state.lead(epoch, leadership.clone()).await?;
        let first = begin(&state, epoch, self.replica.peers().me(), failover);
        if failover {
            tokio::time::timeout(FIRST_COMMIT, first).await.map_err(|_| {
                Error::environment(
                    "No majority of the master candidates took the first change of this master",
                )
            })??;
        } else {
            first.await?;
        }
        failpoint::hit(Place::Begun);
        let ground = Ground {
            paths: self.paths.clone(),
            tls: self.tls.clone(),
            state,
            epoch,
            leadership: Some(leadership),
            doubtful: None,
            documents,
        };
        lead::start(ground, &self.role, shutdown).await
    }

    /// While it leads, nobody needs to make it the master.
    async fn refuse(
        &self,
        mut failovers: mpsc::Receiver<FailoverRequest>,
        shutdown: &CancellationToken,
    ) {
        loop {
            let wanted = tokio::select! {
                () = shutdown.cancelled() => return,
                wanted = failovers.recv() => wanted,
            };
            let Some(wanted) = wanted else { return };
            let error = Error::wrong_state("This node is already the master");
            wanted.tell.send(FailoverEvent::Ended(Err(error))).ok();
        }
    }
}

fn names_of_candidates(config: &crate::config::Config) -> Vec<String> {
    let candidates = config.nodes.values().filter(|n| n.master_candidate && !n.offline);
    candidates.map(|n| n.name.to_string()).collect()
}
