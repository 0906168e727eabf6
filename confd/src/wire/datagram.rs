//! A datagram: four bytes that say what it is, and a signed message.

use super::key::{HmacKey, Tag};
use super::text::{Piece, Reader, quote};
use std::borrow::Cow;

/// The first four bytes: plain JSON and the HMAC that signs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Magic;

impl Magic {
    /// Of HMAC-SHA1: Ganeti's.
    pub const SHA1: &[u8; 4] = b"plj0";
    /// Of HMAC-SHA256: ours.
    pub const SHA256: &[u8; 4] = b"plj2";

    /// The four bytes of a tag.
    pub fn of(tag: Tag) -> &'static [u8; 4] {
        match tag {
            Tag::Sha1 => Magic::SHA1,
            Tag::Sha256 => Magic::SHA256,
        }
    }

    /// The tag that a datagram says it carries.
    pub fn tag(datagram: &[u8]) -> Option<Tag> {
        match datagram.first_chunk::<4>()? {
            magic if magic == Magic::SHA1 => Some(Tag::Sha1),
            magic if magic == Magic::SHA256 => Some(Tag::Sha256),
            _ => None,
        }
    }
}

/// A datagram taken apart; nothing in it is believed before [`Envelope::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    pub tag: Tag,
    pub msg: Cow<'a, str>,
    pub salt: Cow<'a, str>,
    pub hmac: Cow<'a, str>,
}

impl<'a> Envelope<'a> {
    /// None: it is no datagram of this protocol. Its object has `msg`, `salt` and `hmac`, each once,
    /// all strings, and nothing else.
    pub fn parse(datagram: &'a [u8]) -> Option<Envelope<'a>> {
        let mut scratch = String::new();
        let (tag, pieces) = take_apart(datagram, &mut scratch)?;
        let [msg, salt, hmac] = pieces.map(|piece| match piece {
            Piece::Plain(text) => Cow::Borrowed(text),
            written => Cow::Owned(written.text(&scratch).to_owned()),
        });
        Some(Envelope { tag, msg, salt, hmac })
    }

    /// The same with what had to be unescaped in `scratch`, whose former content is dropped: takes
    /// no memory once `scratch` is large enough.
    pub fn parse_in(datagram: &'a [u8], scratch: &'a mut String) -> Option<Envelope<'a>> {
        scratch.clear();
        let (tag, pieces) = take_apart(datagram, scratch)?;
        let scratch: &'a str = scratch;
        let [msg, salt, hmac] = pieces.map(|piece| Cow::Borrowed(piece.text(scratch)));
        Some(Envelope { tag, msg, salt, hmac })
    }

    /// Whether a holder of the key made it.
    pub fn verify(&self, key: &HmacKey) -> bool {
        key.verify(self.tag, self.salt.as_bytes(), self.msg.as_bytes(), self.hmac.as_bytes())
    }

    /// When the question was asked, seconds since 1970: the salt of a question. Blanks in front are
    /// allowed and a minus, then digits, and nothing else.
    pub fn time(&self) -> Option<i64> {
        let salt = self.salt.trim_start();
        let digits = salt.strip_prefix('-').unwrap_or(salt);
        let decimal = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        // What does not fit is far from any clock.
        decimal.then(|| salt.parse().ok()).flatten()
    }

    /// A signed datagram, appended to `out`.
    pub fn write(key: &HmacKey, tag: Tag, salt: &str, msg: &str, out: &mut Vec<u8>) {
        out.extend(Magic::of(tag));
        out.extend(b"{\"hmac\":\"");
        key.sign(tag, salt.as_bytes(), msg.as_bytes(), out);
        out.extend(b"\",\"msg\":");
        quote(msg, out);
        out.extend(b",\"salt\":");
        quote(salt, out);
        out.push(b'}');
    }
}

/// `msg`, `salt` and `hmac` of a datagram.
fn take_apart<'a>(datagram: &'a [u8], scratch: &mut String) -> Option<(Tag, [Piece<'a>; 3])> {
    let tag = Magic::tag(datagram)?;
    let mut reader = Reader::new(std::str::from_utf8(&datagram[4..]).ok()?);
    let [mut msg, mut salt, mut hmac] = [None, None, None];
    reader.blanks();
    reader.expect(b'{')?;
    // An empty object is wrong anyway, and three different keys are all there are.
    for _ in 0..3 {
        reader.blanks();
        let key = reader.string(scratch)?;
        let field = match key.text(scratch) {
            "msg" => &mut msg,
            "salt" => &mut salt,
            "hmac" => &mut hmac,
            _ => return None,
        };
        reader.blanks();
        reader.expect(b':')?;
        reader.blanks();
        if field.replace(reader.string(scratch)?).is_some() {
            return None;
        }
        reader.blanks();
        match reader.next()? {
            b',' => {}
            b'}' => {
                reader.blanks();
                return reader.at_end().then_some((tag, [msg?, salt?, hmac?]));
            }
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    fn key() -> HmacKey {
        HmacKey::new(b"0123456789abcdef0123456789abcdef01234567\n").unwrap()
    }

    fn at(salt: &str) -> Option<i64> {
        let (msg, hmac) = (Cow::Borrowed(""), Cow::Borrowed(""));
        Envelope { tag: Tag::Sha1, msg, salt: Cow::Borrowed(salt), hmac }.time()
    }

    #[test]
    fn the_salt_of_a_question_is_a_time() {
        for (salt, time) in [
            ("1700000000", 1_700_000_000),
            (" \t\n1700000000", 1_700_000_000),
            ("-5", -5),
            ("-0", 0),
            ("007", 7),
            ("9223372036854775807", i64::MAX),
        ] {
            assert_eq!(at(salt), Some(time), "{salt:?}");
        }
        for salt in [
            "",
            " ",
            "-",
            "--5",
            "- 5",
            "+1700000000",
            "1700000000 ",
            "1700000000\n",
            "1.5",
            "1e9",
            "0x10",
            "(5)",
            "1_000",
            "９",
            "9223372036854775808",
            "99999999999999999999999999",
        ] {
            assert_eq!(at(salt), None, "{salt:?}");
        }
    }

    #[test]
    fn blanks_and_order_are_free() {
        let json = b"plj0 \t{ \"salt\" : \"s\",\"hmac\":\"h\" ,\n\"msg\":\"m\" }\r\n \n";
        let envelope = Envelope::parse(json).unwrap();
        assert_eq!((&*envelope.msg, &*envelope.salt, &*envelope.hmac), ("m", "s", "h"));
    }

    #[test]
    fn anything_else_is_no_datagram() {
        for wrong in [
            &b""[..],
            b"plj",
            b"plj0",
            b"plj1{\"msg\":\"\",\"salt\":\"\",\"hmac\":\"\"}",
            b"PLJ0{\"msg\":\"\",\"salt\":\"\",\"hmac\":\"\"}",
            b"plj0{}",
            b"plj0[\"\",\"\",\"\"]",
            b"plj0{\"msg\":\"\",\"salt\":\"\"}",
            b"plj0{\"msg\":\"\",\"salt\":\"\",\"hmac\":\"\",}",
            b"plj0{\"msg\":\"\",\"salt\":\"\",\"hmac\":\"\",\"key_selector\":\"\"}",
            b"plj0{\"msg\":\"\",\"salt\":\"\",\"hmac\":\"\",\"hmac\":\"\"}",
            b"plj0{\"msg\":\"\",\"salt\":\"\",\"salt\":\"\"}",
            b"plj0{\"msg\":\"\",\"salt\":1700000000,\"hmac\":\"\"}",
            b"plj0{\"msg\":{},\"salt\":\"\",\"hmac\":\"\"}",
            b"plj0{\"msg\":null,\"salt\":\"\",\"hmac\":\"\"}",
            b"plj0{\"msg\":\"\",\"salt\":\"\",\"hmac\":\"\"}x",
            b"plj0{\"msg\":\"\",\"salt\":\"\",\"hmac\":\"\"}{}",
            b"plj0{\"msg\":\"\",\"salt\":\"\",\"hmac\":\"\"",
            b"plj0{\"msg\":\"\xff\",\"salt\":\"\",\"hmac\":\"\"}",
            b"plj0{\"msg\":\"\n\",\"salt\":\"\",\"hmac\":\"\"}",
            b"plj0{\"msg\":\"\" \"salt\":\"\",\"hmac\":\"\"}",
            b"plj0\x0b{\"msg\":\"\",\"salt\":\"\",\"hmac\":\"\"}",
        ] {
            assert_eq!(Envelope::parse(wrong), None, "{}", wrong.escape_ascii());
        }
    }

    /// What a datagram's object is, as another reader of JSON sees it.
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Fields {
        msg: String,
        salt: String,
        hmac: String,
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(salt in any::<String>(), msg in any::<String>(), sha256: bool) {
            let tag = if sha256 { Tag::Sha256 } else { Tag::Sha1 };
            let mut datagram = vec![];
            Envelope::write(&key(), tag, &salt, &msg, &mut datagram);
            prop_assert!(datagram.is_ascii());
            let mut scratch = String::from("of the one before");
            let envelope = Envelope::parse_in(&datagram, &mut scratch).unwrap();
            prop_assert_eq!((envelope.tag, &*envelope.msg, &*envelope.salt), (tag, &*msg, &*salt));
            prop_assert!(envelope.verify(&key()));
            prop_assert!(!envelope.verify(&HmacKey::new(b"another").unwrap()));
            prop_assert_eq!(Some(envelope), Envelope::parse(&datagram));
        }

        #[test]
        fn parts_of_datagrams_are_read_as_another_reader_does(
            parts in prop::collection::vec(prop::sample::select(vec![
                "{", "}", "\"msg\"", "\"salt\"", "\"hmac\"", "\"ms\\u0067\"", ":", ",", "\"a\\\\b\"",
                " ", "\n", "\"\\ud800\"", "1", "null", "[", "]", "\"ä\"", "\"",
            ]), 0..16),
        ) {
            let json = parts.concat();
            let datagram = format!("plj0{json}");
            // The other one would take a list for an object.
            let object = json.trim_start().starts_with('{');
            let expected = serde_json::from_str::<Fields>(&json).ok().filter(|_| object);
            let seen = Envelope::parse(datagram.as_bytes());
            prop_assert_eq!(
                seen.map(|e| (e.msg.into_owned(), e.salt.into_owned(), e.hmac.into_owned())),
                expected.map(|e| (e.msg, e.salt, e.hmac))
            );
        }

        #[test]
        fn a_changed_datagram_is_never_believed(
            msg in "[ -~]{0,40}", at in any::<prop::sample::Index>(), to in any::<u8>(),
        ) {
            let mut datagram = vec![];
            Envelope::write(&key(), Tag::Sha1, "1700000000", &msg, &mut datagram);
            let honest = datagram.clone();
            let at = at.index(datagram.len());
            datagram[at] = to;
            if let Some(envelope) = Envelope::parse(&datagram)
                && envelope.verify(&key())
            {
                // Only what says the same: another case of the tag, another way to escape.
                let honest = Envelope::parse(&honest).unwrap();
                prop_assert_eq!((envelope.msg, envelope.salt), (honest.msg, honest.salt));
            }
        }

        #[test]
        fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Envelope::parse(&bytes);
            let _ = Envelope::parse(&[&b"plj0"[..], &bytes].concat());
        }
    }
}
