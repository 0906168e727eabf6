//! The fields of instances.

use super::macros::fields;

fields! {
    /// A field of an instance.
    InstanceField of Instance;
    plain {
        Name: "name", "Instance", Text, [HostName], "Instance name";
        Uuid: "uuid", "UUID", Text, [], "Instance UUID";
        Os: "os", "OS", Text, [], "Operating system";
        Hypervisor: "hypervisor", "Hypervisor", Text, [], "Hypervisor name";
        PrimaryNode: "pnode", "Primary_node", Text, [HostName], "Primary node";
        PrimaryGroup: "pnode.group", "PrimaryNodeGroup", Text, [], "Node group of the primary node";
        PrimaryGroupUuid: "pnode.group.uuid", "PrimaryNodeGroupUUID", Text, [], "UUID of the primary node's group";
        SecondaryNodes: "snodes", "Secondary_Nodes", Other, [HostName], "Secondary nodes";
        SecondaryGroups: "snodes.group", "SecondaryNodesGroups", Other, [], "Node groups of the secondary nodes";
        SecondaryGroupUuids: "snodes.group.uuid", "SecondaryNodesGroupsUUID", Other, [], "UUIDs of the secondary nodes' groups";
        AdminState: "admin_state", "InstanceState", Text, [], "Desired state: up, down or offline";
        AdminStateSource: "admin_state_source", "InstanceStateSource", Text, [], "Who set the desired state: admin or user";
        AdminUp: "admin_up", "Autostart", Boolean, [], "Whether the desired state is up";
        DisksActive: "disks_active", "DisksActive", Boolean, [], "Whether the disks are to be active";
        Status: "status", "Status", Text, [Live], "Desired and actual state in one: running, ADMIN_down, ADMIN_offline and USER_down are as they should be; ERROR_up, ERROR_down, ERROR_wrongnode, ERROR_nodedown and ERROR_nodeoffline are not";
        OperState: "oper_state", "Running", Boolean, [Live], "Whether it runs";
        OperRam: "oper_ram", "Memory", Unit, [Live], "Memory it has now, as the hypervisor sees it";
        OperVcpus: "oper_vcpus", "VCPUs", Number, [Live], "Virtual CPUs it has now, as the hypervisor sees it";
        Console: "console", "Console", Other, [Live], "How to reach its console";
        NetworkPort: "network_port", "Network_port", Other, [], "Network port of its console";
        DiskTemplate: "disk_template", "Disk_template", Text, [], "Disk template";
        DiskUsage: "disk_usage", "DiskUsage", Unit, [], "Disk space it takes on each of its nodes";
        DiskCount: "disk.count", "Disks", Number, [], "Number of disks";
        DiskSizes: "disk.sizes", "Disk_sizes", Other, [], "Sizes of the disks";
        DiskSpindlesAll: "disk.spindles", "Disk_spindles", Other, [], "Spindles of the disks";
        DiskNames: "disk.names", "Disk_names", Other, [], "Names of the disks";
        DiskUuids: "disk.uuids", "Disk_UUIDs", Other, [], "UUIDs of the disks";
        NicCount: "nic.count", "NICs", Number, [], "Number of network cards";
        NicMacs: "nic.macs", "NIC_MACs", Other, [], "MAC addresses of the network cards";
        NicIps: "nic.ips", "NIC_IPs", Other, [], "IP addresses of the network cards";
        NicNames: "nic.names", "NIC_Names", Other, [], "Names of the network cards";
        NicUuids: "nic.uuids", "NIC_UUIDs", Other, [], "UUIDs of the network cards";
        NicModes: "nic.modes", "NIC_modes", Other, [], "Modes of the network cards";
        NicVlans: "nic.vlans", "NIC_VLANs", Other, [], "VLANs of the network cards";
        NicBridges: "nic.bridges", "NIC_bridges", Other, [], "Bridges of the network cards";
        NicLinks: "nic.links", "NIC_links", Other, [], "Links of the network cards";
        NicNetworks: "nic.networks", "NIC_networks", Other, [], "Networks of the network cards";
        NicNetworkNames: "nic.networks.names", "NIC_networks_names", Other, [], "Names of the networks of the network cards";
        HvParams: "hvparams", "HypervisorParameters", Other, [], "Hypervisor parameters, merged";
        BeParams: "beparams", "BackendParameters", Other, [], "Backend parameters, merged";
        OsParams: "osparams", "OpSysParameters", Other, [], "Operating system parameters, merged";
        CustomHvParams: "custom_hvparams", "CustomHypervisorParameters", Other, [], "Its own hypervisor parameters";
        CustomBeParams: "custom_beparams", "CustomBackendParameters", Other, [], "Its own backend parameters";
        CustomOsParams: "custom_osparams", "CustomOpSysParameters", Other, [], "Its own operating system parameters";
        CustomNicParams: "custom_nicparams", "CustomNicParameters", Other, [], "Own parameters of each network card";
        BeMaxMem: "be/maxmem", "ConfigMaxMem", Unit, [], "The \"maxmem\" backend parameter";
        BeMinMem: "be/minmem", "ConfigMinMem", Unit, [], "The \"minmem\" backend parameter";
        BeVcpus: "be/vcpus", "ConfigVCPUs", Number, [], "The \"vcpus\" backend parameter";
        BeAutoBalance: "be/auto_balance", "Auto_balance", Boolean, [], "The \"auto_balance\" backend parameter";
        BeAlwaysFailover: "be/always_failover", "be/always_failover", Boolean, [], "The \"always_failover\" backend parameter";
        BeSpindleUse: "be/spindle_use", "be/spindle_use", Number, [], "The \"spindle_use\" backend parameter";
        Ctime: "ctime", "CTime", Timestamp, [], "Creation time";
        Mtime: "mtime", "MTime", Timestamp, [], "Time of the last change";
        SerialNo: "serial_no", "SerialNo", Number, [], "Number of changes so far";
        Forthcoming: "forthcoming", "Forthcoming", Boolean, [], "Whether it is only reserved";
        Tags: "tags", "Tags", Other, [], "Tags";
    }
    indexed {
        DiskSize: 16 of "disk.size/", "Disk/", Unit, "Size of disk";
        DiskSpindles: 16 of "disk.spindles/", "DiskSpindles/", Number, "Spindles of disk";
        DiskName: 16 of "disk.name/", "DiskName/", Text, "Name of disk";
        DiskUuid: 16 of "disk.uuid/", "DiskUUID/", Text, "UUID of disk";
        NicIp: 8 of "nic.ip/", "NicIP/", Text, "IP address of network card";
        NicUuid: 8 of "nic.uuid/", "NicUUID/", Text, "UUID of network card";
        NicMac: 8 of "nic.mac/", "NicMAC/", Text, "MAC address of network card";
        NicName: 8 of "nic.name/", "NicName/", Text, "Name of network card";
        NicNetwork: 8 of "nic.network/", "NicNetwork/", Text, "Network of network card";
        NicMode: 8 of "nic.mode/", "NicMode/", Text, "Mode of network card";
        NicLink: 8 of "nic.link/", "NicLink/", Text, "Link of network card";
        NicVlan: 8 of "nic.vlan/", "NicVLAN/", Text, "VLAN of network card";
        NicNetworkName: 8 of "nic.network.name/", "NicNetworkName/", Text, "Name of the network of network card";
        NicBridge: 8 of "nic.bridge/", "NicBridge/", Text, "Bridge of network card";
    }
    params {
        HvParam: super::HV_PARAMS, "hv/";
    }
    aliases {
        "vcpus" = "be/vcpus";
        "be/memory" = "be/maxmem";
        "sda_size" = "disk.size/0";
        "sdb_size" = "disk.size/1";
        "ip" = "nic.ip/0";
        "mac" = "nic.mac/0";
        "bridge" = "nic.bridge/0";
        "nic_mode" = "nic.mode/0";
        "nic_link" = "nic.link/0";
        "nic_network" = "nic.network/0";
    }
}
