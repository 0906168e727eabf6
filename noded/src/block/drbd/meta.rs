//! The first bytes of a meta data volume: what a side knows about its data while it is not in use.

use roost_proto::error::{Error, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC_08: u32 = 0x8374_026b;
const MAGIC_08_UNCLEAN: u32 = 0x8374_026c;
const MAGIC_09: u32 = 0x8374_026d;

/// What the volume says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Sectors the device had when it was last used; 0 if it never was.
    pub sectors: u64,
    /// Current, bitmap, and two of its history.
    pub generations: [u64; 4],
}

impl Meta {
    /// Reads the beginning of the volume; nothing if it has no meta data of DRBD.
    pub fn parse(block: &[u8]) -> Option<Meta> {
        let long = |at: usize| Some(u64::from_be_bytes(block.get(at..at + 8)?.try_into().ok()?));
        let word = |at: usize| Some(u32::from_be_bytes(block.get(at..at + 4)?.try_into().ok()?));
        match word(60)? {
            MAGIC_08 | MAGIC_08_UNCLEAN => Some(Meta {
                sectors: long(0)?,
                generations: [long(8)?, long(16)?, long(24)?, long(32)?],
            }),
            // 9 has its other identifiers elsewhere; they are asked of the kernel.
            MAGIC_09 => Some(Meta { sectors: long(0)?, generations: [long(8)?, 0, 0, 0] }),
            _ => None,
        }
    }

    /// Reads a volume.
    pub fn read(path: &Path) -> Result<Option<Meta>> {
        let mut block = [0; 4096];
        File::open(path)
            .and_then(|file| file.read_exact_at(&mut block, 0))
            .map(|()| Meta::parse(&block))
            .map_err(|e| {
                Error::exec(format!(
                    "The meta data volume '{}' cannot be read: {e}",
                    path.display()
                ))
            })
    }
}

/// Identifiers as DRBD writes them.
pub fn written(generations: &[u64]) -> Vec<String> {
    generations.iter().map(|n| format!("{n:016X}")).collect()
}

/// The identifiers in what `drbdsetup get-gi` prints: `A:B:C:D:1:1:…`.
pub fn parse_generations(text: &str) -> Vec<String> {
    let line = text.lines().find(|line| line.contains(':')).unwrap_or_default();
    let is_id = |word: &&str| word.len() == 16 && word.chars().all(|c| c.is_ascii_hexdigit());
    line.trim().split(':').take(4).take_while(is_id).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a mirror of 50 MiB that was in use, and of one just made.
    const USED: &str = "00000000000190006a459774e213596a14c51a044e976c8fb51994986b2f449e\
                        000000000000000400000000000000000000000000000000000000118374026c";
    const NEW: &str = "00000000000000000000000000000004000000000000000000000000000000000\
                       00000000000000000000000000000000000000000000000000000808374026b";

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    #[test]
    fn meta_data_is_read() {
        let used = Meta::parse(&bytes(USED)).expect("meta data");
        assert_eq!(used.sectors, 50 * 2048);
        assert_eq!(written(&used.generations)[..2], ["6A459774E213596A", "14C51A044E976C8F"]);
        let new = Meta::parse(&bytes(NEW)).expect("meta data");
        assert_eq!((new.sectors, new.generations), (0, [4, 0, 0, 0]));
        assert_eq!(Meta::parse(&[0; 4096]), None);
        assert_eq!(Meta::parse(&[]), None);
    }

    #[test]
    fn identifiers_are_read() {
        let text =
            "6A459774E213596B:14C51A044E976C8F:B51994986B2F449E:0000000000000004:1:1:1:0:0:0:0\n";
        assert_eq!(
            parse_generations(text),
            ["6A459774E213596B", "14C51A044E976C8F", "B51994986B2F449E", "0000000000000004"]
        );
        assert_eq!(parse_generations("Device is unconfigured\n"), Vec::<String>::new());
    }
}
