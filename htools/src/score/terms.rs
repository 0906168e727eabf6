//! The terms of the score, their names and weights.

/// A term. In the reference's order, in which they are added up and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Term {
    FreeMemory,
    FreeDisk,
    N1,
    ReservedMemory,
    OfflineAll,
    OfflinePrimaries,
    Vcpus,
    CpuLoad,
    MemoryLoad,
    DiskLoad,
    NetLoad,
    Tags,
    Spindles,
    FreeMemoryForth,
    FreeDiskForth,
    VcpusForth,
    SpindlesForth,
    Location,
    LocationExclusion,
    ReservedTotal,
}

/// The terms that are standard deviations over the online nodes.
pub const SPREADS: [Term; 13] = [
    Term::FreeMemory,
    Term::FreeDisk,
    Term::ReservedMemory,
    Term::Vcpus,
    Term::CpuLoad,
    Term::MemoryLoad,
    Term::DiskLoad,
    Term::NetLoad,
    Term::Spindles,
    Term::FreeMemoryForth,
    Term::FreeDiskForth,
    Term::VcpusForth,
    Term::SpindlesForth,
];

impl Term {
    /// How many there are.
    pub const COUNT: usize = 20;

    /// All of them.
    pub const ALL: [Term; Term::COUNT] = [
        Term::FreeMemory,
        Term::FreeDisk,
        Term::N1,
        Term::ReservedMemory,
        Term::OfflineAll,
        Term::OfflinePrimaries,
        Term::Vcpus,
        Term::CpuLoad,
        Term::MemoryLoad,
        Term::DiskLoad,
        Term::NetLoad,
        Term::Tags,
        Term::Spindles,
        Term::FreeMemoryForth,
        Term::FreeDiskForth,
        Term::VcpusForth,
        Term::SpindlesForth,
        Term::Location,
        Term::LocationExclusion,
        Term::ReservedTotal,
    ];

    /// Ganeti's name and weight.
    const fn about(self) -> (&'static str, f64) {
        match self {
            Term::FreeMemory => ("free_mem_cv", 0.5),
            Term::FreeDisk => ("free_disk_cv", 0.5),
            Term::N1 => ("n1_cnt", 1.0),
            Term::ReservedMemory => ("reserved_mem_cv", 1.0),
            Term::OfflineAll => ("offline_all_cnt", 4.0),
            Term::OfflinePrimaries => ("offline_pri_cnt", 16.0),
            Term::Vcpus => ("vcpu_ratio_cv", 0.5),
            Term::CpuLoad => ("cpu_load_cv", 1.0),
            Term::MemoryLoad => ("mem_load_cv", 1.0),
            Term::DiskLoad => ("disk_load_cv", 1.0),
            Term::NetLoad => ("net_load_cv", 1.0),
            Term::Tags => ("pri_tags_score", 2.0),
            Term::Spindles => ("spindles_cv", 0.5),
            Term::FreeMemoryForth => ("free_mem_cv_forth", 0.5),
            Term::FreeDiskForth => ("free_disk_cv_forth", 0.5),
            Term::VcpusForth => ("vcpu_ratio_cv_forth", 0.5),
            Term::SpindlesForth => ("spindles_cv_forth", 0.5),
            Term::Location => ("location_score", 1.0),
            Term::LocationExclusion => ("location_exclusion_score", 1.0),
            Term::ReservedTotal => ("reserved_mem_rtotal", 0.25),
        }
    }

    /// Ganeti's name.
    pub const fn as_str(self) -> &'static str {
        self.about().0
    }

    /// What it counts for.
    pub const fn weight(self) -> f64 {
        self.about().1
    }
}
