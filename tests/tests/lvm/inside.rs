//! The driver on real volumes. Runs on a node: elsewhere every test here returns at once.

use roost_noded::block::{self, Device, Work, lvm};
use roost_noded::steps::Reporter;
use roost_proto::error::{Error, Result};
use roost_proto::node::{BlockState, BlockStatus, DiskRole, InstanceRef};
use roost_proto::objects::Disk;
use roost_proto::paths::Paths;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// Set where the tests are to do something.
pub const HERE: &str = "ROOST_TEST_ON_NODE";

fn away() -> bool {
    std::env::var_os(HERE).is_none()
}

#[track_caller]
fn sh(script: &str) -> String {
    let (ok, said) = try_sh(script);
    assert!(ok, "{script}: {said}");
    said
}

#[allow(clippy::disallowed_methods, reason = "a test does what an administrator would")]
fn try_sh(script: &str) -> (bool, String) {
    let out = std::process::Command::new("sh").args(["-c", script]).output().expect("sh");
    let said = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8_lossy(&said).trim().to_owned())
}

/// What LVM says of a volume.
#[track_caller]
fn lv(name: &str, field: &str) -> String {
    sh(&format!("lvs --noheadings -o {field} --units m --nosuffix xenvg/{name} 2>/dev/null"))
}

fn disk(n: u32, name: &str, size: u64, params: Value) -> Disk {
    serde_json::from_value(json!({
        "uuid": format!("22222222-0000-4000-8000-{n:012}"), "dev_type": "plain", "size": size,
        "logical_id": ["xenvg", name], "params": params,
    }))
    .expect("a disk")
}

fn work(undo: bool) -> Work {
    Work {
        paths: Paths::new(None),
        node: "00000000-0000-4000-8000-000000000001".parse().expect("uuid"),
        instance: Some(InstanceRef {
            uuid: "33333333-0000-4000-8000-000000000001".parse().expect("uuid"),
            name: roost_proto::names::InstanceName::new("web.example.com").expect("name"),
        }),
        undo,
        reporter: Reporter::silent(),
        budget: Default::default(),
    }
}

/// A disk and its device.
struct One {
    disk: Disk,
    device: Device,
}

impl One {
    fn new(n: u32, name: &str, size: u64) -> One {
        One::with(disk(n, name, size, json!({})))
    }

    fn with(disk: Disk) -> One {
        let device = Device::of(&disk, &work(false)).expect("a device");
        One { disk, device }
    }

    async fn create(&self) -> Result<()> {
        self.device.create(&work(false)).await
    }

    async fn assemble(&self) -> Result<()> {
        self.device.assemble(DiskRole::Primary, &work(false)).await
    }

    async fn shutdown(&self) -> Result<()> {
        self.device.shutdown(&work(false)).await
    }

    async fn remove(&self) -> Result<()> {
        self.device.remove(&work(false)).await
    }

    async fn status(&self) -> BlockStatus {
        self.device.status(&work(false)).await.expect("a status")
    }

    /// Its status, once it is that: status may be a second old.
    async fn becomes(&self, state: BlockState) -> BlockStatus {
        let began = Instant::now();
        loop {
            let status = self.status().await;
            if status.state == state {
                return status;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "not {state:?} but {status:?}");
            tokio::task::yield_now().await;
        }
    }
}

fn refusal(outcome: Result<()>) -> Error {
    outcome.expect_err("it must be refused")
}

#[tokio::test]
#[ignore = "runs on a user-mode Linux node, see main.rs"]
async fn a_volume_lives_and_ends() {
    if away() {
        return;
    }
    let one = One::new(1, "life.disk0", 30);
    assert_eq!(one.status().await.state, BlockState::Missing);
    one.create().await.expect("made");
    one.create().await.expect("again");
    assert_eq!(
        lv("life.disk0", "lv_tags"),
        "originstname+web.example.com,roost-disk+22222222-0000-4000-8000-000000000001"
    );
    assert_eq!(lv("life.disk0", "lv_size"), "32.00", "rounded up to extents");
    one.assemble().await.expect("active");
    one.assemble().await.expect("again");
    let status = one.status().await;
    assert_eq!((status.state, status.size), (BlockState::Active, Some(32)));
    assert_eq!(status.path.as_deref(), Some("/dev/xenvg/life.disk0"));
    let (major, minor) = status.major_minor.expect("numbers");
    assert_eq!(sh("stat -L -c %t:%T /dev/xenvg/life.disk0"), format!("{major:x}:{minor:x}"));
    sh("echo data | dd of=/dev/xenvg/life.disk0 conv=fsync status=none");
    one.device.grow(60, &work(false)).await.expect("grown");
    one.device.grow(60, &work(false)).await.expect("again");
    assert_eq!(sh("blockdev --getsize64 /dev/xenvg/life.disk0"), (60 << 20).to_string());
    one.shutdown().await.expect("inactive");
    one.shutdown().await.expect("again");
    assert_eq!(one.status().await.state, BlockState::Inactive);
    assert!(!Path::new("/dev/xenvg/life.disk0").exists());
    let error = one.device.place(&work(false)).await.expect_err("not active");
    assert!(error.message.contains("is not active on this node"), "{error}");

    let new = disk(1, "life.new", 60, json!({}));
    one.device.rename(&new, &work(false)).await.expect("renamed");
    one.device.rename(&new, &work(false)).await.expect("again");
    let new = One::with(new);
    new.assemble().await.expect("active");
    assert_eq!(sh("head -c 4 /dev/xenvg/life.new"), "data");
    new.remove().await.expect("removed, active as it is");
    new.remove().await.expect("again");
    assert_eq!(new.status().await.state, BlockState::Missing);
    assert!(!Path::new("/dev/xenvg/life.new").exists());
    let error = refusal(new.assemble().await);
    assert!(error.message.contains("There is no volume 'xenvg/life.new'"), "{error}");
}

#[tokio::test]
#[ignore = "runs on a user-mode Linux node, see main.rs"]
async fn nobody_elses_volume_is_touched() {
    if away() {
        return;
    }
    sh("lvcreate -qq -y -Wn -L 32m -n theirs xenvg; echo theirs > /dev/xenvg/theirs");
    let one = One::new(1, "theirs", 32);
    let error = refusal(one.create().await).message;
    assert!(error.contains("A volume 'xenvg/theirs' exists on this node and is not this disk's"));
    one.device.remove(&work(true)).await.expect("an undo leaves it alone");
    assert_eq!(sh("head -c 6 /dev/xenvg/theirs"), "theirs");

    // Adopted, and given back when that is undone.
    let new = disk(1, "ours.disk0", 32, json!({}));
    sh("mkfs.ext4 -q /dev/xenvg/theirs; mount /dev/xenvg/theirs /mnt");
    let error = refusal(one.device.rename(&new, &work(false)).await).message;
    assert!(error.contains("has it open (used by: mounted at /mnt"), "{error}");
    sh("umount /mnt");
    one.device.rename(&new, &work(false)).await.expect("taken");
    let ours = One::with(new);
    assert_eq!(ours.becomes(BlockState::Active).await.size, Some(32));
    assert!(lv("ours.disk0", "lv_tags").contains("roost-adopted+theirs"));
    let other = One::new(2, "ours.disk0", 32);
    assert!(refusal(other.create().await).message.contains("but disk 22222222-"));
    assert!(refusal(other.assemble().await).message.contains("it belongs to disk 22222222-"));
    other.remove().await.expect("left alone");
    other.shutdown().await.expect("left alone");
    assert_eq!(ours.status().await.state, BlockState::Active);
    ours.device.rename(&one.disk, &work(true)).await.expect("given back");
    assert_eq!(lv("theirs", "lv_tags"), "", "nobody's again");

    // In the way of a rename.
    let mine = One::new(3, "mine", 32);
    mine.create().await.expect("made");
    let error = refusal(mine.device.rename(&one.disk, &work(false)).await).message;
    assert!(error.contains("cannot be renamed to 'xenvg/theirs': that exists"), "{error}");
    mine.remove().await.expect("removed");
    sh("lvremove -qq -y xenvg/theirs");
}

#[tokio::test]
#[ignore = "runs on a user-mode Linux node, see main.rs"]
async fn a_volume_in_use_is_kept() {
    if away() {
        return;
    }
    let one = One::new(1, "used.disk0", 32);
    one.create().await.expect("made");
    one.assemble().await.expect("active");
    sh("mkfs.ext4 -q /dev/xenvg/used.disk0; mount /dev/xenvg/used.disk0 /mnt; echo x > /mnt/f");
    for error in [refusal(one.shutdown().await), refusal(one.remove().await)] {
        assert!(error.message.contains("used by: mounted at /mnt"), "{error}");
    }
    let error = refusal(one.device.wipe(&work(false)).await);
    assert!(error.message.contains("mounted at /mnt"), "{error}");
    assert_eq!(sh("cat /mnt/f; umount /mnt"), "x");
    sh("sleep 1000 < /dev/xenvg/used.disk0 > /dev/null 2>&1 & echo $! > /tmp/pid");
    let error = refusal(one.remove().await);
    assert!(error.message.contains("used by: sleep (process "), "{error}");
    sh("kill $(cat /tmp/pid)");
    let began = Instant::now();
    while one.remove().await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(30), "it should be free by now");
    }
    assert_eq!(one.status().await.state, BlockState::Missing);
}

#[tokio::test]
#[ignore = "runs on a user-mode Linux node, see main.rs"]
async fn no_room_and_no_group() {
    if away() {
        return;
    }
    let error = refusal(One::new(1, "large", 100_000).create().await).message;
    assert!(error.contains("MiB free of") && error.contains("needs 100000 MiB"), "{error}");
    let mut elsewhere = disk(1, "x", 32, json!({}));
    elsewhere.logical_id = serde_json::from_value(json!(["nogroup", "x"])).expect("an id");
    let elsewhere = One::with(elsewhere);
    let error = refusal(elsewhere.create().await).message;
    assert!(error.contains("no volume group 'nogroup' on this node; there are: "), "{error}");
    assert_eq!(elsewhere.status().await.detail, "there is no volume group 'nogroup'");
    elsewhere.remove().await.expect("nothing there");
    let one = One::new(1, "grows", 32);
    one.create().await.expect("made");
    let error = refusal(one.device.grow(100_000, &work(false)).await).message;
    assert!(error.contains("needs 99968 MiB"), "{error}");
    one.remove().await.expect("removed");
    let (total, free) = lvm::space(&one.disk).await.expect("told").expect("known");
    assert_eq!(total, free, "all are gone");
}

#[tokio::test]
#[ignore = "runs on a user-mode Linux node, see main.rs"]
async fn stripes_as_many_as_there_can_be() {
    if away() {
        return;
    }
    for (wanted, got) in [(1, "1"), (2, "2"), (5, "2")] {
        let one = One::with(disk(1, "wide", 64, json!({"stripes": wanted})));
        one.create().await.expect("made");
        one.create().await.expect("again");
        assert_eq!(lv("wide", "stripes"), got, "{wanted} wanted");
        one.device.grow(96, &work(false)).await.expect("grown");
        assert_eq!(lv("wide", "stripes"), got);
        one.remove().await.expect("removed");
    }
}

#[tokio::test]
#[ignore = "runs on a user-mode Linux node, see main.rs"]
async fn thin_volumes() {
    if away() {
        return;
    }
    let thin = |n, name| One::with(disk(n, name, 400, json!({"thin-pool": "tp"})));
    let (one, copy) = (thin(1, "thin.disk0"), thin(2, "thin.snap"));
    let error = refusal(one.create().await).message;
    assert!(error.contains("no thin pool 'tp' in volume group 'xenvg' on this node (there: none)"));
    sh("lvcreate -qq -y --type thin-pool -L 100m -n tp xenvg");
    one.create().await.expect("made");
    one.create().await.expect("again");
    one.assemble().await.expect("active");
    let status = one.status().await;
    assert_eq!((status.state, status.size), (BlockState::Active, Some(400)));
    assert!(status.detail.contains("100 MiB used, 400 MiB promised"), "{}", status.detail);
    sh("dd if=/dev/urandom of=/dev/xenvg/thin.disk0 bs=1M count=20 conv=fsync status=none");
    let sum = sh("sha256sum < /dev/xenvg/thin.disk0");
    one.device.snapshot(&copy.disk, &work(false)).await.expect("frozen");
    one.device.snapshot(&copy.disk, &work(false)).await.expect("again");
    sh("dd if=/dev/urandom of=/dev/xenvg/thin.disk0 bs=1M count=20 conv=fsync status=none");
    copy.assemble().await.expect("active");
    assert_eq!(sh("sha256sum < /dev/xenvg/thin.snap"), sum);
    let used = || lv("tp", "data_percent").parse::<f64>().expect("a number");
    assert!(used() > 39.0, "{}", used());
    one.device.grow(500, &work(false)).await.expect("grown");
    let before = used();
    block::zero_new_part(&one.disk, 500, &work(false)).await.expect("zeros already");
    assert_eq!(used(), before, "zeros take no room of the pool");
    one.device.wipe(&work(false)).await.expect("wiped");
    assert_eq!(sh("tr -d '\\0' < /dev/xenvg/thin.disk0 | head -c 1 | wc -c"), "0");
    assert!(used() < 25.0, "the pool has its room back: {}", used());
    assert_eq!(sh("sha256sum < /dev/xenvg/thin.snap"), sum, "the copy is its own");
    let (total, free) = lvm::space(&one.disk).await.expect("told").expect("known");
    assert!(total == 100 && free < 90 && free > 70, "{free} of {total}");
    one.remove().await.expect("removed");
    copy.remove().await.expect("removed");
    sh("lvremove -qq -y xenvg/tp");
}

#[tokio::test]
#[ignore = "runs on a user-mode Linux node, see main.rs"]
async fn snapshots_keep_what_was() {
    if away() {
        return;
    }
    let (one, copy) = (One::new(1, "origin", 64), One::new(2, "frozen", 64));
    one.create().await.expect("made");
    one.assemble().await.expect("active");
    sh("dd if=/dev/urandom of=/dev/xenvg/origin bs=1M count=64 conv=fsync status=none");
    let sum = sh("sha256sum < /dev/xenvg/origin");
    one.device.snapshot(&copy.disk, &work(false)).await.expect("frozen");
    one.device.snapshot(&copy.disk, &work(false)).await.expect("again");
    sh("dd if=/dev/urandom of=/dev/xenvg/origin bs=1M count=64 conv=fsync status=none");
    assert_eq!(sh("sha256sum < /dev/xenvg/frozen"), sum, "all was overwritten, and it has room");
    assert!(copy.status().await.detail.contains("% used"), "{:?}", copy.status().await);
    let error = refusal(one.remove().await).message;
    assert!(error.contains("its snapshots would lose their data: xenvg/frozen"), "{error}");
    let error = refusal(one.device.grow(96, &work(false)).await).message;
    assert!(error.contains("it has snapshots (xenvg/frozen)"), "{error}");
    copy.remove().await.expect("removed");
    one.remove().await.expect("removed");
}

#[tokio::test]
#[ignore = "runs on a user-mode Linux node, see main.rs"]
async fn what_a_crash_left_is_mended() {
    if away() {
        return;
    }
    let one = One::new(1, "crashed", 32);
    one.create().await.expect("made");
    one.assemble().await.expect("active");
    // A command that was killed between suspending and resuming.
    sh("dmsetup suspend xenvg-crashed");
    let status = one.becomes(BlockState::Faulty).await;
    assert!(status.detail.contains("it is suspended"), "{}", status.detail);
    one.assemble().await.expect("resumed");
    assert_eq!(one.status().await.state, BlockState::Active);
    sh("dmsetup suspend xenvg-crashed");
    one.device.grow(64, &work(false)).await.expect("resumed and grown");
    sh("dmsetup suspend xenvg-crashed");
    one.shutdown().await.expect("resumed and inactive");
    one.assemble().await.expect("active");
    // Device nodes nobody made, and one that stands for something else.
    sh("rm /dev/xenvg/crashed /dev/mapper/xenvg-crashed");
    one.assemble().await.expect("made again");
    sh("rm /dev/mapper/xenvg-crashed; mknod /dev/mapper/xenvg-crashed b 98 16");
    one.assemble().await.expect("made again");
    let (major, minor) = one.status().await.major_minor.expect("numbers");
    assert_eq!(sh("stat -L -c %t:%T /dev/xenvg/crashed"), format!("{major:x}:{minor:x}"));
    sh("dmsetup suspend xenvg-crashed");
    one.remove().await.expect("resumed and removed");

    // lvcreate killed at many moments: what is there is found by its mark, or nothing is there.
    let tags = "--addtag roost-disk+22222222-0000-4000-8000-000000000001";
    for delay in (0..100).step_by(19) {
        sh(&format!(
            "lvm lvcreate -qq -y -Wn {tags} -L 32m -n crashed xenvg > /dev/null 2>&1 & \
             p=$!; sleep 0.{delay:02}; kill -9 $p 2> /dev/null; wait $p; true"
        ));
        one.create().await.expect("made, or taken");
        one.assemble().await.expect("active");
        one.remove().await.expect("removed");
        assert!(!try_sh("lvs --noheadings xenvg/crashed").0, "kill {delay}");
    }
    assert!(!sh("ls /dev/mapper").contains("crashed"));
}

#[tokio::test]
#[ignore = "runs on a user-mode Linux node, see main.rs"]
async fn wiped_is_zero() {
    if away() {
        return;
    }
    let one = One::new(1, "wiped", 100);
    one.create().await.expect("made");
    one.assemble().await.expect("active");
    sh("tr '\\0' x < /dev/zero | dd of=/dev/xenvg/wiped bs=1M conv=fsync status=none; true");
    one.device.wipe(&work(false)).await.expect("wiped");
    assert_eq!(sh("tr -d '\\0' < /dev/xenvg/wiped | head -c 1 | wc -c"), "0");
    one.remove().await.expect("removed");
}

/// Makes a group of files, which can be taken away; the devices of the files.
fn group_of_files(files: usize) -> Vec<String> {
    let devices: Vec<String> = (0..files)
        .map(|n| sh(&format!("truncate -s 64m /root/pv{n} && losetup -f --show /root/pv{n}")))
        .collect();
    sh(&format!("vgcreate -qq files {}", devices.join(" ")));
    devices
}

fn no_group_of_files() {
    try_sh("vgremove -qq -y files; losetup -D; rm -f /root/pv*");
}

fn in_files(n: u32, name: &str, size: u64, params: Value, spindles: Option<u32>) -> One {
    let mut disk = disk(n, name, size, params);
    disk.logical_id = serde_json::from_value(json!(["files", name])).expect("an id");
    disk.spindles = spindles;
    One::with(disk)
}

#[tokio::test]
#[ignore = "runs on a user-mode Linux node, see main.rs"]
async fn a_group_that_lost_a_disk() {
    if away() {
        return;
    }
    let devices = group_of_files(3);
    let (safe, lost) =
        (in_files(1, "safe", 20, json!({}), None), in_files(2, "lost", 100, json!({}), None));
    let allow = |to: bool| [("allocatable".to_owned(), to.into())].into();
    safe.create().await.expect("made");
    let first = sh("lvs --noheadings -o devices files/safe | tr -d ' ' | sed 's/(.*//'");
    lvm::modify(&first, &allow(false)).await.expect("changed");
    lost.create().await.expect("made, on the two others");
    lvm::modify(&first, &allow(true)).await.expect("changed");
    safe.shutdown().await.expect("inactive");
    lost.shutdown().await.expect("inactive");
    let part = "lvs --noheadings -o devices files/lost | tail -1 | tr -d ' ' | sed 's/(.*//'";
    let gone = sh(part);
    assert!(devices.contains(&gone) && gone != first, "{gone}");
    sh(&format!("lvcreate -qq -y -an -Zn -Wn -L 8m -n theirs files {gone}"));
    let units = lvm::physical_volumes(std::slice::from_ref(&gone)).await.expect("there");
    assert_eq!((units.len(), units[0].allocatable), (1, true));
    sh(&format!("losetup -d {gone}"));
    lost.becomes(BlockState::Faulty).await;
    let error = refusal(lost.assemble().await).message;
    assert!(error.contains("'gnt-node repair-storage NODE lvm-vg files'"), "{error}");
    safe.assemble().await.expect("whole");
    let error = refusal(in_files(3, "new", 8, json!({}), None).create().await).message;
    assert!(error.contains("lacks 1 of its physical volumes and cannot be changed"), "{error}");
    let problems = lvm::problems().await;
    assert!(problems.iter().any(|(code, text)| code == "ENODELVM" && text.contains("'files'")));

    let error = lvm::repair("files").await.expect_err("theirs would go, too");
    assert!(error.message.contains("files/theirs"), "{error}");
    sh("lvremove -qq -y files/theirs");
    let said = lvm::repair("files").await.expect("repaired");
    assert!(said.iter().any(|line| line.contains("'files/lost' had a part there and is gone")));
    assert!(lvm::repair("files").await.expect("again")[0].contains("has all its physical volumes"));
    assert_eq!(lost.status().await.state, BlockState::Missing);
    assert_eq!(safe.status().await.state, BlockState::Active);
    in_files(3, "new", 8, json!({}), None).create().await.expect("it works again");
    no_group_of_files();
}

#[tokio::test]
#[ignore = "runs on a user-mode Linux node, see main.rs"]
async fn exclusive_storage_is_whole_physical_volumes() {
    if away() {
        return;
    }
    let devices = group_of_files(3);
    let alone = |n, name, size, spindles| {
        in_files(n, name, size, json!({"exclusive_storage": true, "stripes": 2}), spindles)
    };
    let figures = async || {
        // Figures may be older than the group; they are not older than what was read.
        lvm::lvm().now().await.expect("readable");
        lvm::lvm().figures().await.spindles["files"]
    };
    assert_eq!(figures().await, (3, 3));
    let error = refusal(alone(1, "x", 8, None).create().await).message;
    assert!(error.contains("does not say how many spindles it has"), "{error}");
    let error = refusal(alone(1, "x", 100, Some(1)).create().await).message;
    assert!(error.contains("1 spindle(s) are not enough for volume 'x' of 100 MiB"), "{error}");
    let two = alone(1, "two", 80, Some(2));
    two.create().await.expect("made");
    assert_eq!(figures().await, (3, 1));
    let error = refusal(alone(2, "more", 8, Some(2)).create().await).message;
    assert!(error.contains("2 needed, 1 there"), "{error}");
    two.device.grow(100, &work(false)).await.expect("on its own");
    let error = refusal(two.device.grow(150, &work(false)).await).message;
    assert!(error.contains("have 16 MiB left"), "{error}");
    assert_eq!(figures().await, (3, 1));
    // Taken out of use by the administrator.
    let unused = devices
        .iter()
        .rev()
        .find(|pv| !sh("lvs --noheadings -o devices files/two").contains(pv.as_str()));
    let unused = unused.expect("one").as_str();
    let changes = |to: bool| [("allocatable".to_owned(), to.into())].into();
    lvm::modify(unused, &changes(false)).await.expect("changed");
    lvm::modify(unused, &changes(false)).await.expect("again");
    let error = refusal(alone(2, "more", 8, Some(1)).create().await).message;
    assert!(error.contains("1 needed, 0 there"), "{error}");
    lvm::modify(unused, &changes(true)).await.expect("changed");
    alone(2, "more", 8, Some(1)).create().await.expect("made");
    no_group_of_files();
}
