//! The cluster's authority: a document of the store, so that every master candidate has it.
//!
//! ```text
//!   ca.pem + ca.key ──adopt──► document {certificate, key} ──prepare_next──► {…, next}
//!   (made by init)             (files of the key removed)                       │
//!                              {next's}  ◄──settle── the configuration says ◄───┘
//!                                                    that `next` signs now
//! ```
//!
//! The configuration says whom nodes trust and who signs (`cluster.crypto.authorities`); the keys
//! are only here. The key of a new authority is made and stored before the job that introduces it
//! is planned, so no plan and no journal ever has a key in it.

use crate::config::{Change, Object};
use crate::pki::{self, Pair};
use crate::state::{Commit, State};
use crate::store::{Key, Space};
use crate::{files, secrets};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::paths::Paths;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

const ID: &str = "authority";

/// As stored.
#[derive(Clone, Serialize, Deserialize)]
struct Document {
    certificate: String,
    key: String,
    /// The one that will replace it, or just did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<Box<Document>>,
}

impl Document {
    fn of(pair: &Pair) -> Document {
        Document { certificate: pair.certificate.clone(), key: pair.key.clone(), next: None }
    }

    fn pair(&self) -> Pair {
        Pair { certificate: self.certificate.clone(), key: self.key.clone() }
    }

    fn put(&self) -> Result<(Key, String)> {
        let body = serde_json::to_string(self)
            .map_err(|e| Error::internal(format!("unstorable authority: {e}")))?;
        Ok((key(), body))
    }
}

fn key() -> Key {
    Key::new(Space::Meta, ID)
}

/// Who signs certificates now.
#[derive(Clone, Debug)]
pub struct Authority {
    pair: Pair,
}

impl Authority {
    /// The current one. Errors: there is none.
    pub async fn load(state: &State) -> Result<Authority> {
        let document = read(state).await?.ok_or_else(|| {
            Error::environment(
                "This cluster has no certificate authority: neither its database nor the files \
                 ca.pem and ca.key of its first node have it",
            )
        })?;
        Ok(Authority { pair: current(state, &document).pair() })
    }

    /// The one that will replace the current one: made now, if there is none yet.
    pub async fn prepare_next(state: &State) -> Result<Authority> {
        // Several nodes ask for certificates of it at the same time.
        static MAKING: Mutex<()> = Mutex::const_new(());
        let _one = MAKING.lock().await;
        let Some(document) = read(state).await? else {
            return Authority::load(state).await;
        };
        let now = current(state, &document);
        if let Some(next) = &document.next
            && next.certificate != now.certificate
        {
            return Ok(Authority { pair: next.pair() });
        }
        let pair = pki::new_authority(&state.config().cluster.cluster_name)?;
        let mut document = Document { next: None, ..now.clone() };
        document.next = Some(Box::new(Document::of(&pair)));
        store(state, &document).await?;
        Ok(Authority { pair })
    }

    /// Its certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.pair.certificate
    }

    /// Signs a node's request (PEM). Result: the certificate, PEM.
    pub fn sign(&self, node: NodeId, csr: &str) -> Result<String> {
        pki::sign(&self.pair, node, csr, pki::lifetime())
    }
}

/// The one that the configuration says signs now.
fn current<'a>(state: &State, document: &'a Document) -> &'a Document {
    let config = state.config();
    let signs = config.cluster.crypto.authorities.first();
    match &document.next {
        Some(next) if signs == Some(&next.certificate) => next,
        _ => document,
    }
}

async fn read(state: &State) -> Result<Option<Document>> {
    let Some(body) = state.get(key()).await? else { return Ok(None) };
    serde_json::from_str(&body)
        .map(Some)
        .map_err(|e| Error::internal(format!("The stored authority cannot be read: {e}")))
}

async fn store(state: &State, document: &Document) -> Result<()> {
    let puts = vec![document.put()?];
    state.commit(Commit { puts, ..Commit::default() }).await?;
    Ok(())
}

/// Takes over what is in files only: the authority, whom nodes trust, and the shared secrets
/// (those that are nowhere are made). For a leading masterd, at its start; does nothing the second
/// time.
pub async fn adopt(state: &State, paths: &Paths) -> Result<()> {
    let known = read(state).await?;
    let document = match &known {
        Some(document) => document.clone(),
        None => Document::of(&Pair {
            certificate: files::read(&paths.authority())?,
            key: files::read(&paths.authority_key())?,
        }),
    };
    let config = state.config();
    let mut cluster = (*config.cluster).clone();
    let mut commit = Commit::default();
    if known.is_none() {
        commit.puts.push(document.put()?);
    }
    if cluster.crypto.authorities.is_empty() {
        cluster.crypto.authorities.push(document.certificate.clone());
    }
    for (file, (content, origin)) in secrets::missing(&config.cluster, paths)? {
        let (version, put) = secrets::document(file, &content, origin)?;
        cluster.crypto.secrets.insert(file, version);
        commit.puts.push(put);
    }
    if cluster != *config.cluster {
        commit.changes.push(Change::Update(Object::Cluster(Box::new(cluster))));
    }
    if !commit.puts.is_empty() || !commit.changes.is_empty() {
        state.commit(commit).await?;
        tracing::info!("the authority and shared secrets were taken into the database");
    }
    // It is in the database now, durably.
    match std::fs::remove_file(paths.authority_key()) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::environment(format!(
            "Cannot remove {}: {e}",
            paths.authority_key().display()
        ))),
        _ => Ok(()),
    }
}

/// Forgets the key of an authority that was replaced.
pub async fn settle(state: &State) -> Result<()> {
    let Some(document) = read(state).await? else { return Ok(()) };
    let now = current(state, &document);
    if now.certificate == document.certificate {
        return Ok(());
    }
    store(state, &Document { next: None, ..now.clone() }).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init;
    use crate::store::sqlite::SqliteStore;
    use roost_proto::secrets::SecretFile;

    fn cluster() -> (tempfile::TempDir, Paths, State) {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(Some(dir.path().into()));
        let spec = serde_json::json!({
            "cluster_name": "cluster.example.com", "master_ip": "192.0.2.250",
            "node_name": "node1.example.com", "node_ip": "192.0.2.1",
            "enabled_hypervisors": ["fake"], "enabled_disk_templates": ["diskless"],
            "file_storage_dir": "", "shared_file_storage_dir": "",
        });
        init::init(&paths, &serde_json::from_value(spec).unwrap()).unwrap();
        let store = SqliteStore::open(&paths.database()).unwrap();
        let (state, _) = State::start(Box::new(store)).unwrap();
        (dir, paths, state)
    }

    #[tokio::test]
    async fn the_authority_moves_from_files_to_the_database() {
        let (_dir, paths, state) = cluster();
        let certificate = files::read(&paths.authority()).unwrap();
        std::fs::write(paths.secret(SecretFile::ConfdHmacKey), "mine\n").unwrap();
        adopt(&state, &paths).await.unwrap();
        assert!(!paths.authority_key().exists());
        let config = state.config();
        assert_eq!(config.cluster.crypto.authorities, std::slice::from_ref(&certificate));
        assert_eq!(config.cluster.crypto.secrets.len(), SecretFile::ALL.len());
        let version = &config.cluster.crypto.secrets[&SecretFile::ConfdHmacKey];
        let mine = ("mine\n".to_owned(), secrets::Origin::Brought);
        assert_eq!(secrets::known(&state, version).await.unwrap(), mine);
        let version = &config.cluster.crypto.secrets[&SecretFile::RapiCertificate];
        assert_eq!(secrets::known(&state, version).await.unwrap().1, secrets::Origin::Made);
        adopt(&state, &paths).await.unwrap();
        assert_eq!(state.config().serial, config.serial, "the second time changes nothing");
        assert_eq!(Authority::load(&state).await.unwrap().certificate(), certificate);
        assert!(!serde_json::to_string(&*config.cluster).unwrap().contains("PRIVATE"));
    }

    #[tokio::test]
    async fn the_next_one_signs_when_the_configuration_says_so() {
        let (_dir, paths, state) = cluster();
        adopt(&state, &paths).await.unwrap();
        let old = Authority::load(&state).await.unwrap();
        let next = Authority::prepare_next(&state).await.unwrap();
        assert_ne!(old.certificate(), next.certificate());
        let again = Authority::prepare_next(&state).await.unwrap();
        assert_eq!(next.certificate(), again.certificate(), "a job that is tried again");
        assert_eq!(Authority::load(&state).await.unwrap().certificate(), old.certificate());
        settle(&state).await.unwrap();
        let mut cluster = (*state.config().cluster).clone();
        cluster.crypto.authorities.insert(0, next.certificate().into());
        let changes = vec![Change::Update(Object::Cluster(Box::new(cluster)))];
        state.commit(Commit { changes, ..Commit::default() }).await.unwrap();
        assert_eq!(Authority::load(&state).await.unwrap().certificate(), next.certificate());
        settle(&state).await.unwrap();
        assert_eq!(Authority::load(&state).await.unwrap().certificate(), next.certificate());
        let third = Authority::prepare_next(&state).await.unwrap();
        assert_ne!(third.certificate(), next.certificate());
        let node = NodeId(uuid::Uuid::from_u128(1));
        let key = rcgen::KeyPair::generate().unwrap();
        let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
        let pem = third.sign(node, &csr.pem().unwrap()).unwrap();
        let said = pki::Said::of(&pem).unwrap();
        assert_eq!(said.issuer, pki::Said::of(third.certificate()).unwrap().subject);
        assert_ne!(said.issuer, pki::Said::of(next.certificate()).unwrap().subject);
    }
}
