//! Which hypervisors are enabled, and their parameters: for all instances, and for those of an OS.

use crate::config::Config;
use crate::ops::Context;
use roost_proto::choices::Hypervisor;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::nicesort;
use roost_proto::node::Question;
use roost_proto::objects::Cluster;
use roost_proto::opcodes::ClusterSetParams;
use roost_proto::params::{ParamMap, fill, hypervisor};
use std::collections::BTreeSet;

/// At least one stays, none twice, and none that instances use goes.
pub fn check_enabled(op: &ClusterSetParams, config: &Config) -> Result<()> {
    let Some(enabled) = &op.enabled_hypervisors else { return Ok(()) };
    if enabled.is_empty() {
        return Err(Error::wrong_input("At least one hypervisor must be enabled"));
    }
    if let Some(twice) = enabled.iter().enumerate().find(|(i, hv)| enabled[..*i].contains(hv)) {
        return Err(Error::wrong_input(format!("Hypervisor '{}' is given twice", twice.1)));
    }
    for gone in config.cluster.enabled_hypervisors.iter().filter(|hv| !enabled.contains(hv)) {
        let mut users: Vec<_> = config
            .instances
            .values()
            .filter(|i| i.hypervisor == *gone)
            .map(|i| i.name.to_string())
            .collect();
        if !users.is_empty() {
            nicesort::sort(&mut users);
            return Err(Error::wrong_state(format!(
                "Cannot disable hypervisor '{gone}', because these instances use it: {}",
                users.join(", ")
            )));
        }
    }
    Ok(())
}

/// Puts the settings into a cluster. Errors: `wrong_input`.
pub fn put_into(op: &ClusterSetParams, new: &mut Cluster) -> Result<()> {
    if let Some(enabled) = &op.enabled_hypervisors {
        new.enabled_hypervisors.clone_from(enabled);
    }
    for (hv, given) in op.hvparams.iter().flatten() {
        let given = hypervisor::typed(*hv, given, hypervisor::Scope::Cluster)?;
        new.hvparams = fill::modified_each(&new.hvparams, [(*hv, given)]);
    }
    for (os, by_hv) in op.os_hvp.iter().flatten() {
        let mut layers = new.os_hvp.get(os).cloned().unwrap_or_default();
        for (hv, given) in by_hv {
            let given = hypervisor::typed(*hv, given, hypervisor::Scope::Instance)?;
            layers = fill::modified_each(&layers, [(*hv, given)]);
        }
        match layers.is_empty() {
            true => new.os_hvp.remove(os),
            false => new.os_hvp.insert(os.clone(), layers),
        };
    }
    for (place, hv, filled) in changed(op, new) {
        hypervisor::check_hvparams(hv, &filled).map_err(|e| e.at(place))?;
    }
    Ok(())
}

/// The filled parameters that this changes: where, of what, and the values.
fn changed(op: &ClusterSetParams, new: &Cluster) -> Vec<(String, Hypervisor, ParamMap)> {
    let mut of_cluster: BTreeSet<Hypervisor> =
        op.hvparams.iter().flat_map(|by_hv| by_hv.keys().copied()).collect();
    of_cluster.extend(op.enabled_hypervisors.iter().flatten());
    let mut changed: Vec<_> = of_cluster
        .into_iter()
        .map(|hv| (format!("Parameters of {hv}"), hv, fill::cluster_hvparams(new, hv)))
        .collect();
    for (os, by_hv) in op.os_hvp.iter().flatten() {
        changed.extend(by_hv.keys().map(|hv| {
            let filled = fill::hvparams(new, *hv, os, &ParamMap::new());
            (format!("Parameters of {hv} for OS {os}"), *hv, filled)
        }));
    }
    changed
}

/// Whether nodes can do what the parameters of enabled hypervisors ask.
pub fn questions(op: &ClusterSetParams, config: &Config) -> Result<Vec<(NodeId, Question)>> {
    let mut new = (*config.cluster).clone();
    put_into(op, &mut new)?;
    let mut questions = Vec::new();
    for (_, hypervisor, hvparams) in changed(op, &new) {
        if !new.enabled_hypervisors.contains(&hypervisor) {
            continue;
        }
        for node in config.online_nodes().filter(|n| n.vm_capable) {
            let hvparams = hvparams.clone();
            questions.push((node.uuid, Question::HvValidate { hypervisor, hvparams }));
        }
    }
    Ok(questions)
}

/// All nodes can.
pub fn check_answers(cx: &Context<'_, '_>) -> Result<()> {
    for (node, question, answer) in cx.answers() {
        if let (Question::HvValidate { hypervisor, .. }, Err(error)) = (question, answer) {
            return Err(Error::environment(format!(
                "Hypervisor parameter validation of {hypervisor} failed on node {}: {error}",
                cx.config().node_name(*node)
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::given as op;
    use super::*;
    use crate::ops::testing::Site;
    use roost_proto::node::Answer;
    use serde_json::json;

    #[test]
    fn parameters_of_the_cluster_and_of_an_os() {
        let mut site = Site::new(&["node1", "node2"]);
        site.node("node2", |n| n.offline = true);
        let first = op(json!({
            "enabled_hypervisors": ["kvm", "fake"],
            "hvparams": {"kvm": {"kernel_path": "", "vnc_bind_address": "127.0.0.1"}},
            "os_hvp": {"tiny": {"kvm": {"acpi": "no"}}},
        }));
        let asked = site.questions(first.clone());
        let short: Vec<_> = asked
            .iter()
            .map(|(node, question)| match question {
                Question::HvValidate { hypervisor, hvparams } => {
                    (node.as_str(), hypervisor.as_str(), hvparams.get("acpi").cloned())
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            short,
            [
                ("node1", "kvm", Some(json!(true))),
                ("node1", "fake", None),
                ("node1", "kvm", Some(json!(false))),
            ]
        );
        site.run(first);
        let cluster = &site.config.cluster;
        assert_eq!(cluster.default_hypervisor(), Some(Hypervisor::Kvm));
        assert_eq!(
            json!(cluster.hvparams),
            json!({"kvm": {"kernel_path": "", "vnc_bind_address": "127.0.0.1"}})
        );
        site.run(op(json!({
            "hvparams": {"kvm": {"kernel_path": "default", "vnc_bind_address": "default"}},
            "os_hvp": {"tiny": {"kvm": {"acpi": "default"}}},
        })));
        assert!(site.config.cluster.hvparams.is_empty());
        assert!(site.config.cluster.os_hvp.is_empty());
    }

    #[test]
    fn refusals() {
        let mut site = Site::new(&["node1"]);
        site.instance("web", "node1", |_| {});
        assert_eq!(
            site.refusal(op(json!({"enabled_hypervisors": ["kvm"]}))),
            Error::wrong_state(
                "Cannot disable hypervisor 'fake', because these instances use it: web"
            )
        );
        assert_eq!(
            site.refusal(op(json!({"enabled_hypervisors": []}))),
            Error::wrong_input("At least one hypervisor must be enabled")
        );
        let twice = site.refusal(op(json!({"enabled_hypervisors": ["fake", "fake"]})));
        assert!(twice.message.contains("'fake' is given twice"), "{twice}");
        let unfit = op(json!({"hvparams": {"kvm": {"kvm_path": ""}}}));
        assert!(site.refusal(unfit).message.starts_with("Parameters of kvm: The kvm hypervisor"),);
        let global = op(json!({"os_hvp": {"tiny": {"kvm": {"migration_port": 1}}}}));
        assert!(site.refusal(global).message.contains("is global"));
        let unable = op(json!({"enabled_hypervisors": ["fake", "kvm"]}));
        let asked = site.questions(unable.clone());
        for (node, question) in asked {
            let is_kvm =
                matches!(question, Question::HvValidate { hypervisor: Hypervisor::Kvm, .. });
            let answer = if is_kvm { Err(Error::exec("no qemu")) } else { Ok(Answer::Done) };
            site.answer(&node, question, answer);
        }
        assert_eq!(
            site.refusal(unable),
            Error::environment(
                "Hypervisor parameter validation of kvm failed on node node1: no qemu"
            )
        );
    }
}
