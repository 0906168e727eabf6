//! The script that takes an import: fed over one connection or several, as long as it runs.

use crate::block::{Work, attachments};
use crate::exec::{Pipes, Running};
use crate::os::{self, Transfer};
use roost_proto::error::{Error, Result};
use roost_proto::node::ExportScripts;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lines of a failed script's log that the error repeats.
const LAST: usize = 20;

/// A script at work. Dropped, it is killed.
#[derive(Debug)]
pub struct Import {
    /// Which disk it is for.
    pub part: usize,
    input: Input,
    running: Running,
    what: String,
}

/// What goes into a script.
#[derive(Clone, Debug)]
pub struct Input {
    pipe: Arc<File>,
    /// Bytes that went in.
    fed: Arc<AtomicU64>,
}

impl Input {
    /// Writes behind what went in before. Blocks while the script does not read.
    pub fn write(&mut self, data: &[u8]) -> std::io::Result<()> {
        std::io::Write::write_all(&mut &*self.pipe, data)?;
        self.fed.fetch_add(data.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Bytes that went in.
    pub fn fed(&self) -> u64 {
        self.fed.load(Ordering::Relaxed)
    }
}

impl Import {
    /// Starts the script for a disk.
    pub async fn start(scripts: &ExportScripts, part: usize, work: &Work) -> Result<Import> {
        let disks = attachments(&scripts.guest.disks, work).await?;
        let device = disks
            .get(part)
            .cloned()
            .ok_or_else(|| Error::internal(format!("{} has no disk {part}", scripts.guest.name)))?;
        let transfer = Transfer { scripts, disks, index: part, device: &device };
        let (command, log) = os::import(&work.paths, &transfer).await?;
        let (reader, writer) = std::io::pipe()
            .map_err(|e| Error::environment(format!("Cannot make a pipe for the import: {e}")))?;
        let pipes = Pipes { stdin: Some(reader.into()), stdout: None };
        let running = command.start(pipes)?;
        let pipe = Arc::new(File::from(OwnedFd::from(writer)));
        let input = Input { pipe, fed: Arc::default() };
        let what = format!(
            "The script 'import' of OS '{}' for disk {part} of instance {} (its log is '{}')",
            scripts.guest.os,
            scripts.guest.name,
            log.display()
        );
        Ok(Import { part, input, running, what })
    }

    /// By which it is fed.
    pub fn input(&self) -> Input {
        self.input.clone()
    }

    /// It gets nothing more: waits for its end.
    pub async fn end(self) -> Result<()> {
        let Import { input, running, what, .. } = self;
        drop(input);
        let end = running.end().await?;
        if end.ok() {
            return Ok(());
        }
        Err(Error::exec(format!("{what} {}:\n{}", end.end, end.last_lines(LAST))))
    }
}
