//! Daemons die at every step of what changes disks, on real LVM and DRBD: afterwards nothing is left
//! that should not be there, and the configuration and the nodes agree. Needs root and the image of
//! user-mode Linux nodes (`make uml`): `make test-full`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

#[path = "../e2e/cluster.rs"]
#[expect(dead_code, reason = "shared with other test programs")]
mod cluster;

use cluster::{Cluster, SOON};
use roost_tests::lab::{Activity, Hypervisor, Kernel, Options, wait_until};
use std::collections::BTreeSet;

/// One kind of change, again and again: what is there before, and the change.
struct Change {
    name: &'static str,
    before: &'static str,
    change: &'static str,
}

const ADD: &str = "gnt-instance add --disk 0:size=32M --ignore-ipolicy --no-install --no-start -o \
                   noop";

/// Every disk is small: what is killed is what surrounds the data.
const CHANGES: &[Change] = &[
    Change { name: "create plain", before: "true", change: "ADD -t plain -n node1 web.lab" },
    Change { name: "create drbd", before: "true", change: "ADD -t drbd -n node1:node2 web.lab" },
    Change {
        name: "remove drbd",
        before: "ADD -t drbd -n node1:node2 web.lab",
        change: "gnt-instance remove -f web",
    },
    Change {
        name: "grow drbd",
        before: "ADD -t drbd -n node1:node2 web.lab",
        change: "gnt-instance grow-disk --ignore-ipolicy web 0 32M",
    },
    Change {
        name: "replace on the secondary",
        before: "ADD -t drbd -n node1:node2 web.lab",
        change: "gnt-instance replace-disks -s web",
    },
    Change {
        name: "replace the secondary",
        before: "ADD -t drbd -n node1:node2 web.lab",
        change: "gnt-instance replace-disks -n node3 web",
    },
    Change {
        name: "plain to drbd",
        before: "ADD -t plain -n node1 web.lab",
        change: "gnt-instance modify -t drbd -n node2 web",
    },
    Change {
        name: "drbd to plain",
        before: "ADD -t drbd -n node1:node2 web.lab",
        change: "gnt-instance modify -t plain web",
    },
    Change {
        name: "plain to file",
        before: "ADD -t plain -n node1 web.lab",
        change: "gnt-instance modify -t file web",
    },
];

/// Who dies where.
#[derive(Clone, Copy)]
struct Death {
    daemon: &'static str,
    node: &'static str,
    place: &'static str,
}

impl Death {
    /// Where the daemon looks whether it is to die, and how often it still has to come by.
    fn file(self) -> &'static str {
        match self.daemon {
            "masterd" => "/var/lib/ganeti/failpoint",
            _ => "/var/lib/ganeti/failpoint-noded",
        }
    }
}

const fn death(daemon: &'static str, node: &'static str, place: &'static str) -> Death {
    Death { daemon, node, place }
}

/// A daemon can count its coming by at one place at a time.
const DEATHS: [&[Death]; 2] = [
    &[
        death("masterd", "node1", "commit-stored"),
        death("noded", "node1", "step-done"),
        death("noded", "node2", "step-begun"),
    ],
    &[death("noded", "node1", "command-ended"), death("noded", "node2", "command-ended")],
];

/// How many moments at each place are tried.
const MOMENTS: u32 = 3;
/// More than ever happens in one change.
const NEVER: u32 = 100_000;

struct Site {
    c: Cluster,
    /// Moments that were tried, and those at which a daemon really died.
    tried: usize,
    died: usize,
}

impl Site {
    fn up(name: &str) -> Site {
        let options = Options {
            hypervisor: Hypervisor::Fake,
            kernel: Kernel::Uml,
            disk_mib: 1024,
            ..Options::new(name)
        };
        Site { c: Cluster::with(options), tried: 0, died: 0 }
    }

    fn set(&self, death: Death, times: u32) {
        let text = format!("{} {times}", death.place);
        self.c.lab.write(death.node, death.file(), 0o600, text.as_bytes()).unwrap();
    }

    /// How often it still had to come by; nothing if it has died.
    fn left(&self, death: Death) -> Option<u32> {
        let text = self.c.on(death.node, &format!("cat {}", death.file())).stdout;
        let left = text.trim().split_once(' ').map(|(_, left)| left.parse().unwrap());
        self.c.on(death.node, &format!("rm -f {}", death.file()));
        left
    }

    fn runs(&self, node: &str, daemon: &str) -> bool {
        let status = self.c.lab.status().into_iter().find(|n| n.name == node).unwrap();
        status.daemons.iter().any(|(name, is)| name == daemon && *is == Activity::Running)
    }

    fn command(&self, text: &str) -> String {
        text.replace("ADD", ADD)
    }

    /// Does the change with a death in the middle of it, and looks at what is left.
    fn die(&mut self, change: &Change, death: Death, times: u32) {
        let Death { daemon, node, place } = death;
        let point = format!("{}: {daemon} on {node} dies at {place} {times}", change.name);
        self.c.ok(&self.command(change.before));
        self.c.on(node, "rm -f /run/over");
        self.set(death, times);
        let submit = format!("{} --submit --print-jobid", self.command(change.change));
        // Not told where masterd dies as it takes the job.
        let job: Option<u64> = self.c.run(&submit).stdout.trim().parse().ok();
        let died = std::thread::scope(|scope| {
            scope.spawn(|| {
                if let Some(job) = job {
                    self.c.run(&format!("gnt-job watch {job}"));
                }
                self.c.on(node, "touch /run/over");
            });
            // Asking from outside, over and over, would take the machine from those that work.
            let file = death.file();
            self.c.on(node, &format!("while [ -e {file} -a ! -e /run/over ]; do sleep 0.2; done"));
            let died = self.left(death).is_none();
            if died {
                wait_until(SOON, || point.clone(), || !self.runs(node, daemon)).unwrap();
                self.c.lab.start_daemon(node, daemon).unwrap();
            }
            died
        });
        self.tried += 1;
        self.died += usize::from(died);
        self.c.master_answers();
        // The newest: its number is not known where masterd died too early.
        self.c.run("gnt-job watch $(gnt-job list --no-headers -o id | tail -n 1)");
        self.c.jobs_end();
        self.sound(&point);
        self.clear(&point);
    }

    /// The instance goes, and with it all there is.
    fn clear(&self, point: &str) {
        if !self.c.instances().is_empty() {
            self.c.ok("gnt-instance remove -f web");
        }
        self.empty(point);
    }

    /// The configuration and the nodes agree, and nothing is left to be cleaned up.
    #[track_caller]
    fn sound(&self, point: &str) {
        let mut last = String::new();
        // What follows a change by itself does so a moment later.
        let sound = || {
            let out = self.c.run("gnt-cluster verify --error-codes");
            last = format!("{}\n{}", out.stdout, out.stderr);
            // A node whose daemon died as it was asked counts as away: what it has is noted, and
            // goes with one command.
            if last.contains("ECLUSTERDEBRIS") && last.contains("does not answer") {
                println!("{point}: debris is repaired");
                self.c.run("gnt-cluster repair-debris");
            }
            let bad = ["ERROR", "ENODEORPHANLV", "ENODEDRBD:", "repair-debris"];
            out.ok() && !bad.iter().any(|word| last.contains(word))
        };
        if wait_until(SOON, || "a sound cluster".into(), sound).is_err() {
            panic!("{point}: {last}\n{}\n{}", self.c.ok("gnt-job list"), self.devices().join("\n"));
        }
    }

    /// Volumes and mirrors on all nodes.
    fn devices(&self) -> Vec<String> {
        let look = "lvs --noheadings -o vg_name,lv_name; ls /dev/mapper; \
                    grep -E '^ *[0-9]+: cs:' /proc/drbd | grep -v Unconfigured; true";
        let on = |node: &str| format!("{node}: {}", self.c.on(node, look).stdout.trim());
        ["node1", "node2", "node3"].map(on).into()
    }

    /// Nothing of any instance is anywhere.
    #[track_caller]
    fn empty(&self, point: &str) {
        for line in self.devices() {
            let found: BTreeSet<&str> = line.split_whitespace().skip(1).collect();
            let nothing = found.iter().all(|word| *word == "control");
            assert!(nothing, "{point}: something is left: {line}");
        }
        assert_eq!(self.c.files(), Vec::<String>::new(), "{point}");
    }

    /// How often the change comes by at each of these places.
    fn moments(&self, change: &Change, deaths: &[Death]) -> Vec<u32> {
        self.c.ok(&self.command(change.before));
        deaths.iter().for_each(|death| self.set(*death, NEVER));
        self.c.ok(&self.command(change.change));
        let left = |death: &Death| NEVER - self.left(*death).expect("it was not to die");
        let moments = deaths.iter().map(left).collect();
        self.sound(change.name);
        self.clear(change.name);
        moments
    }

    /// A change, with a death at each place: at some moments from the first on.
    fn sweep(&mut self, change: &Change) {
        for deaths in DEATHS {
            for (death, moments) in deaths.iter().zip(self.moments(change, deaths)) {
                let Death { node, place, .. } = death;
                println!("{}: {moments} moments of {place} on {node}", change.name);
                let stride = moments.div_ceil(MOMENTS).max(1);
                for times in (1..=moments).step_by(stride as usize) {
                    self.die(change, *death, times);
                }
            }
        }
    }
}

fn sweep(lab: &str, change: &str) {
    let mut site = Site::up(lab);
    let change = CHANGES.iter().find(|known| known.name == change).unwrap();
    site.sweep(change);
    println!("{}: {} moments tried, {} deaths", change.name, site.tried, site.died);
    assert!(site.died * 2 > site.tried, "daemons hardly ever died where they should");
}

#[test]
#[ignore = "long, needs the image of user-mode Linux nodes: make test-full"]
fn a_volume_is_made() {
    sweep("t-kill-plain", "create plain");
}

#[test]
#[ignore = "long, needs the image of user-mode Linux nodes: make test-full"]
fn a_mirror_is_made() {
    sweep("t-kill-drbd", "create drbd");
}

#[test]
#[ignore = "long, needs the image of user-mode Linux nodes: make test-full"]
fn a_mirror_is_removed() {
    sweep("t-kill-remove", "remove drbd");
}

#[test]
#[ignore = "long, needs the image of user-mode Linux nodes: make test-full"]
fn a_mirror_is_grown() {
    sweep("t-kill-grow", "grow drbd");
}

#[test]
#[ignore = "long, needs the image of user-mode Linux nodes: make test-full"]
fn a_side_is_made_again() {
    sweep("t-kill-side", "replace on the secondary");
}

#[test]
#[ignore = "long, needs the image of user-mode Linux nodes: make test-full"]
fn a_secondary_is_replaced() {
    sweep("t-kill-new", "replace the secondary");
}

#[test]
#[ignore = "long, needs the image of user-mode Linux nodes: make test-full"]
fn a_volume_becomes_a_mirror() {
    sweep("t-kill-todrbd", "plain to drbd");
}

#[test]
#[ignore = "long, needs the image of user-mode Linux nodes: make test-full"]
fn a_mirror_becomes_a_volume() {
    sweep("t-kill-toplain", "drbd to plain");
}

#[test]
#[ignore = "long, needs the image of user-mode Linux nodes: make test-full"]
fn a_volume_becomes_a_file() {
    sweep("t-kill-tofile", "plain to file");
}
