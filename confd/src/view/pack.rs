//! JSON into the packed form ([`super::token`]), as it is read, and as the reference's daemon would give it back: keys
//! that are unset are left out, those with a default are there, whole numbers have no fraction.

use super::id::{Id, digit};
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
    if text.len() < 12 || text.len() % 2 != 0 || !text.iter().all(|b| digit(*b).is_some()) {
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

/// What a value is in its object: that says what is left out and what is filled in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Level {
    Object(Space),
    /// A list of disks below a disk, and one of them.
    Children,
    Child,
    Nics,
    Nic,
    Name,
    Serial,
    Any,
}

impl Level {
    /// Of the value of a key in this.
    fn of(self, key: &str) -> Level {
        match (self, key) {
            (Level::Object(_), "name") => Level::Name,
            (Level::Object(_), "serial_no") => Level::Serial,
            (Level::Object(Space::Disk) | Level::Child, "children") => Level::Children,
            (Level::Object(Space::Instance), "nics") => Level::Nics,
            _ => Level::Any,
        }
    }

    /// Of the values of a list that is this.
    fn item(self) -> Level {
        match self {
            Level::Children => Level::Child,
            Level::Nics => Level::Nic,
            _ => Level::Any,
        }
    }

    fn is_disk(self) -> bool {
        matches!(self, Level::Child | Level::Object(Space::Disk))
    }

    /// Whether null means that the key is unset.
    fn has_optional(self) -> bool {
        matches!(self, Level::Child | Level::Nic | Level::Object(_))
    }

    /// Keys that are there with these values if they are not set.
    fn defaults(self) -> &'static [(&'static str, Default)] {
        match self {
            Level::Child | Level::Object(Space::Disk) => &[
                ("children", Default::Array),
                ("nodes", Default::Array),
                ("iv_name", Default::Text("")),
                ("mode", Default::Text("rw")),
            ],
            Level::Object(Space::Instance) => &[
                ("hvparams", Default::Object),
                ("beparams", Default::Object),
                ("osparams", Default::Object),
                ("osparams_private", Default::Object),
                ("nics", Default::Array),
                ("disks", Default::Array),
            ],
            Level::Object(Space::NodeGroup) => &[("members", Default::Array)],
            Level::Object(Space::Cluster) => {
                &[("hv_state_static", Default::Object), ("disk_state_static", Default::Object)]
            }
            _ => &[],
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Default {
    Array,
    Object,
    Text(&'static str),
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

#[cfg(test)]
mod tests {
    use super::super::token::Packed;
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    const OWN: &str = "aaaaaaaa-0000-4000-8000-000000000001";

    fn id() -> Id {
        Id::parse(OWN.as_bytes()).unwrap()
    }

    fn back(pool: &mut Pool, space: Space, value: &Json) -> Json {
        let stored = pack(pool, space, id(), &value.to_string()).unwrap();
        let mut out = vec![];
        Packed::new(pool, id(), &stored).write(&mut out);
        assert!(out.is_ascii());
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn values_come_back() {
        let mut pool = Pool::default();
        let value = json!({
            "name": "näme\n", "serial_no": 70, "uuid": OWN, "null": {"in": null},
            "numbers": [0, 63, 64, u64::MAX, -1, i64::MIN, 0.5, 0.5, 1e300, 0.5, 1e300, -2.25, 1e300, 0.5],
            "texts": ["", "a", "\"\\", "ü😀\u{7f}", "aa:00:01:02:03:ff", "aa:00:01:02:03:FF", "10.0.0.1",
                "010.0.0.1", "10.0.0.256", "0123456789abcdef", "0123456789abcde", OWN,
                "cccccccc-0000-4000-8000-000000000001", "cccccccc-0000-4000-8000-000000000001.disk0_data",
                "/srv/cccccccc-0000-4000-8000-000000000001.file", "ä-cccccccc-0000-4000-8000-000000000001",
                "x-cccccccc-0000-4000-8000-000000000001"],
            "empty": [{}, []], "many": (0..40).collect::<Vec<_>>(),
            "alike": [{"a": 1, "b": "x", "c": [1, 2]}, {"a": 1, "b": "x", "c": [1, 2]},
                {"a": 1, "b": "x", "c": [1, 2]},
                {"a": 1, "b": {"in": [1, 2, {"x": {"a": 1, "b": "x", "c": [1, 2]}}]}}],
            "ids": {"a": "/cccccccc-0000-4000-8000-000000000001.a",
                "b": "/cccccccc-0000-4000-8000-000000000001.b",
                "c": ["/cccccccc-0000-4000-8000-000000000001.a"]},
            "same": ["again", "again", "again", "ägain", "ägain", "ägain"],
        });
        for _ in 0..3 {
            assert_eq!(back(&mut pool, Space::Node, &value), value);
        }
    }

    #[test]
    fn as_the_reference_gives_it() {
        let mut pool = Pool::default();
        let disk = json!({
            "size": 1024.0, "name": null, "ctime": 1_700_000_000.25, "forthcoming": false, "params": {},
            "children": [{"uuid": "x", "spindles": null, "mode": "ro", "params": {"keep": null}}],
        });
        let expected = json!({
            "size": 1024, "ctime": 1_700_000_000.25, "params": {}, "nodes": [], "iv_name": "", "mode": "rw",
            "children": [{"uuid": "x", "mode": "ro", "children": [], "nodes": [], "iv_name": "",
                "params": {"keep": null}}],
        });
        assert_eq!(back(&mut pool, Space::Disk, &disk), expected);
        assert_eq!(back(&mut pool, Space::Disk, &expected), expected);
        let node = json!({"hv_state_static": {}, "disk_state_static": {"a": {}}, "drained": false});
        let expected = json!({"disk_state_static": {"a": {}}, "drained": false});
        assert_eq!(back(&mut pool, Space::Node, &node), expected);
        let instance =
            back(&mut pool, Space::Instance, &json!({"nics": [{"ip": null, "mac": "m"}]}));
        assert_eq!(instance["nics"], json!([{"mac": "m"}]));
        assert_eq!(instance["osparams_private"], json!({}));
    }

    #[test]
    fn what_cannot_be_read() {
        let mut pool = Pool::default();
        let mut failed = |json| pack(&mut pool, Space::Node, id(), json).unwrap_err();
        assert_eq!(failed(r#"{"a": 1, "a": 2}"#), "'a' is there twice at line 1 column 12");
        assert!(failed(r#"{"a": 1"#).starts_with("EOF"));
        assert!(failed(r#"{} x"#).starts_with("trailing characters"));
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            any::<i32>().prop_map(|n| json!(f64::from(n) + 0.125)),
            "[a-f0-9-]{0,40}".prop_map(Json::from),
            "[0-9.]{0,15}".prop_map(Json::from),
            any::<String>().prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..40).prop_map(Json::from),
                prop::collection::btree_map("[a-cä]{0,2}", inner, 0..8)
                    .prop_map(|m| Json::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_value_comes_back(values in prop::collection::vec(any_json(), 1..4)) {
            let mut pool = Pool::default();
            for value in values.iter().chain(&values) {
                let value = json!({"within": {"it": value}});
                prop_assert_eq!(back(&mut pool, Space::Filter, &value), value);
            }
        }
    }
}
