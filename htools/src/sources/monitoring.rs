//! How busy processors are, as the nodes' monitoring daemons report it.
//!
//! ```text
//!   cpu-avg-load      of a node ──► split over its primary instances by their VCPUs
//!   xen-cpu-avg-load  of each instance ─────────────────────────────────────────────► their CPU figure
//! ```
//!
//! All or nothing: a balance of some measured figures and some assumed ones would move instances for no reason.
//! So every node has to report; but for offline nodes without primary instances, which have nothing to say.
//! Source: Ganeti's reference on htools, dynamic utilisation, and on the monitoring daemon.

use super::Malformed;
use super::record::{excerpt, real};
use crate::model::{Cluster, NodeIdx};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};

/// A collector that is of use here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collector {
    Cpu,
    XenCpu,
}

impl Collector {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Collector::Cpu => "cpu-avg-load",
            Collector::XenCpu => "xen-cpu-avg-load",
        }
    }

    /// Where a monitoring daemon has its report.
    pub fn path(self) -> String {
        format!("/1/report/default/{}", self.name())
    }

    /// What there is in a report of its. None: nothing yet, or it is no such report.
    pub fn read(self, report: &Value) -> Option<Load> {
        if report.get("name")?.as_str()? != self.name() {
            return None;
        }
        let data = report.get("data")?;
        match self {
            Collector::Cpu => data.get("cpu_total").and_then(real).map(Load::Node),
            Collector::XenCpu => {
                let object = data.as_object()?.iter();
                let each = object.map(|(name, load)| Some((name.clone(), real(load)?)));
                each.collect::<Option<_>>().map(Load::Instances)
            }
        }
    }
}

/// What a node reports, in CPUs.
#[derive(Clone, Debug, PartialEq)]
pub enum Load {
    Node(f64),
    Instances(HashMap<String, f64>),
}

/// Reports by the name of their node, as somebody saved them: `[{"node": …, "reports": […]}]`.
pub fn read(document: &str, text: &str) -> Result<HashMap<String, Vec<Value>>, Malformed> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| Malformed::json(document, &error))?;
    let wrong = |value: &Value, what: &str| {
        Malformed::document(document, format!("{} is not {what}", excerpt(value)))
    };
    let list = value.as_array().ok_or_else(|| wrong(&value, "a list"))?;
    let mut reports = HashMap::new();
    for (at, entry) in list.iter().enumerate() {
        let missing = |field: &str, what: &str| Malformed {
            position: format!("element {}", at + 1),
            field: field.to_owned(),
            ..Malformed::document(document, format!("{what} is expected"))
        };
        let node = entry.get("node").and_then(Value::as_str);
        let node = node.ok_or_else(|| missing("node", "the name of a node"))?;
        let list = entry.get("reports").and_then(Value::as_array);
        let list = list.ok_or_else(|| missing("reports", "a list"))?;
        reports.insert(node.to_owned(), list.clone());
    }
    Ok(reports)
}

/// Nodes whose report is needed.
pub fn asked(cluster: &Cluster) -> Vec<NodeIdx> {
    let with_primaries: BTreeSet<NodeIdx> =
        cluster.instances.iter().map(|instance| instance.primary).collect();
    let all = (0..cluster.nodes.len()).map(NodeIdx::of);
    all.filter(|node| !cluster.nodes[node.at()].offline || with_primaries.contains(node)).collect()
}

/// Sets what instances use of processors. `loads`: by node. Errors: why the data are not used; the cluster is
/// as it was.
pub fn apply(
    cluster: &mut Cluster,
    collector: Collector,
    loads: &HashMap<NodeIdx, Load>,
) -> Result<(), String> {
    if asked(cluster).iter().any(|node| !loads.contains_key(node)) {
        return Err(format!(
            "Didn't receive an answer by all MonDs, {}'s data will be ignored.",
            collector.name()
        ));
    }
    match collector {
        Collector::Cpu => {
            apply_nodes(cluster, loads);
            Ok(())
        }
        Collector::XenCpu => apply_instances(cluster, loads),
    }
}

fn apply_nodes(cluster: &mut Cluster, loads: &HashMap<NodeIdx, Load>) {
    let vcpus = vcpus(cluster);
    let mut own = vec![0.0; cluster.nodes.len()];
    for (node, load) in loads {
        if let (Load::Node(total), Some(own)) = (load, own.get_mut(node.at())) {
            *own = *total;
        }
    }
    for instance in &mut cluster.instances {
        let Some(Load::Node(total)) = loads.get(&instance.primary) else { continue };
        let all = vcpus[instance.primary.at()];
        // A node without any has nothing to split.
        let load = if all > 0 { total / all as f64 * instance.vcpus as f64 } else { 0.0 };
        instance.utilisation.cpu = load;
        own[instance.primary.at()] -= load;
    }
    // What the node itself takes counts for its load, and stays when instances leave.
    cluster.own_cpu_load = own;
}

/// By node: virtual CPUs that are in use there, its own among them.
fn vcpus(cluster: &Cluster) -> Vec<i64> {
    let mut vcpus: Vec<i64> = cluster.nodes.iter().map(|node| node.node_cpus).collect();
    for instance in &cluster.instances {
        if instance.status.online()
            && !instance.forthcoming
            && let Some(sum) = vcpus.get_mut(instance.primary.at())
        {
            *sum += instance.vcpus;
        }
    }
    vcpus
}

fn apply_instances(cluster: &mut Cluster, loads: &HashMap<NodeIdx, Load>) -> Result<(), String> {
    let mut known: HashMap<&str, f64> = HashMap::new();
    for load in loads.values() {
        if let Load::Instances(instances) = load {
            known.extend(instances.iter().map(|(name, load)| (name.as_str(), *load)));
        }
    }
    let names = cluster.instances.iter().map(|instance| instance.name.as_str());
    let missing: BTreeSet<&str> = names.filter(|name| !known.contains_key(name)).collect();
    if !missing.is_empty() {
        let missing: Vec<String> = missing.into_iter().map(|name| format!("{name:?}")).collect();
        return Err(format!("No CPU information available for [{}]", missing.join(",")));
    }
    for instance in &mut cluster.instances {
        if let Some(load) = known.get(instance.name.as_str()) {
            instance.utilisation.cpu = *load;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::Score;
    use crate::state::{Options, Placement};
    use crate::text;
    use proptest::prelude::*;
    use serde_json::json;

    /// Two nodes with two instances each, and one that is offline and empty.
    const CLUSTER: &str = "\
group-01|u1|preferred||

n1|16384|0|12288|102400|51200|8|M|u1|1||N|0|1|1.0
n2|16384|0|12288|102400|51200|8|N|u1|1||N|0|1|1.0
n3|16384|0|16384|102400|102400|8|Y|u1|1||N|0|1|1.0

i1|2048|25600|2|running|Y|n1|n2|drbd||1|-
i2|2048|25600|2|running|Y|n1|n2|drbd||1|-
i3|2048|25600|3|running|Y|n2|n1|drbd||1|-
i4|2048|25600|3|ADMIN_down|Y|n2|n1|drbd||1|-


";

    fn cluster() -> Cluster {
        text::read(CLUSTER).expect("cluster")
    }

    fn cpu(cluster: &Cluster) -> Vec<f64> {
        cluster.instances.iter().map(|instance| instance.utilisation.cpu).collect()
    }

    fn nodes(loads: &[f64]) -> HashMap<NodeIdx, Load> {
        loads.iter().enumerate().map(|(at, load)| (NodeIdx::of(at), Load::Node(*load))).collect()
    }

    /// The score is that of Ganeti 3.0.2's hbal with these reports.
    #[test]
    fn a_nodes_load_is_split_over_its_instances_by_their_vcpus() {
        let mut cluster = cluster();
        apply(&mut cluster, Collector::Cpu, &nodes(&[3.5, 1.5])).expect("all have reported");
        let wanted = [3.5 / 5.0 * 2.0, 3.5 / 5.0 * 2.0, 1.5 / 7.0 * 3.0, 1.5 / 7.0 * 3.0];
        assert_eq!(cpu(&cluster), wanted);
        let all: Vec<NodeIdx> = (0..3).map(NodeIdx).collect();
        let placement = Placement::new(cluster, &Options::default());
        assert_eq!(format!("{:.8}", Score::of(&placement, &all).total), "1.28125000");
    }

    #[test]
    fn without_the_report_of_any_node_nothing_changes() {
        let mut given = cluster();
        let error = apply(&mut given, Collector::Cpu, &nodes(&[3.5])).expect_err("n2 is missing");
        assert_eq!(
            error,
            "Didn't receive an answer by all MonDs, cpu-avg-load's data will be ignored."
        );
        assert_eq!(given, cluster());
        given.instances[0].primary = NodeIdx(2);
        assert_eq!(asked(&given).len(), 3, "an offline node with a primary instance counts");
    }

    #[test]
    fn xen_tells_of_each_instance() {
        let loads = |names: &[(&str, f64)]| {
            let all = names.iter().map(|(name, load)| ((*name).to_owned(), *load)).collect();
            let none = Load::Instances(HashMap::new());
            HashMap::from([(NodeIdx(0), Load::Instances(all)), (NodeIdx(1), none)])
        };
        let mut given = cluster();
        let some = loads(&[("i1", 0.5), ("i3", 0.25)]);
        assert_eq!(
            apply(&mut given, Collector::XenCpu, &some),
            Err(r#"No CPU information available for ["i2","i4"]"#.to_owned())
        );
        assert_eq!(given, cluster());
        let all = loads(&[("i1", 0.5), ("i2", 0.0), ("i3", 0.25), ("i4", 0.125), ("other", 9.0)]);
        apply(&mut given, Collector::XenCpu, &all).expect("all are there");
        assert_eq!(cpu(&given), [0.5, 0.0, 0.25, 0.125]);
    }

    #[test]
    fn reports_are_those_of_the_monitoring_daemon() {
        let report = |name: &str, data: Value| {
            json!({"name": name, "version": "B", "format_version": 1, "timestamp": 1,
                   "category": null, "kind": 0, "data": data})
        };
        let load = json!({"cpu_number": 2, "cpus": [1.0, 0.9983], "cpu_total": 1.9987});
        let read = |collector: Collector, name, data| collector.read(&report(name, data));
        assert_eq!(read(Collector::Cpu, "cpu-avg-load", load.clone()), Some(Load::Node(1.9987)));
        assert_eq!(read(Collector::Cpu, "diskstats", load), None);
        assert_eq!(read(Collector::Cpu, "cpu-avg-load", json!({"error": "Empty buffer"})), None);
        let xen = read(Collector::XenCpu, "xen-cpu-avg-load", json!({"i1": 0.5}));
        assert_eq!(xen, Some(Load::Instances(HashMap::from([("i1".to_owned(), 0.5)]))));
        assert_eq!(read(Collector::XenCpu, "xen-cpu-avg-load", json!({"i1": "x"})), None);
        assert_eq!(Collector::Cpu.path(), "/1/report/default/cpu-avg-load");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_named() {
        let error = |text: &str| read("f", text).expect_err(text).to_string();
        assert_eq!(error("[\n{]"), "f: line 2, column 2: malformed JSON: key must be a string");
        assert_eq!(error("{}"), "f: {} is not a list");
        assert_eq!(error("[{}]"), "f: element 1: node: the name of a node is expected");
        assert_eq!(error(r#"[{"node": "a"}]"#), "f: element 1: reports: a list is expected");
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(text in r#"([\[\]{}:,]|"node"|"reports"|"data"|1e9|null){0,12}"#) {
            for reports in read("f", &text).unwrap_or_default().values() {
                for report in reports {
                    let _ = (Collector::Cpu.read(report), Collector::XenCpu.read(report));
                }
            }
        }
    }
}
