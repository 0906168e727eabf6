//! What the indexes need to know of an object, read from its packed form. What is not as it must be is an error that
//! says which key; whose key it is, the caller adds.

use super::cursor::Cursor;
use super::id::Id;
use super::pool::{key, known_key};
use super::token::{Packed, Text, Token};

/// A sentence: which key is wrong, and how.
pub type Problem = String;

fn wrong<T>(key: u32, should: &str) -> Result<T, Problem> {
    Err(format!("'{}' is not {should}", known_key(key)))
}

fn text<'a>(key: u32, at: &mut Cursor<'a>) -> Result<Text<'a>, Problem> {
    match at.next() {
        Token::Text(text) => Ok(text),
        _ => wrong(key, "a string"),
    }
}

fn id(key: u32, at: &mut Cursor<'_>) -> Result<Id, Problem> {
    text(key, at).ok().and_then(|t| t.id()).map_or_else(|| wrong(key, "a UUID"), Ok)
}

fn bool(key: u32, at: &mut Cursor<'_>) -> Result<bool, Problem> {
    match at.next() {
        Token::Bool(value) => Ok(value),
        _ => wrong(key, "true or false"),
    }
}

fn uint(key: u32, at: &mut Cursor<'_>) -> Result<u64, Problem> {
    match at.next() {
        Token::Uint(number) => Ok(number),
        _ => wrong(key, "a number from 0 on"),
    }
}

/// Calls `each` in front of every item of a list. `each` must go past it.
fn items<'a>(
    key: u32,
    at: &mut Cursor<'a>,
    mut each: impl FnMut(&mut Cursor<'a>) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let Token::Array(count) = at.next() else { return wrong(key, "a list") };
    (0..count).try_for_each(|_| each(at))
}

/// Calls `each` with every key of an object, in front of its value; what it does not read is skipped.
fn members<'a>(
    key: u32,
    at: &mut Cursor<'a>,
    mut each: impl FnMut(u32, &mut Cursor<'a>) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let mut result = Ok(());
    let object = at.members(|key, at| {
        // After an error the place does not count any more, so it must not be used.
        if result.is_ok() {
            let before = *at;
            result = each(key, at);
            if result.is_err() {
                *at = before;
            }
        }
    });
    if object { result } else { wrong(key, "an object") }
}

fn there<T>(key: &str, value: Option<T>) -> Result<T, Problem> {
    value.ok_or_else(|| format!("'{key}' is missing"))
}

/// Every object: that it is one, and is the one it is said to be.
pub fn object(packed: Packed<'_>) -> Result<(), Problem> {
    members(key::IT, &mut packed.cursor(), |key, at| {
        if key == key::UUID && id(key, at)? != packed.id {
            return wrong(key, "what it is stored under");
        }
        Ok(())
    })
}

#[derive(Debug)]
pub struct Node {
    pub primary_ip: Box<str>,
    pub candidate: bool,
    pub drained: bool,
    pub offline: bool,
}

pub fn node(packed: Packed<'_>) -> Result<Node, Problem> {
    let (mut ip, mut candidate, mut drained, mut offline) = (None, None, None, None);
    members(key::IT, &mut packed.cursor(), |key, at| {
        match key {
            key::PRIMARY_IP => ip = Some(Box::from(text(key, at)?.to_str())),
            key::MASTER_CANDIDATE => candidate = Some(bool(key, at)?),
            key::DRAINED => drained = Some(bool(key, at)?),
            key::OFFLINE => offline = Some(bool(key, at)?),
            _ => {}
        }
        Ok(())
    })?;
    named(packed)?;
    Ok(Node {
        primary_ip: there("primary_ip", ip)?,
        candidate: there("master_candidate", candidate)?,
        drained: there("drained", drained)?,
        offline: there("offline", offline)?,
    })
}

fn named(packed: Packed<'_>) -> Result<(), Problem> {
    there("name", (!packed.name.is_empty()).then_some(()))?;
    there("serial_no", (packed.serial > 0).then_some(()))
}

#[derive(Debug, Default)]
pub struct Instance<'a> {
    /// None: it is only planned.
    pub primary_node: Option<Id>,
    pub disks: Vec<Id>,
    /// Addresses, and the link of the NIC if it has one of its own.
    pub addresses: Vec<(Option<Text<'a>>, Text<'a>)>,
}

pub fn instance(packed: Packed<'_>) -> Result<Instance<'_>, Problem> {
    let mut facts = Instance::default();
    let mut forthcoming = false;
    members(key::IT, &mut packed.cursor(), |key, at| {
        match key {
            key::FORTHCOMING => forthcoming = bool(key, at)?,
            key::PRIMARY_NODE => facts.primary_node = Some(id(key, at)?),
            key::DISKS => items(key, at, |at| {
                facts.disks.push(id(key::DISKS, at)?);
                Ok(())
            })?,
            key::NICS => items(key, at, |at| {
                let (mut ip, mut link) = (None, None);
                members(key::NICS, at, |key, at| {
                    match key {
                        key::IP => ip = Some(text(key, at)?),
                        key::NICPARAMS => members(key, at, |key, at| {
                            if key == key::LINK {
                                link = Some(text(key, at)?);
                            }
                            Ok(())
                        })?,
                        _ => {}
                    }
                    Ok(())
                })?;
                facts.addresses.extend(ip.map(|ip| (link, ip)));
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    })?;
    if !forthcoming {
        named(packed)?;
        there("primary_node", facts.primary_node)?;
    }
    Ok(facts)
}

/// One end of a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Minor {
    pub node: Id,
    pub number: u64,
    pub peer: Id,
}

/// Both ends of each mirror in a disk: its own, then those of its children.
pub fn minors(packed: Packed<'_>) -> Result<Vec<Minor>, Problem> {
    let mut found = vec![];
    minors_below(&mut packed.cursor(), &mut found)?;
    Ok(found)
}

fn minors_below(at: &mut Cursor<'_>, found: &mut Vec<Minor>) -> Result<(), Problem> {
    let (mut template, mut logical_id, mut below) = (None, None, vec![]);
    members(key::CHILDREN, at, |key, at| {
        match key {
            key::DEV_TYPE => template = Some(text(key, at)?),
            key::LOGICAL_ID => logical_id = Some(*at),
            key::CHILDREN => items(key, at, |at| minors_below(at, &mut below))?,
            _ => {}
        }
        Ok(())
    })?;
    if template.is_some_and(|t| t.to_str() == "drbd") {
        let mut at = there("logical_id", logical_id)?;
        let key = key::LOGICAL_ID;
        if !matches!(at.next(), Token::Array(6)) {
            return wrong(key, "[node, node, port, minor, minor, secret]");
        }
        let (a, b) = (id(key, &mut at)?, id(key, &mut at)?);
        at.skip();
        let (minor_a, minor_b) = (uint(key, &mut at)?, uint(key, &mut at)?);
        found.push(Minor { node: a, number: minor_a, peer: b });
        found.push(Minor { node: b, number: minor_b, peer: a });
    }
    found.append(&mut below);
    Ok(())
}

/// Calls `each` with the volume group and the name of every logical volume in a disk.
pub fn volumes<'a>(packed: Packed<'a>, mut each: impl FnMut(Text<'a>, Text<'a>)) {
    volumes_below(&mut packed.cursor(), &mut each);
}

fn volumes_below<'a>(at: &mut Cursor<'a>, each: &mut impl FnMut(Text<'a>, Text<'a>)) {
    let (mut plain, mut volume) = (false, None);
    let read = members(key::CHILDREN, at, |key, at| {
        match key {
            key::DEV_TYPE => plain = text(key, at)?.to_str() == "plain",
            key::LOGICAL_ID => {
                let mut at = *at;
                if at.next() == Token::Array(2) {
                    volume = Some((text(key, &mut at)?, text(key, &mut at)?));
                }
            }
            key::CHILDREN => items(key, at, |at| {
                volumes_below(at, each);
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    });
    if let (Ok(()), true, Some((group, name))) = (read, plain, volume) {
        each(group, name);
    }
}

/// The state an instance should be in and its hypervisor.
pub fn guest(packed: Packed<'_>) -> (Option<Text<'_>>, Option<Text<'_>>) {
    let (mut state, mut hypervisor) = (None, None);
    packed.cursor().members(|key, at| {
        let wanted = match key {
            key::ADMIN_STATE => &mut state,
            key::HYPERVISOR => &mut hypervisor,
            _ => return,
        };
        *wanted = text(key, at).ok();
    });
    (state, hypervisor)
}

/// When an instance was last changed, as it is stored.
pub fn mtime<'a>(packed: Packed<'a>) -> Option<Cursor<'a>> {
    let mut found = None;
    packed.cursor().members(|key, at| {
        if key == key::MTIME {
            found = Some(*at);
        }
    });
    found
}

/// The disks of an instance, in its order.
pub fn disks(packed: Packed<'_>) -> Vec<Id> {
    let mut found = vec![];
    packed.cursor().members(|key, at| {
        if key == key::DISKS {
            // What was stored was read once before.
            let _ = items(key, at, |at| {
                found.push(id(key, at)?);
                Ok(())
            });
        }
    });
    found
}

#[derive(Debug)]
pub struct Cluster {
    pub master_node: Id,
    pub master_ip: Box<str>,
    pub default_link: Box<str>,
    pub has_xen: bool,
    /// By name; microseconds.
    pub collectors: Vec<(Box<str>, Collector)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collector {
    pub active: bool,
    pub interval: u64,
}

impl Default for Collector {
    fn default() -> Collector {
        Collector { active: true, interval: 5_000_000 }
    }
}

pub fn cluster(packed: Packed<'_>) -> Result<Cluster, Problem> {
    let (mut master_node, mut master_ip, mut link) = (None, None, None);
    let (mut has_xen, mut collectors) = (false, vec![]);
    members(key::IT, &mut packed.cursor(), |key, at| {
        match key {
            key::MASTER_NODE => master_node = Some(id(key, at)?),
            key::MASTER_IP => master_ip = Some(Box::from(text(key, at)?.to_str())),
            key::ENABLED_HYPERVISORS => items(key, at, |at| {
                has_xen |= text(key::ENABLED_HYPERVISORS, at)?.to_str().starts_with("xen");
                Ok(())
            })?,
            key::NICPARAMS => {
                let mut at = *at;
                if at.enter("default") && at.enter("link") {
                    link = Some(Box::from(text(key::LINK, &mut at)?.to_str()));
                }
            }
            key::DATA_COLLECTORS => members(key, at, |name, at| {
                let mut collector = Collector::default();
                let called = Box::from(at.key(name));
                members(name, at, |key, at| {
                    match key {
                        key::ACTIVE => collector.active = bool(key, at)?,
                        key::INTERVAL => collector.interval = uint(key, at)?,
                        _ => {}
                    }
                    Ok(())
                })?;
                collectors.push((called, collector));
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    })?;
    there("serial_no", (packed.serial > 0).then_some(()))?;
    Ok(Cluster {
        master_node: there("master_node", master_node)?,
        master_ip: there("master_ip", master_ip)?,
        default_link: there("nicparams/default/link", link)?,
        has_xen,
        collectors,
    })
}

/// The version of the configuration's format.
pub fn version(packed: Packed<'_>) -> Result<u64, Problem> {
    let mut version = None;
    members(key::IT, &mut packed.cursor(), |key, at| {
        if key == key::VERSION {
            version = Some(uint(key, at)?);
        }
        Ok(())
    })?;
    there("version", version)
}
