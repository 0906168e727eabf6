//! `config.data`, read object by object: it is never in memory as a whole.

use super::Sink;
use roost_proto::error::{Error, Result};
use roost_proto::published::{Begin, Put, Space};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::fmt;
use std::fs::{self, File};
use std::io::BufReader;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// By what another file at the same place is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    mtime: (i64, i64),
    inode: u64,
    size: u64,
}

impl Stamp {
    /// None: there is no such file.
    pub fn of(path: &Path) -> Option<Stamp> {
        let meta = fs::metadata(path).ok()?;
        let mtime = (meta.mtime(), meta.mtime_nsec());
        Some(Stamp { mtime, inode: meta.ino(), size: meta.size() })
    }
}

/// Has the sink take a file. Returns the file's serial number. Errors: it cannot be read or makes no sense; the
/// sink keeps what it had.
pub fn load(path: &Path, sink: &mut dyn Sink) -> Result<u64> {
    let failed = |e: &dyn fmt::Display| Error::environment(e.to_string());
    let file = File::open(path).map_err(|e| failed(&e))?;
    let mut text = serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 16, file));
    sink.begin(Begin { serial: 0, snapshot: true, epoch: None });
    let read = (&mut text).deserialize_map(Top { sink: &mut *sink });
    let serial = read.and_then(|serial| text.end().map(|()| serial)).map_err(|e| failed(&e))?;
    sink.commit()?;
    Ok(serial)
}

/// The maps of the file.
fn map(name: &str) -> Option<Space> {
    Some(match name {
        "nodes" => Space::Node,
        "nodegroups" => Space::NodeGroup,
        "instances" => Space::Instance,
        "disks" => Space::Disk,
        "networks" => Space::Network,
        "filters" => Space::Filter,
        _ => return None,
    })
}

struct Top<'a> {
    sink: &'a mut dyn Sink,
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a configuration: an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<u64, A::Error> {
        let mut rest = Map::new();
        let mut has_cluster = false;
        while let Some(name) = entries.next_key::<String>()? {
            if let Some(space) = map(&name) {
                entries.next_value_seed(Objects { sink: &mut *self.sink, space })?;
            } else if name == "cluster" {
                has_cluster = true;
                let body: Box<RawValue> = entries.next_value()?;
                let put = Put { space: Space::Cluster, id: String::new(), body };
                self.sink.put(put).map_err(A::Error::custom)?;
            } else if matches!(name.as_str(), "version" | "ctime" | "mtime" | "serial_no") {
                rest.insert(name, entries.next_value()?);
            } else {
                entries.next_value::<IgnoredAny>()?;
            }
        }
        if !has_cluster || !rest.get("version").is_some_and(Value::is_u64) {
            return Err(A::Error::custom("it is no configuration: version or cluster is missing"));
        }
        let serial = rest.get("serial_no").and_then(Value::as_u64).unwrap_or(0);
        let body = serde_json::value::to_raw_value(&rest).map_err(A::Error::custom)?;
        let put = Put { space: Space::Top, id: String::new(), body };
        self.sink.put(put).map_err(A::Error::custom)?;
        Ok(serial)
    }
}

struct Objects<'a> {
    sink: &'a mut dyn Sink,
    space: Space,
}

impl<'de> DeserializeSeed<'de> for Objects<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> std::result::Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Objects<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("objects by their identifiers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<(), A::Error> {
        while let Some((id, body)) = entries.next_entry::<String, Box<RawValue>>()? {
            let put = Put { space: self.space, id, body };
            self.sink.put(put).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}
