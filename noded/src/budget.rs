//! How fast data of disks may move on this node, so that the guests are not starved by repairs.
//!
//! All copies, exports, imports and wipes of a node, in and out, share one bucket: whoever is
//! about to move some bytes asks for them first, and waits for its turn. The node parameters
//! `disk_copy_rate` and `disk_resync_rate` (MiB a second, 0: as fast as can be) come by ssconf; a
//! change counts at once, also for those that wait already.
//!
//! ```text
//!   copy ─┐                      rate
//!   copy ─┼─► ask: asked += n     │
//!   wipe ─┘   wait until  allowed ≥ own place in the row
//! ```

use crate::ssconf;
use roost_proto::ids::NodeId;
use roost_proto::paths::Paths;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The ssconf key: lines `<node uuid> <disk_copy_rate> <disk_resync_rate>`, of nodes with a limit.
pub const RATES: &str = "node_disk_rates";
/// What nobody used is saved up for so long at most, seconds.
const BURST: f64 = 0.1;
/// Nobody that waits sleeps longer without looking whether it is still wanted.
const LOOK: Duration = Duration::from_millis(200);
const MIB: u64 = 1 << 20;

/// A row of those that want to move bytes, and how far it may have got. Pure: the time is given,
/// from any beginning.
#[derive(Debug, Default)]
pub struct Bucket {
    /// Bytes a second; 0: as fast as can be.
    rate: u64,
    /// Bytes asked for since the beginning.
    asked: f64,
    /// Of those, how many may have moved.
    allowed: f64,
    at: Duration,
}

/// A place in the row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turn(f64);

impl Bucket {
    fn advance(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        let rate = self.rate as f64;
        self.allowed = match self.rate {
            0 => self.asked,
            _ => (self.allowed + rate * passed).min(self.asked + rate * BURST),
        };
    }

    /// From now on so fast.
    pub fn set_rate(&mut self, now: Duration, rate: u64) {
        self.advance(now);
        self.rate = rate;
    }

    /// Takes a place at the end of the row.
    pub fn ask(&mut self, now: Duration, bytes: u64) -> Turn {
        self.advance(now);
        self.asked += bytes as f64;
        Turn(self.asked)
    }

    /// How long it is until then, if nothing changes.
    pub fn wait(&mut self, now: Duration, turn: Turn) -> Duration {
        self.advance(now);
        let missing = turn.0 - self.allowed;
        if self.rate == 0 || missing <= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(missing / self.rate as f64).unwrap_or(Duration::MAX)
    }
}

/// The bucket of this node. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bucket: Mutex<Bucket>,
    changed: Condvar,
    beginning: Instant,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget(Arc::new(Inner {
            bucket: Mutex::default(),
            changed: Condvar::new(),
            beginning: Instant::now(),
        }))
    }
}

impl Budget {
    /// Bytes a second from now on; 0: as fast as can be.
    pub fn set_rate(&self, rate: u64) {
        let now = self.now();
        self.lock().set_rate(now, rate);
        self.0.changed.notify_all();
    }

    /// Bytes a second; 0: as fast as can be.
    pub fn rate(&self) -> u64 {
        self.lock().rate
    }

    /// Waits until so many bytes may move. `wanted` tells whether they still shall: if not, it
    /// returns early. Blocks.
    pub fn take(&self, bytes: u64, wanted: impl Fn() -> bool) {
        let mut bucket = self.lock();
        let turn = bucket.ask(self.now(), bytes);
        loop {
            let wait = bucket.wait(self.now(), turn);
            if wait.is_zero() || !wanted() {
                return;
            }
            let waited = self.0.changed.wait_timeout(bucket, wait.min(LOOK));
            bucket = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn now(&self) -> Duration {
        self.0.beginning.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Bucket> {
        self.0.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a node may spend.
#[derive(Clone, Debug, Default)]
pub struct Budgets {
    /// On copies, exports, imports and wipes.
    pub copies: Budget,
    /// MiB a second on all resynchronizations of mirrors together; 0: as fast as can be.
    resync: watch::Sender<u64>,
}

impl Budgets {
    /// Takes what ssconf says.
    pub fn follow(&self, paths: &Paths, node: NodeId) {
        let (copy, resync) = rates(&ssconf::lines(paths, RATES), node);
        let copy = copy.saturating_mul(MIB);
        if self.copies.rate() != copy {
            tracing::info!(bytes_per_second = copy, "the budget of copies changes");
            self.copies.set_rate(copy);
        }
        self.resync.send_if_modified(|known| std::mem::replace(known, resync) != resync);
    }

    /// MiB a second for all resynchronizations together, and every change of it.
    pub fn resync(&self) -> watch::Receiver<u64> {
        self.resync.subscribe()
    }
}

/// A node's line; without one nothing is limited.
fn rates(lines: &[String], node: NodeId) -> (u64, u64) {
    let node = node.to_string();
    let of = |line: &String| {
        let mut words = line.split(' ');
        if words.next() != Some(&node) {
            return None;
        }
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    lines.iter().find_map(of).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Ten copies, each asking for its next piece when the last one has moved: bytes until `end`.
    fn ten(bucket: &mut Bucket, start: Duration, end: Duration, piece: u64) -> [u64; 10] {
        let mut moved = [0; 10];
        let mut now = start;
        let mut turns: Vec<Turn> = (0..10).map(|_| bucket.ask(now, piece)).collect();
        while now < end {
            for (turn, moved) in turns.iter_mut().zip(&mut moved) {
                if bucket.wait(now, *turn).is_zero() {
                    *moved += piece;
                    *turn = bucket.ask(now, piece);
                }
            }
            let next = turns.iter().map(|turn| bucket.wait(now, *turn)).min().expect("ten");
            now += next.max(Duration::from_micros(10));
        }
        moved
    }

    #[test]
    fn ten_copies_together_keep_to_the_budget_and_share_it() {
        let mut bucket = Bucket::default();
        bucket.set_rate(SECOND, 50 * MIB);
        let moved = ten(&mut bucket, SECOND, 11 * SECOND, MIB);
        let all: u64 = moved.iter().sum();
        let budget = 500 * MIB;
        assert!(all <= budget + 5 * MIB && all >= budget - 10 * MIB, "{}", all / MIB);
        let (least, most) = (moved.iter().min().expect("ten"), moved.iter().max().expect("ten"));
        assert!(most - least <= MIB, "{least} {most}");
    }

    #[test]
    fn what_was_not_used_is_not_saved_up() {
        let mut bucket = Bucket::default();
        bucket.set_rate(Duration::ZERO, 10 * MIB);
        let hour = 3600 * SECOND;
        let moved: u64 = ten(&mut bucket, hour, hour + SECOND, MIB).iter().sum();
        assert!(moved <= 11 * MIB, "{moved}");
    }

    #[test]
    fn a_change_counts_for_those_that_wait() {
        let mut bucket = Bucket::default();
        bucket.set_rate(Duration::ZERO, MIB);
        let turns: Vec<Turn> = (0..10).map(|_| bucket.ask(Duration::ZERO, 10 * MIB)).collect();
        let wait = bucket.wait(Duration::ZERO, turns[9]);
        assert_eq!(wait.as_secs(), 100);
        bucket.set_rate(SECOND, 99 * MIB);
        assert!(bucket.wait(2 * SECOND, turns[9]).is_zero());
        let turn = bucket.ask(2 * SECOND, 1000 * MIB);
        bucket.set_rate(2 * SECOND, 0);
        assert!(bucket.wait(2 * SECOND, turn).is_zero(), "no limit any more");
    }

    #[test]
    fn whoever_is_not_wanted_any_more_does_not_wait() {
        let budget = Budget::default();
        budget.set_rate(1);
        budget.take(1 << 30, || false);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| budget.take(1 << 40, || true));
            budget.set_rate(0);
            waiting.join().expect("let go by the change");
        });
    }

    #[test]
    fn ssconf_names_nodes() {
        let node: NodeId = "aaaaaaaa-0000-4000-8000-000000000001".parse().expect("uuid");
        let lines = ["aaaaaaaa-0000-4000-8000-000000000002 5 6".to_owned(), format!("{node} 50 7")];
        assert_eq!(rates(&lines, node), (50, 7));
        assert_eq!(rates(&lines[..1], node), (0, 0));
        assert_eq!(rates(&[format!("{node} x")], node), (0, 0));
    }
}
