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

/// Who dies where: daemon, node, file, place.
const DEATHS: &[(&str, &str, &str, &str)] = &[
    ("masterd", "node1", "failpoint", "commit-stored"),
    ("noded", "node1", "failpoint-noded", "step-done"),
    ("noded", "node1", "failpoint-noded", "command-ended"),
    ("noded", "node2", "failpoint-noded", "step-begun"),
    ("noded", "node2", "failpoint-noded", "command-ended"),
];

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

    fn set(&self, node: &str, file: &str, place: &str, times: u32) {
        let path = format!("/var/lib/ganeti/{file}");
        self.c.lab.write(node, &path, 0o600, format!("{place} {times}").as_bytes()).unwrap();
    }

    /// How often it still had to come by; nothing if it has died.
    fn left(&self, node: &str, file: &str) -> Option<u32> {
        let text = self.c.on(node, &format!("cat /var/lib/ganeti/{file}")).stdout;
        let left = text.trim().split_once(' ').map(|(_, left)| left.parse().unwrap());
        self.c.on(node, &format!("rm -f /var/lib/ganeti/{file}"));
        left
    }

    fn runs(&self, node: &str, daemon: &str) -> bool {
        let status = self.c.lab.status().into_iter().find(|n| n.name == node).unwrap();
        status.daemons.iter().any(|(name, is)| name == daemon && *is == Activity::Running)
    }

    /// The master answers, and no job is unfinished.
    fn idle(&self) -> bool {
        let out = self.c.run("gnt-job list --no-headers -o status");
        let over = |s: &str| matches!(s, "success" | "error" | "canceled");
        out.ok() && out.stdout.split_whitespace().all(over)
    }

    fn command(&self, text: &str) -> String {
        text.replace("ADD", ADD)
    }

    /// Does the change with a death in the middle of it, and looks at what is left.
    fn die(&mut self, change: &Change, death: (&str, &str, &str, &str), times: u32) {
        let (daemon, node, file, place) = death;
        let point = format!("{}: {daemon} on {node} dies at {place} {times}", change.name);
        self.c.ok(&self.command(change.before));
        self.set(node, file, place, times);
        let submit = format!("{} --submit", self.command(change.change));
        self.c.run(&submit);
        let over = || !self.runs(node, daemon) || self.idle();
        wait_until(SOON, || format!("{point}: death, or the end"), over).unwrap();
        self.tried += 1;
        if self.left(node, file).is_none() {
            self.died += 1;
            wait_until(SOON, || point.clone(), || !self.runs(node, daemon)).unwrap();
            self.c.lab.start_daemon(node, daemon).unwrap();
        }
        self.c.master_answers();
        self.c.jobs_end();
        self.sound(&point);
        if !self.c.instances().is_empty() {
            self.c.ok("gnt-instance remove -f web");
        }
        self.empty(&point);
    }

    /// The configuration and the nodes agree, and nothing is left to be cleaned up.
    #[track_caller]
    fn sound(&self, point: &str) {
        let mut last = String::new();
        // What follows a change by itself does so a moment later.
        let sound = || {
            let out = self.c.run("gnt-cluster verify --error-codes");
            last = format!("{}\n{}", out.stdout, out.stderr);
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

    /// A change, with a death at each place: every `stride`-th moment.
    fn sweep(&mut self, change: &Change, most: u32) {
        for death in DEATHS {
            let (_, node, file, place) = *death;
            // How many moments there are.
            self.c.ok(&self.command(change.before));
            self.set(node, file, place, NEVER);
            self.c.ok(&self.command(change.change));
            let moments = NEVER - self.left(node, file).expect("it was not to die");
            self.sound(change.name);
            if !self.c.instances().is_empty() {
                self.c.ok("gnt-instance remove -f web");
            }
            self.empty(change.name);
            let stride = moments.div_ceil(most).max(1);
            println!("{}: {moments} moments of {place} on {node}", change.name);
            for times in (1..=moments).step_by(stride as usize) {
                self.die(change, *death, times);
            }
        }
    }
}

fn sweep(lab: &str, names: &[&str], most: u32) {
    let mut site = Site::up(lab);
    for change in CHANGES.iter().filter(|change| names.contains(&change.name)) {
        site.sweep(change, most);
    }
    println!("{} moments tried, {} deaths", site.tried, site.died);
    assert!(site.died * 2 > site.tried, "daemons hardly ever died where they should");
}

#[test]
#[ignore = "long, needs the image of user-mode Linux nodes: make test-full"]
fn daemons_die_while_disks_are_made_and_removed() {
    sweep("t-kill-make", &["create plain", "create drbd", "remove drbd"], 3);
}

#[test]
#[ignore = "long, needs the image of user-mode Linux nodes: make test-full"]
fn daemons_die_while_disks_are_grown_and_replaced() {
    let names = ["grow drbd", "replace on the secondary", "replace the secondary"];
    sweep("t-kill-replace", &names, 3);
}

#[test]
#[ignore = "long, needs the image of user-mode Linux nodes: make test-full"]
fn daemons_die_while_disks_are_converted() {
    sweep("t-kill-convert", &["plain to drbd", "drbd to plain", "plain to file"], 3);
}
