//! What the server needs of whoever knows the answers.

use crate::wire::{Head, Request};

/// Answers questions. Called by several threads at once; must not wait for anything.
pub trait Answers: Send + Sync {
    /// Appends the answer to `out`: JSON, ASCII only, without blanks.
    fn answer(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Head;

    /// Changes whenever an answer may have changed: what was answered under one generation may be
    /// answered again in it without asking.
    fn generation(&self) -> u64;
}
