//! Connects to other programs of the cluster over TLS.

use crate::{credentials, ssconf};
use hyper_util::rt::TokioIo;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::paths::{NODED_PORT, Paths, certificate_name};
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// A machine that does not answer is given up after this time.
const CONNECT: Duration = Duration::from_secs(10);
/// A connection on which nothing comes back is closed.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Connects to the noded of a node, with this node's certificate; the other side must have that
/// node's. `address` is an IP address, or address and port where it is not the usual one.
pub async fn connect(paths: &Paths, node: NodeId, address: &str) -> Result<Channel> {
    let config = credentials::client_config(paths)?;
    let name = ServerName::try_from(certificate_name(node))
        .map_err(|e| Error::internal(format!("The name of node {node}'s certificate: {e}")))?;
    channel(&with_port(address, NODED_PORT), name, config)
        .await
        .map_err(|e| e.at(format!("Node {node}")))
}

/// The ssconf key of all nodes' UUIDs: lines `<uuid> <name>`.
pub const MEMBERS: &str = "node_uuids";

/// Whether the owner of a certificate (DER) is a node of the cluster now. That it was one when the
/// certificate was made is proved by the connection; that it still is, only the list says.
pub fn is_member(paths: &Paths, certificate: Option<&[u8]>) -> Result<(), Status> {
    let node = certificate.and_then(credentials::node_of).ok_or_else(|| {
        Status::unauthenticated("The request came without the certificate of a node")
    })?;
    let uuid = node.to_string();
    let known = ssconf::lines(paths, MEMBERS);
    if known.iter().any(|line| line.split(' ').next() == Some(&uuid)) {
        return Ok(());
    }
    Err(Status::permission_denied(format!(
        "Node {node} does not belong to this cluster (any more)"
    )))
}

/// Connects to `address` (with port), where `name` must be proved.
pub async fn channel(
    address: &str,
    name: ServerName<'static>,
    config: rustls::ClientConfig,
) -> Result<Channel> {
    let connector = TlsConnector::from(Arc::new(config));
    let failed = |e: &dyn std::error::Error| {
        Error::environment(format!("Cannot connect to {address}: {}", chain(e)))
    };
    // The scheme says nothing here: the connector speaks TLS.
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|e| failed(&e))?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .http2_adaptive_window(true);
    let target = address.to_owned();
    let connect = tower::service_fn(move |_| {
        let (connector, name, target) = (connector.clone(), name.clone(), target.clone());
        async move {
            let stream = TcpStream::connect(&target).await?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, stream).await?))
        }
    });
    endpoint.connect_with_connector(connect).await.map_err(|e| failed(&e))
}

/// An error with its causes: the outermost one of a transport says nothing.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// The address with a port: `10.0.0.1` and `fe80::1` get `port`, `10.0.0.1:5` and `[::1]:5` keep
/// theirs.
pub fn with_port(address: &str, port: u16) -> String {
    if address.parse::<std::net::SocketAddr>().is_ok() {
        return address.to_owned();
    }
    match address.parse::<std::net::Ipv6Addr>() {
        Ok(_) => format!("[{address}]:{port}"),
        Err(_) if address.contains(':') => address.to_owned(),
        Err(_) => format!("{address}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nodes_on_the_list_are_members() {
        let dir = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(dir.path().to_owned()));
        let node: NodeId = "00000000-0000-4000-8000-000000000001".parse().expect("uuid");
        let made = rcgen::generate_simple_self_signed(vec![certificate_name(node)]).expect("made");
        let certificate = Some(made.cert.der().as_ref());
        let refused = is_member(&paths, certificate).expect_err("no list");
        assert_eq!(refused.code(), tonic::Code::PermissionDenied);
        ssconf::write_one(&paths, MEMBERS, &format!("{node} node1\n")).expect("written");
        is_member(&paths, certificate).expect("a member");
        is_member(&paths, None).expect_err("no certificate");
        ssconf::write_one(&paths, MEMBERS, "00000000-0000-4000-8000-000000000002 n\n").expect("ok");
        is_member(&paths, certificate).expect_err("removed");
    }

    #[test]
    fn addresses_get_a_port() {
        assert_eq!(with_port("10.0.0.1", 1811), "10.0.0.1:1811");
        assert_eq!(with_port("10.0.0.1:5", 1811), "10.0.0.1:5");
        assert_eq!(with_port("fe80::1", 1811), "[fe80::1]:1811");
        assert_eq!(with_port("[::1]:5", 1811), "[::1]:5");
        assert_eq!(with_port("node1", 1811), "node1:1811");
        assert_eq!(with_port("node1:5", 1811), "node1:5");
    }
}
