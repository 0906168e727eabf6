//! Watching nodes: one task for each that is online, started and stopped as the configuration
//! says.

use super::Nodes;
use roost_proto::error::Error;
use roost_proto::ids::NodeId;
use roost_proto::node::Observation;
use roost_proto::protocol;
use roost_proto::protocol::OBEYS_ANOTHER;
use roost_proto::rpc::node as pb;
use std::collections::HashMap;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A node reports every few seconds; one that is silent for longer is gone.
const SILENCE: Duration = Duration::from_secs(15);
/// The pause before connecting again.
const AGAIN: Duration = Duration::from_secs(1);

/// Keeps a watcher for each online node, until `shutdown`.
pub async fn run(nodes: Nodes, shutdown: CancellationToken) {
    let mut serial = nodes.0.state.serial();
    let mut watchers: HashMap<NodeId, CancellationToken> = HashMap::new();
    loop {
        let config = nodes.0.state.config();
        let wanted: HashMap<_, _> = config.online_nodes().map(|n| (n.uuid, ())).collect();
        watchers.retain(|node, stop| {
            let stays = wanted.contains_key(node);
            if !stays {
                stop.cancel();
                nodes.0.observed.forget(*node);
            }
            stays
        });
        for node in wanted.into_keys() {
            watchers.entry(node).or_insert_with(|| {
                let stop = shutdown.child_token();
                tokio::spawn(watch_one(nodes.clone(), node, stop.clone()));
                stop
            });
        }
        tokio::select! {
            changed = serial.changed() => if changed.is_err() { return },
            () = shutdown.cancelled() => return,
        }
    }
}

async fn watch_one(nodes: Nodes, node: NodeId, stop: CancellationToken) {
    loop {
        let shown = nodes.0.lines.shown(node);
        let problem = tokio::select! {
            () = stop.cancelled() => return,
            problem = follow(&nodes, node) => problem,
        };
        tracing::debug!(node = %nodes.name(node), %problem, "node does not answer");
        // Somebody was promised a higher epoch, whether or not he leads: so must this one have.
        if problem.message.contains(OBEYS_ANOTHER)
            && let Some(leadership) = &nodes.0.leadership
        {
            leadership.refused(&problem.message);
        }
        nodes.change_certificate(node, shown);
        if !stop.is_cancelled() {
            nodes.0.observed.lost(node, problem.to_string());
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

/// Follows a node's observations until it cannot any more, and says why.
async fn follow(nodes: &Nodes, node: NodeId) -> Error {
    let place = format!("node {}", nodes.name(node));
    let mut client = match nodes.client(node) {
        Ok(client) => client,
        Err(error) => return error,
    };
    let request = pb::WatchRequest { fence: nodes.fence() };
    let mut events = match client.watch(request).await {
        Ok(events) => events.into_inner(),
        Err(status) => return super::client::Failure::from(status).into_error(&place),
    };
    loop {
        let event = match tokio::time::timeout(SILENCE, events.message()).await {
            Ok(Ok(Some(event))) => event,
            Ok(Ok(None)) => return Error::exec(format!("{place} is stopping")),
            Ok(Err(status)) => return super::client::Failure::from(status).into_error(&place),
            Err(_) => return Error::exec(format!("{place} is silent")),
        };
        if let Err(far) = super::client::meet(event.protocol) {
            return far.into_error(&place);
        }
        match protocol::read::<Observation>(&event.observation, "observation", &place) {
            Ok(observation) => nodes.0.observed.apply(node, observation),
            Err(error) => {
                tracing::warn!(%place, %error, "an observation cannot be read");
            }
        }
    }
}
