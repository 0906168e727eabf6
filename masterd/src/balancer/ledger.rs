//! What the balancer did: how much of the hour's budget is used, and which instances rest.
//!
//! ```text
//!   charge ─ stored ─► submitted ─ its job ended ─► done │ failed ─► the instance rests, twice as long each time
//!      │                                            (forgotten after an hour)
//!      └─ the leader ended in between: no job has its mark ─► not submitted
//! ```
//!
//! A move is charged, and that is durable, before its job is submitted: whatever happens in between, no hour has more
//! moves than it may have. What was charged stays charged, also if the move failed.

use crate::store::{Key, Space};
use roost_proto::ids::{GroupId, InstanceId, JobId};
use roost_proto::job::JobStatus;
use roost_proto::objects::Balancer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The hour of "moves in any hour", seconds.
pub const HOUR: f64 = 3600.0;
/// How long an instance rests after the first failure, seconds.
const REST: f64 = 600.0;
/// And at most.
const LONGEST_REST: f64 = 86_400.0;

/// A move that was decided on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Charge {
    /// In the reason trail of its job.
    pub mark: u64,
    /// Seconds since 1970.
    pub at: f64,
    pub group: GroupId,
    pub instance: InstanceId,
    /// MiB to be copied.
    pub copy: u64,
    pub job: Option<JobId>,
    pub end: Option<End>,
}

/// What became of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    Done,
    Failed,
    /// Its job was refused, or the leader ended before it could submit it.
    NotSubmitted,
}

impl End {
    /// Of a job that has ended. None: it has not.
    pub fn of(status: JobStatus) -> Option<End> {
        match status {
            JobStatus::Success => Some(End::Done),
            status if status.is_final() => Some(End::Failed),
            _ => None,
        }
    }
}

/// An instance is let be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rest {
    /// Moves that failed, one after the other.
    pub failures: u32,
    /// Seconds since 1970.
    pub until: f64,
}

/// See the module. A document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// Oldest first.
    pub charges: Vec<Charge>,
    pub rests: BTreeMap<InstanceId, Rest>,
    pub last_mark: u64,
}

/// A move to be charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    pub instance: InstanceId,
    /// MiB.
    pub copy: u64,
}

impl Ledger {
    /// Where it is stored.
    pub fn key() -> Key {
        Key::new(Space::Meta, "balancer")
    }

    /// What is left of the hour that ends now: moves, and MiB. A clock that was set back makes it less, never more.
    pub fn left(&self, settings: &Balancer, now: f64) -> (u32, u64) {
        let mut left = (settings.moves_per_hour, settings.copy_per_hour);
        for charge in self.charges.iter().filter(|charge| charge.counts(now)) {
            left = (left.0.saturating_sub(1), left.1.saturating_sub(charge.copy));
        }
        left
    }

    /// When more is left than now. None: nothing is used.
    pub fn more_at(&self, now: f64) -> Option<f64> {
        let counting = self.charges.iter().filter(|charge| charge.counts(now));
        counting.map(|charge| charge.at + HOUR).reduce(f64::min)
    }

    /// Charges moves of a group. Returns their marks. None: they are more than is left.
    pub fn charge(
        &mut self,
        settings: &Balancer,
        group: GroupId,
        moves: &[Cost],
        now: f64,
    ) -> Option<Vec<u64>> {
        let (most, copy) = self.left(settings, now);
        let wanted: u64 = moves.iter().map(|cost| cost.copy).sum();
        if moves.len() as u64 > u64::from(most) || wanted > copy {
            return None;
        }
        let mut marks = Vec::with_capacity(moves.len());
        for Cost { instance, copy } in moves {
            self.last_mark += 1;
            marks.push(self.last_mark);
            self.charges.push(Charge {
                mark: self.last_mark,
                at: now,
                group,
                instance: *instance,
                copy: *copy,
                job: None,
                end: None,
            });
        }
        Some(marks)
    }

    /// The job of a move is known.
    pub fn submitted(&mut self, mark: u64, job: JobId) {
        if let Some(charge) = self.charges.iter_mut().find(|charge| charge.mark == mark) {
            charge.job = Some(job);
        }
    }

    /// A move has come to its end.
    pub fn ended(&mut self, mark: u64, end: End, now: f64) {
        let Some(charge) = self.charges.iter_mut().find(|charge| charge.mark == mark) else {
            return;
        };
        charge.end = Some(end);
        match end {
            End::Done => drop(self.rests.remove(&charge.instance)),
            End::NotSubmitted => {}
            End::Failed => {
                let rest = self.rests.entry(charge.instance);
                let rest = rest.or_insert(Rest { failures: 0, until: now });
                rest.failures = rest.failures.saturating_add(1);
                let doubled = f64::from(2_u32.saturating_pow(rest.failures - 1));
                rest.until = now + (REST * doubled).min(LONGEST_REST);
            }
        }
    }

    /// Moves that have not ended.
    pub fn open(&self) -> impl Iterator<Item = &Charge> {
        self.charges.iter().filter(|charge| charge.end.is_none())
    }

    /// Instances that rest.
    pub fn resting(&self, now: f64) -> impl Iterator<Item = (InstanceId, &Rest)> {
        let resting = self.rests.iter().filter(move |(_, rest)| rest.until > now);
        resting.map(|(instance, rest)| (*instance, rest))
    }

    /// Forgets what does not matter any more: moves of earlier hours, rests that have been over for as long as the
    /// longest takes.
    pub fn tidy(&mut self, now: f64) {
        self.charges.retain(|charge| charge.end.is_none() || charge.counts(now));
        self.rests.retain(|_, rest| rest.until + LONGEST_REST > now);
    }
}

impl Charge {
    fn counts(&self, now: f64) -> bool {
        now - self.at < HOUR
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn instance(number: u128) -> InstanceId {
        InstanceId(Uuid::from_u128(number))
    }

    fn group() -> GroupId {
        GroupId(Uuid::from_u128(1))
    }

    fn settings(moves: u32, copy: u64) -> Balancer {
        Balancer { moves_per_hour: moves, copy_per_hour: copy, ..Balancer::default() }
    }

    fn costs(copies: &[u64]) -> Vec<Cost> {
        let cost = |(at, copy): (usize, &u64)| Cost { instance: instance(at as u128), copy: *copy };
        copies.iter().enumerate().map(cost).collect()
    }

    #[test]
    fn an_hour_slides() {
        let (mut ledger, settings) = (Ledger::default(), settings(3, 100));
        assert_eq!(ledger.more_at(0.0), None);
        assert_eq!(ledger.charge(&settings, group(), &costs(&[30, 30]), 1000.0), Some(vec![1, 2]));
        assert_eq!(
            ledger.charge(&settings, group(), &costs(&[50]), 1001.0),
            None,
            "too much to copy"
        );
        assert_eq!(ledger.charge(&settings, group(), &costs(&[0, 0]), 1001.0), None, "too many");
        assert_eq!(ledger.charge(&settings, group(), &costs(&[40]), 2000.0), Some(vec![3]));
        assert_eq!(ledger.left(&settings, 4599.9), (0, 0));
        assert_eq!(ledger.more_at(4599.9), Some(4600.0));
        assert_eq!(ledger.left(&settings, 4600.0), (2, 60));
        assert_eq!(ledger.left(&settings, 500.0), (0, 0), "the clock was set back");
        let less = Balancer { moves_per_hour: 1, copy_per_hour: 10, ..settings };
        assert_eq!(ledger.left(&less, 4600.0), (0, 0), "the budget was made smaller");
    }

    #[test]
    fn who_fails_rests_twice_as_long_each_time() {
        let (mut ledger, settings) = (Ledger::default(), settings(100, 0));
        let mut rests = vec![];
        for _ in 0..9 {
            let mark = ledger.charge(&settings, group(), &costs(&[0]), 0.0).expect("room")[0];
            ledger.ended(mark, End::Failed, 1000.0);
            rests.push(ledger.rests[&instance(0)].until - 1000.0);
        }
        let wanted = [600.0, 1200.0, 2400.0, 4800.0, 9600.0, 19200.0, 38400.0, 76800.0, 86400.0];
        assert_eq!(rests, wanted);
        assert_eq!(ledger.resting(87_399.0).count(), 1);
        assert_eq!(ledger.resting(87_400.0).count(), 0);
        ledger.tidy(87_400.0);
        assert_eq!(ledger.rests[&instance(0)].failures, 9, "the next one doubles, too");
        let mark = ledger.charge(&settings, group(), &costs(&[0]), 87_400.0).expect("room")[0];
        ledger.ended(mark, End::Done, 87_401.0);
        assert!(ledger.rests.is_empty());
    }

    #[test]
    fn what_is_over_is_forgotten_and_what_is_open_is_not() {
        let (mut ledger, settings) = (Ledger::default(), settings(9, 0));
        ledger.charge(&settings, group(), &costs(&[0, 0, 0]), 0.0).expect("room");
        ledger.submitted(1, JobId(7));
        ledger.ended(1, End::Done, 5.0);
        ledger.ended(2, End::NotSubmitted, 5.0);
        ledger.tidy(3599.0);
        assert_eq!(ledger.charges.len(), 3);
        ledger.tidy(3600.0);
        assert_eq!(ledger.open().map(|charge| charge.mark).collect::<Vec<_>>(), [3]);
        assert!(ledger.rests.is_empty(), "nothing failed");
        let text = serde_json::to_string(&ledger).expect("plain data");
        assert_eq!(serde_json::from_str::<Ledger>(&text).expect("the same"), ledger);
        assert_eq!(serde_json::from_str::<Ledger>("{}").expect("nothing"), Ledger::default());
    }

    proptest! {
        #[test]
        fn no_hour_ever_has_more_than_it_may(
            asks in prop::collection::vec((0..600_u32, 1..4_usize, 0..40_u64), 1..120),
        ) {
            let (mut ledger, settings) = (Ledger::default(), settings(5, 90));
            let (mut now, mut all) = (0.0, vec![]);
            for (later, count, copy) in asks {
                now += f64::from(later);
                if let Some(marks) = ledger.charge(&settings, group(), &costs(&vec![copy; count]), now) {
                    all.extend(marks.iter().map(|_| (now, copy)));
                    marks.into_iter().for_each(|mark| ledger.ended(mark, End::Done, now));
                }
                // A new leader knows what was stored.
                let stored = serde_json::to_string(&ledger).expect("plain data");
                ledger = serde_json::from_str(&stored).expect("the same");
                ledger.tidy(now);
            }
            for (begin, _) in &all {
                let hour = all.iter().filter(|(at, _)| (*begin..*begin + HOUR).contains(at));
                let (count, copied) = hour.fold((0, 0), |(n, c), (_, copy)| (n + 1, c + copy));
                prop_assert!(count <= 5 && copied <= 90, "{count} moves, {copied} MiB");
            }
        }
    }
}
