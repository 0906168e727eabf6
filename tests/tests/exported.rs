//! Exports of disks that are real volumes and mirrors, imported on another node. Needs root and the
//! image of user-mode Linux nodes (`make uml`): `make test-full`. What can go wrong on the way is
//! tried on files: `e2e/exports.rs`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

#[path = "e2e/cluster.rs"]
#[expect(dead_code, reason = "shared with other test programs")]
mod cluster;

use cluster::Cluster;
use roost_tests::lab::{Hypervisor, Kernel, Options};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// An OS whose dumps are the disks as they are.
const RAW: &[(&str, &str)] = &[
    (
        "create",
        "for disk in $DISK_0_PATH $DISK_1_PATH; do dd if=/dev/urandom of=$disk bs=1M count=12; done",
    ),
    ("export", "cat $EXPORT_DEVICE"),
    ("import", "dd of=$IMPORT_DEVICE bs=1M iflag=fullblock conv=notrunc,fsync"),
    ("rename", "true"),
    ("verify", "true"),
];
const DISKS: &str = "--disk 0:size=32M --disk 1:size=16M -B memory=32M --ignore-ipolicy";

fn cluster(name: &str) -> Cluster {
    let c = Cluster::with(Options {
        nodes: 2,
        hypervisor: Hypervisor::Fake,
        kernel: Kernel::Uml,
        disk_mib: 1024,
        ..Options::new(name)
    });
    let dir = c.os_dir().join("raw");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("ganeti_api_version"), "20\n").unwrap();
    fs::write(dir.join("parameters.list"), "").unwrap();
    for (name, body) in RAW {
        let path = dir.join(name);
        fs::write(&path, format!("#!/bin/sh\nset -e\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    c
}

/// What the disks of an instance hold.
fn sums(c: &Cluster, name: &str) -> Vec<String> {
    let out = c.ok(&format!("gnt-instance activate-disks {name}"));
    let sum = |line: &str| {
        let mut parts = line.trim().splitn(3, ':');
        let node = parts.next().unwrap().trim_end_matches(".lab");
        let out = c.on(node, &format!("sha256sum < {}", parts.nth(1).unwrap()));
        assert_eq!(out.code, 0, "{line}: {}", out.stderr);
        out.stdout
    };
    out.lines().map(sum).collect()
}

/// Volumes on a node.
fn volumes(c: &Cluster, node: &str) -> usize {
    c.on(node, "lvs --noheadings -o lv_name").stdout.lines().count()
}

/// A volume at work is dumped from a snapshot, and comes back on another node, also as a mirror;
/// so does a mirror.
#[test]
#[ignore = "needs the image of user-mode Linux nodes: make uml"]
fn volumes_and_mirrors_come_back_on_another_node() {
    let c = cluster("t-exported");
    c.ok(&format!("gnt-instance add -t plain {DISKS} -o raw -n node1 one.lab"));
    let one = sums(&c, "one.lab");
    assert_ne!(one[0], one[1]);
    c.ok("gnt-backup export -n node2 one.lab");
    assert_eq!(c.instance("status", "one.lab"), "running");
    assert_eq!(volumes(&c, "node1"), 2, "its snapshots are gone");
    assert_eq!(c.ok("gnt-backup list --no-headers").trim(), "node2.lab one.lab");
    assert_eq!(sums(&c, "one.lab"), one, "it is what it was");

    c.ok("gnt-backup import -t plain -n node2 --ignore-ipolicy --src-dir one.lab two.lab");
    assert_eq!(c.instance("pnode", "two.lab"), "node2.lab");
    assert_eq!(sums(&c, "two.lab"), one);
    c.ok("gnt-instance remove -f two.lab");

    c.ok("gnt-backup import -t drbd -n node1:node2 --ignore-ipolicy --src-dir one.lab three.lab");
    assert_eq!(sums(&c, "three.lab"), one);
    c.ok("gnt-instance startup three.lab");
    c.ok("gnt-backup export --remove-instance -n node1 three.lab");
    assert_eq!(volumes(&c, "node2"), 0);
    c.ok("gnt-backup import -t plain -n node2 --ignore-ipolicy three.lab");
    assert_eq!(sums(&c, "three.lab"), one);
    c.verify();
    for name in ["one.lab", "three.lab"] {
        c.ok(&format!("gnt-instance remove -f {name}"));
        c.ok(&format!("gnt-backup remove {name}"));
    }
    assert_eq!((volumes(&c, "node1"), volumes(&c, "node2")), (0, 0));
    c.verify();
}
