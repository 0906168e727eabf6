//! The cluster as a row.

use super::World;
use super::cluster_info::{VERSIONS, architecture};
use super::rows::Asked;
use crate::config::{Config, RELEASE};
use roost_proto::error::Result;
use roost_proto::query::fields::ClusterField as F;
use roost_proto::query::{Cell, Filter, QueryResponse, Row, run};

pub(super) fn answer(
    world: &World,
    fields: &[String],
    filter: Option<&Filter>,
) -> Result<QueryResponse> {
    let asked = Asked::<F>::new(fields, filter)?;
    // There is one: naming another finds none.
    let data = run([ClusterRow(&world.config)], &asked.prepared)?;
    Ok(QueryResponse { data, fields: asked.prepared.defs().to_vec() })
}

#[derive(Debug)]
struct ClusterRow<'a>(&'a Config);

impl Row for ClusterRow<'_> {
    type Field = F;

    fn cell(&self, field: &F) -> Cell {
        let c = &self.0.cluster;
        match *field {
            F::ClusterName => Cell::new(c.cluster_name.as_str()),
            F::MasterNode => Cell::new(self.0.node_name(c.master_node)),
            F::VolumeGroupName => Cell::or_unavailable(c.volume_group_name.as_deref()),
            F::Tags => Cell::list(c.tags.iter().map(String::as_str)),
            F::Architecture => Cell::new(architecture()),
            // The queue's state and the watcher's are not part of the configuration.
            F::DrainFlag => Cell::NO_DATA,
            F::WatcherPause => Cell::NO_DATA,
            F::SoftwareVersion => Cell::new(RELEASE),
            F::ProtocolVersion => Cell::new(VERSIONS.protocol),
            F::ConfigVersion => Cell::new(VERSIONS.config),
            F::OsApiVersion => Cell::new(VERSIONS.os_api),
            F::ExportVersion => Cell::new(VERSIONS.export),
            F::VcsVersion => Cell::new(VERSIONS.vcs),
            F::Ctime => Cell::new(c.ctime),
            F::Mtime => Cell::new(c.mtime),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::testing::{cells, world};
    use roost_proto::query::Resource;

    #[test]
    fn there_is_one_row() {
        let world = world();
        let fields = ["name", "master_node", "volume_group_name", "tags"];
        let row = &cells(&world, Resource::Cluster, &fields, &[])[0];
        assert_eq!(row[0], Cell::new("clst.example.org"));
        assert_eq!(row[1], Cell::new("node1.example.org"));
        assert_eq!(row[2], Cell::new("vgtest"));
        assert_eq!(row[3], Cell::list(["env:test"]));
    }
}
