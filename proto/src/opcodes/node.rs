//! Opcodes about nodes and their storage.

use super::define::opcodes;
use crate::choices::{EvacMode, MigrationMode, OobAction, StorageType};
use crate::params::ParamMap;

opcodes! {
    /// Runs the out-of-band helper of nodes. Result: `[[[status, node], [status, value]]]`.
    struct OobCommand = "OP_OOB_COMMAND";
    required { command: OobAction }
    optional {
        /// None given: all.
        node_names: Vec<String> = Vec::new(),
        node_uuids: Option<Vec<String>> = None,
        /// Seconds.
        timeout: u64 = 60,
        /// Power off even a node that is not marked offline.
        ignore_status: bool = false,
        /// Seconds between nodes when powering on.
        power_delay: f64 = 2.0,
    }

    /// Runs a command the nodes' administrators allowed. Result: `[[ok, text]]` in node order.
    struct RestrictedCommand = "OP_RESTRICTED_COMMAND";
    required {
        nodes: Vec<String>,
        command: String,
    }
    optional {
        use_locking: bool = false,
        node_uuids: Option<Vec<String>> = None,
    }

    /// Takes a node without instances out of the cluster.
    struct NodeRemove = "OP_NODE_REMOVE", summary node_name;
    required { node_name: String }
    optional { node_uuid: Option<String> = None }

    /// Takes a node into the cluster, or back into it.
    struct NodeAdd = "OP_NODE_ADD", summary node_name;
    required { node_name: String }
    optional {
        hv_state: Option<ParamMap> = None,
        disk_state: Option<ParamMap> = None,
        /// Absent: what its name resolves to.
        primary_ip: Option<String> = None,
        /// Absent: the primary one.
        secondary_ip: Option<String> = None,
        readd: bool = false,
        /// A group's name or uuid; absent: the first group.
        group: Option<String> = None,
        master_capable: Option<bool> = None,
        vm_capable: Option<bool> = None,
        ndparams: Option<ParamMap> = None,
        node_setup: bool = false,
    }

    /// Logical volumes on nodes. Result: rows.
    struct NodeQueryvols = "OP_NODE_QUERYVOLS";
    required { output_fields: Vec<String> }
    optional {
        /// None given: all.
        nodes: Vec<String> = Vec::new(),
    }

    /// Storage units on nodes. Result: rows.
    struct NodeQueryStorage = "OP_NODE_QUERY_STORAGE";
    required { output_fields: Vec<String> }
    optional {
        /// Absent: that of the cluster's default disk template.
        storage_type: Option<StorageType> = None,
        nodes: Vec<String> = Vec::new(),
        name: Option<String> = None,
    }

    /// Changes a storage unit.
    struct NodeModifyStorage = "OP_NODE_MODIFY_STORAGE", summary node_name;
    required {
        node_name: String,
        storage_type: StorageType,
        changes: ParamMap,
    }
    optional {
        node_uuid: Option<String> = None,
        name: Option<String> = None,
    }

    /// Repairs a storage unit.
    struct RepairNodeStorage = "OP_REPAIR_NODE_STORAGE", summary node_name;
    required {
        node_name: String,
        storage_type: StorageType,
    }
    optional {
        node_uuid: Option<String> = None,
        name: Option<String> = None,
        ignore_consistency: bool = false,
    }

    /// Changes a node's flags and parameters; absent ones stay. Result: `[[what, new]]`.
    struct NodeSetParams = "OP_NODE_SET_PARAMS", summary node_name;
    required { node_name: String }
    optional {
        node_uuid: Option<String> = None,
        force: bool = false,
        hv_state: Option<ParamMap> = None,
        disk_state: Option<ParamMap> = None,
        master_candidate: Option<bool> = None,
        offline: Option<bool> = None,
        drained: Option<bool> = None,
        /// Make other nodes candidates if this leaves too few.
        auto_promote: bool = false,
        master_capable: Option<bool> = None,
        vm_capable: Option<bool> = None,
        secondary_ip: Option<String> = None,
        ndparams: Option<ParamMap> = None,
        powered: Option<bool> = None,
    }

    /// Resets a node's machine. Result: a message.
    struct NodePowercycle = "OP_NODE_POWERCYCLE", summary node_name;
    required { node_name: String }
    optional {
        node_uuid: Option<String> = None,
        force: bool = false,
    }

    /// Submits a migration of each instance that runs on a node. Result: `{jobs}`.
    struct NodeMigrate = "OP_NODE_MIGRATE", moves instances, summary node_name;
    required { node_name: String }
    optional {
        node_uuid: Option<String> = None,
        mode: Option<MigrationMode> = None,
        /// The old form of `mode`.
        live: Option<bool> = None,
        target_node: Option<String> = None,
        target_node_uuid: Option<String> = None,
        allow_runtime_changes: bool = true,
        ignore_ipolicy: bool = false,
        iallocator: Option<String> = None,
    }

    /// Submits what it takes to free a node. Result: `{jobs}`.
    struct NodeEvacuate = "OP_NODE_EVACUATE", moves instances, summary node_name;
    required {
        node_name: String,
        mode: EvacMode,
    }
    optional {
        early_release: bool = false,
        node_uuid: Option<String> = None,
        remote_node: Option<String> = None,
        remote_node_uuid: Option<String> = None,
        iallocator: Option<String> = None,
        ignore_soft_errors: Option<bool> = None,
    }
}
