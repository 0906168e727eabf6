//! Versions of what programs say to each other, so that a cluster can be upgraded while it works.
//!
//! ```text
//!   versions   1 ─── 2 ─── 3 ─── 4
//!   program of version 3  └───────┘   speaks its own and the one before
//!   two programs can talk if they are at most one version apart; both then use the lower one
//! ```
//!
//! Every message carries the version of whoever sends it; none (0) is version 1. A peer too far away
//! is refused with both versions and the way out. Within a version, messages may only grow:
//!
//! - new fields have defaults, and unknown fields are skipped, so both sides may be the newer one;
//! - a new kind of message (a variant) is refused by a program that does not know it, in words that
//!   say which of the two is older ([`read`]);
//! - a change of meaning is a new version.
//!
//! What was said in each version is recorded in `fixtures/wire-N`: tests read it with every later
//! program that still speaks version N.

use crate::error::{Error, Result};
use serde::de::DeserializeOwned;

/// A protocol, and its version in this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Who talks, for people.
    pub name: &'static str,
    pub version: u32,
}

/// masterd and noded, and noded and noded: `node.proto`, `crate::node`.
pub const NODE: Protocol = Protocol { name: "node", version: 1 };
/// Clients and masterd: `master.proto`.
pub const MASTER: Protocol = Protocol { name: "master", version: 1 };
/// The header in which clients of masterd tell their version: their requests have no common part.
pub const HEADER: &str = "roost-protocol";
/// The header of an answer that does not come from the master but from a copy of its state: the
/// master's name.
pub const COPY_HEADER: &str = "roost-copy-of";
/// What a node says to a master that it does not obey any more, before the epoch.
pub const OBEYS_ANOTHER: &str = "this node already obeys the master of epoch";
/// masterd and masterd: `replica.proto`.
pub const REPLICA: Protocol = Protocol { name: "replica", version: 1 };

/// The version that a field of a message means: before there was one, it was 1.
fn said(field: u32) -> u32 {
    field.max(1)
}

impl Protocol {
    /// The version to use with a peer, from what it says of itself. Errors: it is too far away;
    /// `peer` names it, as `the master`.
    pub fn meet(self, field: u32, peer: &str) -> Result<u32> {
        let theirs = said(field);
        let own = self.version;
        if own.abs_diff(theirs) <= 1 {
            return Ok(own.min(theirs));
        }
        let (older, way_out) = if theirs < own {
            (peer, format!("upgrade {peer} to a version of Roost in between, then to this one"))
        } else {
            (
                "this program",
                "upgrade this machine, one version of Roost after the other".to_owned(),
            )
        };
        Err(Error::environment(format!(
            "This program speaks version {own} of the {} protocol and the one before, {peer} speaks \
             version {theirs}: {older} is too old; {way_out}",
            self.name
        )))
    }
}

/// Reads a message in JSON. `what` it is and who sent it are for the error: a kind of message that is
/// not known here was sent by a newer program.
pub fn read<T: DeserializeOwned>(text: &str, what: &str, peer: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| {
        let why = e.to_string();
        match unknown_variant(&why) {
            Some(kind) => Error::environment(format!(
                "this program (Roost {}) does not know the {what} '{kind}' and is older than that of \
                 {peer}: upgrade Roost on this machine",
                env!("CARGO_PKG_VERSION")
            )),
            None => Error::internal(format!("an unreadable {what} came from {peer}: {why}")),
        }
    })
}

/// The kind that serde's complaint is about.
fn unknown_variant(why: &str) -> Option<&str> {
    why.strip_prefix("unknown variant `")?.split('`').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::JobRecord;
    use crate::node::{Action, Answer, Observation, Outcome, Progress, Question};
    use serde::Serialize;
    use serde_json::{Value, json};
    use std::collections::BTreeSet;
    use std::fmt::Debug;

    fn at(version: u32) -> Protocol {
        Protocol { name: "node", version }
    }

    #[test]
    fn one_version_apart_is_near_enough() {
        for (own, field, common) in
            [(1, 0, 1), (1, 1, 1), (1, 2, 1), (2, 0, 1), (3, 2, 2), (3, 4, 3)]
        {
            assert_eq!(at(own).meet(field, "the master"), Ok(common), "{own} meets {field}");
        }
    }

    #[test]
    fn further_apart_is_refused_with_the_way_out() {
        let text = |own, field| at(own).meet(field, "node n1").expect_err("too far").message;
        assert_eq!(
            text(3, 0),
            "This program speaks version 3 of the node protocol and the one before, node n1 speaks \
             version 1: node n1 is too old; upgrade node n1 to a version of Roost in between, then to \
             this one"
        );
        assert!(text(1, 3).ends_with(
            "this program is too old; upgrade this machine, one version of Roost after the other"
        ));
    }

    #[test]
    fn unknown_kinds_say_who_is_older() {
        let words = |result: Result<Action>| result.expect_err("unknown").message;
        let new = words(read(r#"{"do": "teleport", "instance": 1}"#, "action", "the master"));
        assert!(new.contains("does not know the action 'teleport'"), "{new}");
        assert!(
            new.ends_with("older than that of the master: upgrade Roost on this machine"),
            "{new}"
        );
        let noise = words(read("{", "action", "the master"));
        assert!(noise.starts_with("an unreadable action came from the master"), "{noise}");
        let new = read::<Answer>(r#"{"riddle": 1}"#, "answer", "node n1").expect_err("unknown");
        assert!(new.message.contains("'riddle'"), "{new}");
    }

    /// Every value of `before` is in `after`.
    fn contained(before: &Value, after: &Value, path: &str) {
        match (before, after) {
            (Value::Object(b), Value::Object(a)) => {
                for (key, value) in b {
                    let inner = a.get(key).unwrap_or(&Value::Null);
                    contained(value, inner, &format!("{path}/{key}"));
                }
            }
            (Value::Array(b), Value::Array(a)) => {
                assert_eq!(b.len(), a.len(), "{path}");
                b.iter().zip(a).enumerate().for_each(|(i, (b, a))| {
                    contained(b, a, &format!("{path}/{i}"));
                });
            }
            _ => assert_eq!(before, after, "{path}"),
        }
    }

    /// What a newer program may add: a field nobody knows, wherever there are fields.
    fn grown(value: &mut Value, depth: usize) {
        match value {
            Value::Object(map) => {
                map.values_mut().for_each(|inner| grown(inner, depth + 1));
                // Maps by name take any key; messages themselves are what must tolerate one.
                if depth == 0 && map.len() != 1 {
                    map.insert("of_a_newer_version".into(), json!({"x": 1}));
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|inner| grown(inner, depth + 1)),
            _ => {}
        }
    }

    /// Every recorded message is read, nothing of it is lost, and fields of the future are skipped.
    fn walk<T>(name: &str, text: &str) -> Vec<Value>
    where
        T: DeserializeOwned + Serialize + PartialEq + Debug,
    {
        let recorded: Vec<Value> = serde_json::from_str(text).expect("a list");
        for message in &recorded {
            let read = |value: &Value| -> T {
                serde_json::from_value(value.clone())
                    .unwrap_or_else(|e| panic!("{name}: {e}: {value}"))
            };
            let value = read(message);
            contained(message, &serde_json::to_value(&value).expect("JSON"), name);
            let mut newer = message.clone();
            grown(&mut newer, 0);
            assert_eq!(read(&newer), value, "{name}");
        }
        recorded
    }

    /// The kinds that a type knows, as serde names them when it refuses one that it does not.
    fn kinds<T: DeserializeOwned + Debug>(strange: Value) -> BTreeSet<String> {
        let error = serde_json::from_value::<T>(strange).expect_err("no such kind").to_string();
        let (_, list) = error.split_once("expected").expect("a list of kinds");
        list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    /// Each kind must have been recorded: add an example to the file when you add a kind.
    fn complete(name: &str, kinds: BTreeSet<String>, recorded: &[Value], tag: Option<&str>) {
        let kind = |message: &Value| match (tag, message) {
            (Some(tag), _) => message[tag].as_str().map(str::to_owned),
            (None, Value::Object(map)) => map.keys().next().cloned(),
            (None, other) => other.as_str().map(str::to_owned),
        };
        let found: BTreeSet<String> = recorded.iter().filter_map(kind).collect();
        let missing: Vec<_> = kinds.difference(&found).collect();
        assert!(missing.is_empty(), "fixtures/wire-1/{name}.json has no example of {missing:?}");
        let gone: Vec<_> = found.difference(&kinds).collect();
        assert!(gone.is_empty(), "{name} {gone:?} of version 1 are not known any more");
    }

    macro_rules! recorded {
        ($name:literal) => {
            include_str!(concat!("../fixtures/wire-1/", $name, ".json"))
        };
    }

    #[test]
    fn messages_of_version_1_are_read() {
        let actions = walk::<Action>("actions", recorded!("actions"));
        complete("actions", kinds::<Action>(json!({"do": ""})), &actions, Some("do"));
        let questions = walk::<Question>("questions", recorded!("questions"));
        complete("questions", kinds::<Question>(json!({"ask": ""})), &questions, Some("ask"));
        let answers = walk::<Answer>("answers", recorded!("answers"));
        complete("answers", kinds::<Answer>(json!("")), &answers, None);
        let seen = walk::<Observation>("observations", recorded!("observations"));
        complete("observations", kinds::<Observation>(json!({"saw": ""})), &seen, Some("saw"));
        walk::<Outcome>("outcomes", recorded!("outcomes"));
        walk::<Progress>("progress", recorded!("progress"));
        walk::<Error>("errors", recorded!("errors"));
        walk::<JobRecord>("jobs", recorded!("jobs"));
    }
}
