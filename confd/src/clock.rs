//! The wall clock: the one place that reads it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Whole seconds since 1970; negative before.
#[allow(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn seconds() -> i64 {
    let now = SystemTime::now();
    match now.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |s| -s),
    }
}

/// The clock that questions are held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The machine's.
    Machine,
    /// One that stands still, seconds since 1970: for recorded questions.
    Frozen(i64),
}

impl Clock {
    /// Seconds since 1970.
    pub fn seconds(self) -> i64 {
        match self {
            Clock::Machine => seconds(),
            Clock::Frozen(at) => at,
        }
    }
}
