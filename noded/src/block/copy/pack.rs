//! How data is made smaller on its way: each piece by itself, so that a copy can go on anywhere.
//!
//! Ganeti's names of compression tools, and two of ours (`zstd`, `lz4`). No program is run.

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use roost_proto::error::{Error, Result};
use std::io::{self, Read, Write};

/// zstd's own default.
const ZSTD_LEVEL: i32 = 3;

/// How to pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    None,
    /// By gzip, with this level.
    Gzip(u32),
    Zstd,
    Lz4,
}

impl Packing {
    /// By the name of the tool. Errors: one that is not known here.
    pub fn of(tool: &str) -> Result<Packing> {
        Ok(match tool {
            "" | "none" => Packing::None,
            "gzip" => Packing::Gzip(6),
            "gzip-fast" => Packing::Gzip(1),
            "gzip-slow" => Packing::Gzip(9),
            "zstd" => Packing::Zstd,
            "lz4" => Packing::Lz4,
            other => {
                return Err(Error::wrong_input(format!(
                    "Compression tool '{other}' cannot be used between nodes; there are none, \
                     gzip, gzip-fast, gzip-slow, zstd and lz4 (which is as light as lzop)"
                )));
            }
        })
    }

    /// The word that travels with a packed piece.
    fn word(self) -> &'static str {
        match self {
            Packing::None => "",
            Packing::Gzip(_) => "gzip",
            Packing::Zstd => "zstd",
            Packing::Lz4 => "lz4",
        }
    }

    /// Packs a piece: (word, data). One that would not become smaller stays as it is.
    pub fn pack(self, data: Vec<u8>) -> io::Result<(&'static str, Vec<u8>)> {
        let packed = match self {
            Packing::None => return Ok(("", data)),
            Packing::Gzip(level) => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
                encoder.write_all(&data)?;
                encoder.finish()?
            }
            Packing::Zstd => zstd::bulk::compress(&data, ZSTD_LEVEL)?,
            Packing::Lz4 => lz4_flex::block::compress(&data),
        };
        Ok(if packed.len() < data.len() { (self.word(), packed) } else { ("", data) })
    }
}

/// The piece again, which must have `length` bytes.
pub fn unpack(word: &str, data: Vec<u8>, length: usize) -> io::Result<Vec<u8>> {
    let bad = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let unpacked = match word {
        "" => return Ok(data),
        "gzip" => {
            // One more than it may have, so that too much is noticed and no more is unpacked.
            let mut unpacked = Vec::with_capacity(length);
            GzDecoder::new(&data[..]).take(length as u64 + 1).read_to_end(&mut unpacked)?;
            unpacked
        }
        "zstd" => zstd::bulk::decompress(&data, length)?,
        "lz4" => {
            lz4_flex::block::decompress(&data, length).map_err(|e| bad(format!("lz4: {e}")))?
        }
        other => return Err(bad(format!("it is packed by '{other}', which is not known here"))),
    };
    if unpacked.len() == length {
        return Ok(unpacked);
    }
    Err(bad(format!("a packed piece has {} bytes, not {length}", unpacked.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_gives_back_what_it_got() {
        let text: Vec<u8> = (0..100_000_u32).flat_map(|n| (n / 50).to_le_bytes()).collect();
        for tool in ["none", "gzip", "gzip-fast", "gzip-slow", "zstd", "lz4", ""] {
            let packing = Packing::of(tool).expect(tool);
            let (word, packed) = packing.pack(text.clone()).expect(tool);
            assert!(packed.len() < text.len() / 2 || packing == Packing::None, "{tool}");
            assert_eq!(unpack(word, packed.clone(), text.len()).expect(tool), text);
            if packing != Packing::None {
                unpack(word, packed.clone(), text.len() - 1).expect_err("too long");
                unpack(word, packed[..packed.len() / 2].to_vec(), text.len()).expect_err("half");
            }
        }
        let error = Packing::of("lzop").expect_err("not by library");
        assert!(error.message.contains("lz4"), "{error}");
        unpack("xz", vec![], 0).expect_err("unknown");
    }

    #[test]
    fn what_gets_no_smaller_stays_as_it_is() {
        let mut noise = vec![0_u8; 4096];
        let mut state = 1_u32;
        for byte in &mut noise {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
        for packing in [Packing::Gzip(6), Packing::Zstd, Packing::Lz4] {
            assert_eq!(packing.pack(noise.clone()).expect("packed"), ("", noise.clone()));
        }
    }
}
