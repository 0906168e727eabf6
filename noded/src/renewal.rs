//! A new certificate in place of the old one, without a moment in which the node has none.
//!
//! ```text
//!   request   node-next.key made, its request told         node.pem + node.key in use
//!   install   old pair kept: node-former.pem, .key
//!             node.pem replaced                            ◄── the new one is in use from here:
//!             node-next.key becomes node.key                   its key is taken from either place
//!   forget    the former pair removed
//! ```
//!
//! The key is made here and never leaves. Everything may be repeated, and may stop anywhere.

use crate::credentials::{self, certificates_of};
use crate::{durable, fence, ssconf};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::paths::{Paths, certificate_name};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{ServerName, UnixTime};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Makes a key, unless one waits already, and requests a certificate for it (PEM).
pub fn request(paths: &Paths) -> Result<String> {
    let path = paths.next_key();
    let waiting = std::fs::read_to_string(&path).ok();
    let known = waiting.and_then(|pem| rcgen::KeyPair::from_pem(&pem).ok());
    let key = match known {
        Some(key) => key,
        None => {
            let key = rcgen::KeyPair::generate()
                .map_err(|e| Error::internal(format!("A key cannot be made: {e}")))?;
            durable::write(&path, key.serialize_pem().as_bytes(), 0o600)?;
            key
        }
    };
    rcgen::CertificateParams::default()
        .serialize_request(&key)
        .and_then(|csr| csr.pem())
        .map_err(|e| Error::internal(format!("A certificate request cannot be made: {e}")))
}

/// Trusts exactly these authorities (PEM) and obeys exactly these candidates, where given.
pub fn trust(paths: &Paths, authorities: &[String], candidates: Option<&str>) -> Result<()> {
    let mut text = String::new();
    for pem in authorities {
        if certificates_of(pem)?.len() != 1 {
            return Err(Error::wrong_input("An authority must be one certificate"));
        }
        text.push_str(pem.trim_end());
        text.push('\n');
    }
    if text.is_empty() {
        return Err(Error::wrong_input("A node that trusts nobody could not be told any more"));
    }
    let path = paths.authority();
    if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
        // Nothing to do: who watches the file is not disturbed.
    } else {
        durable::write(&path, text.as_bytes(), 0o644)?;
        tracing::info!(authorities = authorities.len(), "other authorities are trusted");
    }
    match candidates {
        Some(list) => ssconf::write_one(paths, fence::CANDIDATES, list),
        None => Ok(()),
    }
}

/// Uses this node's certificate (PEM) among these from now on.
pub fn install(paths: &Paths, node: NodeId, certificates: &BTreeMap<NodeId, String>) -> Result<()> {
    let pem = certificates.get(&node).ok_or_else(|| {
        Error::wrong_input(format!("There is no certificate for node {node} among those sent"))
    })?;
    let path = paths.certificate();
    if std::fs::read_to_string(&path).is_ok_and(|old| old == *pem) {
        return promote(paths);
    }
    check(paths, node, pem)?;
    let chain = certificates_of(pem)?;
    if !credentials::fits(&chain, &paths.next_key()) {
        return Err(Error::environment(
            "The key of the new certificate is not here (any more); renew it once more",
        ));
    }
    // The oldest pair is the one most likely known by who was away.
    if !paths.former_certificate().exists() {
        copy(paths)?;
    }
    durable::write(&path, pem.as_bytes(), 0o644)?;
    tracing::info!("this node has a new certificate");
    promote(paths)
}

/// The former certificate is needed no more.
pub fn forget(paths: &Paths) -> Result<()> {
    durable::remove(&paths.former_certificate())?;
    durable::remove(&paths.former_key())
}

/// Keeps the pair in use aside.
fn copy(paths: &Paths) -> Result<()> {
    let (Ok(certificate), Ok(key)) =
        (std::fs::read(paths.certificate()), credentials::key_file(paths))
    else {
        // Damaged: nobody can have any use of it.
        return Ok(());
    };
    let key = std::fs::read(&key)
        .map_err(|e| Error::environment(format!("Cannot read '{}': {e}", key.display())))?;
    // The certificate last: it says that the pair is complete.
    durable::write(&paths.former_key(), &key, 0o600)?;
    durable::write(&paths.former_certificate(), &certificate, 0o644)
}

/// The key that waited takes its place, if it is the one of the certificate in use.
fn promote(paths: &Paths) -> Result<()> {
    let chain = credentials::certificates(&paths.certificate())?;
    let (waiting, place) = (paths.next_key(), paths.key());
    if credentials::fits(&chain, &place) || !credentials::fits(&chain, &waiting) {
        return Ok(());
    }
    std::fs::rename(&waiting, &place)
        .and_then(|()| durable::sync_parent(&place))
        .map_err(|e| Error::exec(format!("Cannot replace '{}': {e}", place.display())))
}

/// A certificate that others would not accept is refused while the old one is still in use.
fn check(paths: &Paths, node: NodeId, pem: &str) -> Result<()> {
    let refused = |why: &dyn std::fmt::Display| {
        Error::environment(format!("The new certificate is of no use: {why}"))
    };
    let chain = certificates_of(pem)?;
    let first = chain.first().ok_or_else(|| refused(&"it is empty"))?;
    let roots = Arc::new(credentials::authority(paths)?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, credentials::provider())
        .build()
        .map_err(|e| refused(&e))?;
    let name = ServerName::try_from(certificate_name(node)).map_err(|e| refused(&e))?;
    verifier
        .verify_server_cert(first, &[], &name, &[], UnixTime::now())
        .map(|_| ())
        .map_err(|e| refused(&e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    type Authority = CertifiedIssuer<'static, KeyPair>;

    fn authority() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("key")).expect("authority")
    }

    fn node() -> NodeId {
        "00000000-0000-4000-8000-000000000001".parse().expect("uuid")
    }

    fn sign(authority: &Authority, csr: &str, node: NodeId) -> String {
        let mut request = rcgen::CertificateSigningRequestParams::from_pem(csr).expect("csr");
        request.params = CertificateParams::new(vec![certificate_name(node)]).expect("params");
        request.signed_by(authority).expect("signed").pem()
    }

    fn joined(authority: &Authority) -> (tempfile::TempDir, Paths) {
        let dir = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(dir.path().to_owned()));
        std::fs::create_dir_all(paths.data_dir()).expect("directory");
        trust(&paths, &[authority.pem()], None).expect("trust");
        let pem = sign(authority, &request(&paths).expect("request"), node());
        std::fs::rename(paths.next_key(), paths.key()).expect("key");
        std::fs::write(paths.certificate(), pem).expect("certificate");
        (dir, paths)
    }

    fn read(path: std::path::PathBuf) -> String {
        std::fs::read_to_string(path).expect("readable")
    }

    #[test]
    fn a_certificate_is_replaced_and_the_former_kept() {
        let old = authority();
        let (_dir, paths) = joined(&old);
        let before = (read(paths.certificate()), read(paths.key()));
        let csr = request(&paths).expect("request");
        assert_eq!(
            rcgen::CertificateSigningRequestParams::from_pem(&csr).expect("csr").public_key,
            rcgen::CertificateSigningRequestParams::from_pem(&request(&paths).expect("again"))
                .expect("csr")
                .public_key,
            "the key that waits is not replaced"
        );
        let new = authority();
        let pem = sign(&new, &csr, node());
        let all = BTreeMap::from([(node(), pem.clone())]);
        let refused = install(&paths, node(), &all).expect_err("an unknown authority");
        assert!(refused.message.starts_with("The new certificate is of no use"), "{refused}");
        trust(&paths, &[new.pem(), old.pem()], Some("x=AA\n")).expect("both");
        for _ in 0..2 {
            install(&paths, node(), &all).expect("installed");
            assert_eq!(read(paths.certificate()), pem);
            assert!(!paths.next_key().exists());
            credentials::server_config(&paths).expect("usable");
        }
        assert_eq!((read(paths.former_certificate()), read(paths.former_key())), before);
        assert_eq!(read(paths.ssconf(fence::CANDIDATES)), "x=AA\n");
        // The next renewal keeps the oldest.
        let csr = request(&paths).expect("request");
        let next = BTreeMap::from([(node(), sign(&new, &csr, node()))]);
        install(&paths, node(), &next).expect("installed");
        assert_eq!(read(paths.former_certificate()), before.0);
        forget(&paths).expect("forgotten");
        forget(&paths).expect("forgotten already");
        assert!(!paths.former_key().exists());
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(paths.key()).expect("stat").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_stop_in_the_middle_leaves_a_usable_pair() {
        let authority = authority();
        let (_dir, paths) = joined(&authority);
        let pem = sign(&authority, &request(&paths).expect("request"), node());
        // As if power had failed after the certificate was replaced.
        std::fs::write(paths.certificate(), &pem).expect("certificate");
        credentials::server_config(&paths).expect("the key is taken from where it waits");
        install(&paths, node(), &BTreeMap::from([(node(), pem)])).expect("finished");
        assert!(!paths.next_key().exists());
        credentials::server_config(&paths).expect("usable");
    }

    #[test]
    fn foreign_certificates_are_refused() {
        let authority = authority();
        let (_dir, paths) = joined(&authority);
        let csr = request(&paths).expect("request");
        let other: NodeId = "00000000-0000-4000-8000-000000000002".parse().expect("uuid");
        let for_other = BTreeMap::from([(node(), sign(&authority, &csr, other))]);
        install(&paths, node(), &for_other).expect_err("another node's name");
        install(&paths, other, &BTreeMap::new()).expect_err("none for it");
        let good = BTreeMap::from([(node(), sign(&authority, &csr, node()))]);
        std::fs::remove_file(paths.next_key()).expect("removed");
        let error = install(&paths, node(), &good).expect_err("no key");
        assert!(error.message.contains("renew it once more"), "{error}");
        trust(&paths, &[], None).expect_err("nobody to trust");
    }
}
