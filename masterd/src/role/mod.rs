//! Who leads.
//!
//! ```text
//!   start ─► has a copy? ─ no ──► waits for one from the master ──► starts over
//!              │ yes
//!              ├─ is the master ──► asks the others ──► leads ──► deposed ──► starts over
//!              └─ is not ──► follows ──► the operator wants it (failover) ──► asks the others ──► leads
//! ```
//!
//! With the state in etcd the lease decides instead of the operator: [`etcd`].
//!
//! Leading begins once in a process: a masterd that is deposed starts over with nothing in memory,
//! so nothing of its leadership can act after it.

pub mod embedded;
pub mod etcd;
pub mod lead;
pub mod make_way;
pub mod master_ip;

use crate::config::{Change, Object};
use crate::jobs::drain_key;
use crate::replication::Voters;
use crate::state::{Commit, State};
use crate::store::{Key, Space};
use roost_proto::error::{Error, Result};
use roost_proto::ids::{Epoch, NodeId};

fn epoch_key() -> Key {
    Key::new(Space::Meta, "epoch")
}

/// The epoch of the last leadership that the state knows.
pub async fn stored_epoch(state: &State) -> Result<Epoch> {
    match state.get(epoch_key()).await? {
        None => Ok(Epoch(0)),
        Some(text) => text
            .parse()
            .map(Epoch)
            .map_err(|e| Error::internal(format!("The stored epoch '{text}' is unreadable: {e}"))),
    }
}

/// The first commit of a leadership: its epoch, and that this node is the master, a master candidate
/// and online: what earlier leaderships left may say otherwise, and counts with it. A failover also
/// takes the drain flag away, as Ganeti's.
pub async fn begin(state: &State, epoch: Epoch, me: NodeId, failover: bool) -> Result<()> {
    let mut commit = Commit::default();
    commit.puts.push((epoch_key(), epoch.to_string()));
    let config = state.config_written().await?;
    if config.master() != me {
        let mut cluster = (*config.cluster).clone();
        cluster.master_node = me;
        commit.changes.push(Change::Update(Object::Cluster(Box::new(cluster))));
    }
    let own = config.node_by_id(me)?;
    if !own.master_candidate || own.offline {
        // Else no node would obey it, this one included.
        let mut own = (**own).clone();
        (own.master_candidate, own.offline) = (true, false);
        commit.changes.push(Change::Update(Object::Node(Box::new(own))));
    }
    let (_, voters) = state.end().await?;
    if commit.changes.is_empty() && *voters.newest() != Voters::wanted(&config) {
        // Who has a say is looked at with every change, also one that changes nothing.
        commit.changes.push(Change::Update(Object::Cluster(Box::new((*config.cluster).clone()))));
    }
    if failover {
        commit.deletes.push(drain_key());
    }
    state.commit(commit).await?;
    Ok(())
}
