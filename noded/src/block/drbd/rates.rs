//! How fast each of several mirrors may be made equal, so that together they keep within a budget.

/// A mirror that is being made equal on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    pub minor: u32,
    /// KiB/s that its own parameters allow.
    pub most: u64,
}

/// Divides `budget` KiB/s: everybody gets the same, but nobody more than its own parameters allow;
/// what one does not need the others get. Nobody gets nothing, which to DRBD would mean "no limit".
pub fn divide(budget: u64, shares: &[Share]) -> Vec<(u32, u64)> {
    let mut waiting: Vec<&Share> = shares.iter().collect();
    waiting.sort_by_key(|share| share.most);
    let mut left = budget;
    let mut rates = vec![];
    let mut rest = waiting.len() as u64;
    for share in waiting {
        let rate = share.most.min(left / rest).max(1);
        left = left.saturating_sub(rate);
        rest -= 1;
        rates.push((share.minor, rate));
    }
    rates.sort_unstable();
    rates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(most: &[u64]) -> Vec<Share> {
        (0..).zip(most).map(|(minor, most)| Share { minor, most: *most }).collect()
    }

    #[test]
    fn a_budget_is_divided_evenly() {
        assert_eq!(divide(90, &shares(&[100, 100, 100])), [(0, 30), (1, 30), (2, 30)]);
        assert_eq!(divide(90, &shares(&[])), []);
    }

    #[test]
    fn what_one_does_not_need_the_others_get() {
        assert_eq!(divide(90, &shares(&[100, 10, 100])), [(0, 40), (1, 10), (2, 40)]);
        assert_eq!(divide(1000, &shares(&[100, 10])), [(0, 100), (1, 10)]);
    }

    #[test]
    fn nobody_stands_still() {
        let rates = divide(2, &shares(&[100, 100, 100]));
        assert!(rates.iter().all(|(_, rate)| *rate == 1 || *rate == 2), "{rates:?}");
    }
}
