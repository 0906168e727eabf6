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

/// Sorts many things by name. Each name is looked at once, to make a key of bytes that compares as
/// [`compare`] does: many times faster than comparing names where there are thousands.
pub fn sort_many<T>(items: Vec<T>, name: impl Fn(&T) -> &str) -> Vec<T> {
    let mut keys = Vec::with_capacity(items.len() * 32);
    let mut ends = Vec::with_capacity(items.len() + 1);
    ends.push(0);
    let mut shared = usize::MAX;
    for (i, item) in items.iter().enumerate() {
        let start = keys.len();
        write_key(&mut keys, name(item).as_bytes());
        ends.push(keys.len());
        let (first, key) = (&keys[..ends[1]], &keys[start..]);
        if i > 0 && !(shared <= first.len() && key.starts_with(&first[..shared])) {
            shared = first.iter().zip(key).take_while(|(a, b)| a == b).count();
        }
    }
    let key = |i: usize| &keys[ends[i]..ends[i + 1]];
    // Behind what all begin with, eight bytes nearly always decide.
    let head = |i: usize| {
        let rest = key(i).get(shared..).unwrap_or_default();
        let mut head = [0; 8];
        let length = rest.len().min(8);
        head[..length].copy_from_slice(&rest[..length]);
        u64::from_be_bytes(head)
    };
    let mut order: Vec<(u64, u32)> = (0..items.len()).map(|i| (head(i), i as u32)).collect();
    order.sort_unstable_by(|a, b| {
        // By place in the end: what has the same name keeps its order.
        let keys = || key(a.1 as usize).cmp(key(b.1 as usize));
        a.0.cmp(&b.0).then_with(keys).then(a.1.cmp(&b.1))
    });
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    order.into_iter().filter_map(|(_, i)| items[i as usize].take()).collect()
}

/// Appends bytes whose order is that of [`compare`].
fn write_key(key: &mut Vec<u8>, name: &[u8]) {
    let end_of = |name: &[u8], digits: bool| {
        name.iter().position(|b| b.is_ascii_digit() != digits).unwrap_or(name.len())
    };
    let mut name = name;
    for _ in 0..GROUPS {
        let (text, rest) = name.split_at(end_of(name, false));
        let (digits, rest) = rest.split_at(end_of(rest, true));
        // A zero byte ends the text; one inside is followed by another value, to be told apart.
        if text.contains(&0) {
            for byte in text {
                key.push(*byte);
                if *byte == 0 {
                    key.push(1);
                }
            }
        } else {
            key.extend_from_slice(text);
        }
        key.extend_from_slice(&[0, 0]);
        if !digits.is_empty() {
            let zeros = digits.iter().take_while(|b| **b == b'0').count();
            key.push(1);
            write_length(key, digits.len() - zeros);
            key.extend_from_slice(&digits[zeros..]);
            write_length(key, digits.len());
        }
        name = rest;
        if name.is_empty() {
            return;
        }
    }
    key.extend_from_slice(name);
}

fn write_length(key: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short) if short < u8::MAX => key.push(short),
        _ => {
            key.push(u8::MAX);
            key.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
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
        fn many_are_sorted_as_few(mut names in prop::collection::vec("[ab0-3.\\x00é]{0,12}", 0..20)) {
            let many = sort_many(names.clone(), |name| name);
            sort(&mut names);
            prop_assert_eq!(many, names);
        }

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
