//! Groups, with a clock that the test turns.

use super::super::ledger::{Cost, End, Ledger};
use super::*;
use roost_proto::balancer::MoveTold;
use roost_proto::ids::{GroupId, InstanceId};
use uuid::Uuid;

const INSTANCE: InstanceId = InstanceId(Uuid::from_u128(7));
const GROUP: GroupId = GroupId(Uuid::from_u128(1));

fn settings() -> Balancer {
    Balancer { mode: BalancerMode::On, moves_per_hour: 2, ..Balancer::default() }
}

fn plan(gain: f64, moves: usize) -> PlanTold {
    PlanTold { before: 5.0, after: 5.0 - gain, moves: vec![MoveTold::default(); moves], made: 0.0 }
}

/// A group whose leader goes through time.
struct Run {
    group: Group,
    ledger: Ledger,
    settings: Balancer,
    now: f64,
}

impl Run {
    fn new() -> Run {
        let (group, ledger) = (Group::new("default".into()), Ledger::default());
        Run { group, ledger, settings: settings(), now: 1000.0 }
    }

    fn see(&mut self, later: f64, sight: Sight) -> Next {
        self.now += later;
        self.ledger.tidy(self.now);
        let left = self.ledger.left(&self.settings, self.now);
        let state = (self.ledger.open().count(), left, self.ledger.more_at(self.now));
        self.group.look(&sight, &self.settings, state, self.now)
    }

    fn score(&mut self, later: f64, excess: f64) -> Next {
        self.see(later, Sight::Known { score: 2.0 + excess, unavoidable: 2.0 })
    }

    /// A plan of one move is begun.
    fn begin(&mut self) -> u64 {
        assert!(self.group.planned(plan(3.0, 1), 0.5, &self.settings, self.now));
        let cost = [Cost { instance: INSTANCE, copy: 10 }];
        self.ledger.charge(&self.settings, GROUP, &cost, self.now).expect("a budget")[0]
    }

    fn doing(&self) -> String {
        self.group.told().doing
    }
}

const PLAN: Next = Next::Plan { moves: 2, copy: 100 << 10 };

#[test]
fn it_acts_when_it_was_above_for_the_whole_hold_time() {
    let mut run = Run::new();
    assert_eq!(run.score(0.0, 1.0), Next::Leave);
    assert_eq!(run.doing(), "is balanced well enough", "the threshold itself is not above it");
    assert_eq!(run.group.told().score, Some(3.0));
    assert_eq!(run.score(30.0, 1.1), Next::Leave);
    assert_eq!(run.doing(), "is out of balance; acts in 600 s, if it still is then");
    assert_eq!(run.score(599.0, 4.0), Next::Leave);
    assert_eq!(run.group.told().above_since, Some(1030.0));
    assert_eq!(run.score(1.0, 4.0), PLAN);
}

#[test]
fn flapping_around_the_threshold_never_acts() {
    let mut run = Run::new();
    for _ in 0..100 {
        assert_eq!(run.score(300.0, 1.5), Next::Leave);
        assert_eq!(run.score(299.0, 1.5), Next::Leave);
        assert_eq!(run.score(1.0, 0.9), Next::Leave);
    }
}

#[test]
fn what_is_not_known_is_not_held_against_a_group() {
    for sight in [Sight::Excluded, Sight::Unknown("node2 has not reported".into())] {
        let mut run = Run::new();
        run.score(0.0, 4.0);
        assert_eq!(run.see(300.0, sight), Next::Leave);
        assert!(run.doing().starts_with("is left alone: "), "{}", run.doing());
        assert_eq!(run.group.told().above_since, None);
        run.score(1.0, 4.0);
        assert_eq!(run.score(599.0, 4.0), Next::Leave);
        assert_eq!(run.score(1.0, 4.0), PLAN);
    }
}

#[test]
fn jobs_of_others_are_waited_for() {
    let mut run = Run::new();
    run.score(0.0, 4.0);
    assert_eq!(run.see(700.0, Sight::Busy("job 17".into())), Next::Leave);
    assert_eq!(run.doing(), "waits for job 17");
    assert_eq!(run.score(30.0, 4.0), PLAN, "it was above before, and still is");
    run.see(1.0, Sight::Busy("job 18".into()));
    assert_eq!(run.score(30.0, 0.5), Next::Leave, "they have balanced it");
    assert_eq!(run.score(30.0, 4.0), Next::Leave);
}

#[test]
fn it_looks_again_after_its_moves_and_stops_at_its_budget() {
    let mut run = Run::new();
    run.score(0.0, 4.0);
    assert_eq!(run.score(600.0, 4.0), PLAN);
    let first = run.begin();
    assert_eq!(run.score(1.0, 4.0), Next::Leave);
    assert_eq!(run.doing(), "waits for 1 of its moves");
    assert_eq!(run.score(3000.0, 4.0), Next::Leave, "however long they take");
    run.ledger.ended(first, End::Done, run.now);
    assert_eq!(run.score(1.0, 3.0), Next::Plan { moves: 1, copy: (100 << 10) - 10 });
    let second = run.begin();
    run.ledger.ended(second, End::Done, run.now);
    assert_eq!(run.score(1.0, 3.0), Next::Leave);
    assert_eq!(run.doing(), "has to wait: the hour's moves are used up for another 597 s");
    assert_eq!(run.score(597.0, 3.0), Next::Plan { moves: 1, copy: (100 << 10) - 10 });
    assert_eq!(run.score(0.0, 0.9), Next::Leave, "what was won is enough");
}

#[test]
fn a_plan_has_to_win_more_than_the_margin() {
    let mut run = Run::new();
    run.score(0.0, 4.0);
    assert_eq!(run.score(600.0, 4.0), PLAN);
    assert!(!run.group.planned(plan(0.15, 2), 0.0, &run.settings, run.now));
    assert!(run.doing().contains("wins 0.1500, not more than the margin 0.2"), "{}", run.doing());
    assert_eq!(run.group.told().plan, None);
    assert_eq!(run.score(30.0, 4.0), PLAN, "it is tried again");
    assert!(!run.group.planned(plan(0.0, 0), 10.0, &run.settings, run.now));
    assert_eq!(run.doing(), "stays: no move that is allowed makes it better");
    assert_eq!(run.score(199.0, 4.0), Next::Leave, "a plan that took long has to pay for it");
    assert_eq!(run.score(1.0, 4.0), PLAN);
}

#[test]
fn a_report_begins_nothing() {
    let mut run = Run::new();
    run.settings.mode = BalancerMode::Report;
    run.score(0.0, 4.0);
    for _ in 0..10 {
        assert_eq!(run.score(600.0, 4.0), PLAN);
        assert!(!run.group.planned(plan(3.0, 2), 0.1, &run.settings, run.now));
        assert_eq!(run.doing(), "would begin a plan of 2 moves");
        assert_eq!(run.group.told().plan.expect("a plan").moves.len(), 2);
    }
    run.score(1.0, 0.5);
    assert_eq!(run.group.told().plan, None, "it is not needed any more");
}

#[test]
fn a_new_leader_holds_anew_and_keeps_to_the_budget() {
    let mut run = Run::new();
    run.score(0.0, 4.0);
    run.score(600.0, 4.0);
    let first = run.begin();
    run.ledger.ended(first, End::Failed, run.now);
    assert_eq!(run.score(30.0, 4.0), Next::Plan { moves: 1, copy: (100 << 10) - 10 });
    let second = run.begin();
    // Another leads, with what was stored.
    let mut next = Run { ledger: run.ledger, now: run.now, ..Run::new() };
    assert_eq!(next.score(1.0, 4.0), Next::Leave);
    assert_eq!(next.doing(), "waits for 1 of its moves");
    next.ledger.ended(second, End::Done, next.now);
    assert_eq!(next.score(599.0, 4.0), Next::Leave);
    assert!(next.doing().starts_with("is out of balance; acts in 1 s"), "{}", next.doing());
    assert_eq!(next.score(2.0, 4.0), Next::Leave, "the hour's budget was used by the one before");
    assert_eq!(next.ledger.resting(next.now).count(), 0, "it moved in the end");
}

#[test]
fn a_clock_that_is_set_back_acts_neither_early_nor_never() {
    let mut run = Run::new();
    run.score(0.0, 4.0);
    assert_eq!(run.score(-500.0, 4.0), Next::Leave);
    assert_eq!(run.score(599.0, 4.0), Next::Leave);
    assert_eq!(run.score(1.0, 4.0), PLAN);
}

#[test]
fn a_score_that_is_no_number_is_not_acted_on() {
    let mut run = Run::new();
    for _ in 0..3 {
        assert_eq!(run.score(700.0, f64::NAN), Next::Leave);
    }
}
