//! One question to several: what arrives is judged here, without input or output.
//!
//! ```text
//!   datagram ─ parses? ─ signed? ─ an rsalt of ours? ─ from whom that was sent to? ─ the first? ─► counts
//!              malformed  forged    stale               foreign                       repeated
//! ```

use crate::wire::{Envelope, HmacKey, Query, QueryType, Reply, Request, Status, Tag};
use serde_json::Value;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// How many answers of `asked` are enough: all of few, most of many. Ganeti's rule.
pub fn enough(asked: usize) -> usize {
    match asked {
        0..3 => asked,
        3..5 => asked - 1,
        _ => asked / 2 + 1,
    }
}

/// What arrived and did not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// No datagram of this protocol, or no answer in it.
    pub malformed: u32,
    /// Not signed with our key.
    pub forged: u32,
    /// The answer to another question.
    pub stale: u32,
    /// Not from whom that question was sent to.
    pub foreign: u32,
    /// A second answer of the same one.
    pub repeated: u32,
}

/// Where one more is counted.
type Count = fn(&mut Ignored) -> &mut u32;

impl Ignored {
    /// All of them.
    pub fn total(self) -> u32 {
        self.malformed + self.forged + self.stale + self.foreign + self.repeated
    }
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.malformed, "malformed"),
            (self.forged, "signed with another key"),
            (self.stale, "to other questions"),
            (self.foreign, "from others than asked"),
            (self.repeated, "repeated"),
        ];
        let some: Vec<String> =
            all.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        f.write_str(&some.join(", "))
    }
}

/// An answer that counts.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Whose.
    pub from: IpAddr,
    pub reply: Reply,
}

/// What came of a question.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Who was asked.
    pub asked: Vec<IpAddr>,
    /// Who answered what, in the order of arrival.
    pub heard: Vec<Heard>,
    /// Which of `heard` counts: the highest serial of those that are no errors; of errors, the first.
    pub best: usize,
    /// Whether all answers with that serial are the same.
    pub consistent: bool,
    pub ignored: Ignored,
}

impl Outcome {
    /// The answer that counts.
    pub fn best(&self) -> &Heard {
        &self.heard[self.best]
    }
}

struct Peer {
    address: SocketAddr,
    rsalt: String,
    datagram: Vec<u8>,
    heard: bool,
}

/// A question under way.
pub(super) struct Round {
    tag: Tag,
    peers: Vec<Peer>,
    needed: usize,
    heard: Vec<Heard>,
    ignored: Ignored,
}

impl Round {
    /// A question to these, each with the salt of its answer. `now`: seconds since 1970.
    pub(super) fn new(
        key: &HmacKey,
        tag: Tag,
        now: i64,
        peers: impl IntoIterator<Item = (SocketAddr, String)>,
        (kind, query): (QueryType, Query<'_>),
    ) -> Round {
        let salt = now.to_string();
        let mut request = Request { kind, query, rsalt: "".into() };
        let mut peer = |(address, rsalt): (SocketAddr, String)| {
            let mut datagram = Vec::new();
            request.rsalt = rsalt.clone().into();
            Envelope::write(key, tag, &salt, &request.message(), &mut datagram);
            Peer { address, rsalt, datagram, heard: false }
        };
        let peers: Vec<Peer> = peers.into_iter().map(&mut peer).collect();
        let needed = enough(peers.len());
        Round { tag, peers, needed, heard: vec![], ignored: Ignored::default() }
    }

    /// Nothing less than all answers is enough.
    pub(super) fn need_all(&mut self) {
        self.needed = self.peers.len();
    }

    /// What to send to whom: to all that have not answered.
    pub(super) fn unheard(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.peers.iter().filter(|peer| !peer.heard).map(|peer| (peer.address, &*peer.datagram))
    }

    /// Judges a datagram. Whether it counts.
    pub(super) fn take(&mut self, key: &HmacKey, from: SocketAddr, datagram: &[u8]) -> bool {
        let count = match self.judge(key, from, datagram) {
            Ok(heard) => {
                self.heard.push(heard);
                return true;
            }
            Err(count) => count,
        };
        *count(&mut self.ignored) += 1;
        false
    }

    fn judge(&mut self, key: &HmacKey, from: SocketAddr, datagram: &[u8]) -> Result<Heard, Count> {
        let malformed: Count = |i| &mut i.malformed;
        let stale: Count = |i| &mut i.stale;
        let envelope = Envelope::parse(datagram).ok_or(malformed)?;
        if envelope.tag != self.tag || !envelope.verify(key) {
            return Err(|i| &mut i.forged);
        }
        let peer = self.peers.iter_mut().find(|peer| peer.rsalt == envelope.salt);
        let peer = peer.ok_or(stale)?;
        // A link-local address comes with its interface, which the one asked did not have.
        if (peer.address.ip(), peer.address.port()) != (from.ip(), from.port()) {
            return Err(|i| &mut i.foreign);
        }
        if peer.heard {
            return Err(|i| &mut i.repeated);
        }
        let reply = Reply::parse(&envelope.msg).ok_or(malformed)?;
        peer.heard = true;
        Ok(Heard { from: from.ip(), reply })
    }

    /// Whether nobody needs to be waited for.
    pub(super) fn is_enough(&self) -> bool {
        self.heard.len() >= self.needed
    }

    /// Whom it was sent to, and what was ignored.
    pub(super) fn asked(&self) -> (Vec<IpAddr>, Ignored) {
        (self.peers.iter().map(|peer| peer.address.ip()).collect(), self.ignored)
    }

    /// What came of it; None: nobody answered.
    pub(super) fn end(self) -> Option<Outcome> {
        let (asked, ignored) = self.asked();
        let rank = |heard: &Heard| (heard.reply.status == Status::Ok, heard.reply.serial);
        let first_of_highest = |best: usize, i: usize| {
            if rank(&self.heard[i]) > rank(&self.heard[best]) { i } else { best }
        };
        let best = (0..self.heard.len()).reduce(first_of_highest)?;
        let consistent = self
            .heard
            .iter()
            .filter(|heard| rank(heard) == rank(&self.heard[best]))
            .all(|heard| heard.reply.status != Status::Ok || same(heard, &self.heard[best]));
        Some(Outcome { asked, heard: self.heard, best, consistent, ignored })
    }
}

/// Whether two say the same, however they write it.
fn same(one: &Heard, other: &Heard) -> bool {
    let (one, other) = (one.reply.answer.get(), other.reply.answer.get());
    let value = |text: &str| serde_json::from_str::<Value>(text).ok();
    one == other || value(one) == value(other)
}
