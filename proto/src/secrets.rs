//! The files that nodes of a cluster share and nobody else may read.
//!
//! Names and places are Ganeti's, so that its tools and ours find them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A shared secret, by the name of its file in the data directory. No other file can be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SecretFile {
    /// Certificate and key of the REST gateway.
    #[serde(rename = "rapi.pem")]
    RapiCertificate,
    /// Certificate and key of SPICE consoles.
    #[serde(rename = "spice.pem")]
    SpiceCertificate,
    /// The certificate by which SPICE clients know the consoles. Goes together with the former.
    #[serde(rename = "spice-ca.pem")]
    SpiceAuthority,
    /// The key that signs questions to confd and its answers.
    #[serde(rename = "hmac.key")]
    ConfdHmacKey,
    /// What clusters share that move instances between them.
    #[serde(rename = "cluster-domain-secret")]
    ClusterDomainSecret,
}

impl SecretFile {
    /// All of them.
    pub const ALL: [SecretFile; 5] = [
        SecretFile::RapiCertificate,
        SecretFile::SpiceCertificate,
        SecretFile::SpiceAuthority,
        SecretFile::ConfdHmacKey,
        SecretFile::ClusterDomainSecret,
    ];

    /// The name of its file.
    pub fn as_str(self) -> &'static str {
        match self {
            SecretFile::RapiCertificate => "rapi.pem",
            SecretFile::SpiceCertificate => "spice.pem",
            SecretFile::SpiceAuthority => "spice-ca.pem",
            SecretFile::ConfdHmacKey => "hmac.key",
            SecretFile::ClusterDomainSecret => "cluster-domain-secret",
        }
    }

    /// The secret of a file name.
    pub fn of(name: &str) -> Option<SecretFile> {
        SecretFile::ALL.into_iter().find(|file| file.as_str() == name)
    }

    /// Every node needs it; otherwise only master candidates have it. Consoles are on all nodes,
    /// and any node may ask confd.
    pub fn is_everywhere(self) -> bool {
        !matches!(self, SecretFile::RapiCertificate | SecretFile::ClusterDomainSecret)
    }

    /// It begins with or is a certificate, which ends some day.
    pub fn is_certificate(self) -> bool {
        matches!(
            self,
            SecretFile::RapiCertificate | SecretFile::SpiceCertificate | SecretFile::SpiceAuthority
        )
    }

    /// What it is, for people.
    pub fn describe(self) -> &'static str {
        match self {
            SecretFile::RapiCertificate => "RAPI certificate",
            SecretFile::SpiceCertificate => "SPICE certificate",
            SecretFile::SpiceAuthority => "SPICE CA certificate",
            SecretFile::ConfdHmacKey => "confd HMAC key",
            SecretFile::ClusterDomainSecret => "cluster domain secret",
        }
    }
}

impl fmt::Display for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_file_names() {
        for file in SecretFile::ALL {
            assert_eq!(serde_json::to_value(file).expect("plain data"), file.as_str());
            assert_eq!(SecretFile::of(file.as_str()), Some(file));
            assert!(!file.as_str().contains('/'));
        }
        assert_eq!(SecretFile::of("../etc/shadow"), None);
    }
}
