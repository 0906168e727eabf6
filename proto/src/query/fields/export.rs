//! The fields of instance exports.

use super::macros::fields;

fields! {
    /// A field of an export that lies on a node.
    ExportField of Export;
    plain {
        Node: "node", "Node", Text, [HostName], "Node name";
        Export: "export", "Export", Text, [Live], "Export name";
    }
}
