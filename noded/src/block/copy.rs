//! Copies disks to another node, through a stream between the two nodeds.
//!
//! ```text
//!   source                                    target
//!   begin: which disk, how long      ───▶     emptied, made that long
//!   piece: offset, data              ───▶     written
//!   end: SHA-256 of all pieces       ───▶     synced, checked
//!                                    ◀───     good, or failed: nothing more comes
//! ```
//!
//! Holes are not sent. A copy that broke is begun anew: the target empties the disk first.

use super::sparse;
use crate::credentials::hex;
use crate::steps::Reporter;
use roost_proto::error::{Error, Result};
use roost_proto::ids::InstanceId;
use roost_proto::node::Progress;
use roost_proto::rpc::node::copy_data::Data;
use roost_proto::rpc::node::copy_reply::Reply;
use roost_proto::rpc::node::{CopyBegin, CopyData, CopyPiece, CopyReply, node_client};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;
use tonic::transport::Channel;

/// Data in one piece, bytes.
const CHUNK: usize = 1 << 20;
/// Messages on the way between reading and sending.
const AHEAD: usize = 4;

/// Disks that may be written over, by the token that allows it.
#[derive(Debug, Default)]
pub struct Receivers(Mutex<HashMap<String, Receiving>>);

#[derive(Debug)]
struct Receiving {
    instance: InstanceId,
    targets: Vec<PathBuf>,
}

impl Receivers {
    /// Allows it. A token given before for the same instance is void.
    pub fn allow(&self, token: String, instance: InstanceId, targets: Vec<PathBuf>) {
        let mut all = self.lock();
        all.retain(|_, r| r.instance != instance);
        all.insert(token, Receiving { instance, targets });
    }

    /// The instance's disks are used otherwise now.
    pub fn end(&self, instance: InstanceId) {
        self.lock().retain(|_, r| r.instance != instance);
    }

    fn targets(&self, token: &str) -> Result<Vec<PathBuf>> {
        self.lock()
            .get(token)
            .map(|r| r.targets.clone())
            .ok_or_else(|| Error::wrong_state("No copy of disks is awaited here under this token"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Receiving>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

fn message(data: Data) -> CopyData {
    CopyData { data: Some(data) }
}

/// What of a disk was said: the digest covers where every piece of data is.
#[derive(Default)]
struct Digester(Sha256);

impl Digester {
    fn add(&mut self, offset: u64, data: &[u8]) {
        self.0.update(offset.to_be_bytes());
        self.0.update((data.len() as u64).to_be_bytes());
        self.0.update(data);
    }

    fn finish(&mut self) -> String {
        hex(std::mem::take(&mut self.0).finalize())
    }
}

/// Sends the files to the disks that the node at the other end awaits under `token`, in order.
pub async fn send(
    channel: Channel,
    token: String,
    files: Vec<PathBuf>,
    reporter: Reporter,
) -> Result<()> {
    let lost = |e: &dyn std::fmt::Display| {
        Error::exec(format!("The connection to the target node broke: {e}"))
    };
    let (sender, receiver) = mpsc::channel(AHEAD);
    sender.send(message(Data::Token(token))).await.map_err(|e| lost(&e))?;
    let count = files.len();
    let reading =
        tokio::task::spawn_blocking(move || read_all(&files, &sender, &mut Meter::new(reporter)));
    let mut answers = node_client::NodeClient::new(channel)
        .copy(ReceiverStream::new(receiver))
        .await
        .map_err(|status| Error::exec(format!("The target node refused: {}", status.message())))?
        .into_inner();
    let mut good = 0;
    while let Some(answer) = answers.next().await {
        match answer.map_err(|e| lost(&e.message()))?.reply {
            Some(Reply::Good(_)) => good += 1,
            Some(Reply::Failed(json)) => {
                let error = serde_json::from_str(&json).unwrap_or_else(|_| Error::exec(json));
                return Err(error.at("on the target node"));
            }
            None => {}
        }
    }
    reading.await.map_err(|e| Error::internal(e.to_string()))??;
    if good == count {
        return Ok(());
    }
    Err(lost(&format!("it confirmed {good} of {count} disks")))
}

/// Tells how far a copy is.
struct Meter {
    reporter: Reporter,
    total: u64,
    done: u64,
    start: Instant,
    told: Instant,
}

impl Meter {
    fn new(reporter: Reporter) -> Meter {
        let now = Instant::now();
        Meter { reporter, total: 0, done: 0, start: now, told: now }
    }

    fn add(&mut self, bytes: usize) {
        self.done += bytes as u64;
        if self.told.elapsed().as_secs() < 1 {
            return;
        }
        self.told = Instant::now();
        let rate = self.done as f64 / self.start.elapsed().as_secs_f64();
        self.reporter.progress(Progress {
            percent: Some(100.0 * self.done as f64 / self.total.max(1) as f64),
            rate: Some(rate),
            eta: Some(self.total.saturating_sub(self.done) as f64 / rate.max(1.0)),
            message: None,
        });
    }
}

fn read_all(files: &[PathBuf], sender: &mpsc::Sender<CopyData>, meter: &mut Meter) -> Result<()> {
    let mut opened = vec![];
    for path in files {
        let open = || -> std::io::Result<_> {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            let extents = sparse::extents(&file, length)?;
            Ok((file, length, extents))
        };
        let one = open()
            .map_err(|e| Error::exec(format!("Cannot read the disk '{}': {e}", path.display())))?;
        meter.total += one.2.iter().map(|(_, length)| length).sum::<u64>();
        opened.push(one);
    }
    let mut buffer = vec![0; CHUNK];
    for (index, (file, length, extents)) in (0..).zip(opened) {
        // That the other side has gone is seen, and told better, by whoever reads its answers.
        let put = |data| sender.blocking_send(message(data)).is_ok();
        if !put(Data::Begin(CopyBegin { index, length })) {
            return Ok(());
        }
        let mut digest = Digester::default();
        for (start, size) in extents {
            let mut at = start;
            while at < start + size {
                let n = buffer.len().min(usize::try_from(start + size - at).unwrap_or(CHUNK));
                file.read_exact_at(&mut buffer[..n], at).map_err(|e| {
                    Error::exec(format!(
                        "Cannot read the disk '{}': {e}",
                        files[index as usize].display()
                    ))
                })?;
                digest.add(at, &buffer[..n]);
                if !put(Data::Piece(CopyPiece { offset: at, data: buffer[..n].to_vec() })) {
                    return Ok(());
                }
                meter.add(n);
                at += n as u64;
            }
        }
        if !put(Data::End(digest.finish())) {
            return Ok(());
        }
    }
    Ok(())
}

/// Takes a copy from another node, which has given `token`; `incoming` is the rest of its stream.
/// What comes out is sent back.
pub fn receive<S>(
    receivers: &Receivers,
    token: &str,
    mut incoming: S,
) -> Result<ReceiverStream<std::result::Result<CopyReply, Status>>>
where
    S: Stream<Item = std::result::Result<CopyData, Status>> + Send + Unpin + 'static,
{
    let mut writer = Writer { targets: receivers.targets(token)?, at: None };
    let (pieces, mut waiting) = mpsc::channel(AHEAD);
    let (answers, outgoing) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        while let Some(Ok(CopyData { data: Some(data) })) = incoming.next().await {
            if pieces.send(data).await.is_err() {
                return;
            }
        }
    });
    tokio::task::spawn_blocking(move || {
        while let Some(data) = waiting.blocking_recv() {
            let (reply, last) = match writer.take(data) {
                Ok(None) => continue,
                Ok(Some(index)) => (Reply::Good(index), false),
                Err(e) => (Reply::Failed(serde_json::to_string(&e).expect("plain data")), true),
            };
            let reply = CopyReply { reply: Some(reply) };
            if answers.blocking_send(Ok(reply)).is_err() || last {
                return;
            }
        }
    });
    Ok(ReceiverStream::new(outgoing))
}

/// Writes what arrives.
struct Writer {
    targets: Vec<PathBuf>,
    at: Option<Target>,
}

struct Target {
    index: u32,
    path: PathBuf,
    file: File,
    length: u64,
    digest: Digester,
}

impl Writer {
    /// Takes one message; tells which disk it made complete.
    fn take(&mut self, data: Data) -> Result<Option<u32>> {
        let disorder = || Error::internal("The parts of a copy came in disorder");
        match data {
            Data::Begin(begin) => {
                let path = self.targets.get(begin.index as usize).ok_or_else(disorder)?;
                self.at = Some(Target::open(path, &begin)?);
                Ok(None)
            }
            Data::Piece(piece) => {
                let target = self.at.as_mut().ok_or_else(disorder)?;
                target.write(piece.offset, &piece.data).map(|()| None)
            }
            Data::End(digest) => self.at.take().ok_or_else(disorder)?.finish(&digest).map(Some),
            Data::Token(_) => Err(disorder()),
        }
    }
}

impl Target {
    fn open(path: &Path, begin: &CopyBegin) -> Result<Target> {
        let CopyBegin { index, length } = *begin;
        let file = OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|file| {
                // Emptied first: what an earlier try left must not show through holes.
                file.set_len(0)?;
                file.set_len(length)?;
                Ok(file)
            })
            .map_err(|e| failed(path, &e))?;
        Ok(Target { index, path: path.to_owned(), file, length, digest: Digester::default() })
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        if offset.saturating_add(data.len() as u64) > self.length {
            return Err(failed(&self.path, &"data came for behind its end"));
        }
        self.digest.add(offset, data);
        self.file.write_all_at(data, offset).map_err(|e| failed(&self.path, &e))
    }

    fn finish(mut self, digest: &str) -> Result<u32> {
        self.file.sync_all().map_err(|e| failed(&self.path, &e))?;
        let length = self.file.metadata().map_err(|e| failed(&self.path, &e))?.len();
        if length != self.length || self.digest.finish() != digest {
            return Err(failed(&self.path, &"it is not what was sent"));
        }
        Ok(self.index)
    }
}

fn failed(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::exec(format!("Cannot write the disk '{}': {why}", path.display()))
}
