//! `OP_NODE_SET_PARAMS`: a node's flags, parameters and secondary address.
//!
//! ```text
//!              candidate=no              drained=yes | offline=yes
//!   candidate ─────────────► regular ─────────────────────────────► drained, offline
//!       ▲    candidate=yes      ▲              drained=no | offline=no      │
//!       └───────────────────────┴───────────────────────────────────────────┘
//!         at once, if the pool is short
//! ```

use super::pool;
use super::settings::Settings;
use crate::config::{Change, Config, Object};
use crate::jobs::locks::{LockSet, Mode};
use crate::jobs::plan::Plan;
use crate::ops::{Context, Operate, locking};
use roost_proto::choices::AdminState;
use roost_proto::error::{Error, Result};
use roost_proto::nicesort;
use roost_proto::objects::Node;
use roost_proto::opcodes::NodeSetParams;
use roost_proto::params::{ParamMap, fill};
use serde_json::json;
use std::net::Ipv4Addr;

impl Operate for NodeSetParams {
    fn locks(&self, config: &Config) -> Result<LockSet> {
        let node = config.node(self.node_uuid.as_ref().unwrap_or(&self.node_name))?;
        let mut locks = LockSet::new()
            .with(locking::cluster_object(), Mode::Exclusive)
            .with(locking::node(node.uuid), Mode::Exclusive);
        if self.auto_promote && might_demote(self) {
            locking::add_all_nodes(&mut locks, config, Mode::Exclusive);
        }
        Ok(locks)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        check_request(self)?;
        let config = cx.config();
        let old = config.node(self.node_uuid.as_ref().unwrap_or(&self.node_name))?;
        check_node(self, config, old)?;
        let mut new = (**old).clone();
        set_flags(self, cx, old, &mut new)?;
        if let Some(ip) = &self.secondary_ip {
            set_secondary_ip(self, cx, old, &mut new, ip)?;
        }
        let settings = Settings {
            ndparams: self.ndparams.as_ref(),
            hv_state: self.hv_state.as_ref(),
            disk_state: self.disk_state.as_ref(),
        };
        settings.put_into(&mut new)?;

        let mut cluster = (*config.cluster).clone();
        if new.master_candidate != old.master_candidate {
            pool::record_certificate(cx, &mut cluster, &new);
        }
        let mut promoted = vec![];
        if self.auto_promote && old.master_candidate && !new.master_candidate {
            let size = cluster.candidate_pool_size as usize;
            let nodes = pool::promotions(config, size, |id| id != old.uuid);
            promoted = pool::promote(cx, &mut cluster, nodes);
        }
        let mut plan = cx.start_plan();
        plan.result = json!(changes(self, old, &new));
        if new != **old {
            plan.pivot.changes.push(Change::Update(Object::Node(Box::new(new))));
        }
        plan.pivot.changes.extend(promoted);
        plan.pivot.changes.extend(pool::cluster_change(config, cluster));
        Ok(plan)
    }
}

/// Something is to be changed, and at most one flag is to be set.
fn check_request(op: &NodeSetParams) -> Result<()> {
    let flags = [op.offline, op.master_candidate, op.drained, op.master_capable, op.vm_capable];
    let nothing = flags.iter().all(Option::is_none)
        && op.powered.is_none()
        && op.secondary_ip.is_none()
        && op.ndparams.is_none()
        && op.hv_state.is_none()
        && op.disk_state.is_none();
    if nothing {
        return Err(Error::wrong_input("Please pass at least one modification"));
    }
    if flags.iter().filter(|flag| **flag == Some(true)).count() > 1 {
        return Err(Error::wrong_input(
            "Can't set the node into more than one state at the same time",
        ));
    }
    Ok(())
}

fn might_demote(op: &NodeSetParams) -> bool {
    op.master_candidate == Some(false)
        || op.offline == Some(true)
        || op.drained == Some(true)
        || op.master_capable == Some(false)
}

/// What the node's place in the cluster forbids.
fn check_node(op: &NodeSetParams, config: &Config, node: &Node) -> Result<()> {
    let roles = [op.master_candidate, op.drained, op.offline];
    let is_master = node.uuid == config.master();
    if is_master && (roles.iter().any(Option::is_some) || op.master_capable == Some(false)) {
        return Err(Error::wrong_input("The master role can be changed only via master-failover"));
    }
    let capable = op.master_capable.unwrap_or(node.master_capable);
    if op.master_candidate == Some(true) && !capable {
        return Err(Error::wrong_state(format!(
            "Node {} is not master capable, cannot make it a master candidate",
            node.name
        )));
    }
    if op.vm_capable == Some(false) {
        let mut names: Vec<_> =
            config.instances_on(node.uuid).map(|i| i.name.to_string()).collect();
        names.extend(config.secondary_instances(node.uuid).iter().map(|i| i.name.to_string()));
        if !names.is_empty() {
            nicesort::sort(&mut names);
            return Err(Error::wrong_state(format!(
                "Node {} hosts instances ({}), cannot unset the vm_capable flag",
                node.name,
                names.join(", ")
            )));
        }
    }
    if node.master_candidate && might_demote(op) && !op.auto_promote {
        let size = config.cluster.candidate_pool_size as usize;
        let left = pool::count(config, size, |id| id != node.uuid);
        if left.now < left.should {
            return Err(Error::wrong_state(
                "Not enough master candidates, please pass auto promote option to allow promotion \
                 (--auto-promote or RAPI auto_promote=True)",
            ));
        }
    }
    let group = config.groups.get(&node.group);
    let oob = group
        .is_some_and(|group| !fill::ndparams(&config.cluster, group, node).oob_program.is_empty());
    if oob {
        if op.offline == Some(false) && !node.powered && op.powered != Some(true) {
            return Err(Error::wrong_state(format!(
                "Node {} needs to be turned on before its offline status can be reset",
                node.name
            )));
        }
    } else if op.powered.is_some() {
        return Err(Error::wrong_state(format!(
            "Unable to change powered state for node {} as it does not support out-of-band handling",
            node.name
        )));
    }
    Ok(())
}

/// The flags as they will be.
fn set_flags(
    op: &NodeSetParams,
    cx: &mut Context<'_, '_>,
    old: &Node,
    new: &mut Node,
) -> Result<()> {
    let mut real = |name: &str, wanted: Option<bool>, is: bool| {
        if wanted == Some(false) && !is {
            cx.info(format!("Ignoring request to unset flag {name}, already unset"));
            return None;
        }
        wanted
    };
    let mut candidate = real("master_candidate", op.master_candidate, old.master_candidate);
    let offline = real("offline", op.offline, old.offline);
    let drained = real("drained", op.drained, old.drained);
    let capable = op.master_capable.unwrap_or(old.master_capable);
    let comes_back =
        drained == Some(false) || offline == Some(false) || (capable && !old.master_capable);
    let away = drained == Some(true) || offline == Some(true);
    let stays_away = (old.drained && drained.is_none()) || (old.offline && offline.is_none());
    if comes_back
        && !away
        && !stays_away
        && capable
        && candidate.is_none()
        && pool::needs(cx.config(), old.uuid)
    {
        candidate = Some(true);
        cx.info("Auto-promoting node to master candidate");
    }
    if op.master_capable == Some(false) && old.master_candidate {
        candidate = Some(false);
        cx.info("Demoting from master candidate");
    }
    new.master_capable = capable;
    new.vm_capable = op.vm_capable.unwrap_or(old.vm_capable);
    new.powered = op.powered.unwrap_or(old.powered);
    // The three exclude each other: what is set wins, what is unset leaves a regular node.
    let role = if candidate == Some(true) {
        Some((true, false, false))
    } else if drained == Some(true) {
        Some((false, true, false))
    } else if offline == Some(true) {
        Some((false, false, true))
    } else if [candidate, drained, offline].contains(&Some(false)) {
        Some((false, false, false))
    } else {
        None
    };
    if let Some(role) = role {
        (new.master_candidate, new.drained, new.offline) = role;
    }
    if old.offline && !new.offline {
        cx.warn(
            "Transitioning node from offline to online state without using re-add. Please make \
             sure the node is healthy!",
        );
    }
    Ok(())
}

fn set_secondary_ip(
    op: &NodeSetParams,
    cx: &mut Context<'_, '_>,
    old: &Node,
    new: &mut Node,
    ip: &str,
) -> Result<()> {
    let config = cx.config();
    let ip: Ipv4Addr = ip.parse().map_err(|_| {
        Error::wrong_input(format!("Secondary IP ({ip}) needs to be a valid IPv4 address"))
    })?;
    let ip = ip.to_string();
    let is_master = old.uuid == config.master();
    let master = config.node_by_id(config.master())?;
    let single = master.primary_ip == master.secondary_ip;
    if single && ip != old.primary_ip {
        if !(op.force && is_master) {
            return Err(Error::wrong_input(
                "Changing the secondary ip on a single-homed cluster requires the --force option \
                 to be passed, and the target node to be the master",
            ));
        }
        cx.warn(
            "Transitioning from single-homed to multi-homed cluster; all nodes will require a \
             secondary IP address",
        );
    } else if !single && ip == old.primary_ip {
        if !(op.force && is_master) {
            return Err(Error::wrong_input(
                "Cannot set the secondary IP to be the same as the primary IP on a multi-homed \
                 cluster, unless the --force option is passed, and the target node is the master",
            ));
        }
        cx.warn(
            "Transitioning from multi-homed to single-homed cluster; secondary IP addresses will \
             have to be removed",
        );
    }
    let mut mirrored: Vec<_> = config
        .instances_on(old.uuid)
        .filter(|i| !config.secondaries(i).is_empty())
        .chain(config.secondary_instances(old.uuid))
        .filter(|i| old.offline || i.admin_state == AdminState::Up)
        .map(|i| i.name.to_string())
        .collect();
    nicesort::sort(&mut mirrored);
    if !mirrored.is_empty() {
        return Err(Error::wrong_state(format!(
            "Cannot change the secondary IP address of node {}: mirrored instances use it ({}); \
             shut them down first",
            old.name,
            mirrored.join(", ")
        )));
    }
    if let Some(other) = config
        .nodes
        .values()
        .find(|n| n.uuid != old.uuid && (n.primary_ip == ip || n.secondary_ip == ip))
    {
        return Err(Error::prereq(
            roost_proto::error::ErrorType::ResourceNotUnique,
            format!("IP address {ip} is already used by node {}", other.name),
        ));
    }
    new.secondary_ip = ip;
    Ok(())
}

/// What changed, as `[what, new]`; flags as Ganeti writes them.
fn changes(op: &NodeSetParams, old: &Node, new: &Node) -> Vec<(String, String)> {
    let python = |flag: bool| if flag { "True" } else { "False" }.to_owned();
    let mut changes = Vec::new();
    let mut add = |what: &str, value: String| changes.push((what.to_owned(), value));
    if op.powered.is_some() {
        add("powered", python(new.powered));
    }
    if op.master_capable.is_some() {
        add("master_capable", python(new.master_capable));
    }
    if op.vm_capable.is_some() {
        add("vm_capable", python(new.vm_capable));
    }
    for (what, before, after) in [
        ("master_candidate", old.master_candidate, new.master_candidate),
        ("drained", old.drained, new.drained),
        ("offline", old.offline, new.offline),
    ] {
        if before != after {
            add(what, python(after));
        }
    }
    if op.secondary_ip.is_some() {
        add("secondary_ip", new.secondary_ip.clone());
    }
    for key in op.ndparams.iter().flat_map(ParamMap::keys) {
        let value = match new.ndparams.get(key) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => "default".into(),
        };
        add(&format!("ndparams/{key}"), value);
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, node_id};

    fn modify(name: &str, change: impl FnOnce(&mut NodeSetParams)) -> NodeSetParams {
        let mut op = NodeSetParams::new(name);
        change(&mut op);
        op
    }

    /// Three nodes, all candidates.
    fn site() -> Site {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        for name in ["node2", "node3"] {
            site.joined(name, "192.0.2.9");
            site.node(name, |n| n.master_candidate = true);
        }
        site.cluster(|c| {
            c.candidate_certs =
                [(node_id("node2"), "FP:node2".into()), (node_id("node3"), "FP:node3".into())]
                    .into();
        });
        site
    }

    #[test]
    fn draining_takes_the_candidate_role_away() {
        let mut site = site();
        let plan = site.run(modify("node2", |op| op.drained = Some(true)));
        assert_eq!(plan.result, json!([["master_candidate", "False"], ["drained", "True"]]));
        let node = site.config.node("node2").expect("it");
        assert!(node.drained && !node.master_candidate);
        assert!(!site.config.cluster.candidate_certs.contains_key(&node.uuid));
        let back = site.run(modify("node2", |op| op.drained = Some(false)));
        assert_eq!(back.say, [" - INFO: Auto-promoting node to master candidate"]);
        assert_eq!(back.result, json!([["master_candidate", "True"], ["drained", "False"]]));
        assert_eq!(site.config.cluster.candidate_certs[&node_id("node2")], "FP:node2");
    }

    #[test]
    fn offline_and_back() {
        let mut site = site();
        let plan = site.run(modify("node3", |op| op.offline = Some(true)));
        assert_eq!(plan.result, json!([["master_candidate", "False"], ["offline", "True"]]));
        let swap = site.run(modify("node3", |op| op.drained = Some(true)));
        assert_eq!(swap.result, json!([["drained", "True"], ["offline", "False"]]));
        assert!(swap.say[0].contains("without using re-add"), "{:?}", swap.say);
        let noop = site.plan(modify("node3", |op| op.offline = Some(false))).expect("a plan");
        assert_eq!(noop.say, [" - INFO: Ignoring request to unset flag offline, already unset"]);
        assert_eq!(noop.result, json!([]));
        assert!(noop.pivot.changes.is_empty());
    }

    #[test]
    fn the_pool_stays_full() {
        let mut site = site();
        site.node("node3", |n| n.master_candidate = false);
        site.cluster(|c| c.candidate_pool_size = 2);
        let demote = |auto| {
            modify("node2", |op| {
                op.master_candidate = Some(false);
                op.auto_promote = auto;
            })
        };
        assert_eq!(
            site.refusal(demote(false)),
            Error::wrong_state(
                "Not enough master candidates, please pass auto promote option to allow promotion \
                 (--auto-promote or RAPI auto_promote=True)"
            )
        );
        let plan = site.run(demote(true));
        assert_eq!(plan.say, [" - INFO: Promoted nodes to master candidate role: node3"]);
        assert!(site.config.node("node3").expect("it").master_candidate);
        assert!(!site.config.node("node2").expect("it").master_candidate);
    }

    /// Whatever takes a candidate out of the pool needs another one for it.
    #[test]
    fn every_way_out_of_the_pool_is_watched() {
        for change in [
            |op: &mut NodeSetParams| op.drained = Some(true),
            |op: &mut NodeSetParams| op.offline = Some(true),
            |op: &mut NodeSetParams| op.master_candidate = Some(false),
            |op: &mut NodeSetParams| op.master_capable = Some(false),
        ] {
            let mut site = site();
            site.node("node3", |n| n.master_candidate = false);
            site.cluster(|c| {
                c.candidate_pool_size = 2;
                c.candidate_certs.remove(&node_id("node3"));
            });
            let refused = site.refusal(modify("node2", change));
            assert!(refused.message.contains("--auto-promote"), "{refused}");
            site.run(modify("node2", |op| {
                change(op);
                op.auto_promote = true;
            }));
            assert!(!site.config.node("node2").expect("it").master_candidate);
            assert!(site.config.node("node3").expect("it").master_candidate);
            let certs: Vec<_> = site.config.cluster.candidate_certs.keys().copied().collect();
            assert_eq!(certs, [node_id("node3")]);
            // Coming back into a full pool makes no candidate.
            site.node("node2", |n| {
                n.drained = true;
                n.offline = false;
                n.master_capable = true;
            });
            site.run(modify("node2", |op| op.drained = Some(false)));
            assert!(!site.config.node("node2").expect("it").master_candidate);
        }
    }

    #[test]
    fn the_first_node_of_a_cluster_can_come_back() {
        let mut site = site();
        site.cluster(|c| {
            c.master_node = node_id("node2");
            c.candidate_certs.insert(node_id("node1"), "FP:node1".into());
        });
        site.run(modify("node1", |op| op.drained = Some(true)));
        assert!(!site.config.cluster.candidate_certs.contains_key(&node_id("node1")));
        let back = site.run(modify("node1", |op| op.drained = Some(false)));
        assert_eq!(back.say, [" - INFO: Auto-promoting node to master candidate"]);
        assert_eq!(site.config.cluster.candidate_certs[&node_id("node1")], "FP:node1");
    }

    #[test]
    fn nobody_can_take_the_place() {
        let mut site = site();
        site.node("node3", |n| n.drained = true);
        site.node("node3", |n| n.master_candidate = false);
        // The pool is as large as it can be without it: nothing is short.
        site.run(modify("node2", |op| op.offline = Some(true)));
        assert!(!site.config.node("node2").expect("it").master_candidate);
    }

    #[test]
    fn not_master_capable_is_no_candidate() {
        let mut site = site();
        let plan = site.run(modify("node2", |op| op.master_capable = Some(false)));
        assert_eq!(plan.say, [" - INFO: Demoting from master candidate"]);
        assert_eq!(
            plan.result,
            json!([["master_capable", "False"], ["master_candidate", "False"]])
        );
        assert_eq!(
            site.refusal(modify("node2", |op| op.master_candidate = Some(true))),
            Error::wrong_state(
                "Node node2 is not master capable, cannot make it a master candidate"
            )
        );
        let again = site.run(modify("node2", |op| op.master_capable = Some(true)));
        assert_eq!(again.say, [" - INFO: Auto-promoting node to master candidate"]);
    }

    #[test]
    fn parameters_and_addresses() {
        let mut site = site();
        let plan = site.run(modify("node2", |op| {
            op.ndparams = serde_json::from_value(json!({"oob_program": "/bin/oob"})).ok();
            op.hv_state = serde_json::from_value(json!({"kvm": {"mem_node": 512}})).ok();
        }));
        assert_eq!(plan.result, json!([["ndparams/oob_program", "/bin/oob"]]));
        let plan = site.run(modify("node2", |op| op.powered = Some(false)));
        assert_eq!(plan.result, json!([["powered", "False"]]));
        let plan = site.run(modify("node1", |op| {
            op.secondary_ip = Some("198.51.100.1".into());
            op.force = true;
        }));
        assert_eq!(plan.result, json!([["secondary_ip", "198.51.100.1"]]));
        assert!(plan.say[0].contains("single-homed to multi-homed"), "{:?}", plan.say);
        site.run(modify("node2", |op| op.secondary_ip = Some("198.51.100.2".into())));
    }

    #[test]
    fn refusals() {
        let mut site = site();
        site.instance("web", "node2", |_| {});
        let wrong = |change: fn(&mut NodeSetParams)| site.refusal(modify("node2", change));
        assert_eq!(wrong(|_| {}), Error::wrong_input("Please pass at least one modification"));
        assert_eq!(
            wrong(|op| {
                op.drained = Some(true);
                op.offline = Some(true);
            }),
            Error::wrong_input("Can't set the node into more than one state at the same time")
        );
        assert_eq!(
            wrong(|op| op.vm_capable = Some(false)),
            Error::wrong_state(
                "Node node2 hosts instances (web), cannot unset the vm_capable flag"
            )
        );
        assert!(wrong(|op| op.powered = Some(true)).message.contains("out-of-band"));
        assert!(
            wrong(|op| op.secondary_ip = Some("::1".into())).message.contains("valid IPv4 address")
        );
        assert!(
            wrong(|op| op.secondary_ip = Some("198.51.100.1".into()))
                .message
                .contains("single-homed cluster requires the --force")
        );
        assert_eq!(
            site.refusal(modify("node1", |op| op.offline = Some(true))),
            Error::wrong_input("The master role can be changed only via master-failover")
        );
    }
}
