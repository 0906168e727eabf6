//! The key that cluster members share, and what it signs.

use hmac::{Hmac, KeyInit, Mac};
use roost_proto::error::{Error, Result};
use sha1::Sha1;
use sha2::Sha256;
use std::fmt;
use std::path::Path;

/// Which HMAC a datagram carries; its magic says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tag {
    /// HMAC-SHA1: Ganeti's.
    Sha1,
    /// HMAC-SHA256: for those who may not use SHA-1. Off unless asked for.
    Sha256,
}

/// The content of `hmac.key`, line end included, ready to sign.
#[derive(Clone)]
pub struct HmacKey {
    sha1: Hmac<Sha1>,
    sha256: Hmac<Sha256>,
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacKey(…)")
    }
}

impl HmacKey {
    /// Of the raw content of the file. Errors: it is empty.
    pub fn new(content: &[u8]) -> Result<HmacKey> {
        if content.is_empty() {
            return Err(Error::environment("The confd HMAC key is empty"));
        }
        let wrong = |_| Error::internal("an HMAC takes keys of any length");
        Ok(HmacKey {
            sha1: Hmac::new_from_slice(content).map_err(wrong)?,
            sha256: Hmac::new_from_slice(content).map_err(wrong)?,
        })
    }

    /// Of a file. Errors: it cannot be read, or is empty.
    pub fn read(path: &Path) -> Result<HmacKey> {
        let failed = |e| Error::environment(format!("Cannot read '{}': {e}", path.display()));
        HmacKey::new(&std::fs::read(path).map_err(failed)?)
    }

    /// Appends the lower-case hexadecimal tag of `salt msg` to `out`.
    pub fn sign(&self, tag: Tag, salt: &[u8], msg: &[u8], out: &mut Vec<u8>) {
        match tag {
            Tag::Sha1 => {
                let mac = self.sha1.clone().chain_update(salt).chain_update(msg);
                hex(&mac.finalize().into_bytes(), out);
            }
            Tag::Sha256 => {
                let mac = self.sha256.clone().chain_update(salt).chain_update(msg);
                hex(&mac.finalize().into_bytes(), out);
            }
        }
    }

    /// Whether `hexadecimal`, in either case, is the tag of `salt msg`. Takes the same time for all
    /// wrong tags of the right length.
    pub fn verify(&self, tag: Tag, salt: &[u8], msg: &[u8], hexadecimal: &[u8]) -> bool {
        let mut claimed = [0; 32];
        let length = match tag {
            Tag::Sha1 => 20,
            Tag::Sha256 => 32,
        };
        if hexadecimal.len() != 2 * length {
            return false;
        }
        for (byte, pair) in claimed.iter_mut().zip(hexadecimal.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            let (Some(high), Some(low)) = (digit(0), digit(1)) else { return false };
            *byte = (high << 4 | low) as u8;
        }
        let claimed = &claimed[..length];
        match tag {
            Tag::Sha1 => {
                self.sha1.clone().chain_update(salt).chain_update(msg).verify_slice(claimed).is_ok()
            }
            Tag::Sha256 => {
                let mac = self.sha256.clone().chain_update(salt).chain_update(msg);
                mac.verify_slice(claimed).is_ok()
            }
        }
    }
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}
