//! Why an instance cannot be on a node.

use std::fmt;

/// The check that failed; in Ganeti's order, which messages and ties follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailMode {
    Mem,
    Disk,
    Cpu,
    N1,
    Tags,
    Mig,
    DiskCount,
    Spindles,
    Internal,
    /// A placement rule; not Ganeti's.
    Rule,
}

impl FailMode {
    /// All of them.
    pub const ALL: [FailMode; 10] = [
        FailMode::Mem,
        FailMode::Disk,
        FailMode::Cpu,
        FailMode::N1,
        FailMode::Tags,
        FailMode::Mig,
        FailMode::DiskCount,
        FailMode::Spindles,
        FailMode::Internal,
        FailMode::Rule,
    ];

    /// Ganeti's name.
    pub fn as_str(self) -> &'static str {
        match self {
            FailMode::Mem => "FailMem",
            FailMode::Disk => "FailDisk",
            FailMode::Cpu => "FailCPU",
            FailMode::N1 => "FailN1",
            FailMode::Tags => "FailTags",
            FailMode::Mig => "FailMig",
            FailMode::DiskCount => "FailDiskCount",
            FailMode::Spindles => "FailSpindles",
            FailMode::Internal => "FailInternal",
            FailMode::Rule => "FailRule",
        }
    }
}

impl fmt::Display for FailMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
