//! Logical volumes for real. Nodes are user-mode Linux, because the kernel of this machine need not
//! have a device mapper: as root, with their image (`make uml`), by `make test-full`.
//!
//! Two halves. [`inside`] is the node daemon's driver itself: this program runs itself on a node. The
//! rest goes through the cluster, as users do.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod inside;

use roost_tests::lab::{Hypervisor, Kernel, Lab, Options, wait_until};
use std::time::Duration;

/// Everything here runs on a machine that may be busy with much else.
const LONG: Duration = Duration::from_secs(580);
const SOON: Duration = Duration::from_secs(120);

fn options(name: &str, root: &tempfile::TempDir) -> Options {
    Options {
        root: root.path().into(),
        nodes: 1,
        hypervisor: Hypervisor::Fake,
        kernel: Kernel::Uml,
        disk_mib: 1024,
        init: true,
        ..Options::new(name)
    }
}

/// What a shell line on a node says, and whether it succeeds.
fn try_sh(lab: &Lab, script: &str) -> (bool, String) {
    let out = lab.exec_within(LONG, "node1", &["sh", "-c", script]).unwrap();
    (out.ok(), format!("{}{}", out.stdout, out.stderr).trim().to_owned())
}

#[track_caller]
fn sh(lab: &Lab, script: &str) -> String {
    let (ok, said) = try_sh(lab, script);
    assert!(ok, "{script}: {said}");
    said
}

#[track_caller]
fn refused(lab: &Lab, script: &str) -> String {
    let (ok, said) = try_sh(lab, script);
    assert!(!ok, "{script} should fail: {said}");
    said
}

/// Names of all volumes on the node, and the tags that say whose they are.
fn volumes(lab: &Lab) -> Vec<String> {
    let all = sh(lab, "lvs --noheadings -o lv_name,lv_tags xenvg");
    all.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

fn add(name: &str, more: &str) -> String {
    format!(
        "gnt-instance add -t plain -n node1 --no-install --no-start -o tiny --ignore-ipolicy {more} {name} 2>&1"
    )
}

#[test]
#[ignore = "needs the image of user-mode Linux nodes: make uml"]
fn the_driver_on_real_volumes() {
    let root = tempfile::tempdir().unwrap();
    let lab = Lab::up(Options { init: false, ..options("lvm-inside", &root) }).unwrap();
    let program = std::env::current_exe().unwrap();
    let run = format!(
        "{}=1 {} --ignored --test-threads=1 inside:: 2>&1",
        inside::HERE,
        program.display()
    );
    let said = sh(&lab, &run);
    assert!(said.contains("test result: ok.") && !said.contains(" 0 passed"), "{said}");
}

#[test]
#[ignore = "needs the image of user-mode Linux nodes: make uml"]
fn instances_on_volumes() {
    let root = tempfile::tempdir().unwrap();
    let lab = Lab::up(options("lvm-cluster", &root)).unwrap();
    sh(&lab, &add("web.example.com", "--disk 0:size=64m --disk 1:size=32m"));
    let all = volumes(&lab);
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all.iter().all(|line| line.contains("originstname+web.example.com")), "{all:?}");
    assert!(all.iter().all(|line| line.contains("roost-disk+")), "{all:?}");

    // What nodes tell of it.
    let list = "gnt-node volumes --no-headers --separator=: -o node,phys,vg,size,instance";
    let said = sh(&lab, list);
    assert!(said.contains(":/dev/ubdb:xenvg:64:web.example.com"), "{said}");
    let units = |what: &str| {
        sh(&lab, &format!("gnt-node list-storage --no-headers --separator=: -t {what}"))
    };
    assert!(units("lvm-vg").contains(":lvm-vg:xenvg:"), "{}", units("lvm-vg"));
    assert_eq!(units("lvm-pv").matches(":Y").count(), 2, "{}", units("lvm-pv"));
    let space = || sh(&lab, "gnt-node list --no-headers --units=m -o dtotal,dfree");
    let told = || {
        let (total, free) = (2040, 2040 - 96);
        space() == format!("{total:>6} {free:>5}") || space().ends_with(&free.to_string())
    };
    wait_until(SOON, || format!("room told: {}", space()), told).unwrap();

    // A physical volume is taken out of use: there is room on the other one only.
    sh(&lab, "gnt-node modify-storage --allocatable=no node1 lvm-pv /dev/ubdc");
    assert_eq!(units("lvm-pv").matches(":N").count(), 1, "{}", units("lvm-pv"));
    let said = refused(&lab, &add("big.example.com", "--disk 0:size=1500m"));
    assert!(said.contains("1500"), "{said}");
    sh(&lab, "gnt-node modify-storage --allocatable=yes node1 lvm-pv /dev/ubdc");
    assert_eq!(
        sh(&lab, "gnt-node modify-storage node1 lvm-pv /dev/ubdc 2>&1"),
        "No changes to perform, exiting."
    );
    let said = refused(&lab, "gnt-node modify-storage --allocatable=no node1 lvm-pv /dev/no 2>&1");
    assert!(said.contains("no physical volume '/dev/no'"), "{said}");
    let said = refused(&lab, "gnt-node modify-storage --allocatable=no node1 lvm-vg xenvg 2>&1");
    assert!(said.contains("'lvm-vg' can not be modified"), "{said}");
    let said = sh(&lab, "gnt-node repair-storage node1 lvm-vg xenvg 2>&1");
    assert!(said.contains("Repairing storage unit 'xenvg' on node1"), "{said}");
    assert!(said.contains("has all its physical volumes"), "{said}");

    // In use: nothing is removed, and it is said by whom.
    let device = sh(&lab, "gnt-instance activate-disks web.example.com");
    let device = device.lines().next().unwrap().rsplit(':').next().unwrap().trim();
    sh(&lab, &format!("mkfs.ext4 -q {device} && mount {device} /mnt"));
    sh(&lab, "gnt-instance deactivate-disks web.example.com; true");
    assert!(volumes(&lab).len() == 2);
    sh(&lab, "umount /mnt; gnt-instance deactivate-disks web.example.com");
    let active = "lvs --noheadings -o lv_active xenvg | sort -u | xargs";
    assert_eq!(sh(&lab, active), "", "nothing holds them any more");

    sh(&lab, "gnt-instance remove -f web.example.com");
    assert_eq!(volumes(&lab), Vec::<String>::new());

    // With exclusive storage all physical volumes should be alike.
    sh(&lab, "truncate -s 300M /var/tmp/small && losetup /dev/loop7 /var/tmp/small");
    sh(&lab, "vgextend -qq -y xenvg /dev/loop7");
    let verify = || try_sh(&lab, "gnt-cluster verify --error-codes").1;
    assert!(!verify().contains("EGROUPDIFFERENTPVSIZE"), "{}", verify());
    sh(&lab, "gnt-cluster modify --node-parameters exclusive_storage=true");
    let said = verify();
    assert!(said.contains("ERROR:EGROUPDIFFERENTPVSIZE:group:default:"), "{said}");
    assert!(said.contains("'/dev/loop7' on node node1.lab has 296 MiB"), "{said}");
    sh(&lab, "vgreduce -qq -y xenvg /dev/loop7");
    assert!(!verify().contains("EGROUPDIFFERENTPVSIZE"), "{}", verify());
}

#[test]
#[ignore = "needs the image of user-mode Linux nodes: make uml"]
fn noded_killed_in_the_middle_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let lab = Lab::up(options("lvm-kill", &root)).unwrap();
    for n in 0..4_u64 {
        let name = format!("i{n}.example.com");
        let script = add(&name, "--submit --disk 0:size=32m --disk 1:size=32m --disk 2:size=32m");
        let job = sh(&lab, &script);
        let job = job.rsplit(' ').next().unwrap().to_owned();
        // Later and later: commands of LVM take about a tenth of a second here.
        std::thread::sleep(Duration::from_millis(n * 150));
        lab.kill_daemon("node1", "noded").unwrap();
        lab.start_daemon("node1", "noded").unwrap();
        let (_, said) = try_sh(&lab, &format!("gnt-job watch {job} 2>&1"));
        let known = sh(&lab, "gnt-instance list --no-headers -o name");
        let expected = 3 * known.lines().filter(|line| !line.is_empty()).count();
        assert_eq!(volumes(&lab).len(), expected, "kill {n}: {said}");
        for name in known.lines().filter(|line| !line.is_empty()) {
            sh(&lab, &format!("gnt-instance remove -f {name}"));
        }
        assert_eq!(volumes(&lab), Vec::<String>::new(), "kill {n}");
    }
}
