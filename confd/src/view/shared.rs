//! The view that counts, for everyone who answers, and whoever changes it.
//!
//! ```text
//!   nothing ─ load failed ─► nothing, and why ─ load, snapshot ─► loaded ─ changes, snapshot, load ─► loaded
//! ```
//!
//! Whatever fails later changes nothing: an old answer is better than none.

use super::{Update, View};
use crate::answers::Answers;
use crate::wire::{Head, Request, Status, quote};
use roost_proto::error::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

/// The view that counts.
#[derive(Debug)]
pub struct Shared {
    state: RwLock<State>,
    generation: AtomicU64,
}

#[derive(Debug)]
enum State {
    /// What everyone is answered.
    Nothing(String),
    Loaded(Box<View>),
}

impl Default for Shared {
    fn default() -> Shared {
        Shared::new()
    }
}

impl Shared {
    /// Nothing is loaded.
    pub fn new() -> Shared {
        let state = RwLock::new(State::Nothing("Configuration not yet loaded".into()));
        Shared { state, generation: AtomicU64::new(1) }
    }

    /// Loads a `config.data`. Errors: it cannot be read. Then those who ask are told so if nothing
    /// was loaded before; otherwise what was there stays.
    pub fn load(&self, path: &Path) -> Result<()> {
        let read = File::open(path).map_err(|e| e.to_string()).and_then(View::load);
        self.take(read, &path.display().to_string())
    }

    /// The same from something that can be read and is called `path` in errors.
    pub fn load_from(&self, from: impl Read, path: &str) -> Result<()> {
        self.take(View::load(from), path)
    }

    fn take(&self, read: std::result::Result<View, String>, path: &str) -> Result<()> {
        match read {
            Ok(view) => {
                self.replace(Box::new(view));
                Ok(())
            }
            Err(why) => {
                let text = format!("Cannot load configuration from {path}: {why}");
                let error = Error::environment(text.clone());
                let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
                if let State::Nothing(told) = &mut *state {
                    *told = text;
                    self.generation.fetch_add(1, Ordering::Release);
                }
                Err(error)
            }
        }
    }

    fn replace(&self, view: Box<View>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *state, State::Loaded(view));
        self.generation.fetch_add(1, Ordering::Release);
        drop(state);
        // It takes a while, and nobody should wait for it.
        drop(old);
    }

    /// Everything of an update counts from now on. Errors: something in it could not be read, a
    /// snapshot is not whole, or there is nothing yet that could be changed; nothing has changed.
    pub fn commit(&self, update: Update) -> Result<()> {
        let update = match update.into_view() {
            Ok(view) => {
                self.replace(view?);
                return Ok(());
            }
            Err(changes) => changes,
        };
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let State::Loaded(view) = &mut *state else {
            return Err(Error::environment("There is no configuration yet that could be changed"));
        };
        let done = view.commit(update);
        self.generation.fetch_add(1, Ordering::Release);
        done.map(drop)
    }

    /// Whether there is a configuration.
    pub fn is_loaded(&self) -> bool {
        self.serial().is_some()
    }

    /// The serial number of the cluster in it. None: there is no configuration.
    pub fn serial(&self) -> Option<u64> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Nothing(_) => None,
            State::Loaded(view) => Some(view.serial()),
        }
    }
}

impl Answers for Shared {
    fn answer(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Head {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Loaded(view) => view.answer(request, out),
            State::Nothing(why) => {
                quote(why, out);
                Head { status: Status::Error, serial: 0 }
            }
        }
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}
