//! The lab itself: what it promises the other tests. Needs root.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::time::Duration;

use roost_tests::lab::{Activity, Error, Hypervisor, Lab, Options, wait_until};

/// A lab without libvirtd in a folder of its own, so it is up in a moment.
fn options(name: &str, root: &tempfile::TempDir) -> Options {
    Options { root: root.path().into(), hypervisor: Hypervisor::Fake, ..Options::new(name) }
}

fn hears(lab: &Lab, from: &str, ip: &str) -> bool {
    let argv = ["busybox", "ping", "-c", "1", "-W", "1", ip];
    lab.exec(from, &argv).unwrap().ok()
}

/// Host pids of everything that names the lab's folder on its command line.
fn processes(lab_dir: &std::path::Path) -> Vec<String> {
    let dir = lab_dir.display().to_string();
    let names_it = |e: &std::fs::DirEntry| {
        std::fs::read_to_string(e.path().join("cmdline")).is_ok_and(|c| c.contains(&dir))
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter(names_it).map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn nodes_hear_each_other_until_the_wire_is_cut() {
    let root = tempfile::tempdir().unwrap();
    let mut lab = Lab::up(options("cut", &root)).unwrap();
    assert!(hears(&lab, "node1", "10.78.0.2") && hears(&lab, "switch", "10.78.0.1"));

    lab.cut("node1", Some("node2")).unwrap();
    assert!(!hears(&lab, "node1", "10.78.0.2"));
    assert!(!hears(&lab, "node2", "10.78.0.1"));
    assert!(hears(&lab, "node1", "10.78.0.3") && hears(&lab, "switch", "10.78.0.1"));

    lab.cut("node3", None).unwrap();
    assert!(!hears(&lab, "node3", "10.78.0.1") && !hears(&lab, "switch", "10.78.0.3"));

    lab.heal().unwrap();
    // Not at once: a neighbour that did not answer is remembered as such for a moment.
    let all = || hears(&lab, "node1", "10.78.0.2") && hears(&lab, "switch", "10.78.0.3");
    wait_until(Duration::from_secs(30), || "hearing each other again".into(), all).unwrap();
}

#[test]
fn a_power_cut_takes_processes_and_run_but_not_disks() {
    let root = tempfile::tempdir().unwrap();
    let lab = Lab::up(options("power", &root)).unwrap();
    let shared = "/srv/ganeti/shared-file-storage/f";
    let script = "echo kept > /srv/ganeti/file-storage/f; echo lost > /run/f; \
                  echo shared > /srv/ganeti/shared-file-storage/f; sleep 1000 >/dev/null 2>&1 &";
    lab.check("node2", &["sh", "-c", script]).unwrap();
    let node = |lab: &Lab| lab.status().remove(1);

    lab.kill("node2").unwrap();
    assert!(!node(&lab).power);
    assert!(!hears(&lab, "node1", "10.78.0.2"));
    assert!(matches!(lab.exec("node2", &["true"]), Err(Error::NodeDown { .. })));
    assert_eq!(lab.check("node1", &["cat", shared]).unwrap(), "shared\n");
    assert!(!lab.exec("node1", &["test", "-e", "/srv/ganeti/file-storage/f"]).unwrap().ok());

    lab.start("node2").unwrap();
    assert!(node(&lab).power);
    let back = || hears(&lab, "node1", "10.78.0.2");
    wait_until(Duration::from_secs(30), || "hearing node2 again".into(), back).unwrap();
    assert_eq!(lab.check("node2", &["cat", "/srv/ganeti/file-storage/f"]).unwrap(), "kept\n");
    assert!(!lab.exec("node2", &["test", "-e", "/run/f"]).unwrap().ok());
    assert!(!lab.check("node2", &["ps", "ax"]).unwrap().contains("sleep 1000"));
}

#[test]
fn commands_run_inside_and_their_exit_code_comes_out() {
    let root = tempfile::tempdir().unwrap();
    let lab = Lab::up(options("exec", &root)).unwrap();
    assert_eq!(lab.check("node3", &["hostname"]).unwrap(), "node3\n");
    assert_eq!(lab.check("3", &["hostname"]).unwrap(), "node3\n");
    assert_eq!(lab.exec("node1", &["sh", "-c", "exit 7"]).unwrap().code, 7);
    let second = Duration::from_secs(1);
    assert_eq!(lab.exec_within(second, "node1", &["sleep", "60"]).unwrap().code, 124);
    let resolved = lab.check("node1", &["getent", "hosts", "cluster.lab"]).unwrap();
    assert!(resolved.starts_with("10.78.0.250"), "{resolved}");
    let read_only = lab.exec("node1", &["touch", "/srv/ganeti/os/x"]).unwrap();
    assert!(read_only.stderr.contains("Read-only"), "{}", read_only.stderr);
    assert!(matches!(lab.exec("node4", &["true"]), Err(Error::UnknownNode { .. })));
}

#[test]
fn a_lab_left_behind_is_taken_over_and_removed_without_a_trace() {
    let root = tempfile::tempdir().unwrap();
    let lab = Lab::up(options("left", &root)).unwrap();
    let dir = lab.dir().to_owned();
    lab.check("node1", &["sh", "-c", "echo kept > /var/lib/libvirt/f"]).unwrap();
    lab.kill("node2").unwrap();
    lab.keep();

    let other = Options { nodes: 2, ..options("left", &root) };
    assert!(matches!(Lab::up(other), Err(Error::Different { .. })));
    let lab = Lab::up(options("left", &root)).unwrap();
    assert!(lab.status().iter().all(|n| n.power));
    assert_eq!(lab.check("node1", &["cat", "/var/lib/libvirt/f"]).unwrap(), "kept\n");
    let back = || hears(&lab, "node2", "10.78.0.1");
    wait_until(Duration::from_secs(30), || "hearing node1 again".into(), back).unwrap();
    lab.keep();

    assert!(!processes(&dir).is_empty());
    assert!(Lab::down_by_name(&options("left", &root)).unwrap());
    let gone = || processes(&dir).is_empty();
    wait_until(Duration::from_secs(10), || "end of all processes".into(), gone).unwrap();
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    assert!(!Lab::down_by_name(&options("left", &root)).unwrap());
}

#[test]
fn every_node_has_a_libvirtd_of_its_own() {
    let root = tempfile::tempdir().unwrap();
    let kvm = Options { hypervisor: Hypervisor::Kvm, nodes: 2, ..options("virt", &root) };
    let lab = Lab::up(kvm).unwrap();
    let uuid = |node| {
        let xml = lab.check(node, &["virsh", "-c", "qemu:///system", "capabilities"]).unwrap();
        xml.lines().find(|l| l.contains("<uuid>")).unwrap().to_owned()
    };
    assert_ne!(uuid("node1"), uuid("node2"));

    let libvirtd = |lab: &Lab| lab.status()[0].daemons.iter().map(|d| d.1).next();
    assert_eq!(libvirtd(&lab), Some(Activity::Running));
    lab.freeze("node1", "libvirtd").unwrap();
    assert_eq!(libvirtd(&lab), Some(Activity::Frozen));
    lab.thaw("node1", "libvirtd").unwrap();
    lab.kill_daemon("node1", "libvirtd").unwrap();
    assert_eq!(libvirtd(&lab), None);
    assert!(matches!(lab.kill_daemon("node1", "libvirtd"), Err(Error::NoDaemon { .. })));
    lab.start_daemon("node1", "libvirtd").unwrap();
    assert_eq!(libvirtd(&lab), Some(Activity::Running));
    lab.kill("node1").unwrap();
    lab.start("node1").unwrap();
    assert_eq!(libvirtd(&lab), Some(Activity::Running));
}
