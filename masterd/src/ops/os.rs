//! `OP_OS_DIAGNOSE`: guest operating systems, as all nodes together have them.
//!
//! One is valid if it is valid on every node that answered; its variants, parameters and interface
//! versions are those that every node has.

use super::node::rows;
use super::{Context, Operate};
use crate::config::Config;
use crate::jobs::locks::LockSet;
use crate::jobs::plan::Plan;
use roost_proto::error::Result;
use roost_proto::ids::NodeId;
use roost_proto::nicesort;
use roost_proto::node::{Answer, OsReport, Question};
use roost_proto::objects::Cluster;
use roost_proto::opcodes::OsDiagnose;
use roost_proto::query::fields::OsField as F;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

impl Operate for OsDiagnose {
    fn locks(&self, _: &Config) -> Result<LockSet> {
        Ok(LockSet::new())
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let nodes = config.online_nodes().filter(|n| n.vm_capable);
        Ok(nodes.map(|n| (n.uuid, Question::OsList)).collect())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let fields = rows::fields::<F>(&self.output_fields)?;
        let wants = |field| fields.contains(&field);
        let cluster = &cx.config().cluster;
        let mut result = Vec::new();
        for (name, found) in gather(cx) {
            let os = Os::of(name, found, cluster);
            let named = self.names.is_empty() || self.names.iter().any(|n| n == name);
            // As in Ganeti: who does not ask for these does not want to see such ones.
            let shown = (wants(F::Hidden) || !os.hidden)
                && (wants(F::Blacklisted) || !os.blacklisted)
                && (wants(F::Valid) || os.valid);
            if named && shown {
                result.push(fields.iter().map(|field| os.field(*field, cluster)).collect());
            }
        }
        Ok(Plan { result: Value::Array(result), ..cx.start_plan() })
    }
}

/// What each node that answered says of each OS, by name; a node without it says nothing.
type Found<'a> = Vec<(String, Option<&'a OsReport>)>;

fn gather<'a>(cx: &mut Context<'_, 'a>) -> Vec<(&'a str, Found<'a>)> {
    let mut lists: Vec<(String, &'a [OsReport])> = Vec::new();
    for (node, _, answer) in cx.answers() {
        let name = cx.config().node_name(*node);
        match answer {
            Ok(Answer::Os(list)) => lists.push((name, list)),
            Ok(_) => {}
            Err(error) => cx.warn(format!("Can't get OS definitions from node {name}: {error}")),
        }
    }
    nicesort::sort_by_key(&mut lists, |(name, _)| name.clone());
    let mut names: Vec<&str> =
        lists.iter().flat_map(|(_, list)| list.iter().map(|os| os.name.as_str())).collect();
    nicesort::sort(&mut names);
    names.dedup();
    let on_all = |name: &'a str| {
        let on = |list: &'a [OsReport]| list.iter().find(|os| os.name == name);
        (name, lists.iter().map(|(node, list)| (node.clone(), on(list))).collect())
    };
    names.into_iter().map(on_all).collect()
}

/// An OS as all nodes together have it.
#[derive(Debug)]
struct Os<'a> {
    name: &'a str,
    found: Found<'a>,
    valid: bool,
    hidden: bool,
    blacklisted: bool,
    variants: Vec<String>,
    parameters: Vec<(String, String)>,
    api_versions: Vec<u32>,
    trusted: bool,
}

impl<'a> Os<'a> {
    fn of(name: &'a str, found: Found<'a>, cluster: &Cluster) -> Os<'a> {
        let is_listed = |list: &[String]| list.iter().any(|os| os == name);
        let reports: Vec<&OsReport> = found.iter().filter_map(|(_, report)| *report).collect();
        let valid = reports.len() == found.len() && reports.iter().all(|report| report.valid);
        let mut os = Os {
            name,
            valid,
            hidden: is_listed(&cluster.hidden_os),
            blacklisted: is_listed(&cluster.blacklisted_os),
            variants: vec![],
            parameters: vec![],
            api_versions: vec![],
            trusted: true,
            found,
        };
        if let (true, Some((first, others))) = (valid, reports.split_first()) {
            os.variants = common(others, &first.variants, |report| &report.variants);
            os.parameters = common(others, &first.parameters, |report| &report.parameters);
            os.api_versions = common(others, &first.api_versions, |report| &report.api_versions);
            os.trusted = reports.iter().all(|report| report.trusted);
        }
        os
    }

    fn field(&self, field: F, cluster: &Cluster) -> Value {
        match field {
            F::Name => json!(self.name),
            F::Valid => json!(self.valid),
            F::Hidden => json!(self.hidden),
            F::Blacklisted => json!(self.blacklisted),
            F::Variants => json!(self.variants),
            F::ApiVersions => json!(self.api_versions),
            F::Parameters => json!(self.parameters),
            F::Trusted => json!(self.trusted),
            F::NodeStatus => self.node_status(),
            F::OsHvp => self.settings(&cluster.os_hvp),
            F::OsParams => self.settings(&cluster.osparams),
        }
    }

    /// By node: `[[path, valid, problem, variants, parameters, API versions, trusted]]`.
    fn node_status(&self) -> Value {
        let status = |(node, report): &(String, Option<&OsReport>)| {
            let entries = report.iter().map(|r| {
                json!([
                    r.path,
                    r.valid,
                    r.problem,
                    r.variants,
                    r.parameters,
                    r.api_versions,
                    r.trusted
                ])
            });
            (node.clone(), entries.collect::<Value>())
        };
        Value::Object(self.found.iter().map(status).collect())
    }

    /// What is set for it in the cluster, by its name alone and with each variant.
    fn settings<T: serde::Serialize>(&self, of: &BTreeMap<String, T>) -> Value {
        let with = self.variants.iter().map(|variant| format!("{}+{variant}", self.name));
        let names = std::iter::once(self.name.to_owned()).chain(with);
        let found = names.filter_map(|name| Some((name.clone(), json!(of.get(&name)?))));
        Value::Object(found.collect::<Map<_, _>>())
    }
}

/// The items that all have, in the order of the first.
fn common<'r, T: Clone + PartialEq + 'r>(
    others: &[&'r OsReport],
    first: &[T],
    list: impl Fn(&'r OsReport) -> &'r Vec<T>,
) -> Vec<T> {
    let everywhere = |item: &&T| others.iter().all(|report| list(report).contains(item));
    first.iter().filter(everywhere).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;
    use roost_proto::error::Error;

    fn op(fields: &[&str]) -> OsDiagnose {
        OsDiagnose::new(fields.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>())
    }

    fn report(name: &str, variants: &[&str]) -> OsReport {
        OsReport {
            name: name.into(),
            path: format!("/srv/{name}"),
            valid: true,
            problem: String::new(),
            api_versions: vec![20],
            variants: variants.iter().map(|v| (*v).to_owned()).collect(),
            parameters: vec![("size".into(), "how large".into())],
            trusted: true,
        }
    }

    fn site() -> Site {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        let list = vec![report("tiny", &["a", "b"]), report("old", &[]), report("half", &[])];
        site.answer("node1", Question::OsList, Ok(Answer::Os(list)));
        let broken = OsReport {
            valid: false,
            problem: "no create script".into(),
            ..OsReport { name: "half".into(), path: "/srv/half".into(), ..OsReport::default() }
        };
        let list = vec![broken, report("tiny", &["b", "c"]), report("old", &[])];
        site.answer("node2", Question::OsList, Ok(Answer::Os(list)));
        site.answer("node3", Question::OsList, Err(Error::exec("silent")));
        site.cluster(|c| {
            c.hidden_os = vec!["old".into()];
            c.osparams = [
                ("tiny".to_owned(), [("size".to_owned(), json!("s"))].into()),
                ("tiny+b".to_owned(), [("size".to_owned(), json!("m"))].into()),
                ("tiny+a".to_owned(), [("size".to_owned(), json!("l"))].into()),
            ]
            .into();
        });
        site
    }

    #[test]
    fn who_does_not_ask_sees_what_can_be_used() {
        let site = site();
        let plan = site.plan(op(&["name", "variants"])).expect("a plan");
        assert_eq!(plan.result, json!([["tiny", ["b"]]]));
        assert_eq!(plan.say, [" - WARNING: Can't get OS definitions from node node3: silent"]);
        let named = OsDiagnose { names: vec!["other".into()], ..op(&["name"]) };
        assert_eq!(site.plan(named).expect("a plan").result, json!([]));
    }

    #[test]
    fn who_asks_sees_all() {
        let plan = site().plan(op(&["name", "valid", "hidden", "blacklisted"])).expect("a plan");
        assert_eq!(
            plan.result,
            json!([
                ["half", false, false, false],
                ["old", true, true, false],
                ["tiny", true, false, false],
            ])
        );
    }

    #[test]
    fn what_each_node_says() {
        let site = site();
        let fields = ["valid", "node_status", "parameters", "api_versions", "trusted", "osparams"];
        let half = OsDiagnose { names: vec!["half".into()], ..op(&fields) };
        let half = site.plan(half).expect("a plan").result;
        assert_eq!(
            half[0][1]["node2"],
            json!([["/srv/half", false, "no create script", [], [], [], false]])
        );
        assert_eq!(half[0][2], json!([]));
        let tiny = OsDiagnose { names: vec!["tiny".into()], ..op(&fields) };
        let tiny = site.plan(tiny).expect("a plan").result;
        assert_eq!(tiny[0][2], json!([["size", "how large"]]));
        assert_eq!(tiny[0][3], json!([20]));
        assert_eq!(tiny[0][4], true);
        assert_eq!(tiny[0][5], json!({"tiny": {"size": "s"}, "tiny+b": {"size": "m"}}));
    }
}
