//! The largest instances that fit, and then smaller ones.

use super::{Field, Filled, Kind, Size};
use crate::allocate::Failures;
use crate::fail::FailMode;
use std::collections::HashMap;

/// The least memory, and by how much it shrinks, MiB.
const MEMORY: i64 = 64;
/// The same for disk.
const DISK: i64 = 256;

impl Size {
    /// Less of what a check fails for. `None`: there is no less.
    fn shrunk(self, mode: FailMode) -> Option<Size> {
        let less = |value: i64, unit: i64| (value - unit >= unit).then_some(value - unit);
        match mode {
            FailMode::Mem => Some(Size { memory: less(self.memory, MEMORY)?, ..self }),
            FailMode::Disk => Some(Size { disk: less(self.disk, DISK)?, ..self }),
            FailMode::Cpu => Some(Size { cpus: less(self.cpus, 1)?, ..self }),
            FailMode::Spindles => Some(Size { spindles: less(self.spindles, 1)?, ..self }),
            _ => None,
        }
    }
}

/// Why a size fits or not, with or without asking whether all nodes can fail, as long as nothing is added.
type Known = HashMap<(Size, bool), (bool, Failures)>;

/// Fills with instances that are as large as they can be, from each of these sizes down. `limit`: at most so many,
/// all together. Errors: there are no nodes to try.
pub fn tiered(
    field: &Field,
    filled: &mut Filled,
    kind: Kind,
    sizes: &[Size],
    limit: Option<usize>,
) -> Result<(), &'static str> {
    for &size in sizes {
        from(field, filled, kind, size, limit)?;
    }
    Ok(())
}

/// From one size down.
///
/// A size that does not fit is made smaller in what it fails for most often. That is tried down to the end, and
/// if nothing at all came of it, from the smallest size up again: whether making it smaller in one respect, as
/// long as it fails in that, gives something that fits.
fn from(
    field: &Field,
    filled: &mut Filled,
    kind: Kind,
    start: Size,
    limit: Option<usize>,
) -> Result<(), &'static str> {
    let mut known = Known::new();
    let mut size = start;
    loop {
        let before = filled.instances.len();
        let left = limit.map(|limit| limit.saturating_sub(before));
        if left == Some(0) {
            return Ok(());
        }
        field.fill(filled, kind, size, left)?;
        if filled.instances.len() > before {
            known.clear();
            if limit.is_some_and(|limit| filled.instances.len() >= limit) {
                return Ok(());
            }
        }
        // Down the way of the most frequent failure, without adding anything.
        let mut way = vec![(size, filled.failures)];
        let next = loop {
            let Some(&(last, failures)) = way.last() else { return Ok(()) };
            let Some(smaller) = most_frequent(&failures).and_then(|mode| last.shrunk(mode)) else {
                break None;
            };
            let (fits, failures) =
                ask(field, filled, kind, (smaller, field.checks(kind)), &mut known)?;
            if fits {
                break Some(smaller);
            }
            way.push((smaller, failures));
        };
        let Some(&(_, last)) = way.last() else { return Ok(()) };
        filled.failures = last;
        size = match next {
            Some(next) => next,
            None => {
                let mut found = None;
                for (size, failures) in way.iter().rev() {
                    found = big_step(field, filled, kind, *size, failures, &mut known)?;
                    if found.is_some() {
                        break;
                    }
                }
                match found {
                    Some(found) => found,
                    None => {
                        filled.failures = way.first().map_or(last, |(_, failures)| *failures);
                        return Ok(());
                    }
                }
            }
        };
    }
}

/// A smaller size that fits, by making it smaller in one respect as long as it fails in that.
fn big_step(
    field: &Field,
    filled: &mut Filled,
    kind: Kind,
    size: Size,
    failures: &Failures,
    known: &mut Known,
) -> Result<Option<Size>, &'static str> {
    for mode in by_frequency(failures).into_iter().rev() {
        let mut next = Some(size);
        while let Some(size) = next {
            let (fits, failures) = ask(field, filled, kind, (size, true), known)?;
            if fits {
                return Ok(Some(size));
            }
            next = if failures.of(mode) > 0 { size.shrunk(mode) } else { None };
        }
    }
    Ok(None)
}

fn ask(
    field: &Field,
    filled: &mut Filled,
    kind: Kind,
    (size, checked): (Size, bool),
    known: &mut Known,
) -> Result<(bool, Failures), &'static str> {
    if let Some(known) = known.get(&(size, checked)) {
        return Ok(*known);
    }
    let answer = field.probe(filled, kind, size, checked)?;
    known.insert((size, checked), answer);
    Ok(answer)
}

/// Checks, the one that fails most often last; of equal ones in Ganeti's order.
fn by_frequency(failures: &Failures) -> Vec<FailMode> {
    let mut modes: Vec<(FailMode, u64)> = failures.iter().collect();
    modes.sort_by_key(|(_, count)| *count);
    modes.into_iter().map(|(mode, _)| mode).collect()
}

fn most_frequent(failures: &Failures) -> Option<FailMode> {
    by_frequency(failures).pop().filter(|mode| failures.of(*mode) > 0)
}
