//! Reports on nodes.

use crate::site::{NODES, SOON, Site};
use roost_tests::lab::wait_until;

#[test]
fn every_node_reports_what_the_cluster_wants() {
    let site = Site::up("mon-reports");
    for node in NODES {
        let all = site.page(node, "/1/report/all").unwrap();
        let reports = all.as_array().unwrap();
        let listed = site.collectors(node);
        for name in ["cpu-avg-load", "diskstats", "daemons", "node-os"] {
            let report = reports.iter().find(|report| report["name"] == name);
            let report = report.unwrap_or_else(|| panic!("{node}: no {name} in {all}"));
            assert!(!report["data"].is_null() && report["timestamp"].is_u64(), "{report}");
            assert!(listed.iter().any(|one| one == name), "{node}: {listed:?}");
        }
        assert!(site.page(node, "/1/report/nowhere/nothing").is_none());
    }

    let switch = |settings: &str| {
        site.ok("node1", &format!("gnt-cluster modify --enabled-data-collectors {settings}"));
    };
    switch("diskstats=no,node-os=no");
    for node in NODES {
        let off =
            || !site.collectors(node).iter().any(|name| name == "diskstats" || name == "node-os");
        wait_until(SOON, || format!("two collectors less on {node}"), off).unwrap();
    }
    let info = site.ok("node1", "gnt-cluster info");
    assert!(info.contains("  node-os: \n    active: False\n"), "{info}");
    let refused =
        site.lab.exec("node1", &["gnt-cluster", "modify", "--enabled-data-collectors", "x=yes"]);
    assert!(refused.unwrap().stderr.contains("Unknown data collector 'x'"));

    // What was wanted last counts while nobody can be asked.
    for node in NODES {
        site.lab.kill_daemon(node, "masterd").unwrap();
        site.lab.kill_daemon(node, "confd").unwrap();
    }
    for node in NODES {
        assert!(!site.collectors(node).iter().any(|name| name == "node-os"), "{node}");
        assert!(site.page(node, "/1/report/all").is_some());
    }
    for node in NODES {
        site.lab.start_daemon(node, "masterd").unwrap();
        site.lab.start_daemon(node, "confd").unwrap();
    }
    switch("node-os=yes");
    let on = || site.collectors("node3").iter().any(|name| name == "node-os");
    wait_until(SOON, || "a collector more on node3".into(), on).unwrap();
}

#[test]
fn they_die_with_their_node_and_come_back_with_it() {
    let site = Site::up("mon-power");
    let running = |daemon: &str| {
        let status = site.lab.status().remove(1);
        status.daemons.iter().any(|(name, _)| name == daemon)
    };
    assert!(running("confd") && running("mond"));
    site.lab.kill("node2").unwrap();
    assert!(!running("confd") && !running("mond"));
    site.lab.start("node2").unwrap();
    assert!(running("confd") && running("mond"));
    site.until("node2", "gnt-confd-client ping --timeout 2 --address 127.0.0.1");
    assert!(site.page("node2", "/1/list/collectors").is_some());
    let said = site.ok("node2", "daemon-util status");
    assert!(said.contains("confd: running") && said.contains("mond: running"), "{said}");
    site.ok("node2", "daemon-util stop-all");
    assert!(!running("confd") && !running("mond"));
    // Nobody is left behind: mond's helper ends with it.
    let left = || !site.succeeds("node2", "pgrep -x 'gnt-mond|gnt-confd'");
    wait_until(SOON, || "the end of all helpers".into(), left).unwrap();
    site.ok("node2", "daemon-util start-all && daemon-util status");
}
