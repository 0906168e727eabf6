//! Takes datagrams and answers them: one thread for each socket, several sockets at one address.
//!
//! ```text
//!   Bound::open ──(privileges are dropped here)──► Bound::serve ─► Server ─► stop
//!
//!   sockets    what the kernel is told               worker     batches of datagrams, one thread
//!   responder  one datagram in, one out              cache      large answers, ready to send
//!   counters   what became of them                   complaints log lines that do not flood
//! ```

mod cache;
mod complaints;
mod counters;
mod responder;
mod sockets;
#[cfg(test)]
mod testing;
mod worker;

pub use cache::ROOM as CACHE_ROOM;
pub use counters::{Reason, Totals};
pub use responder::{Responder, Rules};

use crate::answers::Answers;
use crate::clock::Clock;
use crate::keyring::Keyring;
use counters::Counters;
use roost_proto::error::{Error, Result};
use socket2::Socket;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Release;
use std::thread::JoinHandle;

/// Sockets, unless somebody says how many: as many as the machine has cores, up to this.
pub const MOST_SOCKETS: usize = 4;
/// What a thread needs is in the heap.
const STACK: usize = 256 << 10;

/// How to serve.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Where. Port 0: any that is free.
    pub address: SocketAddr,
    /// How many sockets, and threads.
    pub sockets: usize,
    pub rules: Rules,
}

impl Settings {
    /// The usual number of sockets of this machine.
    pub fn usual_sockets() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from).clamp(1, MOST_SOCKETS)
    }
}

/// The sockets are there; nobody answers yet. Datagrams that come wait.
#[derive(Debug)]
pub struct Bound {
    sockets: Vec<Socket>,
    address: SocketAddr,
    rules: Rules,
}

/// What all threads know.
#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    key: Arc<Keyring>,
    clock: Clock,
    stop: AtomicBool,
    /// One for each thread.
    counters: Vec<Counters>,
}

/// Answers until it is stopped or dropped.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    sockets: Vec<Arc<Socket>>,
    threads: Vec<JoinHandle<()>>,
}

impl Bound {
    /// Opens the sockets. Errors: the address is taken, or not of this machine.
    pub fn open(settings: Settings) -> Result<Bound> {
        let rules = settings.rules;
        let sockets = sockets::open(settings.address, settings.sockets, rules.sha256)?;
        let bound = sockets[0].local_addr().ok().and_then(|address| address.as_socket());
        Ok(Bound { sockets, address: bound.unwrap_or(settings.address), rules })
    }

    /// Where it listens, with the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to answer. Errors: the machine has no threads left.
    pub fn serve(
        self,
        answers: &Arc<dyn Answers>,
        key: &Arc<Keyring>,
        clock: Clock,
    ) -> Result<Server> {
        let shared = Arc::new(Shared {
            address: self.address,
            key: key.clone(),
            clock,
            stop: AtomicBool::new(false),
            counters: self.sockets.iter().map(|_| Counters::default()).collect(),
        });
        let mut server = Server { shared, sockets: vec![], threads: vec![] };
        for (at, socket) in self.sockets.into_iter().enumerate() {
            let socket = Arc::new(socket);
            let responder = Responder::new(self.rules, answers.clone(), CACHE_ROOM);
            let worker = worker::Worker::new(socket.clone(), server.shared.clone(), at, responder);
            let thread = std::thread::Builder::new()
                .name(format!("confd-{at}"))
                .stack_size(STACK)
                .spawn(move || worker.run())
                .map_err(|e| Error::environment(format!("Cannot start a thread: {e}")))?;
            server.sockets.push(socket);
            server.threads.push(thread);
        }
        Ok(server)
    }
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// What was received and answered so far.
    pub fn totals(&self) -> Totals {
        Totals::of(&self.shared.counters)
    }

    /// Ends. What has been received is answered. Errors: a thread died of a defect.
    pub fn stop(mut self) -> Result<Totals> {
        self.end()?;
        Ok(self.totals())
    }

    /// Whether a thread has ended, which they do not do by themselves.
    pub fn is_broken(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    fn end(&mut self) -> Result<()> {
        self.shared.stop.store(true, Release);
        for socket in &self.sockets {
            // Wakes whoever waits for a datagram, though it says that nobody is connected.
            let _ = socket.shutdown(Shutdown::Both);
        }
        let died = self.threads.drain(..).map(JoinHandle::join).filter(Result::is_err).count();
        match died {
            0 => Ok(()),
            _ => Err(Error::internal("a thread of the confd server died; see its log")),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
