//! Log lines that a flood of datagrams cannot multiply.
//!
//! ```text
//!   event ─► bucket of its reason ── a token: a line, with the number of those without
//!                │                └─ none: counted only
//!                └ 5 tokens, a new one every 10 s
//! ```

use super::counters::Reason;
use std::time::{Duration, Instant};

/// Lines that a reason may have at once.
const BURST: u32 = 5;
/// A new one is allowed after so long.
const REFILL: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: u32,
    /// When the last token was put in.
    filled: Instant,
    suppressed: u64,
}

/// Decides which events get a line. One for each thread, so that nobody waits for a log line.
#[derive(Debug)]
pub struct Complaints {
    buckets: [Bucket; Reason::ALL.len()],
}

impl Complaints {
    /// With full buckets.
    pub fn new(now: Instant) -> Complaints {
        let full = Bucket { tokens: BURST, filled: now, suppressed: 0 };
        Complaints { buckets: [full; Reason::ALL.len()] }
    }

    /// May there be a line of this reason? Then how many had none since the last.
    pub fn allow(&mut self, reason: Reason, now: Instant) -> Option<u64> {
        let bucket = &mut self.buckets[reason as usize];
        let since = now.saturating_duration_since(bucket.filled);
        if since >= REFILL {
            let fresh = u32::try_from(since.as_secs() / REFILL.as_secs()).unwrap_or(u32::MAX);
            bucket.tokens = bucket.tokens.saturating_add(fresh).min(BURST);
            bucket.filled = now;
        }
        if bucket.tokens == 0 {
            bucket.suppressed += 1;
            return None;
        }
        bucket.tokens -= 1;
        Some(std::mem::take(&mut bucket.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_has_few_lines_and_is_counted() {
        let start = Instant::now();
        let mut complaints = Complaints::new(start);
        let lines = (0..1000).filter(|_| complaints.allow(Reason::Magic, start).is_some()).count();
        assert_eq!(lines, 5);
        // Other reasons are not silenced by it.
        assert_eq!(complaints.allow(Reason::Clock, start), Some(0));
        let later = start + REFILL;
        assert_eq!(complaints.allow(Reason::Magic, later), Some(995));
        assert_eq!(complaints.allow(Reason::Magic, later), None);
        let much_later = later + REFILL * 100;
        assert_eq!(complaints.allow(Reason::Magic, much_later), Some(1));
        let more =
            (0..10).filter(|_| complaints.allow(Reason::Magic, much_later).is_some()).count();
        assert_eq!(more, 4, "no more than the burst gathers");
    }
}
