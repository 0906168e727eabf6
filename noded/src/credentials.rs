//! Who this node is and how it proves it: identity, certificate, key, the cluster's authority.

use crate::expiry;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::paths::{Identity, Paths, certificate_name};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use sha1::{Digest, Sha1};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The implementation of cryptography that all TLS of noded uses.
pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Reads who this machine is; `None` if it belongs to no cluster.
pub fn identity(paths: &Paths) -> Result<Option<Identity>> {
    let path = paths.identity();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(&path, e)),
    };
    serde_json::from_str(&text).map(Some).map_err(|e| unreadable(&path, e))
}

/// TLS as a server: only clients with a certificate of the cluster's authority are let in.
pub fn server_config(paths: &Paths) -> Result<rustls::ServerConfig> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(authority(paths)?), provider())
            .build()
            .map_err(|e| unreadable(&paths.authority(), e))?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::internal(format!("TLS cannot be set up: {e}")))?
        .with_client_cert_verifier(Arc::new(expiry::Clients(verifier)))
        .with_single_cert(certificates(&paths.certificate())?, read_key(&key_file(paths)?)?)
        .map_err(|e| unreadable(&paths.certificate(), e))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// TLS as a client of another node's noded, with this node's certificate.
pub fn client_config(paths: &Paths) -> Result<rustls::ClientConfig> {
    let roots = Arc::new(authority(paths)?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|e| unreadable(&paths.authority(), e))?;
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::internal(format!("TLS cannot be set up: {e}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(expiry::Servers(verifier)))
        .with_client_auth_cert(certificates(&paths.certificate())?, read_key(&key_file(paths)?)?)
        .map_err(|e| unreadable(&paths.certificate(), e))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// The certificates of a PEM file.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|e| unreadable(path, e))?;
    if certificates.is_empty() {
        return Err(unreadable(path, "it has no certificate"));
    }
    Ok(certificates)
}

/// A certificate's SHA-1 fingerprint as ssconf has it: `AA:BB:…`.
pub fn fingerprint(certificate: &[u8]) -> String {
    let digest: [u8; 20] = Sha1::digest(certificate).into();
    digest.map(|byte| format!("{byte:02X}")).join(":")
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    use std::fmt::Write as _;
    bytes.as_ref().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The certificates of a PEM text.
pub fn certificates_of(text: &str) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<std::result::Result<_, _>>()
        .map_err(|e| Error::wrong_input(format!("This is not a certificate: {e}")))
}

/// The node that a certificate (DER) is of: its name says so.
pub fn node_of(certificate: &[u8]) -> Option<NodeId> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) => node_of_name(name),
        _ => None,
    })
}

/// The opposite of [`roost_proto::paths::certificate_name`].
fn node_of_name(name: &str) -> Option<NodeId> {
    let (uuid, _) = name.split_once('.')?;
    let node = uuid.parse().ok()?;
    (certificate_name(node) == name).then_some(node)
}

/// The authorities this node trusts.
pub fn authority(paths: &Paths) -> Result<RootCertStore> {
    let path = paths.authority();
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&path)? {
        roots.add(certificate).map_err(|e| unreadable(&path, e))?;
    }
    Ok(roots)
}

/// Where the key of the certificate in use is: while that is being replaced, it may still be where
/// it waited.
pub fn key_file(paths: &Paths) -> Result<PathBuf> {
    let chain = certificates(&paths.certificate())?;
    let (usual, waiting) = (paths.key(), paths.next_key());
    Ok(if !fits(&chain, &usual) && fits(&chain, &waiting) { waiting } else { usual })
}

/// Whether the key in a file is the one of a certificate.
pub fn fits(chain: &[CertificateDer<'static>], key: &Path) -> bool {
    read_key(key).is_ok_and(|key| CertifiedKey::from_der(chain.to_vec(), key, &provider()).is_ok())
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).map_err(|e| unreadable(path, e))
}

fn unreadable(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::environment(format!(
        "Cannot use '{}': {why}; if it is damaged, let this node join again \
         ('roost-noded join --force' with a token from 'gnt-node add --readd')",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_ganetis() {
        assert_eq!(
            fingerprint(b"abc"),
            "A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D"
        );
        assert_eq!(hex([0, 255]), "00ff");
    }

    #[test]
    fn a_certificate_says_whose_it_is() {
        let node: NodeId = "00000000-0000-4000-8000-000000000001".parse().expect("uuid");
        let of = |name: String| {
            let made = rcgen::generate_simple_self_signed(vec![name]).expect("made");
            node_of(made.cert.der())
        };
        assert_eq!(of(certificate_name(node)), Some(node));
        assert_eq!(of(format!("{node}.example.com")), None);
        assert_eq!(of("localhost".into()), None);
        assert_eq!(node_of(b"nonsense"), None);
    }

    #[test]
    fn no_identity_is_no_cluster() {
        let dir = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(dir.path().to_owned()));
        assert_eq!(identity(&paths), Ok(None));
        std::fs::create_dir_all(paths.data_dir()).expect("directory");
        std::fs::write(paths.identity(), "{").expect("write");
        let error = identity(&paths).expect_err("damaged");
        assert!(error.message.contains("identity.json"), "{error}");
    }
}
