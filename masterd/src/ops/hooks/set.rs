//! Which hooks an opcode has, on which nodes, with which variables: Ganeti's.

use super::env::{Draft, Vars, flag, flag_or_none, joined, or_none, text, vars};
use super::instance;
use crate::config::Config;
use crate::ops::instance::change_group::groups_of;
use roost_proto::choices::{InstCreateMode, MigrationMode};
use roost_proto::ids::{GroupId, NodeId};
use roost_proto::objects::{Instance, NodeGroup};
use roost_proto::opcodes::*;
use roost_proto::params::fill;

/// The hooks of an opcode. `None`: it has none, or not what it is about.
pub fn draft(op: &OpCode, before: &Config, after: &Config) -> Option<Draft> {
    let place = Place { before, after };
    match op {
        OpCode::ClusterPostInit(_) => Some(place.cluster("cluster-init", vars([]))),
        OpCode::ClusterDestroy(_) => Some(place.cluster("cluster-destroy", vars([]))),
        OpCode::ClusterRename(op) => {
            let all = before.nodes.keys().copied().collect();
            let extra = vars([("NEW_NAME", op.name.clone())]);
            Some(Draft { post_nodes: all, ..place.cluster_both("cluster-rename", extra) })
        }
        OpCode::ClusterSetParams(op) => {
            let extra = vars([("NEW_VG_NAME", or_none(op.vg_name.as_ref()))]);
            Some(place.cluster_both("cluster-modify", extra))
        }
        OpCode::ClusterVerifyGroup(op) => place.verify(op),
        OpCode::NodeAdd(op) => place.node_add(op),
        OpCode::NodeRemove(op) => place.node_remove(op),
        OpCode::NodeSetParams(op) => place.node_modify(op),
        OpCode::NodeMigrate(op) => {
            let node = before.node(&op.node_name).ok()?;
            let extra = vars([
                ("NODE_NAME", node.name.to_string()),
                ("ALLOW_RUNTIME_CHANGES", flag(op.allow_runtime_changes)),
            ]);
            Some(place.draft("node-migrate", "NODE", vec![], extra))
        }
        OpCode::GroupAdd(op) => Some(place.group("group-add", &op.group_name, vars([]))),
        OpCode::GroupRemove(op) => {
            let group = before.group(&op.group_name).ok()?;
            Some(place.group("group-remove", &group.name, vars([])))
        }
        OpCode::GroupSetParams(op) => {
            let group = before.group(&op.group_name).ok()?;
            let extra = vars([("NEW_ALLOC_POLICY", or_none(op.alloc_policy))]);
            Some(place.group("group-modify", &group.name, extra))
        }
        OpCode::GroupRename(op) => {
            let group = before.group(&op.group_name).ok()?;
            let extra =
                vars([("OLD_NAME", group.name.to_string()), ("NEW_NAME", op.new_name.clone())]);
            Some(place.draft("group-rename", "GROUP", place.members(group), extra))
        }
        OpCode::GroupEvacuate(op) => {
            let group = before.group(&op.group_name).ok()?;
            let extra = vars([
                ("GROUP_NAME", group.name.to_string()),
                ("TARGET_GROUPS", place.targets(op.target_groups.as_deref(), &[group.uuid])),
            ]);
            Some(place.draft("group-evacuate", "GROUP", place.members(group), extra))
        }
        OpCode::InstanceChangeGroup(op) => {
            let old = before.instance(&op.instance_name).ok()?;
            let current: Vec<GroupId> = groups_of(before, old).into_iter().collect();
            let targets = place.targets(op.target_groups.as_deref(), &current);
            let extra = vars([("TARGET_GROUPS", targets)]);
            let draft = place.instance("instance-change-group", &op.instance_name, extra)?;
            let master = vec![before.master()];
            Some(Draft { pre_nodes: master.clone(), post_nodes: master, ..draft })
        }
        OpCode::InstanceCreate(op) => place.instance_add(op),
        OpCode::InstanceRename(op) => place.instance_rename(op),
        OpCode::InstanceSetParams(op) => place.instance_modify(op),
        OpCode::InstanceRemove(op) => {
            let extra = vars([("SHUTDOWN_TIMEOUT", op.shutdown_timeout.to_string())]);
            let draft = place.instance("instance-remove", &op.instance_name, extra)?;
            Some(Draft { pre_nodes: vec![before.master()], ..draft })
        }
        OpCode::InstanceStartup(op) => {
            let extra = vars([("FORCE", flag(op.force))]);
            place.instance("instance-start", &op.instance_name, extra)
        }
        OpCode::InstanceShutdown(op) => {
            let extra = vars([("TIMEOUT", op.timeout.to_string())]);
            place.instance("instance-stop", &op.instance_name, extra)
        }
        OpCode::InstanceReboot(op) => {
            let extra = vars([
                ("IGNORE_SECONDARIES", flag(op.ignore_secondaries)),
                ("REBOOT_TYPE", op.reboot_type.to_string()),
                ("SHUTDOWN_TIMEOUT", op.shutdown_timeout.to_string()),
            ]);
            place.instance("instance-reboot", &op.instance_name, extra)
        }
        OpCode::InstanceReinstall(op) => {
            place.instance("instance-reinstall", &op.instance_name, vars([]))
        }
        OpCode::InstanceGrowDisk(op) => {
            let extra = vars([
                ("DISK", op.disk.to_string()),
                ("AMOUNT", op.amount.to_string()),
                ("ABSOLUTE", flag(op.absolute)),
            ]);
            place.instance("disk-grow", &op.instance_name, extra)
        }
        OpCode::InstanceRecreateDisks(op) => {
            place.instance("instance-recreate-disks", &op.instance_name, vars([]))
        }
        OpCode::InstanceReplaceDisks(op) => place.mirrors_replace(op),
        OpCode::InstanceFailover(op) => place.instance_failover(op),
        OpCode::InstanceMigrate(op) => place.instance_migrate(op),
        OpCode::InstanceMove(op) => {
            let target = place.new_primary(&op.instance_name)?;
            let extra = vars([
                ("TARGET_NODE", before.node_name(target)),
                ("SHUTDOWN_TIMEOUT", op.shutdown_timeout.to_string()),
            ]);
            let mut draft = place.instance("instance-move", &op.instance_name, extra)?;
            draft.pre_nodes.push(target);
            draft.post_nodes.push(target);
            Some(draft)
        }
        OpCode::BackupExport(op) => place.instance_export(op),
        _ => None,
    }
}

/// The cluster before and after.
struct Place<'a> {
    before: &'a Config,
    after: &'a Config,
}

impl Place<'_> {
    /// Hooks on the master and some other nodes, with the same variables before and after.
    fn draft(
        &self,
        path: &'static str,
        object: &'static str,
        others: Vec<NodeId>,
        vars: Vars,
    ) -> Draft {
        let mut nodes = vec![self.before.master()];
        nodes.extend(others);
        let (before, after) = (vars.clone(), vars);
        Draft { path, object, pre_nodes: nodes.clone(), post_nodes: nodes, before, after }
    }

    /// On the master, after only.
    fn cluster(&self, path: &'static str, extra: Vars) -> Draft {
        Draft { pre_nodes: vec![], ..self.cluster_both(path, extra) }
    }

    fn cluster_both(&self, path: &'static str, mut extra: Vars) -> Draft {
        extra.insert("OP_TARGET".into(), self.before.cluster.cluster_name.to_string());
        self.draft(path, "CLUSTER", vec![], extra)
    }

    fn verify(&self, op: &ClusterVerifyGroup) -> Option<Draft> {
        let group = self.before.group(&op.group_name).ok()?;
        let mut extra = vars([("CLUSTER_TAGS", joined(&self.before.cluster.tags))]);
        for node in self.before.members(group.uuid) {
            extra.insert(format!("NODE_TAGS_{}", node.name), joined(&node.tags));
        }
        let draft = self.draft("cluster-verify", "CLUSTER", vec![], extra);
        Some(Draft { pre_nodes: vec![], post_nodes: self.members(group), ..draft })
    }

    fn members(&self, group: &NodeGroup) -> Vec<NodeId> {
        self.before.members(group.uuid).map(|node| node.uuid).collect()
    }

    fn group(&self, path: &'static str, name: &str, mut extra: Vars) -> Draft {
        extra.insert("GROUP_NAME".into(), name.to_owned());
        self.draft(path, "GROUP", vec![], extra)
    }

    /// UUIDs of the groups named, or of all but some.
    fn targets(&self, named: Option<&[String]>, current: &[GroupId]) -> String {
        let named = named.filter(|named| !named.is_empty());
        let targets: Vec<GroupId> = match named {
            Some(named) => {
                let found = named.iter().filter_map(|name| self.before.group(name).ok());
                found.map(|group| group.uuid).collect()
            }
            None => {
                let all = self.before.groups.keys().copied();
                all.filter(|group| !current.contains(group)).collect()
            }
        };
        let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
        targets.join(" ")
    }

    fn node_add(&self, op: &NodeAdd) -> Option<Draft> {
        let node = self.after.node(&op.node_name).ok()?;
        let extra = vars([
            ("OP_TARGET", node.name.to_string()),
            ("NODE_NAME", node.name.to_string()),
            ("NODE_PIP", node.primary_ip.clone()),
            ("NODE_SIP", node.secondary_ip.clone()),
            ("MASTER_CAPABLE", flag(node.master_capable)),
            ("VM_CAPABLE", flag(node.vm_capable)),
        ]);
        let others = |config: &Config| -> Vec<NodeId> { config.nodes.keys().copied().collect() };
        let draft = self.draft("node-add", "NODE", vec![], extra);
        let pre_nodes = others(self.before).into_iter().filter(|id| *id != node.uuid).collect();
        Some(Draft { pre_nodes, post_nodes: others(self.after), ..draft })
    }

    fn node_remove(&self, op: &NodeRemove) -> Option<Draft> {
        let node = self.before.node(&op.node_name).ok()?;
        let extra =
            vars([("OP_TARGET", node.name.to_string()), ("NODE_NAME", node.name.to_string())]);
        let others = self.before.nodes.keys().copied().filter(|id| *id != node.uuid).collect();
        Some(self.draft("node-remove", "NODE", others, extra))
    }

    fn node_modify(&self, op: &NodeSetParams) -> Option<Draft> {
        let node = self.before.node(&op.node_name).ok()?;
        let extra = vars([
            ("OP_TARGET", node.name.to_string()),
            ("MASTER_CANDIDATE", flag_or_none(op.master_candidate)),
            ("OFFLINE", flag_or_none(op.offline)),
            ("DRAINED", flag_or_none(op.drained)),
            ("MASTER_CAPABLE", flag_or_none(op.master_capable)),
            ("VM_CAPABLE", flag_or_none(op.vm_capable)),
        ]);
        Some(self.draft("node-modify", "NODE", vec![node.uuid], extra))
    }

    /// On the master and the instance's nodes; the instance as it is, and as it will be if it
    /// still is.
    fn instance(&self, path: &'static str, name: &str, extra: Vars) -> Option<Draft> {
        let old = self.before.instance(name).ok()?;
        let mut draft = self.draft(path, "INSTANCE", nodes(self.before, old), extra);
        let vars = instance::vars(self.before, old);
        draft.after.extend(match self.after.instances.get(&old.uuid) {
            Some(new) => instance::vars(self.after, new),
            None => vars.clone(),
        });
        draft.before.extend(vars);
        Some(draft)
    }

    fn new_primary(&self, name: &str) -> Option<NodeId> {
        let old = self.before.instance(name).ok()?;
        Some(self.after.instances.get(&old.uuid)?.primary_node)
    }

    /// Already before, it is described as it will be.
    fn instance_add(&self, op: &InstanceCreate) -> Option<Draft> {
        let new = self.after.instance(&op.instance_name).ok()?;
        let mut all = instance::vars(self.after, new);
        all.insert("INSTANCE_STATUS".into(), flag(op.start));
        all.insert("ADD_MODE".into(), op.mode.to_string());
        if op.mode == InstCreateMode::Import {
            all.insert("SRC_NODE".into(), or_none(op.src_node.as_ref()));
            all.insert("SRC_PATH".into(), or_none(op.src_path.as_ref()));
        }
        Some(self.draft("instance-add", "INSTANCE", nodes(self.after, new), all))
    }

    /// The instance as it was: it may be gone after it.
    fn instance_export(&self, op: &BackupExport) -> Option<Draft> {
        let target = match (&op.target_node_uuid, &op.target_node) {
            (Some(uuid), _) => self.before.node(uuid).ok()?,
            (None, ExportTarget::Node(name)) => self.before.node(name).ok()?,
            (None, ExportTarget::Remote(_)) => return None,
        };
        let instance = self.before.instance(&op.instance_name).ok()?;
        let mut all = instance::vars(self.before, instance);
        all.extend(vars([
            ("EXPORT_MODE", op.mode.to_string()),
            ("EXPORT_NODE", target.name.to_string()),
            ("EXPORT_DO_SHUTDOWN", flag(op.shutdown)),
            ("SHUTDOWN_TIMEOUT", op.shutdown_timeout.to_string()),
            ("REMOVE_INSTANCE", flag(op.remove_instance)),
        ]));
        let nodes = vec![instance.primary_node, target.uuid];
        Some(self.draft("instance-export", "INSTANCE", nodes, all))
    }

    /// The old name in both phases: the new one has its own variable.
    fn instance_rename(&self, op: &InstanceRename) -> Option<Draft> {
        let old = self.before.instance(&op.instance_name).ok()?;
        let mut all = instance::vars(self.before, old);
        let new = self.after.instances.get(&old.uuid)?;
        all.insert("INSTANCE_NEW_NAME".into(), new.name.to_string());
        Some(self.draft("instance-rename", "INSTANCE", nodes(self.before, old), all))
    }

    /// What changes is told as it will be already before.
    fn instance_modify(&self, op: &InstanceSetParams) -> Option<Draft> {
        let mut extra = vars([]);
        if let Some(memory) = op.runtime_mem {
            extra.insert("RUNTIME_MEMORY".into(), memory.to_string());
        }
        if let Some(template) = op.disk_template {
            extra.insert("NEW_DISK_TEMPLATE".into(), template.to_string());
        }
        let mut draft = self.instance("instance-modify", &op.instance_name, extra)?;
        let old = self.before.instance(&op.instance_name).ok()?;
        let new = self.after.instances.get(&old.uuid)?;
        instance::sizes(&mut draft.before, self.after, new);
        instance::nics(&mut draft.before, self.after, &new.nics);
        Some(draft)
    }

    /// On the master and the primary, and on the new secondary if there is one.
    fn mirrors_replace(&self, op: &InstanceReplaceDisks) -> Option<Draft> {
        let instance = self.before.instance(&op.instance_name).ok()?;
        let old = *self.before.secondaries(instance).first()?;
        let new = self.after.instances.get(&instance.uuid);
        let new = new.and_then(|i| self.after.secondaries(i).first().copied());
        let new = new.filter(|id| *id != old);
        let extra = vars([
            ("MODE", op.mode.to_string()),
            ("NEW_SECONDARY", or_none(new.map(|id| self.before.node_name(id)))),
            ("OLD_SECONDARY", self.before.node_name(old)),
        ]);
        let mut draft = self.instance("mirrors-replace", &op.instance_name, extra)?;
        for nodes in [&mut draft.pre_nodes, &mut draft.post_nodes] {
            nodes.retain(|id| *id != old || *id == self.before.master());
            nodes.extend(new);
        }
        Some(draft)
    }

    fn instance_failover(&self, op: &InstanceFailover) -> Option<Draft> {
        let mut extra = vars([
            ("IGNORE_CONSISTENCY", flag(op.ignore_consistency)),
            ("SHUTDOWN_TIMEOUT", op.shutdown_timeout.to_string()),
            ("FAILOVER_CLEANUP", flag(op.cleanup)),
        ]);
        extra.extend(self.relocation(&op.instance_name, "")?);
        let mut draft = self.instance("instance-failover", &op.instance_name, extra)?;
        let old = self.before.instance(&op.instance_name).ok()?;
        let target = self.new_primary(&op.instance_name)?;
        // The old primary may be what failed.
        let but_primary = |id: &NodeId| *id != old.primary_node || *id == self.before.master();
        draft.pre_nodes.retain(but_primary);
        draft.pre_nodes.push(target);
        draft.post_nodes.push(target);
        Some(draft)
    }

    fn instance_migrate(&self, op: &InstanceMigrate) -> Option<Draft> {
        let old = self.before.instance(&op.instance_name).ok()?;
        let hvparams = fill::instance_hvparams(&self.before.cluster, old);
        let live = match (op.mode, op.live) {
            (Some(mode), _) => mode == MigrationMode::Live,
            (None, Some(live)) => live,
            (None, None) => hvparams.get("migration_mode").map(text).as_deref() != Some("non-live"),
        };
        let mut extra = vars([
            ("MIGRATE_LIVE", flag(live)),
            ("MIGRATE_CLEANUP", flag(op.cleanup)),
            ("ALLOW_RUNTIME_CHANGES", flag(op.allow_runtime_changes)),
        ]);
        extra.extend(self.relocation(&op.instance_name, "None")?);
        let target = self.new_primary(&op.instance_name)?;
        let mut draft = self.instance("instance-migrate", &op.instance_name, extra)?;
        draft.pre_nodes.push(target);
        draft.post_nodes.push(target);
        Some(draft)
    }

    /// Where from and where to; `none` stands for a secondary of an instance without one.
    fn relocation(&self, name: &str, none: &str) -> Option<Vars> {
        let old = self.before.instance(name).ok()?;
        let source = self.before.node_name(old.primary_node);
        let secondary = self.before.secondaries(old).first().map(|id| self.before.node_name(*id));
        let new_secondary = secondary.as_ref().map(|_| source.clone());
        Some(vars([
            ("OLD_PRIMARY", source),
            ("NEW_PRIMARY", self.before.node_name(self.new_primary(name)?)),
            ("OLD_SECONDARY", secondary.unwrap_or_else(|| none.to_owned())),
            ("NEW_SECONDARY", new_secondary.unwrap_or_else(|| none.to_owned())),
        ]))
    }
}

fn nodes(config: &Config, instance: &Instance) -> Vec<NodeId> {
    let mut nodes = vec![instance.primary_node];
    nodes.extend(config.secondaries(instance));
    nodes
}
