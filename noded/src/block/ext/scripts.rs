//! Runs a provider's scripts with this program's one way to run commands.

use crate::exec::Command;
use roost_extstorage::{End, Ended, Exec, Job};
use roost_proto::error::Result;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

/// noded's way to run programs.
#[derive(Clone, Debug, Default)]
pub struct Noded {
    /// Where a script is noted while it runs.
    pub note: Option<PathBuf>,
}

impl Exec for Noded {
    async fn run(&self, job: Job) -> Result<Ended> {
        let Job { program, args, dir, env, deadline, log } = job;
        let command = Command::new(program).args(args).dir(dir).envs(env).deadline(deadline);
        let command = match &self.note {
            Some(note) => command.noted(note),
            None => command,
        };
        let (end, stdout) = match log {
            Some(log) => (command.log(log).run().await?, vec![]),
            None => command.run_apart().await?,
        };
        let how = match end.status {
            None => End::Deadline(deadline),
            Some(status) => match status.signal() {
                Some(signal) => End::Signal(signal),
                None => End::Exit(end.code),
            },
        };
        Ok(Ended { end: how, stdout, stderr: end.output })
    }
}
