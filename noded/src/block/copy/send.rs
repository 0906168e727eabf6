//! The source's side of a copy: one connection after the other until all is kept, or patience ends.
//!
//! ```text
//!   connect ─► token ─► for each part: begin ─► from ─► pieces, checks ─► end ─► good
//!      ▲                                          │
//!      └────── pause ◄── the connection broke ────┘      refused: that is the end
//! ```

use super::feed::{Feed, Next};
use super::meter::Meter;
use super::pack::Packing;
use super::{AHEAD, Digester, take};
use crate::budget::Budget;
use crate::host::Host;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::rpc::node::copy_data::Data;
use roost_proto::rpc::node::copy_reply::Reply;
use roost_proto::rpc::node::{CopyBegin, CopyCheck, CopyData, CopyPiece, CopyReply, node_client};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Status};

/// What is sent between two checks, bytes: so much is sent again at most.
const CHECK: u64 = 64 << 20;
/// The same for what must be held here until it is kept.
const CHECK_HELD: u64 = 16 << 20;

/// Where a copy goes.
#[derive(Clone, Debug)]
pub enum To {
    /// To another node.
    Node { node: NodeId, address: String },
    /// To this one.
    Here,
}

/// How long it is tried to go on where nothing moves.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub limit: Duration,
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        // A noded that restarts is back long before; so is a cable that fell out.
        Patience { limit: Duration::from_secs(90), pause: Duration::from_secs(1) }
    }
}

/// One of several things that are copied.
#[derive(Debug)]
pub struct Part {
    pub feed: Feed,
    /// Bytes; 0 if that is not known.
    pub length: u64,
    /// The file of an image as it is.
    pub image: bool,
}

/// A copy.
#[derive(Debug)]
pub struct Sending {
    pub host: Arc<Host>,
    pub token: String,
    pub to: To,
    pub packing: Packing,
    pub patience: Patience,
}

type Answers = Pin<Box<dyn Stream<Item = std::result::Result<CopyReply, Status>> + Send>>;

/// Why a connection did not bring everything over.
#[derive(Debug)]
enum Broken {
    /// Another one may.
    Lost(String),
    /// None will.
    Refused(Error),
}

/// The progress of a part.
struct Live<'a> {
    meter: &'a Mutex<Meter>,
    /// Bytes kept by the other side of all parts, to see whether anything moves.
    kept: u64,
}

impl Sending {
    /// Sends the parts from `first` on, in order. The first connection brings each from its
    /// beginning if `anew`: they are not what an earlier try sent.
    pub async fn run(
        &self,
        first: usize,
        parts: &mut [Option<Part>],
        anew: bool,
        meter: &Mutex<Meter>,
    ) -> Result<()> {
        let mut next = 0;
        let mut begun = vec![!anew; parts.len()];
        let mut live = Live { meter, kept: 0 };
        let (mut moved, mut before) = (Instant::now(), 0);
        let mut told = false;
        while next < parts.len() {
            let why = match self.connection(first, parts, &mut next, &mut begun, &mut live).await {
                Ok(()) => return Ok(()),
                Err(Broken::Refused(error)) => return Err(error.at(self.there())),
                Err(Broken::Lost(why)) => why,
            };
            if live.kept > before {
                (moved, before, told) = (Instant::now(), live.kept, false);
            }
            if moved.elapsed() >= self.patience.limit {
                return Err(Error::environment(format!(
                    "The copy {} broke and could not be gone on with for {} s: {why}",
                    self.there(),
                    self.patience.limit.as_secs()
                )));
            }
            if !told {
                told = true;
                let line = format!("The copy {} broke and goes on: {why}", self.there());
                lock(meter).reporter().message(line);
            }
            tokio::time::sleep(self.patience.pause).await;
        }
        Ok(())
    }

    /// Where it goes, for people.
    fn there(&self) -> String {
        match &self.to {
            To::Node { node, .. } => format!("to node {}", take::node_name(&self.host, *node)),
            To::Here => "on this node".into(),
        }
    }

    async fn connect(
        &self,
        outgoing: mpsc::Receiver<CopyData>,
    ) -> std::result::Result<Answers, Broken> {
        match &self.to {
            To::Here => {
                let mut incoming = ReceiverStream::new(outgoing).map(Ok);
                // The token, which is known here.
                incoming.next().await;
                let answers = take::receive(self.host.clone(), &self.token, incoming, None).await;
                Ok(Box::pin(answers.map_err(Broken::Refused)?))
            }
            To::Node { node, address } => {
                let channel = crate::peer::connect(&self.host.paths, *node, address)
                    .await
                    .map_err(|e| Broken::Lost(e.message))?;
                let answers = node_client::NodeClient::new(channel)
                    .copy(ReceiverStream::new(outgoing))
                    .await
                    .map_err(broken)?;
                Ok(Box::pin(answers.into_inner()))
            }
        }
    }

    async fn connection(
        &self,
        first: usize,
        parts: &mut [Option<Part>],
        next: &mut usize,
        begun: &mut [bool],
        live: &mut Live<'_>,
    ) -> std::result::Result<(), Broken> {
        let (sender, outgoing) = mpsc::channel(AHEAD);
        let gone = |_| Broken::Lost("the other side has hung up".into());
        send(&sender, Data::Token(self.token.clone())).await.map_err(gone)?;
        let mut answers = self.connect(outgoing).await?;
        while let Some(slot) = parts.get_mut(*next) {
            let lost = || Broken::Refused(Error::internal("A part of a copy was lost"));
            let part = slot.take().ok_or_else(lost)?;
            let begin = CopyBegin {
                index: (first + *next) as u32,
                length: part.length,
                image: part.image,
                stream: matches!(part.feed, Feed::Script(_)),
                anew: !begun[*next],
            };
            let from = match send(&sender, Data::Begin(begin)).await {
                Ok(()) => first_answer(&mut answers).await,
                Err(e) => Err(gone(e)),
            };
            let from = match from {
                Ok(from) => from,
                Err(broken) => {
                    *slot = Some(part);
                    return Err(broken);
                }
            };
            begun[*next] = true;
            let (part, sent) = self.part(part, from, &sender, &mut answers, live).await;
            let size = part.as_ref().map_or(0, |part| part.feed.done(u64::MAX));
            *slot = part;
            sent?;
            lock(live.meter).part(size);
            *next += 1;
        }
        Ok(())
    }

    /// Sends one part from a place on and waits until it is kept.
    async fn part(
        &self,
        part: Part,
        from: u64,
        sender: &mpsc::Sender<CopyData>,
        answers: &mut Answers,
        live: &mut Live<'_>,
    ) -> (Option<Part>, std::result::Result<(), Broken>) {
        let held = match &part.feed {
            Feed::Script(held) => Some(held.clone()),
            Feed::Disk(_) => None,
        };
        // What is known to be kept of this part.
        let mut kept = from;
        if let Some(held) = &held {
            Feed::Script(held.clone()).kept(kept);
        }
        let (told, mut moved) = tokio::sync::watch::channel((0, 0));
        let pump = Pump {
            sender: sender.clone(),
            packing: self.packing,
            budget: self.host.budgets.copies.clone(),
            verified: matches!(self.to, To::Node { .. }),
            check: if held.is_some() { CHECK_HELD } else { CHECK },
            told,
        };
        let mut pumping = tokio::task::spawn_blocking(move || {
            let mut part = part;
            let pumped = pump.run(&mut part.feed, from);
            (part, pumped)
        });
        let mut back = None;
        let mut failure = None;
        let mut counted = 0;
        let end = loop {
            tokio::select! {
                pumped = &mut pumping, if back.is_none() => match pumped {
                    Ok((part, Ok(()))) => back = Some(part),
                    // It cannot be read: the other side need not wait for more.
                    Ok((part, Err(error))) => {
                        failure = (!sender.is_closed()).then_some(error);
                        back = Some(part);
                        if failure.is_some() {
                            break Ok(());
                        }
                    }
                    Err(e) => return (None, Err(Broken::Refused(Error::internal(e.to_string())))),
                },
                Ok(()) = moved.changed(), if back.is_none() => {
                    let (n, done) = *moved.borrow_and_update();
                    lock(live.meter).add(n - counted, done);
                    counted = n;
                }
                answer = answers.next() => match understood(answer) {
                    Ok(Reply::Kept(at)) => {
                        live.kept += at.saturating_sub(kept);
                        kept = kept.max(at);
                        if let Some(held) = &held {
                            Feed::Script(held.clone()).kept(at);
                        }
                    }
                    Ok(Reply::Good(_)) => {
                        live.kept += 1;
                        break Ok(());
                    }
                    Ok(_) => {}
                    Err(broken) => break Err(broken),
                },
            }
        };
        if let Some(error) = failure {
            return (back, Err(Broken::Refused(error)));
        }
        if back.is_none() {
            // Nobody takes what it sends any more, so it ends soon.
            *answers = Box::pin(tokio_stream::empty());
            back = pumping.await.ok().map(|(part, _)| part);
        }
        (back, end)
    }
}

fn lock(meter: &Mutex<Meter>) -> MutexGuard<'_, Meter> {
    meter.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn send(
    sender: &mpsc::Sender<CopyData>,
    data: Data,
) -> std::result::Result<(), mpsc::error::SendError<CopyData>> {
    sender.send(CopyData { data: Some(data) }).await
}

async fn first_answer(answers: &mut Answers) -> std::result::Result<u64, Broken> {
    match understood(answers.next().await)? {
        Reply::From(from) => Ok(from),
        _ => Err(Broken::Lost("the other side does not keep to the order".into())),
    }
}

fn understood(
    answer: Option<std::result::Result<CopyReply, Status>>,
) -> std::result::Result<Reply, Broken> {
    match answer {
        None => Err(Broken::Lost("the other side has hung up".into())),
        Some(Err(status)) => Err(broken(status)),
        Some(Ok(CopyReply { reply: Some(Reply::Failed(json)) })) => {
            let error = serde_json::from_str(&json).unwrap_or_else(|_| Error::exec(json));
            Err(Broken::Refused(error))
        }
        Some(Ok(CopyReply { reply: Some(reply) })) => Ok(reply),
        Some(Ok(CopyReply { reply: None })) => {
            Err(Broken::Lost("the other side said something that is not known here".into()))
        }
    }
}

/// Whether another connection may do better.
fn broken(status: Status) -> Broken {
    match status.code() {
        Code::PermissionDenied
        | Code::Unauthenticated
        | Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::Unimplemented => Broken::Refused(Error::exec(status.message())),
        _ => Broken::Lost(status.message().to_owned()),
    }
}

/// Reads, packs and sends, on a thread of its own.
struct Pump {
    sender: mpsc::Sender<CopyData>,
    packing: Packing,
    budget: Budget,
    /// The other side shall check what it gets.
    verified: bool,
    check: u64,
    /// Bytes moved by this connection, and how much of the part is over.
    told: tokio::sync::watch::Sender<(u64, u64)>,
}

impl Pump {
    /// Ends well also when nobody takes anything any more: who reads the answers knows why.
    fn run(&self, feed: &mut Feed, from: u64) -> Result<()> {
        let wanted = || !self.sender.is_closed();
        let mut digester = Digester::default();
        let (mut at, mut checked, mut moved) = (from, from, 0);
        loop {
            match feed.next(at, &wanted)? {
                Next::Piece { at: offset, data } => {
                    let n = data.len() as u64;
                    self.budget.take(n, wanted);
                    if self.verified {
                        digester.add(offset, &data);
                    }
                    let (packed, data) = self.packing.pack(data).map_err(|e| {
                        Error::exec(format!("A piece of the copy cannot be packed: {e}"))
                    })?;
                    let packed = packed.to_owned();
                    let piece = CopyPiece { offset, data, packed, length: n as u32 };
                    if !self.put(Data::Piece(piece)) {
                        return Ok(());
                    }
                    at = offset + n;
                    moved += n;
                    self.told.send_replace((moved, feed.done(at)));
                }
                Next::End(end) => {
                    self.put(Data::End(self.covered(end, &mut digester)));
                    return Ok(());
                }
            }
            if at - checked >= self.check {
                checked = at;
                if !self.put(Data::Check(self.covered(at, &mut digester))) {
                    return Ok(());
                }
            }
        }
    }

    fn covered(&self, offset: u64, digester: &mut Digester) -> CopyCheck {
        let digest = if self.verified { digester.finish() } else { String::new() };
        CopyCheck { offset, digest }
    }

    fn put(&self, data: Data) -> bool {
        self.sender.blocking_send(CopyData { data: Some(data) }).is_ok()
    }
}
