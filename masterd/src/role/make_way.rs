//! A planned change of the master with the state in etcd: `gnt-cluster master-failover` on another
//! master candidate.
//!
//! ```text
//!   candidate: checks itself ─► claims to be next ─► the leader drops the master IP, gives its lease
//!   back and starts over ─► the candidate's campaign wins ─► leads
//! ```
//!
//! A leader that does not answer is no obstacle: its lease ends.

use crate::api::{FailoverEvent, FailoverRequest, Role};
use crate::store::etcd::Campaign;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Serves the operator's requests to make this node the master, until `shutdown`.
pub async fn serve(
    mut failovers: mpsc::Receiver<FailoverRequest>,
    campaign: Campaign,
    role: Role,
    me: NodeId,
    shutdown: CancellationToken,
) {
    loop {
        let wanted = tokio::select! {
            () = shutdown.cancelled() => return,
            wanted = failovers.recv() => wanted,
        };
        let Some(wanted) = wanted else { return };
        let ended = take_over(&wanted, &campaign, &role, me).await;
        // Whoever asked may have gone.
        wanted.tell.send(FailoverEvent::Ended(ended)).ok();
    }
}

async fn take_over(
    wanted: &FailoverRequest,
    campaign: &Campaign,
    role: &Role,
    me: NodeId,
) -> Result<()> {
    let say = |text| drop(wanted.tell.send(FailoverEvent::Message(text)));
    let config = role.state()?.config();
    let node = config.node_by_id(me)?;
    let name = &node.name;
    if !node.master_candidate || node.offline || node.drained {
        let candidates = config.nodes.values().filter(|n| n.master_candidate && !n.offline);
        let candidates: Vec<String> = candidates.map(|n| n.name.to_string()).collect();
        return Err(Error::wrong_state(format!(
            "Node {name} is not a master candidate, or offline, or drained: it cannot become the \
             master; candidates are: {}",
            candidates.join(", ")
        )));
    }
    if wanted.no_voting || wanted.accept_loss {
        say("etcd decides who leads, and has everything: --no-voting and --accept-loss are not \
             needed"
            .into());
    }
    let failed = |error: crate::store::StoreError| Error::environment(error.to_string());
    let (claim, time) = campaign.succeed().await.map_err(failed)?;
    say(format!("Asked {} to make way", config.node_name(config.master())));
    if tokio::time::timeout(time, role.led()).await.is_ok() {
        say(format!("Node {name} leads, in epoch {}", role.leading()?.nodes.epoch()));
        return Ok(());
    }
    claim.withdraw().await;
    Err(Error::environment(format!(
        "Node {name} did not become the master within {} s; 'gnt-cluster getmaster' tells who is, the \
         log of masterd here and there what was in the way",
        time.as_secs()
    )))
}
