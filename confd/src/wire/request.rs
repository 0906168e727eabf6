//! What is asked.

use super::text::quote;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// The question. Numbers: Ganeti's; from 100 on ours, which other daemons do not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum QueryType {
    Ping = 0,
    NodeRoleByName = 1,
    NodePipByInstanceIp = 2,
    ClusterMaster = 3,
    NodePipList = 4,
    McPipList = 5,
    InstancesIpsList = 6,
    NodeDrbd = 7,
    NodeInstances = 8,
    InstanceDisks = 9,
    ConfigQuery = 10,
    DataCollectors = 11,
    /// What the instances of a node are and which volumes they have, in pages that fit a datagram
    /// however many there are. Query: `NODE` or `NODE#FIRST`. Answer: `{"total": n, "instances":
    /// [[name, uuid, admin state, hypervisor, primary here?, [[volume group, volume], …], mtime], …]}`;
    /// mtime in seconds since 1970, with a fraction.
    NodeGuests = 100,
}

impl QueryType {
    /// All of them.
    pub const ALL: [QueryType; 13] = [
        QueryType::Ping,
        QueryType::NodeRoleByName,
        QueryType::NodePipByInstanceIp,
        QueryType::ClusterMaster,
        QueryType::NodePipList,
        QueryType::McPipList,
        QueryType::InstancesIpsList,
        QueryType::NodeDrbd,
        QueryType::NodeInstances,
        QueryType::InstanceDisks,
        QueryType::ConfigQuery,
        QueryType::DataCollectors,
        QueryType::NodeGuests,
    ];

    /// The one of a number.
    pub fn of(number: u64) -> Option<QueryType> {
        QueryType::ALL.into_iter().find(|one| u64::from(one.number()) == number)
    }

    /// Its number on the wire.
    pub fn number(self) -> u8 {
        self as u8
    }
}

/// The answers of [`QueryType::NodeRoleByName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    Master = 0,
    Candidate = 1,
    Offline = 2,
    Drained = 3,
    Regular = 4,
}

/// What [`QueryType::ClusterMaster`] can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Field {
    /// The master's name.
    Name = 0,
    /// The cluster's floating address.
    Ip = 1,
    /// The master's primary address.
    MasterPip = 2,
}

impl Field {
    /// The one of a number.
    pub fn of(number: u64) -> Option<Field> {
        [Field::Name, Field::Ip, Field::MasterPip].into_iter().find(|f| *f as u64 == number)
    }
}

/// The object form of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dict<'a> {
    /// `"0"`: a network link.
    pub link: Option<Cow<'a, str>>,
    /// `"1"`: one address.
    pub ip: Option<Cow<'a, str>>,
    /// `"2"`: several addresses.
    pub ips: Vec<Cow<'a, str>>,
    /// `"3"`: fields of the answer.
    pub fields: Vec<Field>,
}

/// The argument of a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Query<'a> {
    #[default]
    Empty,
    Text(Cow<'a, str>),
    Dict(Dict<'a>),
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    pub kind: QueryType,
    pub query: Query<'a>,
    /// What the answer is salted with: chosen by whoever asks, unlike any before.
    pub rsalt: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'a> {
    // Ganeti's daemon does not look at it, but it must be a whole number.
    #[serde(rename = "protocol")]
    _protocol: i64,
    #[serde(rename = "type")]
    kind: u64,
    #[serde(borrow, default)]
    query: Query<'a>,
    #[serde(borrow)]
    rsalt: Cow<'a, str>,
}

impl<'a> Request<'a> {
    /// Of the `msg` of a datagram. None: it is no question. Borrows what is not escaped in it.
    pub fn parse(msg: &'a str) -> Option<Request<'a>> {
        // serde takes lists for objects, too.
        if !super::is_object(msg) {
            return None;
        }
        let Fields { kind, query, rsalt, .. } = serde_json::from_str(msg).ok()?;
        Some(Request { kind: QueryType::of(kind)?, query, rsalt })
    }

    /// The `msg` of a datagram, ASCII.
    pub fn message(&self) -> String {
        let mut out = format!("{{\"protocol\":{},\"type\":{}", super::PROTOCOL, self.kind.number())
            .into_bytes();
        match &self.query {
            Query::Empty => {}
            Query::Text(text) => {
                out.extend(b",\"query\":");
                quote(text, &mut out);
            }
            Query::Dict(dict) => {
                out.extend(b",\"query\":");
                dict.write(&mut out);
            }
        }
        out.extend(b",\"rsalt\":");
        quote(&self.rsalt, &mut out);
        out.push(b'}');
        String::from_utf8(out).expect("what is quoted is ASCII")
    }
}

impl Dict<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut separator = b'{';
        let mut key = |key: &[u8], out: &mut Vec<u8>| {
            out.push(std::mem::replace(&mut separator, b','));
            out.extend(key);
        };
        if let Some(link) = &self.link {
            key(b"\"0\":", out);
            quote(link, out);
        }
        if let Some(ip) = &self.ip {
            key(b"\"1\":", out);
            quote(ip, out);
        }
        if !self.ips.is_empty() {
            key(b"\"2\":", out);
            for (at, ip) in self.ips.iter().enumerate() {
                out.push(if at == 0 { b'[' } else { b',' });
                quote(ip, out);
            }
            out.push(b']');
        }
        if !self.fields.is_empty() {
            key(b"\"3\":", out);
            for (at, field) in self.fields.iter().enumerate() {
                out.push(if at == 0 { b'[' } else { b',' });
                out.push(b'0' + *field as u8);
            }
            out.push(b']');
        }
        if separator == b'{' {
            out.push(b'{');
        }
        out.push(b'}');
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Query<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Query<'a>, D::Error> {
        from.deserialize_any(QueryVisitor)
    }
}

/// Null, text or an object; lists, numbers and booleans are refused.
struct QueryVisitor;

impl<'de> Visitor<'de> for QueryVisitor {
    type Value = Query<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, a text or an object")
    }

    fn visit_unit<E: Error>(self) -> Result<Query<'de>, E> {
        Ok(Query::Empty)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Query<'de>, E> {
        Ok(Query::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Query<'de>, E> {
        Ok(Query::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Query<'de>, A::Error> {
        let mut dict = Dict::default();
        let mut seen = [false; 4];
        while let Some(Text(key)) = map.next_key()? {
            let at = match &*key {
                "0" => 0,
                "1" => 1,
                "2" => 2,
                "3" => 3,
                _ => return Err(A::Error::custom("an unknown key")),
            };
            if std::mem::replace(&mut seen[at], true) {
                return Err(A::Error::custom("a key that is there already"));
            }
            match at {
                0 => dict.link = map.next_value::<Option<Text<'de>>>()?.map(|text| text.0),
                1 => dict.ip = map.next_value::<Option<Text<'de>>>()?.map(|text| text.0),
                2 => dict.ips = map.next_value::<Texts<'de>>()?.0,
                _ => dict.fields = map.next_value()?,
            }
        }
        Ok(Query::Dict(dict))
    }
}

/// Text that is borrowed if nothing in it is escaped.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Text<'de>, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(TextVisitor)
    }
}

impl<'de> Deserialize<'de> for Field {
    /// Numbers; digits in quotes too: the client that comes with Ganeti for testing sends them so.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Field, D::Error> {
        struct FieldVisitor;
        impl Visitor<'_> for FieldVisitor {
            type Value = Field;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("0, 1 or 2")
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Field, E> {
                Field::of(number).ok_or_else(|| E::custom("an unknown field"))
            }
            fn visit_str<E: Error>(self, digits: &str) -> Result<Field, E> {
                match digits {
                    "0" => Ok(Field::Name),
                    "1" => Ok(Field::Ip),
                    "2" => Ok(Field::MasterPip),
                    _ => Err(E::custom("an unknown field")),
                }
            }
        }
        from.deserialize_any(FieldVisitor)
    }
}

/// A list of texts.
struct Texts<'a>(Vec<Cow<'a, str>>);

impl<'de> Deserialize<'de> for Texts<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Texts<'de>, D::Error> {
        struct TextsVisitor;
        impl<'de> Visitor<'de> for TextsVisitor {
            type Value = Texts<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of texts")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts<'de>, A::Error> {
                let mut texts = vec![];
                while let Some(Text(text)) = list.next_element()? {
                    texts.push(text);
                }
                Ok(Texts(texts))
            }
        }
        from.deserialize_seq(TextsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn query(json: &str) -> Option<String> {
        let msg = format!(r#"{{"protocol":1,"type":3,"query":{json},"rsalt":"r"}}"#);
        Request::parse(&msg).map(|request| format!("{:?}", request.query))
    }

    fn dict(dict: Dict<'_>) -> Option<String> {
        Some(format!("{:?}", Query::Dict(dict)))
    }

    #[test]
    fn what_is_not_escaped_is_borrowed() {
        let msg =
            r#"{"protocol": 1, "type": 2, "query": {"0": "br0", "2": ["10.0.0.1"]}, "rsalt": "r"}"#;
        let request = Request::parse(msg).unwrap();
        let Query::Dict(dict) = request.query else { panic!("{request:?}") };
        assert!(matches!(dict.link, Some(Cow::Borrowed("br0"))));
        assert!(matches!(dict.ips[..], [Cow::Borrowed("10.0.0.1")]));
        assert!(matches!(request.rsalt, Cow::Borrowed("r")));
        let msg = r#"{"protocol": 1, "type": 1, "query": "node1", "rsalt": "\u0072"}"#;
        let request = Request::parse(msg).unwrap();
        assert!(matches!(request.query, Query::Text(Cow::Borrowed("node1"))));
        assert_eq!(request.rsalt, "r");
    }

    #[test]
    fn queries_have_three_forms() {
        assert_eq!(query("null"), Some("Empty".into()));
        assert_eq!(query(r#""n\u0031""#), Some(r#"Text("n1")"#.into()));
        assert_eq!(query("{}"), dict(Dict::default()));
        let text = |text| Some(Cow::Borrowed(text));
        assert_eq!(
            query(r#"{"0":"l","1":"i","2":["a","b"],"3":[2,"1",0,0]}"#),
            dict(Dict {
                link: text("l"),
                ip: text("i"),
                ips: vec!["a".into(), "b".into()],
                fields: vec![Field::MasterPip, Field::Ip, Field::Name, Field::Name],
            })
        );
        assert_eq!(query(r#"{"0":null,"1":null,"2":[],"3":[]}"#), dict(Dict::default()));
    }

    #[test]
    fn other_queries_are_refused() {
        for json in [
            "[]",
            r#"["node1"]"#,
            "1",
            "1.5",
            "true",
            r#"{"4":"x"}"#,
            r#"{"link":"x"}"#,
            r#"{"00":"x"}"#,
            r#"{"0":1}"#,
            r#"{"0":["x"]}"#,
            r#"{"1":{}}"#,
            r#"{"2":"10.0.0.1"}"#,
            r#"{"2":null}"#,
            r#"{"2":[null]}"#,
            r#"{"2":[1]}"#,
            r#"{"3":0}"#,
            r#"{"3":null}"#,
            r#"{"3":[3]}"#,
            r#"{"3":[-1]}"#,
            r#"{"3":[0.0]}"#,
            r#"{"3":["3"]}"#,
            r#"{"3":["00"]}"#,
            r#"{"3":[" 0"]}"#,
            r#"{"3":[true]}"#,
            r#"{"0":"a","0":"a"}"#,
        ] {
            assert_eq!(query(json), None, "{json}");
        }
    }

    #[test]
    fn a_question_has_these_fields_and_no_others() {
        for msg in [
            r#"{"protocol":1,"type":0,"rsalt":""}"#,
            r#"{"protocol":1,"type":0,"query":null,"rsalt":"x"}"#,
            // The number is not looked at.
            r#"{"protocol":-7,"type":0,"rsalt":"x"}"#,
            " {\"rsalt\":\"x\" ,\"type\":11,\n\"protocol\":1}\r\n\t ",
        ] {
            assert!(Request::parse(msg).is_some(), "{msg}");
        }
        for msg in [
            "",
            "null",
            "{}",
            r#"[1,0,null,"x"]"#,
            r#"{"type":0,"rsalt":"x"}"#,
            r#"{"protocol":1,"rsalt":"x"}"#,
            r#"{"protocol":1,"type":0}"#,
            r#"{"protocol":"1","type":0,"rsalt":"x"}"#,
            r#"{"protocol":1.0,"type":0,"rsalt":"x"}"#,
            r#"{"protocol":null,"type":0,"rsalt":"x"}"#,
            r#"{"protocol":1,"type":"0","rsalt":"x"}"#,
            r#"{"protocol":1,"type":12,"rsalt":"x"}"#,
            r#"{"protocol":1,"type":-1,"rsalt":"x"}"#,
            r#"{"protocol":1,"type":256,"rsalt":"x"}"#,
            r#"{"protocol":1,"type":0,"rsalt":1}"#,
            r#"{"protocol":1,"type":0,"rsalt":null}"#,
            r#"{"protocol":1,"type":0,"rsalt":"x","extra":1}"#,
            r#"{"protocol":1,"type":0,"type":0,"rsalt":"x"}"#,
            r#"{"protocol":1,"type":0,"rsalt":"x"} x"#,
            r#"{"protocol":1,"type":0,"rsalt":"x"}{}"#,
        ] {
            assert_eq!(Request::parse(msg), None, "{msg}");
        }
    }

    fn any_query() -> impl Strategy<Value = Query<'static>> {
        let text = || any::<String>().prop_map(Cow::<'static, str>::Owned);
        let field = prop::sample::select(vec![Field::Name, Field::Ip, Field::MasterPip]);
        prop_oneof![
            Just(Query::Empty),
            text().prop_map(Query::Text),
            (
                prop::option::of(text()),
                prop::option::of(text()),
                prop::collection::vec(text(), 0..4),
                prop::collection::vec(field, 0..5),
            )
                .prop_map(|(link, ip, ips, fields)| Query::Dict(Dict {
                    link,
                    ip,
                    ips,
                    fields
                })),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            kind in prop::sample::select(QueryType::ALL.to_vec()), query in any_query(),
            rsalt in any::<String>(),
        ) {
            let request = Request { kind, query, rsalt: Cow::Owned(rsalt) };
            let msg = request.message();
            prop_assert!(msg.is_ascii());
            prop_assert_eq!(Request::parse(&msg), Some(request.clone()));
            // Other writers leave blanks.
            let loose: serde_json::Value = serde_json::from_str(&msg).unwrap();
            let loose = serde_json::to_string_pretty(&loose).unwrap() + "\n";
            prop_assert_eq!(Request::parse(&loose), Some(request));
        }

        #[test]
        fn text_never_panics(text in "[\\PC\n]{0,60}") {
            let _ = Request::parse(&text);
            let _ = query(&text);
        }
    }
}
