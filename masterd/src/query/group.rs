//! Node groups as rows.

use super::World;
use super::hosted::{Hosted, names};
use super::rows::Asked;
use crate::config::Config;
use roost_proto::choices::DiskTemplate;
use roost_proto::error::Result;
use roost_proto::ids::GroupId;
use roost_proto::nicesort;
use roost_proto::objects::{Instance, Node, NodeGroup, ParamMap};
use roost_proto::params::fill;
use roost_proto::query::fields::GroupField as F;
use roost_proto::query::{Cell, Filter, QueryResponse, Row};
use serde_json::Value;
use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};

pub(super) fn answer(
    world: &World,
    fields: &[String],
    filter: Option<&Filter>,
) -> Result<QueryResponse> {
    let asked = Asked::<F>::new(fields, filter)?;
    let config = &*world.config;
    let groups = asked.objects(
        || config.groups.values().map(|g| &**g).collect::<Vec<&NodeGroup>>(),
        |group| &group.name,
        |name| config.group(name).map(|g| &**g),
    )?;
    let cx = Cx { config, members: members(config), hosted: OnceCell::new() };
    asked.answer(groups.into_iter().map(|group| GroupRow { cx: &cx, group }))
}

/// What the rows of one query share.
#[derive(Debug)]
struct Cx<'a> {
    config: &'a Config,
    members: HashMap<GroupId, Vec<&'a Node>>,
    hosted: OnceCell<Hosted<'a>>,
}

fn members(config: &Config) -> HashMap<GroupId, Vec<&Node>> {
    let mut members = HashMap::<_, Vec<&Node>>::new();
    for node in config.nodes.values() {
        members.entry(node.group).or_default().push(node);
    }
    members
}

#[derive(Debug)]
struct GroupRow<'a> {
    cx: &'a Cx<'a>,
    group: &'a NodeGroup,
}

impl<'a> GroupRow<'a> {
    fn members(&self) -> &[&'a Node] {
        self.cx.members.get(&self.group.uuid).map_or(&[], Vec::as_slice)
    }

    fn instances(&self) -> Vec<&'a Instance> {
        let hosted = self.cx.hosted.get_or_init(|| Hosted::new(self.cx.config));
        let primary = self.members().iter().filter_map(|node| hosted.primary.get(&node.uuid));
        primary.flatten().copied().collect()
    }

    fn disk_params(&self) -> Value {
        let cluster = &self.cx.config.cluster;
        let of = |template: &DiskTemplate| {
            let params = fill::diskparams(cluster, self.group, *template);
            (template.to_string(), object(params))
        };
        Value::Object(DiskTemplate::ALL.iter().map(of).collect())
    }
}

impl Row for GroupRow<'_> {
    type Field = F;

    fn cell(&self, field: &F) -> Cell {
        let g = self.group;
        let cluster = &self.cx.config.cluster;
        match *field {
            F::Name => Cell::new(g.name.as_str()),
            F::Uuid => Cell::new(g.uuid.to_string()),
            F::AllocPolicy => Cell::new(g.alloc_policy.as_str()),
            F::NodeCount => Cell::new(self.members().len()),
            F::NodeList => {
                let nodes = nicesort::sort_many(self.members().to_vec(), |n| n.name.as_str());
                Cell::list(nodes.into_iter().map(|n| n.name.as_str()))
            }
            F::InstanceCount => Cell::new(self.instances().len()),
            F::InstanceList => Cell::list(names(&self.instances())),
            F::NdParams => Cell::new(object(fill::group_ndparams_map(cluster, g))),
            F::CustomNdParams => Cell::new(object(g.ndparams.clone())),
            F::NdParam(name) => Cell::or_no_data(fill::group_ndparams_map(cluster, g).remove(name)),
            F::DiskParams => Cell::new(self.disk_params()),
            F::CustomDiskParams => Cell::new(objects(&g.diskparams)),
            F::Ipolicy => Cell::new(object(fill::group_ipolicy(cluster, g).to_map())),
            F::CustomIpolicy => Cell::new(object(g.ipolicy.clone())),
            F::Ctime => Cell::new(g.ctime),
            F::Mtime => Cell::new(g.mtime),
            F::SerialNo => Cell::new(g.serial_no),
            F::Tags => Cell::list(g.tags.iter().map(String::as_str)),
        }
    }
}

/// Parameters as a dict.
pub(super) fn object(params: ParamMap) -> Value {
    Value::Object(params.into_iter().collect())
}

/// Parameters by what they are for, as a dict of dicts.
pub(super) fn objects(params: &BTreeMap<String, ParamMap>) -> Value {
    params.iter().map(|(name, params)| (name.clone(), object(params.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::testing::{cells, error, world};
    use roost_proto::query::{Field, Resource};
    use serde_json::json;

    #[test]
    fn a_group_as_ganeti_shows_it() {
        let world = world();
        let fields = ["name", "alloc_policy", "node_cnt", "node_list", "pinst_cnt", "pinst_list"];
        let rows = cells(&world, Resource::Group, &fields, &[]);
        let nodes: Vec<_> = (1..=5).map(|n| format!("node{n}.example.org")).collect();
        let instances: Vec<_> = (1..=3).map(|n| format!("inst{n}.example.org")).collect();
        let expected =
            json!([[[0, "default"], [0, "preferred"], [0, 5], [0, nodes], [0, 3], [0, instances]]]);
        assert_eq!(serde_json::to_value(rows).expect("plain data"), expected);
    }

    #[test]
    fn parameters_are_merged() {
        let world = world();
        let fields = ["ndparams", "ndp/ssh_port", "diskparams", "ipolicy", "custom_ipolicy"];
        let row = cells(&world, Resource::Group, &fields, &["default"]).remove(0);
        assert_eq!(row[0].value["ovs_name"], "switch1");
        assert_eq!(row[1], Cell::new(22));
        let templates = row[2].value.as_object().expect("a dict");
        assert_eq!(templates.len(), DiskTemplate::ALL.len());
        assert_eq!(templates["drbd"]["metavg"], "vgtest");
        assert_eq!(row[3].value["minmax"][0]["max"]["cpu-count"], 8);
        assert_eq!(row[3].value["vcpu-ratio"], 1.0);
        assert_eq!(row[4], Cell::new(json!({})));
    }

    #[test]
    fn every_field_has_a_cell() {
        let names: Vec<_> = F::all().iter().map(|f| f.def().name.into_owned()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let row = &cells(&world(), Resource::Group, &names, &[])[0];
        assert!(row.iter().all(|cell| *cell != Cell::UNKNOWN), "{row:?}");
    }

    #[test]
    fn unknown_groups_are_errors() {
        let error = error(&world(), Resource::Group, &["name"], &["default", "nope"]);
        assert_eq!(error.message, "Node group 'nope' not known");
    }
}
