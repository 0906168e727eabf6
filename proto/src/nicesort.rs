//! The order of names in lists: numbers inside names count as numbers, so `node2` comes before
//! `node10`. As in Ganeti, only the first eight runs of digits and text are compared so.

use std::cmp::Ordering;

/// How many pairs of text and digits are looked at.
const GROUPS: usize = 8;

/// Compares two names.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    for _ in 0..GROUPS {
        let (text_a, rest_a) = split(a, |c| !c.is_ascii_digit());
        let (text_b, rest_b) = split(b, |c| !c.is_ascii_digit());
        let (digits_a, rest_a) = split(rest_a, |c| c.is_ascii_digit());
        let (digits_b, rest_b) = split(rest_b, |c| c.is_ascii_digit());
        let order = text_a.cmp(text_b).then_with(|| numbers(digits_a, digits_b));
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
        if a.is_empty() && b.is_empty() {
            return Ordering::Equal;
        }
    }
    a.cmp(b)
}

/// Sorts by a name.
pub fn sort_by_key<T, K: AsRef<str>>(items: &mut [T], key: impl Fn(&T) -> K) {
    items.sort_by(|a, b| compare(key(a).as_ref(), key(b).as_ref()));
}

/// Sorts names.
pub fn sort<T: AsRef<str>>(names: &mut [T]) {
    names.sort_by(|a, b| compare(a.as_ref(), b.as_ref()));
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// Compares runs of digits of any length by value; none comes before any; the shorter spelling of
/// the same value first, so that the order is total.
fn numbers(a: &str, b: &str) -> Ordering {
    let (value_a, value_b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    let none_first = b.is_empty().cmp(&a.is_empty());
    none_first
        .then(value_a.len().cmp(&value_b.len()))
        .then_with(|| value_a.cmp(value_b))
        .then(a.len().cmp(&b.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_count() {
        let mut names = ["node10", "node2", "a10b3", "a10b20", "node", "node1.x", "a9z", "node1"];
        sort(&mut names);
        assert_eq!(
            names,
            ["a9z", "a10b3", "a10b20", "node", "node1", "node1.x", "node2", "node10"]
        );
        let mut pairs = [(1, "x11"), (2, "x2")];
        sort_by_key(&mut pairs, |p| p.1);
        assert_eq!(pairs[0].0, 2);
        assert_eq!(compare("n99999999999999999999", "n100000000000000000000"), Ordering::Less);
    }

    proptest! {
        #[test]
        fn it_is_an_order(a in "[ab0-3.]{0,10}", b in "[ab0-3.]{0,10}", c in "[ab0-3.]{0,10}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            prop_assert_eq!(compare(&a, &b) == Ordering::Equal, a == b);
            if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
                prop_assert!(compare(&a, &c).is_le());
            }
        }
    }
}
