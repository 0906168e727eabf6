//! The state of an instance between two runs, and how it changes.

use super::policy::Policy;
use super::tags::{Outcome, Record, Repair};
use std::collections::BTreeMap;

/// How a job is that was to mend something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    NotYet,
    Well,
    /// It failed, was cancelled, or nobody knows of it any more.
    Badly,
}

/// How an instance is, as its tags tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// No repair goes on; with the last one that ended.
    Healthy(Option<Record>),
    /// It is broken, and what would mend it is not allowed.
    NeedsRepair(Record),
    /// Jobs are under way.
    Pending(Record),
    /// Jobs failed. Nothing is done until somebody removes the tag.
    Failed(Record),
}

impl State {
    /// Its name: Ganeti's.
    pub fn name(&self) -> &'static str {
        match self {
            State::Healthy(_) => "Healthy",
            State::NeedsRepair(_) => "Needs repair",
            State::Pending(_) => "Pending repair",
            State::Failed(_) => "Failure",
        }
    }

    /// The repair it comes from.
    pub fn record(&self) -> Option<&Record> {
        match self {
            State::Healthy(record) => record.as_ref(),
            State::NeedsRepair(record) | State::Pending(record) | State::Failed(record) => {
                Some(record)
            }
        }
    }
}

/// An instance's state, and the tags that have become wrong with its last change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    pub state: State,
    /// To be removed once the state's own tag is there.
    pub stale: Vec<String>,
}

/// Why nothing is done about a broken instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The policy says nothing, or to wait.
    Policy(Policy),
    /// At most this is allowed.
    AtMost(Repair),
    /// At most this is allowed, and the instance's tags say so already.
    Known(Repair),
}

impl Watched {
    /// Of an instance's tags. Errors: they contradict each other.
    ///
    /// Tags with one id are of one repair, of which the result counts. Of several repairs the earliest failure counts,
    /// else one that is pending, else the latest. A repair that began while another was pending is an error.
    pub fn of(name: &str, tags: &[String]) -> Result<Watched, String> {
        let mut repairs: BTreeMap<String, Vec<Record>> = BTreeMap::new();
        for record in tags.iter().filter_map(|tag| Record::of(tag)) {
            repairs.entry(record.id.clone()).or_default().push(record);
        }
        let mut repairs: Vec<Vec<Record>> = repairs.into_values().collect();
        repairs.sort_by_key(|records| records.iter().map(|record| record.time).min());
        let mut watched = Watched { state: State::Healthy(None), stale: vec![] };
        for mut records in repairs {
            records.sort_by_key(|record| (record.outcome, record.time));
            let Some(newest) = records.pop() else { continue };
            match &watched.state {
                State::Failed(_) => continue,
                State::Pending(older) => {
                    return Err(format!(
                        "An unfinished repair was found in instance {name}: found tag {:?}, but older pending \
                         tag {:?} exists; remove the one that is wrong with 'gnt-instance remove-tags'",
                        newest.tag(),
                        older.tag()
                    ));
                }
                _ => watched.stale.extend(watched.state.record().map(Record::tag)),
            }
            watched.stale.extend(records.iter().map(Record::tag));
            watched.state = match newest.outcome {
                None => State::Pending(newest),
                Some(Outcome::Failure) => State::Failed(newest),
                Some(Outcome::Success | Outcome::NotAllowed) => State::Healthy(Some(newest)),
            };
        }
        Ok(watched)
    }

    fn change(self, state: State) -> Watched {
        let mut stale = self.stale;
        stale.extend(self.state.record().map(Record::tag));
        Watched { state, stale }
    }

    /// What becomes of a pending repair whose jobs are like this, at a time in seconds since 1970. None: it stays.
    pub fn settle(&self, jobs: &[Ended], now: i64) -> Option<Watched> {
        let State::Pending(record) = &self.state else { return None };
        if jobs.contains(&Ended::NotYet) {
            return None;
        }
        let well = jobs.iter().all(|job| *job == Ended::Well);
        let outcome = Some(if well { Outcome::Success } else { Outcome::Failure });
        let record = Record { outcome, time: now, ..record.clone() };
        let state = if well { State::Healthy(Some(record)) } else { State::Failed(record) };
        Some(self.clone().change(state))
    }

    /// Whether a broken instance may be mended. None: its state forbids it, and everything was said about it.
    pub fn may(&self, repair: Repair, policy: Policy) -> Option<Result<(), Refusal>> {
        let State::Healthy(last) = &self.state else { return None };
        Some(match policy {
            Policy::Enabled(most) if repair <= most => Ok(()),
            Policy::Enabled(most) => {
                let known = last.as_ref().is_some_and(|last| {
                    (last.repair, last.outcome) == (repair, Some(Outcome::NotAllowed))
                });
                Err(if known { Refusal::Known(most) } else { Refusal::AtMost(most) })
            }
            policy => Err(Refusal::Policy(policy)),
        })
    }

    /// A repair that is not allowed.
    pub fn refuse(self, repair: Repair, id: String, now: i64) -> Watched {
        let outcome = Some(Outcome::NotAllowed);
        let record = Record { repair, id, time: now, jobs: vec![], outcome };
        self.change(State::NeedsRepair(record))
    }

    /// The same where it has been said before: the tags stay as they are.
    pub fn still_refused(self) -> Watched {
        match self.state {
            State::Healthy(Some(record)) => {
                Watched { state: State::NeedsRepair(record), stale: self.stale }
            }
            state => Watched { state, stale: self.stale },
        }
    }

    /// A repair whose jobs are submitted.
    pub fn begin(self, repair: Repair, id: String, now: i64, jobs: Vec<u64>) -> Watched {
        self.change(State::Pending(Record { repair, id, time: now, jobs, outcome: None }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tag(rest: &str) -> String {
        format!("ganeti:watcher:autorepair:{rest}")
    }

    fn of(tags: &[&str]) -> Watched {
        let tags: Vec<String> = tags.iter().map(|rest| tag(rest)).collect();
        Watched::of("web", &tags).expect("no contradiction")
    }

    /// State, its tag, and tags to be removed.
    fn shown(watched: &Watched) -> (&'static str, Option<String>, &[String]) {
        (watched.state.name(), watched.state.record().map(Record::tag), &watched.stale)
    }

    const PENDING: &str = "pending:failover:a:10:7+8";
    const SUCCESS: &str = "result:failover:a:20:success:7+8";
    const FAILURE: &str = "result:failover:a:20:failure:7+8";
    const REFUSED: &str = "result:failover:a:20:enoperm:";

    #[test]
    fn tags_are_the_state() {
        assert_eq!(shown(&of(&[])), ("Healthy", None, &[][..]));
        assert_eq!(shown(&of(&["failover"])), ("Healthy", None, &[][..]));
        for (rest, name) in [
            (PENDING, "Pending repair"),
            (SUCCESS, "Healthy"),
            (FAILURE, "Failure"),
            (REFUSED, "Healthy"),
        ] {
            assert_eq!(shown(&of(&[rest])), (name, Some(tag(rest)), &[][..]));
        }
    }

    #[test]
    fn a_result_goes_before_what_was_pending() {
        let watched = of(&[SUCCESS, PENDING]);
        assert_eq!(shown(&watched), ("Healthy", Some(tag(SUCCESS)), &[tag(PENDING)][..]));
        assert_eq!(of(&[FAILURE, SUCCESS]).state.name(), "Failure");
    }

    #[test]
    fn the_latest_success_counts_and_the_earliest_failure() {
        let later = "result:migrate:b:30:success:9";
        let watched = of(&[later, SUCCESS]);
        assert_eq!(shown(&watched), ("Healthy", Some(tag(later)), &[tag(SUCCESS)][..]));
        let failure = "result:migrate:b:30:failure:9";
        assert_eq!(of(&[failure, SUCCESS]).state.record().map(Record::tag), Some(tag(failure)));
        assert_eq!(of(&[failure, FAILURE]).state.record().map(Record::tag), Some(tag(FAILURE)));
        let pending = "pending:migrate:b:30:9";
        assert_eq!(of(&[pending, SUCCESS]).state.record().map(Record::tag), Some(tag(pending)));
        assert_eq!(of(&[pending, FAILURE]).state.record().map(Record::tag), Some(tag(FAILURE)));
    }

    #[test]
    fn two_at_once_are_a_contradiction() {
        for later in ["pending:migrate:b:30:9", "result:migrate:b:30:success:9"] {
            let tags = [tag(PENDING), tag(later)];
            let error = Watched::of("web", &tags).expect_err(later);
            assert!(error.contains("in instance web") && error.contains(&tags[0]), "{error}");
        }
    }

    #[test]
    fn a_pending_repair_ends_with_its_jobs() {
        let pending = of(&[PENDING]);
        assert_eq!(pending.settle(&[Ended::Well, Ended::NotYet], 20), None);
        assert_eq!(pending.settle(&[Ended::Badly, Ended::NotYet], 20), None);
        let well = pending.settle(&[Ended::Well, Ended::Well], 20).expect("settled");
        assert_eq!(shown(&well), ("Healthy", Some(tag(SUCCESS)), &[tag(PENDING)][..]));
        let badly = pending.settle(&[Ended::Well, Ended::Badly], 20).expect("settled");
        assert_eq!(shown(&badly), ("Failure", Some(tag(FAILURE)), &[tag(PENDING)][..]));
        for rest in [SUCCESS, FAILURE, REFUSED] {
            assert_eq!(of(&[rest]).settle(&[Ended::Well], 30), None, "{rest}");
        }
    }

    #[test]
    fn a_broken_instance_is_mended_if_that_is_allowed() {
        let healthy = of(&[SUCCESS]);
        let fix = Repair::FixStorage;
        let may = |repair, policy| healthy.may(repair, policy);
        assert_eq!(may(fix, Policy::Enabled(fix)), Some(Ok(())));
        assert_eq!(may(fix, Policy::Enabled(Repair::Reinstall)), Some(Ok(())));
        let refused = Some(Err(Refusal::AtMost(fix)));
        assert_eq!(may(Repair::Failover, Policy::Enabled(fix)), refused);
        for policy in [Policy::NotEnabled, Policy::Suspended(None), Policy::Suspended(Some(9))] {
            assert_eq!(may(fix, policy), Some(Err(Refusal::Policy(policy))));
        }
        for rest in [PENDING, FAILURE] {
            assert_eq!(of(&[rest]).may(fix, Policy::Enabled(fix)), None, "{rest}");
        }
        let begun = of(&[SUCCESS]).begin(fix, "b".into(), 30, vec![9]);
        let pending = tag("pending:fix-storage:b:30:9");
        assert_eq!(shown(&begun), ("Pending repair", Some(pending), &[tag(SUCCESS)][..]));
    }

    #[test]
    fn what_is_not_allowed_is_noted_once() {
        let refused = of(&[]).refuse(Repair::Failover, "a".into(), 20);
        assert_eq!(shown(&refused), ("Needs repair", Some(tag(REFUSED)), &[][..]));
        let next = of(&[REFUSED]);
        let most = Policy::Enabled(Repair::Migrate);
        let known = Some(Err(Refusal::Known(Repair::Migrate)));
        assert_eq!(next.may(Repair::Failover, most), known);
        let other = Some(Err(Refusal::AtMost(Repair::Migrate)));
        assert_eq!(next.may(Repair::Reinstall, most), other);
        let still = next.clone().still_refused();
        assert_eq!(shown(&still), ("Needs repair", Some(tag(REFUSED)), &[][..]));
        assert_eq!(next.may(Repair::Failover, Policy::Enabled(Repair::Failover)), Some(Ok(())));
        let begun = next.begin(Repair::Failover, "b".into(), 30, vec![9]);
        assert_eq!(begun.stale, [tag(REFUSED)]);
    }

    proptest! {
        /// After its tags were changed as told, an instance is in the state that was told.
        #[test]
        fn tags_that_were_changed_are_read_as_the_state(
            begin in any::<bool>(),
            ends in prop::collection::vec(any::<bool>(), 1..4),
            earlier in prop::sample::subsequence(vec![SUCCESS, REFUSED], 0..=2),
        ) {
            let mut tags: Vec<String> = earlier.iter().map(|rest| tag(rest)).collect();
            let first = Watched::of("web", &tags).expect("no contradiction");
            let (repair, jobs) = (Repair::Failover, vec![1; ends.len()]);
            let change = |tags: &mut Vec<String>, watched: &Watched| {
                tags.extend(watched.state.record().map(Record::tag));
                tags.retain(|tag| !watched.stale.contains(tag));
            };
            let next = if begin { first.begin(repair, "z".into(), 50, jobs) } else { first.refuse(repair, "z".into(), 50) };
            change(&mut tags, &next);
            let read = Watched::of("web", &tags).expect("no contradiction");
            prop_assert_eq!(read.state.record(), next.state.record());
            let ends: Vec<Ended> = ends.iter().map(|well| if *well { Ended::Well } else { Ended::Badly }).collect();
            if let Some(settled) = read.settle(&ends, 60) {
                change(&mut tags, &settled);
                let read = Watched::of("web", &tags).expect("no contradiction");
                prop_assert_eq!(read.state, settled.state);
                prop_assert_eq!(tags.len(), 1);
            }
        }
    }
}
