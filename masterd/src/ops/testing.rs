//! Small clusters and canned answers, to test plans with.

use super::{Context, Operations};
use crate::config::{Change, Config, Object};
use crate::jobs::plan::Plan;
use crate::jobs::{Facts, IdSource, PlanInput, Planner};
use crate::nodes::{Joined, NodeView};
use roost_proto::choices::{AdminState, AllocPolicy, DiskTemplate, Hypervisor};
use roost_proto::error::{Error, Result};
use roost_proto::ids::{DiskId, GroupId, InstanceId, JobId, NodeId};
use roost_proto::names::{ClusterName, GroupName, InstanceName, NodeName};
use roost_proto::node::{
    Answer, BlockState, BlockStatus, GuestReport, GuestState, IpReport, NodeReport, Question,
    VerifyReport,
};
use roost_proto::objects::{Cluster, Disk, Instance, LogicalId, Node, NodeGroup};
use roost_proto::opcodes::OpInput;
use roost_proto::params::IPolicy;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use uuid::Uuid;

/// The time at which all plans are made, seconds since 1970.
pub const NOW: f64 = 1_000_000.0;

/// A cluster and what is known of its nodes.
#[derive(Debug)]
pub struct Site {
    pub config: Config,
    pub facts: Facts,
    pub active: Vec<Arc<Plan>>,
    made: u128,
    /// Plans carried out: each has identifiers of its own.
    ran: u128,
}

impl Site {
    /// A cluster `site` whose nodes are all in the group `default`; the first is the master.
    pub fn new(nodes: &[&str]) -> Site {
        let empty = Config::new(cluster(node_id(nodes[0])));
        let mut site =
            Site { config: empty, facts: Facts::default(), active: vec![], made: 0, ran: 0 };
        let mut changes = vec![Change::Add(Object::Group(new_group("default")))];
        changes.extend(nodes.iter().enumerate().map(|(i, name)| {
            let mut node = new_node(name, &format!("192.0.2.{}", i + 1));
            node.master_candidate = i == 0;
            Change::Add(Object::Node(Box::new(node)))
        }));
        let cluster = Change::Update(Object::Cluster(Box::new(cluster(node_id(nodes[0])))));
        changes.push(cluster);
        site.apply(&changes);
        site
    }

    /// Carries out changes, as the pivot of a plan does.
    pub fn apply(&mut self, changes: &[Change]) {
        let (next, _) = self.config.apply(changes, 1000.0).expect("changes that fit");
        self.config = next;
    }

    /// Adds a group.
    pub fn group(&mut self, name: &str) {
        self.apply(&[Change::Add(Object::Group(new_group(name)))]);
    }

    /// Changes the cluster.
    pub fn cluster(&mut self, change: impl FnOnce(&mut Cluster)) {
        let mut cluster = (*self.config.cluster).clone();
        change(&mut cluster);
        self.apply(&[Change::Update(Object::Cluster(Box::new(cluster)))]);
    }

    /// Changes a node.
    pub fn node(&mut self, name: &str, change: impl FnOnce(&mut Node)) {
        let mut node = (**self.config.node(name).expect("a node of that name")).clone();
        change(&mut node);
        self.apply(&[Change::Update(Object::Node(Box::new(node)))]);
    }

    /// Adds an instance that shall be up, without cards and disks.
    pub fn instance(&mut self, name: &str, node: &str, change: impl FnOnce(&mut Instance)) {
        self.made += 1;
        let mut instance = Instance {
            uuid: InstanceId(Uuid::from_u128(0x1000 + self.made)),
            name: InstanceName::new(name).expect("a good name"),
            primary_node: self.config.node(node).expect("a node of that name").uuid,
            os: String::new(),
            hypervisor: Hypervisor::Fake,
            hvparams: Default::default(),
            beparams: Default::default(),
            osparams: Default::default(),
            osparams_private: Default::default(),
            admin_state: AdminState::Up,
            admin_state_source: Default::default(),
            nics: vec![],
            disks: vec![],
            disks_active: false,
            network_port: None,
            forthcoming: false,
            ctime: 1000.0,
            mtime: 1000.0,
            serial_no: 1,
            tags: vec![],
            extra: Default::default(),
        };
        change(&mut instance);
        self.apply(&[Change::Add(Object::Instance(Box::new(instance)))]);
    }

    /// Adds a disk of 1 GiB to an instance.
    pub fn disk(&mut self, instance: &str, template: DiskTemplate, path: &str) {
        self.made += 1;
        let mut instance = (**self.config.instance(instance).expect("an instance")).clone();
        let nodes = match template {
            DiskTemplate::File => vec![instance.primary_node],
            _ => vec![],
        };
        let disk = Disk {
            uuid: DiskId(Uuid::from_u128(0x2000 + self.made)),
            dev_type: template,
            logical_id: LogicalId::Pair("loop".into(), path.into()),
            children: vec![],
            nodes,
            iv_name: format!("disk/{}", instance.disks.len()),
            size: 1024,
            mode: Default::default(),
            name: None,
            spindles: None,
            addresses: Default::default(),
            params: Default::default(),
            forthcoming: None,
            ctime: 1000.0,
            mtime: 1000.0,
            serial_no: 1,
            extra: Default::default(),
        };
        instance.disks.push(disk.uuid);
        self.apply(&[
            Change::Add(Object::Disk(Box::new(disk))),
            Change::Update(Object::Instance(Box::new(instance))),
        ]);
    }

    /// Adds a DRBD disk, mirrored on `secondary`.
    pub fn drbd(&mut self, instance: &str, secondary: &str) {
        self.disk(instance, DiskTemplate::Drbd, "unused");
        let primary = self.config.instance(instance).expect("an instance").primary_node;
        let secondary = self.config.node(secondary).expect("a node").uuid;
        let id = *self.config.instance(instance).expect("an instance").disks.last().expect("one");
        let mut disk = (**self.config.disks.get(&id).expect("made above")).clone();
        disk.nodes = vec![primary, secondary];
        disk.logical_id = LogicalId::Drbd(primary, secondary, 11000, 0, 0, "secret".into());
        self.apply(&[Change::Update(Object::Disk(Box::new(disk)))]);
    }

    /// Adds a DRBD disk of 1 GiB with its volumes in `xenvg`, mirrored on `secondary`.
    pub fn mirrored_volumes(&mut self, instance: &str, secondary: &str) {
        self.drbd(instance, secondary);
        let id = *self.config.instance(instance).expect("an instance").disks.last().expect("one");
        let mut disk = (**self.config.disks.get(&id).expect("made above")).clone();
        let volume = |name: &str, size| Disk {
            uuid: DiskId(Uuid::new_v5(&disk.uuid.0, name.as_bytes())),
            dev_type: DiskTemplate::Plain,
            logical_id: LogicalId::Pair("xenvg".into(), format!("{}_{name}", disk.uuid)),
            size,
            ..disk.clone()
        };
        disk.children = vec![volume("data", disk.size), volume("meta", 128)];
        self.apply(&[Change::Update(Object::Disk(Box::new(disk)))]);
    }

    /// A node answers that it has this much free in `xenvg`, and 4 GiB of memory.
    pub fn room(&mut self, node: &str, mib: u64) {
        let volume_groups = [("xenvg".to_owned(), (1 << 20, mib))].into();
        let report = NodeReport { volume_groups, ..machine(4096) };
        self.answer(node, Question::Node, Ok(Answer::Node(Box::new(report))));
    }

    /// A node's answer.
    pub fn answer(&mut self, node: &str, question: Question, answer: Result<Answer>) {
        let node = self.config.node(node).expect("a node of that name").uuid;
        self.facts.answers.push((node, question, answer));
    }

    /// A node answers that it has this much memory free.
    pub fn free_memory(&mut self, node: &str, mib: u64) {
        let report = machine(mib);
        self.answer(node, Question::Node, Ok(Answer::Node(Box::new(report))));
    }

    /// A node reported a guest by itself.
    pub fn seen(&mut self, node: &str, guest: &str) {
        let id = self.config.node(node).expect("a node of that name").uuid;
        let view = self
            .facts
            .seen
            .entry(id)
            .or_insert_with(|| Arc::new(NodeView { up: true, ..NodeView::default() }));
        Arc::make_mut(view).guests.insert(guest.into(), running(guest));
    }

    /// Makes an instance look as if it had changed then.
    pub fn touch(&mut self, name: &str, mtime: f64) {
        let old = (**self.config.instance(name).expect("an instance")).clone();
        let same = Change::Update(Object::Instance(Box::new(old)));
        let (next, _) = self.config.apply(&[same], mtime).expect("a change that fits");
        self.config = next;
    }

    /// A machine has joined.
    pub fn joined(&mut self, name: &str, address: &str) {
        self.facts.joined.push(Joined {
            name: name.into(),
            uuid: node_id(name),
            address: address.into(),
            fingerprint: format!("FP:{name}"),
        });
    }

    /// Plans an opcode.
    pub fn plan(&self, op: impl Into<OpInput>) -> Result<Plan> {
        let op = op.into();
        Operations.locks(&op, &self.config)?;
        let mut ids = Counter(self.ran << 32);
        Operations.plan(&mut PlanInput {
            op: &op,
            job: JobId(7),
            config: &self.config,
            facts: &self.facts,
            active: &self.active,
            ids: &mut ids,
        })
    }

    /// Does something that plans do.
    pub fn planning<T>(&self, run: impl FnOnce(&mut Context<'_, '_>) -> T) -> T {
        let op: OpInput = roost_proto::opcodes::ClusterVerifyConfig::new().into();
        let mut ids = Counter(self.ran << 32);
        run(&mut Context::new(&mut PlanInput {
            op: &op,
            job: JobId(7),
            config: &self.config,
            facts: &self.facts,
            active: &self.active,
            ids: &mut ids,
        }))
    }

    /// Why an opcode is refused: by its locks, its questions or its plan.
    pub fn refusal(&self, op: impl Into<OpInput>) -> Error {
        let op = op.into();
        let questions = Operations.questions(&op, &self.config).map(|_| ());
        let refused = questions.and_then(|()| self.plan(op).map(|_| ()));
        refused.expect_err("it must be refused")
    }

    /// What an opcode asks, by the names of the nodes.
    pub fn questions(&self, op: impl Into<OpInput>) -> Vec<(String, Question)> {
        let asked = Operations.questions(&op.into(), &self.config).expect("questions");
        asked.into_iter().map(|(node, q)| (self.config.node_name(node), q)).collect()
    }

    /// What an opcode asks when the answers are there, by the names of the nodes.
    pub fn further(&self, op: impl Into<OpInput>) -> Vec<(String, Question)> {
        let op = op.into();
        let mut ids = Counter(self.ran << 32);
        let asked = Operations.further(&mut PlanInput {
            op: &op,
            job: JobId(7),
            config: &self.config,
            facts: &self.facts,
            active: &self.active,
            ids: &mut ids,
        });
        let asked = asked.expect("questions");
        asked.into_iter().map(|(node, q)| (self.config.node_name(node), q)).collect()
    }

    /// Plans an opcode and carries out what its pivot changes.
    pub fn run(&mut self, op: impl Into<OpInput>) -> Plan {
        let plan = self.plan(op).expect("a plan");
        self.apply(&plan.pivot.changes);
        self.ran += 1;
        plan
    }
}

/// Adds a group that has these nodes.
pub fn group_of_nodes(site: &mut Site, name: &str, nodes: &[&str]) {
    site.group(name);
    let group = site.config.group(name).expect("made").uuid;
    for node in nodes {
        site.node(node, |node| node.group = group);
    }
}

/// A machine with so much memory free, MiB.
pub fn machine(memory_free: u64) -> NodeReport {
    let memory_total = 65_536;
    NodeReport { memory_total, memory_free, cpu_total: 16, cpu_dom0: 1, ..NodeReport::default() }
}

/// Answers all questions of an opcode as healthy nodes do: every instance that shall run runs, every
/// disk is there, nothing is missing. `change` makes what is to be found.
pub fn verified(site: &mut Site, op: impl Into<OpInput>, change: impl Fn(&str, &mut VerifyReport)) {
    for (node, question) in site.questions(op) {
        let answer = match &question {
            Question::Verify { .. } => {
                let mut report = healthy(&site.config, &node);
                change(&node, &mut report);
                Answer::Verify(Box::new(report))
            }
            Question::Blocks { disks } => {
                Answer::Blocks(disks.iter().map(|_| status(BlockState::Active)).collect())
            }
            Question::IpAddress { probe, .. } => {
                let here = site.config.node(&node).expect("a node").uuid == site.config.master();
                Answer::IpAddress(IpReport { here, answers: probe.then_some(!here) })
            }
            Question::OobPrograms { .. } => Answer::OobPrograms(Default::default()),
            other => panic!("an unexpected question: {other:?}"),
        };
        site.answer(&node, question, Ok(answer));
    }
}

fn healthy(config: &Config, node: &str) -> VerifyReport {
    let id = config.node(node).expect("a node").uuid;
    let shall_run = config.instances_on(id).filter(|i| i.admin_state == AdminState::Up);
    let digest = |text: &String| {
        let bytes = Sha256::digest(text.as_bytes());
        bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()
    };
    VerifyReport {
        node: NodeReport { version: crate::config::RELEASE.into(), time: NOW, ..machine(4096) },
        guests: shall_run.map(|i| running(&i.name)).collect(),
        ssconf: config.ssconf().iter().map(|(key, text)| (key.clone(), digest(text))).collect(),
        certificate_expires: Some(NOW + 1e8),
        ..VerifyReport::default()
    }
}

/// The findings in what a verification says.
pub fn errors(site: &Site, op: impl Into<OpInput>) -> Vec<String> {
    let said = site.plan(op).expect("a plan").say;
    let finding = |line: &String| line.starts_with("  - ERROR") || line.starts_with("  - WARNING");
    said.into_iter().filter(finding).collect()
}

/// The state of a disk of 1 GiB.
pub fn status(state: BlockState) -> BlockStatus {
    BlockStatus {
        state,
        path: None,
        major_minor: None,
        size: Some(1024),
        sync: None,
        detail: if state == BlockState::Faulty { "broken".into() } else { String::new() },
        children: vec![],
    }
}

/// UUIDs one after the other: 1, 2, 3, … of the first plan.
struct Counter(u128);

impl IdSource for Counter {
    fn uuid(&mut self) -> Uuid {
        self.0 += 1;
        Uuid::from_u128(self.0)
    }

    fn now(&mut self) -> f64 {
        NOW
    }
}

/// The UUID of the node of a name.
pub fn node_id(name: &str) -> NodeId {
    NodeId(Uuid::new_v5(&Uuid::NAMESPACE_DNS, name.as_bytes()))
}

/// A node, not stored yet.
pub fn new_node(name: &str, address: &str) -> Node {
    Node {
        uuid: node_id(name),
        name: NodeName::new(name).expect("a good name"),
        primary_ip: address.into(),
        secondary_ip: address.into(),
        master_candidate: false,
        offline: false,
        drained: false,
        group: new_group("default").uuid,
        master_capable: true,
        vm_capable: true,
        ndparams: Default::default(),
        powered: true,
        hv_state_static: Default::default(),
        disk_state_static: Default::default(),
        ctime: 1000.0,
        mtime: 1000.0,
        serial_no: 1,
        tags: vec![],
        extra: Default::default(),
    }
}

/// A group, not stored yet.
pub fn new_group(name: &str) -> NodeGroup {
    NodeGroup {
        uuid: GroupId(Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes())),
        name: GroupName::new(name).expect("a good name"),
        members: vec![],
        ndparams: Default::default(),
        alloc_policy: AllocPolicy::Preferred,
        ipolicy: Default::default(),
        diskparams: Default::default(),
        networks: Default::default(),
        hv_state_static: Default::default(),
        disk_state_static: Default::default(),
        ctime: 1000.0,
        mtime: 1000.0,
        serial_no: 1,
        tags: vec![],
        extra: Default::default(),
    }
}

/// A guest at work with 128 MiB.
pub fn running(name: &str) -> GuestReport {
    GuestReport {
        name: name.into(),
        uuid: None,
        hypervisor: Hypervisor::Fake,
        state: GuestState::Running,
        memory: 128,
        vcpus: 1,
        cpu_time: 0.0,
    }
}

/// A cluster whose instances need no network cards.
fn cluster(master: NodeId) -> Cluster {
    let mut policy = IPolicy::default();
    policy.minmax[0].min.nic_count = 0;
    policy.std.nic_count = 0;
    let fields = serde_json::json!({
        "uuid": Uuid::from_u128(0xc),
        "cluster_name": ClusterName::new("site").expect("a good name"),
        "ctime": 1000.0, "mtime": 1000.0, "serial_no": 1,
        "master_node": master,
        "master_ip": "192.0.2.100",
        "master_netdev": "eth0",
        "master_netmask": 32,
        "primary_ip_family": 2,
        "highest_used_port": 11000,
        "mac_prefix": "aa:00:00",
        "enabled_hypervisors": ["fake"],
        "enabled_disk_templates": ["diskless", "file", "sharedfile"],
        "file_storage_dir": "/srv/file",
        "shared_file_storage_dir": "/srv/shared",
        "candidate_pool_size": 10,
        "max_running_jobs": 20,
        "max_tracked_jobs": 25,
        "ipolicy": policy.to_map(),
    });
    serde_json::from_value(fields).expect("a complete cluster")
}
