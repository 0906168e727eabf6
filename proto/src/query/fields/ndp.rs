//! The family `ndp/`: node parameters, of nodes and of node groups.

use super::{FieldKind, ParamField};

const fn param(
    name: &'static str,
    title: Option<&'static str>,
    kind: FieldKind,
    doc: &'static str,
) -> ParamField {
    ParamField { name, title, kind, doc }
}

/// The node parameters.
pub static NDP_PARAMS: [ParamField; 10] = [
    param("oob_program", Some("OutOfBandProgram"), FieldKind::Other, "Out-of-band helper program"),
    param("spindle_count", Some("SpindleCount"), FieldKind::Number, "Number of disks in the node"),
    param(
        "exclusive_storage",
        Some("ExclusiveStorage"),
        FieldKind::Boolean,
        "Whether instances use whole physical volumes",
    ),
    param("ovs", Some("OpenvSwitch"), FieldKind::Boolean, "Whether Open vSwitch is set up"),
    param("ovs_name", Some("OpenvSwitchName"), FieldKind::Other, "Name of the Open vSwitch switch"),
    param(
        "ovs_link",
        Some("OpenvSwitchLink"),
        FieldKind::Other,
        "Uplink of the Open vSwitch switch",
    ),
    param("ssh_port", None, FieldKind::Number, "Port of the SSH daemon"),
    param("cpu_speed", None, FieldKind::Float, "Speed of the CPUs, relative to others"),
    param(
        "disk_copy_rate",
        Some("CopyRate"),
        FieldKind::Number,
        "MiB/s that all copies of disks may move together (0: no limit)",
    ),
    param(
        "disk_resync_rate",
        Some("ResyncRate"),
        FieldKind::Number,
        "MiB/s of all resynchronizations of mirrors together (0: no limit)",
    ),
];
