//! The one TCP port of masterd: nodes join there, and masterds talk to each other.
//!
//! Joining asks for no certificate, its token stands for it. The service of copies asks for one of
//! a master candidate: [`crate::replication::Peers::candidate`].

use super::join::Door;
use super::role::Role;
use crate::tls::{Clients, Tls};
use roost_proto::error::{Error, Result};
use roost_proto::paths::JOIN_PORT;
use roost_proto::rpc::node::join_server::JoinServer;
use std::net::{IpAddr, SocketAddr};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

/// A request is a name, a secret and a certificate request.
const REQUEST_LIMIT: usize = 64 << 10;

/// Serves until `shutdown`. Errors: the port is taken.
pub async fn serve_port(
    role: Role,
    tls: &Tls,
    address: IpAddr,
    shutdown: CancellationToken,
) -> Result<()> {
    let place = SocketAddr::new(address, JOIN_PORT);
    let failed = |e: tonic::transport::Error| {
        let source = std::error::Error::source(&e).map(|s| format!(": {s}")).unwrap_or_default();
        Error::environment(format!("Cannot serve at {place}: {e}{source}"))
    };
    let incoming = tls.listen(place, Clients::MayProve, shutdown.clone()).await?;
    let copies = role.replica().map(crate::replication::Replica::service);
    Server::builder()
        .add_service(JoinServer::new(Door(role)).max_decoding_message_size(REQUEST_LIMIT))
        .add_optional_service(copies)
        .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned())
        .await
        .map_err(failed)
}
