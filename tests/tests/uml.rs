//! Nodes that are user-mode Linux: power, wires, volumes and DRBD between them. Needs root and their
//! image (`make uml`): `make test-full`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use roost_tests::guest;
use roost_tests::lab::{Activity, Error, Hypervisor, Kernel, Lab, Options, wait_until};

/// Everything here runs on a machine that may be busy with much else.
const SOON: Duration = Duration::from_secs(90);

fn options(name: &str, root: &tempfile::TempDir) -> Options {
    Options {
        root: root.path().into(),
        nodes: 2,
        hypervisor: Hypervisor::Fake,
        kernel: Kernel::Uml,
        disk_mib: 512,
        ..Options::new(name)
    }
}

/// Runs a script that must succeed; its output.
#[track_caller]
fn sh(lab: &Lab, node: &str, script: &str) -> String {
    let out = lab.exec(node, &["sh", "-c", script]).unwrap();
    assert!(out.ok(), "{node}: {script}: {out:?}");
    out.stdout.trim().to_owned()
}

fn hears(lab: &Lab, from: &str, ip: &str) -> bool {
    lab.exec(from, &["busybox", "ping", "-c", "1", "-W", "1", ip]).unwrap().ok()
}

#[track_caller]
fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    wait_until(SOON, || what.into(), &mut is).unwrap();
}

/// Host pids of everything that names the lab's folder on its command line.
fn processes(lab_dir: &Path) -> Vec<String> {
    let dir = lab_dir.display().to_string();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let line = |e: &std::fs::DirEntry| std::fs::read_to_string(e.path().join("cmdline"));
    entries.filter_map(|e| line(&e).ok()).filter(|line| line.contains(&dir)).collect()
}

#[test]
#[ignore = "needs the image of user-mode Linux nodes: make uml"]
fn commands_run_inside_and_come_out_whole() {
    let root = tempfile::tempdir().unwrap();
    let lab = Lab::up(Options { nodes: 1, ..options("u-exec", &root) }).unwrap();
    let out = lab.exec("node1", &["sh", "-c", "cat; hostname; echo no >&2; exit 7"]).unwrap();
    assert_eq!((out.code, out.stdout.as_str(), out.stderr.as_str()), (7, "node1\n", "no\n"));
    let argv = ["printf", "%s|", "a b", "it's", "", "$HOME", "ü"];
    assert_eq!(lab.check("node1", &argv).unwrap(), "a b|it's||$HOME|ü|");
    assert_eq!(lab.exec("node1", &["sh", "-c", "kill -9 $$"]).unwrap().code, 137);
    let second = Duration::from_secs(1);
    assert_eq!(lab.exec_within(second, "node1", &["sleep", "600"]).unwrap().code, 124);
    let long = lab.check("node1", &["sh", "-c", "yes | head -c 5000000"]).unwrap();
    assert_eq!(long.len(), 5_000_000);
    assert!(!sh(&lab, "node1", "uname -r").is_empty());
    assert_eq!(sh(&lab, "node1", "ls /sys/class/net | sort | xargs"), "br0 eth0 lo");
    let read_only = lab.exec("node1", &["touch", "/srv/ganeti/os/x"]).unwrap();
    assert!(read_only.stderr.contains("Read-only"), "{}", read_only.stderr);

    // Whoever goes takes the command along.
    let sleeps = || lab.exec("node1", &["pgrep", "-f", "^sleep 12345"]).unwrap().ok();
    let mut child = lab.node("node1").unwrap().command(&["sleep", "12345"]).unwrap();
    let mut child = child.spawn().unwrap();
    eventually("start of a command", sleeps);
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("end of a command nobody waits for", || !sleeps());

    lab.write("node1", "/etc/motd", 0o600, b"hello\n").unwrap();
    assert_eq!(lab.read("node1", "/etc/motd").unwrap(), b"hello\n");
    assert_eq!(sh(&lab, "node1", "stat -c %a /etc/motd"), "600");
    assert!(lab.read("node1", "/no/such/file").is_err());
}

#[test]
#[ignore = "needs the image of user-mode Linux nodes: make uml"]
fn power_and_wires_are_those_of_machines() {
    let root = tempfile::tempdir().unwrap();
    let mut lab = Lab::up(options("u-power", &root)).unwrap();
    let dir = lab.dir().to_owned();
    assert!(hears(&lab, "node1", "10.78.0.2") && hears(&lab, "switch", "10.78.0.1"));
    sh(&lab, "node2", "echo kept > /srv/ganeti/file-storage/f; sync; echo lost > /run/f");
    sh(&lab, "node1", "echo shared > /srv/ganeti/shared-file-storage/f; sync");

    // A power cut ends what runs there, for whoever waits for it, too.
    let start = Instant::now();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| lab.exec("node2", &["sleep", "600"]).unwrap());
        let runs = || lab.exec("node2", &["pgrep", "-x", "sleep"]).is_ok_and(|out| out.ok());
        eventually("start of a command", runs);
        lab.kill("node2").unwrap();
        let out = waits.join().unwrap();
        assert_eq!(out.code, 137, "{out:?}");
        assert!(out.stderr.contains("lost its power"), "{}", out.stderr);
    });
    assert!(matches!(lab.exec("node2", &["true"]), Err(Error::NodeDown { .. })));
    assert!(start.elapsed() < SOON);
    assert!(!lab.status()[1].power && !hears(&lab, "node1", "10.78.0.2"));

    lab.start("node2").unwrap();
    assert_eq!(
        sh(&lab, "node2", "cat /srv/ganeti/file-storage/f; ls /run/f 2>&1 | grep -c No"),
        "kept\n1"
    );
    assert_eq!(sh(&lab, "node2", "cat /srv/ganeti/shared-file-storage/f"), "shared");
    eventually("hearing node2 again", || hears(&lab, "node1", "10.78.0.2"));

    lab.freeze_node("node2").unwrap();
    assert!(lab.status()[1].frozen && !hears(&lab, "switch", "10.78.0.2"));
    assert!(matches!(lab.exec("node2", &["true"]), Err(Error::Frozen { .. })));
    lab.thaw_node("node2").unwrap();
    assert_eq!(sh(&lab, "node2", "hostname"), "node2");
    eventually("hearing node2 again", || hears(&lab, "switch", "10.78.0.2"));

    lab.cut("node1", Some("node2")).unwrap();
    assert!(!hears(&lab, "node1", "10.78.0.2") && hears(&lab, "switch", "10.78.0.2"));
    lab.cut("node1", None).unwrap();
    assert!(!hears(&lab, "switch", "10.78.0.1"));
    // Nobody hears it, and still it can be looked at.
    assert_eq!(sh(&lab, "node1", "hostname"), "node1");
    lab.heal().unwrap();
    eventually("hearing node2 again", || hears(&lab, "node1", "10.78.0.2"));

    // Taken over as it is, frozen nodes and dark ones included.
    lab.kill("node1").unwrap();
    lab.freeze_node("node2").unwrap();
    lab.keep();
    let lab = Lab::up(options("u-power", &root)).unwrap();
    assert_eq!(sh(&lab, "node1", "hostname"), "node1");
    lab.keep();
    assert!(!processes(&dir).is_empty());
    assert!(Lab::down_by_name(&options("u-power", &root)).unwrap());
    eventually("end of all processes", || processes(&dir).is_empty());
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}

/// `gnt-lab up` is killed while machines boot, at different points.
#[test]
#[ignore = "needs the image of user-mode Linux nodes: make uml"]
#[allow(clippy::disallowed_methods, reason = "the tool itself is under test")]
fn a_tool_that_was_killed_leaves_a_lab_that_can_be_completed_or_removed() {
    let root = tempfile::tempdir().unwrap();
    let options = options("u-killed", &root);
    let dir = root.path().join("u-killed");
    let kill_when = |there: &dyn Fn() -> bool| {
        let mut tool = std::process::Command::new(env!("CARGO_BIN_EXE_gnt-lab"))
            .args(["--name", "u-killed", "up", "--kernel", "uml", "--hypervisor", "fake"])
            .args(["--nodes", "2", "--disk-size", "512"])
            .env("ROOST_LAB_DIR", root.path())
            .spawn()
            .unwrap();
        eventually("beginning of the boot", there);
        tool.kill().unwrap();
        tool.wait().unwrap();
    };
    kill_when(&|| dir.join("nodes/node1/machine.json").exists());
    kill_when(&|| dir.join("nodes/node2/system.cow").exists());
    let lab = Lab::up(options.clone()).unwrap();
    assert_eq!(sh(&lab, "node2", "hostname; vgs --noheadings -o pv_count xenvg"), "node2\n    2");
    lab.keep();
    assert!(Lab::down_by_name(&options).unwrap());
    eventually("end of all processes", || processes(&dir).is_empty());

    kill_when(&|| dir.join("nodes/node2/system.cow").exists());
    assert!(Lab::down_by_name(&options).unwrap());
    eventually("end of all processes", || processes(&dir).is_empty());
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
#[ignore = "needs the image of user-mode Linux nodes: make uml"]
fn a_cluster_of_machines_has_a_volume_group_and_survives_its_masters_power_cut() {
    let root = tempfile::tempdir().unwrap();
    let lab = Lab::up(Options { init: true, ..options("u-init", &root) }).unwrap();
    let info = sh(&lab, "node1", "gnt-cluster info");
    assert!(info.contains("lvm volume group: xenvg"), "{info}");
    assert!(std::os::unix::net::UnixStream::connect(lab.master_socket("node1").unwrap()).is_ok());
    let runs = |lab: &Lab, daemon: &str| {
        let daemons = lab.status().remove(0).daemons;
        daemons.contains(&(daemon.to_owned(), Activity::Running))
    };
    assert!(runs(&lab, "masterd") && runs(&lab, "noded"));
    lab.freeze("node1", "noded").unwrap();
    assert!(lab.status()[0].daemons.contains(&("noded".to_owned(), Activity::Frozen)));
    lab.thaw("node1", "noded").unwrap();
    assert!(runs(&lab, "noded"));
    lab.kill_daemon("node1", "noded").unwrap();
    assert!(!runs(&lab, "noded"));
    lab.start_daemon("node1", "noded").unwrap();

    sh(&lab, "node1", "gnt-cluster add-tags before");
    lab.kill("node1").unwrap();
    lab.start("node1").unwrap();
    assert!(runs(&lab, "masterd"), "{:?}", lab.status());
    let tags = || lab.exec("node1", &["gnt-cluster", "list-tags"]).unwrap().stdout;
    eventually("the cluster's tags", || tags().contains("before"));
}

#[test]
#[ignore = "needs the image of user-mode Linux nodes: make uml"]
fn volumes_snapshots_and_thin_pools_are_real_and_wait_to_be_activated() {
    let root = tempfile::tempdir().unwrap();
    let lab = Lab::up(Options { nodes: 1, ..options("u-lvm", &root) }).unwrap();
    assert_eq!(sh(&lab, "node1", "vgs --noheadings -o pv_count,lv_count xenvg"), "2   0");
    let make = "set -e
        lvcreate -qq -W n -y -L 64M -n plain xenvg
        lvcreate -qq -W n -y -i 2 -L 64M -n striped xenvg
        lvcreate -qq -y --type thin-pool -L 100M -n pool xenvg
        lvcreate -qq -V 1G --thin -n thin xenvg/pool
        mkfs.ext4 -q /dev/xenvg/thin; mount /dev/xenvg/thin /mnt
        echo before > /mnt/f; sync
        lvcreate -qq -s -k n -n snap xenvg/thin
        echo after > /mnt/f; sync
        echo data | dd of=/dev/xenvg/plain conv=fsync status=none";
    sh(&lab, "node1", make);
    lab.kill("node1").unwrap();
    lab.start("node1").unwrap();
    let active = "lvs --noheadings -o lv_active xenvg | sort -u | xargs";
    assert_eq!(sh(&lab, "node1", active), "", "activated at power on");
    sh(&lab, "node1", "lvchange -ay xenvg/plain xenvg/striped xenvg/thin xenvg/snap");
    assert_eq!(sh(&lab, "node1", "head -c 4 /dev/xenvg/plain"), "data");
    let read = |volume: &str| {
        let script = format!("mount /dev/xenvg/{volume} /mnt && cat /mnt/f && umount /mnt");
        sh(&lab, "node1", &script)
    };
    assert_eq!((read("thin"), read("snap")), ("after".into(), "before".into()));
}

/// A mirror between the two nodes, as an administrator would set it up by hand.
const RESOURCE: &str = "resource r0 {
  net { protocol C; ping-int 1; timeout 20; connect-int 1; cram-hmac-alg sha1; shared-secret s; }
  disk { c-plan-ahead 0; resync-rate 200M; }
  device /dev/drbd0; disk /dev/xenvg/d0; meta-disk internal;
  on node1 { address 10.78.0.1:11000; }
  on node2 { address 10.78.0.2:11000; }
}";

#[test]
#[ignore = "needs the image of user-mode Linux nodes: make uml"]
fn drbd_mirrors_between_machines_through_power_cuts_and_cut_wires() {
    let root = tempfile::tempdir().unwrap();
    let mut lab = Lab::up(options("u-drbd", &root)).unwrap();
    for node in ["node1", "node2"] {
        lab.write(node, "/etc/drbd.d/r0.res", 0o600, RESOURCE.as_bytes()).unwrap();
        sh(
            &lab,
            node,
            "lvcreate -qq -W n -y -L 64M -n d0 xenvg && drbdadm --force create-md r0 2>&1",
        );
        sh(&lab, node, "drbdadm up r0");
    }
    let states = |lab: &Lab, node: &str| {
        let script = "echo $(drbdadm cstate r0) $(drbdadm dstate r0)";
        lab.check(node, &["sh", "-c", script]).unwrap().trim().to_owned()
    };
    let level = |lab: &Lab, node: &str| {
        eventually("a level mirror", || states(lab, node) == "Connected UpToDate/UpToDate");
    };
    let sum = "blockdev --flushbufs /dev/drbd0; sha256sum < /dev/drbd0";
    let random = "dd if=/dev/urandom of=/dev/drbd0 bs=1M count=16 conv=fsync status=none";
    sh(&lab, "node1", "drbdadm primary --force r0");
    level(&lab, "node1");
    sh(&lab, "node1", random);
    let written = sh(&lab, "node1", sum);

    // The one that wrote loses power: the other one has it all.
    lab.kill("node1").unwrap();
    eventually("notice of the loss", || !states(&lab, "node2").starts_with("Connected"));
    sh(&lab, "node2", "drbdadm primary r0");
    assert_eq!(sh(&lab, "node2", sum), written);
    sh(&lab, "node2", random);

    // It returns and gets what it missed.
    lab.start("node1").unwrap();
    sh(&lab, "node1", "lvchange -ay xenvg/d0 && drbdadm up r0");
    level(&lab, "node2");

    // The same for a wire that is cut.
    lab.cut("node1", Some("node2")).unwrap();
    eventually("notice of the cut", || !states(&lab, "node2").starts_with("Connected"));
    sh(&lab, "node2", random);
    let written = sh(&lab, "node2", sum);
    lab.heal().unwrap();
    level(&lab, "node2");
    sh(&lab, "node2", "drbdadm secondary r0");
    sh(&lab, "node1", "drbdadm primary r0");
    assert_eq!(sh(&lab, "node1", sum), written);
}

/// The whole stack: libvirt and QEMU inside, the guest's disk a volume.
#[test]
#[ignore = "needs the image of user-mode Linux nodes and the tiny guest: make uml guest"]
fn a_guest_on_a_volume_survives_its_nodes_power_cut() {
    assert!(Path::new("/var/lib/roost/tiny/disk.img").exists(), "run scripts/build-tiny-guest");
    const GUEST: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 60);
    let root = tempfile::tempdir().unwrap();
    let kvm = Options { hypervisor: Hypervisor::Kvm, init: true, ..options("u-guest", &root) };
    let lab = Lab::up(Options { nodes: 1, ..kvm }).unwrap();
    // Past all caches: what the guest wrote is on the disk.
    let add = "gnt-instance add -t plain -H kvm:disk_cache=none --disk 0:size=64M \
               --ignore-ipolicy -o tiny+default -B memory=128M,vcpus=1 --net 0:ip=10.78.0.60 -n node1 web.lab";
    sh(&lab, "node1", add);
    assert_eq!(sh(&lab, "node1", "lvs --noheadings -o lv_active xenvg | xargs"), "active");
    let first = guest::wait_for(&lab, GUEST, SOON * 2, |a| a.count > 3).unwrap();

    lab.kill("node1").unwrap();
    lab.start("node1").unwrap();
    assert_eq!(guest::ask(&lab, GUEST), None);
    eventually("start of the guest", || {
        lab.exec("node1", &["gnt-instance", "startup", "web"]).is_ok_and(|out| out.ok())
    });
    // It booted from the same disk and finds there what it wrote.
    let again = guest::wait_for(&lab, GUEST, SOON * 2, |a| a.boot != first.boot).unwrap();
    assert_eq!((again.name.as_str(), again.boots), ("web.lab", first.boots + 1));
}
