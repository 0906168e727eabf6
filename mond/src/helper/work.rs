//! The pieces of work: each is one command or one look at files, fixed here. Nothing of what is run comes from
//! whoever asks.

use super::Task;
use crate::certificates;
use crate::collectors::ganeti::lv;
use crate::exec::Command;
use roost_proto::error::{Error, Result};
use roost_proto::paths::Paths;
use std::time::Duration;

/// No command takes longer.
const DEADLINE: Duration = Duration::from_secs(20);

/// Does a piece of work. Returns what came out; errors: why nothing did.
pub async fn run(paths: &Paths, task: Task) -> Result<Vec<u8>> {
    match task {
        Task::Certificates => serde_json::to_vec(&certificates::look(paths))
            .map_err(|e| Error::internal(format!("The certificates cannot be written: {e}"))),
        Task::ConfdKey => {
            let path = paths.secret(roost_proto::secrets::SecretFile::ConfdHmacKey);
            std::fs::read(&path).map_err(|e| {
                Error::environment(format!("Cannot read the key '{}': {e}", path.display()))
            })
        }
        Task::Volumes => command(&lv::COMMAND).await,
        Task::XenDomains => command(&["xl", "list"]).await,
        Task::XenUptimes => command(&["xl", "uptime"]).await,
        Task::XenTop => command(&["xentop", "-f", "-b", "-i", "1"]).await,
        Task::DrbdStatus => {
            command(&["drbdsetup", "status", "--json", "--verbose", "--statistics"]).await
        }
    }
}

/// The output of a command: its program and arguments.
async fn command(words: &[&str]) -> Result<Vec<u8>> {
    let Some((program, args)) = words.split_first() else {
        return Err(Error::internal("A command has no words"));
    };
    Command::new(program).args(args.iter().copied()).deadline(DEADLINE).run_ok().await
}
