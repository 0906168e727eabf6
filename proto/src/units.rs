//! Sizes as people write and read them. Inside, a size is a whole number of MiB.

use crate::error::{Error, Result};

/// Ganeti rounds sizes up to a multiple of this many MiB, LVM's usual extent.
const STEP: u64 = 4;

/// How a size is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SizeUnit {
    /// In the unit that suits it, with a suffix (`h`).
    #[default]
    Human,
    /// In MiB, without a suffix (`m`).
    Mebi,
    /// In GiB with one decimal, without a suffix (`g`).
    Gibi,
    /// In TiB with one decimal, without a suffix (`t`).
    Tebi,
}

impl SizeUnit {
    /// Reads the letter of the option `--units`.
    pub fn parse(letter: &str) -> Option<SizeUnit> {
        Some(match letter {
            "h" => SizeUnit::Human,
            "m" => SizeUnit::Mebi,
            "g" => SizeUnit::Gibi,
            "t" => SizeUnit::Tebi,
            _ => return None,
        })
    }
}

/// A size in MiB as text.
pub fn format_unit(mib: f64, unit: SizeUnit) -> String {
    let whole = |suffix| format!("{:.0}{suffix}", mib.round());
    let tenths = |divisor: f64, suffix| format!("{:.1}{suffix}", mib / divisor);
    match unit {
        SizeUnit::Human if mib < 1024.0 => whole("M"),
        SizeUnit::Human if mib < 1024.0 * 1024.0 => tenths(1024.0, "G"),
        SizeUnit::Human => tenths(1024.0 * 1024.0, "T"),
        SizeUnit::Mebi => whole(""),
        SizeUnit::Gibi => tenths(1024.0, ""),
        SizeUnit::Tebi => tenths(1024.0 * 1024.0, ""),
    }
}

/// Reads `512`, `1.5g`, `20 GiB`, … into MiB, rounded up to a multiple of 4. Without a unit it is
/// MiB. Errors: `wrong_input`.
pub fn parse_size(text: &str) -> Result<u64> {
    let error = || {
        Error::wrong_input(format!(
            "Invalid size '{text}': expected a number, then m, g or t (MiB without), such as 1.5g"
        ))
    };
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    if !number.starts_with(|c: char| c.is_ascii_digit()) || number.ends_with('.') {
        return Err(error());
    }
    let number: f64 = number.parse().map_err(|_| error())?;
    let factor = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "m" | "mb" | "mib" => 1.0,
        "g" | "gb" | "gib" => 1024.0,
        "t" | "tb" | "tib" => 1024.0 * 1024.0,
        _ => return Err(error()),
    };
    let mib = (number * factor).ceil();
    // Beyond 2^53 a float no longer holds every whole number; no disk is that large.
    if mib > (1u64 << 53) as f64 {
        return Err(error());
    }
    Ok((mib as u64).next_multiple_of(STEP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_printed_like_ganeti_does() {
        let h = |mib| format_unit(mib, SizeUnit::Human);
        assert_eq!(h(0.0), "0M");
        assert_eq!(h(1023.0), "1023M");
        assert_eq!(h(1024.0), "1.0G");
        assert_eq!(h(1536.0), "1.5G");
        assert_eq!(h(1024.0 * 1024.0), "1.0T");
        assert_eq!(format_unit(1024.0, SizeUnit::Mebi), "1024");
        assert_eq!(format_unit(1536.0, SizeUnit::Gibi), "1.5");
        assert_eq!(format_unit(1024.0 * 1024.0, SizeUnit::Tebi), "1.0");
    }

    #[test]
    fn sizes_are_read() {
        for (text, mib) in [
            ("128", 128),
            ("1", 4),
            ("0", 0),
            ("1.5g", 1536),
            ("1 GiB", 1024),
            ("2tb", 2 << 20),
            ("5M", 8),
            (" 10G ", 10240),
        ] {
            assert_eq!(parse_size(text).unwrap(), mib, "{text}");
        }
        for text in ["", "g", "-1", "1.", ".5", "1x", "1..2", "1e3", "99999999999999999999"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
