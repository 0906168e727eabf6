//! Disks that change their template on real LVM, DRBD and loop devices, and guests that take their
//! disks along. Needs root; the first also the image of user-mode Linux nodes (`make uml`), the others
//! the tiny guest: `make test-full`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

#[path = "e2e/cluster.rs"]
#[expect(dead_code, reason = "shared with other test programs")]
mod cluster;

use cluster::Cluster;
use roost_tests::guest::{self, Answer, Watch};
use roost_tests::lab::{Hypervisor, Kernel, Options, wait_until};
use std::net::Ipv4Addr;
use std::time::Duration;

const WEB: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 50);
/// Emulated guests on a busy machine.
const LONG: Duration = Duration::from_secs(180);
/// MiB of the disks that are converted.
const SIZES: [u64; 2] = [48, 20];

/// MD5 of what the disks hold, as far as they were asked for.
fn sums(c: &Cluster) -> Vec<String> {
    let out = c.ok("gnt-instance activate-disks web");
    let sum = |(line, mib): (&str, u64)| {
        let device = line.trim().splitn(3, ':').nth(2).unwrap();
        let sum = c.ok(&format!("head -c {mib}M {device} | md5sum"));
        sum.split_whitespace().next().unwrap().to_owned()
    };
    let sums = out.lines().zip(SIZES).map(sum).collect();
    c.ok("gnt-instance deactivate-disks web");
    sums
}

/// Volumes and mirrors on all nodes, and files of disks.
fn devices(c: &Cluster) -> String {
    let look = "lvs --noheadings -o lv_name; grep -E '^ *[0-9]+: cs:' /proc/drbd | \
                grep -v Unconfigured; losetup -l -n; true";
    let on = |node: &str| c.on(node, look).stdout;
    format!("{}{}", ["node1", "node2", "node3"].map(on).concat(), c.files().join("\n"))
}

#[test]
#[ignore = "needs the image of user-mode Linux nodes: make uml"]
fn disks_keep_their_data_through_every_template() {
    let c = Cluster::with(Options {
        hypervisor: Hypervisor::Fake,
        kernel: Kernel::Uml,
        disk_mib: 1024,
        ..Options::new("t-convert")
    });
    let [a, b] = SIZES;
    c.ok(&format!(
        "gnt-instance add -t plain --disk 0:size={a}M,name=root --disk 1:size={b}M --ignore-ipolicy \
         --no-install --no-start -o noop -n node1 web.lab"
    ));
    let out = c.ok("gnt-instance activate-disks web");
    for line in out.lines() {
        let device = line.trim().splitn(3, ':').nth(2).unwrap();
        // Ends with the device's end.
        c.run(&format!("dd if=/dev/urandom of={device} bs=1M oflag=direct"));
    }
    c.ok("gnt-instance deactivate-disks web");
    let before = sums(&c);
    assert_ne!(before[0], before[1]);
    let small = c.run("gnt-instance modify -t drbd -I . web");
    assert!(small.stderr.contains("outside the instance policy of group 'default'"), "{small:?}");
    let chosen = "drbd -I . --ignore-ipolicy";
    for to in ["drbd -n node2", "file", "ext --ext-params provider=loop", chosen, "plain"] {
        c.ok(&format!("gnt-instance modify -t {to} web"));
        assert_eq!(sums(&c), before, "after the conversion to {to}");
        let info = c.ok("gnt-instance info web");
        assert!(info.contains("root"), "{info}");
        c.verify();
    }
    // What was made on the way is gone: two volumes on node1 are left.
    assert_eq!(devices(&c).lines().filter(|line| !line.is_empty()).count(), 2, "{}", devices(&c));

    // To another node with its disks, packed.
    c.ok("gnt-cluster modify --compression-tools=gzip,gzip-fast,gzip-slow,zstd");
    c.ok("gnt-instance move -f --ignore-ipolicy --compress=zstd -n node2 web");
    assert_eq!(c.instance("pnode", "web"), "node2.lab");
    let out = c.ok("gnt-instance activate-disks web");
    assert!(out.contains("node2.lab:disk/0:/dev/xenvg/"), "{out}");
    for ((line, mib), sum) in out.lines().zip(SIZES).zip(&before) {
        let device = line.trim().splitn(3, ':').nth(2).unwrap();
        let found = c.on("node2", &format!("head -c {mib}M {device} | md5sum")).stdout;
        assert!(found.starts_with(sum.as_str()), "{line}: {found}");
    }
    c.ok("gnt-instance deactivate-disks web");

    // A mirrored disk comes, goes away and comes back.
    c.ok("gnt-instance modify -t drbd -n node3 web");
    c.ok("gnt-instance modify --disk add:size=16M,name=extra --ignore-ipolicy web");
    let detached = c.ok("gnt-instance modify --disk extra:detach web");
    assert!(detached.contains("disk/2 -> detach"), "{detached}");
    c.verify();
    let attached = c.ok("gnt-instance modify --disk attach:name=extra --ignore-ipolicy web");
    assert!(attached.contains("disk/2 -> attach:size="), "{attached}");
    c.ok("gnt-instance startup web");
    c.ok("gnt-instance shutdown web");
    c.ok("gnt-instance remove -f web");
    assert_eq!(devices(&c).trim(), "");
}

fn add(c: &Cluster) -> Answer {
    c.ok(&format!(
        "gnt-instance add -t file --disk 0:size=1G -o tiny+default -B memory=128M,vcpus=1 \
         --net 0:ip={WEB} -n node2 web.lab"
    ));
    guest::wait_for(&c.lab, WEB, LONG, |answer| answer.name == "web.lab").unwrap()
}

/// The nodes that run the guest.
fn where_it_runs(c: &Cluster) -> Vec<String> {
    let nodes = ["node1", "node2", "node3"].map(str::to_owned);
    let list = "virsh -c qemu:///system -q list --name --state-running";
    nodes.into_iter().filter(|node| c.on(node, list).stdout.contains("web.lab")).collect()
}

/// The nodes that have files of the instance.
fn where_files_are(c: &Cluster) -> Vec<String> {
    let of =
        |line: &String| Some(line.split_once(":/srv/ganeti/file-storage/web.lab/")?.0.to_owned());
    let mut nodes: Vec<_> = c.files().iter().filter_map(of).collect();
    nodes.dedup();
    nodes
}

#[test]
#[ignore = "needs root and the tiny guest"]
fn a_guest_takes_its_disks_along() {
    let c = Cluster::up("t-along", Hypervisor::Kvm);
    let born = add(&c);
    c.refused("gnt-instance migrate -f -n node3 web", 1, &["does not allow", "--copy-disks"]);
    let watch = Watch::start(&c.lab, WEB).unwrap();
    let said = c.ok("gnt-instance migrate -f --copy-disks -n node3 web");
    let seen = watch.stop();
    println!("{said}\nlongest gap {:?}", seen.longest_gap);
    assert!(seen.steady, "the same boot, counting on");
    assert_eq!(c.instance("pnode", "web"), "node3.lab");
    assert_eq!(where_it_runs(&c), ["node3"]);
    assert_eq!(where_files_are(&c), ["node3"]);
    let now = guest::wait_for(&c.lab, WEB, LONG, |answer| answer.count > born.count).unwrap();
    assert_eq!(now.boot, born.boot);
    c.verify();
    // The disk has what the guest wrote: it counts the boots of its disk there.
    c.ok("gnt-instance reboot -t hard web");
    let again = guest::wait_for(&c.lab, WEB, LONG, |answer| answer.boot != born.boot).unwrap();
    assert_eq!(again.boots, 2);
    assert!(again.before >= now.count);
    c.ok("gnt-instance remove -f web");
    assert_eq!(c.files(), Vec::<String>::new());
}

#[test]
#[ignore = "needs root and the tiny guest"]
fn a_noded_that_dies_while_disks_are_copied_loses_nothing() {
    let c = Cluster::up("t-along-kill", Hypervisor::Kvm);
    let born = add(&c);
    // Slow enough to die in the middle, even on a machine with nothing else to do.
    c.ok("gnt-cluster modify -H kvm:migration_bandwidth=20");
    for (number, side) in ["source", "target"].into_iter().enumerate() {
        let from = c.instance("pnode", "web").trim_end_matches(".lab").to_owned();
        let to = if from == "node2" { "node3" } else { "node2" };
        let job = c.submit(&format!("gnt-instance migrate -f --copy-disks -n {to} web"));
        let arrives = || {
            let list = "virsh -c qemu:///system -q list --all --name";
            c.on(to, list).stdout.contains("web.lab")
        };
        wait_until(LONG, || "the guest arriving".into(), arrives).unwrap();
        let dies = if side == "source" { from.as_str() } else { to };
        c.lab.kill_daemon(dies, "noded").unwrap();
        c.lab.start_daemon(dies, "noded").unwrap();
        c.jobs_end();
        let ended = c.job(job);
        println!("noded of the {side} died, the job is {ended}");
        let at = c.instance("pnode", "web").trim_end_matches(".lab").to_owned();
        assert_eq!(at, if ended == "success" { to } else { &from });
        assert_eq!(where_it_runs(&c), [at.as_str()]);
        c.ok("gnt-cluster repair-debris");
        assert_eq!(where_files_are(&c), [at.as_str()]);
        let count = born.count + number as u64;
        let now = guest::wait_for(&c.lab, WEB, LONG, |answer| answer.count > count).unwrap();
        assert_eq!(now.boot, born.boot);
        c.verify();
    }
}

#[test]
#[ignore = "needs root and the tiny guest"]
fn a_running_guest_goes_on_with_disks_of_another_template() {
    let c = Cluster::up("t-online", Hypervisor::Kvm);
    let born = add(&c);
    let watch = Watch::start(&c.lab, WEB).unwrap();
    let said = c.ok("gnt-instance modify -t sharedfile web");
    let seen = watch.stop();
    println!("{said}\nlongest gap {:?}", seen.longest_gap);
    assert!(seen.steady, "the same boot, counting on");
    assert_eq!(c.instance("disk_template", "web"), "sharedfile");
    assert_eq!(where_files_are(&c), Vec::<String>::new(), "the old disk is gone");
    let blocks = c.on("node2", "virsh -c qemu:///system -q domblklist web.lab").stdout;
    assert!(blocks.contains("/srv/ganeti/shared-file-storage/web.lab/"), "{blocks}");
    c.verify();
    // The device is the same, and known as the new disk: it can grow, and is not taken away.
    c.ok("gnt-instance grow-disk --ignore-ipolicy web 0 16m");
    let now = guest::wait_for(&c.lab, WEB, LONG, |answer| answer.count > born.count).unwrap();
    assert_eq!(now.boot, born.boot);

    // And back, and what it wrote is there when it starts anew.
    c.ok("gnt-instance modify -t file web");
    assert_eq!(where_files_are(&c), ["node2"]);
    let now = guest::wait_for(&c.lab, WEB, LONG, |answer| answer.count > now.count).unwrap();
    assert_eq!(now.boot, born.boot);
    c.ok("gnt-instance shutdown web");
    c.ok("gnt-instance startup web");
    let again = guest::wait_for(&c.lab, WEB, LONG, |answer| answer.boot != born.boot).unwrap();
    assert_eq!(again.boots, 2);
    assert!(again.before >= now.count, "{again:?} after {now:?}");
    c.ok("gnt-instance remove -f web");
    assert_eq!(c.files(), Vec::<String>::new());
}

#[test]
#[ignore = "needs root and the tiny guest"]
fn a_noded_that_dies_while_disks_are_mirrored_loses_nothing() {
    let c = Cluster::up("t-online-kill", Hypervisor::Kvm);
    let born = add(&c);
    c.ok("gnt-instance modify --disk add:size=64M --ignore-ipolicy web");
    // Slow enough to die in the middle, even on a machine with nothing else to do.
    c.ok("gnt-node modify --node-parameters disk_copy_rate=100 node2");
    let job = c.submit("gnt-instance modify -t sharedfile web");
    let list = "virsh -c qemu:///system dumpxml web.lab | grep -c '<mirror'";
    let mirrored = || c.on("node2", list).stdout.trim() == "2";
    wait_until(LONG, || "both disks being mirrored".into(), mirrored).unwrap();
    c.lab.kill_daemon("node2", "noded").unwrap();
    c.lab.start_daemon("node2", "noded").unwrap();
    c.jobs_end();
    assert_eq!(c.job(job), "success");
    assert_eq!(c.instance("disk_template", "web"), "sharedfile");
    let blocks = c.on("node2", "virsh -c qemu:///system -q domblklist web.lab").stdout;
    assert_eq!(blocks.matches("/srv/ganeti/shared-file-storage/web.lab/").count(), 2, "{blocks}");
    assert_eq!(where_files_are(&c), Vec::<String>::new());
    let now = guest::wait_for(&c.lab, WEB, LONG, |answer| answer.count > born.count).unwrap();
    assert_eq!(now.boot, born.boot);
    c.verify();

    // The mirrors break, and break again: the guest goes on where it was.
    let job = c.submit("gnt-instance modify -t file web");
    for _ in 0..2 {
        wait_until(LONG, || "both disks being mirrored".into(), mirrored).unwrap();
        c.on("node2", "virsh -c qemu:///system blockjob web.lab vdb --abort");
        let over = || c.on("node2", list).stdout.trim() != "2";
        wait_until(LONG, || "the mirrors' end".into(), over).unwrap();
    }
    c.jobs_end();
    assert_eq!(c.job(job), "error");
    assert_eq!(c.instance("disk_template", "web"), "sharedfile");
    assert_eq!(where_files_are(&c), Vec::<String>::new(), "the new disks are gone");
    let now = guest::wait_for(&c.lab, WEB, LONG, |answer| answer.count > now.count).unwrap();
    assert_eq!(now.boot, born.boot);
    // The node knows what the guest holds: a disk that is removed is unplugged first.
    c.ok("gnt-instance modify --disk 1:remove web");
    c.verify();
}
