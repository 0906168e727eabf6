//! The wall clock: the one place that reads it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since 1970.
#[allow(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}
