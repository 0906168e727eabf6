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
        .flat_map(|node| exports(world, node).map(move |export| ExportRow { node, export }));
    asked.answer(rows)
}

/// The exports on a node, as it told last.
fn exports<'a>(world: &'a World, node: &Node) -> impl Iterator<Item = &'a String> + use<'a> {
    world.seen.get(&node.uuid).into_iter().flat_map(|view| &view.report.exports)
}

#[derive(Debug)]
struct ExportRow<'a> {
    node: &'a Node,
    export: &'a String,
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
    fn each_export_that_a_node_told_of_is_a_row() {
        let mut world = world();
        assert!(cells(&world, Resource::Export, &["node", "export"], &[]).is_empty());
        let node = world.config.node("node1").expect("node1").uuid;
        let view = world.seen.entry(node).or_default();
        std::sync::Arc::make_mut(view).report.exports = vec!["db".into(), "web".into()];
        let rows = cells(&world, Resource::Export, &["export"], &[]);
        assert_eq!(rows.len(), 2);
        assert_eq!(cells(&world, Resource::Export, &["export"], &["node1"]), rows);
        assert!(cells(&world, Resource::Export, &["export"], &["node2"]).is_empty());
        let error = error(&world, Resource::Export, &["node"], &["nope"]);
        assert_eq!(error.message, "Node 'nope' not known");
    }
}
