//! The fields of nodes.

use super::macros::fields;

fields! {
    /// A field of a node.
    NodeField of Node;
    plain {
        Name: "name", "Node", Text, [HostName], "Node name";
        Uuid: "uuid", "UUID", Text, [], "Node UUID";
        PrimaryIp: "pip", "PrimaryIP", Text, [], "Primary IP address";
        SecondaryIp: "sip", "SecondaryIP", Text, [], "Secondary IP address";
        Group: "group", "Group", Text, [], "Node group";
        GroupUuid: "group.uuid", "GroupUUID", Text, [], "UUID of the node group";
        Role: "role", "Role", Text, [], "Role: M for the master, C for a master candidate, R for a regular node, D for drained, O for offline";
        Master: "master", "IsMaster", Boolean, [], "Whether it is the master";
        MasterCandidate: "master_candidate", "MasterC", Boolean, [], "Whether it is a master candidate";
        Drained: "drained", "Drained", Boolean, [], "Whether it is drained";
        Offline: "offline", "Offline", Boolean, [], "Whether it is marked offline";
        MasterCapable: "master_capable", "MasterCapable", Boolean, [], "Whether it can become a master candidate";
        VmCapable: "vm_capable", "VMCapable", Boolean, [], "Whether it can host instances";
        Powered: "powered", "Powered", Boolean, [], "Whether it is thought to be powered on";
        PrimaryCount: "pinst_cnt", "Pinst", Number, [], "Number of instances with this node as primary";
        SecondaryCount: "sinst_cnt", "Sinst", Number, [], "Number of instances with this node as secondary";
        PrimaryList: "pinst_list", "PriInstances", Other, [HostName], "Instances with this node as primary";
        SecondaryList: "sinst_list", "SecInstances", Other, [HostName], "Instances with this node as secondary";
        NdParams: "ndparams", "NodeParameters", Other, [], "Node parameters, merged";
        CustomNdParams: "custom_ndparams", "CustomNodeParameters", Other, [], "Its own node parameters";
        BootId: "bootid", "BootID", Text, [Live], "Random UUID, new with each boot";
        CpuNodes: "cnodes", "CNodes", Number, [Live], "Number of NUMA nodes";
        CpuOs: "cnos", "CNOs", Number, [Live], "Number of CPUs that the node's own system uses";
        CpuSockets: "csockets", "CSockets", Number, [Live], "Number of CPU sockets";
        CpuTotal: "ctotal", "CTotal", Number, [Live], "Number of logical CPUs";
        DiskTotal: "dtotal", "DTotal", Unit, [Live], "Disk space for instances, in all";
        DiskFree: "dfree", "DFree", Unit, [Live], "Disk space for instances, available";
        SpindlesTotal: "sptotal", "SpTotal", Number, [Live], "Number of spindles, in all";
        SpindlesFree: "spfree", "SpFree", Number, [Live], "Number of spindles, available";
        MemoryTotal: "mtotal", "MTotal", Unit, [Live], "Memory, in all";
        MemoryNode: "mnode", "MNode", Unit, [Live], "Memory that the node's own system uses";
        MemoryFree: "mfree", "MFree", Unit, [Live], "Memory for instances, available";
        ConfigCopy: "config_copy", "ConfigCopy", Text, [], "Its copy of the configuration: leader, level, how many changes it lacks, or since when it has not been heard";
        Accelerators: "accelerators", "Accelerators", Other, [Live], "By hypervisor: what guests run with on this node, why, and with which versions";
        HvState: "hv_state", "HypervisorState", Other, [], "State of the hypervisors";
        DiskState: "disk_state", "DiskState", Other, [], "State of the disks";
        Ctime: "ctime", "CTime", Timestamp, [], "Creation time";
        Mtime: "mtime", "MTime", Timestamp, [], "Time of the last change";
        SerialNo: "serial_no", "SerialNo", Number, [], "Number of changes so far";
        Tags: "tags", "Tags", Other, [], "Tags";
    }
    params {
        NdParam: super::NDP_PARAMS, "ndp/";
    }
}
