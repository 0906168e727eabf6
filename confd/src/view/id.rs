//! UUIDs as 16 bytes.

use std::fmt;

/// A UUID in its one spelling: lower case, with dashes. Ordered as its text is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; 16]);

/// Where the dashes are in the text.
const DASHES: [usize; 4] = [8, 13, 18, 23];

impl Id {
    /// Length of the text.
    pub const TEXT: usize = 36;
    /// That of nothing.
    pub const ZERO: Id = Id([0; 16]);

    pub fn new(bytes: [u8; 16]) -> Id {
        Id(bytes)
    }

    pub fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// As two numbers.
    pub fn halves(self) -> (u64, u64) {
        let both = u128::from_le_bytes(self.0);
        (both as u64, (both >> 64) as u64)
    }

    /// None: not a UUID, or spelled otherwise.
    pub fn parse(text: &[u8]) -> Option<Id> {
        if text.len() != Id::TEXT {
            return None;
        }
        let mut bytes = [0; 16];
        let mut digits = 0;
        for (at, byte) in text.iter().enumerate() {
            if DASHES.contains(&at) {
                if *byte != b'-' {
                    return None;
                }
                continue;
            }
            bytes[digits / 2] = bytes[digits / 2] << 4 | digit(*byte)?;
            digits += 1;
        }
        Some(Id(bytes))
    }

    /// The text.
    pub fn text(self) -> [u8; Id::TEXT] {
        let mut text = [b'-'; Id::TEXT];
        let mut at = 0;
        for byte in self.0 {
            if DASHES.contains(&at) {
                at += 1;
            }
            [text[at], text[at + 1]] = hex(byte);
            at += 2;
        }
        text
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Hexadecimal digits and dashes.
        f.write_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The value of a lower-case hexadecimal digit.
pub fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// A byte as two lower-case hexadecimal digits.
pub fn hex(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling() {
        let text = "aaaaaaaa-0123-4567-89ab-cdef00000001";
        let id = Id::parse(text.as_bytes()).unwrap();
        assert_eq!(id.to_string(), text);
        for other in [
            "AAAAAAAA-0123-4567-89ab-cdef00000001",
            "aaaaaaaa00123-4567-89ab-cdef00000001",
            "aaaaaaaa-0123-4567-89ab-cdef0000000",
            "aaaaaaaa-0123-4567-89ab-cdef0000000g",
            "aaaaaaaa-0123-4567-89abccdef00000001",
        ] {
            assert_eq!(Id::parse(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn order_is_that_of_the_text() {
        let mut texts = vec![
            "0aaaaaaa-0123-4567-89ab-cdef00000001",
            "00aaaaaa-0123-4567-89ab-cdef00000001",
            "a0aaaaaa-0123-4567-89ab-cdef00000001",
            "90aaaaaa-0123-4567-89ab-cdef00000001",
        ];
        let mut ids: Vec<Id> = texts.iter().map(|t| Id::parse(t.as_bytes()).unwrap()).collect();
        ids.sort();
        texts.sort();
        assert_eq!(ids.iter().map(Id::to_string).collect::<Vec<_>>(), texts);
    }
}
