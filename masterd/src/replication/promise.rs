//! The promise of this machine's copy, kept in a file of its own: it must survive a database that
//! is lost or replaced.

use crate::failpoint::{self, Place};
use crate::files;
use roost_proto::error::{Error, Result};
use roost_proto::ids::Epoch;
use roost_proto::paths::Paths;
use std::path::PathBuf;

/// The highest epoch promised; what it says is also in the file.
#[derive(Debug)]
pub struct Promise {
    file: PathBuf,
    epoch: Epoch,
}

impl Promise {
    /// What was promised before.
    pub fn load(paths: &Paths) -> Result<Promise> {
        let file = paths.data_dir().join("promised-epoch");
        let epoch = match std::fs::read_to_string(&file) {
            Ok(text) => text.trim().parse().map_err(|e| {
                Error::environment(format!(
                    "The epoch in '{}' is damaged: {e}; write the cluster's epoch into it",
                    file.display()
                ))
            })?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => 0,
            Err(e) => {
                return Err(Error::environment(format!("Cannot read '{}': {e}", file.display())));
            }
        };
        Ok(Promise { file, epoch: Epoch(epoch) })
    }

    /// The highest epoch promised.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Durable when it returns.
    pub fn raise(&mut self, epoch: Epoch) -> Result<()> {
        if epoch > self.epoch {
            files::write(&self.file, format!("{epoch}\n").as_bytes(), 0o600)?;
            self.epoch = epoch;
            failpoint::hit(Place::PromiseWritten);
        }
        Ok(())
    }
}
