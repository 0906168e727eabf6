//! The only module that writes files (the database apart): whole or not at all.

use roost_proto::error::{Error, Result};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

fn failed(path: &Path, e: &std::io::Error) -> Error {
    Error::environment(format!("Cannot write {}: {e}", path.display()))
}

/// Writes a file durably: after a crash it has the old content or the new, never a part.
pub fn write(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    replace(path, mode, |file| file.write_all(content))
}

/// Writes a large file in the same way, for root and, where the machine has it, a group.
pub fn write_for_group(
    path: &Path,
    group: &str,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let group = group_id(group);
    replace(path, 0o600, |file| {
        let mut out = std::io::BufWriter::with_capacity(1 << 16, &mut *file);
        fill(&mut out)?;
        out.flush()?;
        drop(out);
        // First it is given to the group, then opened to it.
        if group.is_some() {
            fchown(&*file, None, group)?;
            file.set_permissions(fs::Permissions::from_mode(0o640))?;
        }
        Ok(())
    })
}

/// The number of a group, if the machine has it.
pub fn group_id(name: &str) -> Option<u32> {
    Some(nix::unistd::Group::from_name(name).ok()??.gid.as_raw())
}

fn replace(
    path: &Path,
    mode: u32,
    fill: impl FnOnce(&mut fs::File) -> std::io::Result<()>,
) -> Result<()> {
    let put = || -> std::io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = parent.join(format!(".{name}.new"));
        // One left by a crash may have another mode.
        unless_gone(fs::remove_file(&temporary))?;
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        fill(&mut file)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        fs::File::open(parent)?.sync_all()
    };
    put().map_err(|e| failed(path, &e))
}

/// Removes a file; that there is none is success.
pub fn remove(path: &Path) -> Result<()> {
    unless_gone(fs::remove_file(path))
        .map_err(|e| Error::environment(format!("Cannot remove {}: {e}", path.display())))
}

fn unless_gone(result: std::io::Result<()>) -> std::io::Result<()> {
    result.or_else(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(e),
    })
}

/// Reads a text file.
pub fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path)
        .map_err(|e| Error::environment(format!("Cannot read {}: {e}", path.display())))
}

/// Makes a directory and those above it.
pub fn make_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|e| failed(path, &e))
}

/// Reads any file.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| Error::environment(format!("Cannot read {}: {e}", path.display())))
}
