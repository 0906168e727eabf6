//! Opcodes about the whole cluster.

use super::define::opcodes;
use super::secret::PrivateParams;
use super::spec::NicSpec;
use crate::choices::{BalancerMode, DiskTemplate, Hypervisor, ListAction, SshKeyType, VerifyCheck};
use crate::params::ParamMap;
use crate::secrets::SecretFile;
use std::collections::BTreeMap;

opcodes! {
    /// The last part of making a cluster: hooks, and the first node's Open vSwitch. Result: true.
    struct ClusterPostInit = "OP_CLUSTER_POST_INIT";

    /// Ends the cluster; only its master may be left. Result: the master's uuid.
    struct ClusterDestroy = "OP_CLUSTER_DESTROY";

    /// Tells about the cluster. Result: a dict.
    struct ClusterQuery = "OP_CLUSTER_QUERY";

    /// Submits one check of the configuration and one of each group. Result: `{jobs}`.
    struct ClusterVerify = "OP_CLUSTER_VERIFY";
    optional {
        debug_simulate_errors: bool = false,
        /// Error lines for programs.
        error_codes: bool = false,
        skip_checks: Vec<VerifyCheck> = Vec::new(),
        /// Codes that only warn.
        ignore_errors: Vec<String> = Vec::new(),
        verbose: bool = false,
        /// Only this group, and not the configuration.
        group_name: Option<String> = None,
        /// Also look for files that should not be there.
        verify_clutter: bool = false,
    }

    /// Checks the configuration. Result: whether it is good.
    struct ClusterVerifyConfig = "OP_CLUSTER_VERIFY_CONFIG";
    optional {
        debug_simulate_errors: bool = false,
        error_codes: bool = false,
        ignore_errors: Vec<String> = Vec::new(),
        verbose: bool = false,
    }

    /// Checks the nodes and instances of a group. Result: whether they are good.
    struct ClusterVerifyGroup = "OP_CLUSTER_VERIFY_GROUP", summary group_name;
    required { group_name: String }
    optional {
        debug_simulate_errors: bool = false,
        error_codes: bool = false,
        skip_checks: Vec<VerifyCheck> = Vec::new(),
        ignore_errors: Vec<String> = Vec::new(),
        verbose: bool = false,
        verify_clutter: bool = false,
    }

    /// Submits a check of each group's disks. Result: `{jobs}`.
    struct ClusterVerifyDisks = "OP_CLUSTER_VERIFY_DISKS";
    optional {
        group_name: Option<String> = None,
        /// Wait for all locks instead of skipping what is busy.
        is_strict: bool = true,
    }

    /// Corrects recorded disk sizes. Result: `[[instance, disk, "size"|"spindles", value]]`.
    struct ClusterRepairDiskSizes = "OP_CLUSTER_REPAIR_DISK_SIZES";
    optional {
        /// None given: all.
        instances: Vec<String> = Vec::new(),
    }

    /// Values of the configuration. Result: one for each field.
    struct ClusterConfigQuery = "OP_CLUSTER_CONFIG_QUERY";
    required { output_fields: Vec<String> }

    /// Gives the cluster another name and master IP. Result: the full name.
    struct ClusterRename = "OP_CLUSTER_RENAME", summary name;
    required { name: String }

    /// Changes the cluster's settings; absent ones stay. Result: null or `{jobs}`.
    struct ClusterSetParams = "OP_CLUSTER_SET_PARAMS";
    optional {
        force: bool = false,
        hv_state: Option<ParamMap> = None,
        disk_state: Option<ParamMap> = None,
        /// Empty: no LVM.
        vg_name: Option<String> = None,
        enabled_hypervisors: Option<Vec<Hypervisor>> = None,
        hvparams: Option<BTreeMap<Hypervisor, ParamMap>> = None,
        beparams: Option<ParamMap> = None,
        os_hvp: Option<BTreeMap<String, BTreeMap<Hypervisor, ParamMap>>> = None,
        osparams: Option<BTreeMap<String, ParamMap>> = None,
        osparams_private_cluster: Option<BTreeMap<String, PrivateParams>> = None,
        diskparams: Option<BTreeMap<DiskTemplate, ParamMap>> = None,
        candidate_pool_size: Option<u64> = None,
        max_running_jobs: Option<u64> = None,
        max_tracked_jobs: Option<u64> = None,
        /// Ranges of user ids, both ends included; replaces the pool.
        uid_pool: Option<Vec<(u32, u32)>> = None,
        add_uids: Option<Vec<(u32, u32)>> = None,
        remove_uids: Option<Vec<(u32, u32)>> = None,
        maintain_node_health: Option<bool> = None,
        prealloc_wipe_disks: Option<bool> = None,
        nicparams: Option<NicSpec> = None,
        ndparams: Option<ParamMap> = None,
        ipolicy: Option<ParamMap> = None,
        /// Empty: no DRBD.
        drbd_helper: Option<String> = None,
        default_iallocator: Option<String> = None,
        default_iallocator_params: Option<ParamMap> = None,
        mac_prefix: Option<String> = None,
        master_netdev: Option<String> = None,
        /// Bits.
        master_netmask: Option<u32> = None,
        reserved_lvs: Option<Vec<String>> = None,
        hidden_os: Option<Vec<(ListAction, String)>> = None,
        blacklisted_os: Option<Vec<(ListAction, String)>> = None,
        use_external_mip_script: Option<bool> = None,
        /// The first one is the default.
        enabled_disk_templates: Option<Vec<DiskTemplate>> = None,
        modify_etc_hosts: Option<bool> = None,
        file_storage_dir: Option<String> = None,
        shared_file_storage_dir: Option<String> = None,
        gluster_storage_dir: Option<String> = None,
        install_image: Option<String> = None,
        instance_communication_network: Option<String> = None,
        zeroing_image: Option<String> = None,
        compression_tools: Option<Vec<String>> = None,
        enabled_user_shutdown: Option<bool> = None,
        enabled_data_collectors: Option<BTreeMap<String, bool>> = None,
        /// Microseconds, by collector.
        data_collector_interval: Option<BTreeMap<String, i64>> = None,
    }

    /// Writes and publishes the configuration again.
    struct ClusterRedistConf = "OP_CLUSTER_REDIST_CONF";

    /// Puts the master IP on the master.
    struct ClusterActivateMasterIp = "OP_CLUSTER_ACTIVATE_MASTER_IP";

    /// Takes the master IP away.
    struct ClusterDeactivateMasterIp = "OP_CLUSTER_DEACTIVATE_MASTER_IP";

    /// New certificates or SSH keys for the nodes.
    struct ClusterRenewCrypto = "OP_CLUSTER_RENEW_CRYPTO";
    optional {
        node_certificates: bool = false,
        renew_ssh_keys: bool = false,
        ssh_key_type: Option<SshKeyType> = None,
        ssh_key_bits: Option<u32> = None,
        verbose: bool = false,
        debug: bool = false,
        /// Only these nodes' certificates. This and what follows is not in Ganeti's opcode.
        nodes: Vec<String> = Vec::new(),
        /// A new authority, and certificates of it for all nodes.
        new_cluster_certificate: bool = false,
        /// Make these anew.
        new_secrets: Vec<SecretFile> = Vec::new(),
        /// Use these from now on: versions that were handed in before.
        given_secrets: BTreeMap<SecretFile, String> = BTreeMap::new(),
        /// Trust former authorities and certificates no more.
        forget_former: bool = false,
    }

    /// Changes what the cluster's balancer may do; what is absent stays. Ganeti has none. Result: none.
    struct ClusterSetBalancer = "OP_CLUSTER_SET_BALANCER";
    optional {
        mode: Option<BalancerMode> = None,
        threshold: Option<f64> = None,
        /// Seconds.
        hold: Option<u64> = None,
        margin: Option<f64> = None,
        moves_per_hour: Option<u32> = None,
        /// MiB.
        copy_per_hour: Option<u64> = None,
        /// Seconds.
        interval: Option<u64> = None,
    }
}
