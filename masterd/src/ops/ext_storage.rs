//! `OP_EXT_STORAGE_DIAGNOSE`: external storage providers, as all nodes together have them.
//!
//! In a node group one is valid if every node of the group that answered has it and finds it valid.
//! Its parameters are those that every such node knows, of all groups where it is valid.

use super::node::rows;
use super::{Context, Operate};
use crate::config::Config;
use crate::jobs::locks::LockSet;
use crate::jobs::plan::Plan;
use roost_proto::error::Result;
use roost_proto::ids::NodeId;
use roost_proto::nicesort;
use roost_proto::node::{Answer, ExtReport, Question};
use roost_proto::opcodes::ExtStorageDiagnose;
use roost_proto::query::fields::ExtStorageField as F;
use serde_json::{Value, json};
use std::collections::BTreeMap;

impl Operate for ExtStorageDiagnose {
    fn locks(&self, _: &Config) -> Result<LockSet> {
        Ok(LockSet::new())
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let nodes = config.online_nodes().filter(|n| n.vm_capable);
        Ok(nodes.map(|n| (n.uuid, Question::ExtProviders)).collect())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let fields = rows::fields::<F>(&self.output_fields)?;
        let nodes = answered(cx);
        let mut names: Vec<&str> =
            nodes.iter().flat_map(|node| node.list.iter().map(|p| p.name.as_str())).collect();
        nicesort::sort(&mut names);
        names.dedup();
        let named = |name: &&str| self.names.is_empty() || self.names.iter().any(|n| n == name);
        let row = |name| -> Value {
            let provider = Provider { name, nodes: &nodes };
            fields.iter().map(|field| provider.field(*field)).collect()
        };
        let rows: Vec<Value> = names.into_iter().filter(named).map(row).collect();
        Ok(Plan { result: Value::Array(rows), ..cx.start_plan() })
    }
}

/// What a node that answered has.
struct Node<'a> {
    name: String,
    group: String,
    list: &'a [ExtReport],
}

impl<'a> Node<'a> {
    fn find(&self, provider: &str) -> Option<&'a ExtReport> {
        self.list.iter().find(|found| found.name == provider)
    }
}

fn answered<'a>(cx: &mut Context<'_, 'a>) -> Vec<Node<'a>> {
    let mut nodes = Vec::new();
    for (node, _, answer) in cx.answers() {
        let name = cx.config().node_name(*node);
        let group = cx.config().nodes.get(node).map(|node| node.group);
        let group = group.and_then(|group| cx.config().groups.get(&group));
        let group = group.map(|group| group.name.to_string()).unwrap_or_default();
        match answer {
            Ok(Answer::ExtProviders(list)) => nodes.push(Node { name, group, list }),
            Ok(_) => {}
            Err(error) => {
                cx.warn(format!("Can't get ExtStorage providers from node {name}: {error}"));
            }
        }
    }
    nicesort::sort_by_key(&mut nodes, |node| node.name.clone());
    nodes
}

/// A provider as all nodes together have it.
struct Provider<'a> {
    name: &'a str,
    nodes: &'a [Node<'a>],
}

impl Provider<'_> {
    fn field(&self, field: F) -> Value {
        match field {
            F::Name => json!(self.name),
            F::NodeStatus => self.node_status(),
            F::NodegroupStatus => json!(self.groups()),
            F::Parameters => self.parameters(),
        }
    }

    /// By node: `[[path, valid, problem, parameters]]`, empty where it is not.
    fn node_status(&self) -> Value {
        let status = |node: &Node<'_>| {
            let found = node.find(self.name).into_iter();
            let entries = found.map(|p| json!([p.path, p.valid, p.problem, p.parameters]));
            (node.name.clone(), entries.collect::<Value>())
        };
        Value::Object(self.nodes.iter().map(status).collect())
    }

    /// By node group: whether it is valid there.
    fn groups(&self) -> BTreeMap<&str, bool> {
        let mut groups = BTreeMap::new();
        for node in self.nodes {
            let valid = node.find(self.name).is_some_and(|found| found.valid);
            *groups.entry(node.group.as_str()).or_insert(true) &= valid;
        }
        groups
    }

    fn parameters(&self) -> Value {
        let groups = self.groups();
        let counts = |node: &&Node<'_>| groups.get(node.group.as_str()) == Some(&true);
        let mut lists =
            self.nodes.iter().filter(counts).filter_map(|n| Some(&n.find(self.name)?.parameters));
        let Some(first) = lists.next() else { return json!([]) };
        let others: Vec<_> = lists.collect();
        let everywhere = |(name, _): &&(String, String)| {
            others.iter().all(|list| list.iter().any(|(other, _)| other == name))
        };
        first.iter().filter(everywhere).map(|parameter| json!(parameter)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, new_group};
    use roost_proto::error::Error;

    fn report(name: &str, parameters: &[&str]) -> ExtReport {
        ExtReport {
            name: name.into(),
            path: format!("/srv/{name}"),
            valid: true,
            problem: String::new(),
            parameters: parameters.iter().map(|p| ((*p).to_owned(), format!("the {p}"))).collect(),
        }
    }

    fn site() -> Site {
        let mut site = Site::new(&["node1", "node2", "node3", "node4"]);
        site.group("far");
        site.node("node3", |node| node.group = new_group("far").uuid);
        let providers = |list| Ok(Answer::ExtProviders(list));
        let list = vec![report("san", &["pool", "copies"]), report("loop", &["dir"])];
        site.answer("node1", Question::ExtProviders, providers(list));
        let list = vec![report("san", &["speed", "pool"])];
        site.answer("node2", Question::ExtProviders, providers(list));
        let broken = ExtReport {
            valid: false,
            problem: "its script 'grow' is missing".into(),
            parameters: vec![],
            ..report("san", &[])
        };
        site.answer("node3", Question::ExtProviders, providers(vec![broken]));
        site.answer("node4", Question::ExtProviders, Err(Error::exec("silent")));
        site
    }

    #[test]
    fn by_node_and_by_group() {
        let fields = ["name", "node_status", "nodegroup_status", "parameters"];
        let fields: Vec<String> = fields.iter().map(|f| (*f).to_owned()).collect();
        let plan = site().plan(ExtStorageDiagnose::new(fields)).expect("a plan");
        assert_eq!(
            plan.say,
            [" - WARNING: Can't get ExtStorage providers from node node4: silent"]
        );
        let all = plan.result;
        assert_eq!((&all[0][0], &all[1][0]), (&json!("loop"), &json!("san")));
        assert_eq!(all[0][1]["node2"], json!([]));
        assert_eq!(all[0][2], json!({"default": false, "far": false}));
        assert_eq!(all[0][3], json!([]));
        assert_eq!(
            all[1][1]["node3"],
            json!([["/srv/san", false, "its script 'grow' is missing", []]])
        );
        assert_eq!(all[1][2], json!({"default": true, "far": false}));
        assert_eq!(all[1][3], json!([["pool", "the pool"]]));
    }

    #[test]
    fn those_that_are_named() {
        let named = |names: &[&str]| ExtStorageDiagnose {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            ..ExtStorageDiagnose::new(vec!["name".to_owned()])
        };
        assert_eq!(site().plan(named(&["san"])).expect("a plan").result, json!([["san"]]));
        assert_eq!(site().plan(named(&["none"])).expect("a plan").result, json!([]));
    }
}
