//! The one part of mond that stays root: it does a few fixed pieces of work for the other, which listens
//! to the network and is nobody.

use roost_proto::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// What the helper does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Output of `lvs` about all volumes, as `collectors::ganeti::lv::COMMAND` has it.
    Volumes,
    /// Until when the certificates of this node are valid: JSON.
    Certificates,
    /// Output of `xl list` (the table: what `--long` prints has neither states nor times).
    XenDomains,
    /// Output of `xl uptime`.
    XenUptimes,
    /// Output of `xentop -f -b -i 1`.
    XenTop,
    /// Output of `drbdsetup status --json --verbose --statistics`: DRBD 9.
    DrbdStatus,
}

/// Asks the helper. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Helper {}

impl Helper {
    /// The bytes that came out of a task. Errors: what went wrong, or the helper is gone.
    pub async fn ask(&self, task: Task) -> Result<Vec<u8>> {
        Err(Error::environment(format!("nobody does {task:?} yet")))
    }
}
