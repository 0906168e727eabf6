//! Opcodes about instances: their life and their place. Disks are in `disk`.

use super::define::opcodes;
use super::secret::{PrivateParams, SecretParams};
use super::spec::{DeviceChange, DiskSpec, NicSpec};
use crate::choices::{
    AdminStateSource, DiskTemplate, FileDriver, Hypervisor, InstCreateMode, MigrationMode,
    RebootType,
};
use crate::params::ParamMap;
use serde_json::Value;

opcodes! {
    /// Makes an instance. Result: its nodes' names, the primary first.
    struct InstanceCreate = "OP_INSTANCE_CREATE", summary instance_name;
    required {
        instance_name: String,
        mode: InstCreateMode,
        disks: Vec<DiskSpec>,
        nics: Vec<NicSpec>,
    }
    optional {
        force_variant: bool = false,
        wait_for_sync: bool = true,
        name_check: bool = false,
        ignore_ipolicy: bool = false,
        opportunistic_locking: bool = false,
        beparams: ParamMap = ParamMap::new(),
        /// Absent: the first enabled one.
        disk_template: Option<DiskTemplate> = None,
        group_name: Option<String> = None,
        file_driver: Option<FileDriver> = None,
        file_storage_dir: Option<String> = None,
        hvparams: ParamMap = ParamMap::new(),
        /// Absent: the first enabled one.
        hypervisor: Option<Hypervisor> = None,
        iallocator: Option<String> = None,
        /// Leave imported values that equal the defaults to the defaults.
        identify_defaults: bool = false,
        ip_check: bool = false,
        conflicts_check: bool = true,
        no_install: Option<bool> = None,
        osparams: ParamMap = ParamMap::new(),
        osparams_private: Option<PrivateParams> = None,
        osparams_secret: Option<SecretParams> = None,
        os_type: Option<String> = None,
        pnode: Option<String> = None,
        pnode_uuid: Option<String> = None,
        snode: Option<String> = None,
        snode_uuid: Option<String> = None,
        source_handshake: Option<Vec<Value>> = None,
        source_instance_name: Option<String> = None,
        /// Seconds.
        source_shutdown_timeout: u64 = 120,
        source_x509_ca: Option<String> = None,
        src_node: Option<String> = None,
        src_node_uuid: Option<String> = None,
        src_path: Option<String> = None,
        compress: String = "none".into(),
        start: bool = true,
        /// Only reserve.
        forthcoming: bool = false,
        /// Make a reserved one real.
        commit: bool = false,
        tags: Vec<String> = Vec::new(),
        instance_communication: bool = false,
        /// Seconds.
        helper_startup_timeout: Option<i64> = None,
        /// Seconds.
        helper_shutdown_timeout: Option<i64> = None,
    }

    /// Places several new instances at once. Result: `{jobs, allocatable, failed}`.
    struct InstanceMultiAlloc = "OP_INSTANCE_MULTI_ALLOC";
    optional {
        opportunistic_locking: bool = false,
        iallocator: Option<String> = None,
        instances: Vec<InstanceCreate> = Vec::new(),
    }

    /// Installs the OS again.
    struct InstanceReinstall = "OP_INSTANCE_REINSTALL", summary instance_name;
    required { instance_name: String }
    optional {
        instance_uuid: Option<String> = None,
        force_variant: bool = false,
        /// Absent: the one it has.
        os_type: Option<String> = None,
        osparams: Option<ParamMap> = None,
        osparams_private: Option<PrivateParams> = None,
        osparams_secret: Option<SecretParams> = None,
    }

    /// Stops and removes an instance with its disks.
    struct InstanceRemove = "OP_INSTANCE_REMOVE", summary instance_name;
    required { instance_name: String }
    optional {
        instance_uuid: Option<String> = None,
        /// Seconds.
        shutdown_timeout: u64 = 120,
        ignore_failures: bool = false,
    }

    /// Gives an instance another name. Result: the full name.
    struct InstanceRename = "OP_INSTANCE_RENAME";
    required {
        instance_name: String,
        new_name: String,
    }
    optional {
        instance_uuid: Option<String> = None,
        name_check: bool = false,
        ip_check: bool = false,
    }

    /// Starts an instance.
    struct InstanceStartup = "OP_INSTANCE_STARTUP", summary instance_name;
    required { instance_name: String }
    optional {
        instance_uuid: Option<String> = None,
        force: bool = false,
        ignore_offline_nodes: bool = false,
        /// For this start only.
        hvparams: ParamMap = ParamMap::new(),
        /// For this start only.
        beparams: ParamMap = ParamMap::new(),
        /// Do not record that it shall run.
        no_remember: bool = false,
        startup_paused: bool = false,
        /// Seconds.
        shutdown_timeout: u64 = 120,
    }

    /// Stops an instance.
    struct InstanceShutdown = "OP_INSTANCE_SHUTDOWN", summary instance_name;
    required { instance_name: String }
    optional {
        instance_uuid: Option<String> = None,
        force: bool = false,
        ignore_offline_nodes: bool = false,
        /// Seconds until it is killed.
        timeout: u64 = 120,
        /// Do not record that it shall be down.
        no_remember: bool = false,
        admin_state_source: Option<AdminStateSource> = None,
    }

    /// Restarts an instance.
    struct InstanceReboot = "OP_INSTANCE_REBOOT", summary instance_name;
    required {
        instance_name: String,
        reboot_type: RebootType,
    }
    optional {
        instance_uuid: Option<String> = None,
        /// Seconds.
        shutdown_timeout: u64 = 120,
        ignore_secondaries: bool = false,
    }

    /// Stops an instance and starts it on another of its nodes.
    struct InstanceFailover = "OP_INSTANCE_FAILOVER", moves instances, summary instance_name;
    required { instance_name: String }
    optional {
        instance_uuid: Option<String> = None,
        /// Seconds.
        shutdown_timeout: u64 = 120,
        ignore_consistency: bool = false,
        target_node: Option<String> = None,
        target_node_uuid: Option<String> = None,
        ignore_ipolicy: bool = false,
        cleanup: bool = false,
        iallocator: Option<String> = None,
    }

    /// Moves a running instance to another node.
    struct InstanceMigrate = "OP_INSTANCE_MIGRATE", moves instances, summary instance_name;
    required { instance_name: String }
    optional {
        instance_uuid: Option<String> = None,
        /// Absent: the hypervisor's `migration_mode`.
        mode: Option<MigrationMode> = None,
        /// The old form of `mode`.
        live: Option<bool> = None,
        target_node: Option<String> = None,
        target_node_uuid: Option<String> = None,
        allow_runtime_changes: bool = true,
        ignore_ipolicy: bool = false,
        /// Only tidy up after a migration that failed.
        cleanup: bool = false,
        iallocator: Option<String> = None,
        allow_failover: bool = false,
        ignore_hvversions: bool = false,
        /// Disks that are on its node only are copied while it runs. Not one of Ganeti's.
        copy_disks: bool = false,
    }

    /// Copies a stopped instance with plain disks to another node.
    struct InstanceMove = "OP_INSTANCE_MOVE", moves instances, summary instance_name;
    required {
        instance_name: String,
        target_node: String,
    }
    optional {
        instance_uuid: Option<String> = None,
        /// Seconds.
        shutdown_timeout: u64 = 120,
        ignore_ipolicy: bool = false,
        target_node_uuid: Option<String> = None,
        compress: String = "none".into(),
        ignore_consistency: bool = false,
    }

    /// How to reach an instance's console. Result: a dict.
    struct InstanceConsole = "OP_INSTANCE_CONSOLE", summary instance_name;
    required { instance_name: String }
    optional { instance_uuid: Option<String> = None }

    /// Everything about instances. Result: `{instance: {…}}`.
    struct InstanceQueryData = "OP_INSTANCE_QUERY_DATA";
    optional {
        use_locking: bool = false,
        /// None given: all.
        instances: Vec<String> = Vec::new(),
        /// Only what is known without asking nodes.
        r#static: bool = false,
    }

    /// Changes an instance; absent settings stay. Result: `[[what, new]]`.
    struct InstanceSetParams = "OP_INSTANCE_SET_PARAMS", summary instance_name;
    required { instance_name: String }
    optional {
        instance_uuid: Option<String> = None,
        force: bool = false,
        force_variant: bool = false,
        ignore_ipolicy: bool = false,
        nics: Vec<DeviceChange<NicSpec>> = Vec::new(),
        disks: Vec<DeviceChange<DiskSpec>> = Vec::new(),
        beparams: ParamMap = ParamMap::new(),
        /// MiB.
        runtime_mem: Option<u64> = None,
        hvparams: ParamMap = ParamMap::new(),
        /// Convert the disks.
        disk_template: Option<DiskTemplate> = None,
        /// For conversions to `ext`: the provider and its parameters.
        ext_params: ParamMap = ParamMap::new(),
        file_driver: Option<FileDriver> = None,
        file_storage_dir: Option<String> = None,
        pnode: Option<String> = None,
        pnode_uuid: Option<String> = None,
        /// For conversions to `drbd`: the secondary.
        remote_node: Option<String> = None,
        remote_node_uuid: Option<String> = None,
        iallocator: Option<String> = None,
        os_name: Option<String> = None,
        osparams: ParamMap = ParamMap::new(),
        osparams_private: Option<PrivateParams> = None,
        /// Drop all the instance's own OS parameters first.
        clear_osparams: bool = false,
        clear_osparams_private: bool = false,
        /// Drop these first.
        remove_osparams: Option<Vec<String>> = None,
        remove_osparams_private: Option<Vec<String>> = None,
        wait_for_sync: bool = true,
        offline: Option<bool> = None,
        conflicts_check: bool = true,
        hotplug: bool = true,
        /// Accepted from older clients; has no effect, `hotplug` does what it did.
        hotplug_if_possible: bool = false,
        instance_communication: Option<bool> = None,
    }

    /// Submits what it takes to move an instance to another group. Result: `{jobs}`.
    struct InstanceChangeGroup = "OP_INSTANCE_CHANGE_GROUP", moves instances, summary instance_name;
    required { instance_name: String }
    optional {
        instance_uuid: Option<String> = None,
        early_release: bool = false,
        iallocator: Option<String> = None,
        /// Absent: any other.
        target_groups: Option<Vec<String>> = None,
    }
}
