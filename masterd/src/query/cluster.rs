//! The cluster as a row.

use super::World;
use super::cluster_info::{VERSIONS, architecture};
use super::rows::Asked;
use crate::config::RELEASE;
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
    let data = run([ClusterRow(world)], &asked.prepared)?;
    Ok(QueryResponse { data, fields: asked.prepared.defs().to_vec() })
}

#[derive(Debug)]
struct ClusterRow<'a>(&'a World);

impl Row for ClusterRow<'_> {
    type Field = F;

    fn cell(&self, field: &F) -> Cell {
        let config = &self.0.config;
        let c = &config.cluster;
        match *field {
            F::ClusterName => Cell::new(c.cluster_name.as_str()),
            F::MasterNode => Cell::new(config.node_name(c.master_node)),
            F::VolumeGroupName => Cell::or_unavailable(c.volume_group_name.as_deref()),
            F::Tags => Cell::list(c.tags.iter().map(String::as_str)),
            F::Architecture => Cell::new(architecture()),
            F::DrainFlag => Cell::new(self.0.drained),
            // The watcher cannot be paused yet.
            F::WatcherPause => Cell::UNAVAILABLE,
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
    use roost_proto::query::{Field, Resource};

    #[test]
    fn there_is_one_row() {
        let world = World { drained: true, ..world() };
        let fields = ["name", "master_node", "volume_group_name", "tags", "drain_flag"];
        let row = &cells(&world, Resource::Cluster, &fields, &[])[0];
        assert_eq!(row[0], Cell::new("clst.example.org"));
        assert_eq!(row[1], Cell::new("node1.example.org"));
        assert_eq!(row[2], Cell::new("vgtest"));
        assert_eq!(row[3], Cell::list(["env:test"]));
        assert_eq!(row[4], Cell::new(true));
        let names: Vec<_> = F::all().iter().map(|f| f.def().name.into_owned()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let row = &cells(&world, Resource::Cluster, &names, &["clst"])[0];
        assert!(row.iter().all(|cell| *cell != Cell::UNKNOWN), "{row:?}");
        assert!(cells(&world, Resource::Cluster, &names, &["other"]).is_empty());
    }
}
