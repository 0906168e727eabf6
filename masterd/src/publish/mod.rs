//! What masterd tells other programs of its machine.
//!
//! On every master candidate, whether it leads or follows, the configuration is published in Ganeti's format: as
//! the file `config.data` ([`file`]) and as a feed of its changes ([`feed`]). Who leads makes no difference: a
//! candidate that is cut off publishes what it has, with the serial it has.
//!
//! ```text
//!   no copy ──► candidate: file and feed ──► no candidate any more: the feed ends, the file is removed
//!                     ▲    another State (leads now): feed begins anew        │
//!                     └───────────────────────────────────────────────────────┘
//! ```
//!
//! The published serial number is that of the last commit which changed an object.

pub mod feed;
pub mod file;
pub mod objects;
pub mod status;
#[cfg(test)]
mod tests;

use crate::api::Role;
use crate::files;
use crate::state::State;
use roost_proto::ids::NodeId;
use roost_proto::paths::{Identity, Paths};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Who may read what is published, besides root.
pub const GROUP: &str = "gnt-confd";
/// How often it is looked whether this node is a master candidate.
const LOOK: Duration = Duration::from_secs(1);
/// How long the file may take when masterd ends.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// What there is to publish.
enum Standing {
    /// This node is a master candidate.
    Candidate(State),
    /// It was one for all that is known, but the configuration cannot be read here at the moment.
    Unknown,
    /// It is none.
    No,
}

/// Publishes while this node is a master candidate, until `shutdown`.
pub async fn run(paths: Paths, role: Role, me: Identity, shutdown: CancellationToken) {
    let mut shown: Option<Shown> = None;
    loop {
        let standing = standing(&paths, &role, &me);
        let wanted = match &standing {
            Standing::Candidate(state) => Some(state),
            Standing::Unknown | Standing::No => None,
        };
        if let Some(old) = shown.take_if(|shown| !wanted.is_some_and(|state| shown.is_of(state))) {
            old.end().await;
        }
        if let (Some(state), None) = (wanted, &shown) {
            shown = Some(Shown::begin(&paths, state.clone()));
        }
        if matches!(standing, Standing::No)
            && let Err(error) = files::remove(&paths.published_config())
        {
            tracing::warn!(%error, "a configuration that is not this node's business any more");
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    if let Some(shown) = shown {
        shown.end().await;
    }
}

fn standing(paths: &Paths, role: &Role, me: &Identity) -> Standing {
    if let Ok(state) = role.state() {
        return match is_candidate(&state, me.node) {
            true => Standing::Candidate(state),
            false => Standing::No,
        };
    }
    // Without a copy, what the last master said of this node counts; a shared store will say.
    let listed = files::read(&paths.ssconf("master_candidates"))
        .is_ok_and(|text| text.lines().any(|name| *name == *me.name));
    if role.replica().is_none() || listed { Standing::Unknown } else { Standing::No }
}

fn is_candidate(state: &State, me: NodeId) -> bool {
    state.config().nodes.get(&me).is_some_and(|node| node.master_candidate)
}

/// A configuration that is being published.
struct Shown {
    state: State,
    stop: CancellationToken,
    parts: JoinSet<()>,
}

impl Shown {
    fn begin(paths: &Paths, state: State) -> Shown {
        let stop = CancellationToken::new();
        let mut parts = JoinSet::new();
        parts.spawn(file::run(paths.clone(), state.clone(), stop.clone()));
        parts.spawn(feed::run(paths.clone(), state.clone(), stop.clone()));
        Shown { state, stop, parts }
    }

    fn is_of(&self, state: &State) -> bool {
        self.state.serial().same_channel(&state.serial())
    }

    /// The file has the newest, the feed is closed.
    async fn end(mut self) {
        self.stop.cancel();
        let ended = async { while self.parts.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WRITE, ended).await.is_err() {
            tracing::warn!("the file of the configuration was not written in time");
        }
    }
}
