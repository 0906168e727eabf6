//! Several sizes at once: how many rounds of a mix fit.

use super::{Field, Filled, Kind, Size};
use crate::allocate::Failures;

/// So many instances of a size in each round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    pub count: usize,
    pub size: Size,
    pub kind: Kind,
}

/// What came of one part of a mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MixedPart {
    /// In whole rounds.
    pub placed: usize,
    /// How many of this part alone would fit then.
    pub more: usize,
    /// Why not one more.
    pub failures: Failures,
}

/// What came of a mix.
#[derive(Clone, Debug)]
pub struct Mixed {
    pub rounds: usize,
    /// The part that did not fit into one more round; `None`: the limit was reached.
    pub short_of: Option<usize>,
    /// In the order of the mix.
    pub parts: Vec<MixedPart>,
    /// As it is after the last whole round.
    pub filled: Filled,
}

/// Fills with whole rounds of a mix; a round that does not fit as a whole is not begun. In a round large instances
/// come first: small ones find a place beside them sooner than the other way round. `limit`: at most so many
/// rounds. Errors: there are no nodes to try, or a round is empty.
pub fn mixed(
    field: &Field,
    start: Filled,
    mix: &[Mix],
    limit: Option<usize>,
) -> Result<Mixed, &'static str> {
    let mut order: Vec<usize> = (0..mix.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse((mix[*at].size.memory, mix[*at].size.disk)));
    if mix.iter().all(|part| part.count == 0) {
        return Err("A round of the mix is empty");
    }
    let (mut filled, mut rounds) = (start, 0);
    let short_of = loop {
        if limit.is_some_and(|limit| rounds >= limit) {
            break None;
        }
        let mut round = filled.clone();
        let mut short_of = None;
        for &at in &order {
            let Mix { count, size, kind } = mix[at];
            let before = round.instances.len();
            field.fill(&mut round, kind, size, Some(count))?;
            if round.instances.len() - before < count {
                filled.failures = round.failures;
                short_of = Some(at);
                break;
            }
        }
        if short_of.is_some() {
            break short_of;
        }
        filled = round;
        rounds += 1;
    };
    let mut parts = vec![];
    for part in mix {
        let mut alone = filled.clone();
        let before = alone.instances.len();
        field.fill(&mut alone, part.kind, part.size, None)?;
        let more = alone.instances.len() - before;
        parts.push(MixedPart { placed: rounds * part.count, more, failures: alone.failures });
    }
    Ok(Mixed { rounds, short_of, parts, filled })
}
