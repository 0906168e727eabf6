//! Letting nodes in: one-time tokens, and the one service that asks for no certificate.

use crate::clock;
use crate::config::Config;
use crate::nodes::{Joined, JoinedNodes};
use crate::pki::{self, Pair};
use crate::state::State;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::names::NodeName;
use roost_proto::paths::JOIN_PORT;
use roost_proto::rpc::master as mpb;
use roost_proto::rpc::node as pb;
use roost_proto::rpc::node::join_server::{Join, JoinServer};
use roost_proto::status::to_status;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// How long a token is good for, seconds.
const LIFETIME: u32 = 3600;
/// A request is a name, a secret and a certificate request.
const REQUEST_LIMIT: usize = 64 << 10;

/// Tokens that were given out and not used yet: by the hash of their secret, so that whoever sees
/// this memory cannot use one. Lost with the daemon, and no harm done.
#[derive(Clone, Debug)]
pub struct Tokens(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    open: Mutex<HashMap<[u8; 32], Open>>,
    pin: String,
}

#[derive(Clone, Debug)]
struct Open {
    name: NodeName,
    address: String,
    until: f64,
}

impl Tokens {
    /// Tokens that pin the certificate (PEM) the join service shows.
    pub fn new(certificate: &str) -> Result<Tokens> {
        let pin = pki::pin(certificate)?;
        Ok(Tokens(Arc::new(Inner { open: Mutex::new(HashMap::new()), pin })))
    }

    /// A token for a node of this name, reached at this address.
    pub fn create(&self, config: &Config, name: &str, address: &str) -> Result<mpb::TokenReply> {
        let name = NodeName::new(name)?;
        let address: IpAddr = address.parse().map_err(|_| {
            Error::wrong_input(format!("'{address}' is not an address of node {name}"))
        })?;
        let master = config.node_by_id(config.master())?;
        if name == master.name {
            return Err(Error::wrong_input(format!("Node {name} is the master, it can't join")));
        }
        #[allow(clippy::disallowed_methods, reason = "the secret comes from here: 244 random bits")]
        let secret = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        let now = clock::seconds();
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, token| token.until > now);
        let until = now + f64::from(LIFETIME);
        open.insert(
            Sha256::digest(&secret).into(),
            Open { name: name.clone(), address: address.to_string(), until },
        );
        let master_ip: IpAddr = master.primary_ip.parse().map_err(|_| {
            Error::internal(format!("The master's address '{}' is not one", master.primary_ip))
        })?;
        let json = serde_json::json!({
            "a": SocketAddr::new(master_ip, JOIN_PORT).to_string(),
            "f": self.0.pin,
            "s": secret,
            "n": name,
        });
        let token = URL_SAFE_NO_PAD.encode(json.to_string());
        Ok(mpb::TokenReply { token, lifetime: LIFETIME })
    }

    /// Takes the token of a secret: it can be taken once.
    fn take(&self, secret: &str, name: &str) -> Option<Open> {
        let hash: [u8; 32] = Sha256::digest(secret).into();
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        let token = open.get(&hash)?;
        // A wrong name must not use up somebody's token.
        if token.name.as_str() != name || token.until <= clock::seconds() {
            return None;
        }
        open.remove(&hash)
    }
}

struct Door {
    tokens: Tokens,
    state: State,
    joined: JoinedNodes,
    authority: Pair,
}

impl Door {
    async fn let_in(&self, request: pb::JoinRequest) -> Result<pb::JoinReply> {
        let token = self.tokens.take(&request.secret, &request.name).ok_or_else(|| {
            Error::wrong_input(
                "This token is not valid (any more): each works once, for one hour, for one name; \
                 get a new one with 'gnt-node add' on the master",
            )
        })?;
        let config = self.state.config();
        // A machine that comes back keeps its identity.
        #[allow(clippy::disallowed_methods, reason = "a new node's identifier comes from here")]
        let node = match config.node(&token.name) {
            Ok(known) => known.uuid,
            Err(_) => NodeId(uuid::Uuid::new_v4()),
        };
        let certificate = pki::sign(&self.authority, node, &request.csr)?;
        let joined = Joined {
            name: token.name.to_string(),
            uuid: node,
            address: token.address.clone(),
            fingerprint: pki::fingerprint(&certificate)?,
        };
        self.joined.add(&self.state, joined).await?;
        tracing::info!(node = %token.name, address = token.address, "a node has joined");
        Ok(pb::JoinReply {
            certificate,
            authority: self.authority.certificate.clone(),
            cluster: config.cluster.uuid.to_string(),
            node: node.to_string(),
            address: token.address,
            ssconf: config.ssconf().into_iter().collect(),
        })
    }
}

#[tonic::async_trait]
impl Join for Door {
    async fn join(
        &self,
        request: Request<pb::JoinRequest>,
    ) -> std::result::Result<Response<pb::JoinReply>, Status> {
        match self.let_in(request.into_inner()).await {
            Ok(reply) => Ok(Response::new(reply)),
            Err(error) => {
                tracing::warn!(%error, "a node was not let in");
                Err(to_status(&error))
            }
        }
    }
}

/// Lets nodes in until `shutdown`. `own` is what this node proves itself with.
pub async fn serve_join(
    tokens: Tokens,
    state: State,
    joined: JoinedNodes,
    authority: Pair,
    own: &Pair,
    address: IpAddr,
    shutdown: CancellationToken,
) -> Result<()> {
    let place = SocketAddr::new(address, JOIN_PORT);
    let failed = |e: tonic::transport::Error| {
        let source = std::error::Error::source(&e).map(|s| format!(": {s}")).unwrap_or_default();
        Error::environment(format!("Cannot listen on {place} for nodes that join: {e}{source}"))
    };
    let tls = ServerTlsConfig::new().identity(Identity::from_pem(&own.certificate, &own.key));
    let door = Door { tokens, state, joined, authority };
    Server::builder()
        .tls_config(tls)
        .map_err(failed)?
        .timeout(std::time::Duration::from_secs(30))
        .add_service(JoinServer::new(door).max_decoding_message_size(REQUEST_LIMIT))
        .serve_with_shutdown(place, shutdown.cancelled_owned())
        .await
        .map_err(failed)
}
