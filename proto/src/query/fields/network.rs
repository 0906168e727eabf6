//! The fields of networks.

use super::macros::fields;

fields! {
    /// A field of a network.
    NetworkField of Network;
    plain {
        Name: "name", "Network", Text, [], "Name";
        Uuid: "uuid", "UUID", Text, [], "Network UUID";
        Network: "network", "Subnet", Text, [], "IPv4 subnet";
        Gateway: "gateway", "Gateway", Text, [], "IPv4 gateway";
        Network6: "network6", "IPv6Subnet", Text, [], "IPv6 subnet";
        Gateway6: "gateway6", "IPv6Gateway", Text, [], "IPv6 gateway";
        MacPrefix: "mac_prefix", "MacPrefix", Text, [], "Prefix of MAC addresses";
        FreeCount: "free_count", "FreeCount", Number, [], "Number of free addresses";
        ReservedCount: "reserved_count", "ReservedCount", Number, [], "Number of addresses in use or reserved";
        Map: "map", "Map", Text, [], "One sign per address: X for used or reserved, a dot for free";
        ExternalReservations: "external_reservations", "ExternalReservations", Text, [], "Addresses that are used outside the cluster";
        GroupList: "group_list", "GroupList", Other, [], "Connected node groups: name, mode, link, VLAN";
        GroupCount: "group_cnt", "NodeGroups", Number, [], "Number of connected node groups";
        InstanceList: "inst_list", "InstanceList", Other, [HostName], "Instances with a network card in it";
        InstanceCount: "inst_cnt", "Instances", Number, [], "Number of instances with a network card in it";
        Ctime: "ctime", "CTime", Timestamp, [], "Creation time";
        Mtime: "mtime", "MTime", Timestamp, [], "Time of the last change";
        SerialNo: "serial_no", "SerialNo", Number, [], "Number of changes so far";
        Tags: "tags", "Tags", Other, [], "Tags";
    }
}
