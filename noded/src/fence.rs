//! Who is obeyed: the master of this node's cluster, and of several masters only the newest.
//!
//! A request must name this cluster, come over a certificate of a current master candidate (as
//! ssconf lists them), and carry an epoch at least as high as any seen before. A higher epoch is
//! written down durably before its first request is obeyed, so that the master it replaced stays
//! refused even after a crash of this node.

use crate::credentials::fingerprint;
use crate::durable;
use roost_proto::error::{Error, Result};
use roost_proto::ids::ClusterId;
use roost_proto::node::AloneNote;
use roost_proto::paths::Paths;
use roost_proto::protocol;
use roost_proto::protocol::OBEYS_ANOTHER;
use roost_proto::rpc::node as rpc;
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tonic::Status;

/// The ssconf key of the master candidates' certificates.
pub const CANDIDATES: &str = "master_candidates_certs";

/// Lets the master's requests through.
#[derive(Debug)]
pub struct Fence {
    cluster: String,
    file: PathBuf,
    /// The highest epoch seen; what it says is also in the file.
    epoch: tokio::sync::Mutex<u64>,
    /// The newest note of a master that goes on alone; what it says is also in the file.
    alone: tokio::sync::Mutex<Option<AloneNote>>,
    alone_file: PathBuf,
    candidates: Candidates,
}

/// What this node says about masters.
#[derive(Clone, Debug, PartialEq)]
pub struct Vote {
    /// The epoch asked for was promised.
    pub granted: bool,
    /// The highest epoch seen.
    pub epoch: u64,
    /// The newest note.
    pub alone: Option<AloneNote>,
}

impl Fence {
    /// Reads what was seen before.
    pub fn load(paths: &Paths, cluster: ClusterId) -> Result<Fence> {
        let file = paths.noded_dir().join("epoch");
        let alone_file = paths.noded_dir().join("alone");
        Ok(Fence {
            alone: tokio::sync::Mutex::new(read_note(&alone_file)?),
            alone_file,
            cluster: cluster.to_string(),
            epoch: tokio::sync::Mutex::new(read_epoch(&file)?),
            file,
            candidates: Candidates::new(paths.ssconf(CANDIDATES)),
        })
    }

    /// Lets a request pass, or says why not.
    ///
    /// `certificate` is the one the peer has proved to own, DER.
    pub async fn admit(
        &self,
        fence: Option<&rpc::Fence>,
        certificate: Option<&[u8]>,
    ) -> Result<(), Status> {
        let fence = fence.ok_or_else(|| {
            Status::invalid_argument("The request names neither a cluster nor an epoch")
        })?;
        self.admit_candidate(&fence.cluster, certificate)?;
        protocol::NODE
            .meet(fence.protocol, "the master")
            .map_err(|e| Status::failed_precondition(e.message))?;
        self.admit_epoch(fence.epoch).await
    }

    /// Lets a master candidate of this cluster pass, whatever its epoch.
    fn admit_candidate(&self, cluster: &str, certificate: Option<&[u8]>) -> Result<(), Status> {
        if cluster != self.cluster {
            return Err(Status::permission_denied(format!(
                "This node belongs to cluster {}, not to cluster {cluster}",
                self.cluster
            )));
        }
        let certificate = certificate
            .ok_or_else(|| Status::unauthenticated("The request came without a certificate"))?;
        self.candidates.check(&fingerprint(certificate))
    }

    /// Promises an epoch to a master candidate that wants to lead, if it is higher than any seen;
    /// 0 only asks. From then on the master of a lower one is refused.
    pub async fn vote(
        &self,
        cluster: &str,
        epoch: u64,
        certificate: Option<&[u8]>,
    ) -> Result<Vote, Status> {
        self.admit_candidate(cluster, certificate)?;
        // Held until it is kept, so that an epoch is promised once only; notes wait for it too.
        let mut seen = self.epoch.lock().await;
        let granted = epoch > *seen;
        if granted {
            self.raise(&mut seen, epoch).await?;
        }
        let alone = self.alone.lock().await.clone();
        Ok(Vote { granted, epoch: *seen, alone })
    }

    /// Keeps a note of the master, unless there is a newer one. Call after [`Fence::admit`].
    pub async fn note(&self, note: AloneNote) -> Result<(), Status> {
        // Held while it is written: a promise meanwhile waits, or refused this one.
        let seen = self.epoch.lock().await;
        if note.epoch.0 < *seen {
            return Err(Status::failed_precondition(format!(
                "Epoch {} is over: {OBEYS_ANOTHER} {}",
                note.epoch, *seen
            )));
        }
        let mut kept = self.alone.lock().await;
        if kept.as_ref().is_some_and(|kept| !note.is_newer_than(kept)) {
            return Ok(());
        }
        let (file, text) = (self.alone_file.clone(), serde_json::to_string(&note));
        tokio::task::spawn_blocking(move || {
            let text = text.map_err(|e| Error::internal(e.to_string()))?;
            if let Some(dir) = file.parent() {
                durable::make_dir(dir)?;
            }
            durable::write(&file, text.as_bytes(), 0o600)
        })
        .await
        .map_err(|e| Status::internal(e.to_string()))?
        .map_err(|e| Status::internal(format!("The note cannot be kept: {e}")))?;
        *kept = Some(note);
        Ok(())
    }

    async fn admit_epoch(&self, epoch: u64) -> Result<(), Status> {
        let mut seen = self.epoch.lock().await;
        if epoch < *seen {
            return Err(Status::failed_precondition(format!(
                "Epoch {epoch} is over: {OBEYS_ANOTHER} {seen}"
            )));
        }
        if epoch > *seen {
            self.raise(&mut seen, epoch).await?;
        }
        Ok(())
    }

    /// Writes a higher epoch down before anybody is told.
    async fn raise(&self, seen: &mut u64, epoch: u64) -> Result<(), Status> {
        let file = self.file.clone();
        tokio::task::spawn_blocking(move || write_epoch(&file, epoch))
            .await
            .map_err(|e| Status::internal(e.to_string()))?
            .map_err(|e| Status::internal(format!("Epoch {epoch} cannot be kept: {e}")))?;
        tracing::info!(old = *seen, new = epoch, "a new master is obeyed");
        *seen = epoch;
        Ok(())
    }
}

fn read_epoch(file: &Path) -> Result<u64> {
    match std::fs::read_to_string(file) {
        Ok(text) => text.trim().parse().map_err(|e| {
            Error::environment(format!(
                "The highest epoch in '{}' is damaged: {e}; write the cluster's epoch into it",
                file.display()
            ))
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(Error::environment(format!("Cannot read '{}': {e}", file.display()))),
    }
}

fn read_note(file: &Path) -> Result<Option<AloneNote>> {
    let bad = |e: &dyn std::fmt::Display| {
        Error::environment(format!("The note in '{}' is damaged: {e}", file.display()))
    };
    match std::fs::read_to_string(file) {
        Ok(text) => serde_json::from_str(&text).map(Some).map_err(|e| bad(&e)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(bad(&e)),
    }
}

fn write_epoch(file: &Path, epoch: u64) -> Result<()> {
    if let Some(dir) = file.parent() {
        durable::make_dir(dir)?;
    }
    durable::write(file, format!("{epoch}\n").as_bytes(), 0o600)
}

/// The certificates of the master candidates, as ssconf has them; read again when it changes.
#[derive(Debug)]
struct Candidates {
    file: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Inode, modification time and size of the file that was read.
    stamp: Option<(u64, i64, i64, u64)>,
    /// Node UUID by fingerprint.
    nodes: HashMap<String, String>,
}

impl Candidates {
    fn new(file: PathBuf) -> Candidates {
        Candidates { file, known: Mutex::default() }
    }

    fn check(&self, fingerprint: &str) -> Result<(), Status> {
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        let stamp = std::fs::metadata(&self.file)
            .map(|m| (m.ino(), m.mtime(), m.mtime_nsec(), m.len()))
            .map_err(|e| {
                Status::permission_denied(format!(
                    "This node knows no master candidates: '{}': {e}",
                    self.file.display()
                ))
            })?;
        if known.stamp != Some(stamp) {
            let text = std::fs::read_to_string(&self.file)
                .map_err(|e| Status::internal(format!("'{}': {e}", self.file.display())))?;
            *known = Known { stamp: Some(stamp), nodes: parse_candidates(&text) };
        }
        if known.nodes.contains_key(fingerprint) {
            return Ok(());
        }
        Err(Status::permission_denied(format!(
            "The certificate {fingerprint} is not one of a current master candidate"
        )))
    }
}

/// Lines `<node uuid>=<AA:BB:…>`.
fn parse_candidates(text: &str) -> HashMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(node, fingerprint)| (fingerprint.trim().to_ascii_uppercase(), node.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    const CLUSTER: &str = "7f3ac1b0-5a3c-4a8e-9d0e-0b7a7f4f3c11";

    fn fence(paths: &Paths) -> Fence {
        Fence::load(paths, CLUSTER.parse().expect("uuid")).expect("load")
    }

    fn request(cluster: &str, epoch: u64) -> Option<rpc::Fence> {
        Some(rpc::Fence { epoch, cluster: cluster.into(), protocol: 0 })
    }

    fn root() -> (tempfile::TempDir, Paths) {
        let dir = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(dir.path().to_owned()));
        std::fs::create_dir_all(paths.data_dir()).expect("directory");
        (dir, paths)
    }

    fn list(paths: &Paths, certificate: &[u8]) {
        let line = format!("some-node={}\n", fingerprint(certificate));
        durable::write(&paths.ssconf("master_candidates_certs"), line.as_bytes(), 0o444)
            .expect("write");
    }

    #[tokio::test]
    async fn a_lower_epoch_is_refused_even_after_a_restart() {
        let (_dir, paths) = root();
        list(&paths, b"cert");
        let first = fence(&paths);
        first.admit(request(CLUSTER, 5).as_ref(), Some(b"cert")).await.expect("epoch 5");
        first.admit(request(CLUSTER, 5).as_ref(), Some(b"cert")).await.expect("epoch 5 again");
        drop(first);
        let second = fence(&paths);
        let refused = second
            .admit(request(CLUSTER, 4).as_ref(), Some(b"cert"))
            .await
            .expect_err("epoch 4 is over");
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(
            refused.message(),
            "Epoch 4 is over: this node already obeys the master of epoch 5"
        );
        second.admit(request(CLUSTER, 6).as_ref(), Some(b"cert")).await.expect("epoch 6");
        assert_eq!(std::fs::read_to_string(second.file).expect("file"), "6\n");
    }

    #[tokio::test]
    async fn an_epoch_is_promised_once_and_ends_older_ones() {
        let (_dir, paths) = root();
        list(&paths, b"cert");
        let fence = fence(&paths);
        fence.admit(request(CLUSTER, 5).as_ref(), Some(b"cert")).await.expect("epoch 5");
        let ask = fence.vote(CLUSTER, 0, Some(b"cert")).await.expect("an answer");
        assert_eq!(ask, Vote { granted: false, epoch: 5, alone: None });
        assert!(!fence.vote(CLUSTER, 5, Some(b"cert")).await.expect("an answer").granted);
        assert!(fence.vote(CLUSTER, 6, Some(b"cert")).await.expect("an answer").granted);
        assert!(!fence.vote(CLUSTER, 6, Some(b"cert")).await.expect("an answer").granted);
        fence.vote(CLUSTER, 9, Some(b"else")).await.expect_err("no candidate");
        let refused = fence.admit(request(CLUSTER, 5).as_ref(), Some(b"cert")).await;
        assert_eq!(refused.expect_err("it is over").code(), Code::FailedPrecondition);
    }

    #[tokio::test]
    async fn the_newest_note_is_kept_and_one_of_an_old_master_refused() {
        let (_dir, paths) = root();
        list(&paths, b"cert");
        let note = |epoch, round, alone| AloneNote {
            epoch: roost_proto::ids::Epoch(epoch),
            round,
            master: roost_proto::ids::NodeId(Default::default()),
            alone,
            without: std::collections::BTreeSet::new(),
            since: 15,
        };
        let first = fence(&paths);
        first.note(note(3, 2, true)).await.expect("kept");
        first.note(note(3, 1, false)).await.expect("older, and ignored");
        drop(first);
        let second = fence(&paths);
        let told = second.vote(CLUSTER, 4, Some(b"cert")).await.expect("an answer");
        assert_eq!(told.alone, Some(note(3, 2, true)));
        let refused = second.note(note(3, 3, true)).await.expect_err("epoch 3 is over");
        assert_eq!(refused.code(), Code::FailedPrecondition);
    }

    #[tokio::test]
    async fn strangers_do_not_raise_the_epoch() {
        let (_dir, paths) = root();
        list(&paths, b"cert");
        let fence = fence(&paths);
        let other = "00000000-0000-0000-0000-000000000001";
        for (request, certificate, code) in [
            (None, Some(b"cert".as_slice()), Code::InvalidArgument),
            (request(other, 9), Some(b"cert"), Code::PermissionDenied),
            (request(CLUSTER, 9), None, Code::Unauthenticated),
            (request(CLUSTER, 9), Some(b"else"), Code::PermissionDenied),
        ] {
            let refused =
                fence.admit(request.as_ref(), certificate).await.expect_err("must be refused");
            assert_eq!(refused.code(), code, "{refused}");
        }
        fence.admit(request(CLUSTER, 1).as_ref(), Some(b"cert")).await.expect("still 1");
    }

    #[tokio::test]
    async fn a_master_of_a_far_version_is_refused_and_does_not_raise_the_epoch() {
        let (_dir, paths) = root();
        list(&paths, b"cert");
        let fence = fence(&paths);
        let speaking = |version, epoch| {
            let near = request(CLUSTER, epoch).expect("a fence");
            Some(rpc::Fence { protocol: version, ..near })
        };
        let own = protocol::NODE.version;
        let far = speaking(own + 2, 9);
        let refused = fence.admit(far.as_ref(), Some(b"cert")).await.expect_err("too far");
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("this program is too old"), "{refused}");
        fence.admit(speaking(own + 1, 2).as_ref(), Some(b"cert")).await.expect("near");
        fence.admit(speaking(own, 3).as_ref(), Some(b"cert")).await.expect("its own");
    }

    #[tokio::test]
    async fn a_new_list_of_candidates_is_seen() {
        let (_dir, paths) = root();
        let fence = fence(&paths);
        let one = request(CLUSTER, 1);
        let refused = fence.admit(one.as_ref(), Some(b"a")).await.expect_err("no list");
        assert!(refused.message().contains("knows no master candidates"), "{refused}");
        list(&paths, b"a");
        fence.admit(one.as_ref(), Some(b"a")).await.expect("listed");
        list(&paths, b"b");
        fence.admit(one.as_ref(), Some(b"a")).await.expect_err("not any more");
        fence.admit(one.as_ref(), Some(b"b")).await.expect("the new one");
    }
}
