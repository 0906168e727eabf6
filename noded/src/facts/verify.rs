//! The node's check of itself, for `gnt-cluster verify`.

use super::{missing_bridges, node};
use crate::block;
use crate::blocking::blocking;
use crate::credentials;
use crate::host::Host;
use crate::{os, ssconf};
use roost_proto::choices::Hypervisor;
use roost_proto::error::Result;
use roost_proto::node::{DaemonStatus, VerifyReport};
use roost_proto::paths::Paths;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The daemons that may run on a node, by the names of their process id files.
const DAEMONS: [&str; 5] = ["noded", "confd", "mond", "masterd", "rapi"];
/// How deep below a storage directory disks lie: `<dir>/<instance>/<disk>`, and one more for who
/// made subdirectories.
const DEPTH: usize = 3;

/// Checks this node.
pub async fn verify(
    host: &Host,
    hypervisors: Vec<Hypervisor>,
    storage: Vec<String>,
    bridges: Vec<String>,
) -> Result<VerifyReport> {
    let mut problems = vec![];
    for kind in hypervisors {
        match host.hypervisors.get(kind) {
            Err(error) => problems.push((kind.to_string(), error.message)),
            Ok(hypervisor) => {
                let with = hypervisor.acceleration().await;
                if !with.usable {
                    problems.push((kind.to_string(), with.reason));
                }
            }
        }
    }
    let (guests, unlisted) = host.hypervisors.list().await;
    problems.extend(unlisted.into_iter().map(|(kind, e)| (kind.to_string(), e.message)));
    let node = node(host, &guests).await;
    let volumes = block::lvm::volumes(false).await.ok();
    let physical = block::lvm::grouped().await;
    let mut devices = block::lvm::problems().await;
    let (mirrors, problems_of_drbd) = block::drbd::verify(&host.paths).await;
    devices.extend(problems_of_drbd);
    let paths = host.paths.clone();
    blocking(move || {
        Ok(VerifyReport {
            node,
            guests,
            hypervisors: problems,
            storage: storage
                .into_iter()
                // A Gluster volume is mounted when a disk needs it.
                .filter(|dir| !is_gluster(&paths, dir) || paths.absolute(dir).is_dir())
                .filter_map(|dir| probe(&paths.absolute(&dir)).err().map(|why| (dir, why)))
                .collect(),
            missing_bridges: missing_bridges(bridges),
            daemons: daemons(&paths),
            ssconf: ssconf::digests(&paths)?,
            certificate_expires: certificate_expires(&paths),
            crypto: Some(crate::crypto::report(&paths)),
            os: os::list(&paths),
            files: files(&paths),
            volumes,
            physical,
            mirrors,
            devices,
        })
    })
    .await
}

fn is_gluster(paths: &Paths, dir: &str) -> bool {
    ssconf::read(paths, "gluster_storage_dir").is_some_and(|gluster| gluster == dir)
}

/// Writes to the directory and reads back: a file system that is full, read-only or gone shows now
/// and not when a disk is to be made.
fn probe(dir: &Path) -> std::result::Result<(), String> {
    if !dir.is_dir() {
        return Err("it does not exist or is no directory".into());
    }
    // A shared directory is probed by all nodes at once: process numbers may be the same there.
    let unique = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    let path = dir.join(format!(".roost-probe-{}", unique.trim()));
    let content = [b'x'; 4096];
    let tried = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| {
            file.write_all(&content)?;
            file.sync_all()?;
            let mut back = vec![];
            fs::File::open(&path)?.read_to_end(&mut back)?;
            Ok(back == content)
        });
    let removed = match fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.to_string()),
        _ => Ok(()),
    };
    match tried {
        Ok(true) => removed,
        Ok(false) => Err("what was written cannot be read back".into()),
        Err(e) => Err(format!("it cannot be written to: {e}")),
    }
}

/// Daemons that run, and those that should: they left their process id and are gone.
fn daemons(paths: &Paths) -> Vec<DaemonStatus> {
    let status = |name: &str| {
        let text = fs::read_to_string(paths.pid_file(name)).ok()?;
        let pid: u32 = text.trim().parse().ok()?;
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        // A process id may have been given to somebody else since.
        let running = command.split('\0').next().is_some_and(|program| program.contains(name));
        Some(DaemonStatus { name: name.to_owned(), running })
    };
    DAEMONS.iter().filter_map(|name| status(name)).collect()
}

/// When the node's certificate ends, seconds since 1970.
fn certificate_expires(paths: &Paths) -> Option<f64> {
    let chain = credentials::certificates(&paths.certificate()).ok()?;
    let (_, certificate) = X509Certificate::from_der(chain.first()?).ok()?;
    Some(certificate.validity().not_after.timestamp() as f64)
}

/// Files in the storage directories that look like disks: path as the configuration writes it, MiB.
fn files(paths: &Paths) -> Vec<(String, u64)> {
    let mut found = vec![];
    for dir in block::allowed_directories(paths) {
        walk(&paths.absolute(&dir), &dir, DEPTH, &mut found);
    }
    found.sort();
    found.dedup();
    found
}

fn walk(local: &Path, shown: &str, depth: usize, found: &mut Vec<(String, u64)>) {
    let Ok(entries) = fs::read_dir(local) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // Hidden: marks, and what is being made.
        let Ok(meta) = entry.metadata() else { continue };
        if name.starts_with('.') || meta.is_symlink() {
            continue;
        }
        let shown = format!("{shown}/{name}");
        if meta.is_dir() && depth > 1 {
            walk(&entry.path(), &shown, depth - 1, found);
        } else if meta.is_file() {
            found.push((shown, meta.len() >> 20));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_probed_by_writing() {
        let dir = tempfile::tempdir().expect("directory");
        assert_eq!(probe(dir.path()), Ok(()));
        assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 0, "nothing is left");
        assert!(probe(&dir.path().join("none")).expect_err("missing").contains("does not exist"));
        assert!(probe(Path::new("/proc")).expect_err("no place").contains("cannot be written to"));
    }

    #[test]
    fn files_that_look_like_disks_are_found() {
        let root = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(root.path().to_owned()));
        fs::create_dir_all(paths.data_dir()).expect("data");
        fs::write(paths.ssconf("file_storage_dir"), "/srv/files\n").expect("ssconf");
        let dir = paths.absolute("/srv/files/i1");
        fs::create_dir_all(&dir).expect("directory");
        fs::write(dir.join(".disk0.roost"), "").expect("mark");
        fs::File::create(dir.join("disk0")).and_then(|f| f.set_len(3 << 20)).expect("disk");
        assert_eq!(files(&paths), [("/srv/files/i1/disk0".to_owned(), 3)]);
    }

    #[test]
    fn a_daemon_is_its_process() {
        let root = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(root.path().to_owned()));
        fs::create_dir_all(paths.run_dir()).expect("run");
        fs::write(paths.pid_file("noded"), format!("{}\n", std::process::id())).expect("pid");
        fs::write(paths.pid_file("confd"), "1\n").expect("pid");
        let all = daemons(&paths);
        let short: Vec<_> = all.iter().map(|d| (d.name.as_str(), d.running)).collect();
        // This test program has noded in its name.
        assert_eq!(short, [("noded", true), ("confd", false)]);
    }
}
