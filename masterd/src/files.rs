//! The only module that writes files (the database apart): whole or not at all.

use roost_proto::error::{Error, Result};
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

fn failed(path: &Path, e: &std::io::Error) -> Error {
    Error::environment(format!("Cannot write {}: {e}", path.display()))
}

/// Writes a file durably: after a crash it has the old content or the new, never a part.
pub fn write(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let put = || -> std::io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = parent.join(format!(".{name}.new"));
        // One left by a crash may have another mode.
        fs::remove_file(&temporary).or_else(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(e),
        })?;
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        fs::File::open(parent)?.sync_all()
    };
    put().map_err(|e| failed(path, &e))
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
