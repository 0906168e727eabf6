//! Certificates and shared secrets: hands each action and question to the part that knows how, and
//! says how this node is equipped.

use crate::blocking::blocking;
use crate::credentials::{self, fingerprint, hex};
use crate::fence;
use crate::host::Host;
use crate::{renewal, secrets};
use roost_proto::error::{Error, Result};
use roost_proto::node::{CryptoAction, CryptoAnswer, CryptoQuestion, CryptoReport};
use roost_proto::paths::Paths;
use roost_proto::secrets::SecretFile;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use std::path::Path;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Does it.
pub async fn perform(host: &Host, action: CryptoAction) -> Result<()> {
    let (paths, node) = (host.paths.clone(), host.identity.node);
    blocking(move || match action {
        CryptoAction::Trust { authorities, candidates } => {
            renewal::trust(&paths, &authorities, candidates.as_deref())
        }
        CryptoAction::Install { certificates } => renewal::install(&paths, node, &certificates),
        CryptoAction::Forget => renewal::forget(&paths),
        CryptoAction::Write { file, content: Some(content), .. } => {
            secrets::write(&paths, file, &content)
        }
        CryptoAction::Write { file, version, content: None } => Err(Error::internal(format!(
            "The {} was sent without its content (version {version})",
            file.describe()
        ))),
    })
    .await
}

/// Answers.
pub async fn answer(host: &Host, question: CryptoQuestion) -> Result<CryptoAnswer> {
    let paths = host.paths.clone();
    blocking(move || match question {
        CryptoQuestion::Report => Ok(CryptoAnswer::Report(Box::new(report(&paths)))),
        CryptoQuestion::Request => renewal::request(&paths).map(CryptoAnswer::Request),
        CryptoQuestion::Certificate { .. } | CryptoQuestion::Secrets { .. } => {
            Err(Error::internal("This is for masterd to answer"))
        }
    })
    .await
}

/// How this node is equipped.
pub fn report(paths: &Paths) -> CryptoReport {
    let mut report = CryptoReport {
        trusted: fingerprints(&paths.authority()),
        candidates: std::fs::read(paths.ssconf(fence::CANDIDATES))
            .map(|text| hex(Sha256::digest(text)))
            .unwrap_or_default(),
        former: paths.former_certificate().exists(),
        secrets: secrets::digests(paths),
        ..CryptoReport::default()
    };
    let own = credentials::certificates(&paths.certificate()).unwrap_or_default();
    if let Some(der) = own.first() {
        report.fingerprint = fingerprint(der);
        if let Ok((_, certificate)) = X509Certificate::from_der(der) {
            report.issuer = certificate.issuer().to_string();
            report.begins = certificate.validity().not_before.timestamp() as f64;
            report.expires = certificate.validity().not_after.timestamp() as f64;
        }
    }
    for file in SecretFile::ALL.into_iter().filter(|file| file.is_certificate()) {
        let chain = credentials::certificates(&paths.secret(file)).unwrap_or_default();
        if let Some(end) = chain.first().and_then(end) {
            report.ends.insert(file, end);
        }
    }
    report
}

fn end(der: &CertificateDer<'_>) -> Option<f64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.validity().not_after.timestamp() as f64)
}

fn fingerprints(path: &Path) -> Vec<String> {
    let all = credentials::certificates(path).unwrap_or_default();
    all.iter().map(|der| fingerprint(der)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_says_how_it_is_equipped() {
        let dir = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(dir.path().to_owned()));
        std::fs::create_dir_all(paths.data_dir()).expect("directory");
        assert_eq!(report(&paths), CryptoReport::default());
        let pem = rcgen::generate_simple_self_signed(vec!["x".into()]).expect("made").cert.pem();
        std::fs::write(paths.certificate(), &pem).expect("written");
        std::fs::write(paths.authority(), format!("{pem}{pem}")).expect("written");
        secrets::write(&paths, SecretFile::SpiceCertificate, &pem).expect("written");
        let said = report(&paths);
        assert_eq!(said.trusted, [said.fingerprint.clone(), said.fingerprint.clone()]);
        assert!(said.issuer.starts_with("CN="), "{said:?}");
        assert!(said.begins < said.expires);
        assert_eq!(said.ends[&SecretFile::SpiceCertificate], said.expires);
        assert_eq!(said.secrets.len(), 1);
    }
}
