//! What a plan is made from, with the lookups that plans need.

use super::disks::minors;
use super::under_way;
use crate::config::{Change, Config, Object};
use crate::jobs::PlanInput;
use crate::jobs::plan::Plan;
use crate::nodes::NodeView;
use crate::replication::Copies;
use crate::store::etcd::Member;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Answer, GuestReport, NodeReport, Question};
use roost_proto::objects::{Instance, Node};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use uuid::Uuid;

/// The input of planning, and what was said so far.
#[derive(Debug)]
pub struct Context<'a, 'b> {
    input: &'a mut PlanInput<'b>,
    say: Vec<String>,
    pub(super) taken: Taken,
}

/// What this plan took for itself so far.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub ports: BTreeSet<u16>,
    pub minors: BTreeSet<(NodeId, u32)>,
}

impl<'a, 'b> Context<'a, 'b> {
    pub(super) fn new(input: &'a mut PlanInput<'b>) -> Context<'a, 'b> {
        Context { input, say: Vec::new(), taken: Taken::default() }
    }

    /// The configuration.
    pub fn config(&self) -> &'b Config {
        self.input.config
    }

    /// The fields all opcodes have.
    pub fn common(&self) -> &'b roost_proto::opcodes::Common {
        &self.input.op.common
    }

    /// A new UUID.
    pub fn uuid(&mut self) -> Uuid {
        self.input.ids.uuid()
    }

    /// Seconds since 1970.
    pub fn now(&mut self) -> f64 {
        self.input.ids.now()
    }

    /// The job this is planned for: names what belongs together on nodes.
    pub fn job(&self) -> roost_proto::ids::JobId {
        self.input.job
    }

    /// A line for the job's log.
    pub fn say(&mut self, line: impl Into<String>) {
        self.say.push(line.into());
    }

    /// A note for the job's log, in Ganeti's form.
    pub fn info(&mut self, line: impl AsRef<str>) {
        self.say.push(format!(" - INFO: {}", line.as_ref()));
    }

    /// A warning for the job's log, in Ganeti's form.
    pub fn warn(&mut self, line: impl AsRef<str>) {
        self.say.push(format!(" - WARNING: {}", line.as_ref()));
    }

    /// A plan that starts by saying what was noted so far.
    pub fn start_plan(&mut self) -> Plan {
        Plan { say: std::mem::take(&mut self.say), ..Plan::default() }
    }

    /// All answers.
    pub fn answers(&self) -> &'b [(NodeId, Question, Result<Answer>)] {
        &self.input.facts.answers
    }

    /// What nodes reported by themselves some moments ago.
    pub fn seen(&self) -> &'b HashMap<NodeId, Arc<NodeView>> {
        &self.input.facts.seen
    }

    /// How the copies of the state are; nothing if there can be none.
    pub fn copies(&self) -> Option<&'b Copies> {
        self.input.facts.copies.as_ref()
    }

    /// How the members of etcd are, if the state is there.
    pub fn members(&self) -> &'b [Member] {
        &self.input.facts.members
    }

    /// A machine that has joined under this name.
    pub fn joined(&self, name: &str) -> Option<&'b crate::nodes::Joined> {
        self.input.facts.joined.iter().find(|joined| joined.name == name)
    }

    /// What earlier jobs could not clean up.
    pub fn debris(&self) -> &'b std::collections::BTreeMap<String, crate::jobs::plan::Debris> {
        &self.input.facts.debris
    }

    /// A node's answer to the question that `pick` recognizes by its answer.
    pub fn answer<T>(
        &self,
        node: NodeId,
        asked: impl Fn(&Question) -> bool,
        pick: impl Fn(&'b Answer) -> Option<T>,
    ) -> Result<T> {
        for (from, question, answer) in self.answers() {
            if *from == node && asked(question) {
                let answer = answer.as_ref().map_err(Clone::clone)?;
                return pick(answer).ok_or_else(|| {
                    Error::internal(format!(
                        "Node {} gave an answer that does not fit the question",
                        self.config().node_name(node)
                    ))
                });
            }
        }
        Err(Error::internal(format!("Node {} was not asked", self.config().node_name(node))))
    }

    /// A node's fresh report.
    pub fn report(&self, node: NodeId) -> Result<&'b NodeReport> {
        let asked = |q: &Question| matches!(q, Question::Node);
        self.answer(node, asked, |a| match a {
            Answer::Node(report) => Some(&**report),
            _ => None,
        })
    }

    /// Whether a node was asked for its state: one that could not be locked was not.
    pub fn was_asked(&self, node: NodeId) -> bool {
        self.answers().iter().any(|(on, q, _)| *on == node && matches!(q, Question::Node))
    }

    /// A node's guests, fresh.
    pub fn guests(&self, node: NodeId) -> Result<&'b [GuestReport]> {
        let asked = |q: &Question| matches!(q, Question::Guests);
        self.answer(node, asked, |a| match a {
            Answer::Guests(guests) => Some(guests.as_slice()),
            _ => None,
        })
    }

    /// Whether a node runs an instance now.
    pub fn runs_on(&self, instance: &Instance, node: NodeId) -> Result<bool> {
        let same = |g: &&GuestReport| g.name == instance.name.as_str();
        Ok(self.guests(node)?.iter().find(same).is_some_and(|g| g.state.is_running()))
    }

    /// MiB that may still be promised on a node: what is free, without what plans under way will
    /// take there.
    pub fn free_memory(&self, node: NodeId) -> Result<u64> {
        let free = self.report(node)?.memory_free;
        Ok(free.saturating_sub(self.promised_memory(node)))
    }

    /// MiB that guests about to start on a node will take.
    pub fn promised_memory(&self, node: NodeId) -> u64 {
        under_way::starting(self.active())
            .filter(|(on, _)| *on == node)
            .map(|(_, memory)| memory)
            .sum()
    }

    /// The same for all nodes.
    pub fn promised(&self) -> HashMap<NodeId, u64> {
        under_way::promised(self.active())
    }

    /// Plans of opcodes under way.
    pub fn active(&self) -> &'b [Arc<Plan>] {
        self.input.active
    }

    /// What plans under way are about to add.
    pub fn coming(&self) -> impl Iterator<Item = &Object> {
        self.input.active.iter().flat_map(|plan| &plan.pivot.changes).filter_map(|c| match c {
            Change::Add(object) | Change::Update(object) => Some(object),
            Change::Remove(_) => None,
        })
    }

    /// Instances that plans under way add or change.
    pub fn coming_instances(&self) -> impl Iterator<Item = &Instance> {
        self.coming().filter_map(|object| match object {
            Object::Instance(instance) => Some(&**instance),
            _ => None,
        })
    }

    /// The nodes that a list of names and an optional UUID mean.
    pub fn node(&self, name: &str) -> Result<&'b Arc<Node>> {
        self.config().node(name)
    }

    /// MAC addresses that are taken, or about to be.
    pub fn mac_taken(&self, mac: &str) -> bool {
        self.config().index.mac.contains_key(mac)
            || self.coming_instances().any(|i| i.nics.iter().any(|n| n.mac == mac))
    }

    /// A MAC address nobody has, under the cluster's or a network's prefix.
    pub fn new_mac(&mut self, prefix: &str) -> Result<String> {
        for _ in 0..64 {
            let id = self.uuid();
            let [a, b, c, ..] = *id.as_bytes();
            let mac = format!("{prefix}:{a:02x}:{b:02x}:{c:02x}");
            if !self.mac_taken(&mac) {
                return Ok(mac);
            }
        }
        Err(Error::resources(format!("No free MAC address found under the prefix {prefix}")))
    }

    /// A free port for a console or a mirror: the lowest that none has or is about to have. It is
    /// taken from then on.
    pub fn new_port(&mut self) -> Result<u16> {
        let config = self.config();
        let mut used: BTreeSet<u16> = self.taken.ports.clone();
        used.extend(config.instances.values().filter_map(|i| i.network_port));
        used.extend(self.coming_instances().filter_map(|i| i.network_port));
        used.extend(config.disks.values().filter_map(|disk| minors::port_of(disk)));
        used.extend(minors::mentioned(self).filter_map(minors::port_of));
        let port = (FIRST_PORT..=LAST_PORT)
            .find(|port| !used.contains(port))
            .ok_or_else(|| Error::resources("All ports of the cluster (11000-14999) are in use"))?;
        self.taken.ports.insert(port);
        Ok(port)
    }
}

/// The range of ports that instances and DRBD disks get: Ganeti's.
const FIRST_PORT: u16 = 11000;
const LAST_PORT: u16 = 14999;
