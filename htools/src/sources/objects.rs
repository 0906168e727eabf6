//! Groups, nodes and instances, of whatever source has them with Ganeti's field names.
//!
//! ```text
//!   group ─► by UUID ─┐
//!   node ─────────────┴─► by name ─┐
//!   instance ──────────────────────┴─► finish(cluster) ─► Known
//! ```

use super::record::Record;
use super::{Known, Malformed, policy};
use crate::model::{Cluster, Disk, Group, GroupIdx, Instance, Node, NodeIdx, Status, Utilisation};
use std::collections::{HashMap, HashSet};

/// A cluster that grows.
#[derive(Debug, Default)]
pub(super) struct Builder {
    cluster: Cluster,
    groups: HashMap<String, GroupIdx>,
    nodes: HashMap<String, NodeIdx>,
    instances: HashSet<String>,
    down: Vec<bool>,
}

impl Builder {
    /// Adds a group.
    pub fn group(&mut self, mut record: Record<'_>) -> Result<(), Malformed> {
        let name = record.named("group")?;
        let uuid = record.text("uuid")?.to_owned();
        let index = GroupIdx::of(self.cluster.groups.len());
        if self.groups.insert(uuid.clone(), index).is_some() {
            return Err(record.error("uuid", format!("'{uuid}' is there twice")));
        }
        let read = |value| policy::read(value).map_err(|why| record.error("ipolicy", why));
        let own = record.value("custom_ipolicy").ok().and_then(|own| own.as_object());
        self.cluster.groups.push(Group {
            name,
            uuid,
            alloc_policy: record.word("alloc_policy")?,
            tags: record.texts("tags")?,
            networks: vec![],
            policy: read(record.value("ipolicy")?)?,
            own_policy: own.is_some_and(|own| !own.is_empty()),
        });
        Ok(())
    }

    /// Adds a node. One that is offline or cannot have instances has no figures; one that has them must
    /// tell its memory and processors, and may be without storage.
    pub fn node(&mut self, mut record: Record<'_>) -> Result<(), Malformed> {
        let name = record.named("node")?;
        let uuid = record.text("group.uuid")?;
        let unknown =
            || record.error("group.uuid", format!("Unknown group '{uuid}' for node {name}"));
        let group = *self.groups.get(uuid).ok_or_else(unknown)?;
        let index = NodeIdx::of(self.cluster.nodes.len());
        if self.nodes.insert(name.clone(), index).is_some() {
            return Err(record.error("name", "it is there twice"));
        }
        let vm_capable = !record.has("vm_capable") || record.truth("vm_capable")?;
        let down = record.truth("offline")?;
        let live = vm_capable && !down;
        self.down.push(down);
        let exclusive_storage = record.truth("ndp/exclusive_storage")?;
        let amount = |field| if live { record.amount(field) } else { Ok(0) };
        let real = |field| if live { record.real(field) } else { Ok(0.0) };
        let has = |field| live && record.has(field);
        let spindles = if exclusive_storage { "sptotal" } else { "ndp/spindle_count" };
        self.cluster.nodes.push(Node {
            group,
            total_memory: real("mtotal")?,
            node_memory: amount("mnode")?,
            free_memory: amount("mfree")?,
            total_disk: if has("dtotal") { real("dtotal")? } else { 0.0 },
            free_disk: if has("dfree") { amount("dfree")? } else { 0 },
            total_cpus: real("ctotal")?,
            node_cpus: amount("cnos")?,
            cpu_speed: if record.has("ndp/cpu_speed") {
                record.real("ndp/cpu_speed")?
            } else {
                1.0
            },
            spindles: if exclusive_storage {
                amount(spindles)?
            } else {
                record.amount(spindles)?
            },
            free_spindles: if has("spfree") { amount("spfree")? } else { 0 },
            exclusive_storage,
            offline: !live || record.truth("drained")?,
            master: false,
            tags: record.texts("tags")?,
            name,
        });
        Ok(())
    }

    /// Adds an instance.
    pub fn instance(&mut self, mut record: Record<'_>) -> Result<(), Malformed> {
        let name = record.named("instance")?;
        if !self.instances.insert(name.clone()) {
            return Err(record.error("name", "it is there twice"));
        }
        let find = |field, wanted: &str| {
            let unknown = || format!("Unknown node '{wanted}' for instance {name}");
            self.nodes.get(wanted).copied().ok_or_else(|| record.error(field, unknown()))
        };
        let primary = find("pnode", record.text("pnode")?)?;
        let secondary = match record.texts("snodes")?.first() {
            Some(wanted) => Some(find("snodes", wanted)?),
            None => None,
        };
        if secondary == Some(primary) {
            return Err(record.error("snodes", "the secondary node is the primary node"));
        }
        let memory = if record.value("oper_ram").is_ok_and(|value| value.is_number()) {
            record.amount("oper_ram")?
        } else if record.has("be/memory") {
            record.amount("be/memory")?
        } else {
            record.amount("be/maxmem")?
        };
        let sizes = record.amounts("disk.sizes")?;
        let spindles =
            if record.has("disk.spindles") { record.amounts("disk.spindles")? } else { vec![] };
        let disk = |(at, size): (usize, &Option<i64>)| {
            let size =
                size.ok_or_else(|| record.error("disk.sizes", "the size of a disk is null"))?;
            Ok(Disk { size, spindles: spindles.get(at).copied().flatten() })
        };
        let status = record.text("status")?;
        let unknown = || record.error("status", format!("'{status}' is not known"));
        let instance = Instance {
            memory,
            disk: record.amount("disk_usage")?,
            disks: sizes.iter().enumerate().map(disk).collect::<Result<_, Malformed>>()?,
            vcpus: record.amount("be/vcpus")?,
            status: Status::parse(status).ok_or_else(unknown)?,
            auto_balance: record.truth("be/auto_balance")?,
            primary,
            secondary,
            template: record.word("disk_template")?,
            tags: record.texts("tags")?,
            spindle_use: record.amount("be/spindle_use")?,
            forthcoming: record.has("forthcoming") && record.truth("forthcoming")?,
            utilisation: Utilisation::ONE,
            networks: vec![],
            name,
        };
        self.cluster.instances.push(instance);
        Ok(())
    }

    /// Adds what the cluster itself has to say: its information.
    pub fn finish(mut self, record: &Record<'_>) -> Result<Known, Malformed> {
        let name = record.text("master")?;
        let unknown = || record.error("master", format!("Master node {name} unknown"));
        let master = *self.nodes.get(name).ok_or_else(unknown)?;
        self.cluster.nodes[master.at()].master = true;
        self.cluster.tags = record.texts("tags")?;
        let read = |value| policy::read(value).map_err(|why| record.error("ipolicy", why));
        self.cluster.policy = read(record.value("ipolicy")?)?;
        let kvm = record.text("default_hypervisor").is_ok_and(|name| name == "kvm");
        Ok(Known {
            kvm: vec![kvm; self.cluster.nodes.len()],
            cluster: self.cluster,
            down: self.down,
        })
    }
}
