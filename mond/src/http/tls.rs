//! The certificate mond shows, where it is to show one. Files that change are read again; what cannot be read
//! leaves the former in force.

use roost_proto::error::{Error, Result};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// The files are looked at so often at most.
const LOOK: Duration = Duration::from_secs(5);

/// Where certificate and key are: PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate, then those that signed it.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// See the module.
#[derive(Debug)]
pub struct Tls {
    files: Files,
    loaded: Mutex<Loaded>,
    every: Duration,
}

#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    times: [Option<SystemTime>; 2],
    looked: Instant,
}

impl Tls {
    /// Reads the files. Errors: they are unreadable, or do not belong together.
    pub fn load(files: Files) -> Result<Tls> {
        let times = times(&files);
        let config = read(&files)?;
        let loaded = Mutex::new(Loaded { config, times, looked: Instant::now() });
        Ok(Tls { files, loaded, every: LOOK })
    }

    /// Looks at the files so often at most; else every five seconds.
    #[must_use]
    pub fn looking(mut self, every: Duration) -> Tls {
        self.every = every;
        self
    }

    /// For a new connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        let mut loaded = self.loaded.lock().unwrap_or_else(|e| e.into_inner());
        if loaded.looked.elapsed() >= self.every {
            loaded.looked = Instant::now();
            let times = times(&self.files);
            if times != loaded.times {
                match read(&self.files) {
                    Ok(config) => {
                        tracing::info!("the certificate has changed: the new one is shown");
                        (loaded.config, loaded.times) = (config, times);
                    }
                    Err(error) => tracing::warn!("{error}; the former certificate is shown"),
                }
            }
        }
        TlsAcceptor::from(Arc::clone(&loaded.config))
    }
}

fn times(files: &Files) -> [Option<SystemTime>; 2] {
    let time = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
    [time(&files.certificate), time(&files.key)]
}

fn read(files: &Files) -> Result<Arc<ServerConfig>> {
    let wrong = |path: &Path, why: &dyn std::fmt::Display| {
        Error::environment(format!("Cannot use '{}' for TLS: {why}", path.display()))
    };
    let certificates = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| wrong(&files.certificate, &e))?;
    if certificates.is_empty() {
        return Err(wrong(&files.certificate, &"it holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| wrong(&files.key, &e))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| wrong(&files.certificate, &e))?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|e| wrong(&files.certificate, &e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// For whoever asks a mond that shows a certificate: trusts those in a file. Errors: it holds none.
pub fn trusting(ca: &Path) -> Result<tokio_rustls::TlsConnector> {
    let wrong = |why: &dyn std::fmt::Display| {
        Error::environment(format!("Cannot trust the certificates in '{}': {why}", ca.display()))
    };
    let mut roots = rustls::RootCertStore::empty();
    for one in CertificateDer::pem_file_iter(ca).map_err(|e| wrong(&e))? {
        roots.add(one.map_err(|e| wrong(&e))?).map_err(|e| wrong(&e))?;
    }
    if roots.is_empty() {
        return Err(wrong(&"there are none"));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| wrong(&e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config).into())
}
