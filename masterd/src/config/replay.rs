//! The snapshot of a copy: takes over what another masterd committed.

use super::change::{Object, ObjectKey};
use super::{Config, LoadError};
use crate::store::{Batch, Key, Space};
use roost_proto::ids::Serial;
use serde::de::DeserializeOwned;

impl Config {
    /// The next snapshot after a commit of the leader. What it wrote was checked there; here only
    /// what cannot be read or indexed is an error.
    pub fn replay(&self, serial: Serial, batch: &Batch) -> Result<Config, LoadError> {
        let mut next = self.clone();
        next.serial = serial;
        let puts: Vec<Object> = (batch.puts.iter())
            .filter(|(key, _)| key.space.is_config())
            .map(|(key, body)| parse(key, body))
            .collect::<Result<_, _>>()?;
        let deletes: Vec<ObjectKey> = (batch.deletes.iter())
            .filter(|key| key.space.is_config())
            .map(object_key)
            .collect::<Result<_, _>>()?;
        if !puts.is_empty() || !deletes.is_empty() {
            next.changed = serial;
        }
        // First everything that changes goes out of the indexes: two objects may swap names.
        for old in puts.iter().filter_map(|object| self.get(object)) {
            next.take_out(&old);
        }
        for key in deletes {
            if let Some(old) = next.object(key) {
                next.take_out(&old);
                next.forget(key);
            }
        }
        for object in puts {
            next.insert(object)?;
        }
        Ok(next)
    }
}

/// The object of a document.
pub(super) fn parse(key: &Key, body: &str) -> Result<Object, LoadError> {
    fn read<T: DeserializeOwned>(key: &Key, body: &str) -> Result<T, LoadError> {
        serde_json::from_str(body)
            .map_err(|e| LoadError::Unreadable { key: key.clone(), detail: e.to_string() })
    }
    Ok(match key.space {
        Space::Cluster => Object::Cluster(Box::new(read(key, body)?)),
        Space::NodeGroup => Object::Group(read(key, body)?),
        Space::Network => Object::Network(read(key, body)?),
        Space::Node => Object::Node(Box::new(read(key, body)?)),
        Space::Disk => Object::Disk(read(key, body)?),
        Space::Instance => Object::Instance(Box::new(read(key, body)?)),
        Space::Filter => Object::Filter(read(key, body)?),
        Space::Rule => Object::Rule(Box::new(read(key, body)?)),
        _ => return Err(foreign(key)),
    })
}

fn object_key(key: &Key) -> Result<ObjectKey, LoadError> {
    let unreadable = |e: &dyn std::fmt::Display| LoadError::Unreadable {
        key: key.clone(),
        detail: e.to_string(),
    };
    macro_rules! id {
        ($variant:ident) => {
            ObjectKey::$variant(key.id.parse().map_err(|e| unreadable(&e))?)
        };
    }
    Ok(match key.space {
        Space::Node => id!(Node),
        Space::NodeGroup => id!(Group),
        Space::Instance => id!(Instance),
        Space::Disk => id!(Disk),
        Space::Network => id!(Network),
        Space::Filter => id!(Filter),
        Space::Rule => id!(Rule),
        _ => return Err(foreign(key)),
    })
}

fn foreign(key: &Key) -> LoadError {
    LoadError::Unreadable {
        key: key.clone(),
        detail: "it is not an object of the configuration".into(),
    }
}
