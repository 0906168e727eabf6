//! `kvm-memory` (instance): what each running KVM guest takes of this node's memory. All in bytes.
//!
//! ```json
//! {"guests": [{"name": "web.example.org", "pid": 4711, "resident": 237104000, "swapped": 0, "huge": 0,
//!              "overhead": 0,
//!              "balloon": {"current": 134217728, "maximum": 134217728, "available": 97062912,
//!                          "unused": 66920448, "usable": 72728576, "swap_in": 0, "swap_out": 0}}],
//!  "total": {"guests": 1, "resident": 237104000, "swapped": 0, "huge": 0, "overhead": 0,
//!            "current": 134217728, "maximum": 134217728}}
//! ```
//!
//! `resident`, `swapped` and `huge` (pages) are those of the QEMU process; `balloon.current` is what the guest has
//! now and `maximum` what it can have. `overhead` is what the process takes beyond what the guest has, as far as it
//! can be told: a guest that never touched all of its memory hides some of it. From `available` on the guest's own
//! system speaks, through its balloon driver: null if it has none, and as old as its last word. A process that
//! cannot be found has nulls.
//!
//! Metrics: `roost_kvm_memory_resident_bytes`, `…_swapped_bytes`, `…_huge_bytes`, `…_overhead_bytes`,
//! `roost_kvm_balloon_current_bytes`, `…_maximum_bytes`, `…_usable_bytes`.

use super::libvirt::{Balloon, Domain, Driver, Source};
use super::proc::Memory;
use crate::collector::{About, Collected, Collector, Pending};
use crate::metrics::Metrics;
use crate::report::{Category, Data, Kind};
use crate::world::World;
use serde::Serialize;
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct KvmMemory(Arc<Source>);

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Report {
    guests: Vec<Guest>,
    total: Total,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Guest {
    name: String,
    pid: Option<u32>,
    resident: Option<u64>,
    swapped: Option<u64>,
    huge: Option<u64>,
    overhead: Option<u64>,
    balloon: Ballooned,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Ballooned {
    current: Option<u64>,
    maximum: Option<u64>,
    available: Option<u64>,
    unused: Option<u64>,
    usable: Option<u64>,
    swap_in: Option<u64>,
    swap_out: Option<u64>,
}

/// Sums of what is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Total {
    guests: usize,
    resident: u64,
    swapped: u64,
    huge: u64,
    overhead: u64,
    current: u64,
    maximum: u64,
}

impl KvmMemory {
    pub fn new(source: Arc<Source>) -> KvmMemory {
        KvmMemory(source)
    }
}

impl Collector for KvmMemory {
    fn about(&self) -> About {
        About::built_in("kvm-memory", Category::Instance, Kind::Performance)
    }

    fn applies(&self, world: &World) -> bool {
        super::has_hypervisor(world, Driver::Qemu)
    }

    fn collect<'a>(&'a self, _world: &'a World) -> Pending<'a> {
        Box::pin(async move {
            let look = self.0.look().await?;
            let active = look.domains.iter().filter(|domain| domain.state.is_active());
            let guests: Vec<Guest> = active
                .map(|domain| {
                    let pid = super::qemu_pid(&domain.name);
                    let memory = pid.and_then(|pid| Some((pid, Memory::of(pid)?)));
                    guest(domain, memory)
                })
                .collect();
            let metrics = metrics(&guests);
            let report = Report { total: total(&guests), guests };
            Ok(Collected { data: Data::of(&report)?, metrics })
        })
    }
}

/// A guest and its process, if that was found.
fn guest(domain: &Domain, process: Option<(u32, Memory)>) -> Guest {
    let Balloon { current, maximum, available, unused, usable, swap_in, swap_out } = domain.balloon;
    let memory = process.map(|(_, memory)| memory);
    let taken = memory
        .map(|memory| memory.resident.saturating_add(memory.swapped).saturating_add(memory.huge));
    Guest {
        name: domain.name.clone(),
        pid: process.map(|(pid, _)| pid),
        resident: memory.map(|memory| memory.resident),
        swapped: memory.map(|memory| memory.swapped),
        huge: memory.map(|memory| memory.huge),
        overhead: taken.zip(current).map(|(taken, current)| taken.saturating_sub(current)),
        balloon: Ballooned { current, maximum, available, unused, usable, swap_in, swap_out },
    }
}

fn total(guests: &[Guest]) -> Total {
    let sum = |of: &dyn Fn(&Guest) -> Option<u64>| {
        guests.iter().filter_map(of).fold(0, u64::saturating_add)
    };
    Total {
        guests: guests.len(),
        resident: sum(&|guest| guest.resident),
        swapped: sum(&|guest| guest.swapped),
        huge: sum(&|guest| guest.huge),
        overhead: sum(&|guest| guest.overhead),
        current: sum(&|guest| guest.balloon.current),
        maximum: sum(&|guest| guest.balloon.maximum),
    }
}

fn metrics(guests: &[Guest]) -> Metrics {
    let mut metrics = Metrics::default();
    for guest in guests {
        let balloon = &guest.balloon;
        for (name, help, value) in [
            (
                "roost_kvm_memory_resident_bytes",
                "Memory of the node that the process of a guest holds",
                guest.resident,
            ),
            (
                "roost_kvm_memory_swapped_bytes",
                "Memory of the process of a guest that the node has swapped out",
                guest.swapped,
            ),
            (
                "roost_kvm_memory_huge_bytes",
                "Huge pages that the process of a guest holds",
                guest.huge,
            ),
            (
                "roost_kvm_memory_overhead_bytes",
                "What the process of a guest takes beyond the memory that the guest has",
                guest.overhead,
            ),
            (
                "roost_kvm_balloon_current_bytes",
                "Memory that a guest has at the moment",
                balloon.current,
            ),
            (
                "roost_kvm_balloon_maximum_bytes",
                "Memory that a guest can have at most",
                balloon.maximum,
            ),
            (
                "roost_kvm_balloon_usable_bytes",
                "Memory that a guest could use without swapping, by its own word",
                balloon.usable,
            ),
        ] {
            if let Some(value) = value {
                metrics.gauge(name, help, &[("instance_name", &guest.name)], value as f64);
            }
        }
    }
    metrics
}

#[cfg(test)]
mod tests {
    use super::super::libvirt::parse_stats;
    use super::*;

    const SUSPENDED: &str = include_str!("../../../fixtures/libvirt/suspended.txt");

    fn domain() -> Domain {
        parse_stats(SUSPENDED, true).pop().unwrap()
    }

    #[test]
    fn what_a_process_takes_beyond_its_guest_is_overhead() {
        const MIB: u64 = 1 << 20;
        let memory = |resident, swapped, huge| Memory { resident, swapped, huge };
        let overhead = |memory| guest(&domain(), Some((7, memory))).overhead;
        assert_eq!(overhead(memory(231 * MIB, 0, 0)), Some(103 * MIB));
        assert_eq!(overhead(memory(100 * MIB, 30 * MIB, 0)), Some(2 * MIB));
        assert_eq!(overhead(memory(20 * MIB, 0, 128 * MIB)), Some(20 * MIB));
        assert_eq!(overhead(memory(20 * MIB, 0, 0)), Some(0), "it has not touched all of it");
        assert_eq!(overhead(memory(u64::MAX, 1, 1)), Some(u64::MAX - 128 * MIB));
        assert_eq!(guest(&domain(), None).overhead, None);
    }

    #[test]
    fn sums_are_of_what_is_known() {
        let memory = Memory { resident: 1000, swapped: 10, huge: 0 };
        let guests = [guest(&domain(), Some((7, memory))), guest(&domain(), None)];
        let total = total(&guests);
        assert_eq!((total.guests, total.resident, total.swapped), (2, 1000, 10));
        assert_eq!(total.current, 2 * (128 << 20));
        let names: Vec<&str> = metrics(&guests).families.iter().map(|f| f.name).collect();
        assert!(names.contains(&"roost_kvm_balloon_usable_bytes"), "{names:?}");
    }
}
