//! Exports as rows: one for each export that lies on a node. Nodes without exports have no row.

use super::World;
use super::rows::Asked;
use roost_proto::error::Result;
use roost_proto::objects::Node;
use roost_proto::query::fields::ExportField as F;
use roost_proto::query::{Cell, Filter, QueryResponse, Row};

pub(super) fn answer(
    world: &World,
    fields: &[String],
    filter: Option<&Filter>,
) -> Result<QueryResponse> {
    let asked = Asked::<F>::new(fields, filter)?;
    let config = &*world.config;
    let nodes = asked.objects(
        || config.nodes.values().map(|n| &**n).collect::<Vec<&Node>>(),
        |node| &node.name,
        |name| config.node(name).map(|n| &**n),
    )?;
    let rows = nodes
        .into_iter()
        .flat_map(|node| exports(node).into_iter().map(move |export| ExportRow { node, export }));
    asked.answer(rows)
}

/// The exports on a node: none, since nothing makes exports yet.
fn exports(_: &Node) -> Vec<String> {
    Vec::new()
}

#[derive(Debug)]
struct ExportRow<'a> {
    node: &'a Node,
    export: String,
}

impl Row for ExportRow<'_> {
    type Field = F;

    fn cell(&self, field: &F) -> Cell {
        match *field {
            F::Node => Cell::new(self.node.name.as_str()),
            F::Export => Cell::new(self.export.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::query::testing::{cells, error, world};
    use roost_proto::query::Resource;

    #[test]
    fn there_are_none_but_nodes_must_exist() {
        let world = world();
        assert!(cells(&world, Resource::Export, &["node", "export"], &[]).is_empty());
        assert!(cells(&world, Resource::Export, &["node"], &["node1"]).is_empty());
        let error = error(&world, Resource::Export, &["node"], &["nope"]);
        assert_eq!(error.message, "Node 'nope' not known");
    }
}
