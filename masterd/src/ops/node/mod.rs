//! Opcodes about nodes.

mod add;
mod evacuate;
mod migrate;
mod modify_storage;
mod moves;
pub mod oob;
mod oob_said;
pub mod pool;
mod powercycle;
mod remove;
mod repair_storage;
pub mod rows;
mod set_params;
mod settings;
mod storage;
mod volumes;

use crate::config::Config;
use roost_proto::error::{Error, Result};
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

/// The node whose storage is to change. It must be in use.
fn storage_node(config: &Config, name: &str) -> Result<NodeId> {
    let node = config.node(name)?;
    if node.offline {
        return Err(Error::wrong_state(format!(
            "Node {} is marked offline: its storage cannot be reached",
            node.name
        )));
    }
    Ok(node.uuid)
}

/// The name of a storage unit, which must be given.
fn named_unit(name: Option<&str>) -> Result<&str> {
    name.filter(|name| !name.is_empty())
        .ok_or_else(|| Error::wrong_input("Which storage unit? Its name is missing"))
}
