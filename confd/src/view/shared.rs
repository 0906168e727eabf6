//! The view that counts, for everyone who answers, and whoever changes it.
//!
//! ```text
//!              ┌──────── clear ─────────┐
//!              ▼                        │
//!   nothing, and why ─ snapshot ─► a configuration ─ changes, snapshot ─► the same, with another generation
//! ```
//!
//! An update that fails changes nothing: an old answer is better than none.

use super::{Update, View};
use crate::answers::Answers;
use crate::feed::NOT_LOADED;
use crate::wire::{Head, Request, Status, quote};
use roost_proto::error::{Error, Result};
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
        let state = RwLock::new(State::Nothing(NOT_LOADED.into()));
        Shared { state, generation: AtomicU64::new(1) }
    }

    /// There is no configuration any more; `why` is what everyone is told.
    pub fn clear(&self, why: &str) {
        self.turn_into(State::Nothing(why.to_owned()));
    }

    fn turn_into(&self, new: State) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *state, new);
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
                self.turn_into(State::Loaded(view?));
                return Ok(());
            }
            Err(changes) => changes,
        };
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let State::Loaded(view) = &mut *state else {
            return Err(Error::environment("There is no configuration yet that could be changed"));
        };
        let done = update.apply(view);
        self.generation.fetch_add(1, Ordering::Release);
        done
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
