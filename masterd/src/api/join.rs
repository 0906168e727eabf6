//! Letting nodes in: one-time tokens, and the one service that asks for no certificate.

use super::role::{Leading, Role};
use crate::authority::Authority;
use crate::clock;
use crate::config::Config;
use crate::nodes::Joined;
use crate::pki;
use crate::tls::Tls;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::names::NodeName;
use roost_proto::paths::JOIN_PORT;
use roost_proto::protocol;
use roost_proto::rpc::master as mpb;
use roost_proto::rpc::node as pb;
use roost_proto::rpc::node::join_server::Join;
use roost_proto::status::to_status;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tonic::{Request, Response, Status};

/// How long a token is good for, seconds.
const LIFETIME: u32 = 3600;

/// Tokens that were given out and not used yet: by the hash of their secret, so that whoever sees
/// this memory cannot use one. Lost with the daemon, and no harm done.
#[derive(Clone, Debug)]
pub struct Tokens(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    open: Mutex<HashMap<[u8; 32], Open>>,
    tls: Tls,
}

#[derive(Clone, Debug)]
struct Open {
    name: NodeName,
    address: String,
    until: f64,
}

impl Tokens {
    /// Tokens that pin the certificate the join service shows.
    pub fn new(tls: Tls) -> Tokens {
        Tokens(Arc::new(Inner { open: Mutex::new(HashMap::new()), tls }))
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
            "f": pki::sha256(&self.0.tls.certificate()),
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

/// The service: open while this masterd leads.
#[derive(Clone, Debug)]
pub struct Door(pub Role);

impl Door {
    async fn let_in(&self, request: pb::JoinRequest) -> Result<pb::JoinReply> {
        // Before the token is used up.
        protocol::NODE.meet(request.protocol, &format!("node {}", request.name))?;
        let Leading { tokens, joined: nodes, .. } = self.0.leading()?;
        let state = self.0.state()?;
        let token = tokens.take(&request.secret, &request.name).ok_or_else(|| {
            Error::wrong_input(
                "This token is not valid (any more): each works once, for one hour, for one name; \
                 get a new one with 'gnt-node add' on the master",
            )
        })?;
        let config = state.config();
        // A machine that comes back keeps its identity.
        #[allow(clippy::disallowed_methods, reason = "a new node's identifier comes from here")]
        let node = match config.node(&token.name) {
            Ok(known) => known.uuid,
            Err(_) => NodeId(uuid::Uuid::new_v4()),
        };
        let authority = Authority::load(&state).await?;
        let certificate = authority.sign(node, &request.csr)?;
        let joined = Joined {
            name: token.name.to_string(),
            uuid: node,
            address: token.address.clone(),
            fingerprint: pki::fingerprint(&certificate)?,
        };
        nodes.add(&state, joined).await?;
        tracing::info!(node = %token.name, address = token.address, "a node has joined");
        Ok(pb::JoinReply {
            certificate,
            authority: config.cluster.crypto.authorities.concat(),
            cluster: config.cluster.uuid.to_string(),
            node: node.to_string(),
            address: token.address,
            ssconf: config.ssconf().into_iter().collect(),
            protocol: protocol::NODE.version,
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

    async fn ping(
        &self,
        _: Request<pb::PingRequest>,
    ) -> std::result::Result<Response<pb::PingReply>, Status> {
        self.0.leading().map_err(|e| to_status(&e))?;
        let state = self.0.state().map_err(|e| to_status(&e))?;
        let cluster = state.config().cluster.uuid.to_string();
        Ok(Response::new(pb::PingReply { cluster }))
    }
}
