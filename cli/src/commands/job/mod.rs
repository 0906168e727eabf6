//! `gnt-job`.

mod archive;
mod autoarchive;
mod cancel;
mod change_priority;
mod info;
mod list;
mod selected;
mod wait;
mod watch;

use crate::verb::{Entry, entry};

/// Its commands.
pub const VERBS: &[Entry] = &[
    entry::<archive::Archive>(),
    entry::<autoarchive::Autoarchive>(),
    entry::<cancel::Cancel>(),
    entry::<change_priority::ChangePriority>(),
    entry::<info::Info>(),
    entry::<list::List>(),
    entry::<list::ListFields>(),
    entry::<wait::Wait>(),
    entry::<watch::Watch>(),
];

use roost_proto::error::{Error, Result};
use roost_proto::ids::JobId;

/// A job's number, from the command line.
fn job_id(text: &str) -> Result<JobId> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(JobId(number)),
        _ => Err(Error::wrong_input(format!("Invalid job ID '{text}': it is a number from 1"))),
    }
}
