//! The view that counts, for everyone who answers, and whoever changes it.
//!
//! ```text
//!              ┌──────── clear ─────────┐
//!              ▼                        │
//!   nothing, and why ─ snapshot ─► a configuration ─ changes, snapshot ─► the same, with another generation
//! ```
//!
//! An update that fails changes nothing: an old answer is better than none.

use super::id::Id;
use super::{Update, View};
use crate::answers::Answers;
use crate::feed::NOT_LOADED;
use crate::wire::{Head, Request, Status, quote};
use roost_proto::error::Result;
use roost_proto::published::{Begin, Space};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

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
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *state, State::Nothing(why.to_owned()));
        self.generation.fetch_add(1, Ordering::Release);
        drop(state);
        drop(old);
    }

    /// An update begins. One at a time: another that is committed in between spoils a snapshot.
    pub fn begin(self: &Arc<Shared>, begin: Begin) -> Update {
        Update::begin(begin, self)
    }

    /// Everything of an update counts from now on. Errors: something in it could not be read, a
    /// snapshot is not whole, or there is nothing yet that could be changed; nothing has changed.
    pub fn commit(&self, update: Update) -> Result<()> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let view = match &mut *state {
            State::Nothing(_) => None,
            State::Loaded(view) => Some(&mut **view),
        };
        let new = update.apply(view, self.now());
        self.generation.fetch_add(1, Ordering::Release);
        let old = new?.map(|new| std::mem::replace(&mut *state, State::Loaded(new)));
        drop(state);
        // It takes a while, and nobody should wait for it.
        drop(old);
        Ok(())
    }

    /// The generation.
    pub(super) fn now(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Appends an object as JSON, if it is there.
    pub(super) fn write(&self, space: Space, id: Id, out: &mut Vec<u8>) {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if let State::Loaded(view) = &*state {
            view.write_object(space, id, out);
        }
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
        self.now()
    }
}
