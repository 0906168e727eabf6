//! The shared secrets: each version is a document of its own, the configuration says which one is
//! current, and jobs only name them.
//!
//! ```text
//!   made here, or handed in ──► document secret/<version> ──► cluster.crypto.secrets
//!                                        │                    (file → version)
//!                                        └─ put into the action when it is sent to a node
//! ```
//!
//! So no secret is ever in an argument, a job, a plan or a log.
//!
//! Each version says where it comes from: what the administrator brought is not replaced unless he
//! says so.

use crate::pki;
use crate::state::{Commit, State};
use crate::store::{Key, Space};
use crate::{clock, files};
use roost_proto::error::{Error, Result};
use roost_proto::objects::Cluster;
use roost_proto::paths::Paths;
use roost_proto::secrets::SecretFile;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const PREFIX: &str = "secret/";
/// What was handed in and never used is forgotten after this many seconds.
const UNUSED: f64 = 86_400.0;
/// Random bytes of a secret: Ganeti's.
const BYTES: usize = 20;

/// Where a secret comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The administrator handed it in, or it was in a file already. Also if nobody knows.
    #[default]
    Brought,
    /// masterd made it, and may make another.
    Made,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    file: SecretFile,
    content: String,
    time: f64,
    #[serde(default)]
    origin: Origin,
}

/// A version's name and its document.
pub fn document(
    file: SecretFile,
    content: &str,
    origin: Origin,
) -> Result<(String, (Key, String))> {
    #[allow(clippy::disallowed_methods, reason = "it names a secret that is born here")]
    let version = uuid::Uuid::new_v4().to_string();
    let stored = Stored { file, content: content.to_owned(), time: clock::seconds(), origin };
    let body = serde_json::to_string(&stored)
        .map_err(|e| Error::internal(format!("unstorable secret: {e}")))?;
    let key = Key::new(Space::Meta, format!("{PREFIX}{version}"));
    Ok((version, (key, body)))
}

/// The secrets that the configuration does not know: from their files, or made.
pub fn missing(cluster: &Cluster, paths: &Paths) -> Result<BTreeMap<SecretFile, (String, Origin)>> {
    let known = |file: &SecretFile| cluster.crypto.secrets.contains_key(file);
    let mut all = BTreeMap::new();
    for file in SecretFile::ALL.into_iter().filter(|file| !known(file)) {
        let path = paths.secret(file);
        if path.exists() {
            all.insert(file, (files::read(&path)?, Origin::Brought));
        }
    }
    let absent: Vec<_> =
        SecretFile::ALL.into_iter().filter(|f| !known(f) && !all.contains_key(f)).collect();
    for (file, content) in make(&cluster.cluster_name, &absent)? {
        // What is there stays, even if it goes together with what is made.
        if absent.contains(&file) {
            all.insert(file, (content, Origin::Made));
        }
    }
    Ok(all)
}

/// New secrets. Those of SPICE go together: both are made if one is wanted.
pub fn make(cluster: &str, files: &[SecretFile]) -> Result<BTreeMap<SecretFile, String>> {
    let mut made = BTreeMap::new();
    for file in files {
        match file {
            SecretFile::ConfdHmacKey | SecretFile::ClusterDomainSecret => {
                made.insert(*file, pki::random_hex(BYTES)? + "\n");
            }
            SecretFile::RapiCertificate => {
                let pair = pki::self_signed(cluster)?;
                made.insert(*file, pair.key + &pair.certificate);
            }
            SecretFile::SpiceCertificate | SecretFile::SpiceAuthority => {
                let pair = pki::self_signed(cluster)?;
                made.insert(SecretFile::SpiceAuthority, pair.certificate.clone());
                made.insert(SecretFile::SpiceCertificate, pair.key + &pair.certificate);
            }
        }
    }
    Ok(made)
}

/// Refuses what could not work: a key of another certificate, one that has ended, no secret at all.
pub fn check(file: SecretFile, content: &str) -> Result<()> {
    let what = file.describe();
    let wrong = |why: &dyn std::fmt::Display| {
        Error::wrong_input(format!("This cannot be the {what}: {why}"))
    };
    match file {
        SecretFile::ConfdHmacKey | SecretFile::ClusterDomainSecret => {
            if content.trim().is_empty() {
                Err(wrong(&"it is empty"))
            } else {
                Ok(())
            }
        }
        SecretFile::RapiCertificate | SecretFile::SpiceCertificate => {
            pki::check_pair(content).map_err(|e| wrong(&e.message))?;
            in_time(content).map_err(|e| wrong(&e))
        }
        SecretFile::SpiceAuthority => {
            if content.contains("PRIVATE KEY") {
                return Err(wrong(&"it has a private key in it, and everybody may read this file"));
            }
            in_time(content).map_err(|e| wrong(&e))
        }
    }
}

fn in_time(pem: &str) -> std::result::Result<(), String> {
    let said = pki::Said::of(pem).map_err(|e| e.message)?;
    let now = clock::seconds();
    if said.expires <= now {
        return Err("it has expired".into());
    }
    if said.begins > now {
        return Err("it is not valid yet".into());
    }
    Ok(())
}

/// Stores new versions. Result: their names.
pub async fn store(
    state: &State,
    contents: &BTreeMap<SecretFile, String>,
    origin: Origin,
) -> Result<BTreeMap<SecretFile, String>> {
    let mut commit = Commit { deletes: unused(state).await?, ..Commit::default() };
    let mut versions = BTreeMap::new();
    for (file, content) in contents {
        let (version, put) = document(*file, content, origin)?;
        versions.insert(*file, version);
        commit.puts.push(put);
    }
    state.commit(commit).await?;
    Ok(versions)
}

/// Documents that nobody has wanted for long.
async fn unused(state: &State) -> Result<Vec<Key>> {
    let config = state.config();
    let now = clock::seconds();
    let used = |id: &str| {
        let mut versions = config.cluster.crypto.secrets.values();
        id.strip_prefix(PREFIX).is_none_or(|id| versions.any(|version| version == id))
    };
    let old = |body: &str| {
        serde_json::from_str::<Stored>(body).is_ok_and(|stored| now - stored.time > UNUSED)
    };
    let all = state.scan(Space::Meta).await?.into_iter();
    let unused = all.filter(|(id, body)| !used(id) && old(body));
    Ok(unused.map(|(id, _)| Key::new(Space::Meta, id)).collect())
}

async fn stored(state: &State, version: &str) -> Result<Stored> {
    let key = Key::new(Space::Meta, format!("{PREFIX}{version}"));
    let body = state.get(key).await?.ok_or_else(|| {
        Error::unknown(format!(
            "There is no secret of version '{version}' (any more): hand it in again with \
             'gnt-cluster renew-crypto'"
        ))
    })?;
    serde_json::from_str(&body)
        .map_err(|e| Error::internal(format!("The secret {version} cannot be read: {e}")))
}

/// What a version says.
pub async fn content(state: &State, version: &str) -> Result<String> {
    Ok(stored(state, version).await?.content)
}

/// The same, and where it comes from.
pub async fn known(state: &State, version: &str) -> Result<(String, Origin)> {
    let stored = stored(state, version).await?;
    Ok((stored.content, stored.origin))
}

/// Refuses versions that are not there, or are of another file.
pub async fn check_given(state: &State, given: &BTreeMap<SecretFile, String>) -> Result<()> {
    for (file, version) in given {
        let found = stored(state, version).await?;
        if found.file != *file {
            return Err(Error::wrong_input(format!(
                "The secret of version '{version}' is the {}, not the {}",
                found.file.describe(),
                file.describe()
            )));
        }
        check(*file, &found.content)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_good() {
        let made = make("cluster.example.com", &SecretFile::ALL).unwrap();
        assert_eq!(made.len(), SecretFile::ALL.len());
        for (file, content) in &made {
            check(*file, content).unwrap();
        }
        let key = &made[&SecretFile::ConfdHmacKey];
        assert_eq!(key.len(), 41);
        assert!(key.ends_with('\n'));
        let other = make("c", &[SecretFile::ConfdHmacKey]).unwrap();
        assert_ne!(other[&SecretFile::ConfdHmacKey], *key);
        assert!(made[&SecretFile::SpiceCertificate].contains(&made[&SecretFile::SpiceAuthority]));
        assert!(!made[&SecretFile::SpiceAuthority].contains("KEY"));
    }

    #[test]
    fn what_nobody_knows_was_brought() {
        let old = r#"{"file": "rapi.pem", "content": "x", "time": 7.0}"#;
        let stored: Stored = serde_json::from_str(old).unwrap();
        assert_eq!(stored.origin, Origin::Brought);
        let (_, (_, body)) = document(SecretFile::RapiCertificate, "x", Origin::Made).unwrap();
        assert_eq!(serde_json::from_str::<Stored>(&body).unwrap().origin, Origin::Made);
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let (one, two) = (pki::self_signed("a").unwrap(), pki::self_signed("b").unwrap());
        let why = |file, text: &str| check(file, text).unwrap_err().message;
        let rapi = SecretFile::RapiCertificate;
        check(rapi, &format!("{}{}", one.certificate, one.key)).unwrap();
        let text = why(rapi, &format!("{}{}", two.key, one.certificate));
        assert!(text.contains("not the key of the certificate"), "{text}");
        assert!(why(rapi, &one.certificate).contains("no private key"));
        assert!(why(rapi, &one.key).contains("no certificate"));
        assert!(why(rapi, "nonsense").starts_with("This cannot be the RAPI certificate"));
        assert!(why(SecretFile::ClusterDomainSecret, " \n").contains("empty"));
        let both = format!("{}{}", one.key, one.certificate);
        assert!(why(SecretFile::SpiceAuthority, &both).contains("private key"));
        let ended = pki::ended_for_tests();
        assert!(why(rapi, &ended).contains("expired"), "{}", why(rapi, &ended));
    }
}
