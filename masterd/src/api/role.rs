//! Who answers: a masterd that leads, or one that has a copy, or none.

use super::Tokens;
use crate::balancer::Board;
use crate::jobs::Engine;
use crate::nodes::{JoinedNodes, Nodes};
use crate::replication::{Leadership, Replica};
use crate::state::State;
use crate::store::etcd::Etcd;
use roost_proto::error::{Error, Result};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How long a request waits for a master that was just started.
const SOON: Duration = Duration::from_secs(10);
/// How often it is looked whether waiting makes sense.
const LOOK: Duration = Duration::from_millis(200);

/// What only a leading masterd has. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Leading {
    pub engine: Engine,
    pub nodes: Nodes,
    pub tokens: Tokens,
    pub joined: JoinedNodes,
    /// The copies; none with a store that is shared.
    pub leadership: Option<Arc<Leadership>>,
    /// What the balancer does.
    pub balancer: Board,
}

/// The operator wants this node to become the master.
#[derive(Debug)]
pub struct FailoverRequest {
    pub no_voting: bool,
    pub accept_loss: bool,
    /// What happens on the way, then the end.
    pub tell: mpsc::UnboundedSender<FailoverEvent>,
}

/// What happens during a failover.
#[derive(Debug)]
pub enum FailoverEvent {
    Message(String),
    Warning(String),
    Ended(Result<()>),
}

/// What this masterd is at the moment. Cheap to clone. It becomes leading at most once: whoever is
/// deposed starts over.
#[derive(Clone, Debug)]
pub struct Role(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: RwLock<Option<State>>,
    replica: Option<Replica>,
    /// Where the state is, if it is shared.
    etcd: OnceLock<Etcd>,
    leading: OnceLock<Leading>,
    began: CancellationToken,
    /// Why the master does not lead yet.
    waiting: Mutex<String>,
    failovers: mpsc::Sender<FailoverRequest>,
    me: roost_proto::ids::NodeId,
}

impl Role {
    /// Follows, with whatever copy there is. Requests of the operator go to `failovers`.
    pub fn new(
        me: roost_proto::ids::NodeId,
        state: Option<State>,
        replica: Option<Replica>,
        failovers: mpsc::Sender<FailoverRequest>,
    ) -> Role {
        let waiting = Mutex::new("it was just started".into());
        Role(Arc::new(Inner {
            state: RwLock::new(state),
            replica,
            etcd: OnceLock::new(),
            leading: OnceLock::new(),
            began: CancellationToken::new(),
            waiting,
            failovers,
            me,
        }))
    }

    /// It leads from now on.
    pub fn lead(&self, leading: Leading) {
        // Once in a process.
        self.0.leading.set(leading).ok();
        self.0.began.cancel();
    }

    /// Waits until it leads.
    pub async fn led(&self) {
        self.0.began.cancelled().await;
    }

    /// The state is in this etcd.
    pub fn set_etcd(&self, etcd: Etcd) {
        // Once in a process.
        self.0.etcd.set(etcd).ok();
    }

    /// Where the state is, if it is shared.
    pub fn etcd(&self) -> Option<&Etcd> {
        self.0.etcd.get()
    }

    /// It should lead, and cannot yet.
    pub fn wait_for(&self, why: String) {
        *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// What a leader has. Errors: it does not lead; who does.
    pub fn leading(&self) -> Result<&Leading> {
        self.0.leading.get().ok_or_else(|| self.not_master())
    }

    /// The same; waits a little if this node is the master and is about to lead.
    pub async fn leading_soon(&self) -> Result<Leading> {
        let may_come = || match self.state() {
            Ok(state) => state.config().master() == self.0.me,
            // With a shared store the state is about to be read.
            Err(_) => self.0.replica.is_none(),
        };
        let end = tokio::time::Instant::now() + SOON;
        while self.0.leading.get().is_none() && may_come() && tokio::time::Instant::now() < end {
            // A little at a time: another may become the master meanwhile.
            tokio::time::timeout(LOOK, self.0.began.cancelled()).await.ok();
        }
        self.leading().cloned()
    }

    /// The configuration says that this node is the master.
    pub fn is_master_by_config(&self) -> bool {
        self.state().is_ok_and(|state| state.config().master() == self.0.me)
    }

    /// This machine's copy, or the leader's state. Errors: there is none.
    pub fn state(&self) -> Result<State> {
        let state = self.0.state.read().unwrap_or_else(PoisonError::into_inner).clone();
        state.ok_or_else(|| match self.0.replica {
            Some(_) => Error::wrong_state(
                "This node has no copy of the cluster's configuration: it is not a master \
                 candidate; run this on the master",
            ),
            None => {
                let why = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                Error::environment(format!("The configuration cannot be read: {why}"))
            }
        })
    }

    /// The state is this from now on.
    pub fn set_state(&self, state: State) {
        *self.0.state.write().unwrap_or_else(PoisonError::into_inner) = Some(state);
    }

    /// The serving side of this machine's copy.
    pub fn replica(&self) -> Option<&Replica> {
        self.0.replica.as_ref()
    }

    /// Where requests to become master go.
    pub fn failovers(&self) -> &mpsc::Sender<FailoverRequest> {
        &self.0.failovers
    }

    /// Ganeti's words for a command on the wrong node.
    fn not_master(&self) -> Error {
        let state = match self.state() {
            Ok(state) => state,
            Err(error) => return error,
        };
        let config = state.config();
        if self.is_master_by_config() {
            let why = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone();
            return Error::environment(format!("The master daemon does not lead yet: {why}"));
        }
        Error::wrong_state(format!(
            "This is not the master node, please connect to node '{}' and rerun the command",
            config.node_name(config.master())
        ))
    }
}
