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
use roost_proto::paths::Paths;
use roost_proto::rpc::node as rpc;
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tonic::Status;

/// Lets the master's requests through.
#[derive(Debug)]
pub struct Fence {
    cluster: String,
    file: PathBuf,
    /// The highest epoch seen; what it says is also in the file.
    epoch: tokio::sync::Mutex<u64>,
    candidates: Candidates,
}

impl Fence {
    /// Reads what was seen before.
    pub fn load(paths: &Paths, cluster: ClusterId) -> Result<Fence> {
        let file = paths.noded_dir().join("epoch");
        Ok(Fence {
            cluster: cluster.to_string(),
            epoch: tokio::sync::Mutex::new(read_epoch(&file)?),
            file,
            candidates: Candidates::new(paths.ssconf("master_candidates_certs")),
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
        if fence.cluster != self.cluster {
            return Err(Status::permission_denied(format!(
                "This node belongs to cluster {}, not to cluster {}",
                self.cluster, fence.cluster
            )));
        }
        let certificate = certificate
            .ok_or_else(|| Status::unauthenticated("The request came without a certificate"))?;
        self.candidates.check(&fingerprint(certificate))?;
        self.admit_epoch(fence.epoch).await
    }

    async fn admit_epoch(&self, epoch: u64) -> Result<(), Status> {
        let mut seen = self.epoch.lock().await;
        if epoch < *seen {
            return Err(Status::failed_precondition(format!(
                "Epoch {epoch} is over: this node already obeys the master of epoch {seen}"
            )));
        }
        if epoch > *seen {
            let file = self.file.clone();
            tokio::task::spawn_blocking(move || write_epoch(&file, epoch))
                .await
                .map_err(|e| Status::internal(e.to_string()))?
                .map_err(|e| Status::internal(format!("Epoch {epoch} cannot be kept: {e}")))?;
            tracing::info!(old = *seen, new = epoch, "a new master is obeyed");
            *seen = epoch;
        }
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
        Some(rpc::Fence { epoch, cluster: cluster.into() })
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
