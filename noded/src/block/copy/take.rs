//! The target's side of a copy: writes what arrives, and says what it keeps.
//!
//! ```text
//!   connection ─► orders ─► worker: unpack, check, write ─► keeper: make durable, remember
//!       ▲                                                      │
//!       └── from ◄── at each begin                kept, good ◄─┘     failed ◄── anything
//! ```

use super::medium::{Access, Keeper, Medium};
use super::pack;
use super::receivers::{Awaited, Entry, Kept, Session};
use super::script::{Import, Input};
use super::{AHEAD, Digester};
use crate::block::{Device, Work, space};
use crate::budget::Budget;
use crate::host::Host;
use crate::steps::Reporter;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::InstanceRef;
use roost_proto::rpc::node::copy_data::Data;
use roost_proto::rpc::node::copy_reply::Reply;
use roost_proto::rpc::node::{CopyBegin, CopyCheck, CopyData, CopyPiece, CopyReply};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

const MIB: u64 = 1 << 20;
/// Zeros for a script, in one piece.
const ZEROS: usize = 256 << 10;

type Answers = mpsc::Sender<std::result::Result<CopyReply, Status>>;

/// Takes a copy that came with `token`; `incoming` is the rest of its connection. What comes of it
/// is sent back. `budget`: what it is taken from, unless the other end, on this node too, does.
pub async fn receive<S>(
    host: Arc<Host>,
    token: &str,
    incoming: S,
    budget: Option<Budget>,
) -> Result<ReceiverStream<std::result::Result<CopyReply, Status>>>
where
    S: Stream<Item = std::result::Result<CopyData, Status>> + Send + Unpin + 'static,
{
    let session = host.receivers.enter(token).await?;
    let (answers, outgoing) = mpsc::channel(AHEAD);
    tokio::spawn(run(host, session, incoming, answers, budget));
    Ok(ReceiverStream::new(outgoing))
}

enum Order {
    Open(Box<Target>),
    Data(Data),
}

async fn run<S>(
    host: Arc<Host>,
    session: Session,
    mut incoming: S,
    answers: Answers,
    budget: Option<Budget>,
) where
    S: Stream<Item = std::result::Result<CopyData, Status>> + Send + Unpin,
{
    let (orders, waiting) = mpsc::channel(AHEAD);
    let worker = Worker {
        entry: session.entry.clone(),
        answers: answers.clone(),
        stop: session.stop.clone(),
        budget,
    };
    let working = tokio::task::spawn_blocking(move || worker.work(waiting));
    let work = async {
        while let Some(Ok(CopyData { data: Some(data) })) = incoming.next().await {
            let order = match data {
                Data::Begin(begin) => match Target::open(&host, &session.entry, begin).await {
                    Ok(target) => {
                        answer(&answers, Reply::From(target.at)).await;
                        Order::Open(Box::new(target))
                    }
                    Err(e) => return answer(&answers, failed(&e)).await,
                },
                other => Order::Data(other),
            };
            if orders.send(order).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = session.stop.cancelled() => {}
    }
    if session.entry.is_over() {
        let why = "The copy was ended here: its disks are used otherwise now";
        answer(&answers, failed(&Error::wrong_state(why))).await;
    }
    drop(orders);
    drop(answers);
    // Only then may another connection write.
    if working.await.is_err() {
        tracing::error!("taking a copy broke off");
    }
}

async fn answer(answers: &Answers, reply: Reply) {
    // That nobody listens any more is seen elsewhere.
    let _ = answers.send(Ok(CopyReply { reply: Some(reply) })).await;
}

fn failed(error: &Error) -> Reply {
    Reply::Failed(serde_json::to_string(error).expect("plain data"))
}

fn disorder() -> Error {
    Error::internal("The parts of a copy came in disorder")
}

/// Where a part goes.
#[derive(Debug)]
enum Sink {
    /// `clean`: what was not written since it was opened reads as zeros.
    Medium {
        medium: Medium,
        clean: bool,
    },
    Script(Input),
    /// It has all of it already.
    Nothing,
}

/// The part at work.
#[derive(Debug)]
struct Target {
    index: usize,
    name: String,
    sink: Sink,
    /// It is as long as its last check says.
    stream: bool,
    /// All before this is written.
    at: u64,
    /// All before this was covered by a check.
    checked: u64,
    digest: Digester,
}

impl Target {
    async fn open(host: &Arc<Host>, entry: &Entry, begin: CopyBegin) -> Result<Target> {
        let index = begin.index as usize;
        let awaited = entry.awaited();
        if index >= awaited.count() {
            return Err(disorder());
        }
        if begin.anew {
            entry.script().take();
            entry.keep(index, Kept::default())?;
        }
        let from = entry.kept(index).bytes;
        let (sink, at) = match &awaited {
            Awaited::Disks { instance, disks } => {
                let work = work(host, Some(instance.clone()));
                let place = Device::of(&disks[index], &work)?.place(&work).await?;
                let medium = Medium::open(&place, Access::Write, begin.image, &host.paths).await?;
                // The file of an image has the length that it has there.
                let least = if begin.image { 0 } else { disks[index].size * MIB };
                (prepared(medium, from, begin.length.max(least))?, from)
            }
            Awaited::Files { dir, names } => {
                let path = dir.join(&names[index]);
                let medium = dump(&path)?;
                medium.set_length(from, from == 0).map_err(|e| unwritable(&medium, &e))?;
                (Sink::Medium { medium, clean: true }, from)
            }
            Awaited::Scripts(scripts) => {
                let reference =
                    InstanceRef { uuid: scripts.guest.uuid, name: scripts.guest.name.clone() };
                let going = entry.script().as_ref().filter(|s| s.part == index).map(Import::input);
                match going {
                    Some(input) => {
                        let fed = input.fed();
                        (Sink::Script(input), fed)
                    }
                    None if entry.kept(index).whole => (Sink::Nothing, from),
                    None => {
                        let work = work(host, Some(reference));
                        let import = Import::start(scripts, index, &work).await?;
                        let input = import.input();
                        *entry.script() = Some(import);
                        (Sink::Script(input), 0)
                    }
                }
            }
        };
        let name = match &sink {
            Sink::Medium { medium, .. } => medium.name().to_owned(),
            Sink::Script(_) | Sink::Nothing => format!("import of disk {index}"),
        };
        let (stream, digest) = (begin.stream, Digester::default());
        Ok(Target { index, name, sink, stream, at, checked: at, digest })
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        if offset < self.at {
            return Err(disorder());
        }
        self.zero_to(offset)?;
        let room = self.room()?;
        if offset + data.len() as u64 > room {
            return Err(too_small(&self.name, room));
        }
        let written = match &mut self.sink {
            Sink::Medium { medium, .. } => medium.write(offset, data),
            Sink::Script(input) => input.write(data),
            Sink::Nothing => Ok(()),
        };
        written.map_err(|e| self.unwritable(&e))?;
        self.at = offset + data.len() as u64;
        Ok(())
    }

    /// Bytes that a device has; everything else takes what comes.
    fn room(&self) -> Result<u64> {
        match &self.sink {
            Sink::Medium { medium, .. } if !medium.is_file() => {
                medium.length().map_err(|e| self.unwritable(&e))
            }
            _ => Ok(u64::MAX),
        }
    }

    /// What lies before `offset` and was not written is zero.
    fn zero_to(&mut self, offset: u64) -> Result<()> {
        let (from, length) = (self.at, offset.saturating_sub(self.at));
        if length == 0 {
            return Ok(());
        }
        let done = match &mut self.sink {
            Sink::Medium { clean: true, .. } | Sink::Nothing => Ok(()),
            Sink::Medium { medium, .. } => {
                // Zeros behind the end of a device that is smaller are none that are missed.
                let room = medium.length().unwrap_or(offset);
                medium.zero(from, offset.min(room).saturating_sub(from))
            }
            Sink::Script(input) => feed_zeros(input, length),
        };
        done.map_err(|e| self.unwritable(&e))?;
        self.at = offset;
        Ok(())
    }

    fn check(&mut self, check: &CopyCheck) -> Result<()> {
        let digest = self.digest.finish();
        if check.digest.is_empty() || check.digest == digest {
            return self.zero_to(check.offset);
        }
        Err(Error::exec(format!(
            "'{}' did not become what was sent: it was changed on the way; \
             try again",
            self.name
        )))
    }

    /// All has come: what is behind it is zero, too, or is not there.
    fn end(&mut self, check: &CopyCheck) -> Result<()> {
        self.check(check)?;
        let stream = self.stream;
        match &mut self.sink {
            Sink::Medium { medium, .. } if stream => {
                let set = medium.set_length(check.offset, false);
                set.map_err(|e| self.unwritable(&e))
            }
            Sink::Medium { medium, .. } if !medium.is_file() => {
                let room = self.room()?;
                let at = self.at;
                self.zero_to(room)?;
                self.at = at;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn unwritable(&self, why: &io::Error) -> Error {
        match &self.sink {
            Sink::Medium { medium, .. } => unwritable(medium, why),
            Sink::Script(_) | Sink::Nothing => {
                Error::exec(format!("The {} takes no more: {why}", self.name))
            }
        }
    }
}

/// A disk, ready to be written over from a place on.
fn prepared(medium: Medium, from: u64, length: u64) -> Result<Sink> {
    // What an earlier try left must not show through holes.
    medium.set_length(length, from == 0).map_err(|e| unwritable(&medium, &e))?;
    let clean = from == 0 && medium.is_file();
    Ok(Sink::Medium { medium, clean })
}

fn dump(path: &Path) -> Result<Medium> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map(|file| Medium::of(file, path.to_string_lossy()))
        .map_err(|e| Error::exec(format!("Cannot write the dump '{}': {e}", path.display())))
}

fn feed_zeros(input: &mut Input, length: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS];
    let mut left = length;
    while left > 0 {
        let n = zeros.len().min(usize::try_from(left).unwrap_or(ZEROS));
        input.write(&zeros[..n])?;
        left -= n as u64;
    }
    Ok(())
}

fn too_small(name: &str, room: u64) -> Error {
    Error::exec(format!(
        "'{name}' has {} MiB, and the disk that is copied has data behind that; make its recorded \
         size true with 'gnt-cluster repair-disk-sizes' and try again",
        room / MIB
    ))
}

fn unwritable(medium: &Medium, why: &io::Error) -> Error {
    let name = medium.name();
    if why.kind() == io::ErrorKind::StorageFull {
        let free = space(Path::new(name)).map_or(0, |(_, free)| free);
        return Error::resources(format!(
            "Cannot write '{name}': there is no room left where it is ({free} MiB are free); make \
             room there and try again"
        ));
    }
    Error::exec(format!("Cannot write '{name}': {why}"))
}

fn work(host: &Host, instance: Option<InstanceRef>) -> Work {
    super::work(host, instance, Reporter::silent())
}

/// Writes on a thread of its own.
struct Worker {
    entry: Arc<Entry>,
    answers: Answers,
    stop: tokio_util::sync::CancellationToken,
    budget: Option<Budget>,
}

/// To be made durable: the part, from where to where, all of it.
type ToKeep = (Keeper, usize, u64, u64, bool);

impl Worker {
    fn work(self, orders: mpsc::Receiver<Order>) {
        let (to_keep, waiting) = sync_channel(2);
        std::thread::scope(|scope| {
            scope.spawn(|| self.keep(waiting));
            if let Err(error) = self.take(orders, to_keep) {
                self.tell(failed(&error));
            }
        });
    }

    fn tell(&self, reply: Reply) -> bool {
        self.answers.blocking_send(Ok(CopyReply { reply: Some(reply) })).is_ok()
    }

    fn take(&self, mut orders: mpsc::Receiver<Order>, to_keep: SyncSender<ToKeep>) -> Result<()> {
        let mut target: Option<Box<Target>> = None;
        while let Some(order) = orders.blocking_recv() {
            if self.stop.is_cancelled() {
                return Ok(());
            }
            let going = match order {
                Order::Open(opened) => {
                    target = Some(opened);
                    true
                }
                Order::Data(Data::Piece(piece)) => {
                    let target = target.as_mut().ok_or_else(disorder)?;
                    self.piece(target, piece)?;
                    true
                }
                Order::Data(Data::Check(check)) => {
                    let target = target.as_mut().ok_or_else(disorder)?;
                    target.check(&check)?;
                    self.checked(target, &to_keep)?
                }
                Order::Data(Data::End(check)) => {
                    let mut target = target.take().ok_or_else(disorder)?;
                    target.end(&check)?;
                    self.ended(*target, &to_keep)?
                }
                Order::Data(Data::Token(_) | Data::Begin(_)) => return Err(disorder()),
            };
            if !going {
                // Whoever keeps has told why it cannot.
                return Ok(());
            }
        }
        Ok(())
    }

    fn piece(&self, target: &mut Target, piece: CopyPiece) -> Result<()> {
        let CopyPiece { offset, data, packed, length } = piece;
        let data = pack::unpack(&packed, data, length as usize)
            .map_err(|e| Error::exec(format!("'{}': {e}", target.name)))?;
        if let Some(budget) = &self.budget {
            budget.take(data.len() as u64, || !self.stop.is_cancelled());
        }
        target.digest.add(offset, &data);
        target.write(offset, &data)
    }

    fn checked(&self, target: &mut Target, to_keep: &SyncSender<ToKeep>) -> Result<bool> {
        let (from, to) = (std::mem::replace(&mut target.checked, target.at), target.at);
        match &mut target.sink {
            Sink::Medium { medium, .. } => {
                let keeper = medium.keeper().map_err(|e| unwritable(medium, &e))?;
                Ok(to_keep.send((keeper, target.index, from, to, false)).is_ok())
            }
            Sink::Script(_) | Sink::Nothing => Ok(self.tell(Reply::Kept(to))),
        }
    }

    fn ended(&self, target: Target, to_keep: &SyncSender<ToKeep>) -> Result<bool> {
        let Target { index, at, checked, sink, .. } = target;
        match sink {
            Sink::Medium { mut medium, .. } => {
                let keeper = medium.keeper().map_err(|e| unwritable(&medium, &e))?;
                tokio::runtime::Handle::current().block_on(medium.close());
                Ok(to_keep.send((keeper, index, checked, at, true)).is_ok())
            }
            Sink::Script(input) => {
                drop(input);
                let script = self.entry.script().take();
                if let Some(script) = script {
                    let end = self.entry.unless_over(script.end());
                    tokio::runtime::Handle::current().block_on(end)?;
                }
                self.entry.keep(index, Kept { bytes: at, whole: true })?;
                Ok(self.tell(Reply::Good(index as u32)))
            }
            Sink::Nothing => Ok(self.tell(Reply::Good(index as u32))),
        }
    }

    /// Makes durable, then remembers, then says so.
    fn keep(&self, waiting: Receiver<ToKeep>) {
        for (keeper, index, from, to, whole) in waiting {
            let kept = keeper
                .keep(from, to)
                .map_err(|e| Error::exec(format!("Cannot make durable what was written: {e}")))
                .and_then(|()| self.entry.keep(index, Kept { bytes: to, whole }));
            let told = match kept {
                Ok(()) if whole => self.tell(Reply::Good(index as u32)),
                Ok(()) => self.tell(Reply::Kept(to)),
                Err(error) => {
                    self.tell(failed(&error));
                    false
                }
            };
            if !told {
                return;
            }
        }
    }
}

/// The name of a node, for people.
pub(super) fn node_name(host: &Host, node: NodeId) -> String {
    let uuid = node.to_string();
    let known = crate::ssconf::lines(&host.paths, crate::peer::MEMBERS);
    let name = known.iter().find_map(|line| line.strip_prefix(&uuid)?.strip_prefix(' '));
    name.map_or(uuid.clone(), str::to_owned)
}
