//! How good a place is.

use crate::tables::decimals;
use std::cmp::Ordering;

/// How good a place is; less is better.
#[derive(Clone, Debug, PartialEq)]
pub enum Metric {
    /// The score of the cluster with it.
    Score(f64),
    /// Instances of the policy's smallest sizes that no longer fit, and the disk that is left, MiB.
    Lost(Vec<i64>, i64),
}

impl Metric {
    /// The score, where it counts.
    pub fn score(&self) -> Option<f64> {
        match self {
            Metric::Score(score) => Some(*score),
            Metric::Lost(..) => None,
        }
    }

    /// As it is shown.
    pub fn show(&self) -> String {
        match self {
            Metric::Score(score) => decimals(*score, 8),
            Metric::Lost(lost, disk) => {
                let lost: Vec<String> = lost.iter().map(i64::to_string).collect();
                format!("([{}],{disk})", lost.join(","))
            }
        }
    }
}

impl PartialOrd for Metric {
    fn partial_cmp(&self, other: &Metric) -> Option<Ordering> {
        match (self, other) {
            (Metric::Score(one), Metric::Score(other)) => one.partial_cmp(other),
            (Metric::Lost(one, disk), Metric::Lost(other, left)) => {
                Some((one, disk).cmp(&(other, left)))
            }
            _ => None,
        }
    }
}
