//! Tells the other master candidates where the state is kept, if that is an etcd cluster.
//!
//! The settings name files (authority, certificate, password): the administrator puts these at the
//! same places of every candidate, as they are etcd's matter.

use crate::files;
use crate::jobs::Hands;
use crate::nodes::Nodes;
use crate::state::State;
use crate::store::settings;
use roost_proto::ids::NodeId;
use roost_proto::node::Question;
use roost_proto::paths::Paths;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often nodes that were not there are tried.
const AGAIN: Duration = Duration::from_secs(5);

/// Runs until `shutdown`.
pub async fn run(paths: Paths, state: State, nodes: Nodes, shutdown: CancellationToken) {
    let file = settings::file(&paths);
    let content = match files::read_bytes(&file) {
        Ok(content) => content,
        Err(error) => return tracing::error!(%error, "candidates are not told where the state is"),
    };
    let mut serial = state.serial();
    let mut came = nodes.observed().came();
    let mut told: BTreeSet<NodeId> = BTreeSet::new();
    loop {
        serial.mark_unchanged();
        came.mark_unchanged();
        let config = state.config();
        let candidates = config.online_nodes().filter(|node| node.master_candidate);
        let candidates: BTreeSet<NodeId> =
            candidates.map(|n| n.uuid).filter(|id| *id != config.master()).collect();
        told.retain(|node| candidates.contains(node));
        for node in candidates.difference(&told.clone()) {
            if !nodes.observed().node(*node).is_some_and(|view| view.up) {
                continue;
            }
            let question = Question::PutFile {
                path: file.to_string_lossy().into_owned(),
                mode: 0o600,
                content: content.clone(),
            };
            match nodes.ask(*node, &question).await {
                Ok(_) => {
                    told.insert(*node);
                }
                Err(error) => {
                    tracing::warn!(node = %config.node_name(*node), %error, "not told about etcd");
                }
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = serial.changed() => if changed.is_err() { return },
            _ = came.changed() => {}
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}
