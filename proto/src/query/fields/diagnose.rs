//! The fields of what nodes offer: guest operating systems and external storage providers.

use super::macros::fields;

fields! {
    /// A field of a guest operating system definition.
    OsField of Os;
    plain {
        Name: "name", "Name", Text, [], "Operating system name";
        Valid: "valid", "Valid", Boolean, [Live], "Whether it is valid on every node";
        Hidden: "hidden", "Hidden", Boolean, [], "Whether it is left out of lists";
        Blacklisted: "blacklisted", "Blacklisted", Boolean, [], "Whether new instances may not have it";
        Variants: "variants", "Variants", Other, [Live], "Variants that every node has";
        ApiVersions: "api_versions", "ApiVersions", Other, [Live], "Interface versions that every node has";
        Parameters: "parameters", "Parameters", Other, [Live], "Parameters that every node has";
        NodeStatus: "node_status", "NodeStatus", Other, [Live], "What each node says of it";
        OsHvp: "os_hvp", "OsHypervisorParams", Other, [], "Its hypervisor parameters in this cluster";
        OsParams: "osparams", "OsParameters", Other, [], "Its parameters in this cluster";
        Trusted: "trusted", "Trusted", Boolean, [Live], "Whether its scripts may run on the nodes themselves";
    }
}

fields! {
    /// A field of an external storage provider.
    ExtStorageField of ExtStorage;
    plain {
        Name: "name", "Name", Text, [], "Provider name";
        NodeStatus: "node_status", "NodeStatus", Other, [Live], "What each node says of it";
        NodegroupStatus: "nodegroup_status", "NodegroupStatus", Other, [Live], "Whether it is valid in each node group";
        Parameters: "parameters", "Parameters", Other, [Live], "Parameters that every node has";
    }
}
