//! The packed form of a JSON value, and reading it.
//!
//! ```text
//!   value   tag, content:
//!     null false true        –
//!     number                 varint; or 8 bytes; or nothing: one of the two before it in the object again
//!     text                   in the pool: its number; else by its form: UUID 16 bytes, MAC 6, IPv4 4, hexadecimal
//!                            half as many, one with a UUID in it: 16 (none if it
//!                            is that of the one before), what is before, what is behind; else length, bytes
//!     the object's own UUID, name and serial number: nothing, they stand beside it
//!     object                 number of its shape in the pool, values in the order of the keys; or in the pool as a
//!                            whole: its number
//!     array                  how many, values
//! ```
//!
//! An instance of 1,200 bytes takes about 130, and comes back by copying: no search, no dictionary to train.

use super::id::{Id, hex};
use super::pool::Pool;
use crate::wire::escape;
use std::borrow::Cow;
use std::io::Write;
use std::net::Ipv4Addr;

/// What stands in front of a value.
pub mod tag {
    pub const NULL: u8 = 0;
    pub const FALSE: u8 = 1;
    pub const TRUE: u8 = 2;
    pub const UINT: u8 = 3;
    /// −1 − what follows.
    pub const NEGATIVE: u8 = 4;
    pub const FLOAT: u8 = 5;
    /// The last one.
    pub const SAME_FLOAT: u8 = 6;
    /// Stands in JSON as it is.
    pub const PLAIN: u8 = 7;
    pub const TEXT: u8 = 8;
    pub const POOLED: u8 = 9;
    pub const ID: u8 = 10;
    pub const OWN_ID: u8 = 11;
    pub const OWN_NAME: u8 = 12;
    pub const OWN_SERIAL: u8 = 13;
    pub const MAC: u8 = 14;
    pub const IPV4: u8 = 15;
    pub const HEX: u8 = 16;
    pub const WITH_ID: u8 = 17;
    pub const OBJECT: u8 = 18;
    pub const ARRAY: u8 = 19;
    /// The one before the last.
    pub const OTHER_FLOAT: u8 = 20;
    /// The same UUID as in the one before.
    pub const WITH_SAME_ID: u8 = 21;
    /// An object that is in the pool.
    pub const POOLED_OBJECT: u8 = 22;
    /// From here on tags with small numbers in them.
    pub const ARRAYS: u8 = 0x20;
    pub const OBJECTS: u8 = 0x40;
    pub const UINTS: u8 = 0x80;
    pub const POOLEDS: u8 = 0xc0;
}

/// Appends a number, 7 bits a byte, the lowest first.
pub fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number from the left of `bytes`.
pub fn take_varint(bytes: &[u8], at: &mut usize) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = bytes[*at];
        *at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return number;
        }
        shift += 7;
    }
}

/// An object as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    pub pool: &'a Pool,
    pub id: Id,
    /// Empty: it has none.
    pub name: &'a str,
    /// 0: it has none.
    pub serial: u64,
    body: &'a [u8],
}

impl<'a> Packed<'a> {
    /// Of what [`super::pack::pack`] made.
    pub fn new(pool: &'a Pool, id: Id, stored: &'a [u8]) -> Packed<'a> {
        let mut at = 0;
        let length = take_varint(stored, &mut at) as usize;
        let name = std::str::from_utf8(&stored[at..at + length]).unwrap_or_default();
        at += length;
        let serial = take_varint(stored, &mut at);
        Packed { pool, id, name, serial, body: &stored[at..] }
    }

    /// In front of its value.
    pub fn cursor(self) -> Cursor<'a> {
        Cursor {
            object: self,
            bytes: self.body,
            at: 0,
            outer: None,
            last: [0; 2],
            last_id: Id::ZERO,
        }
    }

    /// Appends it as JSON.
    pub fn write(self, out: &mut Vec<u8>) {
        self.cursor().write(out);
    }
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    Null,
    Bool(bool),
    Uint(u64),
    Negative(i64),
    Float(f64),
    Text(Text<'a>),
    /// Its keys, by their numbers in the pool; the values follow.
    Object(&'a [u32]),
    /// So many follow.
    Array(usize),
}

/// A string.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Text<'a> {
    /// Stands in JSON as it is.
    Plain(&'a str),
    Other(&'a str),
    Id(Id),
    Mac([u8; 6]),
    Ipv4(Ipv4Addr),
    Hex(&'a [u8]),
    /// A UUID between two others.
    WithId(&'a str, Id, &'a str),
}

impl<'a> Text<'a> {
    /// Appends it as it is in JSON, with quotes.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        match self {
            Text::Plain(text) => out.extend_from_slice(text.as_bytes()),
            Text::Other(text) => escape(text, out),
            Text::Id(id) => out.extend_from_slice(&id.text()),
            Text::Mac(bytes) => {
                for (at, byte) in bytes.iter().enumerate() {
                    if at > 0 {
                        out.push(b':');
                    }
                    out.extend_from_slice(&hex(*byte));
                }
            }
            Text::Ipv4(ip) => put_ipv4(*ip, out),
            Text::Hex(bytes) => bytes.iter().for_each(|b| out.extend_from_slice(&hex(*b))),
            Text::WithId(before, id, behind) => {
                // Only made of what stands in JSON as it is.
                out.extend_from_slice(before.as_bytes());
                out.extend_from_slice(&id.text());
                out.extend_from_slice(behind.as_bytes());
            }
        }
        out.push(b'"');
    }

    /// The string itself.
    pub fn to_str(self) -> Cow<'a, str> {
        match self {
            Text::Plain(text) | Text::Other(text) => Cow::Borrowed(text),
            Text::Id(id) => Cow::Owned(id.to_string()),
            Text::Ipv4(ip) => Cow::Owned(ip.to_string()),
            Text::Mac(_) | Text::Hex(_) | Text::WithId(..) => {
                let mut quoted = vec![];
                self.write(&mut quoted);
                quoted.pop();
                quoted.remove(0);
                Cow::Owned(String::from_utf8(quoted).unwrap_or_default())
            }
        }
    }

    /// The UUID it is.
    pub fn id(&self) -> Option<Id> {
        match self {
            Text::Id(id) => Some(*id),
            Text::Plain(text) => Id::parse(text.as_bytes()),
            _ => None,
        }
    }
}

/// Appends `a.b.c.d`.
pub fn put_ipv4(ip: Ipv4Addr, out: &mut Vec<u8>) {
    for (at, octet) in ip.octets().into_iter().enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        if octet >= 100 {
            out.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            out.push(b'0' + octet / 10 % 10);
        }
        out.push(b'0' + octet % 10);
    }
}

/// Appends a number that is not negative.
pub fn put_uint(number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let (mut at, mut left) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// A place in an object, in front of a value. What is behind it can only be read in order.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    object: Packed<'a>,
    /// Where `at` is: the object, or one in the pool.
    bytes: &'a [u8],
    at: usize,
    /// Where to go on behind an object in the pool.
    outer: Option<(&'a [u8], usize)>,
    /// Bits of the last two numbers with a fraction, the last first.
    last: [u64; 2],
    /// Of the last text with a UUID in it.
    last_id: Id,
}

impl<'a> Cursor<'a> {
    /// Back from an object in the pool, if that was its end.
    fn settle(&mut self) {
        if self.at == self.bytes.len()
            && let Some((bytes, at)) = self.outer.take()
        {
            (self.bytes, self.at) = (bytes, at);
        }
    }

    fn number(&mut self) -> u64 {
        take_varint(self.bytes, &mut self.at)
    }

    fn bytes(&mut self, length: usize) -> &'a [u8] {
        let bytes = &self.bytes[self.at..self.at + length];
        self.at += length;
        bytes
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N));
        array
    }

    fn str(&mut self) -> &'a str {
        let length = self.number() as usize;
        std::str::from_utf8(self.bytes(length)).unwrap_or_default()
    }

    fn pooled(&self, id: u32) -> Text<'a> {
        match self.object.pool.string(id) {
            (text, true) => Text::Plain(text),
            (text, false) => Text::Other(text),
        }
    }

    fn quoted(&self, id: u32) -> Option<&'a [u8]> {
        self.object.pool.quoted(id)
    }

    /// What comes next, and goes past it; not past the values within it.
    pub fn next(&mut self) -> Token<'a> {
        let token = self.read();
        self.settle();
        token
    }

    fn read(&mut self) -> Token<'a> {
        let tag = self.bytes[self.at];
        self.at += 1;
        let pool = self.object.pool;
        match tag {
            tag::NULL => Token::Null,
            tag::FALSE => Token::Bool(false),
            tag::TRUE => Token::Bool(true),
            tag::UINT => Token::Uint(self.number()),
            tag::NEGATIVE => Token::Negative(-1 - self.number() as i64),
            tag::FLOAT => {
                self.last = [u64::from_le_bytes(self.array()), self.last[0]];
                Token::Float(f64::from_bits(self.last[0]))
            }
            tag::SAME_FLOAT => Token::Float(f64::from_bits(self.last[0])),
            tag::OTHER_FLOAT => {
                self.last.swap(0, 1);
                Token::Float(f64::from_bits(self.last[0]))
            }
            tag::PLAIN => Token::Text(Text::Plain(self.str())),
            tag::TEXT => Token::Text(Text::Other(self.str())),
            tag::POOLED => {
                let id = self.number() as u32;
                Token::Text(self.pooled(id))
            }
            tag::ID => Token::Text(Text::Id(Id::new(self.array()))),
            tag::OWN_ID => Token::Text(Text::Id(self.object.id)),
            tag::OWN_NAME => Token::Text(match super::pool::is_plain(self.object.name) {
                true => Text::Plain(self.object.name),
                false => Text::Other(self.object.name),
            }),
            tag::OWN_SERIAL => Token::Uint(self.object.serial),
            tag::MAC => Token::Text(Text::Mac(self.array())),
            tag::IPV4 => Token::Text(Text::Ipv4(Ipv4Addr::from(self.array::<4>()))),
            tag::HEX => {
                let length = self.number() as usize;
                Token::Text(Text::Hex(self.bytes(length)))
            }
            tag::WITH_ID => {
                self.last_id = Id::new(self.array());
                self.with_id()
            }
            tag::WITH_SAME_ID => self.with_id(),
            tag::POOLED_OBJECT => {
                let id = self.number() as u32;
                self.outer = Some((self.bytes, self.at));
                (self.bytes, self.at) = (pool.object(id), 0);
                self.read()
            }
            tag::OBJECT => Token::Object(pool.keys(self.number() as u32)),
            tag::ARRAY => Token::Array(self.number() as usize),
            tag::ARRAYS..tag::OBJECTS => Token::Array(usize::from(tag - tag::ARRAYS)),
            tag::OBJECTS..tag::UINTS => Token::Object(pool.keys(u32::from(tag - tag::OBJECTS))),
            tag::UINTS..tag::POOLEDS => Token::Uint(u64::from(tag - tag::UINTS)),
            tag::POOLEDS.. => Token::Text(self.pooled(u32::from(tag - tag::POOLEDS))),
            // Never written.
            _ => Token::Null,
        }
    }

    fn with_id(&mut self) -> Token<'a> {
        let before = self.part();
        Token::Text(Text::WithId(before, self.last_id, self.part()))
    }

    /// What stands beside a UUID.
    fn part(&mut self) -> &'a str {
        match self.read() {
            Token::Text(Text::Plain(text) | Text::Other(text)) => text,
            _ => "",
        }
    }

    /// Goes past a value and all that is in it.
    pub fn skip(&mut self) {
        let mut left = 1_usize;
        while left > 0 {
            left -= 1;
            // Most values are one byte.
            match self.bytes[self.at] {
                tag::UINTS.. | tag::NULL..=tag::TRUE | tag::OWN_ID..=tag::OWN_SERIAL => {
                    self.at += 1;
                    self.settle();
                    continue;
                }
                tag::POOLED_OBJECT => {
                    self.at += 1;
                    self.number();
                    continue;
                }
                _ => {}
            }
            left += match self.next() {
                Token::Object(keys) => keys.len(),
                Token::Array(count) => count,
                _ => 0,
            };
        }
    }

    /// Appends a value as JSON and goes past it.
    pub fn write(&mut self, out: &mut Vec<u8>) {
        let tag = self.bytes[self.at];
        if let Some(quoted) = tag.checked_sub(tag::POOLEDS).and_then(|id| self.quoted(id.into())) {
            self.at += 1;
            self.settle();
            // Without the colon.
            return out.extend_from_slice(&quoted[..quoted.len() - 1]);
        }
        match self.next() {
            Token::Null => out.extend_from_slice(b"null"),
            Token::Bool(true) => out.extend_from_slice(b"true"),
            Token::Bool(false) => out.extend_from_slice(b"false"),
            Token::Uint(number) => put_uint(number, out),
            // Writing to memory does not fail.
            Token::Negative(number) => drop(write!(out, "{number}")),
            Token::Float(number) => drop(write!(out, "{number:?}")),
            Token::Text(text) => text.write(out),
            Token::Object(keys) => {
                out.push(b'{');
                for (at, key) in keys.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    match self.quoted(*key) {
                        Some(quoted) => out.extend_from_slice(quoted),
                        None => {
                            self.pooled(*key).write(out);
                            out.push(b':');
                        }
                    }
                    self.write(out);
                }
                out.push(b'}');
            }
            Token::Array(count) => {
                out.push(b'[');
                for at in 0..count {
                    if at > 0 {
                        out.push(b',');
                    }
                    self.write(out);
                }
                out.push(b']');
            }
        }
    }

    /// Calls `each` with every key (its number) of the object that comes next, in front of its value;
    /// `each` may leave it to be skipped. False: it is no object.
    pub fn members(&mut self, mut each: impl FnMut(u32, &mut Cursor<'a>)) -> bool {
        let Token::Object(keys) = self.next() else { return false };
        for key in keys {
            // Behind the last one in the pool it goes on elsewhere, maybe at the same number.
            let before = (self.bytes.as_ptr(), self.at);
            each(*key, self);
            if (self.bytes.as_ptr(), self.at) == before {
                self.skip();
            }
        }
        true
    }

    /// The text of a key.
    pub fn key(&self, key: u32) -> &'a str {
        self.object.pool.string(key).0
    }

    /// Goes to a value in the object or array that comes next: by its key, or its number from 0.
    /// False: there is none.
    pub fn enter(&mut self, step: &str) -> bool {
        let (place, count) = match self.next() {
            Token::Object(keys) => {
                let wanted = self.object.pool.find(step);
                (wanted.and_then(|wanted| keys.iter().position(|k| *k == wanted)), keys.len())
            }
            Token::Array(count) => {
                let digits = step.bytes().all(|b| b.is_ascii_digit());
                (step.parse().ok().filter(|_| digits), count)
            }
            _ => return false,
        };
        let Some(place) = place.filter(|p| *p < count) else { return false };
        (0..place).for_each(|_| self.skip());
        true
    }
}
