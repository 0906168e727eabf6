//! The answers.

use super::facts;
use super::haskell::{haskell, shown};
use super::lookup::Miss;
use super::table::{NONE, Slot};
use super::token::{Text, put_uint};
use super::{LONGEST, View};
use crate::wire::{Dict, ErrorCode, Field, Head, Query, QueryType, Request, Role, Status, quote};

/// Why there is no answer.
enum Refusal {
    Code(ErrorCode),
    Text(String),
}

impl Refusal {
    /// As the reference's daemon prints an unmet prerequisite.
    fn miss(prefix: &str, sentence: &str) -> Refusal {
        Refusal::Text(format!("{prefix}OpPrereqError {} ECodeNoEnt", haskell(sentence)))
    }

    /// The same where it is meant for people.
    fn miss_in_full(sentence: &str) -> Refusal {
        let why = "Failure: prerequisites not met for this operation:\nerror type: ECodeNoEnt, error details:\n";
        Refusal::Text(format!("{why}{sentence}"))
    }

    fn wrong_kind(query: &Query<'_>) -> Refusal {
        Refusal::Text(format!("Invalid query type {}", shown(query)))
    }
}

/// The serial number of the answer, or why there is none.
type Answered = Result<u64, Refusal>;

/// A page of [`QueryType::NodeGuests`] ends behind the entry that makes it this long, bytes.
const PAGE: usize = 40_000;

impl View {
    /// Appends the answer to `out`. One that is longer than [`LONGEST`] may not be whole.
    pub fn answer(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Head {
        let begin = out.len();
        let refusal = match self.try_answer(request, out) {
            Ok(serial) => return Head { status: Status::Ok, serial },
            Err(refusal) => refusal,
        };
        out.truncate(begin);
        match refusal {
            Refusal::Code(code) => out.push(b'0' + code as u8),
            Refusal::Text(text) => quote(&text, out),
        }
        Head { status: Status::Error, serial: 0 }
    }

    fn try_answer(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Answered {
        let (query, serial) = (&request.query, self.summary.serial);
        match request.kind {
            QueryType::Ping => {
                put_uint(self.summary.version, out);
                Ok(0)
            }
            QueryType::NodeRoleByName => self.node_role(text(query)?, out),
            QueryType::NodePipByInstanceIp => self.node_pip(query, out),
            QueryType::ClusterMaster => self.cluster_master(query, out),
            QueryType::NodePipList => {
                out.extend_from_slice(&self.summary.primary_ips);
                Ok(serial)
            }
            QueryType::McPipList => {
                out.extend_from_slice(&self.summary.candidate_ips);
                Ok(serial)
            }
            QueryType::InstancesIpsList => {
                let default = &*self.summary.default_link;
                let link = match query {
                    Query::Empty => default,
                    Query::Text(link) => link,
                    Query::Dict(_) => return Err(Refusal::Text("Invalid query type".into())),
                };
                self.links.write(link, default, out.len() + LONGEST, out);
                Ok(serial)
            }
            QueryType::NodeDrbd => self.node_drbd(text(query)?, out),
            QueryType::NodeInstances => self.node_instances(text(query)?, out),
            QueryType::InstanceDisks => self.instance_disks(text(query)?, out),
            QueryType::ConfigQuery => {
                let found = self.write_at(text(query)?, out);
                found.map(|()| serial).ok_or(Refusal::Code(ErrorCode::Argument))
            }
            QueryType::DataCollectors => {
                out.extend_from_slice(&self.summary.collectors);
                Ok(serial)
            }
            QueryType::NodeGuests => self.node_guests(text(query)?, out),
        }
    }

    /// The row of the master. Errors: `refuse` of the sentence that says that it is not there.
    fn master(&self, refuse: impl Fn(&str) -> Refusal) -> Result<Slot, Refusal> {
        self.summary.master.ok_or_else(|| {
            refuse(&Miss::None.sentence("Node", &self.summary.master_id.to_string()))
        })
    }

    fn node_role(&self, wanted: &str, out: &mut Vec<u8>) -> Answered {
        let master = self.node(self.master(Refusal::miss_in_full)?);
        let slot = self.find_node(wanted);
        let slot = slot.map_err(|m| Refusal::miss_in_full(&m.sentence("Node", wanted)))?;
        let role = match &self.sides[slot as usize].facts {
            // As the reference's daemon: only who knows its full name is told so.
            _ if master.name == wanted => Role::Master,
            Some(node) if node.drained => Role::Drained,
            Some(node) if node.offline => Role::Offline,
            Some(node) if node.candidate => Role::Candidate,
            _ => Role::Regular,
        };
        out.push(b'0' + role as u8);
        Ok(self.summary.serial)
    }

    fn node_pip(&self, query: &Query<'_>, out: &mut Vec<u8>) -> Answered {
        let Query::Dict(Dict { link, ip, ips, .. }) = query else {
            return Err(Refusal::Code(ErrorCode::Argument));
        };
        let (link, serial) =
            (link.as_deref().unwrap_or(&self.summary.default_link), self.summary.serial);
        if let Some(ip) = ip {
            let found = self.pip_of(link, ip).ok_or(Refusal::Code(ErrorCode::UnknownEntry))?;
            quote(found, out);
            return Ok(serial);
        }
        out.push(b'[');
        for (at, ip) in ips.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            match self.pip_of(link, ip) {
                Some(found) => {
                    out.extend_from_slice(b"[0,");
                    quote(found, out);
                    out.push(b',');
                    put_uint(serial, out);
                    out.push(b']');
                }
                None => out.extend_from_slice(b"[1,0,0]"),
            }
        }
        out.push(b']');
        Ok(serial)
    }

    /// The address of the primary node of whoever has an address on a link; of several, the last by UUID.
    fn pip_of(&self, link: &str, ip: &str) -> Option<&str> {
        let owners = self.links.owners(link, &self.summary.default_link, ip);
        let owner = owners.max_by_key(|slot| self.instances.row(*slot).id)?;
        let node = self.instances.row(owner).link;
        let side = self.sides.get(node as usize).filter(|_| node != NONE)?;
        Some(&side.facts.as_ref()?.primary_ip)
    }

    fn cluster_master(&self, query: &Query<'_>, out: &mut Vec<u8>) -> Answered {
        match query {
            Query::Empty => quote(self.node(self.master(Refusal::miss_in_full)?).name, out),
            Query::Text(_) => return Err(Refusal::Code(ErrorCode::Argument)),
            Query::Dict(Dict { fields, .. }) => {
                let slot = self.master(|sentence| Refusal::miss("", sentence))?;
                let node = self.sides[slot as usize].facts.as_ref();
                out.push(b'[');
                for (at, field) in fields.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    let text = match field {
                        Field::Name => self.node(slot).name,
                        Field::Ip => &self.summary.master_ip,
                        Field::MasterPip => node.map_or("", |n| &n.primary_ip),
                    };
                    quote(text, out);
                }
                out.push(b']');
            }
        }
        Ok(self.summary.serial)
    }

    fn node_drbd(&self, wanted: &str, out: &mut Vec<u8>) -> Answered {
        let slot = self.find_node(wanted);
        let slot = slot.map_err(|m| Refusal::miss("", &m.sentence("Node", wanted)))?;
        let (node, limit) = (self.node(slot), out.len() + LONGEST);
        let mut separator = b'[';
        for instance in &self.sides[slot as usize].mirrored {
            let role =
                if self.instances.row(*instance).link == slot { "primary" } else { "secondary" };
            let name = self.instance(*instance).name;
            let disks: Option<Vec<Slot>> = facts::disks(self.instance(*instance))
                .into_iter()
                .map(|d| self.disks.find(d))
                .collect();
            // The reference's daemon knows no disk of an instance that lacks one.
            for (at, disk) in disks.unwrap_or_default().into_iter().enumerate() {
                let minors = facts::minors(self.packed(&self.disks, disk)).unwrap_or_default();
                for minor in minors.into_iter().filter(|m| m.node == node.id) {
                    let peer = self.nodes.find(minor.peer).ok_or_else(|| {
                        Refusal::miss("", &Miss::None.sentence("Node", &minor.peer.to_string()))
                    })?;
                    out.extend_from_slice(&[separator, b'[']);
                    separator = b',';
                    quote(node.name, out);
                    out.push(b',');
                    put_uint(minor.number, out);
                    out.push(b',');
                    quote(name, out);
                    out.extend_from_slice(b",\"disk/");
                    put_uint(at as u64, out);
                    out.extend_from_slice(b"\",\"");
                    out.extend_from_slice(role.as_bytes());
                    out.extend_from_slice(b"\",");
                    quote(self.node(peer).name, out);
                    out.push(b']');
                }
            }
            if out.len() > limit {
                break;
            }
        }
        if separator == b'[' {
            out.push(b'[');
        }
        out.push(b']');
        Ok(node.serial)
    }

    /// Instances that have a mirror on a node and are not there.
    fn secondaries(&self, node: Slot) -> impl Iterator<Item = Slot> {
        let mirrored = self.sides[node as usize].mirrored.iter().copied();
        mirrored.filter(move |slot| self.instances.row(*slot).link != node)
    }

    /// A node that is asked for its instances.
    fn node_of_instances(&self, wanted: &str) -> Result<Slot, Refusal> {
        self.find_node(wanted).map_err(|miss| {
            let sentence = miss.sentence("Node", wanted);
            Refusal::miss("Node not found in the configuration: ", &sentence)
        })
    }

    fn node_instances(&self, wanted: &str, out: &mut Vec<u8>) -> Answered {
        let slot = self.node_of_instances(wanted)?;
        let limit = out.len() + LONGEST;
        out.extend_from_slice(b"[[");
        self.write_instances(self.sides[slot as usize].primaries.iter().copied(), limit, out);
        out.extend_from_slice(b"],[");
        self.write_instances(self.secondaries(slot), limit, out);
        out.extend_from_slice(b"]]");
        Ok(self.node(slot).serial)
    }

    fn write_instances(&self, slots: impl Iterator<Item = Slot>, limit: usize, out: &mut Vec<u8>) {
        for (at, slot) in slots.enumerate() {
            if out.len() > limit {
                break;
            }
            if at > 0 {
                out.push(b',');
            }
            self.instance(slot).write(out);
        }
    }

    fn instance_disks(&self, wanted: &str, out: &mut Vec<u8>) -> Answered {
        let slot = self.find_instance(wanted).map_err(|miss| {
            let sentence = miss.sentence("Instance", wanted);
            Refusal::miss("Instance not found in the configuration: ", &sentence)
        })?;
        let instance = self.instance(slot);
        out.push(b'[');
        for (at, id) in facts::disks(instance).into_iter().enumerate() {
            let disk = self.disks.find(id).ok_or_else(|| {
                let sentence = format!("Disk uuid {id} not found");
                Refusal::miss("Could not retrieve disks: ", &sentence)
            })?;
            if at > 0 {
                out.push(b',');
            }
            self.packed(&self.disks, disk).write(out);
        }
        out.push(b']');
        Ok(instance.serial)
    }

    fn node_guests(&self, wanted: &str, out: &mut Vec<u8>) -> Answered {
        let (wanted, first) = match wanted.rsplit_once('#') {
            None => (wanted, 0),
            Some((node, first)) => {
                (node, first.parse().map_err(|_| Refusal::Code(ErrorCode::Argument))?)
            }
        };
        let slot = self.node_of_instances(wanted)?;
        let primaries = &self.sides[slot as usize].primaries;
        let total = primaries.len() + self.secondaries(slot).count();
        let limit = out.len() + PAGE;
        out.extend_from_slice(b"{\"total\":");
        put_uint(total as u64, out);
        out.extend_from_slice(b",\"instances\":[");
        let here = primaries.iter().map(|slot| (*slot, true));
        let all = here.chain(self.secondaries(slot).map(|slot| (slot, false)));
        for (at, (instance, primary)) in all.skip(first).enumerate() {
            if at > 0 {
                out.push(b',');
            }
            self.write_guest(instance, primary, out);
            if out.len() > limit {
                break;
            }
        }
        out.extend_from_slice(b"]}");
        Ok(self.node(slot).serial)
    }

    fn write_guest(&self, slot: Slot, primary: bool, out: &mut Vec<u8>) {
        let instance = self.instance(slot);
        let (state, hypervisor) = facts::guest(instance);
        out.push(b'[');
        quote(instance.name, out);
        for part in [Some(Text::Id(instance.id)), state, hypervisor] {
            out.push(b',');
            part.unwrap_or(Text::Plain("")).write(out);
        }
        out.extend_from_slice(if primary { b",true,[" } else { b",false,[" });
        let begin = out.len();
        for disk in facts::disks(instance).into_iter().filter_map(|id| self.disks.find(id)) {
            facts::volumes(self.packed(&self.disks, disk), |group, name| {
                out.extend_from_slice(if out.len() > begin { b",[" } else { b"[" });
                group.write(out);
                out.push(b',');
                name.write(out);
                out.push(b']');
            });
        }
        out.extend_from_slice(b"],");
        match facts::mtime(instance) {
            Some(mut mtime) => mtime.write(out),
            None => out.push(b'0'),
        }
        out.push(b']');
    }
}

/// Queries that are one name. Errors: this is something else.
fn text<'a>(query: &'a Query<'_>) -> Result<&'a str, Refusal> {
    match query {
        Query::Text(text) => Ok(text),
        other => Err(Refusal::wrong_kind(other)),
    }
}
