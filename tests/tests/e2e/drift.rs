//! The world changes behind the cluster's back: it shows so, and commands mend it.

use crate::cluster::Cluster;

const GUESTS: &str = "/run/ganeti/fake-hypervisor";

#[test]
fn a_guest_that_died_by_itself_is_shown_and_started_again() {
    let c = Cluster::fake("t-died");
    c.ok("gnt-instance add -t diskless -o noop -n node2 one");
    assert!(c.on("node2", &format!("rm {GUESTS}/one")).ok());
    c.wait_for("one", "status", "ERROR_down");
    let out = c.run("gnt-cluster verify");
    assert_ne!(out.code, 0);
    assert!(out.stdout.contains("one"), "{}", out.stdout);
    c.ok("gnt-instance startup one");
    c.wait_for("one", "status", "running");
    c.verify();
}

#[test]
fn a_guest_on_the_wrong_node_is_shown_and_cleaned_up() {
    let c = Cluster::fake("t-wrongnode");
    c.ok("gnt-instance add -t sharedfile --disk 0:size=1G -o noop -n node2 one");
    let guest = c.on("node2", &format!("cat {GUESTS}/one && rm {GUESTS}/one")).stdout;
    let put = format!("cat > {GUESTS}/one <<'END'\n{guest}\nEND");
    assert!(c.on("node3", &format!("mkdir -p {GUESTS}; {put}")).ok());
    c.wait_for("one", "status", "ERROR_wrongnode");
    assert_ne!(c.run("gnt-cluster verify").code, 0);
    c.ok("gnt-instance migrate -f --cleanup one");
    c.wait_for("one", "status", "running");
    assert_eq!(c.instance("pnode", "one"), "node3.lab");
    c.verify();
}
