//! Carries out the steps of exports and imports.
//!
//! ```text
//!   instance's node                                the node that keeps it
//!                                         Receive: <name>.new/
//!   Send: script `export` ══ TLS ═════════════════► dumps
//!                                         Finish: config.ini, <name>/
//!
//!   new instance's node
//!   Accept: awaits dumps                  SendDumps
//!           script `import` ◄═══════ TLS ══════════ dumps
//! ```

use super::directory;
use crate::block::copy::{
    Awaited, Feed, Held, Meter, Packing, Part, Patience, Sending, To, file_part, say_limit,
};
use crate::block::{Device, Work, attachments};
use crate::blocking::blocking;
use crate::exec::{Pipes, Running};
use crate::host::Host;
use crate::hypervisor::Attachment;
use crate::os::{self, Transfer};
use crate::steps::Reporter;
use roost_proto::error::{Error, Result};
use roost_proto::node::{ExportAction, ExportScripts, Outcome};
use roost_proto::objects::{Disk, DiskMode};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// Lines of a failed script's log that the error repeats.
const LAST: usize = 20;
/// The longest line in which a script says how much it will write, bytes.
const SIZE_LINE: u64 = 64;

/// Does it.
pub async fn perform(host: &Arc<Host>, action: ExportAction, work: &Work) -> Result<Outcome> {
    match action {
        ExportAction::Receive { name, dumps, token } => {
            let (paths, wanted) = (host.paths.clone(), dumps.clone());
            let about = about(&name);
            let named = name.to_string();
            let dir = blocking(move || directory::begin(&paths, &named, &wanted)).await?;
            host.receivers.allow(&token, &about, Awaited::Files { dir, names: dumps })?;
            Ok(Outcome::default())
        }
        ExportAction::Send { scripts, disks, target, address, token, compress } => {
            let to = To::Node { node: target, address };
            let to = if target == host.identity.node { To::Here } else { to };
            let sending = sending(host, to, token, &compress)?;
            export(&sending, &scripts, &disks, work).await?;
            Ok(Outcome::default())
        }
        ExportAction::Finish { name, config } => {
            host.receivers.end(about(&name));
            let paths = host.paths.clone();
            blocking(move || {
                directory::finish(&paths, &name, &config)?;
                Ok(changed(directory::list(&paths)))
            })
            .await
        }
        ExportAction::Settle { name } => {
            let paths = host.paths.clone();
            blocking(move || directory::settle(&paths, &name)).await?;
            Ok(Outcome::default())
        }
        ExportAction::Remove { name, unfinished } => {
            host.receivers.end(about(&name));
            let paths = host.paths.clone();
            blocking(move || {
                directory::remove(&paths, &name, unfinished)?;
                Ok(changed(directory::list(&paths)))
            })
            .await
        }
        ExportAction::Accept { scripts, token } => {
            os::check_export(&host.paths, &scripts.guest.os).await?;
            let about = scripts.guest.uuid.to_string();
            host.receivers.allow(&token, &about, Awaited::Scripts(scripts))?;
            Ok(Outcome::default())
        }
        ExportAction::SendDumps { path, dumps, target, address, token, compress } => {
            let to = To::Node { node: target, address };
            let to = if target == host.identity.node { To::Here } else { to };
            let sending = sending(host, to, token, &compress)?;
            import(&sending, &path, &dumps, work.reporter.clone()).await?;
            Ok(Outcome::default())
        }
    }
}

/// By which what is awaited for an export is told from what is awaited for an instance.
fn about(name: &str) -> String {
    format!("export {name}")
}

fn changed(exports: Vec<String>) -> Outcome {
    Outcome { exports: Some(exports), ..Outcome::default() }
}

fn sending(host: &Arc<Host>, to: To, token: String, compress: &str) -> Result<Sending> {
    let packing = match to {
        To::Here => Packing::None,
        To::Node { .. } => Packing::of(compress)?,
    };
    Ok(Sending { host: host.clone(), token, to, packing, patience: Patience::default() })
}

/// Where what a script is to read is.
async fn attachment(index: usize, disk: &Disk, work: &Work) -> Result<Attachment> {
    let place = Device::of(disk, work)?.place(work).await?;
    Ok(Attachment {
        index: index as u32,
        uuid: disk.uuid,
        source: place.source,
        format: place.format,
        readonly: disk.mode == DiskMode::Ro,
        shared: place.shared,
    })
}

/// One disk after the other: a script that failed leaves no half dump behind the ones before.
async fn export(
    sending: &Sending,
    scripts: &ExportScripts,
    disks: &[Disk],
    work: &Work,
) -> Result<()> {
    say_limit(&sending.host, &work.reporter);
    for (index, disk) in disks.iter().enumerate() {
        let device = attachment(index, disk, work).await?;
        let all = attachments(&scripts.guest.disks, work).await?;
        let transfer = Transfer { scripts, disks: all, index, device: &device };
        let what = format!(
            "The script 'export' of OS '{}' for disk {index} of instance {}",
            scripts.guest.os, scripts.guest.name
        );
        let (command, log) = os::export(&work.paths, &transfer).await?;
        let script = Script::start(command, what, log)?;
        let meter = Arc::new(Mutex::new(Meter::new(work.reporter.clone(), None)));
        script.run(sending, index, &meter).await.map_err(|e| e.at(format!("disk/{index}")))?;
    }
    Ok(())
}

/// An `export` script at work.
struct Script {
    running: Running,
    held: Arc<Held>,
    /// Where it may say how much it will write.
    size: File,
    what: String,
    log: PathBuf,
}

impl Script {
    fn start(command: crate::exec::Command, what: String, log: PathBuf) -> Result<Script> {
        let pipe = || {
            std::io::pipe()
                .map_err(|e| Error::environment(format!("Cannot make a pipe for an export: {e}")))
        };
        let (size, told) = pipe()?;
        let (output, writer) = pipe()?;
        let pipes = Pipes { stdin: Some(told.into()), stdout: Some(writer.into()) };
        let running = command.start(pipes)?;
        let held = Held::read(File::from(OwnedFd::from(output)));
        Ok(Script { running, held, size: File::from(OwnedFd::from(size)), what, log })
    }

    /// Sends what it writes, to its end.
    async fn run(self, sending: &Sending, index: usize, meter: &Arc<Mutex<Meter>>) -> Result<()> {
        let Script { running, held, size, what, log } = self;
        let foretold = meter.clone();
        tokio::task::spawn_blocking(move || {
            let total = foretold_size(size);
            foretold.lock().unwrap_or_else(|e| e.into_inner()).set_total(total);
        });
        let words = held.clone();
        let ending = async move {
            let end = running.end().await?;
            let end = match end.ok() {
                true => Ok(()),
                false => Err(Error::exec(format!(
                    "{what} {}; the last lines of its log '{}' are:\n{}",
                    end.end,
                    log.display(),
                    end.last_lines(LAST)
                ))),
            };
            words.over(end.clone());
            end
        };
        let feed = Feed::Script(held.clone());
        let mut parts = [Some(Part { feed, length: 0, image: false })];
        let (sent, ended) = {
            let mut ending = std::pin::pin!(ending);
            let mut sent = std::pin::pin!(sending.run(index, &mut parts, true, meter));
            let mut ended = None;
            loop {
                tokio::select! {
                    sent = &mut sent => break (sent, ended),
                    end = &mut ending, if ended.is_none() => ended = Some(end),
                }
            }
        };
        // A script that still runs is killed with `ending`, and so is whoever reads from it.
        held.drop_all();
        match (sent, ended) {
            // What the script says is better than what follows from its failure.
            (_, Some(Err(error))) => Err(error),
            (sent, _) => sent,
        }
    }
}

/// The line a script may write: how many bytes follow elsewhere.
fn foretold_size(pipe: File) -> Option<u64> {
    let mut line = String::new();
    BufReader::new(pipe.take(SIZE_LINE)).read_line(&mut line).ok()?;
    line.trim().parse().ok()
}

async fn import(sending: &Sending, path: &str, dumps: &[String], reporter: Reporter) -> Result<()> {
    let dir = directory::named(&sending.host.paths, path)?;
    let mut parts = Vec::new();
    let mut total = 0;
    for dump in dumps {
        if dump.is_empty() || dump.contains(['/', '\0']) || dump.starts_with('.') {
            return Err(Error::wrong_input(format!("'{dump}' is not the name of a dump")));
        }
        let (part, data) = file_part(&dir.join(dump)).await?;
        total += data;
        parts.push(Some(part));
    }
    say_limit(&sending.host, &reporter);
    let meter = Mutex::new(Meter::new(reporter, Some(total)));
    sending.run(0, &mut parts, false, &meter).await
}
