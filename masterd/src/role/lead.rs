//! Everything a leading masterd consists of, started in order.

use super::master_ip;
use crate::api::{Leading, Role, Tokens};
use crate::authority;
use crate::balancer;
use crate::jobs::Engine;
use crate::nodes::{JoinedNodes, Nodes};
use crate::ops::Operations;
use crate::replication::Leadership;
use crate::state::State;
use crate::store::{Key, Space};
use crate::tls::Tls;
use crate::watch;
use roost_proto::error::Result;
use roost_proto::ids::{Epoch, NodeId};
use roost_proto::paths::{NODED_PORT, Paths};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long jobs wait for the first word of all nodes.
const FIRST_REPORTS: Duration = Duration::from_secs(3);
/// How long they wait for a node that is probably dead.
const DOUBTFUL: Duration = Duration::from_millis(500);

/// What leading needs.
#[derive(Debug)]
pub struct Ground {
    pub paths: Paths,
    pub tls: Tls,
    pub state: State,
    pub epoch: Epoch,
    /// The copies; none with a store that is shared.
    pub leadership: Option<Arc<Leadership>>,
    /// The master before, whose end nobody has seen.
    pub doubtful: Option<NodeId>,
    /// All documents but the configuration.
    pub documents: Vec<(Key, String)>,
}

/// Starts it all. The first commit of the leadership must count already. Returns what went wrong
/// with the master IP.
pub async fn start(
    ground: Ground,
    role: &Role,
    shutdown: &CancellationToken,
) -> Result<(Engine, Vec<String>)> {
    let Ground { paths, tls, state, epoch, leadership, doubtful, documents } = ground;
    authority::adopt(&state, &paths).await?;
    let joined = JoinedNodes::load(&documents)?;
    let stop = shutdown.child_token();
    let nodes = Nodes::start(
        state.clone(),
        tls.clone(),
        epoch,
        NODED_PORT,
        joined.clone(),
        leadership.clone(),
        stop.clone(),
    );
    if let Some(etcd) = role.etcd() {
        nodes.set_etcd(etcd.clone());
    }
    if let Some(leadership) = &leadership {
        nodes.first_reports(FIRST_REPORTS, Some(leadership.elected_by())).await;
    } else {
        let others = doubtful.map(|doubtful| {
            state.config().online_nodes().map(|n| n.uuid).filter(|n| *n != doubtful).collect()
        });
        let first = if doubtful.is_some() { DOUBTFUL } else { FIRST_REPORTS };
        nodes.first_reports(first, None).await;
        if others.is_some() {
            nodes.first_reports(FIRST_REPORTS, others.as_ref()).await;
        }
    }
    // What changed since the documents were read is the epoch and the drain flag.
    let drained = crate::jobs::drain_key();
    let is_drained = state.get(drained.clone()).await?.is_some();
    let documents = documents
        .into_iter()
        .filter(|(key, _)| key.space != Space::Meta || *key != drained || is_drained)
        .collect();
    let engine =
        Engine::start(state.clone(), documents, Arc::new(Operations), Arc::new(nodes.clone()))
            .await?;
    let config = state.config();
    tracing::info!(
        cluster = %config.cluster.cluster_name,
        %epoch,
        serial = %config.serial,
        nodes = config.nodes.size(),
        instances = config.instances.size(),
        "leading"
    );
    let board = balancer::Board::default();
    role.lead(Leading {
        engine: engine.clone(),
        nodes: nodes.clone(),
        tokens: Tokens::new(tls),
        joined,
        leadership,
        balancer: board.clone(),
    });
    tokio::spawn(balancer::run(state.clone(), nodes.clone(), engine.clone(), board, stop.clone()));
    tokio::spawn(watch::ssconf::run(state.clone(), nodes.clone(), stop.clone()));
    let stop_certificates = stop.clone();
    tokio::spawn(watch::certificates::run(
        state.clone(),
        nodes.clone(),
        engine.clone(),
        stop_certificates,
    ));
    let warnings = master_ip::take(&nodes, &config).await;
    for warning in &warnings {
        tracing::warn!(%warning, "the master IP");
    }
    tokio::spawn(master_ip::keep_off_others(state, nodes, stop));
    Ok((engine, warnings))
}
