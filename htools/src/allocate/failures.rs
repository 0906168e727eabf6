//! How often each check failed.

use crate::fail::FailMode;
use std::fmt;

/// Counts by check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures([u64; FailMode::ALL.len()]);

impl Failures {
    /// So many more.
    pub fn add(&mut self, mode: FailMode, times: u64) {
        self.0[mode as usize] += times;
    }

    /// Those of others too.
    pub fn add_all(&mut self, others: &Failures) {
        self.0.iter_mut().zip(others.0).for_each(|(mine, other)| *mine += other);
    }

    /// How often a check failed.
    pub fn of(&self, mode: FailMode) -> u64 {
        self.0[mode as usize]
    }

    /// All together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every check and its count, in Ganeti's order.
    pub fn iter(&self) -> impl Iterator<Item = (FailMode, u64)> + '_ {
        FailMode::ALL.into_iter().map(|mode| (mode, self.of(mode)))
    }
}

/// Those that are there: `FailMem: 2, FailN1: 1`.
impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (mode, count) in self.iter().filter(|(_, count)| *count > 0) {
            write!(f, "{between}{mode}: {count}")?;
            between = ", ";
        }
        Ok(())
    }
}
