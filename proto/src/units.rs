//! Sizes and times as people write them.
//!
//! Sizes are MiB everywhere inside; text has a unit. Times are seconds.

use crate::error::{Error, Result};

/// Volumes are allocated in steps of this many MiB, so sizes are rounded up to it.
pub const SIZE_STEP: u64 = 4;

/// Reads a size: a number with an optional fraction and unit (`m`, `g`, `t`, also `mb`, `mib`, …;
/// any case; MiB if there is none), rounded up to a multiple of 4 MiB. Result: MiB.
pub fn parse_size(text: &str) -> Result<u64> {
    let invalid = |why: &str| {
        Error::wrong_input(format!(
            "Invalid size '{text}': {why}; write a number and a unit, as 512m, 10g or 1.5t"
        ))
    };
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = match number.parse() {
        Ok(number) => number,
        Err(_) => return Err(invalid("it does not start with a number")),
    };
    let factor = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "m" | "mb" | "mib" => 1.0,
        "g" | "gb" | "gib" => 1024.0,
        "t" | "tb" | "tib" => 1024.0 * 1024.0,
        _ => return Err(invalid("its unit is not known")),
    };
    let mib = (number * factor).ceil();
    if mib > (1_u64 << 52) as f64 {
        return Err(invalid("it is too large"));
    }
    Ok((mib as u64).next_multiple_of(SIZE_STEP))
}

/// The units sizes are shown in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SizeUnit {
    /// Whatever reads best, with the unit's letter behind.
    #[default]
    Human,
    /// MiB, without a letter.
    Mebi,
    /// GiB, without a letter.
    Gibi,
    /// TiB, without a letter.
    Tebi,
}

impl std::str::FromStr for SizeUnit {
    type Err = Error;
    fn from_str(text: &str) -> Result<SizeUnit> {
        match text {
            "h" => Ok(SizeUnit::Human),
            "m" => Ok(SizeUnit::Mebi),
            "g" => Ok(SizeUnit::Gibi),
            "t" => Ok(SizeUnit::Tebi),
            _ => {
                Err(Error::wrong_input(format!("'{text}' is not a unit for sizes; use h, m, g, t")))
            }
        }
    }
}

/// Writes a size given in MiB: `512M`, `10.0G`, `1.5T`; or a bare number in one unit.
pub fn format_unit(mib: f64, unit: SizeUnit) -> String {
    match unit {
        SizeUnit::Human if mib < 1024.0 => format!("{mib:.0}M"),
        SizeUnit::Human if mib < 1024.0 * 1024.0 => format!("{:.1}G", mib / 1024.0),
        SizeUnit::Human => format!("{:.1}T", mib / 1024.0 / 1024.0),
        SizeUnit::Mebi => format!("{mib:.0}"),
        SizeUnit::Gibi => format!("{:.1}", mib / 1024.0),
        SizeUnit::Tebi => format!("{:.1}", mib / 1024.0 / 1024.0),
    }
}

/// Reads a time span: seconds, or a number with `s`, `m`, `h`, `d` or `w`. Result: seconds.
pub fn parse_timespec(text: &str) -> Result<u64> {
    let invalid = || {
        Error::wrong_input(format!(
            "Invalid time specification '{text}'; write seconds, or a number with one of s, m, h, \
             d, w behind it"
        ))
    };
    let text = text.trim();
    let (number, factor) = match text.char_indices().next_back() {
        None => return Err(Error::wrong_input("Empty time specification passed")),
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        Some((at, 'd')) => (&text[..at], 24 * 3600),
        Some((at, 'w')) => (&text[..at], 7 * 24 * 3600),
        Some(_) => (text, 1),
    };
    let number: u64 = number.parse().map_err(|_| invalid())?;
    number.checked_mul(factor).ok_or_else(invalid)
}

/// Reads a yes or no as options take it: `yes`, `no`, `true`, `false`, any case.
pub fn parse_bool(text: &str) -> Result<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err(Error::wrong_input(format!("Invalid boolean value '{text}'; use yes or no"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_and_rounded_up() {
        for (text, mib) in [
            ("0", 0),
            ("1", 4),
            ("128", 128),
            ("129", 132),
            ("1g", 1024),
            ("1.5G", 1536),
            ("1 GiB", 1024),
            ("0.1m", 4),
            ("2T", 2 * 1024 * 1024),
            ("1.1g", 1128),
            (" 10gb ", 10240),
        ] {
            assert_eq!(parse_size(text).expect(text), mib, "{text}");
        }
        for bad in ["", "g", "1k", "-1", "1..2", "1 2", "1e3", "9999999999t"] {
            assert!(parse_size(bad).is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn sizes_are_written() {
        for (mib, unit, text) in [
            (512.0, SizeUnit::Human, "512M"),
            (1023.0, SizeUnit::Human, "1023M"),
            (1024.0, SizeUnit::Human, "1.0G"),
            (1536.0, SizeUnit::Human, "1.5G"),
            (1024.0 * 1024.0, SizeUnit::Human, "1.0T"),
            (1536.0, SizeUnit::Mebi, "1536"),
            (1536.0, SizeUnit::Gibi, "1.5"),
            (1024.0 * 1536.0, SizeUnit::Tebi, "1.5"),
        ] {
            assert_eq!(format_unit(mib, unit), text);
        }
    }

    #[test]
    fn times() {
        for (text, seconds) in [("0", 0), ("90", 90), ("5s", 5), ("2m", 120), ("1h", 3600)] {
            assert_eq!(parse_timespec(text).expect(text), seconds);
        }
        assert_eq!(parse_timespec("2d").expect("days"), 172_800);
        assert_eq!(parse_timespec("1w").expect("week"), 604_800);
        for bad in ["", "m", "1y", "-1", "1.5h", "ü"] {
            assert!(parse_timespec(bad).is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn yes_and_no() {
        assert!(parse_bool("Yes").expect("yes") && parse_bool("true").expect("true"));
        assert!(!parse_bool("NO").expect("no"));
        assert!(parse_bool("1").is_err());
    }

    proptest! {
        #[test]
        fn whole_sizes_read_back(steps in 0_u64..1 << 40) {
            let mib = steps * SIZE_STEP;
            prop_assert_eq!(parse_size(&format_unit(mib as f64, SizeUnit::Mebi)).expect("size"), mib);
        }

        #[test]
        fn nothing_panics(text in ".{0,12}") {
            let _ = (parse_size(&text), parse_timespec(&text), parse_bool(&text));
        }
    }
}
