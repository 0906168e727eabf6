//! Disks that only one node has, copied to another while their guest writes to them.
//!
//! The guest has two disks of noise. A loop in its shell writes to the first half of each all the
//! time; the second half is not touched. At the end what the guest reads, past its own cache, must
//! be what the files on the target hold, and the second half what it always was. The target's raw
//! file is full of other data before, so that nothing may be left out because it "is zero".

use super::*;

/// Of each disk of noise, and of its half.
const SIZE: &str = "32M";
const HALF: &str = "16M";
/// 64 KiB pieces in a half.
const PIECES: u32 = 256;

/// What the test knows of a disk of noise.
struct Noise {
    disk: Disk,
    /// MD5 of the half that is not written to.
    still: String,
}

impl Guests {
    fn on(&self, node: usize, script: &str) -> String {
        self.lab.check(&format!("node{node}"), &["sh", "-ec", script]).unwrap().trim().to_owned()
    }

    /// A disk full of noise on node1, ready to be copied over on node2.
    fn noise(&self, guest: &GuestSpec, index: u32, qcow2: bool) -> Noise {
        let path = format!("{LOCAL}/{}.disk{index}", guest.name);
        self.on(1, &format!("head -c {SIZE} /dev/urandom >{path}.raw"));
        let still = self.on(1, &format!("tail -c {HALF} {path}.raw | md5sum | cut -c1-32"));
        match qcow2 {
            true => self.on(1, &format!("qemu-img convert -O qcow2 {path}.raw {path}")),
            false => self.on(1, &format!("cp {path}.raw {path}")),
        };
        let uuid = Uuid::from_u128(100 + u128::from(index)).into();
        let disk = Disk { index, uuid, path: path.into(), shared: false, qcow2 };
        self.blank(2, &disk);
        Noise { disk, still }
    }

    /// Makes a disk that is to be copied over: an image without data, or a file of other data.
    fn blank(&self, node: usize, disk: &Disk) {
        let path = disk.path.display();
        match disk.qcow2 {
            true => {
                self.on(node, &format!("rm -f {path}; qemu-img create -q -f qcow2 {path} {SIZE}"))
            }
            false => {
                let size = match disk.index {
                    0 => std::fs::metadata(format!("{TINY}/disk.img")).unwrap().len().to_string(),
                    _ => SIZE.to_owned(),
                };
                self.on(
                    node,
                    &format!("rm -f {path}; head -c {size} /dev/zero | tr '\\0' x >{path}"),
                )
            }
        };
    }

    /// Reads the guest's console on a node, as somebody at it would: QEMU hears what is typed only
    /// while it is open. Ends with the guest.
    fn attend(&self, node: usize, guest: &GuestSpec) {
        let tty = format!("$(virsh -c qemu:///system -q ttyconsole {})", guest.name);
        self.on(node, &format!("tty={tty}; setsid cat $tty >/dev/null 2>&1 </dev/null &"));
    }

    /// Types a line into the guest's console.
    fn types(&self, node: usize, guest: &GuestSpec, line: &str) {
        let tty = format!("$(virsh -c qemu:///system -q ttyconsole {})", guest.name);
        self.on(node, &format!("printf '%s\\n' '{line}' >{tty}"));
    }

    /// Lets the guest write to its disks of noise, on and on.
    fn let_write(&self, node: usize, guest: &GuestSpec) {
        let one = |disk: &str| {
            format!(
                "dd if=/dev/urandom of=/dev/{disk} bs=64k count=1 seek=$((n % {PIECES})) \
                 oflag=direct conv=notrunc 2>/dev/null; "
            )
        };
        let line = format!(
            "( n=0; while :; do n=$((n+1)); {}{}echo $n >/tmp/written; done ) & writer=$!",
            one("vdb"),
            one("vdc")
        );
        self.types(node, guest, &line);
    }

    /// What the guest answers to `echo WORD:…:`, asked only once.
    fn answer(&self, node: usize, guest: &GuestSpec, word: &str, command: &str) -> String {
        // The echo of the line that was typed must not be taken for the answer.
        self.types(node, guest, &format!("x={word}; echo $x:$({command}):"));
        let log = format!("/var/log/ganeti/console/{}.log", guest.name);
        let mut found = None;
        let answered = || {
            let text = self.lab.exec(&format!("node{node}"), &["cat", &log]).unwrap().stdout;
            let start = format!("{word}:");
            found = text.lines().rev().find_map(|line| {
                let (_, rest) = line.split_once(&start)?;
                rest.split_once(':').map(|(answer, _)| answer.to_owned())
            });
            found.is_some()
        };
        wait_until(LONG, || format!("the guest's answer to {command}"), answered).unwrap();
        found.unwrap()
    }

    /// The guest stops writing; what it has is compared with what is in the files of the node.
    fn compare(&self, node: usize, guest: &GuestSpec, noise: &[Noise], round: &str) {
        self.types(node, guest, "kill $writer; wait $writer");
        for Noise { disk, still } in noise {
            let name = if disk.index == 1 { "vdb" } else { "vdc" };
            let read =
                format!("dd if=/dev/{name} bs=1M iflag=direct 2>/dev/null | md5sum | cut -c1-32");
            let guests = self.answer(node, guest, &format!("sum{round}{name}"), &read);
            let path = disk.path.display();
            let raw = format!("{path}.now");
            let kind = if disk.qcow2 { "qcow2" } else { "raw" };
            self.on(node, &format!("qemu-img convert -U -f {kind} -O raw {path} {raw}"));
            let ours = self.on(node, &format!("md5sum {raw} | cut -c1-32"));
            assert_eq!(guests, ours, "{kind}: the guest reads what the file on node{node} holds");
            let half = self.on(node, &format!("tail -c {HALF} {raw} | md5sum | cut -c1-32"));
            assert_eq!(half, *still, "{kind}: what was never written is as it was");
            self.on(node, &format!("rm {raw}"));
        }
    }
}

/// A guest at work: it, its disks, those of noise among them.
fn at_work(guests: &Guests, name: &str, bandwidth: u64) -> (GuestSpec, Vec<Disk>, [Noise; 2]) {
    let web = guest(name, &[("migration_bandwidth", json!(bandwidth))]);
    let noise = [guests.noise(&web, 1, false), guests.noise(&web, 2, true)];
    let mut disks = vec![guests.disk(&web, false)];
    disks.extend(noise.iter().map(|n| n.disk.clone()));
    guests.ask(1, &Ask::Start(web.clone(), disks.clone())).unwrap();
    guests.wait_for_count(1, &web, 1);
    guests.attend(1, &web);
    guests.let_write(1, &web);
    let writes = || !guests.answer(1, &web, "first", "cat /tmp/written").is_empty();
    wait_until(LONG, || "the guest writing".into(), writes).unwrap();
    (web, disks, noise)
}

const COPYING: MigrationMode = MigrationMode { live: true, copy_disks: true };

#[test]
#[ignore = "needs root"]
fn a_guest_that_writes_takes_raw_and_qcow2_disks_along() {
    let guests = Guests::up("guest-copied");
    let (web, disks, noise) = at_work(&guests, "copied.lab", 0);
    let (boot, count) = guests.wait_for_count(1, &web, 1);
    let began = Instant::now();
    let (steps, moved) = guests.migrate(1, &web, &disks, COPYING);
    moved.unwrap();
    let words: Vec<_> = steps.iter().filter_map(|step| step.message.clone()).collect();
    println!("moved with its disks in {:?}: {words:#?}", began.elapsed());
    assert!(words.iter().any(|words| words.contains("disks left")), "{words:?}");
    let (now, _) = guests.wait_for_count(2, &web, count);
    assert_eq!((now, guests.runs(&web)), (boot, (false, true)));
    guests.attend(2, &web);
    let during = guests.answer(2, &web, "written", "cat /tmp/written");
    println!("the guest wrote {during} pieces to each disk");
    guests.compare(2, &web, &noise, "a");
    let left = guests.on(1, "ls /run/ganeti/migration");
    assert_eq!(left, "");
}

#[test]
#[ignore = "needs root"]
fn copying_disks_that_is_given_up_leaves_the_guest_with_those_it_had() {
    let guests = Guests::up("guest-cabort");
    // Too slow to end by itself.
    let (web, disks, noise) = at_work(&guests, "cabort.lab", 1);
    let token = "secret".to_owned();
    guests.ask(2, &Ask::Accept(web.clone(), disks.clone(), token.clone())).unwrap();
    let copying = Ask::Run(web.clone(), disks.clone(), ip(2), token.clone(), COPYING);
    let mut run = guests.begin(1, &copying);
    let Some(Line::Progress(step)) = run.line() else { panic!("no progress") };
    println!("{step:?}");
    drop(run);
    let gone = || guests.info(2, &web).is_none();
    wait_until(LONG, || "nothing on node2".into(), gone).unwrap();
    guests.ask(2, &Ask::Finish(web.clone(), token, false)).unwrap();
    // No job of the hypervisor is left on any disk: they can be changed and removed.
    for name in ["vda", "vdb", "vdc"] {
        let job = format!("virsh -c qemu:///system blockjob --info copied.lab {name} 2>&1 || true");
        let job = guests.on(1, &job.replace("copied.lab", &web.name));
        assert!(!job.contains("Copy"), "{name}: {job}");
    }
    assert_eq!(guests.runs(&web), (true, false));
    guests.compare(1, &web, &noise, "a");
}

#[test]
#[ignore = "needs root"]
fn noded_may_die_at_any_moment_of_copying_disks() {
    let mut guests = Guests::up("guest-csweep");
    let (web, disks, noise) = at_work(&guests, "csweep.lab", 0);
    let (boot, mut count) = guests.wait_for_count(1, &web, 1);
    let (mut from, mut survived) = (1, 0);
    for moment in 0..10 {
        let to = 3 - from;
        let token = format!("secret{moment}");
        guests.ask(to, &Ask::Accept(web.clone(), disks.clone(), token.clone())).unwrap();
        let run = Ask::Run(web.clone(), disks.clone(), ip(to), token.clone(), COPYING);
        let first = guests.begin(from, &run);
        // The moment is what is varied; nothing is waited for.
        std::thread::sleep(Duration::from_millis(100 + moment / 2 * 500));
        let dies = if moment % 2 == 0 { from } else { to };
        guests.kill_agent(dies);
        let ended = first.end().1;
        guests.start_agent(dies);
        assert_ne!(guests.runs(&web), (true, true), "moment {moment}: it runs twice");
        if let Err(error) = ended {
            println!("moment {moment}, node{dies}: {error}");
            survived += 1;
            guests.ask(from, &run).unwrap();
        }
        guests.ask(to, &Ask::Finish(web.clone(), token, true)).unwrap();
        assert_eq!(guests.runs(&web), (to == 1, to == 2), "moment {moment}");
        let (now, counted) = guests.wait_for_count(to, &web, count);
        assert_eq!(now, boot, "moment {moment}");
        guests.attend(to, &web);
        guests.compare(to, &web, &noise, &moment.to_string());
        guests.let_write(to, &web);
        disks.iter().for_each(|disk| guests.blank(from, disk));
        (from, count) = (to, counted);
    }
    println!("{survived} of 10 migrations were broken and taken up again");
    assert!(survived > 0);
}
