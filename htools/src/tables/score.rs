//! The terms of a score.

use super::{Table, decimals};
use crate::score::{Score, Term};

/// Field, value, weight.
pub fn score(score: &Score) -> Table {
    let mut table = Table::new([("Field", false), ("Value", true), ("Weight", true)]);
    table.rows.extend(Term::ALL.into_iter().map(|term| {
        let value = decimals(score.values[term as usize], 8);
        vec![term.as_str().to_owned(), value, format!("x{}", decimals(term.weight(), 2))]
    }));
    table
}
