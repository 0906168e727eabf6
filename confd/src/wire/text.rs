//! Text in JSON strings: taken out of them and put into them, without a tree and without copies
//! where none is needed.

use std::ops::Range;

/// A JSON string that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Nothing in it was escaped: this is how it came.
    Plain(&'a str),
    /// It was written to the scratch text, here.
    Scratch(Range<usize>),
}

impl<'a> Piece<'a> {
    /// Its text.
    pub(super) fn text(&self, scratch: &'a str) -> &'a str {
        match self {
            Piece::Plain(text) => text,
            Piece::Scratch(range) => scratch.get(range.clone()).unwrap_or_default(),
        }
    }
}

/// Reads JSON from the left. Every method is None where the text is not what it should be.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Reader<'a> {
        Reader { text, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Skips JSON's blanks.
    pub(super) fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// The next byte, whatever it is.
    pub(super) fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// This byte comes next.
    pub(super) fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// Nothing is left.
    pub(super) fn at_end(&self) -> bool {
        self.at == self.text.len()
    }

    /// A string. Appends to `scratch` if anything in it is escaped.
    pub(super) fn string(&mut self, scratch: &mut String) -> Option<Piece<'a>> {
        self.expect(b'"')?;
        let begin = scratch.len();
        let mut from = self.at;
        loop {
            match self.peek()? {
                b'"' => {
                    // Quotes and backslashes are never within a character.
                    let rest = self.text.get(from..self.at)?;
                    self.at += 1;
                    // Every escape leaves something there.
                    if scratch.len() == begin {
                        return Some(Piece::Plain(rest));
                    }
                    scratch.push_str(rest);
                    return Some(Piece::Scratch(begin..scratch.len()));
                }
                b'\\' => {
                    scratch.push_str(self.text.get(from..self.at)?);
                    self.at += 1;
                    scratch.push(self.escaped()?);
                    from = self.at;
                }
                0..=0x1f => return None,
                _ => self.at += 1,
            }
        }
    }

    /// What stands behind a backslash.
    fn escaped(&mut self) -> Option<char> {
        Some(match self.next()? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hexadecimal()?;
                if !(0xd800..0xe000).contains(&first) {
                    return char::from_u32(first);
                }
                self.expect(b'\\')?;
                self.expect(b'u')?;
                let second = self.hexadecimal()?;
                if first >= 0xdc00 || !(0xdc00..0xe000).contains(&second) {
                    return None;
                }
                return char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00));
            }
            _ => return None,
        })
    }

    fn hexadecimal(&mut self) -> Option<u32> {
        let mut number = 0;
        for _ in 0..4 {
            number = number << 4 | char::from(self.next()?).to_digit(16)?;
        }
        Some(number)
    }
}

/// How a byte stands in a JSON string of ASCII only: 0 as it is, otherwise behind a backslash; 1 is
/// for those that take more.
const ESCAPES: [u8; 256] = {
    let mut table = [1; 256];
    let mut byte = 0x20;
    while byte < 0x7f {
        table[byte] = 0;
        byte += 1;
    }
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table[b'\n' as usize] = b'n';
    table
};

/// Appends `text` as it stands between the quotes of a JSON string, in ASCII.
pub fn escape(text: &str, out: &mut Vec<u8>) {
    const CHUNK: usize = 256;
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        // Text without anything special is copied as it is; the rest byte by byte into room that is
        // there for sure.
        let chunk = &bytes[at..bytes.len().min(at + CHUNK)];
        let mut room = [0; 2 * CHUNK];
        let mut used = 0;
        let mut taken = 0;
        for &byte in chunk {
            let escape = ESCAPES[usize::from(byte)];
            if escape == 1 {
                break;
            }
            // Both are written; what counts is how far it goes on.
            room[used] = b'\\';
            used += usize::from(escape != 0);
            room[used] = if escape == 0 { byte } else { escape };
            used += 1;
            taken += 1;
        }
        out.extend_from_slice(&room[..used]);
        at += taken;
        if taken < chunk.len() {
            // At the begin of a character: what came before was ASCII.
            let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) else { return };
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.extend_from_slice(b"\\u");
                for shift in [12, 8, 4, 0] {
                    out.push(b"0123456789abcdef"[usize::from(*unit >> shift & 15)]);
                }
            }
            at += c.len_utf8();
        }
    }
}

/// Appends `text` as a JSON string of ASCII only.
pub fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    escape(text, out);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(json: &str) -> Option<String> {
        let mut scratch = String::from("before");
        let mut reader = Reader::new(json);
        let piece = reader.string(&mut scratch)?;
        reader.at_end().then(|| piece.text(&scratch).to_owned())
    }

    #[test]
    fn a_string_without_escapes_is_not_copied() {
        let mut scratch = String::new();
        let piece = Reader::new("\"grün\"").string(&mut scratch);
        assert_eq!(piece, Some(Piece::Plain("grün")));
        assert_eq!(scratch, "");
    }

    #[test]
    fn escapes_mean_what_they_mean() {
        for (json, text) in [
            (r#""""#, ""),
            (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
            (r#""a\u00e4\ud83d\ude00""#, "aä😀"),
            (r#""\u0000x""#, "\0x"),
        ] {
            assert_eq!(read(json).as_deref(), Some(text), "{json}");
        }
        for json in
            [r#"""#, r#""\"#, r#""\x""#, r#""\u12""#, r#""\ud83d""#, r#""\ude00\ud83d""#, "\"\n\""]
        {
            assert_eq!(read(json), None, "{json}");
        }
    }

    proptest! {
        #[test]
        fn text_comes_back(text in any::<String>()) {
            let mut json = vec![];
            quote(&text, &mut json);
            prop_assert!(json.is_ascii());
            let json = String::from_utf8(json).unwrap();
            prop_assert_eq!(read(&json), Some(text.clone()));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        #[test]
        fn strings_are_read_as_another_reader_does(json in "\"[a\\\\\"u0dD8cnb/ä\\x01]{0,12}\"") {
            prop_assert_eq!(read(&json), serde_json::from_str::<String>(&json).ok());
        }
    }
}
