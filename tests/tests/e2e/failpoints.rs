//! masterd dies at exact places, on the leader or on a copy: what was acknowledged stays, and the
//! cluster goes on.

use crate::cluster::{Cluster, SOON};
use roost_tests::lab::{Activity, Hypervisor, Options, wait_until};

/// Who dies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Leader,
    Copy,
    /// The one that takes over from the leader.
    Next,
}

/// All places, as in masterd's `failpoint.rs`.
const PLACES: [(&str, Who); 7] = [
    ("commit-stored", Who::Leader),
    ("commit-counts", Who::Leader),
    ("append-stored", Who::Copy),
    ("copy-in-place", Who::Copy),
    ("promise-written", Who::Next),
    ("elected", Who::Next),
    ("begun", Who::Next),
];

impl Cluster {
    /// The masterd of a node is to die at a place.
    pub fn set_failpoint(&self, node: &str, place: &str) {
        let file = self.lab.host_path(node, "/var/lib/ganeti/failpoint").unwrap();
        std::fs::write(file, place).unwrap();
    }

    /// Waits until it has.
    #[track_caller]
    pub fn wait_dead(&self, node: &str, place: &str) {
        let gone = || {
            let status = self.lab.status().into_iter().find(|n| n.name == node).unwrap();
            !status.daemons.iter().any(|(name, is)| name == "masterd" && *is == Activity::Running)
        };
        let what = || format!("death of masterd on {node} at {}", place);
        wait_until(SOON, what, gone).unwrap();
    }

    /// Starts jobs until a masterd is dead; returns the names of instances that were made.
    fn create_some(&self, place: &str) -> Vec<String> {
        let mut made = Vec::new();
        for n in 0..5 {
            let name = format!("{}-{n}.lab", place);
            let add = format!("gnt-instance add -t diskless -o noop --no-install {name}");
            if self.run(&add).ok() {
                made.push(name);
            }
        }
        made
    }
}

#[test]
fn masterd_dies_at_every_place() {
    let options = Options { hypervisor: Hypervisor::Fake, ..Options::new("t-failpoints") };
    let mut c = Cluster::with(options);
    let mut made = Vec::new();
    for (place, who) in PLACES {
        let next = if c.master == "node1" { "node2" } else { "node1" };
        let dying = match who {
            Who::Leader => c.master.clone(),
            Who::Copy | Who::Next => next.to_owned(),
        };
        if place == "copy-in-place" {
            // A copy without a file gets a whole one.
            c.lab.kill_daemon(&dying, "masterd").unwrap();
            c.on(&dying, "rm -f /var/lib/ganeti/config.db*");
            c.set_failpoint(&dying, place);
            c.lab.start_daemon(&dying, "masterd").unwrap();
        } else {
            c.set_failpoint(&dying, place);
        }
        match who {
            Who::Leader | Who::Copy => made.extend(c.create_some(place)),
            Who::Next => {
                // Whatever comes of it, it must be possible to say it again.
                c.on(next, "gnt-cluster master-failover");
            }
        }
        c.wait_dead(&dying, place);
        c.lab.start_daemon(&dying, "masterd").unwrap();
        if who == Who::Next {
            let leads = || {
                let out = c.on(next, "gnt-cluster master-failover");
                out.ok() || out.stderr.contains("already the master")
            };
            wait_until(SOON, || format!("{next} leads"), leads).unwrap();
            c.master = next.to_owned();
            c.run("gnt-cluster activate-master-ip");
        }
        c.master_answers();
        let all = c.instances();
        for name in &made {
            assert!(all.contains(name), "{name} is missing after {}: {all:?}", place);
        }
    }
    let level = || {
        let out = c.ok("gnt-node list --no-headers -o config_copy");
        out.lines().filter(|l| l.trim() == "level").count() == 2
    };
    wait_until(SOON, || "level copies".into(), level).unwrap();
    c.all_report();
    c.jobs_end();
    c.verify();
}
