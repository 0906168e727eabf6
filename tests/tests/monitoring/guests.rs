//! What mond says of real guests, of QEMU through libvirt, while they run and while they suffer.
//! Needs the tiny guest (`make guest`).

use crate::site::{SOON, Site};
use roost_tests::lab::wait_until;
use serde_json::Value;

const GUEST: &str = "guest1.lab";
const INSTANCES: &str = "/1/report/instance/inst-status-kvm";

/// What a node's mond says of the guest: its state, the code, the sentence; none: it does not list it.
fn said(site: &Site, node: &str) -> Option<(String, u64, String)> {
    let report = site.page(node, INSTANCES)?;
    let all = report["data"]["instances"].as_array()?;
    let one = all.iter().find(|one| one["name"] == GUEST)?;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let code = one["status"]["code"].as_u64()?;
    Some((text(&one["actualState"]), code, text(&one["status"]["message"])))
}

/// Waits until it says so, with these words in the sentence.
#[track_caller]
fn until(site: &Site, node: &str, state: &str, code: u64, words: &str) {
    let mut last = None;
    let so = || {
        last = said(site, node);
        last.as_ref().is_some_and(|(is, c, why)| is == state && *c == code && why.contains(words))
    };
    let what = || format!("{GUEST} {state} with {code} on {node}");
    wait_until(SOON, what, so).unwrap_or_else(|e| panic!("{e}: {last:?}"));
}

/// Waits until the judgement of a report is this, with these words.
#[track_caller]
fn until_judged(site: &Site, node: &str, path: &str, code: u64, words: &str) {
    let mut last = None;
    let so = || {
        last = site.page(node, path).map(|report| report["data"]["status"].clone());
        last.as_ref().is_some_and(|status| {
            status["code"] == code && status["message"].as_str().unwrap().contains(words)
        })
    };
    let what = || format!("{code} of {path} on {node}");
    wait_until(SOON, what, so).unwrap_or_else(|e| panic!("{e}: {last:?}"));
}

#[test]
#[ignore = "real guests: needs the tiny guest, and some minutes"]
fn a_guest_is_judged_by_what_libvirt_and_its_process_tell() {
    let site = Site::with_guests("mon-guests");
    let virsh = |what: &str| site.ok("node1", &format!("virsh -q {what} {GUEST}"));
    let signal = |what: &str| {
        site.ok("node1", &format!("kill -{what} $(cat /run/libvirt/qemu/{GUEST}.pid)"));
    };
    site.ok(
        "node1",
        &format!(
            "gnt-instance add -t sharedfile --disk 0:size=1G -o tiny+default -B \
             memory=128M,vcpus=1 --net 0:ip=10.78.0.61 -n node1 {GUEST}"
        ),
    );
    until(&site, "node1", "running", 0, "");

    let memory = site.page("node1", "/1/report/instance/kvm-memory").unwrap();
    assert_eq!(memory["data"]["guests"][0]["name"], GUEST);
    assert!(memory["data"]["total"]["resident"].as_u64().unwrap() > 1 << 20, "{memory}");
    let hypervisor = site.page("node1", "/1/report/hypervisor/hypervisor").unwrap();
    assert_eq!(hypervisor["data"]["hypervisors"][0]["vcpus"], 1, "{hypervisor}");

    virsh("suspend");
    until(&site, "node1", "paused", 4, "virsh resume");
    virsh("resume");
    until(&site, "node1", "running", 0, "");
    signal("STOP");
    until(&site, "node1", "hung", 2, "a signal or a debugger has stopped its process");
    signal("CONT");
    until(&site, "node1", "running", 0, "");

    site.lab.kill_daemon("node1", "libvirtd").unwrap();
    until_judged(&site, "node1", INSTANCES, 4, "Unable to receive the list of instances: ");
    until_judged(&site, "node1", "/1/report/daemon/daemons", 4, "libvirtd: It does not run");
    site.lab.start_daemon("node1", "libvirtd").unwrap();
    until(&site, "node1", "running", 0, "");

    virsh("destroy");
    until(&site, "node1", "shutdown", 4, "gnt-instance start");
    site.ok("node1", &format!("gnt-instance start {GUEST}"));
    until(&site, "node1", "running", 0, "");

    site.ok("node1", &format!("gnt-instance migrate -f {GUEST}"));
    until(&site, "node2", "running", 0, "");
    let gone = || said(&site, "node1").is_none();
    wait_until(SOON, || format!("{GUEST} not listed on node1"), gone).unwrap();

    // Somebody starts it on the wrong node.
    let xml = "/srv/ganeti/shared-file-storage/guest.xml";
    site.ok("node2", &format!("virsh dumpxml --security-info {GUEST} > {xml}"));
    site.ok("node2", &format!("virsh -q destroy {GUEST}"));
    site.ok("node1", &format!("virsh -q create {xml}"));
    until(&site, "node1", "running", 4, "its primary node is another");
    until(&site, "node2", "shutdown", 4, "there is no guest of it on this node");
}

#[test]
fn a_masterd_that_is_gone_is_told_of() {
    let site = Site::up("mon-masterd");
    for (node, role) in [("node1", "leads"), ("node2", "follows")] {
        for path in ["/1/report/daemon/jobs", "/1/report/daemon/replication"] {
            until_judged(&site, node, path, 0, "");
            let report = site.page(node, path).unwrap();
            assert_eq!(report["data"]["role"], role, "{report}");
        }
    }
    site.lab.kill_daemon("node1", "masterd").unwrap();
    until_judged(&site, "node1", "/1/report/daemon/daemons", 4, "masterd: It does not run");
    until_judged(&site, "node1", "/1/report/daemon/jobs", 2, "masterd has not reported for");
    until_judged(&site, "node1", "/1/report/daemon/replication", 2, "masterd has not reported for");
    until_judged(
        &site,
        "node2",
        "/1/report/daemon/replication",
        4,
        "The leader has not been heard",
    );
    site.lab.start_daemon("node1", "masterd").unwrap();
    for node in ["node1", "node2"] {
        until_judged(&site, node, "/1/report/daemon/jobs", 0, "");
        until_judged(&site, node, "/1/report/daemon/replication", 0, "");
    }
    until_judged(&site, "node1", "/1/report/daemon/certificates", 0, "");
}
