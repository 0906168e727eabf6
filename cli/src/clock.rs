//! The one place that reads the clock and knows the time zone.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970.
#[allow(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn now_nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
}

fn local(seconds: i64, format: &str) -> Option<String> {
    let time = Timestamp::from_second(seconds).ok()?.to_zoned(TimeZone::system());
    Some(time.strftime(format).to_string())
}

/// C's `ctime`: `Tue Jan  1 00:00:00 2026`, local.
pub fn ctime(seconds: u64) -> String {
    local(seconds as i64, "%a %b %e %H:%M:%S %Y").unwrap_or_else(|| "?".into())
}

/// `2026-01-01 00:00:00`, local.
pub fn stamp(seconds: u64) -> String {
    local(seconds as i64, "%Y-%m-%d %H:%M:%S").unwrap_or_else(|| "?".into())
}

/// `2026-01-01 00:00:00.123456`, local.
pub fn stamp_micros(seconds: u64, micros: u32) -> String {
    format!("{}.{micros:06}", stamp(seconds))
}

#[cfg(test)]
mod tests {
    #[test]
    fn shapes() {
        // Any time zone: only the shape is fixed.
        let text = super::ctime(0);
        assert_eq!(text.len(), 24, "{text}");
        assert_eq!(super::stamp_micros(0, 42).len(), 26);
        assert!(super::stamp_micros(0, 42).ends_with(".000042"));
    }
}
