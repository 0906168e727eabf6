//! Asks the master's masterd over the network whether it is there: for machines on which it does
//! not run.
//!
//! That somebody takes a connection says nothing: a kernel does so for a daemon that hangs. So a
//! call is made, and the other side must show a certificate that the published values name as a
//! master candidate's.

use hyper_util::rt::TokioIo;
use roost_proto::paths::{Identity, JOIN_PORT, Paths};
use roost_proto::rpc::node::PingRequest;
use roost_proto::rpc::node::join_client::JoinClient;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use sha1::{Digest, Sha1};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::Endpoint;

/// A masterd that has not answered by then does not.
const DEADLINE: Duration = Duration::from_secs(5);

/// The master's name and address, as this machine knows them.
#[derive(Debug)]
pub struct Published {
    pub master: String,
    pub address: IpAddr,
    /// Fingerprints of candidates' certificates.
    fingerprints: BTreeSet<String>,
}

impl Published {
    /// Reads what masterd published last. Nothing: this machine is in no cluster.
    pub fn read(paths: &Paths) -> Option<Published> {
        let text = |key| std::fs::read_to_string(paths.ssconf(key)).ok();
        let master = text("master_node")?.trim().to_owned();
        let addresses = text("node_primary_ips")?;
        let mut pairs = addresses.lines().filter_map(|line| line.split_once(' '));
        let address = pairs.find(|(name, _)| *name == master)?.1.trim().parse().ok()?;
        let certificates = text("master_candidates_certs")?;
        let fingerprints = certificates
            .lines()
            .filter_map(|line| Some(line.split_once('=')?.1.trim().to_owned()))
            .collect();
        Some(Published { master, address, fingerprints })
    }

    /// Whether the master's masterd answers, and is of this machine's cluster.
    pub async fn answers(self, identity: &Identity) -> bool {
        let cluster = identity.cluster.to_string();
        matches!(tokio::time::timeout(DEADLINE, self.ping()).await, Ok(Some(of)) if of == cluster)
    }

    /// The cluster of the masterd that answers, if one does.
    async fn ping(self) -> Option<String> {
        let target = SocketAddr::new(self.address, JOIN_PORT);
        let connector = TlsConnector::from(Arc::new(trusting(self.fingerprints)?));
        // The certificate says who it is; the name says nothing.
        let name = ServerName::try_from("master.roost").expect("a valid name");
        let connect = tower::service_fn(move |_| {
            let (connector, name) = (connector.clone(), name.clone());
            async move {
                let stream = TcpStream::connect(target).await?;
                Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, stream).await?))
            }
        });
        // The scheme says nothing here: the connector speaks TLS.
        let endpoint = Endpoint::from_static("http://master.invalid");
        let channel = endpoint.connect_with_connector(connect).await.ok()?;
        Some(JoinClient::new(channel).ping(PingRequest {}).await.ok()?.into_inner().cluster)
    }
}

fn trusting(fingerprints: BTreeSet<String>) -> Option<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Candidates { fingerprints, provider }))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Some(config)
}

/// Believes the certificates of master candidates.
#[derive(Debug)]
struct Candidates {
    fingerprints: BTreeSet<String>,
    provider: Arc<CryptoProvider>,
}

/// SHA-1 as ssconf writes it: `AB:CD:…`.
fn fingerprint(certificate: &[u8]) -> String {
    let bytes: Vec<_> =
        Sha1::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

impl ServerCertVerifier for Candidates {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.fingerprints.contains(&fingerprint(end_entity)) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::General("not the certificate of a master candidate".into()))
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
    fn published_values_say_where_the_master_is() {
        let root = tempfile::tempdir().expect("temporary directory");
        let paths = Paths::new(Some(root.path().to_owned()));
        assert!(Published::read(&paths).is_none());
        std::fs::create_dir_all(paths.data_dir()).expect("directory");
        for (key, text) in [
            ("master_node", "n2.example.com\n"),
            ("node_primary_ips", "n1.example.com 192.0.2.1\nn2.example.com 192.0.2.2\n"),
            ("master_candidates_certs", "a=AA:BB\nb=CC:DD\n"),
        ] {
            std::fs::write(paths.ssconf(key), text).expect("written");
        }
        let published = Published::read(&paths).expect("all there");
        assert_eq!(published.master, "n2.example.com");
        assert_eq!(published.address.to_string(), "192.0.2.2");
        assert_eq!(published.fingerprints.len(), 2);
        assert!(published.fingerprints.contains("CC:DD"));
    }

    #[test]
    fn fingerprints_are_written_as_in_ssconf() {
        assert_eq!(
            fingerprint(b"abc"),
            "A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D"
        );
    }
}
