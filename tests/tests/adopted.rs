//! Devices that exist and are adopted (`blockdev`), on a node with a kernel of its own. Needs root
//! and the image of such nodes (`make uml`): `make test-full`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

#[path = "e2e/cluster.rs"]
#[expect(dead_code, reason = "shared with other test programs")]
mod cluster;

use cluster::Cluster;
use roost_tests::lab::{Hypervisor, Kernel, Options};

const DEVICE: &str = "/dev/disk/by-id/lab-disk";

/// What a command that must fail says.
#[track_caller]
fn fails(c: &Cluster, command: &str) -> String {
    let out = c.run(command);
    let said = format!("{command}\n{}\n{}", out.stdout, out.stderr);
    assert_ne!(out.code, 0, "{said}");
    said
}

#[test]
#[ignore = "needs the image of user-mode Linux nodes: make test-full"]
fn a_device_is_adopted_used_and_given_back_as_it_was() {
    let c = Cluster::with(Options {
        nodes: 1,
        hypervisor: Hypervisor::Fake,
        kernel: Kernel::Uml,
        disk_mib: 256,
        ..Options::new("t-adopted")
    });
    c.ok("gnt-cluster modify --enabled-disk-templates=file,blockdev \
          --ipolicy-disk-templates=file,blockdev");
    let add = |device: &str| {
        format!(
            "gnt-instance add -t blockdev --disk 0:adopt={device} --ignore-ipolicy --no-install \
             --no-start -o noop -n node1 db.lab"
        )
    };
    let said = fails(&c, &add("/dev/ubdb"));
    assert!(said.contains("/dev/disk/"), "{said}");
    let said = fails(&c, &add(DEVICE));
    assert!(said.contains(DEVICE), "{said}");
    assert_eq!(c.instances(), Vec::<String>::new());

    // A file is no device, whatever it is called.
    c.ok(&format!("mkdir -p /dev/disk/by-id && touch {DEVICE}"));
    let said = fails(&c, &add(DEVICE));
    assert!(said.contains(DEVICE), "{said}");
    c.ok(&format!(
        "rm {DEVICE}; truncate -s 64M /var/lib/device && losetup /dev/loop0 /var/lib/device && ln -s \
         /dev/loop0 {DEVICE} && echo precious | dd of=/dev/loop0 conv=notrunc status=none"
    ));
    c.ok(&add(DEVICE));
    assert_eq!(c.instance("disk.sizes", "db"), "64");
    c.ok("gnt-instance startup db");
    c.verify();
    assert!(c.ok("gnt-instance info db").contains(DEVICE));
    for refused in [
        "gnt-instance grow-disk --ignore-ipolicy db 0 32M",
        "gnt-instance recreate-disks db",
        &add(DEVICE).replace("db.lab", "other.lab"),
    ] {
        fails(&c, refused);
    }
    c.ok("gnt-instance shutdown db");

    // It is unplugged, and comes back.
    c.ok(&format!("mv {DEVICE} /run/unplugged"));
    let said = fails(&c, "gnt-instance startup db");
    assert!(said.contains("is not there"), "{said}");
    let said = fails(&c, "gnt-cluster verify --error-codes");
    assert!(said.contains("EINSTANCEMISSINGDISK"), "{said}");
    c.ok(&format!("mv /run/unplugged {DEVICE}"));
    c.ok("gnt-instance startup db");

    c.ok("gnt-instance remove -f db");
    assert_eq!(c.ok("head -c 8 /dev/loop0"), "precious", "it keeps its data");
    c.verify();
}
