//! The cluster made again from a backup, after everything that held it is gone.

use crate::cluster::Cluster;

/// The master's disk is lost, and the other candidates with their machines.
#[test]
fn a_cluster_comes_back_from_a_backup() {
    let c = Cluster::fake("t-backup");
    let file = tempfile::tempdir().unwrap();
    let file = file.path().join("backup").display().to_string();
    c.ok("gnt-instance add -t sharedfile --disk 0:size=1G -o noop -n node1 one");
    c.ok("gnt-instance add -t sharedfile --disk 0:size=1G -o noop -n node2 two");
    c.ok(&format!("gnt-cluster export-config {file}"));
    c.lab.kill("node2").unwrap();
    c.lab.kill("node3").unwrap();
    c.ok("gnt daemon stop masterd && gnt daemon stop noded && rm -rf /var/lib/ganeti/*");

    let look = c.ok(&format!("gnt-cluster import-config --dry-run {file}"));
    assert!(look.contains("3 node(s), 2 instance(s)"), "{look}");
    c.ok(&format!("gnt-cluster import-config --yes --lost node2,node3 {file}"));
    c.wait_for("one", "status", "running");
    assert_eq!(c.instance("status", "two"), "ERROR_nodeoffline");
    c.ok("gnt-instance failover -f two");
    c.wait_for("two", "status", "running");
    assert_eq!(c.instance("pnode", "two"), "node1.lab");
}

/// Going back after a mistake: nodes and candidates that were there all the time follow.
#[test]
fn a_mistake_is_taken_back() {
    let c = Cluster::fake("t-back");
    let file = tempfile::tempdir().unwrap();
    let file = file.path().join("backup").display().to_string();
    c.ok("gnt-instance add -t diskless -o noop -n node2 one");
    c.ok(&format!("gnt-cluster export-config {file}"));
    c.ok("gnt-instance modify -B maxmem=256,minmem=256 one");
    c.ok("gnt daemon stop masterd");
    c.ok(&format!("gnt-cluster import-config --force --yes {file}"));
    c.wait_for("one", "status", "running");
    assert_eq!(c.instance("be/maxmem", "one"), "128M");
    c.ok("gnt-instance reboot one");
    c.all_report();
    c.verify();
}
