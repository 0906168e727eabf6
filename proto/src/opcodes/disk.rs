//! Opcodes about the disks of an instance.

use super::define::opcodes;
use super::spec::RecreateDisk;
use crate::choices::ReplaceDisksMode;

opcodes! {
    /// Replaces one side of mirrored disks.
    struct InstanceReplaceDisks = "OP_INSTANCE_REPLACE_DISKS", moves instances, summary instance_name;
    required {
        instance_name: String,
        mode: ReplaceDisksMode,
    }
    optional {
        instance_uuid: Option<String> = None,
        early_release: bool = false,
        ignore_ipolicy: bool = false,
        /// Numbers from 0; none given: all.
        disks: Vec<u32> = Vec::new(),
        remote_node: Option<String> = None,
        remote_node_uuid: Option<String> = None,
        iallocator: Option<String> = None,
    }

    /// Makes the disks usable on the primary node. Result: `[[node, disk, device]]`.
    struct InstanceActivateDisks = "OP_INSTANCE_ACTIVATE_DISKS", summary instance_name;
    required { instance_name: String }
    optional {
        instance_uuid: Option<String> = None,
        ignore_size: bool = false,
        wait_for_sync: bool = false,
    }

    /// The opposite.
    struct InstanceDeactivateDisks = "OP_INSTANCE_DEACTIVATE_DISKS", summary instance_name;
    required { instance_name: String }
    optional {
        instance_uuid: Option<String> = None,
        force: bool = false,
    }

    /// Joins mirrors again whose two sides were both written while they did not see each other
    /// (split brain). Not one of Ganeti's.
    struct InstanceRepairMirror = "OP_INSTANCE_REPAIR_MIRROR", summary instance_name;
    required {
        instance_name: String,
        /// The node whose data since then is given up.
        discard_node: String,
    }
    optional {
        instance_uuid: Option<String> = None,
        discard_node_uuid: Option<String> = None,
        /// Numbers from 0; none given: all that need it.
        disks: Vec<u32> = Vec::new(),
    }

    /// Makes lost disks again, empty.
    struct InstanceRecreateDisks = "OP_INSTANCE_RECREATE_DISKS", moves instances, summary instance_name;
    required { instance_name: String }
    optional {
        instance_uuid: Option<String> = None,
        /// None given: all.
        disks: Vec<RecreateDisk> = Vec::new(),
        nodes: Vec<String> = Vec::new(),
        node_uuids: Option<Vec<String>> = None,
        iallocator: Option<String> = None,
    }

    /// Makes a disk larger.
    struct InstanceGrowDisk = "OP_INSTANCE_GROW_DISK", summary instance_name;
    required {
        instance_name: String,
        /// From 0.
        disk: u32,
        /// MiB.
        amount: u64,
    }
    optional {
        instance_uuid: Option<String> = None,
        wait_for_sync: bool = true,
        /// The amount is the new size.
        absolute: bool = false,
        ignore_ipolicy: bool = false,
    }
}
