//! What is asked.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::{Value, json};
use std::borrow::Cow;

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
    /// Of the `msg` of a datagram. None: it is no question.
    pub fn parse(msg: &'a str) -> Option<Request<'a>> {
        let Fields { kind, query, rsalt, .. } = serde_json::from_str(msg).ok()?;
        Some(Request { kind: QueryType::of(kind)?, query, rsalt })
    }

    /// The `msg` of a datagram, ASCII.
    pub fn message(&self) -> String {
        let mut message = json!({"protocol": super::PROTOCOL, "type": self.kind.number()});
        match &self.query {
            Query::Empty => {}
            Query::Text(text) => message["query"] = json!(text),
            Query::Dict(dict) => {
                let mut query = json!({});
                if let Some(link) = &dict.link {
                    query["0"] = json!(link);
                }
                if let Some(ip) = &dict.ip {
                    query["1"] = json!(ip);
                }
                if !dict.ips.is_empty() {
                    query["2"] = json!(dict.ips);
                }
                if !dict.fields.is_empty() {
                    query["3"] = dict.fields.iter().map(|f| json!(*f as u8)).collect();
                }
                message["query"] = query;
            }
        }
        message["rsalt"] = json!(self.rsalt);
        message.to_string()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Query<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Query<'a>, D::Error> {
        let wrong = || D::Error::custom("not a query");
        let text = |value: &Value| match value {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(Cow::Owned(text.clone()))),
            _ => Err(wrong()),
        };
        match Value::deserialize(from)? {
            Value::Null => Ok(Query::Empty),
            Value::String(text) => Ok(Query::Text(Cow::Owned(text))),
            Value::Object(object) => {
                let mut dict = Dict::default();
                for (key, value) in &object {
                    match (key.as_str(), value) {
                        ("0", value) => dict.link = text(value)?,
                        ("1", value) => dict.ip = text(value)?,
                        ("2", Value::Array(ips)) => {
                            for ip in ips {
                                dict.ips.push(text(ip)?.ok_or_else(wrong)?);
                            }
                        }
                        ("3", Value::Array(fields)) => {
                            for field in fields {
                                let number = match field {
                                    Value::String(digits) => digits.parse().ok(),
                                    other => other.as_u64(),
                                };
                                dict.fields.push(match number {
                                    Some(0) => Field::Name,
                                    Some(1) => Field::Ip,
                                    Some(2) => Field::MasterPip,
                                    _ => return Err(wrong()),
                                });
                            }
                        }
                        _ => return Err(wrong()),
                    }
                }
                Ok(Query::Dict(dict))
            }
            _ => Err(wrong()),
        }
    }
}
