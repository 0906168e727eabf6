//! Which DRBD the kernel has: its tools speak another language from 9 on.

use std::fs;

/// Tells whether the module is loaded, and its version.
const PROC: &str = "/proc/drbd";

/// The language of `drbdsetup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// 8.4: devices are named by minor, connections by their two addresses.
    Eight,
    /// 9: nodes have numbers, connections are named by them.
    Nine,
}

/// A version of the kernel's module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// As the kernel writes it: `8.4.11`.
    pub text: String,
    pub dialect: Dialect,
}

impl Version {
    /// Reads the first line of `/proc/drbd`; an error is a version that is not spoken here.
    pub fn parse(proc: &str) -> Result<Version, String> {
        let text = proc
            .lines()
            .find_map(|line| line.strip_prefix("version:"))
            .and_then(|rest| rest.split_whitespace().next())
            .ok_or_else(|| "the kernel does not tell its version of DRBD".to_owned())?;
        let mut numbers = text.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
        let dialect = match (numbers.next(), numbers.next()) {
            (Some(8), Some(4)) => Dialect::Eight,
            (Some(9), _) => Dialect::Nine,
            _ => {
                return Err(format!("DRBD {text} of this kernel is not supported: 8.4 and 9 are"));
            }
        };
        Ok(Version { text: text.to_owned(), dialect })
    }

    /// What the kernel has now; nothing where the module is not loaded.
    pub fn now() -> Option<Result<Version, String>> {
        fs::read_to_string(PROC).ok().map(|text| Version::parse(&text))
    }
}

/// Whether the kernel has DRBD.
pub fn loaded() -> bool {
    fs::exists(PROC).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_which_language_is_spoken() {
        let version = |text: &str| Version::parse(text).map(|v| (v.text, v.dialect));
        let proc = "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: 059B1B470318F053F5077D5 \n";
        assert_eq!(version(proc), Ok(("8.4.11".into(), Dialect::Eight)));
        let proc = "version: 9.1.13 (api:2/proto:86-121)\nGIT-hash: 5a3d\n";
        assert_eq!(version(proc), Ok(("9.1.13".into(), Dialect::Nine)));
        let error = version("version: 8.3.16 (api:88/proto:86-97)\n").expect_err("too old");
        assert!(error.contains("8.3.16"), "{error}");
        version("").expect_err("nothing");
    }
}
