//! The wall clock: the one place that reads it.

use jiff::Zoned;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
#[allow(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

/// The local time as Ganeti writes it in file names: `2026-11-20_11_34_31`.
pub fn file_stamp() -> String {
    Zoned::now().strftime("%Y-%m-%d_%H_%M_%S").to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_stamp_is_fit_for_a_file_name() {
        let stamp = super::file_stamp();
        assert_eq!(stamp.len(), 19);
        assert!(stamp.chars().all(|c| c.is_ascii_digit() || "-_".contains(c)), "{stamp}");
    }
}
