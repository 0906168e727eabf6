//! Disks on storage services: a real Ceph and a real Gluster, each of one machine, beside a lab with
//! real guests. Needs root, the tiny guest, ceph-mon, ceph-mgr, ceph-osd, ceph-common,
//! glusterfs-server, glusterfs-client: `make test-full`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

#[path = "../e2e/cluster.rs"]
#[expect(dead_code, reason = "shared with other test programs")]
mod cluster;
mod external;
mod service;

use cluster::Cluster;
use roost_tests::guest;
use roost_tests::lab::{Options, wait_until};
use service::Service;
use std::net::Ipv4Addr;
use std::time::Duration;

const GUEST: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 60);
/// Emulated guests on a busy machine.
const LONG: Duration = Duration::from_secs(180);

fn add(template: &str, more: &str) -> String {
    format!(
        "gnt-instance add -t {template} --disk 0:size=1G{more} -o tiny+default -B \
         memory=128M,vcpus=1 --net 0:ip={GUEST} -n node1 web.lab"
    )
}

/// What a command that must fail says.
#[track_caller]
fn fails(c: &Cluster, command: &str) -> String {
    let out = c.run(command);
    let said = format!("{command}\n{}\n{}", out.stdout, out.stderr);
    assert_ne!(out.code, 0, "{said}");
    said
}

/// A guest lives on one disk: it is installed, migrates while it writes, is grown, restarts with
/// what it wrote, and leaves nothing.
fn live(c: &Cluster, add: &str) {
    // What was changed last has reached all nodes.
    c.verify();
    c.ok(add);
    let first = guest::wait_for(&c.lab, GUEST, LONG, |a| a.count > 2).unwrap();
    c.ok("gnt-instance migrate -f -n node2 web");
    let moved = guest::wait_for(&c.lab, GUEST, LONG, |a| a.count > first.count + 2).unwrap();
    assert_eq!(moved.boot, first.boot, "it is the same guest");
    c.ok("gnt-instance grow-disk web 0 64M");
    assert_eq!(c.instance("disk.sizes", "web"), "1088");
    c.ok("gnt-instance shutdown --timeout=0 web");
    c.ok("gnt-instance failover -f -n node1 web");
    c.ok("gnt-instance startup web");
    let again = guest::wait_for(&c.lab, GUEST, LONG, |a| a.count > 1).unwrap();
    assert_ne!(again.boot, first.boot, "it has started anew");
    assert!(again.before >= moved.count, "what it wrote on node2 is there: {again:?} {moved:?}");
    assert_eq!(again.boots, first.boots + 1);
    c.verify();
    c.ok("gnt-instance shutdown --timeout=0 web");
    c.ok("gnt-instance reinstall -f web");
    c.ok("gnt-instance remove -f web");
    c.verify();
}

/// Gives libvirt the key of Ceph's user `roost`.
fn secret(conf: &str) -> String {
    let xml = "<secret ephemeral='no' private='yes'><usage type='ceph'><name>client.roost secret</name></usage></secret>";
    format!(
        "set -e; echo \"{xml}\" >/run/s.xml; virsh -q secret-define /run/s.xml; \
         uuid=$(virsh -q secret-list | awk '{{print $1}}'); \
         ceph-authtool -p -n client.roost $(dirname {conf})/keyring | tr -d '\\n' >/run/key; \
         virsh -q secret-set-value --secret $uuid --file /run/key"
    )
}

#[test]
#[ignore = "needs Ceph: make test-full"]
fn a_guest_lives_on_ceph() {
    let conf = service::dir("t-ceph").join("ceph.conf");
    let environment = [("CEPH_CONF".to_owned(), conf.to_str().unwrap().to_owned())].into();
    let c = Cluster::with(Options { nodes: 2, environment, ..Options::new("t-ceph") });
    let ceph = Service::up(&c.lab, "ceph.sh");
    c.ok("gnt-cluster modify --enabled-disk-templates=rbd,file,sharedfile,diskless \
          --ipolicy-disk-templates=rbd,file,sharedfile,diskless -D rbd:access=userspace");
    live(&c, &add("rbd", ""));
    // The same as a user of its own, whose key libvirt has.
    c.ok("gnt-cluster modify -D rbd:user-id=roost,access=userspace");
    for node in ["node1", "node2"] {
        let out = c.on(node, &secret(conf.to_str().unwrap()));
        assert!(out.ok(), "{out:?}");
    }
    live(&c, &add("rbd", ""));
    c.ok("gnt-cluster modify -D rbd:user-id=,access=userspace");
    c.verify();
    let images = || c.ok(&format!("rbd --conf {} ls", conf.display()));
    assert_eq!(images().trim(), "", "all images are gone");

    // Mapping needs a module that this kernel may not have: the error says what helps.
    if !std::path::Path::new("/sys/bus/rbd").exists() {
        let said = fails(&c, &add("rbd", ",access=kernelspace"));
        assert!(said.contains("access=userspace"), "{said}");
        assert_eq!(images().trim(), "", "nothing is left of it");
    }

    // An image of somebody else is not touched, and one that vanished is named.
    c.ok(&add("rbd", "").replace(" -o tiny+default", " --no-install --no-start"));
    let image = images().trim().to_owned();
    c.ok(&format!("rbd --conf {} rm --no-progress {image}", conf.display()));
    let said = fails(&c, "gnt-instance startup web");
    assert!(said.contains(&image) && said.contains("missing"), "{said}");
    let said = fails(&c, "gnt-cluster verify --error-codes");
    assert!(said.contains("EINSTANCEMISSINGDISK"), "{said}");
    c.ok("gnt-instance remove -f web");

    // No monitor answers: an error in time, and nothing half done.
    ceph.freeze("ceph-mon");
    let said = fails(&c, &add("rbd", ""));
    assert!(said.contains("rbd did not end within 30 s"), "{said}");
    ceph.thaw("ceph-mon");
    wait_until(
        LONG,
        || "Ceph answers again".into(),
        || {
            c.lab
                .exec("node1", &["rbd", "--conf", conf.to_str().unwrap(), "ls"])
                .is_ok_and(|o| o.code == 0)
        },
    )
    .unwrap();
    c.lab.exec("node1", &["gnt-cluster", "repair-debris"]).unwrap();
    assert_eq!(images().trim(), "", "nothing is left of it");
    c.verify();
}

#[test]
#[ignore = "needs Gluster: make test-full"]
fn a_guest_lives_on_gluster() {
    let c = Cluster::with(Options { nodes: 2, ..Options::new("t-gluster") });
    let gluster = Service::up(&c.lab, "gluster.sh");
    c.ok("gnt-cluster modify --gluster-storage-dir=/srv/ganeti/gluster \
          --enabled-disk-templates=gluster,file,sharedfile,diskless \
          --ipolicy-disk-templates=gluster,file,sharedfile,diskless \
          -D gluster:host=10.78.0.254,volume=gv0");
    live(&c, &add("gluster", ""));
    live(&c, &add("gluster", ",access=userspace"));
    let brick = gluster.dir().join("brick/ganeti");
    let left: Vec<_> = std::fs::read_dir(&brick)
        .map(|all| all.flatten().map(|e| e.file_name()).collect())
        .unwrap_or_default();
    assert_eq!(left, Vec::<std::ffi::OsString>::new(), "all files are gone");

    // The volume is not there: that is said, and no file appears below the empty mount point.
    c.ok("gnt-cluster modify -D gluster:host=10.78.0.254,volume=none");
    c.on("node1", "umount /srv/ganeti/gluster");
    let said = fails(&c, &add("gluster", ""));
    assert!(said.contains("Gluster volume"), "{said}");
    c.verify();
}
