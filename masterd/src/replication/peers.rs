//! The other machines: how to reach them, and who they are when they come.

use crate::nodes::Lines;
use crate::pki;
use crate::tls::{Own, Tls};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::paths::{Identity, JOIN_PORT, NODED_PORT, Paths};
use roost_proto::protocol::REPLICA;
use roost_proto::rpc::node::node_client::NodeClient;
use roost_proto::rpc::replica::replica_client::ReplicaClient;
use roost_proto::status::to_status;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// Commits come in pieces much smaller than this, but one commit may be large.
pub const MESSAGE_LIMIT: usize = 256 << 20;

/// See the module.
#[derive(Debug)]
pub struct Peers {
    paths: Paths,
    pub identity: Identity,
    lines: Lines,
}

impl Peers {
    /// With this machine's certificate.
    pub fn new(paths: Paths, tls: Tls, identity: Identity) -> Peers {
        Peers { paths, identity, lines: Lines::new(tls) }
    }

    /// This machine.
    pub fn me(&self) -> NodeId {
        self.identity.node
    }

    /// Masterd on another candidate.
    pub fn replica(&self, node: NodeId, address: &str) -> Result<ReplicaClient<Channel>> {
        let channel = self.channel(node, address, JOIN_PORT)?;
        Ok(ReplicaClient::new(channel)
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT))
    }

    /// Noded on any node, this one too.
    pub fn node(&self, node: NodeId, address: &str) -> Result<NodeClient<Channel>> {
        Ok(NodeClient::new(self.channel(node, address, NODED_PORT)?))
    }

    fn channel(&self, node: NodeId, address: &str, port: u16) -> Result<Channel> {
        self.lines.channel(node, address, port)
    }

    /// A machine did not accept us: while certificates are being renewed, it may know only the other
    /// one of ours. Result: whether there is another, which is shown from now on.
    pub fn change_certificate(&self, node: NodeId, shown: Own) -> bool {
        self.lines.change_certificate(node, shown)
    }

    /// The certificate that a machine is shown now.
    pub fn shown(&self, node: NodeId) -> Own {
        self.lines.shown(node)
    }

    /// Which master candidate sent a request, in which version of the protocol. Its certificate must be listed in ssconf, which every
    /// node has, also one without a copy of the configuration.
    pub fn candidate<T>(
        &self,
        request: &Request<T>,
        cluster: &str,
        protocol: u32,
    ) -> Result<NodeId, Status> {
        REPLICA.meet(protocol, "the other masterd").map_err(|e| to_status(&e))?;
        if cluster != self.identity.cluster.to_string() {
            return Err(Status::permission_denied(format!(
                "This node belongs to cluster {}, not to cluster {cluster}",
                self.identity.cluster
            )));
        }
        let certificates = request.peer_certs();
        let own = certificates.as_ref().and_then(|chain| chain.first()).ok_or_else(|| {
            Status::unauthenticated("Only master candidates may do this: no certificate was shown")
        })?;
        let fingerprint = pki::fingerprint_of_der(own.as_ref());
        let file = self.paths.ssconf("master_candidates_certs");
        let listed = std::fs::read_to_string(&file).map_err(|e| {
            Status::permission_denied(format!(
                "This node knows no master candidates: '{}': {e}",
                file.display()
            ))
        })?;
        let found = listed
            .lines()
            .filter_map(|line| line.split_once('='))
            .find(|(_, listed)| listed.trim().eq_ignore_ascii_case(&fingerprint))
            .and_then(|(node, _)| node.parse().ok());
        found.ok_or_else(|| {
            Status::permission_denied(format!(
                "The certificate {fingerprint} is not one of a current master candidate"
            ))
        })
    }
}

/// What went wrong between two masterds.
pub fn unreachable(what: &str, status: &Status) -> Error {
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(status);
    let mut text = status.message().to_owned();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    Error::environment(format!("{what}: {text}"))
}
