//! Machines that do not exist: what they have, and what every action does to it.
//!
//! Actions mean what `proto::node::Action` says and may be repeated. The model is strict where a
//! real machine would silently suffer: whatever would destroy data — a guest that runs twice, a
//! disk removed, wiped or overwritten in use — is noted as a violation.

use super::mirror::Mirror;
use roost_masterd::nodes::{Joined, NodeView};
use roost_proto::choices::{Hypervisor, OobAction};
use roost_proto::error::{Error, Result};
use roost_proto::ids::{DiskId, InstanceId, NicId, NodeId};
use roost_proto::node::{
    Action, GuestNic, GuestReport, GuestSpec, GuestState, NodeReport, OsScript, Outcome, RebootKind,
};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// MiB of every machine, and what it needs for itself.
pub const MEMORY: u64 = 8192;
pub const OWN_MEMORY: u64 = 512;
/// MiB of every machine's volume group `xenvg`.
pub const VOLUMES: u64 = 1 << 20;

/// A disk's data somewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Data {
    pub disk: DiskId,
    pub size: u64,
    /// Stands for what is on it.
    pub content: String,
    /// All of it is of one moment. Not so on a mirror's side that is new, or being made equal.
    pub good: bool,
    /// It is known that the other side has newer data.
    pub outdated: bool,
    /// A mirror's: grows when it is written and the other side does not know.
    pub generations: Vec<u64>,
}

impl Data {
    /// A new disk's.
    pub fn new(disk: DiskId, size: u64) -> Data {
        let (content, generations) = (String::new(), Vec::new());
        Data { disk, size, content, good: true, outdated: false, generations }
    }

    /// Not one of the cluster's: to be adopted.
    pub fn is_nobodys(&self) -> bool {
        self.disk.0.is_nil()
    }
}

/// How a node may use a disk it has assembled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Access {
    Closed,
    Shared,
    Exclusive,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Guest {
    pub uuid: InstanceId,
    pub hypervisor: Hypervisor,
    pub state: GuestState,
    pub memory: u64,
    pub vcpus: u64,
    pub disks: Vec<DiskId>,
    /// What a card is like.
    pub nics: BTreeMap<NicId, String>,
}

/// A machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    pub name: String,
    /// Does not answer.
    pub dead: bool,
    pub files: BTreeMap<String, Data>,
    pub assembled: BTreeMap<DiskId, Access>,
    pub mirrors: BTreeMap<DiskId, Mirror>,
    pub guests: BTreeMap<String, Guest>,
    /// Migrations let in, by token.
    pub accepted: BTreeMap<String, String>,
    /// Disks that may be written over, by token.
    pub receiving: BTreeMap<String, InstanceId>,
    pub ssconf: BTreeMap<String, String>,
    pub crypto: super::crypto::Equipment,
    pub exports: super::export::Exports,
    /// The master IP with its device, where it is here.
    pub addresses: BTreeMap<IpAddr, String>,
    /// Physical volumes on which nothing new may be put.
    pub not_allocatable: std::collections::BTreeSet<String>,
    /// Volume groups that lost a physical volume.
    pub broken_groups: std::collections::BTreeSet<String>,
    /// Has forgotten the cluster.
    pub left: bool,
}

/// All machines, and the file system they share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    pub machines: BTreeMap<NodeId, Machine>,
    pub shared: BTreeMap<String, Data>,
    pub joined: Vec<Joined>,
    /// Machines that did not answer a question: what they were to be told, the reconciler tells.
    pub silent: std::collections::BTreeSet<NodeId>,
    /// Machines whose out-of-band helper switched them off, by name.
    pub off: std::collections::BTreeSet<String>,
    /// The newest generation of any mirror's data.
    pub generation: u64,
    /// What must never happen, and did.
    pub violations: Vec<String>,
}

pub fn wrong(text: String) -> Error {
    Error::wrong_state(text)
}

fn card(nic: &GuestNic) -> String {
    format!("{} {} {} {}", nic.mac, nic.mode.as_str(), nic.link, nic.vlan)
}

impl Guest {
    fn new(spec: &GuestSpec, paused: bool) -> Guest {
        Guest {
            uuid: spec.uuid,
            hypervisor: spec.hypervisor,
            state: if paused { GuestState::Paused } else { GuestState::Running },
            memory: spec.maxmem(),
            vcpus: spec.vcpus(),
            disks: spec.disks.iter().map(|d| d.disk.uuid).collect(),
            nics: spec.nics.iter().map(|nic| (nic.uuid, card(nic))).collect(),
        }
    }

    pub fn report(&self, name: &str) -> GuestReport {
        GuestReport {
            name: name.to_owned(),
            uuid: Some(self.uuid),
            hypervisor: self.hypervisor,
            state: self.state,
            memory: self.memory,
            vcpus: self.vcpus,
            cpu_time: 0.0,
        }
    }
}

impl Machine {
    pub fn report(&self) -> NodeReport {
        let used_disk: u64 = self.files.values().map(|data| data.size).sum();
        let used: u64 =
            self.guests.values().filter(|g| g.state.is_running()).map(|g| g.memory).sum();
        NodeReport {
            boot_id: "boot".into(),
            version: "0".into(),
            memory_total: MEMORY,
            memory_dom0: OWN_MEMORY,
            memory_free: MEMORY - OWN_MEMORY - used,
            volume_groups: BTreeMap::from([("xenvg".into(), (VOLUMES, VOLUMES - used_disk))]),
            cpu_nodes: 1,
            cpu_sockets: 1,
            cpu_total: 8,
            ..NodeReport::default()
        }
    }

    pub fn reports(&self) -> Vec<GuestReport> {
        self.guests.iter().map(|(name, guest)| guest.report(name)).collect()
    }

    pub fn running(&mut self, name: &str) -> Result<&mut Guest> {
        self.guests
            .get_mut(name)
            .filter(|g| g.state.is_running())
            .ok_or_else(|| wrong(format!("{name} does not run here")))
    }

    pub fn usable(&self, disk: DiskId) -> Result<()> {
        match self.assembled.get(&disk) {
            Some(Access::Shared | Access::Exclusive) => Ok(()),
            other => Err(wrong(format!("disk {disk} is not usable here: {other:?}"))),
        }
    }

    fn outcome(&self, name: &str) -> Outcome {
        match self.guests.get(name) {
            Some(guest) => Outcome { guest: Some(guest.report(name)), ..Outcome::default() },
            None => Outcome {
                gone: vec![roost_proto::names::InstanceName::new(name).expect("it has a name")],
                ..Outcome::default()
            },
        }
    }
}

impl World {
    /// What nodes report by themselves.
    pub fn seen(&self) -> HashMap<NodeId, Arc<NodeView>> {
        let view = |machine: &Machine| NodeView {
            up: !machine.dead,
            problem: String::new(),
            report: machine.report(),
            guests: machine.reports().into_iter().map(|g| (g.name.clone(), g)).collect(),
            mirrors: BTreeMap::new(),
            told: 1,
        };
        self.machines.iter().map(|(id, machine)| (*id, Arc::new(view(machine)))).collect()
    }

    /// The machine, if it answers.
    pub fn machine(&mut self, node: NodeId) -> Result<&mut Machine> {
        match self.machines.get_mut(&node) {
            Some(machine) if machine.dead => {
                Err(Error::environment(format!("{} does not answer", machine.name)))
            }
            Some(machine) => Ok(machine),
            None => Err(Error::environment(format!("there is no machine {node}"))),
        }
    }

    fn run_guest(&mut self, node: NodeId, spec: &GuestSpec, paused: bool) -> Result<()> {
        let name = spec.name.as_str();
        let machine = self.machine(node)?;
        if machine.running(name).is_ok() {
            return Ok(());
        }
        if machine.guests.get(name).is_some_and(|g| g.state == GuestState::Incoming) {
            return Err(wrong(format!("{name} is being received")));
        }
        for disk in &spec.disks {
            machine.usable(disk.disk.uuid)?;
        }
        machine.guests.insert(name.into(), Guest::new(spec, paused));
        for (other, machine) in &self.machines {
            if *other != node && machine.guests.get(name).is_some_and(|g| g.state.is_running()) {
                let text = format!("{name} runs on {} and is started a second time", machine.name);
                self.violations.push(text);
                break;
            }
        }
        Ok(())
    }

    /// Does it.
    pub fn apply(&mut self, node: NodeId, action: &Action) -> Result<Outcome> {
        let done = self.act(node, action);
        self.note_who_is_alone();
        done
    }

    fn act(&mut self, node: NodeId, action: &Action) -> Result<Outcome> {
        self.machine(node)?;
        match action {
            Action::DisksCreate { disks, .. }
            | Action::DisksRemove { disks, .. }
            | Action::DisksWipe { disks, .. }
            | Action::DisksAssemble { disks, .. }
            | Action::DisksShutdown { disks, .. }
            | Action::DisksOpen { disks, .. }
            | Action::DisksClose { disks, .. }
            | Action::MirrorsSeed { disks, .. }
            | Action::MirrorsSync { disks, .. }
            | Action::MirrorsDetach { disks, .. }
            | Action::MirrorsDisconnect { disks, .. }
            | Action::MirrorsDiscard { disks, .. } => self.apply_to_disks(node, action, disks),
            Action::DiskGrow { disk, size, .. } => {
                self.grow(node, disk, *size)?;
                Ok(Outcome::default())
            }
            Action::DisksSnapshot { from, to, .. } => {
                for (from, to) in from.iter().zip(to) {
                    self.snapshot(node, from, to)?;
                }
                Ok(Outcome::default())
            }
            Action::DisksRename { from, to, .. } => {
                for (from, to) in from.iter().zip(to) {
                    self.rename(node, from, to)?;
                }
                Ok(Outcome::default())
            }
            Action::DisksReceive { instance, disks, token } => {
                for disk in disks {
                    self.must_exist(node, disk)?;
                }
                let receiving = &mut self.machine(node)?.receiving;
                receiving.retain(|_, known| *known != instance.uuid);
                receiving.insert(token.clone(), instance.uuid);
                Ok(Outcome::default())
            }
            Action::DisksCopy { from, to, target, token, .. } => {
                self.copy(node, from, *target, to, token)?;
                Ok(Outcome::default())
            }
            Action::DisksMirror { guest, from, to } => {
                self.mirror_disks(node, &guest.name, from, to)?;
                Ok(self.machine(node)?.outcome(&guest.name))
            }
            Action::OsRun { guest, script, .. } => {
                for disk in guest.disks.iter().map(|d| &d.disk) {
                    self.machine(node)?.usable(disk.uuid)?;
                    self.must_exist(node, disk)?;
                    if let OsScript::Create { .. } = script {
                        self.install(node, disk, &guest.os)?;
                    }
                }
                Ok(Outcome::default())
            }
            Action::Export(action) => self.apply_export(node, action),
            Action::Crypto(action) => {
                self.apply_crypto(node, action)?;
                Ok(Outcome::default())
            }
            Action::Hooks { .. } | Action::Delay { .. } => Ok(Outcome::default()),
            Action::StorageModify { name, changes, .. } => {
                let full = &mut self.machine(node)?.not_allocatable;
                match changes["allocatable"].as_bool() {
                    Some(true) => full.remove(name),
                    _ => full.insert(name.clone()),
                };
                Ok(Outcome::default())
            }
            Action::StorageRepair { name, .. } => {
                self.machine(node)?.broken_groups.remove(name);
                Ok(Outcome::default())
            }
            Action::MasterIpUp { address } => {
                if self.has(address.ip, Some(node)) {
                    return Err(wrong(format!("somebody else has {}", address.ip)));
                }
                let place = format!("{}/{}", address.netdev, address.netmask);
                self.machine(node)?.addresses.insert(address.ip, place);
                Ok(Outcome::default())
            }
            Action::MasterIpDown { address } => {
                self.machine(node)?.addresses.remove(&address.ip);
                Ok(Outcome::default())
            }
            Action::SsconfWrite { values } => {
                self.machine(node)?.ssconf = values.clone();
                Ok(Outcome::default())
            }
            Action::Powercycle { .. } => {
                let machine = self.machine(node)?;
                machine.guests.clear();
                machine.assembled.clear();
                machine.mirrors.clear();
                machine.addresses.clear();
                Ok(Outcome::default())
            }
            Action::Oob(call) => {
                match call.command {
                    OobAction::PowerOff => self.off.insert(call.node.clone()),
                    _ => self.off.remove(&call.node),
                };
                Ok(Outcome::default())
            }
            Action::Leave => {
                let machine = self.machine(node)?;
                machine.left = true;
                machine.ssconf.clear();
                Ok(Outcome::default())
            }
            _ => self.apply_to_guest(node, action),
        }
    }

    fn apply_to_guest(&mut self, node: NodeId, action: &Action) -> Result<Outcome> {
        let machine = self.machine(node)?;
        let name = match action {
            Action::GuestStop { instance, .. }
            | Action::GuestBalloon { instance, .. }
            | Action::GuestResume { instance, .. }
            | Action::GuestForget { instance, .. } => instance.name.to_string(),
            Action::GuestStart { guest, .. }
            | Action::GuestReboot { guest, .. }
            | Action::DiskPlug { guest, .. }
            | Action::DiskUnplug { guest, .. }
            | Action::NicPlug { guest, .. }
            | Action::NicUnplug { guest, .. }
            | Action::NicReplug { guest, .. }
            | Action::MigrateAccept { guest, .. }
            | Action::MigrateRun { guest, .. }
            | Action::MigrateFinish { guest, .. } => guest.name.to_string(),
            other => return Err(wrong(format!("machines can't do this: {other:?}"))),
        };
        match action {
            Action::GuestStart { guest, paused } => self.run_guest(node, guest, *paused)?,
            Action::GuestStop { .. } => {
                machine.guests.remove(&name);
            }
            Action::GuestReboot { guest, kind, .. } => {
                let running = machine.running(&name)?;
                if *kind == RebootKind::Hard {
                    *running = Guest::new(guest, false);
                }
            }
            Action::GuestBalloon { memory, .. } => machine.running(&name)?.memory = *memory,
            Action::GuestResume { .. } => machine.running(&name)?.state = GuestState::Running,
            Action::GuestForget { .. } => {
                if machine.running(&name).is_ok() {
                    return Err(wrong(format!("{name} runs here")));
                }
                machine.guests.remove(&name);
            }
            Action::DiskPlug { disk, .. } => {
                machine.usable(disk.uuid)?;
                let guest = machine.running(&name)?;
                if !guest.disks.contains(&disk.uuid) {
                    guest.disks.push(disk.uuid);
                }
            }
            Action::DiskUnplug { disk, .. } => {
                machine.running(&name)?.disks.retain(|known| *known != disk.uuid);
            }
            Action::NicPlug { nic, .. } => {
                machine.running(&name)?.nics.entry(nic.uuid).or_insert_with(|| card(nic));
            }
            Action::NicUnplug { nic, .. } => {
                machine.running(&name)?.nics.remove(&nic.uuid);
            }
            Action::NicReplug { nic, .. } => {
                let guest = machine.running(&name)?;
                let known = guest.nics.get_mut(&nic.uuid);
                *known.ok_or_else(|| wrong(format!("{name} has no such card")))? = card(nic);
            }
            Action::MigrateAccept { guest, token } => {
                for disk in &guest.disks {
                    machine.usable(disk.disk.uuid)?;
                }
                machine.accepted.insert(token.clone(), name.clone());
            }
            Action::MigrateRun { guest, target, token, mode, .. } => {
                if machine.running(&name).is_ok() {
                    let disks: Vec<_> = guest.disks.iter().map(|d| d.disk.clone()).collect();
                    self.take_along(node, *target, &disks, mode.copy_disks)?;
                }
                self.migrate(node, *target, token, &name)?;
            }
            Action::MigrateFinish { token, success, .. } => {
                machine.accepted.remove(token);
                match (success, machine.running(&name).is_ok()) {
                    (true, true) => {}
                    (true, false) => return Err(Error::exec(format!("{name} is not here"))),
                    (false, true) => return Err(wrong(format!("{name} runs here, left alone"))),
                    (false, false) => {
                        machine.guests.remove(&name);
                    }
                }
            }
            other => return Err(wrong(format!("not about guests: {other:?}"))),
        }
        Ok(self.machine(node)?.outcome(&name))
    }

    fn migrate(&mut self, node: NodeId, target: NodeId, token: &str, name: &str) -> Result<()> {
        let there = self.machine(target)?;
        if there.accepted.get(token).map(String::as_str) != Some(name) {
            return Err(wrong(format!("{name} is not awaited there")));
        }
        let is_there = there.running(name).is_ok();
        let here = self.machine(node)?;
        match (here.running(name).is_ok(), is_there) {
            (false, true) => Ok(()),
            (false, false) => Err(wrong(format!("{name} runs neither here nor there"))),
            (true, true) => Err(wrong(format!("{name} runs here and there"))),
            (true, false) => {
                let guest = here.guests.remove(name).expect("it was just seen");
                self.machine(target)?.guests.insert(name.into(), guest);
                Ok(())
            }
        }
    }

    /// Whether a machine but `except` answers to an address.
    pub fn has(&self, ip: IpAddr, except: Option<NodeId>) -> bool {
        let others = self.machines.iter().filter(|(id, m)| Some(**id) != except && !m.dead);
        others.into_iter().any(|(_, machine)| machine.addresses.contains_key(&ip))
    }

    /// The machine of a name.
    pub fn named(&mut self, name: &str) -> &mut Machine {
        let full = format!("{name}.example.com");
        self.machines.values_mut().find(|m| m.name == full).expect("a machine of that name")
    }

    /// The power of a machine fails.
    pub fn kill(&mut self, name: &str) {
        let machine = self.named(name);
        machine.dead = true;
        machine.guests.clear();
        machine.assembled.clear();
        machine.mirrors.clear();
        machine.accepted.clear();
        machine.receiving.clear();
        machine.addresses.clear();
        self.note_who_is_alone();
    }

    /// Moves a running guest behind everybody's back.
    pub fn teleport(&mut self, guest: &str, from: &str, to: &str) {
        let moved = self.named(from).guests.remove(guest).expect("a guest to move");
        let target = self.named(to);
        target.assembled.extend(moved.disks.iter().map(|disk| (*disk, Access::Exclusive)));
        target.guests.insert(guest.into(), moved);
    }
}
