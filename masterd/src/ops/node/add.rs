//! `OP_NODE_ADD`: takes a machine into the configuration, or a known node back into service.
//!
//! ```text
//!   tell it of the cluster │ add it, make it a candidate if one is needed │
//! ```
//!
//! The machine has joined before: it showed a token and got a certificate. Telling it of the cluster
//! comes first because that shows whether its daemon answers at the address it will have.

use super::settings::{Settings, address};
use super::{pool, settings};
use crate::config::{Change, Config, Object};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::{OnFailure, Plan, Step, Task};
use crate::nodes::Joined;
use crate::ops::{Context, Operate, locking};
use roost_proto::error::{Error, ErrorType, Result};
use roost_proto::ids::GroupId;
use roost_proto::names::NodeName;
use roost_proto::node::Action;
use roost_proto::objects::Node;
use roost_proto::opcodes::NodeAdd;
use serde_json::Value;

impl Operate for NodeAdd {
    fn locks(&self, _: &Config) -> Result<LockSet> {
        Ok(locking::alone())
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        let name = NodeName::new(self.node_name.to_ascii_lowercase())?;
        let known = config.index.node_by_name.get(name.as_str()).copied();
        let known = known.and_then(|id| config.nodes.get(&id));
        let mut node = match (known, self.readd) {
            (Some(_), false) => {
                return Err(Error::exists(format!(
                    "Node {name} is already in the configuration; to take it back into service \
                     use --readd"
                )));
            }
            (None, true) => {
                return Err(Error::unknown(format!(
                    "Node {name} is not in the configuration, it can't be re-added"
                )));
            }
            (None, false) => new_node(self, cx, &name)?,
            (Some(old), true) => back(self, cx, old)?,
        };
        let settings = Settings {
            ndparams: self.ndparams.as_ref(),
            hv_state: self.hv_state.as_ref(),
            disk_state: self.disk_state.as_ref(),
        };
        settings.put_into(&mut node)?;
        check_addresses(config, &node)?;

        let mut cluster = (*config.cluster).clone();
        node.master_candidate = node.master_capable && pool::needs(config, node.uuid);
        if node.master_candidate {
            cx.info("Node will be a master candidate");
        }
        // It has joined again: with another certificate than it was given before.
        cluster.crypto.forget_node(node.uuid);
        pool::record_certificate(cx, &mut cluster, &node);

        let mut plan = cx.start_plan();
        let task = Task::on(node.uuid, Action::SsconfWrite { values: config.ssconf() });
        let tell = Step::new("telling the node of the cluster", task);
        if known.is_some_and(|old| old.offline) {
            // Nobody may talk to it before the configuration says that it is back.
            plan.after.push(tell.on_failure(OnFailure::Warn));
        } else {
            plan.before.push(tell);
        }
        let node = Object::Node(Box::new(node));
        plan.pivot.changes.push(match known {
            Some(_) => Change::Update(node),
            None => Change::Add(node),
        });
        plan.pivot.changes.extend(pool::cluster_change(config, cluster));
        Ok(plan)
    }
}

/// A node that was not there.
fn new_node(op: &NodeAdd, cx: &mut Context<'_, '_>, name: &NodeName) -> Result<Node> {
    let config = cx.config();
    let joined = cx.joined(name).ok_or_else(|| {
        Error::environment(format!(
            "Node {name} has not joined the cluster: run 'gnt-node add {name}' on the master, and \
             on the node what that prints"
        ))
    })?;
    let primary_ip = primary_address(op, joined)?;
    if primary_ip.contains(':') && op.secondary_ip.is_none() {
        return Err(Error::wrong_input(
            "A node with an IPv6 primary address needs a secondary address (-s)",
        ));
    }
    let secondary_ip = match &op.secondary_ip {
        Some(given) => address("Secondary address", given)?.to_string(),
        None => primary_ip.clone(),
    };
    let now = cx.now();
    Ok(Node {
        uuid: joined.uuid,
        name: name.clone(),
        primary_ip,
        secondary_ip,
        master_candidate: false,
        offline: false,
        drained: false,
        group: group(op, config)?,
        master_capable: op.master_capable.unwrap_or(true),
        vm_capable: op.vm_capable.unwrap_or(true),
        ndparams: Default::default(),
        powered: true,
        hv_state_static: Value::Object(Default::default()),
        disk_state_static: Value::Object(Default::default()),
        ctime: now,
        mtime: now,
        serial_no: 1,
        tags: vec![],
        extra: Default::default(),
    })
}

/// A node that is known, back in service.
fn back(op: &NodeAdd, cx: &mut Context<'_, '_>, old: &Node) -> Result<Node> {
    if old.uuid == cx.config().master() {
        return Err(Error::wrong_input(format!(
            "Node {} is the master, it can't be re-added",
            old.name
        )));
    }
    if op.group.is_some() {
        return Err(Error::wrong_input(
            "A node keeps its group when it is re-added; move it with 'gnt-group assign-nodes'",
        ));
    }
    let mut node = old.clone();
    if let Some(joined) = cx.joined(&old.name) {
        if joined.uuid != old.uuid {
            return Err(Error::wrong_state(format!(
                "The machine that joined as {} is another one (UUID {} instead of {}); remove the \
                 node and add it anew",
                old.name, joined.uuid, old.uuid
            )));
        }
        let single = node.secondary_ip == node.primary_ip;
        node.primary_ip = primary_address(op, joined)?;
        if single {
            node.secondary_ip = node.primary_ip.clone();
        }
    }
    if let Some(given) = &op.secondary_ip {
        let given = settings::address("Secondary address", given)?.to_string();
        if given != node.secondary_ip {
            return Err(Error::wrong_input(format!(
                "Node {} keeps its secondary address {} when it is re-added; change it with \
                 'gnt-node modify -s'",
                old.name, node.secondary_ip
            )));
        }
    }
    node.offline = false;
    node.drained = false;
    node.powered = true;
    node.master_capable = op.master_capable.unwrap_or(old.master_capable);
    node.vm_capable = op.vm_capable.unwrap_or(old.vm_capable);
    cx.info("Readding a node, the offline/drained flags were reset");
    Ok(node)
}

/// The address it joined with: that is where it is reached.
fn primary_address(op: &NodeAdd, joined: &Joined) -> Result<String> {
    let at = address("Address", &joined.address)?;
    match &op.primary_ip {
        Some(given) if address("Primary address", given)? != at => {
            Err(Error::wrong_input(format!(
                "Node {} joined with the address {at}, not with {given}; let it join again with \
                 the right one",
                joined.name
            )))
        }
        _ => Ok(at.to_string()),
    }
}

/// The group it goes to: the one named, or the first.
fn group(op: &NodeAdd, config: &Config) -> Result<GroupId> {
    if let Some(name) = &op.group {
        return Ok(config.group(name)?.uuid);
    }
    let mut groups: Vec<_> = config.groups.values().collect();
    groups.sort_by(|a, b| a.ctime.total_cmp(&b.ctime).then_with(|| a.name.cmp(&b.name)));
    let first = groups.first().ok_or_else(|| Error::internal("The cluster has no node group"))?;
    Ok(first.uuid)
}

/// Nobody else has its addresses, and it has as many as the master.
fn check_addresses(config: &Config, node: &Node) -> Result<()> {
    for other in config.nodes.values().filter(|n| n.uuid != node.uuid) {
        for ip in [&node.primary_ip, &node.secondary_ip] {
            if *ip == other.primary_ip || *ip == other.secondary_ip {
                return Err(Error::prereq(
                    ErrorType::ResourceNotUnique,
                    format!(
                        "New node's IP address {ip} conflicts with existing node {}",
                        other.name
                    ),
                ));
            }
        }
    }
    let Some(master) = config.nodes.get(&config.master()) else { return Ok(()) };
    let single = |n: &Node| n.primary_ip == n.secondary_ip;
    match (single(master), single(node)) {
        (true, false) => Err(Error::wrong_input(
            "The master has no separate secondary address but the new node has one",
        )),
        (false, true) => Err(Error::wrong_input(
            "The master has a separate secondary address but the new node has none (-s ADDRESS)",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, new_node as test_node, node_id};
    use serde_json::json;

    fn site() -> Site {
        let mut site = Site::new(&["node1", "node2"]);
        site.joined("node3", "192.0.2.3");
        site
    }

    #[test]
    fn a_machine_that_joined_becomes_a_node() {
        let mut site = site();
        let op = NodeAdd {
            ndparams: serde_json::from_value(json!({"ssh_port": 2222})).ok(),
            primary_ip: Some("192.0.2.3".into()),
            ..NodeAdd::new("Node3")
        };
        let plan = site.run(op);
        assert_eq!(plan.say, [" - INFO: Node will be a master candidate"]);
        assert_eq!(plan.before.len(), 1);
        assert_eq!(plan.before[0].task.nodes(), [node_id("node3")]);
        assert!(plan.after.is_empty());
        let node = site.config.node("node3").expect("it was added");
        let mut expected = test_node("node3", "192.0.2.3");
        expected.master_candidate = true;
        expected.ndparams = [("ssh_port".to_owned(), json!(2222))].into();
        expected.hv_state_static = json!({});
        expected.disk_state_static = json!({});
        assert_eq!(**node, expected);
        assert_eq!(site.config.cluster.candidate_certs[&node.uuid], "FP:node3");
    }

    #[test]
    fn the_pool_may_be_full() {
        let mut site = site();
        site.cluster(|c| c.candidate_pool_size = 1);
        site.run(NodeAdd::new("node3"));
        assert!(!site.config.node("node3").expect("added").master_candidate);
        assert!(site.config.cluster.candidate_certs.is_empty());
    }

    #[test]
    fn a_node_comes_back() {
        let mut site = site();
        site.run(NodeAdd::new("node3"));
        site.node("node3", |n| {
            n.offline = true;
            n.master_candidate = false;
            n.powered = false;
        });
        let plan = site.run(NodeAdd { readd: true, ..NodeAdd::new("node3") });
        assert_eq!(plan.say[0], " - INFO: Readding a node, the offline/drained flags were reset");
        assert!(plan.before.is_empty(), "an offline node is told when it is back");
        assert_eq!(plan.after.len(), 1);
        let node = site.config.node("node3").expect("it");
        assert!(!node.offline && node.powered && node.master_candidate);
    }

    #[test]
    fn a_candidate_that_comes_back_stays_one_if_there_is_room() {
        let mut site = site();
        site.run(NodeAdd::new("node3"));
        site.cluster(|c| c.candidate_pool_size = 2);
        let readd = || NodeAdd { readd: true, ..NodeAdd::new("node3") };
        site.run(readd());
        assert!(site.config.node("node3").expect("it").master_candidate);
        site.cluster(|c| c.candidate_pool_size = 1);
        site.run(readd());
        assert!(!site.config.node("node3").expect("it").master_candidate);
        assert!(!site.config.cluster.candidate_certs.contains_key(&node_id("node3")));
    }

    #[test]
    fn refusals() {
        let mut site = site();
        let add = NodeAdd::new;
        let known = site.refusal(add("node2"));
        assert_eq!(known.error_type, Some(ErrorType::AlreadyExists));
        let stranger = site.refusal(add("node9"));
        assert_eq!(stranger.error_type, Some(ErrorType::EnvironmentError));
        assert!(stranger.message.starts_with("Node node9 has not joined the cluster"));
        let readd = |name: &str| NodeAdd { readd: true, ..NodeAdd::new(name) };
        assert_eq!(
            site.refusal(readd("node3")),
            Error::unknown("Node node3 is not in the configuration, it can't be re-added")
        );
        assert!(site.refusal(readd("node1")).message.contains("is the master"));
        let dual = NodeAdd { secondary_ip: Some("198.51.100.3".into()), ..add("node3") };
        assert!(site.refusal(dual).message.contains("The master has no separate secondary"));
        let other = NodeAdd { primary_ip: Some("192.0.2.4".into()), ..add("node3") };
        assert!(site.refusal(other).message.contains("joined with the address 192.0.2.3"));
        site.joined("node4", "192.0.2.2");
        let taken = site.refusal(add("node4"));
        assert_eq!(taken.error_type, Some(ErrorType::ResourceNotUnique));
        assert_eq!(
            taken.message,
            "New node's IP address 192.0.2.2 conflicts with existing node node2"
        );
        let own = NodeAdd {
            ndparams: serde_json::from_value(json!({"exclusive_storage": true})).ok(),
            ..add("node3")
        };
        assert!(site.refusal(own).message.contains("can't be set for a single node"));
    }
}
