//! Opcodes about nodes.

mod add;
mod evacuate;
mod migrate;
mod moves;
pub mod pool;
mod powercycle;
mod remove;
pub mod rows;
mod set_params;
mod settings;
mod storage;
mod volumes;

use crate::config::Config;
use roost_proto::error::Result;
use roost_proto::ids::NodeId;

/// The nodes of these names, in their order and each once; every node, by name, if there are none.
pub fn named(config: &Config, names: &[String]) -> Result<Vec<NodeId>> {
    let mut found: Vec<NodeId> = Vec::new();
    for name in names {
        let id = config.node(name)?.uuid;
        if !found.contains(&id) {
            found.push(id);
        }
    }
    if names.is_empty() {
        let mut all: Vec<_> = config.nodes.values().collect();
        roost_proto::nicesort::sort_by_key(&mut all, |node| node.name.to_string());
        found.extend(all.into_iter().map(|node| node.uuid));
    }
    Ok(found)
}
