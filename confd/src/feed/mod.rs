//! Where the configuration comes from.
//!
//! ```text
//!   start ─► config.data on disk ─► connected to masterd: updates ─► disconnected: answers from what it has
//!                                        ▲                                │ every second
//!                                        └────────────────────────────────┘
//!   --config FILE: the file, again whenever it changes
//! ```
//!
//! An update counts as a whole or not at all: half ones, bad ones and bad files change nothing. After a bad
//! update everything is asked for anew. Where the file vanishes while masterd is away, this node publishes no
//! configuration any more (it is no master candidate, or left its cluster): then there is none here either.
//!
//! A thread of its own, which waits most of the time.

mod file;
mod lines;
mod socket;
mod taken;
#[cfg(test)]
mod tests;

pub use lines::LineReader;
pub use taken::ViewSink;

use file::Stamp;
use roost_proto::error::Result;
use roost_proto::paths::Paths;
use roost_proto::published::{Begin, Delete, Put};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks at a file, and two attempts to connect.
const LOOK: Duration = Duration::from_secs(1);
/// The longest pause after bad updates: whole configurations are not asked for all the time.
const LONGEST: Duration = Duration::from_secs(60);
/// The same complaint is not made again before: on nodes that are no master candidates it stays true.
const QUIET: Duration = Duration::from_secs(3600);
/// What is answered before anything was read: Ganeti's words.
pub const NOT_LOADED: &str = "Configuration not yet loaded";

/// Who takes the configuration: all of an update counts from [`Sink::commit`] on, or nothing of it.
pub trait Sink: Send {
    /// An update begins. With a snapshot nothing from before stays; otherwise what is not named stays.
    fn begin(&mut self, begin: Begin);

    /// An object is like this. Errors: it makes no sense; the update is aborted.
    fn put(&mut self, put: Put) -> Result<()>;

    /// An object is gone, if it was there.
    fn delete(&mut self, delete: Delete) -> Result<()>;

    /// The update counts. Errors: it makes no sense; what was before stays.
    fn commit(&mut self) -> Result<()>;

    /// The update is forgotten.
    fn abort(&mut self);

    /// There is no configuration; why.
    fn clear(&mut self, why: &str);
}

/// Where to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, whatever the cluster.
    File(PathBuf),
    /// The file and the feed of this node's masterd.
    Cluster { file: PathBuf, socket: PathBuf },
}

impl Source {
    /// This node's.
    pub fn cluster(paths: &Paths) -> Source {
        Source::Cluster { file: paths.published_config(), socket: paths.config_feed() }
    }

    fn file(&self) -> &Path {
        match self {
            Source::File(file) | Source::Cluster { file, .. } => file,
        }
    }
}

/// The thread. Dropping it ends it.
#[derive(Debug)]
pub struct Feed {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    /// Reads the file, so that there is something to answer when this returns; then a thread goes on.
    /// Errors: no thread.
    pub fn start(source: Source, sink: Box<dyn Sink>) -> io::Result<Feed> {
        let stop = Stop::default();
        let mut work = Work::new(source, sink, stop.clone());
        work.look_at_file();
        let thread = std::thread::Builder::new()
            .name("feed".into())
            .stack_size(512 << 10)
            .spawn(move || work.run())?;
        Ok(Feed { stop, thread: Some(thread) })
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.now();
        if let Some(thread) = self.thread.take() {
            // It was told; a thread that panicked has ended.
            thread.join().ok();
        }
    }
}

/// Ends pauses.
#[derive(Clone, Debug, Default)]
struct Stop(Arc<(AtomicBool, Mutex<()>, Condvar)>);

impl Stop {
    fn now(&self) {
        let _held = self.0.1.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.0.store(true, Ordering::SeqCst);
        self.0.2.notify_all();
    }

    fn is_now(&self) -> bool {
        self.0.0.load(Ordering::SeqCst)
    }

    fn pause(&self, time: Duration) {
        let held = self.0.1.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_now() {
            // Waking early does no harm.
            drop(self.0.2.wait_timeout(held, time));
        }
    }
}

/// What the sink has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Have {
    /// 0: nothing that could be continued.
    serial: u64,
    epoch: Option<u64>,
}

struct Work {
    source: Source,
    sink: Box<dyn Sink>,
    stop: Stop,
    /// None: nothing at all.
    have: Option<Have>,
    /// The file that was read last, or tried.
    stamp: Option<Stamp>,
    log: Complaint,
}

impl Work {
    fn new(source: Source, mut sink: Box<dyn Sink>, stop: Stop) -> Work {
        sink.clear(NOT_LOADED);
        Work { source, sink, stop, have: None, stamp: None, log: Complaint::default() }
    }

    fn run(mut self) {
        let mut pause = LOOK;
        while !self.stop.is_now() {
            let socket = match &self.source {
                Source::File(_) => None,
                Source::Cluster { socket, .. } => Some(socket.clone()),
            };
            match socket {
                None => self.look_at_file(),
                Some(socket) => {
                    pause = match self.follow(&socket) {
                        // Asking for all of it again would bring the same soon after.
                        socket::Ended::Bad(why) => {
                            self.log
                                .say(&format!("a change of the configuration is not taken: {why}"));
                            (pause * 2).min(LONGEST)
                        }
                        socket::Ended::Gone { told } => {
                            if told {
                                tracing::info!(
                                    "masterd tells no more; answering from what it told last"
                                );
                            }
                            self.look_at_vanished_file();
                            LOOK
                        }
                    };
                }
            }
            self.stop.pause(pause);
        }
    }

    /// Reads the file if it is another than last time.
    fn look_at_file(&mut self) {
        let path = self.source.file().to_owned();
        let stamp = Stamp::of(&path);
        if stamp.is_some() && stamp == self.stamp {
            return;
        }
        self.stamp = stamp;
        match file::load(&path, self.sink.as_mut()) {
            Ok(serial) => {
                tracing::info!(file = %path.display(), serial, "configuration loaded");
                self.have = Some(Have { serial, epoch: None });
            }
            Err(error) => {
                self.sink.abort();
                let said = format!("Cannot load configuration from {}: {error}", path.display());
                match self.have {
                    Some(_) => self.log.say(&format!("{said}; the one from before is kept")),
                    None => {
                        self.log.say(&said);
                        self.sink.clear(&said);
                    }
                }
            }
        }
    }

    /// While masterd is away: is this node's configuration withdrawn, or there for the first time?
    fn look_at_vanished_file(&mut self) {
        let path = self.source.file().to_owned();
        let is_there = Stamp::of(&path);
        if self.have.is_none() {
            return self.look_at_file();
        }
        if is_there.is_none() && self.stamp.is_some() {
            tracing::info!("this node publishes no configuration any more");
            self.have = None;
            self.sink.clear(NOT_LOADED);
        }
        // That it was there is what counts; it is not read again.
        self.stamp = is_there;
    }
}

/// Says the same only once in a while.
#[derive(Debug, Default)]
struct Complaint {
    last: Option<(String, Instant)>,
}

impl Complaint {
    fn say(&mut self, text: &str) {
        let again =
            self.last.as_ref().is_none_or(|(said, at)| said != text || at.elapsed() >= QUIET);
        if again {
            tracing::warn!("{text}");
            self.last = Some((text.to_owned(), Instant::now()));
        }
    }
}
