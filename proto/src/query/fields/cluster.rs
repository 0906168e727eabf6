//! The fields of the cluster.

use super::macros::fields;

fields! {
    /// A field of the cluster.
    ClusterField of Cluster;
    plain {
        ClusterName: "cluster_name", "ClusterName", Text, [HostName], "Cluster name";
        MasterNode: "master_node", "Master", Text, [HostName], "Node that is the master";
        VolumeGroupName: "volume_group_name", "VgName", Text, [], "LVM volume group of instance disks";
        Tags: "tags", "Tags", Other, [], "Tags";
        Architecture: "architecture", "ArchInfo", Other, [], "Machine architecture: word size and name";
        DrainFlag: "drain_flag", "QueueDrained", Boolean, [], "Whether the queue takes no new jobs";
        WatcherPause: "watcher_pause", "WatcherPause", Timestamp, [], "Until when the watcher is paused";
        SoftwareVersion: "software_version", "SoftwareVersion", Text, [], "Software version";
        ProtocolVersion: "protocol_version", "ProtocolVersion", Number, [], "Version of the protocol between nodes";
        ConfigVersion: "config_version", "ConfigVersion", Number, [], "Version of the configuration's format";
        OsApiVersion: "os_api_version", "OsApiVersion", Number, [], "Latest version of the OS interface";
        ExportVersion: "export_version", "ExportVersion", Number, [], "Version of the export format";
        VcsVersion: "vcs_version", "VcsVersion", Text, [], "Source revision that the software was built from";
        Ctime: "ctime", "CTime", Timestamp, [], "Creation time";
        Mtime: "mtime", "MTime", Timestamp, [], "Time of the last change";
    }
    aliases {
        "name" = "cluster_name";
    }
}
