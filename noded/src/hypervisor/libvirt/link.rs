//! The connection to libvirt: kept open, opened again when libvirtd restarts, used off the threads
//! that serve requests.
//!
//! ```text
//!   event loop thread   libvirt's own: timers, keep-alive, calls of our event callbacks
//!   watch thread        opens the connection, hands events to the handler, opens it again
//!   one thread a call   a call that hangs delays nobody else, and its caller only for its limit
//! ```

use super::ffi::{self, Happened};
use roost_proto::error::{Error, Result};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Once, mpsc};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use virt::connect::Connect;
use virt::error::{Error as VirtError, ErrorNumber};

/// Between attempts to connect, and between looks at whether a connection is alive.
const PAUSE: Duration = Duration::from_secs(1);
/// How long calls wait for a connection that is new or has just broken. After that they fail at
/// once: a node whose libvirtd is down must still be able to say so.
const CONNECT: Duration = Duration::from_secs(5);
/// Seconds between signs of life, and how many may be missing: libvirtd hangs for 15 seconds.
const KEEPALIVE: (i32, u32) = (5, 3);

/// An open connection; closed when the last user drops it.
#[derive(Debug)]
pub struct Connection(Connect);

impl std::ops::Deref for Connection {
    type Target = Connect;
    fn deref(&self) -> &Connect {
        &self.0
    }
}

impl Connection {
    /// Opens a connection.
    pub fn open(uri: &str) -> Result<Connection, VirtError> {
        start_event_loop();
        let connection = Connection(Connect::open(Some(uri))?);
        // Drivers inside this process (`test:`) have none, and need none.
        let _ = connection.set_keep_alive(KEEPALIVE.0, KEEPALIVE.1);
        Ok(connection)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Broken connections cannot be closed properly; there is nothing else to be done.
        let _ = self.0.close();
    }
}

/// What is done with what happens. Runs on the watch thread and may call libvirt.
pub trait Handler: Send + 'static {
    /// A connection is open; what happened before it is unknown.
    fn connected(&mut self, connection: &Connection);
    /// Something happened to a domain.
    fn happened(&mut self, connection: &Connection, what: Happened);
}

/// The connection there is, if any. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Link {
    uri: Arc<str>,
    current: watch::Receiver<State>,
}

#[derive(Clone, Debug)]
enum State {
    /// Since when, and why.
    Down(Instant, Arc<str>),
    Up(Arc<Connection>),
}

impl Link {
    /// Starts connecting to `uri`; what happens to domains there goes to `handler`. Ends when the
    /// last clone is dropped.
    pub fn new(uri: &str, handler: impl Handler) -> Result<Link> {
        let uri: Arc<str> = uri.into();
        let (sender, current) =
            watch::channel(State::Down(Instant::now(), "not connected yet".into()));
        let watched = uri.clone();
        std::thread::Builder::new()
            .name("libvirt-watch".into())
            .spawn(move || keep_connected(&watched, &sender, handler))
            .map_err(|e| Error::environment(format!("Cannot start a thread: {e}")))?;
        Ok(Link { uri, current })
    }

    /// Where it leads.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Waits for the connection.
    async fn connection(&self) -> Result<Arc<Connection>> {
        let mut current = self.current.clone();
        let since = match &*self.current.borrow() {
            State::Down(since, _) => *since,
            State::Up(_) => Instant::now(),
        };
        // One that just broke may not have been replaced yet.
        let alive = current.wait_for(|state| match state {
            State::Up(connection) => connection.is_alive().unwrap_or(false),
            State::Down(..) => false,
        });
        if let Ok(Ok(state)) = tokio::time::timeout_at(since + CONNECT, alive).await
            && let State::Up(connection) = &*state
        {
            return Ok(connection.clone());
        }
        let why = match &*self.current.borrow() {
            State::Down(_, why) => why.to_string(),
            State::Up(_) => "connected only just now".into(),
        };
        Err(Error::environment(format!(
            "Cannot reach libvirt at {}: {why}. Is libvirtd running on this node (systemctl status \
             libvirtd)?",
            self.uri
        )))
    }

    /// The connection, for what takes longer than a call.
    pub async fn shared(&self) -> Result<Arc<Connection>> {
        self.connection().await
    }

    /// Does `work` with the connection on a thread of its own. `what` is for errors. After `limit`
    /// it is given up: the thread goes on until libvirt lets go of it, its result is dropped.
    pub async fn call<T, F>(&self, what: impl Into<String>, limit: Duration, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, VirtError> + Send + 'static,
    {
        let connection = self.connection().await?;
        let what = what.into();
        let answer = on_thread(move || work(&connection))?;
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(Ok(result))) => Ok(result),
            Ok(Ok(Err(error))) => Err(failed(&what, &error)),
            Ok(Err(_)) => Err(Error::internal(format!("{what}: the thread died"))),
            Err(_) => Err(Error::exec(format!(
                "{what}: libvirt did not answer within {} seconds; look at libvirtd's log",
                limit.as_secs()
            ))),
        }
    }
}

/// Does `work` on a thread of its own.
pub fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<tokio::sync::oneshot::Receiver<T>> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("libvirt-call".into())
        .spawn(move || {
            // The caller may have given up.
            let _ = sender.send(work());
        })
        .map_err(|e| Error::environment(format!("Cannot start a thread: {e}")))?;
    Ok(receiver)
}

/// An error of libvirt as one of ours.
pub fn failed(what: &str, error: &VirtError) -> Error {
    Error::exec(format!("{what}: {}", error.message()))
}

/// A domain that is not there is `None`.
pub fn if_there<T>(result: Result<T, VirtError>) -> Result<Option<T>, VirtError> {
    match result {
        Err(error) if error.code() == ErrorNumber::NoDomain => Ok(None),
        other => other.map(Some),
    }
}

/// libvirt's event loop: one for the process, from the first connection on.
fn start_event_loop() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Else it prints every error to the standard error output.
        virt::error::clear_error_callback();
        if let Err(error) = virt::event::event_register_default_impl() {
            tracing::error!(%error, "libvirt has no event loop: guests are only listed");
            return;
        }
        let turn = || {
            loop {
                if let Err(error) = virt::event::event_run_default_impl() {
                    tracing::error!(%error, "libvirt's event loop");
                    std::thread::sleep(PAUSE);
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name("libvirt-events".into()).spawn(turn) {
            tracing::error!(%error, "cannot start libvirt's event loop");
        }
    });
}

/// Until nobody uses the link any more.
fn keep_connected(uri: &str, state: &watch::Sender<State>, mut handler: impl Handler) {
    let mut complained = false;
    let mut down_since = Instant::now();
    while state.receiver_count() > 0 {
        let (sender, events) = mpsc::channel();
        let opened = Connection::open(uri).and_then(|connection| {
            ffi::watch(&connection, &sender)?;
            Ok(Arc::new(connection))
        });
        let connection = match opened {
            Ok(connection) => connection,
            Err(error) => {
                if !complained {
                    tracing::warn!(uri, %error, "cannot reach libvirt; trying on");
                    complained = true;
                }
                let why = error.message().into();
                state.send_replace(State::Down(down_since, why));
                std::thread::sleep(PAUSE);
                continue;
            }
        };
        complained = false;
        tracing::info!(uri, "connected to libvirt");
        state.send_replace(State::Up(connection.clone()));
        handler.connected(&connection);
        while state.receiver_count() > 0 {
            match events.recv_timeout(PAUSE) {
                Ok(what) => handler.happened(&connection, what),
                Err(RecvTimeoutError::Timeout) if connection.is_alive().unwrap_or(false) => {}
                Err(_) => break,
            }
        }
        down_since = Instant::now();
        state.send_replace(State::Down(down_since, "the connection broke".into()));
        tracing::warn!(uri, "lost the connection to libvirt");
    }
}
