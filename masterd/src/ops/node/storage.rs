//! `OP_NODE_QUERY_STORAGE`: storage units on nodes.

use super::rows;
use crate::config::Config;
use crate::jobs::locks::{LockSet, Mode};
use crate::jobs::plan::Plan;
use crate::ops::{Context, Operate, locking, node};
use roost_proto::choices::StorageType;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::nicesort;
use roost_proto::node::{Answer, Question};
use roost_proto::opcodes::NodeQueryStorage;
use roost_proto::query::fields::NodeStorageField as F;
use serde_json::{Value, json};

/// Types of which there is something to tell.
const REPORTABLE: [StorageType; 5] = [
    StorageType::File,
    StorageType::SharedFile,
    StorageType::Gluster,
    StorageType::LvmPv,
    StorageType::LvmVg,
];

impl Operate for NodeQueryStorage {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let mut locks = LockSet::new();
        locking::add_nodes(&mut locks, config, &self.nodes, Mode::Shared)?;
        Ok(locks)
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let storage = storage_type(self, config)?;
        let mut questions = Vec::new();
        for id in node::named(config, &self.nodes)? {
            if !config.node_by_id(id)?.offline {
                questions.push((
                    id,
                    Question::Storage {
                        storage_type: storage.to_string(),
                        names: units(self, config, storage),
                    },
                ));
            }
        }
        Ok(questions)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let storage = storage_type(self, config)?;
        let fields = rows::fields::<F>(&self.output_fields)?;
        let mut result = Vec::new();
        for (id, _, answer) in cx.answers() {
            let name = config.node_name(*id);
            let mut units: Vec<_> = match answer {
                Ok(Answer::Storage(units)) => units.iter().collect(),
                Ok(_) => continue,
                Err(error) => {
                    cx.warn(format!("Can't get storage data from node {name}: {error}"));
                    continue;
                }
            };
            nicesort::sort_by_key(&mut units, |unit| &unit.name);
            for unit in units {
                let row = fields.iter().map(|field| match field {
                    F::Node => json!(name),
                    F::Type => json!(storage),
                    F::Name => json!(unit.name),
                    F::Size => json!(unit.size),
                    F::Used => json!(unit.used),
                    F::Free => json!(unit.free),
                    F::Allocatable => json!(unit.allocatable),
                });
                result.push(row.collect::<Value>());
            }
        }
        Ok(Plan { result: result.into(), ..cx.start_plan() })
    }
}

/// The type asked for, or that of the first enabled disk template of which there is something to
/// tell.
fn storage_type(op: &NodeQueryStorage, config: &Config) -> Result<StorageType> {
    let enabled = &config.cluster.enabled_disk_templates;
    match op.storage_type {
        Some(storage) if REPORTABLE.contains(&storage) => Ok(storage),
        Some(storage) => Err(Error::wrong_input(format!(
            "Storage reporting for storage type '{storage}' is not supported; there are: {}",
            REPORTABLE.map(StorageType::as_str).join(", ")
        ))),
        None => enabled
            .iter()
            .map(|template| template.storage_type())
            .find(|storage| REPORTABLE.contains(storage))
            .ok_or_else(|| {
                Error::wrong_state(
                    "No enabled disk template has storage that can be reported; name a storage \
                     type",
                )
            }),
    }
}

/// The units to ask for; none: all there are.
fn units(op: &NodeQueryStorage, config: &Config, storage: StorageType) -> Vec<String> {
    if let Some(name) = &op.name {
        return vec![name.clone()];
    }
    let cluster = &config.cluster;
    let directory = match storage {
        StorageType::File => &cluster.file_storage_dir,
        StorageType::SharedFile => &cluster.shared_file_storage_dir,
        StorageType::Gluster => &cluster.gluster_storage_dir,
        _ => return vec![],
    };
    if directory.is_empty() { vec![] } else { vec![directory.clone()] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;
    use roost_proto::node::StorageUnit;

    fn op(storage: Option<StorageType>) -> NodeQueryStorage {
        let fields = ["node", "type", "name", "size", "used", "free", "allocatable"];
        let fields: Vec<_> = fields.map(str::to_owned).to_vec();
        NodeQueryStorage { storage_type: storage, ..NodeQueryStorage::new(fields) }
    }

    #[test]
    fn units_of_nodes() {
        let mut site = Site::new(&["node1", "node2"]);
        let asked = site.questions(op(None));
        let question =
            Question::Storage { storage_type: "file".into(), names: vec!["/srv/file".into()] };
        assert_eq!(asked[1], ("node2".to_owned(), question.clone()));
        let unit = StorageUnit {
            name: "/srv/file".into(),
            size: 100,
            used: 30,
            free: 70,
            allocatable: true,
        };
        site.answer("node1", question.clone(), Err(Error::exec("gone")));
        site.answer("node2", question, Ok(Answer::Storage(vec![unit])));
        let plan = site.plan(op(None)).expect("a plan");
        assert_eq!(plan.result, json!([["node2", "file", "/srv/file", 100, 30, 70, true]]));
        assert_eq!(plan.say, [" - WARNING: Can't get storage data from node node1: gone"]);
    }

    #[test]
    fn refusals() {
        let mut site = Site::new(&["node1"]);
        let error = site.refusal(op(Some(StorageType::Rados)));
        assert!(error.message.contains("'rados' is not supported"), "{error}");
        site.cluster(|c| {
            c.enabled_disk_templates = vec![roost_proto::choices::DiskTemplate::Diskless];
        });
        assert!(site.refusal(op(None)).message.contains("name a storage type"));
    }
}
