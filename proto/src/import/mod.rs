//! Configurations from elsewhere: Ganeti's `config.data`, and backups of our own.
//!
//! ```text
//!   config.data ─► upgrade ─► read ─► references ─► support ─► ConfigData
//!   (JSON)         older      types,   who names     what we    and a Report: what was
//!                  layouts    unknown  whom          cannot     understood, what stops it,
//!                             keys                   run        what differs, what to do next
//! ```
//!
//! Nothing here touches a machine. Whatever the file says, there is an answer: a configuration that
//! holds together, or problems that each name the object and what is wrong with it.

mod backup;
mod keys;
mod read;
mod references;
mod report;
mod settings;
mod strict;
mod support;
#[cfg(test)]
mod tests;
mod upgrade;

pub use backup::{BACKUP_FORMAT, Backup, Document, KEPT_FILES, KeptFiles};
pub use report::{Counts, Report};
pub use settings::{BackupImport, GanetiImport, ImportSpec};
pub use strict::{strict, strict_object};

use crate::objects::ConfigData;
use serde_json::Value;

/// Reads a `config.data`. The configuration is there if nothing in the report stops it; what is
/// merely unsupported does not.
pub fn understand(file: &Value) -> (Option<ConfigData>, Report) {
    let mut report = Report::default();
    let Some(release) = upgrade::release(file, &mut report) else { return (None, report) };
    let mut file = file.clone();
    upgrade::upgrade(&mut file, release, &mut report);
    let Some(config) = read::read(&file, &mut report) else { return (None, report) };
    references::check(&config, &mut report);
    support::check(&config, &mut report);
    report.describe(&config);
    let good = report.problems.is_empty();
    (good.then_some(config), report)
}
