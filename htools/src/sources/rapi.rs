//! A cluster as the remote API tells it: four documents.
//!
//! ```text
//!   /2/groups?bulk=1     groups.json
//!   /2/nodes?bulk=1      nodes.json        over HTTP, or files of a directory
//!   /2/instances?bulk=1  instances.json
//!   /2/info              info.json
//! ```
//!
//! Unlike Ganeti's tools, a node's relative processor speed is taken from here, too: the same cluster has
//! the same score by whatever way one looks at it. Source: Ganeti's reference on the API, field lists.

use super::objects::Builder;
use super::record::{Cells, Record, excerpt};
use super::{Known, Malformed};
use serde_json::Value;

/// What there is to ask for: the path, and the name of the file in a directory.
pub const PATHS: [(&str, &str); 4] = [
    ("/2/groups?bulk=1", "groups.json"),
    ("/2/nodes?bulk=1", "nodes.json"),
    ("/2/instances?bulk=1", "instances.json"),
    ("/2/info", "info.json"),
];

/// A text, and how errors call it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    pub name: String,
    pub text: String,
}

impl Document {
    fn read(&self) -> Result<Value, Malformed> {
        serde_json::from_str(&self.text).map_err(|error| Malformed::json(&self.name, &error))
    }

    /// Calls with each object of a list.
    fn each(
        &self,
        mut take: impl FnMut(Record<'_>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let value = self.read()?;
        let wrong = |value: &Value, what: &str| format!("{} is not {what}", excerpt(value));
        let list = value.as_array();
        let list = list.ok_or_else(|| Malformed::document(&self.name, wrong(&value, "a list")))?;
        for (at, value) in list.iter().enumerate() {
            let object = value.as_object().ok_or_else(|| Malformed {
                position: format!("element {}", at + 1),
                ..Malformed::document(&self.name, wrong(value, "an object"))
            })?;
            take(Record::new(&self.name, at + 1, Cells::Object(object)))?;
        }
        Ok(())
    }
}

/// The cluster of the documents, in the order of [`PATHS`].
pub fn read(documents: &[Document; 4]) -> Result<Known, Malformed> {
    let [groups, nodes, instances, info] = documents;
    let mut builder = Builder::default();
    groups.each(|record| builder.group(record))?;
    nodes.each(|record| builder.node(record))?;
    instances.each(|record| builder.instance(record))?;
    let value = info.read()?;
    let object = value.as_object();
    let wrong = || Malformed::document(&info.name, format!("{} is not an object", excerpt(&value)));
    builder.finish(&Record::new(&info.name, 0, Cells::Object(object.ok_or_else(wrong)?)))
}
