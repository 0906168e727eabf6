//! The fields of what lies on nodes: logical volumes and storage units.

use super::macros::fields;

fields! {
    /// A field of a logical volume of a node.
    NodeVolumeField of NodeVolume;
    plain {
        Node: "node", "Node", Text, [HostName], "Node name";
        Phys: "phys", "PhysDev", Text, [Live], "Physical device it lies on";
        VolumeGroup: "vg", "VG", Text, [Live], "Volume group";
        Name: "name", "Name", Text, [Live], "Volume name";
        Size: "size", "Size", Unit, [Live], "Size";
        Instance: "instance", "Instance", Text, [Live], "Instance whose disk it is";
    }
}

fields! {
    /// A field of a storage unit of a node.
    NodeStorageField of NodeStorage;
    plain {
        Node: "node", "Node", Text, [HostName], "Node name";
        Type: "type", "Type", Text, [], "Storage type";
        Name: "name", "Name", Text, [Live], "Name of the unit";
        Size: "size", "Size", Unit, [Live], "Size";
        Used: "used", "Used", Unit, [Live], "Space in use";
        Free: "free", "Free", Unit, [Live], "Free space";
        Allocatable: "allocatable", "Allocatable", Boolean, [Live], "Whether new disks may be placed there";
    }
}
