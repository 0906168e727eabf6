//! Copies the ssconf files to every node whenever they change.
//!
//! They are derived, so nothing can be lost: a node that cannot be reached gets them when it can.

use crate::jobs::{Hands, StepId};
use crate::nodes::Nodes;
use crate::state::State;
use roost_proto::ids::{JobId, NodeId};
use roost_proto::node::Action;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Changes come in bursts: one copy for all of a burst.
const SETTLE: Duration = Duration::from_millis(100);
/// How often nodes that missed a copy are tried.
const AGAIN: Duration = Duration::from_secs(5);

/// Runs until `shutdown`.
pub async fn run(state: State, nodes: Nodes, shutdown: CancellationToken) {
    let mut serial = state.serial();
    let mut came = nodes.observed().came();
    let mut sent: HashMap<NodeId, BTreeMap<String, String>> = HashMap::new();
    // No job has number 0; with the epoch no copy is ever taken for an earlier one.
    let epoch = usize::try_from(nodes.epoch().0).unwrap_or(usize::MAX);
    let mut round = 0;
    loop {
        serial.mark_unchanged();
        came.mark_unchanged();
        let config = state.config();
        let values = config.ssconf();
        sent.retain(|node, _| nodes.observed().node(*node).is_some_and(|view| view.up));
        let mut copies = tokio::task::JoinSet::new();
        for node in config.online_nodes().map(|n| n.uuid) {
            let up = nodes.observed().node(node).is_some_and(|view| view.up);
            if !up || sent.get(&node) == Some(&values) {
                continue;
            }
            round += 1;
            let id = StepId { job: JobId(0), op: epoch, step: round, undo: false };
            let (nodes, values) = (nodes.clone(), values.clone());
            copies.spawn(async move {
                let action = Action::SsconfWrite { values: values.clone() };
                let result = nodes.run(id, node, &action, &|_| {}).await;
                (node, values, result)
            });
        }
        while let Some(copied) = copies.join_next().await {
            match copied {
                Ok((node, values, Ok(_))) => {
                    sent.insert(node, values);
                }
                Ok((node, _, Err(error))) => {
                    tracing::warn!(node = %config.node_name(node), %error, "ssconf not copied");
                }
                Err(error) => tracing::error!(%error, "copying ssconf broke off"),
            }
        }
        nodes.forget(JobId(0));
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = serial.changed() => {
                if changed.is_err() { return }
                tokio::time::sleep(SETTLE).await;
            }
            _ = came.changed() => {}
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}
