//! Makes this machine a node of a cluster, by a one-time token.
//!
//! The token says where the master is, by which certificate it is known, and carries a secret.
//! The machine makes its own key, which never leaves it, and gets it certified. Everything is
//! written durably and the identity last: a machine without it belongs to no cluster.

use crate::credentials::{self, hex};
use crate::{durable, peer, renewal, secrets, ssconf};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use roost_proto::error::{Error, Result};
use roost_proto::names::NodeName;
use roost_proto::paths::{Identity, JOIN_PORT, Paths};
use roost_proto::protocol;
use roost_proto::rpc::node as rpc;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

/// The whole exchange with the master.
const DEADLINE: Duration = Duration::from_secs(60);

/// What `gnt-node add` gives to a new node: base64url of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Where masterd lets nodes join: `ip:port`.
    #[serde(rename = "a")]
    pub address: String,
    /// SHA-256 of the certificate it has there, hexadecimal.
    #[serde(rename = "f")]
    pub fingerprint: String,
    #[serde(rename = "s")]
    pub secret: String,
    /// The name the node will have.
    #[serde(rename = "n")]
    pub name: String,
}

impl Token {
    /// As people copy it.
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).expect("a token is plain data"))
    }

    /// Reads what [`Token::to_text`] wrote.
    pub fn parse(text: &str) -> Result<Token> {
        let wrong = |why: &dyn std::fmt::Display| {
            Error::wrong_input(format!(
                "This is not a join token: {why}; copy the whole word that 'gnt-node add' printed"
            ))
        };
        let json = URL_SAFE_NO_PAD.decode(text.trim()).map_err(|e| wrong(&e))?;
        serde_json::from_slice(&json).map_err(|e| wrong(&e))
    }
}

/// Joins the cluster of the token. `force`: also when this machine has joined that cluster before.
pub async fn join(paths: &Paths, token: &Token, force: bool) -> Result<Identity> {
    let before = credentials::identity(paths);
    if let (Ok(Some(is)), false) = (&before, force) {
        return Err(Error::wrong_state(format!(
            "This machine is node {} of cluster {} already; to add it again to the same cluster \
             use --force",
            is.name, is.cluster
        )));
    }
    let key = rcgen::KeyPair::generate()
        .map_err(|e| Error::internal(format!("A key cannot be made: {e}")))?;
    let reply = tokio::time::timeout(DEADLINE, exchange(token, &key)).await.map_err(|_| {
        Error::environment(format!("The master at {} did not answer in time", token.address))
    })??;
    let unfit = |what: &str, e: &dyn std::fmt::Display| {
        Error::environment(format!("The master sent an unusable {what}: {e}"))
    };
    let identity = Identity {
        cluster: reply.cluster.parse().map_err(|e| unfit("cluster UUID", &e))?,
        node: reply.node.parse().map_err(|e| unfit("node UUID", &e))?,
        name: NodeName::new(token.name.clone())?,
        address: reply.address.clone(),
    };
    let known = before.ok().flatten();
    if let Some(known) = &known
        && known.cluster != identity.cluster
    {
        return Err(Error::wrong_state(format!(
            "This machine is node {} of another cluster, {}; remove it there first \
             ('gnt-node remove'), or run 'roost-noded leave' here if that cluster is no more",
            known.name, known.cluster
        )));
    }
    let (paths, reply, text) = (paths.clone(), reply, key.serialize_pem());
    tokio::task::spawn_blocking(move || {
        keep(&paths, &identity, &reply, &text, known.is_none()).map(|()| identity)
    })
    .await
    .map_err(|e| Error::internal(e.to_string()))?
}

fn keep(
    paths: &Paths,
    identity: &Identity,
    reply: &rpc::JoinReply,
    key: &str,
    fresh: bool,
) -> Result<()> {
    durable::make_dir(&paths.data_dir())?;
    if fresh {
        // What is left of some former cluster must not be taken for this one's.
        wipe(paths)?;
    }
    durable::write(&paths.authority(), reply.authority.as_bytes(), 0o644)?;
    durable::write(&paths.key(), key.as_bytes(), 0o600)?;
    durable::write(&paths.certificate(), reply.certificate.as_bytes(), 0o644)?;
    // Another key's: of no use any more.
    durable::remove(&paths.next_key())?;
    renewal::forget(paths)?;
    let values = reply.ssconf.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    ssconf::write(paths, &values)?;
    // Unusable files are found now rather than by the daemon.
    credentials::server_config(paths)?;
    let text = serde_json::to_vec_pretty(identity).expect("an identity is plain data");
    durable::write(&paths.identity(), &text, 0o644)
}

/// Forgets the cluster: identity, certificates, ssconf, what was remembered.
pub fn wipe(paths: &Paths) -> Result<()> {
    for file in [
        paths.identity(),
        paths.key(),
        paths.certificate(),
        paths.authority_key(),
        paths.authority(),
        paths.next_key(),
        paths.former_certificate(),
        paths.former_key(),
        paths.published_config(),
    ] {
        durable::remove(&file)?;
    }
    secrets::wipe(paths)?;
    ssconf::wipe(paths)?;
    let dir = paths.noded_dir();
    match std::fs::remove_dir_all(&dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::exec(format!("Cannot remove '{}': {e}", dir.display())))
        }
        _ => Ok(()),
    }
}

async fn exchange(token: &Token, key: &rcgen::KeyPair) -> Result<rpc::JoinReply> {
    let csr = rcgen::CertificateParams::default()
        .serialize_request(key)
        .and_then(|csr| csr.pem())
        .map_err(|e| Error::internal(format!("A certificate request cannot be made: {e}")))?;
    let address = peer::with_port(&token.address, JOIN_PORT);
    let provider = credentials::provider();
    let pin = Pin { fingerprint: token.fingerprint.to_ascii_lowercase(), provider };
    let mut config = rustls::ClientConfig::builder_with_provider(pin.provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::internal(format!("TLS cannot be set up: {e}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pin))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    // The pin says who it must be; the name says nothing.
    let name = ServerName::try_from("master.roost").expect("a valid name");
    let channel = peer::channel(&address, name, config).await?;
    let request = rpc::JoinRequest {
        secret: token.secret.clone(),
        name: token.name.clone(),
        csr,
        protocol: protocol::NODE.version,
    };
    let reply = rpc::join_client::JoinClient::new(channel)
        .max_decoding_message_size(64 << 20)
        .join(request)
        .await
        .map_err(|status| {
            Error::environment(format!("The master refused: {}", status.message()))
        })?;
    let reply = reply.into_inner();
    protocol::NODE.meet(reply.protocol, "the master")?;
    Ok(reply)
}

/// Believes one certificate: the one of the token.
#[derive(Debug)]
struct Pin {
    fingerprint: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if hex(Sha256::digest(end_entity)) == self.fingerprint {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::General(
            "the certificate is not the one of the token: another cluster, or somebody between"
                .into(),
        ))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back() {
        let token = Token {
            address: "10.0.0.1:1812".into(),
            fingerprint: "ab".into(),
            secret: "s".into(),
            name: "node2".into(),
        };
        let text = token.to_text();
        assert!(!text.contains(['=', '+', '/', ' ']), "{text}");
        assert_eq!(Token::parse(&format!(" {text}\n")), Ok(token));
        let error = Token::parse("not a token").expect_err("not a token");
        assert!(error.message.starts_with("This is not a join token"), "{error}");
    }
}
