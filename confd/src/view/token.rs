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

use super::cursor::Cursor;
use super::id::{Id, hex};
use super::pool::Pool;
use crate::wire::escape;
use std::borrow::Cow;
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
    /// Its value.
    pub body: &'a [u8],
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
        Cursor::new(self)
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
