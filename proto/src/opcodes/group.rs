//! Opcodes about node groups.

use super::define::opcodes;
use crate::choices::{AllocPolicy, DiskTemplate};
use crate::params::ParamMap;
use std::collections::BTreeMap;

opcodes! {
    /// Finds missing and inactive disks of a group.
    /// Result: `[{node: error}, [instances to activate], {instance: [[node, volume]]}]`.
    struct GroupVerifyDisks = "OP_GROUP_VERIFY_DISKS", summary group_name;
    required { group_name: String }
    optional {
        /// Wait for all locks instead of skipping what is busy.
        is_strict: bool = true,
    }

    /// Makes a group. Result: null or `{jobs}`.
    struct GroupAdd = "OP_GROUP_ADD", summary group_name;
    required { group_name: String }
    optional {
        /// Absent: preferred.
        alloc_policy: Option<AllocPolicy> = None,
        ndparams: Option<ParamMap> = None,
        diskparams: Option<BTreeMap<DiskTemplate, ParamMap>> = None,
        hv_state: Option<ParamMap> = None,
        disk_state: Option<ParamMap> = None,
        ipolicy: Option<ParamMap> = None,
    }

    /// Moves nodes into a group.
    struct GroupAssignNodes = "OP_GROUP_ASSIGN_NODES", moves instances, summary group_name;
    required {
        group_name: String,
        nodes: Vec<String>,
    }
    optional {
        /// Even if it tears mirrors apart.
        force: bool = false,
        node_uuids: Option<Vec<String>> = None,
    }

    /// Changes a group; absent settings stay. Result: `[[what, new]]`.
    struct GroupSetParams = "OP_GROUP_SET_PARAMS", summary group_name;
    required { group_name: String }
    optional {
        alloc_policy: Option<AllocPolicy> = None,
        ndparams: Option<ParamMap> = None,
        diskparams: Option<BTreeMap<DiskTemplate, ParamMap>> = None,
        hv_state: Option<ParamMap> = None,
        disk_state: Option<ParamMap> = None,
        ipolicy: Option<ParamMap> = None,
    }

    /// Removes an empty group.
    struct GroupRemove = "OP_GROUP_REMOVE", summary group_name;
    required { group_name: String }

    /// Gives a group another name. Result: the name.
    struct GroupRename = "OP_GROUP_RENAME";
    required {
        group_name: String,
        new_name: String,
    }

    /// Submits moves of all instances to other groups. Result: `{jobs}`.
    struct GroupEvacuate = "OP_GROUP_EVACUATE", moves instances, summary group_name;
    required { group_name: String }
    optional {
        early_release: bool = false,
        iallocator: Option<String> = None,
        /// Absent: any other.
        target_groups: Option<Vec<String>> = None,
        /// One job after the other.
        sequential: bool = false,
        /// Stop and start instead of migrating.
        force_failover: bool = false,
    }
}
