//! A word that all parts of a soak hear.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Once said, it stays.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Says it.
    pub fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was said.
    pub fn said(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
