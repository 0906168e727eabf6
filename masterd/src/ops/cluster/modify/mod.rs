//! `OP_CLUSTER_SET_PARAMS`: changes the cluster's settings.
//!
//! Each part of the settings is put into a copy of the cluster; when all fit, the copy replaces it.
//! Where the master IP is handled otherwise from then on, it moves:
//!
//! ```text
//!   master IP down │ the settings, the candidates │ master IP up, or a warning
//! ```
//!
//! Nodes refuse disks outside the directories their files name, so other directories are on all
//! nodes before the opcode ends.

mod hypervisors;
mod limits;
mod os;
mod parameters;
mod storage;

use super::{master_ip, redist_conf};
use crate::config::{Change, Config, Object};
use crate::jobs::locks::LockSet;
use crate::jobs::plan::Plan;
use crate::ops::node::pool;
use crate::ops::placement::allocator::{Allocator, HAIL};
use crate::ops::{Context, Operate, locking};
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Answer, Question};
use roost_proto::objects::Cluster;
use roost_proto::opcodes::ClusterSetParams;

impl Operate for ClusterSetParams {
    fn locks(&self, _: &Config) -> Result<LockSet> {
        Ok(locking::alone())
    }

    fn questions(&self, config: &Config) -> Result<Vec<(NodeId, Question)>> {
        let mut questions = hypervisors::questions(self, config)?;
        questions.extend(storage::questions(self, config));
        if asks_for_scripts(self) {
            questions.push((config.master(), Question::IallocatorList));
        }
        Ok(questions)
    }

    fn plan(&self, cx: &mut Context<'_, '_>) -> Result<Plan> {
        let config = cx.config();
        if *self == (ClusterSetParams { force: self.force, ..ClusterSetParams::new() }) {
            return Err(Error::wrong_input("Please pass at least one modification"));
        }
        let mut new = (*config.cluster).clone();
        hypervisors::check_enabled(self, config)?;
        hypervisors::put_into(self, &mut new)?;
        hypervisors::check_answers(cx)?;
        storage::put_into(self, cx, &mut new)?;
        parameters::put_into(self, cx, &mut new)?;
        os::put_into(self, cx, &mut new)?;
        limits::put_into(self, cx, &mut new)?;
        simple(self, cx, &mut new)?;

        let mut candidates = vec![];
        if self.candidate_pool_size.is_some() {
            let size = new.candidate_pool_size as usize;
            candidates = pool::balance(cx, &mut new, size);
        }
        if candidates.is_empty() && new == *config.cluster {
            cx.info("The cluster has these settings already, nothing was changed");
            return Ok(cx.start_plan());
        }
        let mut plan = cx.start_plan();
        master_ip::moved(&mut plan, config, &new, self.force)?;
        plan.pivot.changes = candidates;
        let moved = storage::directories(&new) != storage::directories(&config.cluster);
        plan.pivot.changes.push(Change::Update(Object::Cluster(Box::new(new))));
        if moved {
            plan.after.extend(redist_conf::write(config, &plan.pivot.changes)?);
        }
        Ok(plan)
    }
}

/// Whether it has to be known which allocator scripts there are.
fn asks_for_scripts(op: &ClusterSetParams) -> bool {
    op.default_iallocator.as_deref().is_some_and(|name| !matches!(name, "" | "." | HAIL))
}

/// Settings that need little more than to be stored.
fn simple(op: &ClusterSetParams, cx: &mut Context<'_, '_>, new: &mut Cluster) -> Result<()> {
    fn put<T: Clone>(place: &mut T, given: &Option<T>) {
        if let Some(given) = given {
            place.clone_from(given);
        }
    }
    put(&mut new.maintain_node_health, &op.maintain_node_health);
    put(&mut new.prealloc_wipe_disks, &op.prealloc_wipe_disks);
    put(&mut new.use_external_mip_script, &op.use_external_mip_script);
    put(&mut new.modify_etc_hosts, &op.modify_etc_hosts);
    put(&mut new.install_image, &op.install_image);
    put(&mut new.zeroing_image, &op.zeroing_image);
    put(&mut new.enabled_user_shutdown, &op.enabled_user_shutdown);
    put(&mut new.default_iallocator_params, &op.default_iallocator_params);
    if let Some(name) = &op.default_iallocator {
        new.default_iallocator.clone_from(name);
    }
    if let Allocator::Script(name) = Allocator::of_cluster(new)?
        && asks_for_scripts(op)
    {
        let known = cx.answer(
            cx.config().master(),
            |q| matches!(q, Question::IallocatorList),
            |a| match a {
                Answer::Names(names) => Some(names),
                _ => None,
            },
        )?;
        if !known.contains(&name) {
            return Err(Error::wrong_input(format!(
                "Invalid default iallocator script '{name}' specified: there is 'hail', and on the \
                 master node: {}",
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            )));
        }
    }
    if op.instance_communication_network.as_ref().is_some_and(|name| !name.is_empty()) {
        return Err(Error::wrong_input("Instance communication is not available in this version"));
    }
    put(&mut new.instance_communication_network, &op.instance_communication_network);
    if let Some(device) = &op.master_netdev {
        if device.is_empty() || device.len() > 15 || device.contains(['/', ' ']) {
            return Err(Error::wrong_input(format!(
                "'{device}' is not the name of a network device"
            )));
        }
        if *device != new.master_netdev {
            cx.say(format!("Changing master_netdev from {} to {device}", new.master_netdev));
            new.master_netdev.clone_from(device);
        }
    }
    if let Some(bits) = op.master_netmask {
        let most = if new.master_ip.contains(':') { 128 } else { 32 };
        if bits == 0 || bits > most {
            return Err(Error::wrong_input(format!(
                "Netmask ({bits}) not valid: it must be a number of bits from 1 to {most}"
            )));
        }
        if bits != new.master_netmask {
            cx.say(format!("Changing master IP netmask to {bits}"));
            new.master_netmask = bits;
        }
    }
    Ok(())
}

/// The opcode with these fields.
#[cfg(test)]
fn given(mut fields: serde_json::Value) -> ClusterSetParams {
    fields["OP_ID"] = "OP_CLUSTER_SET_PARAMS".into();
    serde_json::from_value(fields).expect("an opcode")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, node_id};

    fn modify(change: impl FnOnce(&mut ClusterSetParams)) -> ClusterSetParams {
        let mut op = ClusterSetParams::new();
        change(&mut op);
        op
    }

    #[test]
    fn simple_settings() {
        let mut site = Site::new(&["node1"]);
        let op = modify(|op| {
            op.maintain_node_health = Some(true);
            op.master_netdev = Some("br7".into());
            op.master_netmask = Some(24);
            op.default_iallocator = Some("hail".into());
            op.enabled_user_shutdown = Some(true);
        });
        let plan = site.run(op.clone());
        assert_eq!(
            plan.say,
            ["Changing master_netdev from eth0 to br7", "Changing master IP netmask to 24"]
        );
        let cluster = &site.config.cluster;
        assert!(cluster.maintain_node_health && cluster.enabled_user_shutdown);
        assert_eq!((cluster.master_netmask, cluster.default_iallocator.as_str()), (24, "hail"));
        let again = site.plan(op).expect("a plan");
        assert_eq!(
            again.say,
            [" - INFO: The cluster has these settings already, nothing was changed"]
        );
        assert!(again.pivot.changes.is_empty() && master_ip::steps(&again).is_empty());
    }

    #[test]
    fn the_master_ip_moves_with_its_settings() {
        let mut site = Site::new(&["node1", "node2"]);
        let plan = site.run(modify(|op| op.master_netdev = Some("br7".into())));
        let short = |plan: &Plan| {
            let steps = master_ip::steps(plan).into_iter();
            let place = |a: &roost_proto::node::MasterIp| {
                format!("{}/{} {}", a.netdev, a.netmask, a.external_script)
            };
            steps.map(|(what, node, a)| (what, node, place(&a))).collect::<Vec<_>>()
        };
        let master = node_id("node1");
        assert_eq!(
            short(&plan),
            [("down", master, "eth0/32 false".into()), ("up", master, "br7/32 false".into())]
        );
        let says: Vec<_> = plan.before.iter().chain(&plan.after).map(|s| s.say.clone()).collect();
        assert_eq!(
            says,
            [
                Some("Shutting down the master IP (192.0.2.100 on eth0)".to_owned()),
                Some("Starting the master IP (192.0.2.100 on br7)".to_owned()),
            ]
        );
        use crate::jobs::plan::OnFailure::{Fail, Warn};
        assert_eq!((plan.before[0].on_failure, plan.after[0].on_failure), (Fail, Warn));
        let force = site.run(modify(|op| {
            op.force = true;
            op.master_netmask = Some(24);
        }));
        assert_eq!(force.before[0].on_failure, Warn, "it may be broken: that is why it changes");
        let script = site.run(modify(|op| op.use_external_mip_script = Some(true)));
        assert_eq!(
            short(&script),
            [("down", master, "br7/24 false".into()), ("up", master, "br7/24 true".into())]
        );
        let other = site.run(modify(|op| op.maintain_node_health = Some(true)));
        assert!(short(&other).is_empty());
    }

    #[test]
    fn the_candidate_pool_gets_its_size() {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        site.cluster(|c| c.candidate_pool_size = 1);
        site.joined("node2", "192.0.2.2");
        let plan = site.run(modify(|op| op.candidate_pool_size = Some(2)));
        assert_eq!(plan.say, [" - INFO: Promoted nodes to master candidate role: node2"]);
        assert!(site.config.node("node2").expect("it").master_candidate);
        assert_eq!(site.config.cluster.candidate_certs[&node_id("node2")], "FP:node2");
        let plan = site.run(modify(|op| op.candidate_pool_size = Some(1)));
        assert_eq!(
            plan.say,
            [
                " - INFO: Note: more nodes are candidates (2) than desired (1)",
                " - INFO: Demoted nodes from master candidate role: node2",
            ]
        );
        assert!(!site.config.node("node2").expect("it").master_candidate);
        assert!(!site.config.cluster.candidate_certs.contains_key(&node_id("node2")));
        assert_eq!(site.config.cluster.candidate_pool_size, 1);
        assert!(site.config.node("node1").expect("it").master_candidate);
    }

    #[test]
    fn a_default_allocator_must_be_there() {
        let mut site = Site::new(&["node1"]);
        let other = || modify(|op| op.default_iallocator = Some("spread".into()));
        let asked = site.questions(other());
        assert_eq!(asked, [("node1".to_owned(), Question::IallocatorList)]);
        site.answer("node1", Question::IallocatorList, Ok(Answer::Names(vec!["pack".into()])));
        assert_eq!(
            site.refusal(other()).message,
            "Invalid default iallocator script 'spread' specified: there is 'hail', and on the \
             master node: pack"
        );
        site.facts.answers.clear();
        site.answer("node1", Question::IallocatorList, Ok(Answer::Names(vec!["spread".into()])));
        site.run(other());
        assert_eq!(site.config.cluster.default_iallocator, "spread");
        assert!(site.questions(modify(|op| op.default_iallocator = Some("".into()))).is_empty());
    }

    #[test]
    fn refusals() {
        let site = Site::new(&["node1"]);
        let nothing = modify(|op| op.force = true);
        assert_eq!(
            site.refusal(nothing),
            Error::wrong_input("Please pass at least one modification")
        );
        let refused = |change: fn(&mut ClusterSetParams)| site.refusal(modify(change)).message;
        assert!(
            refused(|op| op.default_iallocator = Some("x y".into()))
                .starts_with("Invalid iallocator name 'x y'")
        );
        assert!(refused(|op| op.master_netmask = Some(33)).contains("from 1 to 32"));
        assert!(refused(|op| op.master_netdev = Some("a/b".into())).contains("not the name"));
        assert!(
            refused(|op| op.instance_communication_network = Some("net".into()))
                .contains("not available")
        );
    }
}
