//! Which keys objects of a `config.data` have. Ganeti refuses any other, and so must what we write
//! for it have none; what we read keeps them, and names them.

pub(super) const TOP: &[&str] = &[
    "version",
    "cluster",
    "nodes",
    "nodegroups",
    "instances",
    "networks",
    "disks",
    "filters",
    "ctime",
    "mtime",
    "serial_no",
];

pub(super) const CLUSTER: &[&str] = &[
    "uuid",
    "serial_no",
    "tags",
    "rsahostkeypub",
    "dsahostkeypub",
    "highest_used_port",
    "tcpudp_port_pool",
    "mac_prefix",
    "volume_group_name",
    "reserved_lvs",
    "drbd_usermode_helper",
    "master_node",
    "master_ip",
    "master_netdev",
    "master_netmask",
    "use_external_mip_script",
    "cluster_name",
    "file_storage_dir",
    "shared_file_storage_dir",
    "gluster_storage_dir",
    "enabled_hypervisors",
    "hvparams",
    "os_hvp",
    "beparams",
    "osparams",
    "osparams_private_cluster",
    "nicparams",
    "ndparams",
    "diskparams",
    "candidate_pool_size",
    "modify_etc_hosts",
    "modify_ssh_setup",
    "maintain_node_health",
    "uid_pool",
    "default_iallocator",
    "default_iallocator_params",
    "hidden_os",
    "blacklisted_os",
    "primary_ip_family",
    "prealloc_wipe_disks",
    "ipolicy",
    "hv_state_static",
    "disk_state_static",
    "enabled_disk_templates",
    "candidate_certs",
    "max_running_jobs",
    "max_tracked_jobs",
    "install_image",
    "instance_communication_network",
    "zeroing_image",
    "compression_tools",
    "enabled_user_shutdown",
    "data_collectors",
    "ssh_key_type",
    "ssh_key_bits",
];

pub(super) const NODE: &[&str] = &[
    "uuid",
    "serial_no",
    "tags",
    "name",
    "primary_ip",
    "secondary_ip",
    "master_candidate",
    "offline",
    "drained",
    "group",
    "master_capable",
    "vm_capable",
    "ndparams",
    "powered",
    "hv_state_static",
    "disk_state_static",
];

pub(super) const GROUP: &[&str] = &[
    "uuid",
    "serial_no",
    "tags",
    "name",
    "members",
    "ndparams",
    "alloc_policy",
    "ipolicy",
    "diskparams",
    "networks",
    "hv_state_static",
    "disk_state_static",
];

pub(super) const INSTANCE: &[&str] = &[
    "uuid",
    "serial_no",
    "tags",
    "name",
    "primary_node",
    "os",
    "hypervisor",
    "hvparams",
    "beparams",
    "osparams",
    "osparams_private",
    "admin_state",
    "admin_state_source",
    "nics",
    "disks",
    "disks_active",
    "network_port",
    "forthcoming",
];

pub(super) const NIC: &[&str] = &["uuid", "mac", "ip", "network", "nicparams", "name"];

pub(super) const DISK: &[&str] = &[
    "uuid",
    "serial_no",
    "dev_type",
    "logical_id",
    "children",
    "nodes",
    "iv_name",
    "size",
    "mode",
    "name",
    "spindles",
    "params",
    "forthcoming",
];

pub(super) const NETWORK: &[&str] = &[
    "uuid",
    "serial_no",
    "tags",
    "name",
    "mac_prefix",
    "network",
    "gateway",
    "network6",
    "gateway6",
    "reservations",
    "ext_reservations",
];

pub(super) const FILTER: &[&str] =
    &["uuid", "watermark", "priority", "predicates", "action", "reason_trail"];

/// Whether an object of that kind may have a key. What has a serial number also has times.
pub(super) fn knows(kind: &[&str], key: &str) -> bool {
    kind.contains(&key) || (matches!(key, "ctime" | "mtime") && kind.contains(&"serial_no"))
}
