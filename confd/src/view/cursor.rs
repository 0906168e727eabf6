//! Reading the packed form of an object ([`super::token`]), in order: that is what makes it short.

use super::id::Id;
use super::token::{Packed, Text, Token, put_uint, tag, take_varint};
use std::io::Write;
use std::net::Ipv4Addr;

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
    pub fn new(object: Packed<'a>) -> Cursor<'a> {
        let (bytes, last_id) = (object.body, Id::ZERO);
        Cursor { object, bytes, at: 0, outer: None, last: [0; 2], last_id }
    }

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
