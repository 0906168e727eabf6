//! Data collectors of mond, by name: which ones a cluster can switch.
//!
//! Ganeti's are in the configuration of every new cluster. Ours are there once somebody changed them: until
//! then they work as they are built. Files for Ganeti name only its own.

/// Ganeti's.
pub const GANETI: [&str; 6] =
    ["cpu-avg-load", "diskstats", "drbd", "inst-status-xen", "lv", "xen-cpu-avg-load"];

/// Ours.
pub const OURS: [&str; 9] = [
    "certificates",
    "daemons",
    "hypervisor",
    "inst-status-kvm",
    "inst-status-lxc",
    "jobs",
    "kvm-memory",
    "node-os",
    "replication",
];

/// What names of plugins begin with.
pub const PLUGIN: &str = "plugin-";

/// The time between two collections if nobody says anything, microseconds.
pub const INTERVAL: f64 = 5e6;

/// Whether a plugin can have this name: [`PLUGIN`], then letters (small), digits and dashes.
pub fn is_plugin(name: &str) -> bool {
    name.len() <= 64
        && name.strip_prefix(PLUGIN).is_some_and(|rest| {
            !rest.is_empty()
                && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
}

/// Whether a collector of this name can be switched. What plugins there are, nodes know.
pub fn is_known(name: &str) -> bool {
    GANETI.contains(&name) || OURS.contains(&name) || is_plugin(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known() {
        for name in ["lv", "node-os", "plugin-raid", "plugin-a-1"] {
            assert!(is_known(name), "{name}");
        }
        for name in ["", "x", "plugin-", "plugin-A", "plugin-a/b", "LV"] {
            assert!(!is_known(name), "{name}");
        }
    }
}
