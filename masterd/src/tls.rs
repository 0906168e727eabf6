//! This node's certificate and the authorities it trusts, for all TLS of masterd: read again
//! whenever one of the files changes, so that nothing has to be restarted when they are renewed.
//!
//! ```text
//!   ca.pem, node.pem, node.key ──► Tls ──► client_config   what each new connection uses
//!   (noded writes them)             │  └─► server_config
//!   node-former.pem, .key ──────────┘      generation      changes with the files
//! ```
//!
//! While certificates are being renewed, a node that was away may trust only the former ones. To
//! it this node shows its former certificate ([`Own::Former`]), until nobody needs that any more.

use crate::{clock, expiry};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::paths::{Paths, certificate_name};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A peer that connects and says nothing is dropped after this time.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Files are not looked at more often than this, microseconds.
const LOOK: u64 = 200_000;

/// Which of its certificates a client shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    Current,
    /// The one before, for nodes that do not know the current one yet.
    Former,
}

/// Whom a server lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// They are asked for nothing.
    Anybody,
    /// They may prove a certificate of the cluster; what they show must be one.
    MayProve,
    /// They must.
    MustProve,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    paths: Paths,
    newest: Mutex<(u64, Arc<Loaded>)>,
}

struct Loaded {
    stamps: Vec<Stamp>,
    generation: u64,
    roots: Arc<RootCertStore>,
    own: Arc<CertifiedKey>,
    former: Option<Arc<CertifiedKey>>,
}

/// Inode and modification time of a file; nothing if it is not there.
type Stamp = Option<(u64, i64, i64)>;

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

/// The implementation of cryptography that all TLS of masterd uses.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn unusable(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::environment(format!("Cannot use '{}': {why}", path.display()))
}

impl Tls {
    /// Reads this node's files. Errors: they are missing or do not fit together.
    pub fn read(paths: &Paths) -> Result<Tls> {
        let loaded = Loaded::read(paths, 0)?;
        let newest = Mutex::new((clock::micros(), Arc::new(loaded)));
        Ok(Tls(Arc::new(Inner { paths: paths.clone(), newest })))
    }

    /// Changes whenever one of the files did: connections made before show something else.
    pub fn generation(&self) -> u64 {
        self.newest().generation
    }

    /// A former certificate is kept.
    pub fn has_former(&self) -> bool {
        self.newest().former.is_some()
    }

    /// This node's certificate, DER.
    pub fn certificate(&self) -> Vec<u8> {
        self.newest().own.cert.first().map(|der| der.to_vec()).unwrap_or_default()
    }

    /// For connections to other programs of the cluster. Without a former certificate the current
    /// one is shown.
    pub fn client_config(&self, own: Own) -> Result<ClientConfig> {
        let now = self.newest();
        let pair = match own {
            Own::Former => now.former.as_ref().unwrap_or(&now.own),
            Own::Current => &now.own,
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(now.roots.clone(), provider())
            .build()
            .map_err(|e| unusable(&self.0.paths.authority(), e))?;
        let servers = expiry::Servers(verifier);
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::internal(format!("TLS cannot be set up: {e}")))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(servers))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair.clone())));
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    /// For connections from others.
    pub fn server_config(&self, clients: Clients) -> Result<ServerConfig> {
        let now = self.newest();
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::internal(format!("TLS cannot be set up: {e}")))?;
        let verifier =
            || WebPkiClientVerifier::builder_with_provider(now.roots.clone(), provider());
        let bad = |e| unusable(&self.0.paths.authority(), e);
        let verified = match clients {
            Clients::Anybody => None,
            Clients::MayProve => Some(verifier().allow_unauthenticated().build().map_err(bad)?),
            Clients::MustProve => Some(verifier().build().map_err(bad)?),
        };
        let builder = match verified {
            None => builder.with_no_client_auth(),
            Some(verified) => {
                builder.with_client_cert_verifier(Arc::new(expiry::Clients(verified)))
            }
        };
        let mut config =
            builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(now.own.clone())));
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    /// Takes connections at `place` until `shutdown`: those whose handshake succeeded, each with
    /// the certificates of that moment.
    pub async fn listen(
        &self,
        place: SocketAddr,
        clients: Clients,
        shutdown: CancellationToken,
    ) -> Result<ReceiverStream<std::io::Result<TlsStream<TcpStream>>>> {
        self.server_config(clients)?;
        let listener = TcpListener::bind(place)
            .await
            .map_err(|e| Error::environment(format!("Cannot listen on {place}: {e}")))?;
        let (sender, receiver) = mpsc::channel(16);
        let tls = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = tls.accept(listener, clients, sender) => {}
                () = shutdown.cancelled() => {}
            }
        });
        Ok(ReceiverStream::new(receiver))
    }

    async fn accept(
        &self,
        listener: TcpListener,
        clients: Clients,
        sender: mpsc::Sender<std::io::Result<TlsStream<TcpStream>>>,
    ) {
        loop {
            let accepted = match listener.accept().await {
                Ok((stream, peer)) => self.server_config(clients).map(|c| (stream, peer, c)),
                Err(e) => Err(Error::environment(e.to_string())),
            };
            let (stream, peer, config) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Mostly: too many open files. It must get better by itself.
                    tracing::warn!(%error, "cannot take a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (acceptor, sender) = (TlsAcceptor::from(Arc::new(config)), sender.clone());
            tokio::spawn(async move {
                // Small messages back and forth: waiting to fill packets only costs time.
                let _ = stream.set_nodelay(true);
                match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                    // Closed only when masterd ends.
                    Ok(Ok(stream)) => drop(sender.send(Ok(stream)).await),
                    Ok(Err(error)) => tracing::info!(%peer, %error, "connection refused"),
                    Err(_) => tracing::info!(%peer, "connection dropped: no handshake"),
                }
            });
        }
    }

    /// What is in the files now; what was there before, while they are being replaced.
    fn newest(&self) -> Arc<Loaded> {
        let mut newest = self.0.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::micros();
        if now.abs_diff(newest.0) < LOOK {
            return newest.1.clone();
        }
        newest.0 = now;
        if stamps(&self.0.paths) != newest.1.stamps {
            match Loaded::read(&self.0.paths, newest.1.generation + 1) {
                Ok(loaded) => {
                    tracing::info!("certificates were renewed");
                    newest.1 = Arc::new(loaded);
                }
                Err(error) => tracing::warn!(%error, "the old certificate is used on"),
            }
        }
        newest.1.clone()
    }
}

impl Loaded {
    fn read(paths: &Paths, generation: u64) -> Result<Loaded> {
        // Before reading: what changes meanwhile is seen the next time.
        let stamps = stamps(paths);
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&paths.authority())? {
            roots.add(certificate).map_err(|e| unusable(&paths.authority(), e))?;
        }
        // While the certificate is being replaced, its key may still be where it waited.
        let chain = certificates(&paths.certificate())?;
        let own = pair(&chain, &paths.key())
            .or_else(|e| pair(&chain, &paths.next_key()).map_err(|_| e))?;
        let former = certificates(&paths.former_certificate())
            .and_then(|chain| pair(&chain, &paths.former_key()))
            .ok();
        Ok(Loaded { stamps, generation, roots: Arc::new(roots), own, former })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let all: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|e| unusable(path, e))?;
    if all.is_empty() { Err(unusable(path, "it has no certificate")) } else { Ok(all) }
}

fn pair(chain: &[CertificateDer<'static>], key: &Path) -> Result<Arc<CertifiedKey>> {
    let der = PrivateKeyDer::from_pem_file(key).map_err(|e| unusable(key, e))?;
    CertifiedKey::from_der(chain.to_vec(), der, &provider())
        .map(Arc::new)
        .map_err(|e| unusable(key, e))
}

fn stamps(paths: &Paths) -> Vec<Stamp> {
    let files: [PathBuf; 5] = [
        paths.authority(),
        paths.certificate(),
        paths.key(),
        paths.former_certificate(),
        paths.former_key(),
    ];
    let stamp = |path: &PathBuf| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.ino(), meta.mtime(), meta.mtime_nsec()))
    };
    files.iter().map(stamp).collect()
}

/// The node that a certificate (DER) is of: its name says so. Whether it belongs to the cluster
/// still is for the caller to look up.
pub fn node_of(certificate: &[u8]) -> Option<NodeId> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) => {
            let node = name.split_once('.')?.0.parse().ok()?;
            (certificate_name(node) == *name).then_some(node)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{self, Pair};

    fn node() -> NodeId {
        NodeId(uuid::Uuid::from_u128(7))
    }

    fn put(paths: &Paths, authorities: &[&Pair], pair: &Pair) {
        let bundle: String = authorities.iter().map(|a| a.certificate.as_str()).collect();
        crate::files::write(&paths.authority(), bundle.as_bytes(), 0o644).unwrap();
        crate::files::write(&paths.key(), pair.key.as_bytes(), 0o600).unwrap();
        crate::files::write(&paths.certificate(), pair.certificate.as_bytes(), 0o644).unwrap();
    }

    /// Makes it look at the files at once.
    fn look(tls: &Tls) -> u64 {
        tls.0.newest.lock().unwrap().0 = 0;
        tls.generation()
    }

    #[test]
    fn renewed_files_are_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(Some(dir.path().into()));
        assert!(Tls::read(&paths).unwrap_err().message.contains("ca.pem"));
        let old = pki::new_authority("c").unwrap();
        let first = pki::new_node(&old, node()).unwrap();
        put(&paths, &[&old], &first);
        let tls = Tls::read(&paths).unwrap();
        assert_eq!((look(&tls), tls.has_former()), (0, false));
        assert_eq!(node_of(&tls.certificate()), Some(node()));
        let new = pki::new_authority("c").unwrap();
        let second = pki::new_node(&new, node()).unwrap();
        // In the middle of the exchange: the certificate is there, its key waits.
        crate::files::write(&paths.next_key(), second.key.as_bytes(), 0o600).unwrap();
        crate::files::write(&paths.certificate(), second.certificate.as_bytes(), 0o644).unwrap();
        assert_eq!(look(&tls), 1);
        assert_eq!(tls.certificate(), pki::der(&second.certificate).unwrap());
        put(&paths, &[&new, &old], &second);
        crate::files::write(&paths.former_key(), first.key.as_bytes(), 0o600).unwrap();
        crate::files::write(&paths.former_certificate(), first.certificate.as_bytes(), 0o644)
            .unwrap();
        assert_eq!((look(&tls), tls.has_former()), (2, true));
        // What does not fit together is not used.
        crate::files::write(&paths.certificate(), first.certificate.as_bytes(), 0o644).unwrap();
        assert_eq!(look(&tls), 2);
        assert_eq!(tls.certificate(), pki::der(&second.certificate).unwrap());
    }

    #[tokio::test]
    async fn an_ended_certificate_is_believed_and_a_foreign_one_is_not() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let paths = dirs.each_ref().map(|dir| Paths::new(Some(dir.path().into())));
        let authority = pki::new_authority("c").unwrap();
        // Made an hour ago, for a second.
        let ended = pki::ended_node_for_tests(&authority, node());
        let good = pki::new_node(&authority, node()).unwrap();
        put(&paths[0], &[&authority], &ended);
        put(&paths[1], &[&authority], &good);
        let [ended, good] = paths.each_ref().map(|paths| Tls::read(paths).unwrap());
        talk(&ended, Own::Current, &good, Clients::MustProve).await.expect("an ended client");
        talk(&good, Own::Current, &ended, Clients::MustProve).await.expect("an ended server");
        let other = pki::new_authority("c").unwrap();
        put(&paths[0], &[&authority], &pki::ended_node_for_tests(&other, node()));
        look(&ended);
        let must = Clients::MustProve;
        talk(&ended, Own::Current, &good, must).await.expect_err("another authority's client");
        talk(&good, Own::Current, &ended, must).await.expect_err("another authority's server");
    }

    /// Connects and sends a byte both ways; says how it failed.
    async fn talk(client: &Tls, own: Own, server: &Tls, clients: Clients) -> std::io::Result<()> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let config = server.server_config(clients).unwrap();
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await?;
            let mut stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await?;
            stream.write_all(b"x").await?;
            stream.shutdown().await
        });
        let config = client.client_config(own).unwrap();
        let name = certificate_name(node()).try_into().unwrap();
        let stream = TcpStream::connect(address).await?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(name, stream).await?;
        stream.read_u8().await?;
        serving.await.unwrap()
    }

    #[tokio::test]
    async fn old_and_new_trust_each_other_only_during_the_overlap() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let paths = dirs.each_ref().map(|dir| Paths::new(Some(dir.path().into())));
        let (old, new) = (pki::new_authority("c").unwrap(), pki::new_authority("c").unwrap());
        let (first, second) =
            (pki::new_node(&old, node()).unwrap(), pki::new_node(&new, node()).unwrap());
        // One was away and has the old only; the other has renewed.
        put(&paths[0], &[&old], &first);
        put(&paths[1], &[&new, &old], &second);
        crate::files::write(&paths[1].former_key(), first.key.as_bytes(), 0o600).unwrap();
        crate::files::write(&paths[1].former_certificate(), first.certificate.as_bytes(), 0o644)
            .unwrap();
        let [away, renewed] = paths.each_ref().map(|paths| Tls::read(paths).unwrap());
        let must = Clients::MustProve;
        talk(&renewed, Own::Current, &away, must).await.expect_err("not known there");
        talk(&renewed, Own::Former, &away, must).await.expect("the former is known");
        talk(&renewed, Own::Former, &away, Clients::MayProve).await.expect("the same");
        put(&paths[0], &[&new], &second);
        look(&away);
        talk(&renewed, Own::Current, &away, must).await.expect("both are new");
        talk(&renewed, Own::Former, &away, must).await.expect_err("the former has gone");
        talk(&renewed, Own::Former, &away, Clients::MayProve).await.expect_err("the same");
        talk(&renewed, Own::Former, &away, Clients::Anybody).await.expect("nothing is asked");
    }
}
