//! A datagram: four bytes that say what it is, and a signed message.

use super::key::{HmacKey, Tag};
use serde::Deserialize;
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
}

/// A datagram taken apart; nothing in it is believed before [`Envelope::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    pub tag: Tag,
    pub msg: Cow<'a, str>,
    pub salt: Cow<'a, str>,
    pub hmac: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'a> {
    #[serde(borrow)]
    msg: Cow<'a, str>,
    #[serde(borrow)]
    salt: Cow<'a, str>,
    #[serde(borrow)]
    hmac: Cow<'a, str>,
}

impl<'a> Envelope<'a> {
    /// None: it is no datagram of this protocol.
    pub fn parse(datagram: &'a [u8]) -> Option<Envelope<'a>> {
        let (magic, json) = datagram.split_at_checked(4)?;
        let tag = match magic {
            m if m == Magic::SHA1 => Tag::Sha1,
            m if m == Magic::SHA256 => Tag::Sha256,
            _ => return None,
        };
        let Fields { msg, salt, hmac } = serde_json::from_slice(json).ok()?;
        Some(Envelope { tag, msg, salt, hmac })
    }

    /// Whether a holder of the key made it.
    pub fn verify(&self, key: &HmacKey) -> bool {
        key.verify(self.tag, self.salt.as_bytes(), self.msg.as_bytes(), self.hmac.as_bytes())
    }

    /// A signed datagram, appended to `out`. `msg` is ASCII.
    pub fn write(key: &HmacKey, tag: Tag, salt: &str, msg: &str, out: &mut Vec<u8>) {
        out.extend(Magic::of(tag));
        out.extend(b"{\"hmac\":\"");
        key.sign(tag, salt.as_bytes(), msg.as_bytes(), out);
        out.extend(b"\",\"msg\":");
        out.extend(quoted(msg).as_bytes());
        out.extend(b",\"salt\":");
        out.extend(quoted(salt).as_bytes());
        out.push(b'}');
    }
}

/// A JSON string of ASCII only, whatever is in it.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8 + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push('"');
    out
}
