//! Disks that are too small or lost, for real: LVM and DRBD between three nodes that are user-mode
//! Linux. Needs root and their image (`make uml`): `make test-full`. Daemons that die meanwhile:
//! `kills`. Split brain: `drbd`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use roost_tests::lab::{Hypervisor, Kernel, Lab, Options, wait_until};
use std::time::Duration;

/// Everything here runs on a machine that may be busy with much else.
const LONG: Duration = Duration::from_secs(580);
const SOON: Duration = Duration::from_secs(180);
const WEB: &str = "web.example.com";
/// Somebody removes the meta data volume.
const LOSE_META: &str =
    "lvremove -qq -f $(lvs --noheadings -o vg_name,lv_name --separator / | grep _meta)";

struct Site {
    lab: Lab,
    _root: tempfile::TempDir,
}

impl Site {
    fn up(name: &str) -> Site {
        let root = tempfile::tempdir().unwrap();
        let options = Options {
            root: root.path().into(),
            nodes: 3,
            hypervisor: Hypervisor::Fake,
            kernel: Kernel::Uml,
            disk_mib: 1024,
            init: true,
            ..Options::new(name)
        };
        Site { lab: Lab::up(options).unwrap(), _root: root }
    }

    fn try_sh(&self, node: &str, script: &str) -> (bool, String) {
        let out = self.lab.exec_within(LONG, node, &["sh", "-c", script]).unwrap();
        (out.ok(), format!("{}{}", out.stdout, out.stderr).trim().to_owned())
    }

    #[track_caller]
    fn sh(&self, node: &str, script: &str) -> String {
        let (ok, said) = self.try_sh(node, script);
        assert!(ok, "{node}: {script}: {said}");
        said
    }

    /// A command of the cluster, on the master.
    #[track_caller]
    fn gnt(&self, command: &str) -> String {
        self.sh("node1", &format!("gnt-{command} 2>&1"))
    }

    #[track_caller]
    fn refused(&self, command: &str) -> String {
        let (ok, said) = self.try_sh("node1", &format!("gnt-{command} 2>&1"));
        assert!(!ok, "{command} should fail: {said}");
        said
    }

    /// Makes a mirrored instance and starts it.
    fn add(&self, primary: &str, secondary: &str) {
        self.gnt(&format!(
            "instance add -t drbd -n {primary}:{secondary} -o tiny --no-install --no-start \
             --ignore-ipolicy --disk 0:size=64m {WEB}"
        ));
        self.gnt(&format!("instance startup {WEB}"));
    }

    /// What the kernel says of the first device.
    fn state(&self, node: &str) -> String {
        self.sh(node, "grep '^ 0:' /proc/drbd || true")
    }

    /// Somebody writes without end: each MiB once, in turn, and the sum of what was written is kept.
    fn start_writing(&self, node: &str) {
        let script = "rm -f /tmp/stop /tmp/failed; (i=0; while [ ! -e /tmp/stop ]; do \
                      dd if=/dev/urandom of=/tmp/piece bs=1M count=1 status=none; \
                      dd if=/tmp/piece of=/dev/drbd0 bs=1M seek=$((i % 48)) oflag=direct \
                      conv=notrunc status=none || echo $i >> /tmp/failed; \
                      sha1sum < /tmp/piece > /tmp/sum.$((i % 48)); i=$((i+1)); done; \
                      echo $i > /tmp/written) > /dev/null 2>&1 &";
        self.sh(node, script);
    }

    /// It ends. Nothing failed meanwhile, and all that was written is there.
    #[track_caller]
    fn stop_writing(&self, node: &str) {
        self.sh(node, "touch /tmp/stop; while [ ! -e /tmp/written ]; do sleep 0.2; done");
        let failed = self.sh(node, "cat /tmp/failed 2>/dev/null || true; rm -f /tmp/written");
        assert_eq!(failed, "", "writes failed");
        self.data_is_there(node, "/dev/drbd0");
    }

    #[track_caller]
    fn data_is_there(&self, node: &str, device: &str) {
        let wrong = self.sh(
            node,
            &format!(
                "for f in /tmp/sum.*; do n=${{f#/tmp/sum.}}; \
                 dd if={device} bs=1M skip=$n count=1 iflag=direct status=none | sha1sum | \
                 cmp -s - $f || echo $n; done"
            ),
        );
        assert_eq!(wrong, "", "pieces of the data are not what was written");
    }

    /// Both sides have the same data, when nothing is written.
    #[track_caller]
    fn sides_are_equal(&self, nodes: [&str; 2]) {
        let sum = "for f in /dev/xenvg/*disk0_data; do dd if=$f bs=1M iflag=direct status=none | \
                   sha256sum; done";
        let (one, two) = (self.sh(nodes[0], sum), self.sh(nodes[1], sum));
        assert!(one.len() > 64 && one == two, "{one} {two}");
    }

    fn volumes(&self, node: &str) -> Vec<String> {
        let out = self.sh(node, "lvs --noheadings -o lv_name");
        out.split_whitespace().map(str::to_owned).collect()
    }

    #[track_caller]
    fn clean(&self) {
        let said = self.gnt("cluster verify --error-codes || true");
        let bad = ["ORPHAN", "MISSING", "FAULTY", "ENODEDRBD:", "repair-debris", "degraded"];
        assert!(!bad.iter().any(|word| said.contains(word)), "{said}");
    }
}

#[test]
#[ignore = "needs the image of user-mode Linux nodes: make uml"]
fn disks_in_use_are_grown_and_replaced_on_any_node() {
    let site = Site::up("disks-use");
    site.add("node1", "node2");
    site.start_writing("node1");

    // Larger, while it is written; too large is refused before anything is done.
    site.gnt(&format!("instance grow-disk --ignore-ipolicy {WEB} 0 32m"));
    assert_eq!(site.sh("node1", "blockdev --getsize64 /dev/drbd0"), (96 << 20).to_string());
    let said = site.refused(&format!("instance grow-disk --ignore-ipolicy {WEB} 0 10g"));
    assert!(said.contains("Not enough disk space"), "{said}");
    let said = site.refused(&format!("instance grow-disk --absolute {WEB} 0 10m"));
    assert!(said.contains("is smaller than current disk size (96M)"), "{said}");

    // Each side in turn gets new volumes under the old names.
    let names = site.volumes("node1");
    for side in ["-s", "-p"] {
        let said = site.gnt(&format!("instance replace-disks {side} {WEB}"));
        let steps = ["STEP 1/6 Check device existence", "STEP 6/6 Removing old storage"];
        assert!(steps.iter().all(|step| said.contains(step)), "{said}");
        assert_eq!((site.volumes("node1"), site.volumes("node2")), (names.clone(), names.clone()));
        let state = site.state("node1");
        assert!(state.contains("ro:Primary/Secondary ds:UpToDate/UpToDate"), "{state}");
    }
    let said = site.gnt(&format!("instance replace-disks -a {WEB}"));
    assert!(said.contains("No disks need replacement"), "{said}");
    site.stop_writing("node1");
    site.sides_are_equal(["node1", "node2"]);

    // The secondary is lost for good.
    site.start_writing("node1");
    site.lab.kill("node2").unwrap();
    site.gnt("node modify -f --offline yes node2");
    let said = site.gnt(&format!("instance replace-disks -n node3 {WEB}"));
    assert!(said.contains("early release is switched on"), "{said}");
    let state = site.state("node1");
    assert!(state.contains("ro:Primary/Secondary ds:UpToDate/UpToDate"), "{state}");
    site.stop_writing("node1");
    site.sides_are_equal(["node1", "node3"]);
    let said = site.gnt("cluster verify || true");
    assert!(said.contains("removing the old volumes on node2"), "{said}");

    // It is back after all: what is left there is removed by command, and nothing else.
    site.lab.start("node2").unwrap();
    site.gnt("node modify -f --offline no node2");
    let removed = || site.gnt("cluster repair-debris || true").contains("1 removed, 0 left");
    wait_until(SOON, || "node2 obeys".into(), removed).unwrap();
    assert_eq!(site.volumes("node2"), Vec::<String>::new());
    site.data_is_there("node1", "/dev/drbd0");
    site.clean();

    // With volumes lost under it, the secondary is found to be the faulty side.
    site.sh(
        "node3",
        "drbdsetup detach 0 --force && vgchange -qq -an xenvg && lvremove -qq -f xenvg",
    );
    let said = site.gnt(&format!("instance replace-disks -a {WEB}"));
    assert!(said.contains("disk/0 is faulty on node node3"), "{said}");
    site.sides_are_equal(["node1", "node3"]);
    site.clean();
}

#[test]
#[ignore = "needs the image of user-mode Linux nodes: make uml"]
fn lost_disks_are_made_again_and_whole_ones_are_not() {
    let site = Site::up("disks-lost");
    site.add("node1", "node2");
    let said = site.refused(&format!("instance recreate-disks {WEB}"));
    assert!(said.contains("shut it down first"), "{said}");
    site.gnt(&format!("instance shutdown {WEB}"));
    let said = site.refused(&format!("instance recreate-disks {WEB}"));
    assert!(said.contains("is there on node") && said.contains("replace-disks"), "{said}");

    // One side lost its meta data: the other one is whole, so it is not made anew but replaced.
    site.sh("node1", LOSE_META);
    let said = site.refused(&format!("instance startup {WEB}"));
    assert!(said.contains("meta"), "{said}");
    let said = site.refused(&format!("instance recreate-disks {WEB}"));
    assert!(said.contains("is there on node node2"), "{said}");
    site.gnt(&format!("instance replace-disks -p {WEB}"));
    site.gnt(&format!("instance startup {WEB}"));
    site.sides_are_equal(["node1", "node2"]);
    site.gnt(&format!("instance shutdown {WEB}"));
    site.clean();

    // Both lost theirs: new disks, and what is left is kept until somebody has looked at it.
    for node in ["node1", "node2"] {
        site.sh(node, LOSE_META);
    }
    let said = site.gnt(&format!("instance recreate-disks {WEB}"));
    assert!(said.contains("disk0_data, stays there until"), "{said}");
    assert_eq!(site.volumes("node1").len(), 3);
    site.gnt("cluster repair-debris");
    assert_eq!((site.volumes("node1").len(), site.volumes("node2").len()), (2, 2));
    site.gnt(&format!("instance startup {WEB}"));
    site.clean();

    // All is lost: on other nodes, larger.
    site.gnt(&format!("instance shutdown {WEB}"));
    for node in ["node1", "node2"] {
        site.sh(node, "lvremove -qq -f xenvg");
    }
    site.gnt(&format!("instance recreate-disks --disk 0:size=96m -n node3:node1 {WEB}"));
    site.gnt(&format!("instance startup {WEB}"));
    assert_eq!(site.sh("node3", "blockdev --getsize64 /dev/drbd0"), (96 << 20).to_string());
    assert_eq!(site.volumes("node2"), Vec::<String>::new());
    site.gnt(&format!("instance remove -f {WEB}"));
    for node in ["node1", "node2", "node3"] {
        assert_eq!(site.volumes(node), Vec::<String>::new());
        assert!(!site.state(node).contains("cs:"), "{node}");
    }
    site.clean();
}
