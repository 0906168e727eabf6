//! Mirrored disks for real: LVM and DRBD between nodes that are user-mode Linux. Needs root and their
//! image (`make uml`). The first test is a part of `make test`, the others of `make test-full`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use roost_tests::lab::{Hypervisor, Kernel, Lab, Options, wait_until};
use std::time::Duration;

/// Everything here runs on a machine that may be busy with much else.
const LONG: Duration = Duration::from_secs(580);
const SOON: Duration = Duration::from_secs(180);
/// The instance, its device on both nodes, and all of its data volume.
const WEB: &str = "web.example.com";
const DATA: &str = "for f in /dev/xenvg/*disk0_data; do dd if=$f bs=1M iflag=direct \
                    status=none | sha256sum; done";

fn options(name: &str, root: &tempfile::TempDir) -> Options {
    Options {
        root: root.path().into(),
        nodes: 2,
        hypervisor: Hypervisor::Fake,
        kernel: Kernel::Uml,
        disk_mib: 512,
        init: true,
        ..Options::new(name)
    }
}

fn try_sh(lab: &Lab, node: &str, script: &str) -> (bool, String) {
    let out = lab.exec_within(LONG, node, &["sh", "-c", script]).unwrap();
    (out.ok(), format!("{}{}", out.stdout, out.stderr).trim().to_owned())
}

#[track_caller]
fn sh(lab: &Lab, node: &str, script: &str) -> String {
    let (ok, said) = try_sh(lab, node, script);
    assert!(ok, "{node}: {script}: {said}");
    said
}

/// A command of the cluster, on the master.
#[track_caller]
fn gnt(lab: &Lab, command: &str) -> String {
    sh(lab, "node1", &format!("gnt-{command} 2>&1"))
}

#[track_caller]
fn refused(lab: &Lab, command: &str) -> String {
    let (ok, said) = try_sh(lab, "node1", &format!("gnt-{command} 2>&1"));
    assert!(!ok, "{command} should fail: {said}");
    said
}

/// Makes the instance, mirrored on both nodes.
fn add(lab: &Lab, primary: &str, secondary: &str) {
    gnt(
        lab,
        &format!(
            "instance add -t drbd -n {primary}:{secondary} -o tiny --no-install --no-start \
             --ignore-ipolicy --disk 0:size=64m {WEB}"
        ),
    );
}

/// What the kernel says of the first device.
fn state(lab: &Lab, node: &str) -> String {
    sh(lab, node, "grep '^ 0:' /proc/drbd || true")
}

#[track_caller]
fn wait_for(lab: &Lab, node: &str, what: &str) {
    let told = || format!("{what} on {node}: {}", state(lab, node));
    wait_until(SOON, told, || state(lab, node).contains(what)).unwrap();
}

/// Writes `mib` MiB from `at` on, past all caches.
fn write(lab: &Lab, node: &str, at: u32, mib: u32) {
    let to = format!("of=/dev/drbd0 bs=1M seek={at} count={mib} oflag=direct status=none");
    sh(lab, node, &format!("dd if=/dev/urandom {to}"));
}

/// Both sides have the same data, when nothing is written.
#[track_caller]
fn sides_are_equal(lab: &Lab) -> String {
    let (one, two) = (sh(lab, "node1", DATA), sh(lab, "node2", DATA));
    assert!(one.len() > 64 && one == two, "{one} {two}");
    one
}

#[track_caller]
fn nothing_is_left(lab: &Lab) {
    for node in ["node1", "node2"] {
        assert_eq!(sh(lab, node, "lvs --noheadings xenvg; drbdsetup show"), "", "{node}");
    }
}

#[test]
fn a_mirror_outlives_its_primary() {
    let root = tempfile::tempdir().unwrap();
    // The third one makes a majority without the second.
    let lab = Lab::up(Options { nodes: 3, ..options("drbd-life", &root) }).unwrap();
    add(&lab, "node2", "node1");
    gnt(&lab, &format!("instance activate-disks {WEB}"));
    assert!(
        state(&lab, "node2").contains("cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate")
    );
    // The kernel has the secret, and no log.
    let find = "drbdsetup show --show-defaults | sed -n 's/.*shared-secret[^\"]*\"\\(.*\\)\".*/\\1/p' \
                > /run/secret; grep -q ........ /run/secret && ! grep -r -f /run/secret /var/log/ganeti";
    sh(&lab, "node2", find);

    // The power of the primary goes; nothing that was written is lost.
    write(&lab, "node2", 0, 32);
    let written = sh(&lab, "node2", "sha256sum < /dev/drbd0");
    lab.kill("node2").unwrap();
    gnt(&lab, "node modify -f --offline yes node2");
    gnt(&lab, &format!("instance failover -f {WEB}"));
    gnt(&lab, &format!("instance activate-disks {WEB}"));
    assert!(state(&lab, "node1").contains("ro:Primary/Unknown ds:UpToDate/DUnknown"));
    assert_eq!(sh(&lab, "node1", "sha256sum < /dev/drbd0"), written);
    write(&lab, "node1", 40, 4);

    // It returns and gets what it missed.
    lab.start("node2").unwrap();
    gnt(&lab, "node modify -f --offline no node2");
    gnt(&lab, &format!("instance activate-disks --wait-for-sync {WEB}"));
    sides_are_equal(&lab);
    let said = gnt(&lab, "cluster verify");
    assert!(!said.contains("ERROR") && !said.contains("degraded"), "{said}");

    gnt(&lab, &format!("instance remove -f {WEB}"));
    nothing_is_left(&lab);
}

#[test]
#[ignore = "needs the image of user-mode Linux nodes: make uml"]
fn parted_sides_are_joined() {
    let root = tempfile::tempdir().unwrap();
    let lab = Lab::up(options("drbd-parted", &root)).unwrap();
    add(&lab, "node1", "node2");
    gnt(&lab, &format!("instance activate-disks {WEB}"));

    // Both sides are written while they do not see each other: a split brain.
    sh(&lab, "node2", "drbdsetup disconnect ipv4:10.78.0.2:11000 ipv4:10.78.0.1:11000");
    sh(&lab, "node2", "drbdsetup primary 0");
    write(&lab, "node2", 7, 1);
    sh(&lab, "node2", "drbdsetup secondary 0");
    write(&lab, "node1", 9, 1);
    let kept = sh(&lab, "node1", "sha256sum < /dev/drbd0");
    let said = refused(&lab, &format!("instance activate-disks {WEB}"));
    assert!(said.contains("split brain"), "{said}");
    assert!(said.contains(&format!("gnt-instance repair-mirror {WEB} --discard")), "{said}");
    // Asked again it says the same, and changes nothing.
    let again = refused(&lab, &format!("instance activate-disks {WEB}"));
    assert!(again.contains("split brain"), "{again}");
    assert_ne!(sh(&lab, "node1", DATA), sh(&lab, "node2", DATA));
    let said = gnt(&lab, &format!("instance repair-mirror -f --discard node2 {WEB}"));
    assert!(said.contains("giving up the data of node node2"), "{said}");
    wait_for(&lab, "node1", "ds:UpToDate/UpToDate");
    sides_are_equal(&lab);
    assert_eq!(sh(&lab, "node1", "sha256sum < /dev/drbd0"), kept, "this side's data were kept");

    gnt(&lab, &format!("instance remove -f {WEB}"));
    nothing_is_left(&lab);
}

#[test]
#[ignore = "needs the image of user-mode Linux nodes: make uml"]
fn cut_cables_and_bad_storage() {
    let root = tempfile::tempdir().unwrap();
    let mut lab = Lab::up(options("drbd-bad", &root)).unwrap();
    add(&lab, "node1", "node2");

    // The cable is cut while the sides are made equal, slowly.
    gnt(&lab, "cluster modify -D drbd:resync-rate=1024");
    gnt(&lab, &format!("instance activate-disks {WEB}"));
    for node in ["node1", "node2"] {
        let shown = sh(&lab, node, "drbdsetup show");
        assert!(shown.contains("1024k; # bytes/second"), "{shown}");
    }
    sh(&lab, "node1", "drbdsetup invalidate-remote 0");
    wait_for(&lab, "node1", "cs:SyncSource");
    let job = gnt(&lab, &format!("instance activate-disks --wait-for-sync --submit {WEB}"));
    let job = job.rsplit(' ').next().unwrap().to_owned();
    let log = || sh(&lab, "node1", &format!("gnt-job info {job}"));
    wait_until(SOON, || format!("progress: {}", log()), || log().contains("% done")).unwrap();
    lab.cut("node1", Some("node2")).unwrap();
    let log = || sh(&lab, "node1", &format!("gnt-job info {job}"));
    wait_until(SOON, || format!("lost: {}", log()), || log().contains("node2.lab is lost"))
        .unwrap();
    lab.heal().unwrap();
    for node in ["node1", "node2"] {
        sh(&lab, node, "drbdsetup disk-options 0 --resync-rate=200M || true");
    }
    let said = gnt(&lab, &format!("job watch {job}"));
    assert!(said.contains("connected again"), "{said}");
    assert!(state(&lab, "node1").contains("ds:UpToDate/UpToDate"), "{}", state(&lab, "node1"));
    sides_are_equal(&lab);
    gnt(&lab, &format!("instance deactivate-disks {WEB}"));

    // Somebody else has the minor.
    let foreign = "drbdsetup new-resource theirs && drbdsetup new-minor theirs 0 0 && \
                   lvcreate -qq -y -Wn -L 16M -n t0 xenvg && lvcreate -qq -y -Wn -L 128M -n t1 xenvg && \
                   drbdmeta --force 0 v08 /dev/xenvg/t1 0 create-md && \
                   drbdsetup attach 0 /dev/xenvg/t0 /dev/xenvg/t1 0";
    sh(&lab, "node2", &format!("({foreign}) 2>&1"));
    let said = refused(&lab, &format!("instance activate-disks {WEB}"));
    assert!(said.contains("in use by the resource 'theirs'"), "{said}");
    assert!(sh(&lab, "node2", "drbdsetup show").contains("theirs"), "it is left alone");
    sh(&lab, "node2", "drbdsetup down theirs && lvremove -qq -y xenvg/t0 xenvg/t1");

    // The storage of one side is not as it was.
    let volume = |what: &str| {
        let list = format!("lvs --noheadings -o lv_full_name xenvg | grep {what} | xargs");
        sh(&lab, "node2", &list)
    };
    let (data, meta) = (volume("disk0_data"), volume("disk0_meta"));
    let activate = || refused(&lab, &format!("instance activate-disks {WEB}"));
    sh(&lab, "node2", &format!("lvchange -pr {data}"));
    let said = activate();
    assert!(said.contains("cannot be opened for writing"), "{said}");
    gnt(&lab, &format!("instance deactivate-disks {WEB}"));
    sh(&lab, "node2", &format!("lvchange -prw {data}"));
    sh(&lab, "node2", &format!("lvresize -qq -y -f -L 32M {data}"));
    let said = activate();
    assert!(said.contains("has 32 MiB, and the disk 64 MiB"), "{said}");
    gnt(&lab, &format!("instance deactivate-disks {WEB}"));
    sh(&lab, "node2", &format!("lvresize -qq -y -L 64M {data}"));
    gnt(&lab, &format!("instance activate-disks --wait-for-sync {WEB}"));
    gnt(&lab, &format!("instance deactivate-disks {WEB}"));
    sh(
        &lab,
        "node2",
        &format!("lvchange -qq -ay {meta} && dd if=/dev/zero of=/dev/{meta} bs=4k count=1"),
    );
    let said = activate();
    assert!(said.contains("has no meta data of DRBD"), "{said}");
    assert!(said.contains("replace-disks"), "{said}");
    gnt(&lab, &format!("instance deactivate-disks {WEB}"));
    sh(&lab, "node2", &format!("lvremove -qq -y {meta}"));
    let said = activate();
    assert!(said.contains("no volume") && said.contains("disk0_meta"), "{said}");
}

#[test]
#[ignore = "needs the image of user-mode Linux nodes: make uml"]
fn noded_killed_while_mirrors_are_made_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let lab = Lab::up(options("drbd-kill", &root)).unwrap();
    for n in 0..6_u32 {
        let node = if n % 2 == 0 { "node1" } else { "node2" };
        let job = gnt(
            &lab,
            &format!(
                "instance add -t drbd -n node1:node2 -o tiny --no-install --no-start --submit \
                 --ignore-ipolicy -B memory=16M --disk 0:size=32m i{n}.example.com"
            ),
        );
        let job = job.rsplit(' ').next().unwrap().to_owned();
        // At another step each time.
        let step = ["disks-create", "disks-assemble", "mirrors-seed"][n as usize / 2];
        let lines = || {
            let log = format!("grep -c 'action=\"{step}\"' /var/log/ganeti/noded.log || true");
            sh(&lab, node, &log).parse::<u32>().unwrap_or(0)
        };
        let before = lines();
        let over = || gnt(&lab, &format!("job list --no-headers -o status {job}"));
        let reached = || lines() > before || ["success", "error"].contains(&over().as_str());
        wait_until(SOON, || format!("{step} of job {job}"), reached).unwrap();
        lab.kill_daemon(node, "noded").unwrap();
        lab.start_daemon(node, "noded").unwrap();
        try_sh(&lab, "node1", &format!("gnt-job watch {job} 2>&1"));
        let known = gnt(&lab, "instance list --no-headers -o name");
        let known = known.lines().filter(|line| !line.is_empty()).count();
        for node in ["node1", "node2"] {
            let volumes = sh(&lab, node, "lvs --noheadings xenvg | wc -l");
            assert_eq!(volumes, (2 * known).to_string(), "{n}: {node}");
            assert_eq!(sh(&lab, node, "drbdsetup show"), "", "{n}: {node}: none is in use");
        }
    }
    let said = gnt(&lab, "cluster verify");
    assert!(!said.contains("ERROR"), "{said}");
}
