//! Steps about the master IP, for the opcodes that move it.

use crate::config::Config;
use crate::jobs::plan::{OnFailure, Plan, Step, Task};
use roost_proto::error::Result;
use roost_proto::ids::NodeId;
use roost_proto::node::{Action, MasterIp, Question};
use roost_proto::objects::Cluster;

/// The address of a cluster, which may not be stored yet. Errors: it is none.
pub fn of(config: &Config, cluster: &Cluster) -> Result<MasterIp> {
    MasterIp::of(cluster, &config.node_by_id(cluster.master_node)?.name)
}

/// The master takes it.
pub fn up(config: &Config, cluster: &Cluster) -> Result<Step> {
    Ok(Step::new("activating the master IP", up_task(config, cluster)?))
}

/// The master gives it up.
pub fn down(config: &Config, cluster: &Cluster) -> Result<Step> {
    let action = Action::MasterIpDown { address: of(config, cluster)? };
    Ok(Step::new("deactivating the master IP", Task::on(cluster.master_node, action)))
}

/// Another node gives it up: once it was the master.
pub fn down_on(config: &Config, node: NodeId) -> Result<Step> {
    let action = Action::MasterIpDown { address: of(config, &config.cluster)? };
    let name = format!("taking the master IP off node {}", config.node_name(node));
    Ok(Step::new(name, Task::on(node, action)))
}

fn up_task(config: &Config, cluster: &Cluster) -> Result<Task> {
    let action = Action::MasterIpUp { address: of(config, cluster)? };
    Ok(Task::on(cluster.master_node, action))
}

/// What it looks like to nodes: where it is, on which device, by whom it is handled.
fn differs(old: &Cluster, new: &Cluster) -> bool {
    old.master_ip != new.master_ip
        || old.master_netdev != new.master_netdev
        || old.master_netmask != new.master_netmask
        || old.use_external_mip_script != new.use_external_mip_script
}

/// Moves it along with the settings that the pivot changes:
///
/// ```text
///   down as it was │ pivot │ up as it will be, or a warning
/// ```
///
/// `force`: even if it cannot be taken down.
pub fn moved(plan: &mut Plan, config: &Config, new: &Cluster, force: bool) -> Result<()> {
    let old = &config.cluster;
    if !differs(old, new) {
        return Ok(());
    }
    let place = |what: &str, cluster: &Cluster| {
        format!("{what} ({} on {})", cluster.master_ip, cluster.master_netdev)
    };
    let mut before = down(config, old)?
        .saying(place("Shutting down the master IP", old))
        .undone_by(up_task(config, old)?);
    if force {
        before = before.on_failure(OnFailure::Warn);
    }
    plan.before.push(before);
    let after = up(config, new)?.saying(place("Starting the master IP", new));
    plan.after.push(after.on_failure(OnFailure::Warn));
    Ok(())
}

/// Whether a node has the address; `probe`: and whether anybody else answers to it.
pub fn question(address: &MasterIp, probe: bool) -> Question {
    Question::IpAddress { ip: address.ip, netdev: address.netdev.clone(), probe }
}

/// The steps about it in a plan: up or down, and on which node.
#[cfg(test)]
pub fn steps(plan: &Plan) -> Vec<(&'static str, NodeId, MasterIp)> {
    let steps = plan.before.iter().chain(&plan.after);
    let about = |step: &Step| match (step.task.nodes(), step.task.action()) {
        ([node], Some(Action::MasterIpUp { address })) => Some(("up", *node, address.clone())),
        ([node], Some(Action::MasterIpDown { address })) => Some(("down", *node, address.clone())),
        _ => None,
    };
    steps.filter_map(about).collect()
}
