//! Exports of instances between nodes whose daemons die, on disks that fill up, at a limited rate.

use crate::cluster::{Cluster, SOON};
use roost_tests::lab::wait_until;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

/// An OS whose dumps are the disks as they are, as far as `create` puts something on them.
const RAW: &[(&str, &str)] = &[
    ("create", "dd if=/dev/urandom of=$DISK_0_PATH bs=1M count=48 conv=notrunc status=none"),
    ("export", "echo 67108864 >&$EXP_SIZE_FD; head -c 64M $EXPORT_DEVICE"),
    ("import", "dd of=$IMPORT_DEVICE bs=1M iflag=fullblock conv=notrunc status=none"),
    ("rename", "true"),
    ("verify", "true"),
];
const DISK: &str = "$(find /srv/ganeti/file-storage -name '*disk0' -path '*NAME*')";

fn cluster(name: &str) -> Cluster {
    let c = Cluster::fake(name);
    fs::create_dir(c.os_dir().join("raw")).unwrap();
    fs::write(c.os_dir().join("raw/ganeti_api_version"), "20\n").unwrap();
    fs::write(c.os_dir().join("raw/parameters.list"), "").unwrap();
    for (name, body) in RAW {
        script(&c, name, body, 0o755);
    }
    c.ok("gnt-instance add -t file --disk 0:size=1G -o raw -n node1 one.lab");
    c
}

fn script(c: &Cluster, name: &str, body: &str, mode: u32) {
    let path = c.os_dir().join("raw").join(name);
    fs::write(&path, format!("#!/bin/sh\nset -e\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What is on an instance's disk.
fn sum(c: &Cluster, node: &str, name: &str) -> String {
    let disk = DISK.replace("NAME", name);
    let out = c.on(node, &format!("sha256sum {disk} | cut -d' ' -f1"));
    assert_eq!(out.stdout.trim().len(), 64, "{} {}", out.stdout, out.stderr);
    out.stdout
}

/// An instance comes back from its export, though the daemon of the node that keeps it is killed.
#[test]
fn an_instance_comes_back_from_its_export() {
    let c = cluster("t-export");
    c.ok("gnt-node modify --node-parameters disk_copy_rate=8 node1");
    c.ok("gnt-backup export --submit -n node2 one.lab");
    let job = c.ok("gnt-job list --no-headers -o id | tail -n 1").trim().to_owned();
    let half = "stat -c %s /srv/ganeti/export/one.lab.new/* 2>/dev/null | sort -n | tail -n 1";
    let has_some = || c.on("node2", half).stdout.trim().parse::<u64>().is_ok_and(|n| n > 20 << 20);
    wait_until(SOON, || "some of the dump".into(), has_some).unwrap();
    assert_eq!(c.instance("status", "one.lab"), "running", "it was down for its snapshot only");
    c.on("node2", "kill -9 $(cat /run/ganeti/noded.pid) && gnt daemon start noded");
    // The rest as fast as it can be: that counts at once.
    c.ok("gnt-node modify --node-parameters disk_copy_rate=0 node1");
    c.ok(&format!("gnt-job watch {job}"));
    assert_eq!(c.ok("gnt-backup list --no-headers").trim(), "node2.lab one.lab");

    c.ok("gnt-backup export -n node3 one.lab");
    assert_eq!(
        c.ok("gnt-backup list --no-headers").trim(),
        "node3.lab one.lab",
        "the old one went"
    );
    c.ok("gnt-cluster modify --compression-tools=gzip,gzip-fast,gzip-slow,lz4");
    c.ok("gnt-backup import -n node2 --compress lz4 --src-dir one.lab two.lab");
    assert_eq!(c.instance("status", "two.lab"), "ADMIN_down");
    assert_eq!(sum(&c, "node2", "two.lab"), sum(&c, "node1", "one.lab"));
    assert_ne!(c.instance("nic.mac/0", "two.lab"), c.instance("nic.mac/0", "one.lab"));
    c.ok("gnt-backup export --remove-instance -n node2 one.lab");
    c.ok("gnt-backup import -n node3 one.lab");
    assert_eq!(sum(&c, "node3", "one.lab"), sum(&c, "node2", "two.lab"));
    c.ok("gnt-backup remove one.lab");
    assert_eq!(c.ok("gnt-backup list --no-headers").trim(), "");
    c.verify();
}

/// Each failure says what it is, and leaves the instance at work and nothing else.
#[test]
fn what_fails_leaves_the_instance_at_work() {
    let c = cluster("t-export-bad");
    let before = c.files();
    c.on(
        "node2",
        "mkdir -p /srv/ganeti/export && mount -t tmpfs -o size=8m none /srv/ganeti/export",
    );
    c.refused("gnt-backup export -n node2 one.lab", 1, &["no room left", "node2"]);
    assert_eq!(c.on("node2", "ls -A /srv/ganeti/export").stdout, "");
    c.refused("gnt-backup export -n node3 --noshutdown one.lab", 1, &["leave out --noshutdown"]);
    script(&c, "export", "echo bad luck >&2; exit 3", 0o755);
    c.refused("gnt-backup export -n node3 one.lab", 1, &["bad luck", "exited with code 3"]);
    script(&c, "export", "true", 0o644);
    c.refused("gnt-backup export -n node3 one.lab", 1, &["'export' is not executable"]);
    c.refused("gnt-backup import -n node1 nothing.lab", 1, &["No export found"]);
    assert_eq!(c.instance("status", "one.lab"), "running");
    assert_eq!(c.files(), before);
    assert_eq!(c.ok("gnt-backup list --no-headers").trim(), "");
}

/// The rate of a node's copies is kept to.
#[test]
fn copies_keep_to_the_rate_of_their_node() {
    let c = cluster("t-rate");
    c.ok("gnt-node modify --node-parameters disk_copy_rate=16 node1");
    let begun = Instant::now();
    let said = c.ok("gnt-backup export -n node2 one.lab");
    assert!(begun.elapsed().as_secs() >= 3, "64 MiB at 16 a second took {:?}", begun.elapsed());
    assert!(said.contains("16 MiB/s together at most"), "{said}");
    let rates = c.ok("gnt-node list --no-headers -o name,ndp/disk_copy_rate node1");
    assert!(rates.contains("16"), "{rates}");
}
