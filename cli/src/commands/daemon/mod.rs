//! `daemon-util`, `gnt daemon`: the daemons on this machine.
//!
//! Under systemd they are its units. Elsewhere (containers, several nodes on one machine) they are
//! started in sessions of their own, with Ganeti's pid and log files.

mod process;
mod start;
mod start_all;
mod status;
mod stop;
mod stop_all;

pub(crate) use process::{Daemon, identity, start_daemon, start_watchers, stop_daemon};

use crate::verb::{Entry, entry};

/// Its commands.
pub const VERBS: &[Entry] = &[
    entry::<start::CheckAndStart>(),
    entry::<start::Restart>(),
    entry::<start::Start>(),
    entry::<start_all::StartAll>(),
    entry::<status::Status>(),
    entry::<stop::Stop>(),
    entry::<stop_all::StopAll>(),
];
