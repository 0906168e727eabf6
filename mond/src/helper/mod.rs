//! The one part of mond that stays root: it does a few fixed pieces of work for the other, which listens
//! to the network and is nobody.
//!
//! ```text
//!   gnt-mond (nobody) ══ orders, outcomes ══► gnt-mond helper ══► gnt-mond helper --worker ─► lvs, xl, files
//!     the network       a socket pair          keeps a worker      does the work
//! ```
//!
//! If mond ends, the others see it and end, too. A worker that dies is replaced ([`keeper`]). Where mond is not
//! started as root there is no helper: it tries the work itself, and reports what it may not do.

mod frames;
mod keeper;
mod rights;
mod work;
mod worker;

use crate::exec::{Command, Ourselves};
use frames::{Frame, Order, Outcome};
use roost_proto::error::{Error, Result};
use roost_proto::paths::Paths;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

/// What the helper does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Output of `lvs` about all volumes, as `collectors::ganeti::lv::COMMAND` has it.
    Volumes,
    /// Until when the certificates of this node are valid: JSON.
    Certificates,
    /// The key with which confd's answers are signed.
    ConfdKey,
    /// Output of `xl list` (the table: what `--long` prints has neither states nor times).
    XenDomains,
    /// Output of `xl uptime`.
    XenUptimes,
    /// Output of `xentop -f -b -i 1`.
    XenTop,
    /// Output of `drbdsetup status --json --verbose --statistics`: DRBD 9.
    DrbdStatus,
}

/// Asks the helper. Cheap to clone. The default does the work itself, as far as it may.
#[derive(Clone, Debug, Default)]
pub struct Helper(Option<mpsc::Sender<Wish>>);

/// Somebody wants something done and waits for what comes out.
#[derive(Debug)]
struct Wish {
    task: Task,
    outcome: oneshot::Sender<Result<Vec<u8>>>,
}

impl Helper {
    /// Starts the helper. It has this process's rights: give them up after this. Must be called in a runtime.
    pub fn start(paths: &Paths) -> Result<Helper> {
        let (ours, process) = spawn(paths, &[])?;
        let (sender, wishes) = mpsc::channel(32);
        tokio::spawn(post(ours, wishes, Some(process)));
        Ok(Helper(Some(sender)))
    }

    /// The bytes that came out of a task. Errors: what went wrong, or the helper is gone.
    pub async fn ask(&self, paths: &Paths, task: Task) -> Result<Vec<u8>> {
        let Some(sender) = &self.0 else { return work::run(paths, task).await };
        let gone = || {
            Error::environment(
                "The part of mond that works as root is gone; restart gnt-mond to have it back",
            )
        };
        let (outcome, result) = oneshot::channel();
        sender.send(Wish { task, outcome }).await.map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }
}

/// `gnt-mond helper`: keeps a worker until mond ends. Standard input is the way to mond.
pub async fn run_keeper(paths: Paths) -> Result<()> {
    rights::give_up()?;
    let start = || spawn(&paths, &["--worker"]).map(|(stream, process)| (Some(process), stream));
    keeper::keep(stdin()?, start).await
}

/// `gnt-mond helper --worker`.
pub async fn run_worker(paths: Paths) -> Result<()> {
    rights::give_up()?;
    worker::work(stdin()?, paths).await
}

/// The stream that standard input and output are.
fn stdin() -> Result<UnixStream> {
    let wrong =
        |e| Error::wrong_input(format!("This is started by gnt-mond itself, with a socket: {e}"));
    let fd = std::io::stdin().as_fd().try_clone_to_owned().map_err(wrong)?;
    let stream = StdUnixStream::from(fd);
    stream.peer_addr().map_err(wrong)?;
    stream.set_nonblocking(true).map_err(wrong)?;
    UnixStream::from_std(stream).map_err(wrong)
}

/// Starts `gnt-mond helper`.
fn spawn(paths: &Paths, options: &[&str]) -> Result<(UnixStream, Ourselves)> {
    let failed = |e: std::io::Error| Error::environment(format!("Cannot make a socket: {e}"));
    let (ours, theirs) = StdUnixStream::pair().map_err(failed)?;
    ours.set_nonblocking(true).map_err(failed)?;
    let output: OwnedFd = theirs.try_clone().map_err(failed)?.into();
    let mut args: Vec<OsString> = vec!["helper".into(), "--rootdir".into()];
    args.push(paths.absolute("/").into());
    args.extend(options.iter().map(OsString::from));
    let process = Command::spawn_ourselves(&args, theirs.into(), output)?;
    Ok((UnixStream::from_std(ours).map_err(failed)?, process))
}

/// Takes wishes to the helper and outcomes back, until it is gone.
async fn post(stream: UnixStream, mut wishes: mpsc::Receiver<Wish>, process: Option<Ourselves>) {
    let (mut from, mut to) = stream.into_split();
    let (sender, mut outcomes) = mpsc::channel(4);
    tokio::spawn(async move {
        while let Ok(Some(frame)) = Frame::<Outcome>::read(&mut from).await {
            if sender.send(frame).await.is_err() {
                break;
            }
        }
    });
    let mut waiting: HashMap<u64, oneshot::Sender<Result<Vec<u8>>>> = HashMap::new();
    for id in 0.. {
        tokio::select! {
            wish = wishes.recv() => {
                let Some(Wish { task, outcome }) = wish else { break };
                // Whoever has given up is not waited for.
                waiting.retain(|_, outcome| !outcome.is_closed());
                waiting.insert(id, outcome);
                if Frame::of(Order { id, task }).write(&mut to).await.is_err() {
                    break;
                }
            }
            frame = outcomes.recv() => {
                let Some(Frame { head, body }) = frame else { break };
                if let Some(outcome) = waiting.remove(&head.id) {
                    let _ = outcome.send(head.error.map_or(Ok(body), Err));
                }
            }
        }
    }
    if let Some(mut process) = process {
        tracing::error!(
            "the helper {}: what only root may see is not reported",
            process.end().await
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn outcomes_find_who_asked_and_a_helper_that_is_gone_is_an_error() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (sender, wishes) = mpsc::channel(32);
        tokio::spawn(post(ours, wishes, None));
        let helper = Helper(Some(sender));
        let paths = Paths::new(None);
        let both = async {
            tokio::join!(helper.ask(&paths, Task::Volumes), helper.ask(&paths, Task::XenTop))
        };
        let serve = async {
            let one = Frame::<Order>::read(&mut theirs).await.unwrap().unwrap().head;
            let two = Frame::<Order>::read(&mut theirs).await.unwrap().unwrap().head;
            for order in [two, one] {
                let error = (order.task == Task::XenTop).then(|| Error::environment("no Xen"));
                let body = b"volumes".to_vec();
                let outcome = Frame { head: Outcome { id: order.id, error }, body };
                outcome.write(&mut theirs).await.unwrap();
            }
        };
        let ((volumes, xen), ()) = tokio::join!(both, serve);
        assert_eq!(volumes.unwrap(), b"volumes");
        assert_eq!(xen.unwrap_err().message, "no Xen");
        drop(theirs);
        let error = helper.ask(&paths, Task::Volumes).await.unwrap_err();
        assert!(error.message.contains("is gone"), "{error}");
    }
}
