//! Wiring: everything a leading masterd consists of, started in order.

use crate::api::{self, Api, Tokens};
use crate::jobs::Engine;
use crate::nodes::{JoinedNodes, Nodes, Tls};
use crate::ops::Operations;
use crate::pki::Pair;
use crate::state::State;
use crate::store::sqlite::SqliteStore;
use crate::{files, role, watch};
use roost_proto::error::{Error, Result};
use roost_proto::paths::{Identity, NODED_PORT, Paths};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long jobs wait for the first word of all nodes.
const FIRST_REPORTS: Duration = Duration::from_secs(3);

/// Runs until `shutdown`. Errors: it cannot start, or one of its parts gave up.
pub async fn run(paths: &Paths, shutdown: CancellationToken) -> Result<()> {
    let store =
        SqliteStore::open(&paths.database()).map_err(|e| Error::environment(e.to_string()))?;
    let (state, documents) =
        State::start(Box::new(store)).map_err(|e| Error::environment(e.to_string()))?;
    let identity: Identity = serde_json::from_str(&files::read(&paths.identity())?)
        .map_err(|e| Error::environment(format!("{}: {e}", paths.identity().display())))?;
    check_identity(&state, &identity)?;
    let tls = Tls::read(paths).map_err(|e| Error::environment(e.to_string()))?;
    let joined = JoinedNodes::load(&documents)?;
    let epoch = role::begin_epoch(&state).await?;
    let nodes =
        Nodes::start(state.clone(), tls, epoch, NODED_PORT, joined.clone(), shutdown.child_token());
    nodes.first_reports(FIRST_REPORTS).await;
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
    tokio::spawn(watch::ssconf::run(state.clone(), nodes.clone(), shutdown.child_token()));

    let own =
        Pair { certificate: files::read(&paths.certificate())?, key: files::read(&paths.key())? };
    let authority = Pair {
        certificate: files::read(&paths.authority())?,
        key: files::read(&paths.authority_key())?,
    };
    let tokens = Tokens::new(&own.certificate)?;
    let address: IpAddr = identity
        .address
        .parse()
        .map_err(|_| Error::environment(format!("'{}' is not an address", identity.address)))?;
    let api = Api { state: state.clone(), engine: engine.clone(), nodes, tokens: tokens.clone() };
    let result = tokio::select! {
        served = api::serve(api, paths, shutdown.child_token()) => served,
        served = api::serve_join(
            tokens, state, joined, authority, &own, address, shutdown.child_token(),
        ) => served,
    };
    shutdown.cancel();
    engine.stop().await;
    result
}

/// The database must be this node's, and this node the master.
fn check_identity(state: &State, identity: &Identity) -> Result<()> {
    let config = state.config();
    if config.cluster.uuid != identity.cluster {
        return Err(Error::environment(format!(
            "The database is of cluster {}, but this node belongs to cluster {}",
            config.cluster.uuid, identity.cluster
        )));
    }
    if config.master() != identity.node {
        return Err(Error::wrong_state(format!(
            "This is not the master node, please connect to node '{}'",
            config.node_name(config.master())
        )));
    }
    Ok(())
}
