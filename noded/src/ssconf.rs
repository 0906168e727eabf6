//! ssconf: the small files by which every node knows the cluster, also without its master.
//!
//! `<data>/ssconf_<key>`, one value or one item a line, mode 0444. Written as one set under a lock
//! that Ganeti's tools use too; a file of a key that is not in the set is removed.

use crate::credentials::hex;
use crate::durable;
use nix::fcntl::{Flock, FlockArg};
use roost_proto::error::{Error, Result};
use roost_proto::paths::Paths;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::PathBuf;

const PREFIX: &str = "ssconf_";
/// Ganeti's limit for the size of one file, bytes.
const LIMIT: usize = 128 << 10;

/// Writes the set. Files that have the right content already are left alone.
pub fn write(paths: &Paths, values: &BTreeMap<String, String>) -> Result<()> {
    for (key, value) in values {
        check(key, value)?;
    }
    durable::make_dir(&paths.data_dir())?;
    let _lock = lock(paths)?;
    for (key, value) in values {
        let path = paths.ssconf(key);
        let text = terminated(value);
        if fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
            continue;
        }
        durable::write(&path, text.as_bytes(), 0o444)?;
    }
    for (key, path) in files(paths)? {
        if !values.contains_key(&key) {
            durable::remove(&path)?;
        }
    }
    Ok(())
}

/// Writes the file of one key; the others stay as they are.
pub fn write_one(paths: &Paths, key: &str, value: &str) -> Result<()> {
    check(key, value)?;
    durable::make_dir(&paths.data_dir())?;
    let _lock = lock(paths)?;
    let (path, text) = (paths.ssconf(key), terminated(value));
    if fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    durable::write(&path, text.as_bytes(), 0o444)
}

/// The value of a key, without the last line end; `None` where there is none.
pub fn read(paths: &Paths, key: &str) -> Option<String> {
    let text = fs::read_to_string(paths.ssconf(key)).ok()?;
    Some(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

/// The lines of a key that are not empty.
pub fn lines(paths: &Paths, key: &str) -> Vec<String> {
    let text = read(paths, key).unwrap_or_default();
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// SHA-256 of every file, hexadecimal, by key.
pub fn digests(paths: &Paths) -> Result<BTreeMap<String, String>> {
    let mut digests = BTreeMap::new();
    // Others are half written.
    let whole = |(key, _): &(String, PathBuf)| !key.contains('.');
    for (key, path) in files(paths)?.into_iter().filter(whole) {
        let content = match fs::read(&path) {
            Ok(content) => content,
            // One that is being written was listed under its name for the moment.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => {
                return Err(Error::environment(format!("Cannot read '{}': {e}", path.display())));
            }
        };
        digests.insert(key, hex(Sha256::digest(content)));
    }
    Ok(digests)
}

/// Removes all of them.
pub fn wipe(paths: &Paths) -> Result<()> {
    for (_, path) in files(paths)? {
        durable::remove(&path)?;
    }
    Ok(())
}

fn check(key: &str, value: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
    if key.is_empty() || !key.chars().all(good) {
        return Err(Error::wrong_input(format!("'{key}' is not a name of an ssconf file")));
    }
    if value.len() > LIMIT {
        let length = value.len();
        return Err(Error::wrong_input(format!(
            "ssconf file '{key}' would have {length} bytes; Ganeti's tools read at most {LIMIT}"
        )));
    }
    Ok(())
}

fn terminated(value: &str) -> String {
    let end = if value.is_empty() || value.ends_with('\n') { "" } else { "\n" };
    format!("{value}{end}")
}

fn files(paths: &Paths) -> Result<Vec<(String, PathBuf)>> {
    let dir = paths.data_dir();
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        Err(e) => {
            return Err(Error::environment(format!("Cannot list '{}': {e}", dir.display())));
        }
    };
    Ok(entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let key = name.strip_prefix(PREFIX)?;
            // What a crash left half written is not a file of a key, but goes with the others.
            Some((key.to_owned(), entry.path()))
        })
        .collect())
}

fn lock(paths: &Paths) -> Result<Flock<fs::File>> {
    let path = paths.lock_dir().join("ganeti-ssconf.lock");
    let failed =
        |e: &dyn std::fmt::Display| Error::exec(format!("Cannot lock '{}': {e}", path.display()));
    durable::make_dir(&paths.lock_dir())?;
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| failed(&e))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| failed(&e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_set_replaces_the_one_before() {
        let dir = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(dir.path().to_owned()));
        write(&paths, &values(&[("cluster_name", "c1"), ("cluster_tags", "")])).expect("write");
        write(&paths, &values(&[("cluster_name", "c2\n"), ("node_list", "a\nb")])).expect("again");
        assert_eq!(read(&paths, "cluster_name").as_deref(), Some("c2"));
        assert_eq!(lines(&paths, "node_list"), ["a", "b"]);
        assert_eq!(read(&paths, "cluster_tags"), None, "not in the new set");
        let mode = fs::metadata(paths.ssconf("node_list")).expect("stat").permissions().mode();
        assert_eq!(mode & 0o777, 0o444);
        assert_eq!(fs::read_to_string(paths.ssconf("node_list")).expect("read"), "a\nb\n");
        let digests = digests(&paths).expect("digests");
        assert_eq!(digests.keys().collect::<Vec<_>>(), ["cluster_name", "node_list"]);
        assert_eq!(digests["cluster_name"], hex(Sha256::digest(b"c2\n")));
    }

    #[test]
    fn a_bad_key_changes_nothing() {
        let dir = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(dir.path().to_owned()));
        let error = write(&paths, &values(&[("a", "1"), ("../b", "2")])).expect_err("bad key");
        assert_eq!(error.message, "'../b' is not a name of an ssconf file");
        assert_eq!(read(&paths, "a"), None);
        write(&paths, &values(&[("big", &"x".repeat(LIMIT + 1))])).expect_err("too big");
    }
}
