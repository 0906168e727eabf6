//! The fields of node groups.

use super::macros::fields;

fields! {
    /// A field of a node group.
    GroupField of Group;
    plain {
        Name: "name", "Group", Text, [], "Group name";
        Uuid: "uuid", "UUID", Text, [], "Group UUID";
        AllocPolicy: "alloc_policy", "AllocPolicy", Text, [], "Whether new instances may be placed here";
        NodeCount: "node_cnt", "Nodes", Number, [], "Number of nodes";
        NodeList: "node_list", "NodeList", Other, [HostName], "Nodes";
        InstanceCount: "pinst_cnt", "Instances", Number, [], "Number of instances with their primary node here";
        InstanceList: "pinst_list", "InstanceList", Other, [HostName], "Instances with their primary node here";
        NdParams: "ndparams", "NDParams", Other, [], "Node parameters, merged";
        CustomNdParams: "custom_ndparams", "CustomNDParams", Other, [], "Its own node parameters";
        DiskParams: "diskparams", "DiskParameters", Other, [], "Disk parameters, merged";
        CustomDiskParams: "custom_diskparams", "CustomDiskParameters", Other, [], "Its own disk parameters";
        Ipolicy: "ipolicy", "InstancePolicy", Other, [], "Instance policy, merged";
        CustomIpolicy: "custom_ipolicy", "CustomInstancePolicy", Other, [], "Its own instance policy";
        Ctime: "ctime", "CTime", Timestamp, [], "Creation time";
        Mtime: "mtime", "MTime", Timestamp, [], "Time of the last change";
        SerialNo: "serial_no", "SerialNo", Number, [], "Number of changes so far";
        Tags: "tags", "Tags", Other, [], "Tags";
    }
    params {
        NdParam: super::NDP_PARAMS, "ndp/";
    }
}
