//! Files that are whole or not there: half a script or half a backup must never be found under its name.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Result, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes a file with these permissions, less what the umask takes. Errors: the old file, if there was one, is as it was.
pub fn write(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_string_lossy();
    let temporary = dir.join(format!(".{name}.{}", std::process::id()));
    let put = || -> Result<()> {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(dir)?.sync_all()
    };
    put().inspect_err(|_| {
        // A part of it is of no use, and may be a secret.
        let _ = fs::remove_file(&temporary);
    })
}
