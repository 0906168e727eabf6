//! Replication, elections and fencing, simulated: every message, timer, write and fault of a
//! cluster in one seeded order. What decides is the product's own: `Leader`, `Follower`, `Ballot`
//! and `Voters`; the shell around them is rebuilt here, step by step.
//!
//! ```text
//!   seed ─► operator: wishes and faults ─► world: machines, disks, network, clock ─► checker
//!              leading.rs, electing.rs, replica.rs: the shell around the product's rules
//! ```
//!
//! `SEED=n cargo test --workspace --test replication one_seed -- --nocapture` shows the history of a
//! run (`LINES=n` lines of it); `SEEDS=n … -- --ignored` runs many.

#[path = "replication/checker.rs"]
mod checker;
#[path = "replication/electing.rs"]
mod electing;
#[path = "replication/leading.rs"]
mod leading;
#[path = "replication/machine.rs"]
mod machine;
#[path = "replication/operator.rs"]
mod operator;
#[path = "replication/random.rs"]
mod random;
#[path = "replication/replica.rs"]
mod replica;
#[path = "replication/world.rs"]
mod world;

use checker::Stats;
use operator::run;
use std::sync::atomic::{AtomicU64, Ordering};
use world::Mutation;

/// Seeds that found something once.
const REGRESSIONS: &[u64] = &[344, 462, 761, 1033, 1134, 1141, 2221, 3547, 4102];

/// Runs a seed; a failure is run again to tell its history.
fn holds(seed: u64) -> Stats {
    match run(seed, Mutation::None, false) {
        Ok(stats) => stats,
        Err(failure) => {
            let told = run(seed, Mutation::None, true).err();
            let history = told.map(|told| told.history).unwrap_or_default();
            panic!("{history}\n\nSEED={seed}: {}", failure.why)
        }
    }
}

fn add(sum: &mut Stats, one: Stats) {
    sum.acknowledged += one.acknowledged;
    sum.elections += one.elections;
    sum.forced += one.forced;
    sum.excused += one.excused;
    sum.stuck += one.stuck;
    sum.restarted += one.restarted;
    sum.readded += one.readded;
    sum.recovery = sum.recovery.max(one.recovery);
}

/// Runs seeds `from..to` on two threads.
fn all(from: u64, to: u64) -> Stats {
    let next = AtomicU64::new(from);
    let work = || {
        let mut sum = Stats::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= to {
                return sum;
            }
            add(&mut sum, holds(seed));
        }
    };
    let sums = std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads.map(|thread| thread.join())
    });
    let mut sum = Stats::default();
    for one in sums {
        match one {
            Ok(one) => add(&mut sum, one),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    sum
}

#[test]
fn what_counts_is_never_lost() {
    let sum = all(0, 500);
    println!("{sum:?}");
    assert!(sum.acknowledged > 10_000, "too little happens: {sum:?}");
    assert!(sum.elections > 1_500, "too few elections: {sum:?}");
}

#[test]
#[ignore = "takes minutes; SEEDS=n, FROM=n"]
fn many_seeds() {
    let number =
        |name: &str, or| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(or);
    let from = number("FROM", 0);
    let sum = all(from, from + number("SEEDS", 5_000));
    println!("{sum:?}");
}

#[test]
fn what_was_found_once_is_not_found_again() {
    for seed in REGRESSIONS {
        holds(*seed);
    }
}

/// `SEED=n`: tells the history of a run.
#[test]
fn one_seed() {
    let Ok(seed) = std::env::var("SEED") else { return };
    let seed = seed.parse().expect("SEED is a number");
    match run(seed, Mutation::None, true) {
        Ok(stats) => println!("SEED={seed}: {stats:?}"),
        Err(failure) => panic!("{}\n\nSEED={seed}: {}", failure.history, failure.why),
    }
}

#[test]
fn a_seed_repeats_itself() {
    let tell = |seed| format!("{:?}", run(seed, Mutation::None, true).map_err(|f| f.why));
    for seed in 0..5 {
        assert_eq!(tell(seed), tell(seed));
    }
}

/// A broken rule is noticed within 400 seeds. `from`: where the search begins; what needs several
/// things to coincide is looked for near a seed in which they do.
fn noticed(mutation: Mutation, from: u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse().ok());
    let (from, within) = (number("FROM").unwrap_or(from), number("WITHIN").unwrap_or(400));
    let seeds = from..from + within;
    let found = seeds.into_iter().find_map(|seed| Some((seed, run(seed, mutation, false).err()?)));
    let Some((seed, failure)) = found else {
        panic!("{mutation:?} was not noticed in {within} runs from seed {from} on")
    };
    println!("{mutation:?} noticed at seed {seed}: {}", failure.why);
}

macro_rules! noticed {
    ($($test:ident: $mutation:ident from $from:expr;)*) => {
        $(#[test] fn $test() { noticed(Mutation::$mutation, $from); })*
    };
}

noticed! {
    counting_without_a_majority_is_noticed: CountWithoutMajority from 0;
    promising_twice_is_noticed: PromiseTwice from 0;
    promising_from_memory_is_noticed: PromiseFromMemory from 300;
    answering_before_it_is_synced_is_noticed: AckBeforeSync from 0;
    counting_an_earlier_leaders_changes_is_noticed: SkipFirst from 800;
    ignoring_notes_is_noticed: IgnoreNotes from 0;
    obeying_the_deposed_is_noticed: ObeyDeposed from 0;
    noded_without_a_fence_is_noticed: NoFence from 0;
    settling_voters_early_is_noticed: SettleEarly from 1500;
    clearing_the_note_early_is_noticed: ClearNoteEarly from 300;
    forgetting_notes_is_noticed: ForgetNotes from 1000;
    leading_though_promised_is_noticed: LeadThoughPromised from 0;
    counting_after_a_promise_is_noticed: CountAfterPromise from 100;
    installing_unchecked_is_noticed: InstallUnchecked from 1200;
}
