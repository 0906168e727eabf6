//! Sizes as the placement tools' options have them.
//!
//! Lower-case letters and `…iB` are powers of 1024, upper-case letters and `…B` powers of 1000. This is
//! not how the other tools read sizes: `10G` is 10⁹ bytes here. Source: Ganeti's reference on htools, units.

/// MiB of a size: digits, spaces, a unit (none: MiB). Rounded down. Errors: what is wrong with it.
pub fn mebibytes(text: &str) -> Result<i64, String> {
    let invalid = || format!("Can't parse string '{text}'");
    let trimmed = text.trim_start();
    let end = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (digits, rest) = trimmed.split_at(end);
    let number: i128 = digits.parse::<u64>().map_err(|_| invalid())?.into();
    let unit = rest.trim_start_matches(' ');
    let upper = unit.to_ascii_uppercase();
    let decimal: i128 = 1000 * 1000;
    let (times, by) = match (unit, upper.as_str()) {
        ("" | "m", _) | (_, "MIB") => (1, 1),
        ("g", _) | (_, "GIB") => (1 << 10, 1),
        ("t", _) | (_, "TIB") => (1 << 20, 1),
        ("M", _) | (_, "MB") => (decimal, 1 << 20),
        ("G", _) | (_, "GB") => (decimal * 1000, 1 << 20),
        ("T", _) | (_, "TB") => (decimal * decimal, 1 << 20),
        _ => return Err(format!("Unknown unit '{unit}'")),
    };
    // A u64 times 10^12 is far from the end of this type.
    let size = number * times / by;
    match i64::try_from(size) {
        Ok(size) if size <= 1 << 40 => Ok(size),
        _ => Err(format!("'{text}' is out of range")),
    }
}

#[cfg(test)]
mod tests {
    use super::mebibytes;
    use proptest::prelude::*;

    #[test]
    fn the_case_of_a_letter_counts() {
        let cases = [
            ("5", 5),
            ("5m", 5),
            ("5 MiB", 5),
            ("2g", 2048),
            ("2 gib", 2048),
            ("1t", 1_048_576),
            ("16M", 15),
            ("16G", 15_258),
            ("16gb", 15_258),
            ("1T", 953_674),
            ("0", 0),
        ];
        for (text, size) in cases {
            assert_eq!(mebibytes(text), Ok(size), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(mebibytes("100z"), Err("Unknown unit 'z'".into()));
        assert_eq!(mebibytes(""), Err("Can't parse string ''".into()));
        assert_eq!(mebibytes("g"), Err("Can't parse string 'g'".into()));
        assert_eq!(mebibytes("-5"), Err("Can't parse string '-5'".into()));
        let large = "18446744073709551615T";
        assert_eq!(mebibytes(large), Err(format!("'{large}' is out of range")));
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(text in ".{0,20}", number in 0_u64.., unit in "[mgtMGT][iI]?[bB]?") {
            let _ = mebibytes(&text);
            let _ = mebibytes(&format!("{number}{unit}"));
        }
    }
}
