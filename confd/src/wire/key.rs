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
    // Both have taken in the key already: a tag costs no more than its text.
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
        self.sign_parts(tag, &[salt, msg], out);
    }

    /// The same of text that lies in several places.
    pub fn sign_parts(&self, tag: Tag, parts: &[&[u8]], out: &mut Vec<u8>) {
        match tag {
            Tag::Sha1 => {
                let mut mac = self.sha1.clone();
                parts.iter().for_each(|part| mac.update(part));
                hex(&mac.finalize().into_bytes(), out);
            }
            Tag::Sha256 => {
                let mut mac = self.sha256.clone();
                parts.iter().for_each(|part| mac.update(part));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of the recorded exchanges, and the tag of the first of them.
    const CONTENT: &[u8] = b"0123456789abcdef0123456789abcdef01234567\n";
    const MSG: &[u8] = b"{\"protocol\": 1, \"type\": 0, \"rsalt\": \"rsalt-00\"}\n";
    const TAG: &[u8] = b"6b9280939345c5c048a2e454a75fb97802980ba7";

    #[test]
    fn the_whole_file_is_the_key() {
        let key = HmacKey::new(CONTENT).unwrap();
        assert!(key.verify(Tag::Sha1, b"1700000000", MSG, TAG));
        let mut tag = vec![];
        key.sign(Tag::Sha1, b"1700000000", MSG, &mut tag);
        assert_eq!(tag, TAG);
        let without_newline = HmacKey::new(CONTENT.trim_ascii_end()).unwrap();
        assert!(!without_newline.verify(Tag::Sha1, b"1700000000", MSG, TAG));
    }

    #[test]
    fn case_does_not_matter_and_everything_else_does() {
        let key = HmacKey::new(CONTENT).unwrap();
        let is = |tag: &[u8]| key.verify(Tag::Sha1, b"1700000000", MSG, tag);
        assert!(is(&TAG.to_ascii_uppercase()));
        for at in 0..TAG.len() {
            let mut other = TAG.to_vec();
            other[at] ^= 1;
            assert!(!is(&other), "digit {at}");
            other[at] = b'g';
            assert!(!is(&other), "no digit at {at}");
        }
        assert!(!is(&TAG[..38]) && !is(b"") && !is(&[TAG, b"00"].concat()));
        assert!(!key.verify(Tag::Sha256, b"1700000000", MSG, TAG));
    }

    #[test]
    fn the_second_tag_is_sha256() {
        // The test case 2 of RFC 4231.
        let key = HmacKey::new(b"Jefe").unwrap();
        let mut tag = vec![];
        key.sign_parts(Tag::Sha256, &[b"what do ya want ", b"for ", b"nothing?"], &mut tag);
        assert_eq!(tag, b"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert!(key.verify(Tag::Sha256, b"what do ya want for", b" nothing?", &tag));
    }

    #[test]
    fn a_key_is_not_empty() {
        let error = HmacKey::new(b"").unwrap_err();
        assert_eq!(error.message, "The confd HMAC key is empty");
    }
}
