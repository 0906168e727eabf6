//! Disks on external storage in whole clusters: with real devices, and with a provider that has its
//! moods.

use crate::cluster::{Cluster, SOON};
use roost_tests::lab::{Hypervisor, Options, wait_until};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Does what the file `mood` beside the volumes says, then what the real script does.
const MOODY: &str = r#"#!/bin/sh
script=${0##*/}
case "$script $(cat "$EXTP_DIR/mood" 2>/dev/null)" in
  "attach hang") sleep 1000 ;;
  "attach fail") echo no path to the storage >&2; exit 7 ;;
  "attach nonsense") ./attach.real >/dev/null; echo Attaching; exit 0 ;;
  "attach half") ./attach.real >/dev/null; kill -9 $$ ;;
  "create slow") echo making >"$EXTP_DIR/making"; ./create.real; sleep 1000 ;;
esac
exec "./$script.real"
"#;

/// Where volumes are: not where `gnt-cluster verify` looks for files.
fn dir(name: &str) -> String {
    format!("/srv/ganeti/shared-file-storage/.{name}-{}", std::process::id())
}

/// A cluster whose nodes have the provider `loop`, and `moody`, which is `loop` with moods.
fn cluster(name: &str) -> (Cluster, tempfile::TempDir) {
    let providers = tempfile::tempdir().unwrap();
    let options = Options { hypervisor: Hypervisor::Fake, nodes: 2, ..Options::new(name) };
    for provider in ["loop", "moody"] {
        let to = providers.path().join(provider);
        fs::create_dir(&to).unwrap();
        for entry in fs::read_dir(options.ext_dir.join("loop")).unwrap().flatten() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    let moody = providers.path().join("moody");
    for script in ["attach", "create"] {
        let path = moody.join(script);
        fs::rename(&path, moody.join(format!("{script}.real"))).unwrap();
        fs::write(&path, MOODY).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(moody.join("timeouts.list"), "attach 6\n").unwrap();
    let c = Cluster::with(Options { ext_dir: providers.path().into(), ..options });
    c.ok("gnt-cluster modify --enabled-disk-templates=ext,file,diskless");
    (c, providers)
}

fn add(provider: &str, dir: &str, name: &str) -> String {
    format!(
        "gnt-instance add -t ext --disk 0:size=1G,provider={provider},dir={dir} -o noop -n node1 \
         --no-start --no-install {name}.lab"
    )
}

/// Volumes of a directory that are attached anywhere.
fn attached(c: &Cluster, dir: &str) -> usize {
    c.ok("losetup --noheadings --output BACK-FILE").lines().filter(|l| l.contains(dir)).count()
}

fn volumes(c: &Cluster, dir: &str) -> usize {
    c.ok(&format!("ls {dir}")).lines().filter(|file| file.ends_with(".img")).count()
}

#[test]
fn an_instance_on_external_storage() {
    if !Path::new("/dev/loop-control").exists() {
        eprintln!("skipped: this kernel has no loop devices");
        return;
    }
    let (c, _providers) = cluster("t-external");
    let dir = dir("external");
    let told = c.ok("gnt-storage diagnose");
    assert!(told.contains("Provider: loop\n  For node: node1.lab --> valid"), "{told}");
    assert!(told.contains("  For nodegroup: default --> valid\n"), "{told}");
    c.refused(&add("loop,color=red", &dir, "bad"), 1, &["color", "loop"]);
    c.refused(&add("none", &dir, "bad"), 1, &["'none'"]);
    assert_eq!(c.instances().len(), 0);
    c.ok(&add("loop", &dir, "web"));
    assert_eq!((volumes(&c, &dir), attached(&c, &dir)), (1, 0));
    c.ok("gnt-instance startup web");
    assert_eq!(attached(&c, &dir), 1);
    c.ok("gnt-instance migrate -f -n node2 web");
    c.wait_for("web", "pnode", "node2.lab");
    assert_eq!(attached(&c, &dir), 1);
    c.ok("gnt-instance grow-disk web 0 512M");
    assert_eq!(c.instance("disk.sizes", "web"), "1536");
    c.ok("gnt-instance failover -f -n node1 web");
    assert_eq!(attached(&c, &dir), 1);
    c.verify();
    c.ok("gnt-instance shutdown --timeout=0 web");
    assert_eq!(attached(&c, &dir), 0);
    c.ok("gnt-instance remove -f web");
    assert_eq!((volumes(&c, &dir), attached(&c, &dir)), (0, 0));
}

#[test]
fn a_provider_in_a_bad_mood() {
    if !Path::new("/dev/loop-control").exists() {
        eprintln!("skipped: this kernel has no loop devices");
        return;
    }
    let (c, _providers) = cluster("t-moody");
    let dir = dir("moody");
    let mood = |mood: &str| c.ok(&format!("mkdir -p {dir}; echo {mood} >{dir}/mood"));
    c.ok(&add("moody", &dir, "sad"));
    c.ok(&add("loop", &dir, "glad"));
    for (how, why) in [
        ("fail", "no path to the storage"),
        ("nonsense", "must be the path of a block device"),
        ("half", "was killed by signal 9"),
    ] {
        mood(how);
        c.refused("gnt-instance startup sad", 1, &["attach script failed", why]);
        assert_eq!(attached(&c, &dir), 0, "half attached after: {how}");
    }
    mood("hang");
    std::thread::scope(|threads| {
        let stuck = threads.spawn(|| {
            let began = Instant::now();
            c.refused("gnt-instance startup sad", 1, &["did not end within 6 s"]);
            began
        });
        let began = Instant::now();
        c.ok("gnt-instance startup glad");
        c.ok("gnt-instance shutdown --timeout=0 glad");
        c.ok("gnt-storage diagnose");
        let took = began.elapsed();
        let hung = stuck.join().unwrap().elapsed();
        assert!(took < hung, "others took {took:?}, the one that hung {hung:?}");
    });
    assert_eq!(attached(&c, &dir), 0);
    mood("good");
    c.ok("gnt-instance startup sad");
    assert_eq!(attached(&c, &dir), 1);
    c.ok("gnt-instance remove -f --shutdown-timeout=0 sad");
    assert_eq!((volumes(&c, &dir), attached(&c, &dir)), (1, 0));

    // noded dies while a script is at work, and comes back while that still is.
    mood("slow");
    std::thread::scope(|threads| {
        let making = threads.spawn(|| c.run(&add("moody", &dir, "new")));
        let begun = || c.run(&format!("test -e {dir}/making")).ok();
        wait_until(SOON, || "the script at work".into(), begun).unwrap();
        c.lab.kill_daemon("node1", "noded").unwrap();
        mood("good");
        c.lab.start_daemon("node1", "noded").unwrap();
        let made = making.join().unwrap();
        assert_eq!(made.code, 0, "{}\n{}", made.stdout, made.stderr);
    });
    assert_eq!((volumes(&c, &dir), attached(&c, &dir)), (2, 0));
    let left = c.run(&format!("grep -l {dir} /proc/*/environ 2>/dev/null"));
    assert_eq!(left.stdout, "", "the script of noded's former life is gone");
    for name in ["new", "glad"] {
        c.ok(&format!("gnt-instance remove -f {name}"));
    }
    assert_eq!((volumes(&c, &dir), attached(&c, &dir)), (0, 0));
    // Nothing took longer than it had to.
    wait_until(
        Duration::from_secs(5),
        || "a clean cluster".into(),
        || c.run("gnt-cluster verify").ok(),
    )
    .unwrap();
}
