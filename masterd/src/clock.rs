//! The only reader of the wall clock, and of the one that runs while the machine sleeps.
//!
//! Planning must be repeatable, so time is an input of it; whoever needs the time asks here.

use roost_proto::job::Timestamp;
use std::time::{Duration, UNIX_EPOCH};

/// Microseconds since 1970.
pub fn micros() -> u64 {
    #[allow(clippy::disallowed_methods, reason = "this is the module that may")]
    let now = std::time::SystemTime::now();
    // A clock before 1970 is a broken clock; 0 keeps order at least.
    now.duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}

/// Now, as jobs note it.
pub fn now() -> Timestamp {
    Timestamp::from_micros(micros())
}

/// Seconds since 1970, as configuration objects note it.
pub fn seconds() -> f64 {
    micros() as f64 / 1e6
}

/// Time since the machine started, with the time it slept. For leases: others count on.
pub fn since_boot() -> Duration {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME);
    Duration::from(now.expect("every Linux since 2.6.39 has this clock"))
}

/// Milliseconds of a clock that only runs forward, also while this process is stopped. Its zero
/// is any moment before the first call.
pub fn forward_millis() -> u64 {
    static ZERO: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    // A little after zero, so that a time before the first call can be told.
    let since = ZERO.get_or_init(std::time::Instant::now).elapsed().as_millis();
    u64::try_from(since).unwrap_or(u64::MAX).saturating_add(3_600_000)
}
