//! Files that survive a power cut: written aside, synced, renamed, the directory synced.

use roost_proto::error::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Replaces the file at `path` as a whole; readers see the old or the new content, never a part.
///
/// `mode` are the permission bits, whatever the umask. The directory must exist.
pub fn write(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let aside = aside(path);
    let written = write_aside(&aside, content, mode)
        .and_then(|()| fs::rename(&aside, path))
        .and_then(|()| sync_parent(path));
    written.map_err(|e| {
        // Only a leftover: the next write replaces it.
        let _ = fs::remove_file(&aside);
        Error::exec(format!("Cannot write '{}': {e}", path.display()))
    })
}

fn write_aside(aside: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    match fs::remove_file(aside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    // Never readable by more than it will be: keys are written this way.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(aside)?;
    file.write_all(content)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    path.with_file_name(name)
}

/// Makes the directory and those above it. Existing ones are left as they are.
pub fn make_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path)
        .map_err(|e| Error::exec(format!("Cannot make the directory '{}': {e}", path.display())))
}

/// Removes a file. That there is none is success; otherwise the directory is synced.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
    .map_err(|e| Error::exec(format!("Cannot remove '{}': {e}", path.display())))
}

/// Makes the entry of `path` in its directory durable.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_mode() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("key");
        write(&path, b"old", 0o644).expect("write");
        write(&path, b"new", 0o600).expect("write again");
        assert_eq!(fs::read(&path).expect("read"), b"new");
        assert_eq!(fs::metadata(&path).expect("stat").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 1, "nothing left aside");
        remove(&path).expect("remove");
        remove(&path).expect("removed already");
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = write(Path::new("/nonexistent/x"), b"", 0o600).expect_err("no directory");
        assert!(error.message.starts_with("Cannot write '/nonexistent/x'"), "{error}");
    }
}
