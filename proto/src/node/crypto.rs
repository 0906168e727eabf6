//! What nodes are told of certificates and shared secrets, and what they say of them.

use crate::ids::NodeId;
use crate::secrets::SecretFile;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Changes what a node trusts, proves itself with, or shares. Idempotent.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum CryptoAction {
    /// Trust exactly these authorities (PEM) and, where given, obey exactly these candidates: the
    /// content of `ssconf_master_candidates_certs`.
    Trust {
        authorities: Vec<String>,
        #[serde(default)]
        candidates: Option<String>,
    },
    /// Use the certificate (PEM) that is yours from now on. Its key is the one whose request was
    /// asked for last; the former pair is kept aside until [`CryptoAction::Forget`].
    Install { certificates: BTreeMap<NodeId, String> },
    /// The former certificate and its key are needed no more.
    Forget,
    /// Have this content in a shared file. In plans and journals there is no content: masterd
    /// puts it in when the action is sent.
    Write {
        file: SecretFile,
        version: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<String>,
    },
}

/// Without contents: whatever is printed may end in a log.
impl std::fmt::Debug for CryptoAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CryptoAction::Trust { authorities, .. } => write!(f, "Trust({})", authorities.len()),
            CryptoAction::Install { certificates } => {
                write!(f, "Install({:?})", certificates.keys())
            }
            CryptoAction::Forget => f.write_str("Forget"),
            CryptoAction::Write { file, version, .. } => write!(f, "Write({file} {version})"),
        }
    }
}

/// What is asked about certificates and secrets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum CryptoQuestion {
    /// How it is. Answer: `report`.
    Report,
    /// Make a new key, unless one waits for its certificate already, and request a certificate
    /// for it. Answer: `request`.
    Request,
    /// The same, and the certificate for it: masterd asks the node and signs. With `next`, by the
    /// authority that will replace the current one. Answer: `certificate`.
    Certificate {
        #[serde(default)]
        next: bool,
    },
    /// Answered by masterd alone: make new secrets, and look at those that were handed in (by
    /// version). Answer: `secrets`.
    Secrets {
        #[serde(default)]
        make: Vec<SecretFile>,
        #[serde(default)]
        given: BTreeMap<SecretFile, String>,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CryptoAnswer {
    Report(Box<CryptoReport>),
    /// PEM.
    Request(String),
    Certificate(Certified),
    /// The version of each.
    Secrets(BTreeMap<SecretFile, String>),
}

/// A new certificate for a node that it does not use yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certified {
    /// PEM.
    pub certificate: String,
    /// Ganeti's fingerprint: SHA-1, `AA:BB:…`.
    pub fingerprint: String,
    /// The certificate (PEM) of the authority that signed it.
    pub authority: String,
}

/// How a node is equipped. Times in seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CryptoReport {
    /// Ganeti's fingerprint of the node's own certificate; empty if it cannot be read.
    pub fingerprint: String,
    /// Who signed it, as the certificate says: a distinguished name.
    #[serde(default)]
    pub issuer: String,
    #[serde(default)]
    pub begins: f64,
    #[serde(default)]
    pub expires: f64,
    /// Ganeti's fingerprints of the authorities it trusts, in order.
    #[serde(default)]
    pub trusted: Vec<String>,
    /// SHA-256 of its list of candidates' certificates, hexadecimal.
    #[serde(default)]
    pub candidates: String,
    /// A former certificate is kept.
    #[serde(default)]
    pub former: bool,
    /// SHA-256 of each shared file it has, hexadecimal.
    #[serde(default)]
    pub secrets: BTreeMap<SecretFile, String>,
    /// When the certificates among them end.
    #[serde(default)]
    pub ends: BTreeMap<SecretFile, f64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Action;
    use serde_json::json;

    #[test]
    fn a_secret_is_not_printed() {
        let action = Action::Crypto(CryptoAction::Write {
            file: SecretFile::ConfdHmacKey,
            version: "v1".into(),
            content: Some("hush".into()),
        });
        assert!(!format!("{action:?}").contains("hush"));
        let sent = serde_json::to_value(&action).expect("plain data");
        assert_eq!(
            sent,
            json!({"do": "crypto", "what": "write", "file": "hmac.key", "version": "v1",
                   "content": "hush"})
        );
        assert_eq!(serde_json::from_value::<Action>(sent).expect("the same"), action);
    }

    #[test]
    fn other_files_cannot_be_named() {
        let action = json!({"what": "write", "file": "../../etc/shadow", "version": "1"});
        assert!(serde_json::from_value::<CryptoAction>(action).is_err());
    }
}
