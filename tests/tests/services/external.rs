//! Guests on volumes of the providers that come along, reached by URI.

use super::{LONG, add, fails};
use crate::cluster::Cluster;
use roost_tests::guest;
use roost_tests::lab::{Options, wait_until};

/// A guest is installed, migrates while it writes, has its node's power cut, and finds what it wrote
/// on another one.
fn live(c: &Cluster, provider: &str) {
    let dir = "/srv/ganeti/shared-file-storage/.volumes";
    c.ok(&add("ext", &format!(",provider={provider},access=userspace,dir={dir}")));
    let info = c.ok("gnt-instance info web");
    assert!(info.contains(&format!("on primary: {provider}")), "its URI: {info}");
    let first = guest::wait_for(&c.lab, super::GUEST, LONG, |a| a.count > 2).unwrap();
    c.ok("gnt-instance migrate -f -n node2 web");
    let moved = guest::wait_for(&c.lab, super::GUEST, LONG, |a| a.count > first.count + 2).unwrap();
    assert_eq!(moved.boot, first.boot, "it is the same guest");
    // Its users cannot be told of another size.
    let said = fails(c, "gnt-instance grow-disk web 0 64M");
    assert!(said.contains("shut the instance down first"), "{said}");
    c.lab.kill("node2").unwrap();
    c.ok("gnt-node modify --offline=yes --force node2");
    c.ok("gnt-instance failover -f -n node3 web");
    let again = guest::wait_for(&c.lab, super::GUEST, LONG, |a| a.count > 1).unwrap();
    assert!(again.before >= moved.count, "what it wrote on node2 is there: {again:?} {moved:?}");
    c.lab.start("node2").unwrap();
    c.ok("gnt-node modify --offline=no --force node2");
    c.ok("gnt-instance shutdown --timeout=0 web");
    c.ok("gnt-instance grow-disk web 0 64M");
    c.ok("gnt-instance remove -f web");
    let left = c.ok(&format!("ls {dir}"));
    assert_eq!(left.trim(), "", "all volumes are gone");
    // node2 has missed some changes.
    let content = || c.run("gnt-cluster verify").ok();
    wait_until(LONG, || "a content gnt-cluster verify".into(), content).unwrap();
}

#[test]
#[ignore = "real guests: make test-full"]
fn a_guest_lives_on_external_storage() {
    let c = Cluster::with(Options { nodes: 3, ..Options::new("t-ext-guests") });
    c.ok("gnt-cluster modify --enabled-disk-templates=ext,file,diskless");
    for provider in ["nbd", "iscsi"] {
        live(&c, provider);
    }
}
