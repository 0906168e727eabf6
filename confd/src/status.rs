//! What the daemon says of itself, for the monitoring of its machine: a small JSON file.
//!
//! It is opened while the daemon may still make files in root's directory and written in place
//! afterwards, always equally long (blanks at the end), so that no reader sees half of one.

use crate::server::Totals;
use roost_proto::error::{Error, Result};
use serde_json::json;
use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

/// How often it is written.
pub const EVERY: Duration = Duration::from_secs(10);
/// Bytes of the file.
const LENGTH: usize = 1024;

/// The file.
#[derive(Debug)]
pub struct StatusFile(File);

impl StatusFile {
    /// Makes it, and its directory. Errors: this user may not.
    pub fn create(path: &Path) -> Result<StatusFile> {
        let failed =
            |e| Error::environment(format!("Cannot write the status '{}': {e}", path.display()));
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(failed)?;
        }
        // A new file: whoever reads the old one reads it to its end, and no link is followed.
        match fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o644).open(path).map(StatusFile).map_err(failed)
    }

    /// Writes the state of now, seconds since 1970. Errors: the disk is full.
    pub fn write(&self, now: i64, address: SocketAddr, totals: &Totals) -> std::io::Result<()> {
        let mut status = totals.report();
        status["time"] = now.into();
        status["pid"] = std::process::id().into();
        status["address"] = json!(address);
        let mut text = status.to_string().into_bytes();
        text.resize(LENGTH.max(text.len() + 1) - 1, b' ');
        text.push(b'\n');
        self.0.write_all_at(&text, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_always_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("status/confd.json");
        let address = "[::]:1814".parse().unwrap();
        let file = StatusFile::create(&path).unwrap();
        let many = Totals { received: u64::MAX, answered: 7, dropped: [u64::MAX; 8] };
        for totals in [many, Totals::default()] {
            file.write(1_700_000_000, address, &totals).unwrap();
            let text = fs::read_to_string(&path).unwrap();
            assert_eq!(text.len(), LENGTH);
            let status: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(status["answered"], totals.answered);
            assert_eq!(status["address"], "[::]:1814");
            assert_eq!(status["dropped"]["magic"], totals.dropped[0]);
        }
        // The next daemon takes over.
        StatusFile::create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
    }
}
