//! Questions and what their answers are.

use super::{AskError, Client, Heard, Ignored, Outcome};
use crate::wire::{Dict, Field, Query, QueryType, Role, Status};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// How often the pages of an answer are begun again because the configuration changed in between.
const PAGE_ATTEMPTS: usize = 4;

/// What the cluster says, and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told<T> {
    pub value: T,
    /// Of what it was answered from.
    pub serial: u64,
    /// Whose answer it is.
    pub from: IpAddr,
    pub asked: usize,
    pub answered: usize,
    /// Whether all answers with that serial were the same.
    pub consistent: bool,
    pub ignored: Ignored,
}

/// A row of a node's DRBD minors. Nodes and instances are names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct DrbdMinor {
    pub node: String,
    pub minor: u64,
    pub instance: String,
    /// `disk/<index>`.
    pub disk: String,
    /// `primary` or `secondary`.
    pub role: String,
    pub peer: String,
}

/// The instances of a node, each as in `config.data`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct NodeInstances {
    pub primary: Vec<Value>,
    pub secondary: Vec<Value>,
}

/// What the cluster wants of a collector of mond.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Collector {
    pub active: bool,
    /// Microseconds.
    pub interval: f64,
}

/// An instance of a node, in short.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Guest {
    pub name: String,
    pub uuid: String,
    /// `up`, `down` or `offline`.
    pub admin_state: String,
    pub hypervisor: String,
    /// Whether this node is its primary one.
    pub primary: bool,
    /// Logical volumes, with those below others: volume group, volume.
    pub volumes: Vec<(String, String)>,
    /// When its configuration was last changed: seconds since 1970.
    #[serde(default)]
    pub mtime: f64,
}

#[derive(Deserialize)]
struct Page {
    total: usize,
    instances: Vec<Guest>,
}

impl Client {
    /// The version of the configuration's format, which says that the daemon can answer.
    pub async fn ping(&self) -> Result<Told<u64>, AskError> {
        self.tell(QueryType::Ping, Query::Empty).await
    }

    /// What a node is. The master is told by its full name only; by another of its names it is a candidate.
    pub async fn node_role(&self, node: &str) -> Result<Told<Role>, AskError> {
        let told: Told<i64> = self.tell(QueryType::NodeRoleByName, text(node)).await?;
        told.try_map(QueryType::NodeRoleByName, |number| {
            let all = [Role::Master, Role::Candidate, Role::Offline, Role::Drained, Role::Regular];
            all.into_iter()
                .find(|role| *role as i64 == number)
                .ok_or_else(|| format!("{number} is no role"))
        })
    }

    /// The master's name.
    pub async fn cluster_master(&self) -> Result<Told<String>, AskError> {
        self.tell(QueryType::ClusterMaster, Query::Empty).await
    }

    /// What is asked for of the master, in that order.
    pub async fn cluster_master_fields(
        &self,
        fields: &[Field],
    ) -> Result<Told<Vec<String>>, AskError> {
        let dict = Dict { fields: fields.to_vec(), ..Dict::default() };
        self.tell(QueryType::ClusterMaster, Query::Dict(dict)).await
    }

    /// The primary address of the primary node of the instance that has this address on this link (the cluster's
    /// default).
    pub async fn node_pip_by_instance_ip(
        &self,
        ip: &str,
        link: Option<&str>,
    ) -> Result<Told<String>, AskError> {
        let dict = Dict { link: link.map(Cow::Borrowed), ip: Some(ip.into()), ..Dict::default() };
        self.tell(QueryType::NodePipByInstanceIp, Query::Dict(dict)).await
    }

    /// The same for several, in their order; None: no instance has it.
    pub async fn node_pips_by_instance_ips(
        &self,
        ips: &[String],
        link: Option<&str>,
    ) -> Result<Told<Vec<Option<String>>>, AskError> {
        let dict = Dict {
            link: link.map(Cow::Borrowed),
            ips: ips.iter().map(|ip| Cow::Borrowed(ip.as_str())).collect(),
            ..Dict::default()
        };
        let kind = QueryType::NodePipByInstanceIp;
        let told: Told<Vec<(u8, Value, Value)>> = self.tell(kind, Query::Dict(dict)).await?;
        told.try_map(kind, |rows| {
            let one = |(status, answer, _)| match (Status::of(status), answer) {
                (Some(Status::Ok), Value::String(ip)) => Ok(Some(ip)),
                (Some(Status::Error), _) => Ok(None),
                (_, other) => Err(format!("[{status}, {other}, …] is no row")),
            };
            let rows: Vec<Option<String>> = rows.into_iter().map(one).collect::<Result<_, _>>()?;
            match rows.len() == ips.len() {
                true => Ok(rows),
                false => Err(format!("{} rows for {} addresses", rows.len(), ips.len())),
            }
        })
    }

    /// The primary addresses of all nodes.
    pub async fn node_pips(&self) -> Result<Told<Vec<String>>, AskError> {
        self.tell(QueryType::NodePipList, Query::Empty).await
    }

    /// The primary addresses of the master candidates.
    pub async fn mc_pips(&self) -> Result<Told<Vec<String>>, AskError> {
        self.tell(QueryType::McPipList, Query::Empty).await
    }

    /// The addresses of instances on a link (the cluster's default).
    pub async fn instance_ips(&self, link: Option<&str>) -> Result<Told<Vec<String>>, AskError> {
        self.tell(QueryType::InstancesIpsList, link.map_or(Query::Empty, text)).await
    }

    /// The DRBD minors in use on a node.
    pub async fn node_drbd(&self, node: &str) -> Result<Told<Vec<DrbdMinor>>, AskError> {
        self.tell(QueryType::NodeDrbd, text(node)).await
    }

    /// The instances that have a node as their primary or secondary one. On big clusters that is more than a
    /// datagram can hold, and nobody answers: [`Client::node_guests`].
    pub async fn node_instances(&self, node: &str) -> Result<Told<NodeInstances>, AskError> {
        self.tell(QueryType::NodeInstances, text(node)).await
    }

    /// The disks of an instance, each as in `config.data`.
    pub async fn instance_disks(&self, instance: &str) -> Result<Told<Vec<Value>>, AskError> {
        self.tell(QueryType::InstanceDisks, text(instance)).await
    }

    /// What a JSON pointer finds in `config.data`.
    pub async fn config_query(&self, pointer: &str) -> Result<Told<Value>, AskError> {
        self.tell(QueryType::ConfigQuery, text(pointer)).await
    }

    /// What the cluster wants of collectors of mond, by name.
    pub async fn data_collectors(&self) -> Result<Told<BTreeMap<String, Collector>>, AskError> {
        self.tell(QueryType::DataCollectors, Query::Empty).await
    }

    /// The instances of a node in short, however many there are. Daemons that are not Roost's are silent about this
    /// question ([`AskError::is_silence`]): ask for [`Client::node_instances`] then.
    pub async fn node_guests(&self, node: &str) -> Result<Told<Vec<Guest>>, AskError> {
        let kind = QueryType::NodeGuests;
        let mut attempts = 0;
        'whole: loop {
            attempts += 1;
            let mut whole: Option<Told<Vec<Guest>>> = None;
            loop {
                let have = whole.as_ref().map_or(0, |told| told.value.len());
                let query = if have == 0 { node.to_owned() } else { format!("{node}#{have}") };
                let page: Told<Page> = self.tell(kind, text(&query)).await?;
                let (total, empty) = (page.value.total, page.value.instances.is_empty());
                let from = page.from;
                let whole = match &mut whole {
                    None => whole.insert(page.map(|page| page.instances)),
                    Some(told) => {
                        // Pages of two states of the cluster do not fit together; in the end better one instance
                        // too few than no answer for ever.
                        if told.serial != page.serial && attempts < PAGE_ATTEMPTS {
                            continue 'whole;
                        }
                        told.consistent &= page.consistent;
                        told.value.extend(page.value.instances);
                        told
                    }
                };
                if whole.value.len() >= total {
                    return Ok(whole.clone());
                }
                if empty {
                    let why = format!("{} of {total} instances, then none", whole.value.len());
                    return Err(AskError::Garbled { from, kind, why });
                }
            }
        }
    }

    /// Asks, and takes the answer for what it is to be.
    async fn tell<T: DeserializeOwned>(
        &self,
        kind: QueryType,
        query: Query<'_>,
    ) -> Result<Told<T>, AskError> {
        let outcome = self.ask(kind, query).await?;
        let value = outcome.best().value(kind)?;
        Ok(outcome.told(value))
    }
}

impl Heard {
    /// What an answer says. Errors: it is a refusal, or something else than an answer to that question.
    pub fn value<T: DeserializeOwned>(&self, kind: QueryType) -> Result<T, AskError> {
        let from = self.from;
        let json = self.reply.answer.get();
        match self.reply.status {
            Status::Ok => serde_json::from_str(json).map_err(|e| AskError::Garbled {
                from,
                kind,
                why: e.to_string(),
            }),
            Status::NotImplemented => {
                Err(AskError::Said { from, sentence: format!("{kind:?} is not implemented") })
            }
            Status::Error => match serde_json::from_str(json) {
                Ok(Value::String(sentence)) => Err(AskError::Said { from, sentence }),
                Ok(value) if value.is_i64() => {
                    Err(AskError::Refused { from, kind, code: value.as_i64().unwrap_or(-1) })
                }
                _ => Err(AskError::Garbled {
                    from,
                    kind,
                    why: "an error that is neither a number nor a sentence".to_owned(),
                }),
            },
        }
    }
}

impl Outcome {
    /// What came of it, with the value of the answer that counts.
    pub fn told<T>(&self, value: T) -> Told<T> {
        let best = self.best();
        Told {
            value,
            serial: best.reply.serial,
            from: best.from,
            asked: self.asked.len(),
            answered: self.heard.len(),
            consistent: self.consistent,
            ignored: self.ignored,
        }
    }
}

impl<T> Told<T> {
    /// The same of something else.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Told<U> {
        let Told { value, serial, from, asked, answered, consistent, ignored } = self;
        Told { value: change(value), serial, from, asked, answered, consistent, ignored }
    }

    fn try_map<U>(
        self,
        kind: QueryType,
        change: impl FnOnce(T) -> Result<U, String>,
    ) -> Result<Told<U>, AskError> {
        let from = self.from;
        let told = self.map(change);
        match told.value {
            Ok(value) => Ok(Told {
                value,
                serial: told.serial,
                from,
                asked: told.asked,
                answered: told.answered,
                consistent: told.consistent,
                ignored: told.ignored,
            }),
            Err(why) => Err(AskError::Garbled { from, kind, why }),
        }
    }
}

fn text(query: &str) -> Query<'_> {
    Query::Text(Cow::Borrowed(query))
}
