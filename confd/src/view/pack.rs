//! JSON into the packed form ([`super::token`]), as it is read, and as the reference's daemon would give it back: keys
//! that are unset are left out, those with a default are there, whole numbers have no fraction.

use super::id::{Id, digit};
use super::level::{Default, Level};
use super::pool::{Pool, is_plain};
use super::token::{put_varint, tag};
use roost_proto::published::Space;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::net::Ipv4Addr;

/// Reads an object, to be stored: its name, its serial number, and its value without these.
#[derive(Debug)]
pub struct Object<'p> {
    pub pool: &'p mut Pool,
    pub space: Space,
    pub id: Id,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = Vec<u8>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Vec<u8>, D::Error> {
        let level = Level::Object(self.space);
        let mut packer = Packer::new(self.pool, self.id);
        Value { packer: &mut packer, level }.deserialize(from)?;
        Ok(packer.stored())
    }
}

/// Reads JSON text. Errors: what is wrong with it.
pub fn pack(pool: &mut Pool, space: Space, id: Id, json: &str) -> Result<Vec<u8>, String> {
    let mut from = serde_json::Deserializer::from_str(json);
    let packed = Object { pool, space, id }.deserialize(&mut from);
    packed.and_then(|p| from.end().map(|()| p)).map_err(|e| e.to_string())
}

/// Puts a value together piece by piece.
#[derive(Debug)]
pub struct Packer<'p> {
    pool: &'p mut Pool,
    id: Id,
    name: String,
    serial: u64,
    /// Bits of the last two numbers with a fraction, the last first.
    last: [u64; 2],
    /// Of the last text with a UUID in it.
    last_id: Id,
    /// Where the last value begins that means something only in this object.
    own: Option<usize>,
    out: Vec<u8>,
}

impl<'p> Packer<'p> {
    pub fn new(pool: &'p mut Pool, id: Id) -> Packer<'p> {
        Packer {
            pool,
            id,
            name: String::new(),
            serial: 0,
            last: [0; 2],
            last_id: Id::ZERO,
            own: None,
            out: Vec::with_capacity(256),
        }
    }

    /// As it is stored.
    pub fn stored(&self) -> Vec<u8> {
        let mut stored = Vec::with_capacity(self.name.len() + self.out.len() + 12);
        put_varint(self.name.len() as u64, &mut stored);
        stored.extend_from_slice(self.name.as_bytes());
        put_varint(self.serial, &mut stored);
        stored.extend_from_slice(&self.out);
        stored
    }

    /// A tag with a number in it if that is small enough, otherwise behind it.
    fn head(small: u8, limit: u8, large: u8, number: u64, out: &mut Vec<u8>) {
        if number < u64::from(limit - small) {
            out.push(small + number as u8);
        } else {
            out.push(large);
            put_varint(number, out);
        }
    }

    fn uint(&mut self, number: u64) {
        Packer::head(tag::UINTS, tag::POOLEDS, tag::UINT, number, &mut self.out);
    }

    fn int(&mut self, number: i64) {
        match u64::try_from(number) {
            Ok(number) => self.uint(number),
            Err(_) => {
                self.out.push(tag::NEGATIVE);
                put_varint((-1 - number) as u64, &mut self.out);
            }
        }
    }

    fn float(&mut self, number: f64) {
        // As far as such numbers count in ones.
        if number.fract() == 0.0 && number.abs() < 9e15 {
            return self.int(number as i64);
        }
        self.own = Some(self.out.len());
        let bits = number.to_bits();
        if self.last[0] == bits {
            return self.out.push(tag::SAME_FLOAT);
        }
        if self.last[1] == bits {
            self.last.swap(0, 1);
            return self.out.push(tag::OTHER_FLOAT);
        }
        self.last = [bits, self.last[0]];
        self.out.push(tag::FLOAT);
        self.out.extend_from_slice(&bits.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        let bytes = text.as_bytes();
        if let Some(mac) = mac(bytes) {
            self.out.push(tag::MAC);
            return self.out.extend_from_slice(&mac);
        }
        if let Some(ip) = ipv4(text) {
            self.out.push(tag::IPV4);
            return self.out.extend_from_slice(&ip.octets());
        }
        let id = Id::parse(bytes);
        if id == Some(self.id) {
            self.own = Some(self.out.len());
            return self.out.push(tag::OWN_ID);
        }
        if let Some(number) = self.pool.value(text) {
            return self.pooled(number);
        }
        if let Some(id) = id {
            self.out.push(tag::ID);
            return self.out.extend_from_slice(&id.bytes());
        }
        if let Some(half) = hexadecimal(bytes) {
            self.out.push(tag::HEX);
            put_varint(half.len() as u64, &mut self.out);
            return self.out.extend_from_slice(&half);
        }
        if let Some((at, id)) = with_id(text) {
            self.own = Some(self.out.len());
            if self.last_id == id {
                self.out.push(tag::WITH_SAME_ID);
            } else {
                self.last_id = id;
                self.out.push(tag::WITH_ID);
                self.out.extend_from_slice(&id.bytes());
            }
            self.part(&text[..at]);
            return self.part(&text[at + Id::TEXT..]);
        }
        self.inline(text);
    }

    fn pooled(&mut self, number: u32) {
        let number = u64::from(number);
        if number < 0x40 {
            return self.out.push(tag::POOLEDS + number as u8);
        }
        self.out.push(tag::POOLED);
        put_varint(number, &mut self.out);
    }

    fn inline(&mut self, text: &str) {
        self.out.push(if is_plain(text) { tag::PLAIN } else { tag::TEXT });
        put_varint(text.len() as u64, &mut self.out);
        self.out.extend_from_slice(text.as_bytes());
    }

    fn part(&mut self, text: &str) {
        match self.pool.value(text) {
            Some(number) => self.pooled(number),
            None => self.inline(text),
        }
    }

    fn array(&mut self, count: usize, out_from: usize) {
        let mut head = Vec::with_capacity(4);
        Packer::head(tag::ARRAYS, tag::OBJECTS, tag::ARRAY, count as u64, &mut head);
        self.out.splice(out_from..out_from, head);
    }

    fn object(&mut self, keys: &[u32], out_from: usize) {
        let shape = self.pool.shape(keys);
        let mut head = Vec::with_capacity(4);
        Packer::head(tag::OBJECTS, tag::UINTS, tag::OBJECT, u64::from(shape), &mut head);
        self.out.splice(out_from..out_from, head);
    }

    /// The object that begins there and is the last is from now on in the pool, if others are like it.
    fn pool_object(&mut self, from: usize) {
        if self.own.is_some_and(|own| own >= from) {
            return;
        }
        if let Some(number) = self.pool.object_value(&self.out[from..]) {
            self.out.truncate(from);
            self.own = Some(from);
            self.out.push(tag::POOLED_OBJECT);
            put_varint(u64::from(number), &mut self.out);
        }
    }

    /// Whether the value that begins there and is the last is an object with nothing in it.
    fn is_empty_object(&self, from: usize) -> bool {
        let shape = match self.out[from..] {
            [small] if (tag::OBJECTS..tag::UINTS).contains(&small) => {
                u32::from(small - tag::OBJECTS)
            }
            [tag::OBJECT, ref rest @ ..] => super::token::take_varint(rest, &mut 0) as u32,
            _ => return false,
        };
        self.pool.keys(shape).is_empty()
    }
}

fn mac(text: &[u8]) -> Option<[u8; 6]> {
    if text.len() != 17 {
        return None;
    }
    let mut mac = [0; 6];
    for (at, part) in text.chunks(3).enumerate() {
        mac[at] = digit(part[0])? << 4 | digit(part[1])?;
        if part.get(2).is_some_and(|b| *b != b':') {
            return None;
        }
    }
    Some(mac)
}

/// Only what is printed again as it was.
pub fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let likely = (7..=15).contains(&text.len()) && text.as_bytes()[0].is_ascii_digit();
    if likely { text.parse().ok() } else { None }
}

fn hexadecimal(text: &[u8]) -> Option<Vec<u8>> {
    if text.len() < 12 || !text.len().is_multiple_of(2) || !text.iter().all(|b| digit(*b).is_some())
    {
        return None;
    }
    text.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// A UUID somewhere in it.
fn with_id(text: &str) -> Option<(usize, Id)> {
    if text.len() <= Id::TEXT || !is_plain(text) {
        return None;
    }
    let bytes = text.as_bytes();
    let begin = |dash: usize| dash.checked_sub(8).filter(|b| b + Id::TEXT <= bytes.len());
    memchr::memchr_iter(b'-', bytes)
        .filter_map(begin)
        .find_map(|at| Some((at, Id::parse(&bytes[at..at + Id::TEXT])?)))
}

struct Value<'a, 'p> {
    packer: &'a mut Packer<'p>,
    level: Level,
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl Value<'_, '_> {
    /// Left out of the object although it is there; `from`: where the value begins.
    fn is_unset(&self, key: &str, from: usize) -> bool {
        let forthcoming = self.level.is_disk() || self.level == Level::Object(Space::Instance);
        match (key, &self.packer.out[from..]) {
            (_, [tag::NULL]) => self.level.has_optional(),
            ("forthcoming", [tag::FALSE]) => forthcoming,
            ("hv_state_static" | "disk_state_static", _) => {
                let on_request = [Level::Object(Space::Node), Level::Object(Space::NodeGroup)];
                on_request.contains(&self.level) && self.packer.is_empty_object(from)
            }
            _ => false,
        }
    }
}

impl<'de> Visitor<'de> for Value<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.packer.out.push(tag::NULL);
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.packer.out.push(if value { tag::TRUE } else { tag::FALSE });
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        if self.level == Level::Serial {
            self.packer.serial = value;
            self.packer.out.push(tag::OWN_SERIAL);
        } else {
            self.packer.uint(value);
        }
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.packer.int(value);
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        if self.level == Level::Serial && value.fract() == 0.0 && (0.0..9e15).contains(&value) {
            return self.visit_u64(value as u64);
        }
        self.packer.float(value);
        Ok(())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        if self.level == Level::Name {
            self.packer.name = value.to_owned();
            self.packer.out.push(tag::OWN_NAME);
        } else {
            self.packer.text(value);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let (packer, level) = (self.packer, self.level.item());
        let (mut count, from) = (0, packer.out.len());
        while items.next_element_seed(Value { packer: &mut *packer, level })?.is_some() {
            count += 1;
        }
        packer.array(count, from);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut keys = vec![];
        let from = self.packer.out.len();
        while let Some(key) = members.next_key::<Key<'de>>()? {
            let key = key.0;
            let number = self.packer.pool.key(&key);
            if keys.contains(&number) {
                return Err(de::Error::custom(format_args!("'{key}' is there twice")));
            }
            let (begin, level) = (self.packer.out.len(), self.level.of(&key));
            members.next_value_seed(Value { packer: &mut *self.packer, level })?;
            if self.is_unset(&key, begin) {
                self.packer.out.truncate(begin);
            } else {
                keys.push(number);
            }
        }
        for (key, default) in self.level.defaults() {
            let number = self.packer.pool.key(key);
            if !keys.contains(&number) {
                keys.push(number);
                let at = self.packer.out.len();
                match default {
                    Default::Array => self.packer.array(0, at),
                    Default::Object => self.packer.object(&[], at),
                    Default::Text(text) => self.packer.text(text),
                }
            }
        }
        self.packer.object(&keys, from);
        if self.level == Level::Any {
            self.packer.pool_object(from);
        }
        Ok(())
    }
}

/// A key, borrowed where that is possible.
pub struct Key<'de>(pub Cow<'de, str>);

impl<'de> de::Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Key<'de>, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E: de::Error>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }

            fn visit_borrowed_str<E: de::Error>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }
        }
        from.deserialize_str(Text)
    }
}
