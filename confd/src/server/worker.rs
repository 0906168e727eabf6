//! A thread and its socket: takes what has come, answers it, sends the answers, all in batches.
//!
//! ```text
//!   recvmmsg (waits for one, takes up to 16) ─► responder, one by one ─► sendmmsg
//! ```
//!
//! At a socket with several addresses an answer leaves from the one that was asked.

use super::Shared;
use super::complaints::Complaints;
use super::counters::{Counters, Reason};
use super::responder::Responder;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc::{in_pktinfo, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg,
    sendmmsg,
};
use socket2::Socket;
use std::fmt;
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;
use std::time::Instant;

/// Datagrams taken at once.
const BATCH: usize = 16;
/// Room for each: the largest there is.
const SLOT: usize = 1 << 16;
/// Answers that are sent before more are made, bytes.
const ENOUGH: usize = 64 << 10;

/// The address that was asked.
#[derive(Clone, Copy)]
enum Local {
    V4(in_pktinfo),
    V6(in6_pktinfo),
}

impl Local {
    fn of(message: &ControlMessageOwned) -> Option<Local> {
        match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                // The route decides on the interface; `spec_dst` is ours even if all were asked.
                let any = nix::libc::in_addr { s_addr: 0 };
                Some(Local::V4(in_pktinfo { ipi_ifindex: 0, ipi_addr: any, ..*info }))
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let mut info = *info;
                let asked = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                if asked.is_multicast() {
                    return None;
                }
                // Link-local addresses mean nothing without their interface.
                if !asked.is_unicast_link_local() {
                    info.ipi6_ifindex = 0;
                }
                Some(Local::V6(info))
            }
            _ => None,
        }
    }

    fn message(&self) -> ControlMessage<'_> {
        match self {
            Local::V4(info) => ControlMessage::Ipv4PacketInfo(info),
            Local::V6(info) => ControlMessage::Ipv6PacketInfo(info),
        }
    }

    /// Room for one, as sockets of this kind have them.
    fn room(v6: bool) -> Vec<u8> {
        if v6 { cmsg_space!(in6_pktinfo) } else { cmsg_space!(in_pktinfo) }
    }
}

impl PartialEq for Local {
    fn eq(&self, other: &Local) -> bool {
        match (self, other) {
            (Local::V4(a), Local::V4(b)) => a.ipi_spec_dst.s_addr == b.ipi_spec_dst.s_addr,
            (Local::V6(a), Local::V6(b)) => {
                (a.ipi6_addr.s6_addr, a.ipi6_ifindex) == (b.ipi6_addr.s6_addr, b.ipi6_ifindex)
            }
            _ => false,
        }
    }
}

/// An answer that waits to be sent.
struct Answer {
    /// In the buffer of answers.
    text: Range<usize>,
    to: SockaddrStorage,
    from: Option<Local>,
}

/// What one thread works with.
pub(super) struct Worker {
    socket: Arc<Socket>,
    /// Whether [`Local`] addresses are to be told, and of which kind.
    locals: Option<bool>,
    shared: Arc<Shared>,
    /// Its own of `shared`.
    at: usize,
    responder: Responder,
    complaints: Complaints,
    /// The answers of a batch, one behind the other.
    text: Vec<u8>,
    answers: Vec<Answer>,
}

impl Worker {
    pub(super) fn new(
        socket: Arc<Socket>,
        shared: Arc<Shared>,
        at: usize,
        responder: Responder,
    ) -> Worker {
        let address = shared.address;
        Worker {
            socket,
            locals: super::sockets::is_wildcard(address.ip()).then_some(address.is_ipv6()),
            shared,
            at,
            responder,
            complaints: Complaints::new(Instant::now()),
            text: Vec::new(),
            answers: Vec::with_capacity(BATCH),
        }
    }

    fn headers(&self) -> MultiHeaders<SockaddrStorage> {
        MultiHeaders::preallocate(BATCH, self.locals.map(Local::room))
    }

    /// Until it is told to stop.
    pub(super) fn run(mut self) {
        // Pages that no datagram reached are not there yet.
        let mut room = vec![0; BATCH * SLOT];
        let mut receive = self.headers();
        let mut send = self.headers();
        // Without control messages.
        let mut plain = MultiHeaders::preallocate(BATCH, None);
        while !self.shared.stop.load(Acquire) {
            match self.turn(&mut room, &mut receive, &mut send, &mut plain) {
                Ok(()) => {}
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(error) => {
                    if self.shared.stop.load(Acquire) {
                        return;
                    }
                    // The kernel is short of memory, perhaps: neither end nor spin.
                    tracing::error!("cannot receive: {error}");
                    std::thread::park_timeout(std::time::Duration::from_millis(200));
                }
            }
        }
    }

    /// One batch.
    fn turn(
        &mut self,
        room: &mut [u8],
        receive: &mut MultiHeaders<SockaddrStorage>,
        send: &mut MultiHeaders<SockaddrStorage>,
        plain: &mut MultiHeaders<SockaddrStorage>,
    ) -> nix::Result<()> {
        let mut slots = room.chunks_exact_mut(SLOT);
        let mut slots: [_; BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(slots.next().unwrap_or_default())]);
        let mut incomplete = false;
        let fd = self.socket.as_raw_fd();
        {
            let messages = recvmmsg(fd, receive, slots.iter_mut(), MsgFlags::MSG_WAITFORONE, None)?;
            let key = self.shared.key.current();
            let now = self.shared.clock.seconds();
            let mut received = 0;
            for message in messages {
                // An empty one only wakes us: the filter lets none through.
                let (Some(to), Some(datagram)) = (message.address, message.iovs().next()) else {
                    continue;
                };
                received += 1;
                let from = match self.locals {
                    None => None,
                    // Without room for it the answer leaves from wherever the kernel likes.
                    Some(_) => {
                        message.cmsgs().ok().and_then(|mut all| all.find_map(|m| Local::of(&m)))
                    }
                };
                incomplete |= self.locals.is_some() && from.is_none();
                let begin = self.text.len();
                match self.responder.respond(datagram, &key, now, &mut self.text) {
                    Ok(()) => {
                        self.answers.push(Answer { text: begin..self.text.len(), to, from });
                        if self.text.len() > ENOUGH {
                            self.send(send, plain);
                        }
                    }
                    Err(reason) => self.drop(reason, &to),
                }
            }
            self.counters().received(received);
        }
        self.send(send, plain);
        if incomplete {
            // The kernel writes how much room it used, and takes that for all there is next time.
            *receive = self.headers();
        }
        Ok(())
    }

    fn counters(&self) -> &Counters {
        &self.shared.counters[self.at]
    }

    /// Sends what waits, in runs that leave from the same address.
    fn send(
        &mut self,
        headers: &mut MultiHeaders<SockaddrStorage>,
        plain: &mut MultiHeaders<SockaddrStorage>,
    ) {
        let fd = self.socket.as_raw_fd();
        let mut at = 0;
        while let Some(first) = self.answers.get(at) {
            let from = first.from;
            let run = self.answers[at..].iter().take_while(|answer| answer.from == from).count();
            let slices: [_; BATCH] = std::array::from_fn(|n| {
                let text = self.answers[at..at + run].get(n).map(|answer| answer.text.clone());
                [IoSlice::new(&self.text[text.unwrap_or_default()])]
            });
            let to: [_; BATCH] =
                std::array::from_fn(|n| self.answers[at..at + run].get(n).map(|answer| answer.to));
            let sent = match &from {
                Some(local) => {
                    let messages = [local.message()];
                    let flags = MsgFlags::empty();
                    sendmmsg(fd, headers, slices[..run].iter(), &to[..run], messages, flags)
                        .map(Iterator::count)
                }
                None => {
                    sendmmsg(fd, plain, slices[..run].iter(), &to[..run], [], MsgFlags::empty())
                        .map(Iterator::count)
                }
            };
            match sent {
                Ok(sent) if sent > 0 => {
                    self.shared.counters[self.at].answered(sent as u64);
                    at += sent;
                }
                Err(Errno::EINTR) => {}
                // The network takes nothing: waiting for it once is enough.
                Err(Errno::EAGAIN) => {
                    while let Some(answer) = self.answers.get(at) {
                        let to = answer.to;
                        self.drop(Reason::Unsent, &to);
                        at += 1;
                    }
                }
                // The first of them cannot be sent: its address, a firewall, the network.
                _ => {
                    let to = self.answers[at].to;
                    self.drop(Reason::Unsent, &to);
                    at += 1;
                }
            }
        }
        self.answers.clear();
        self.text.clear();
    }

    fn drop(&mut self, reason: Reason, sender: &SockaddrStorage) {
        self.counters().dropped(reason);
        let Some(more) = self.complaints.allow(reason, Instant::now()) else { return };
        let sender = Sender(sender);
        let what = reason.sentence();
        if more == 0 {
            tracing::info!("no answer to {sender}: {what}");
        } else {
            tracing::info!("no answer to {sender}: {what} ({more} more without a line before)");
        }
    }
}

/// Prints an address.
struct Sender<'a>(&'a SockaddrStorage);

impl fmt::Display for Sender<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(v4) = self.0.as_sockaddr_in() {
            write!(f, "{}", SocketAddrV4::from(*v4))
        } else if let Some(v6) = self.0.as_sockaddr_in6() {
            write!(f, "{}", SocketAddrV6::from(*v6))
        } else {
            f.write_str("somebody")
        }
    }
}
