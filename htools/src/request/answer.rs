//! Answering a request.

use super::opcodes::{job, quoted, quoted_list};
use super::{Asked, Wanted};
use crate::allocate::{
    self, Allocation, Evacuation, NoAllocation, Rules, allocate, allocate_all, allocate_secondary,
    relocate,
};
use crate::model::{Cluster, GroupIdx, InstanceIdx, NodeIdx};
use crate::state::{Options, Placement};

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub success: bool,
    /// For people.
    pub info: String,
    /// As JSON.
    pub result: String,
    /// The placement if it is done as the answer says.
    pub placement: Placement,
}

impl Answer {
    /// As the protocol has it, in one line.
    pub fn to_json(&self) -> String {
        let Answer { success, info, result, .. } = self;
        format!(r#"{{"success":{success},"info":{},"result":{result}}}"#, quoted(info))
    }
}

/// What is said when it was possible, and the result.
type Done = (String, String, Placement);

/// Answers. Errors: what was named is not there.
pub fn answer(
    cluster: Cluster,
    options: &Options,
    wanted: &Wanted,
    rules: &Rules,
) -> Result<Answer, String> {
    let placement = Placement::new(cluster, options);
    let done = match wanted {
        Wanted::Allocate(asked) => return one(placement, asked, rules),
        Wanted::MultiAllocate(all) => several(placement.clone(), all, rules)?,
        Wanted::AllocateSecondary { instance } => {
            let instance = find_instance(placement.cluster(), instance)?;
            secondary(&placement, instance, rules)
        }
        Wanted::Relocate { instance, nodes, from } => {
            let cluster = placement.cluster();
            let instance = find_instance(cluster, instance)?;
            let from: Vec<NodeIdx> =
                from.iter().map(|name| find_node(cluster, name)).collect::<Result<_, _>>()?;
            one_node(&placement, instance, *nodes, &from, rules)
        }
        Wanted::NodeEvacuate { instances, mode } => {
            let instances = find_instances(placement.cluster(), instances)?;
            let evacuation = allocate::evacuate(&placement, &instances, *mode, rules);
            Ok(evacuated(evacuation))
        }
        Wanted::ChangeGroup { instances, groups } => {
            let cluster = placement.cluster();
            let instances = find_instances(cluster, instances)?;
            let groups: Vec<GroupIdx> =
                groups.iter().map(|name| find_group(cluster, name)).collect::<Result<_, _>>()?;
            Ok(evacuated(allocate::change_group(&placement, &instances, &groups, rules)))
        }
    };
    Ok(match done {
        Ok(done) => succeeded(done),
        Err(none) => failed(&none, placement),
    })
}

fn succeeded((info, result, placement): Done) -> Answer {
    Answer { success: true, info: format!("Request successful: {info}"), result, placement }
}

fn failed(none: &NoAllocation, placement: Placement) -> Answer {
    let info = format!("Request failed: {none}");
    Answer { success: false, info, result: "[]".into(), placement }
}

fn find_instance(cluster: &Cluster, name: &str) -> Result<InstanceIdx, String> {
    cluster.find_instance(name).ok_or_else(|| format!("Unknown instance '{name}'"))
}

fn find_instances(cluster: &Cluster, names: &[String]) -> Result<Vec<InstanceIdx>, String> {
    names.iter().map(|name| find_instance(cluster, name)).collect()
}

fn find_node(cluster: &Cluster, name: &str) -> Result<NodeIdx, String> {
    cluster.find_node(name).ok_or_else(|| format!("Unknown node '{name}'"))
}

fn find_group(cluster: &Cluster, name: &str) -> Result<GroupIdx, String> {
    cluster.find_group(name).ok_or_else(|| format!("Unknown group '{name}'"))
}

fn names<'a>(cluster: &'a Cluster, nodes: &[NodeIdx]) -> Vec<&'a str> {
    nodes.iter().map(|node| cluster.nodes[node.at()].name.as_str()).collect()
}

/// What is asked, and the rules that hold for it.
fn request(
    cluster: &Cluster,
    asked: &Asked,
    rules: &Rules,
) -> Result<(allocate::Request, Rules), String> {
    let group = asked.group.as_deref().map(|name| find_group(cluster, name)).transpose()?;
    let mut rules = rules.clone();
    if let (None, Some(names)) = (&rules.restrict_to, &asked.restrict_to) {
        // What is not there restricts all the same.
        let nodes = names.iter().filter_map(|name| cluster.find_node(name)).collect();
        rules.restrict_to = Some(nodes);
    }
    Ok((allocate::Request { nodes: asked.nodes, group }, rules))
}

/// A placement of a large cluster is large: it is changed in place.
fn one(mut placement: Placement, asked: &Asked, rules: &Rules) -> Result<Answer, String> {
    let (request, rules) = request(placement.cluster(), asked, rules)?;
    let instance = placement.add(asked.instance.clone());
    Ok(match allocate(&placement, instance, &request, &rules) {
        Ok(found) => {
            placement.apply(instance, &found.outcome);
            let names = names(placement.cluster(), &found.nodes());
            succeeded((found.messages.join(", "), quoted_list(names), placement))
        }
        Err(none) => {
            placement.drop_last();
            failed(&none, placement)
        }
    })
}

fn several(
    mut placement: Placement,
    all: &[Asked],
    rules: &Rules,
) -> Result<Result<Done, NoAllocation>, String> {
    let mut wanted = vec![];
    for asked in all {
        let (request, _) = request(placement.cluster(), asked, rules)?;
        wanted.push((placement.add(asked.instance.clone()), request));
    }
    let results = allocate_all(&mut placement, &wanted, rules);
    let (mut placed, mut failed) = (vec![], vec![]);
    for ((asked, (_, request)), result) in all.iter().zip(&wanted).zip(results) {
        let name = quoted(&asked.instance.name);
        match result {
            Ok(found) => {
                let nodes = quoted_list(names(placement.cluster(), &found.nodes()));
                placed.push(format!("[{name},{nodes}]"));
            }
            // Where any group would do, that there is none fails the request as a whole.
            Err(none) if request.group.is_none() || !none.tried => return Ok(Err(none)),
            Err(none) => failed.push(format!("[{name},{}]", quoted(&none.to_string()))),
        }
    }
    let info = format!(
        "{} instances failed to allocate and {} were allocated successfully",
        failed.len(),
        placed.len()
    );
    Ok(Ok((info, format!("[[{}],[{}]]", placed.join(","), failed.join(",")), placement)))
}

fn secondary(
    placement: &Placement,
    instance: InstanceIdx,
    rules: &Rules,
) -> Result<Done, NoAllocation> {
    let (found, placement) = allocate_secondary(placement, instance, rules)?;
    let Allocation { secondary, messages, .. } = found;
    let name = secondary.map(|node| quoted(&placement.cluster().nodes[node.at()].name));
    Ok((messages.join(", "), name.unwrap_or_else(|| "null".into()), placement))
}

fn one_node(
    placement: &Placement,
    instance: InstanceIdx,
    nodes: i64,
    from: &[NodeIdx],
    rules: &Rules,
) -> Result<Done, NoAllocation> {
    if nodes != 1 {
        return Err(NoAllocation::because(format!(
            "Exchange {nodes} nodes mode is not implemented"
        )));
    }
    let (node, evacuation) = relocate(placement, instance, from, rules)?;
    let name = names(placement.cluster(), &[node]);
    Ok(("success".into(), quoted_list(name), evacuation.placement))
}

fn evacuated(evacuation: Evacuation) -> Done {
    let Evacuation { moved, failed, placement } = evacuation;
    let cluster = placement.cluster();
    let name = |instance: InstanceIdx| quoted(&cluster.instances[instance.at()].name);
    let went = moved.iter().map(|moved| {
        let nodes: Vec<NodeIdx> =
            std::iter::once(moved.to.primary).chain(moved.to.secondary).collect();
        let group = quoted(&cluster.groups[moved.group.at()].name);
        let nodes = quoted_list(names(cluster, &nodes));
        format!("[{},{group},{nodes}]", name(moved.instance))
    });
    let stayed =
        failed.iter().map(|(instance, why)| format!("[{},{}]", name(*instance), quoted(why)));
    let jobs = moved.iter().map(|moved| job(cluster, moved.instance, &moved.steps));
    let join = |items: Vec<String>| format!("[{}]", items.join(","));
    let result =
        format!("[{},{},{}]", join(went.collect()), join(stayed.collect()), join(jobs.collect()));
    let info = format!(
        "{} instances failed to move and {} were moved successfully",
        failed.len(),
        moved.len()
    );
    (info, result, placement)
}
