//! The cluster as its master tells it: answers of queries.

use super::objects::Builder;
use super::record::{Cells, Record, excerpt};
use super::{Known, Malformed};
use roost_proto::query::QueryResponse;
use serde_json::Value;

/// What is asked of groups.
pub const GROUP_FIELDS: &[&str] =
    &["name", "uuid", "alloc_policy", "ipolicy", "custom_ipolicy", "tags"];

/// What is asked of nodes.
pub const NODE_FIELDS: &[&str] = &[
    "name",
    "group.uuid",
    "offline",
    "drained",
    "vm_capable",
    "ndp/spindle_count",
    "ndp/exclusive_storage",
    "ndp/cpu_speed",
    "mtotal",
    "mnode",
    "mfree",
    "dtotal",
    "dfree",
    "ctotal",
    "cnos",
    "sptotal",
    "spfree",
    "tags",
];

/// What is asked of instances.
pub const INSTANCE_FIELDS: &[&str] = &[
    "name",
    "pnode",
    "snodes",
    "status",
    "oper_ram",
    "be/maxmem",
    "be/vcpus",
    "be/auto_balance",
    "be/spindle_use",
    "disk_template",
    "disk_usage",
    "disk.sizes",
    "disk.spindles",
    "forthcoming",
    "tags",
];

/// The master's answers to queries of these fields, and its information about the cluster.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    pub groups: QueryResponse,
    pub nodes: QueryResponse,
    pub instances: QueryResponse,
    pub info: Value,
}

/// The cluster of the answers.
pub fn read(answers: &Answers) -> Result<Known, Malformed> {
    let mut builder = Builder::default();
    each("query of groups", GROUP_FIELDS, &answers.groups, |record| builder.group(record))?;
    each("query of nodes", NODE_FIELDS, &answers.nodes, |record| builder.node(record))?;
    each("query of instances", INSTANCE_FIELDS, &answers.instances, |record| {
        builder.instance(record)
    })?;
    let document = "information about the cluster";
    let wrong = || format!("{} is not an object", excerpt(&answers.info));
    let object = answers.info.as_object();
    let object = object.ok_or_else(|| Malformed::document(document, wrong()))?;
    builder.finish(&Record::new(document, 0, Cells::Object(object)))
}

fn each(
    document: &str,
    fields: &'static [&'static str],
    answer: &QueryResponse,
    mut take: impl FnMut(Record<'_>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    for (at, row) in answer.data.iter().enumerate() {
        take(Record::new(document, at + 1, Cells::Row(fields, row)))?;
    }
    Ok(())
}
