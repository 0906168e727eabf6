//! Numbers as Haskell prints them: rounded in decimal, halves to the even digit.
//!
//! Most languages round what the binary number is exactly; the reference rounds the shortest decimal that
//! means it. They differ rarely, and then in the last digit printed.

/// With so many decimals.
pub fn decimals(number: f64, places: usize) -> String {
    if !number.is_finite() {
        return special(number);
    }
    let scientific = format!("{:e}", number.abs());
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).map(|d| d - b'0').collect();
    let exponent: i64 = exponent.parse().unwrap_or(0);
    // Digits in front of the point and `places` behind it, from that position of the number.
    let mut kept: Vec<u8> = vec![];
    let before = exponent.max(0) + 1;
    let at = |position: i64| usize::try_from(position).ok().and_then(|at| digits.get(at).copied());
    let first = exponent - (before - 1);
    let count = before + places as i64;
    for position in first..first + count {
        kept.push(at(position).unwrap_or(0));
    }
    let next = at(first + count).unwrap_or(0);
    let rest = (first + count + 1).max(0)..digits.len() as i64;
    let beyond = rest.clone().any(|position| at(position).is_some_and(|digit| digit > 0));
    let odd = kept.last().is_some_and(|digit| digit % 2 == 1);
    if next > 5 || next == 5 && (beyond || odd) {
        let mut carries = true;
        for digit in kept.iter_mut().rev() {
            *digit = if carries { (*digit + 1) % 10 } else { *digit };
            carries &= *digit == 0;
        }
        if carries {
            kept.insert(0, 1);
        }
    }
    let mut text: String = kept.iter().map(|digit| char::from(b'0' + digit)).collect();
    if places > 0 {
        text.insert(text.len() - places, '.');
    }
    if number.is_sign_negative() { format!("-{text}") } else { text }
}

/// `%.6g` of Haskell: with six decimals, and an exponent where the number is very small or large.
pub fn general(number: f64) -> String {
    let size = number.abs();
    if !number.is_finite() {
        special(number)
    } else if size == 0.0 || (0.1..1e7).contains(&size) {
        decimals(number, 6)
    } else {
        format!("{number:.6e}")
    }
}

fn special(number: f64) -> String {
    match number {
        n if n.is_nan() => "NaN".into(),
        n if n > 0.0 => "Infinity".into(),
        _ => "-Infinity".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{decimals, general};

    #[test]
    fn halves_go_to_the_even_digit() {
        for (number, places, text) in [
            (1.125, 2, "1.12"),
            (1.375, 2, "1.38"),
            (0.875, 2, "0.88"),
            (0.58325, 4, "0.5832"),
            (0.58335, 4, "0.5834"),
            (0.583250001, 4, "0.5833"),
            (0.5, 0, "0"),
            (1.5, 0, "2"),
            (9.999, 2, "10.00"),
            (0.00005, 4, "0.0000"),
            (0.00006, 4, "0.0001"),
            (0.000001, 4, "0.0000"),
            (123456.0, 0, "123456"),
            (123456.0, 3, "123456.000"),
            (-0.25, 1, "-0.2"),
            (13.362548540001, 8, "13.36254854"),
            (0.0, 8, "0.00000000"),
            (1e21, 1, "1000000000000000000000.0"),
        ] {
            assert_eq!(decimals(number, places), text, "{number}");
        }
        assert_eq!(decimals(f64::NAN, 2), "NaN");
    }

    #[test]
    fn small_and_large_numbers_have_an_exponent() {
        for (number, text) in [
            (13.36254854, "13.362549"),
            (0.02730655, "2.730655e-2"),
            (1000.0, "1000.000000"),
            (1e-9, "1.000000e-9"),
            (0.0, "0.000000"),
            (1e7, "1.000000e7"),
        ] {
            assert_eq!(general(number), text);
        }
    }
}
