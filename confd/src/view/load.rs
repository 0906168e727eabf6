//! A whole configuration from a file in Ganeti's format, object by object: there is never more than one of them in
//! memory that is not packed. Keys may be in any order, with blanks or without.

use super::change::read_id;
use super::pack::{self, Key};
use super::{NO_ID, View};
use roost_proto::published::Space;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;
use std::io::{BufReader, Read};

impl View {
    /// Of a `config.data`. Errors: a sentence that says what is wrong with which object.
    pub fn load(from: impl Read) -> Result<View, String> {
        let mut view = View::default();
        let mut from =
            serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 16, from));
        let beside = Whole { view: &mut view }.deserialize(&mut from);
        let beside = beside.and_then(|b| from.end().map(|()| b)).map_err(|e| e.to_string())?;
        view.put(Space::Top, NO_ID, &Value::Object(beside).to_string())?;
        view.complete()?;
        Ok(view)
    }

    /// All objects of a whole configuration are there. Errors: there are not.
    pub(super) fn complete(&mut self) -> Result<(), String> {
        for (is, what) in [(&self.top, "top level"), (&self.cluster, "cluster")] {
            if is.is_empty() {
                return Err(format!("The configuration has no {what}"));
            }
        }
        self.shrink();
        self.summarize();
        Ok(())
    }
}

/// The file. What it gives back is what is beside the maps and the cluster.
struct Whole<'v> {
    view: &'v mut View,
}

impl<'de> DeserializeSeed<'de> for Whole<'_> {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Whole<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a configuration")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut beside = Map::new();
        while let Some(Key(key)) = members.next_key()? {
            let space = match &*key {
                "cluster" => {
                    let (space, pool) = (Space::Cluster, &mut self.view.pool);
                    let seed = pack::Object { pool, space, id: NO_ID };
                    let stored = members.next_value_seed(seed)?;
                    self.view.put_stored(space, NO_ID, &stored).map_err(A::Error::custom)?;
                    continue;
                }
                "nodes" => Space::Node,
                "nodegroups" => Space::NodeGroup,
                "instances" => Space::Instance,
                "disks" => Space::Disk,
                "networks" => Space::Network,
                "filters" => Space::Filter,
                _ => {
                    beside.insert(key.into_owned(), members.next_value()?);
                    continue;
                }
            };
            members.next_value_seed(Objects { view: &mut *self.view, space })?;
        }
        Ok(beside)
    }
}

/// A map of objects of a kind, by UUID.
struct Objects<'v> {
    view: &'v mut View,
    space: Space,
}

impl<'de> DeserializeSeed<'de> for Objects<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Objects<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} by each UUID", super::change::word(self.space))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let space = self.space;
        while let Some(Key(key)) = members.next_key()? {
            let id = read_id(space, &key).map_err(A::Error::custom)?;
            let pool = &mut self.view.pool;
            let stored = members.next_value_seed(pack::Object { pool, space, id })?;
            self.view.put_stored(space, id, &stored).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}
