//! The order people expect of names with numbers: `node2` before `node10`.

use std::cmp::Ordering;

/// At most so many runs of digits are compared as numbers; Ganeti's figure.
const MAX_RUNS: usize = 8;

/// Compares two names; runs of digits count as numbers, everything else byte by byte.
pub fn cmp(a: &str, b: &str) -> Ordering {
    let (mut x, mut y) = (a.as_bytes(), b.as_bytes());
    for _ in 0..MAX_RUNS {
        let (text_x, rest_x) = split(x, |c| !c.is_ascii_digit());
        let (text_y, rest_y) = split(y, |c| !c.is_ascii_digit());
        let (run_x, rest_x) = split(rest_x, u8::is_ascii_digit);
        let (run_y, rest_y) = split(rest_y, u8::is_ascii_digit);
        let order = text_x.cmp(text_y).then_with(|| cmp_runs(run_x, run_y));
        if order != Ordering::Equal || (rest_x.is_empty() && rest_y.is_empty()) {
            return order.then_with(|| a.cmp(b));
        }
        (x, y) = (rest_x, rest_y);
    }
    x.cmp(y).then_with(|| a.cmp(b))
}

fn split(text: &[u8], wanted: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|c| !wanted(c)).unwrap_or(text.len()))
}

/// No digits at all come before any number. Leading zeros do not count.
fn cmp_runs(a: &[u8], b: &[u8]) -> Ordering {
    let (_, x) = split(a, |c| *c == b'0');
    let (_, y) = split(b, |c| *c == b'0');
    a.is_empty().cmp(&b.is_empty()).reverse().then(x.len().cmp(&y.len())).then_with(|| x.cmp(y))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_count_as_numbers() {
        let mut names = ["n10", "n9", "n1.b10", "n1.b9", "n", "a20x", "a3", "n09"];
        names.sort_by(|a, b| cmp(a, b));
        assert_eq!(names, ["a3", "a20x", "n", "n1.b9", "n1.b10", "n09", "n9", "n10"]);
    }

    proptest! {
        #[test]
        fn is_a_total_order(a in "[a0-2.]{0,6}", b in "[a0-2.]{0,6}", c in "[a0-2.]{0,6}") {
            prop_assert_eq!(cmp(&a, &b), cmp(&b, &a).reverse());
            prop_assert_eq!(cmp(&a, &b) == Ordering::Equal, a == b);
            if cmp(&a, &b).is_le() && cmp(&b, &c).is_le() {
                prop_assert!(cmp(&a, &c).is_le());
            }
        }
    }
}
