//! Disks on external storage: providers in the style of published ones, broken ones, and the `loop`
//! provider with real devices.

use roost_noded::block::{Device, Work, ext_providers};
use roost_noded::hypervisor::Source;
use roost_noded::steps::Reporter;
use roost_proto::error::Error;
use roost_proto::names::InstanceName;
use roost_proto::node::{BlockState, DiskRole, InstanceRef};
use roost_proto::objects::Disk;
use roost_proto::paths::Paths;
use serde_json::json;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

struct Node {
    root: tempfile::TempDir,
    work: Work,
}

/// Copies a provider as it is, links too.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("directory");
    for entry in fs::read_dir(from).expect("a provider").flatten() {
        let target = to.join(entry.file_name());
        match fs::read_link(entry.path()) {
            Ok(link) => symlink(link, target).expect("link"),
            Err(_) => drop(fs::copy(entry.path(), target).expect("copy")),
        }
    }
}

impl Node {
    fn new() -> Node {
        let root = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(root.path().to_owned()));
        fs::create_dir_all(root.path().join("pool")).expect("pool");
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        for name in ["pool", "multi"] {
            let from = here.join("tests/extstorage").join(name);
            copy(&from, &paths.es_search_path()[0].join(name));
        }
        let from = here.join("../extstorage/providers/loop");
        copy(&from, &paths.es_search_path()[3].join("loop"));
        let instance = InstanceRef {
            uuid: "11111111-0000-4000-8000-000000000000".parse().expect("uuid"),
            name: InstanceName::new("web1.example.com").expect("name"),
        };
        let work = Work {
            paths,
            node: "00000000-0000-4000-8000-000000000001".parse().expect("uuid"),
            instance: Some(instance),
            undo: false,
            reporter: Reporter::silent(),
            budget: Default::default(),
        };
        Node { root, work }
    }

    fn undo(&self) -> Work {
        Work { undo: true, ..self.work.clone() }
    }

    fn pool(&self) -> PathBuf {
        self.root.path().join("pool")
    }

    fn disk(&self, provider: &str, n: u32) -> Disk {
        let name = if provider == "loop" { "dir" } else { "pool" };
        serde_json::from_value(json!({
            "uuid": format!("22222222-0000-4000-8000-{n:012}"), "dev_type": "ext", "size": 8,
            "logical_id": [provider, format!("u{n}.ext.disk0")], "iv_name": "disk/0", "name": "root",
            "params": {"access": "userspace", name: self.pool()},
        }))
        .expect("a disk")
    }

    fn device(&self, disk: &Disk) -> Device {
        Device::of(disk, &self.work).expect("a device")
    }

    /// Replaces a script of a provider.
    fn script(&self, provider: &str, script: &str, text: &str) {
        let path = self.work.paths.es_search_path()[0].join(provider).join(script);
        let _ = fs::remove_file(&path);
        fs::write(&path, text).expect("script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
    }

    /// What scripts were called since the last time.
    fn calls(&self) -> Vec<String> {
        let path = self.pool().join("calls");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        text.lines().map(str::to_owned).collect()
    }

    fn has(&self, file: &str) -> bool {
        self.pool().join(file).exists()
    }

    async fn state(&self, disk: &Disk) -> BlockState {
        self.device(disk).status(&self.work).await.expect("status").state
    }

    /// Makes a volume by hand.
    fn foreign(&self, name: &str) {
        fs::write(self.pool().join(name), vec![7; 8 << 20]).expect("volume");
    }
}

fn refused<T: std::fmt::Debug>(done: Result<T, Error>) -> String {
    done.expect_err("it must fail").message
}

#[tokio::test]
async fn a_published_provider_runs_unchanged() {
    let node = Node::new();
    let mut disk = node.disk("pool", 1);
    disk.params.insert("mode".into(), "thin".into());
    let device = node.device(&disk);
    let work = &node.work;
    assert_eq!(node.state(&disk).await, BlockState::Inactive);
    device.create(work).await.expect("made");
    let calls = node.calls();
    let all = "EXTP_MODE=thin VOL_CNAME=root VOL_NAME=u1.ext.disk0";
    let id = "VOL_UUID=22222222-0000-4000-8000-000000000001";
    assert_eq!(calls.last(), Some(&format!("create {all} VOL_SIZE=8 {id} ")));
    device.create(work).await.expect("made already");
    assert!(!node.calls().iter().any(|call| call.starts_with("create")), "not made twice");
    device.assemble(DiskRole::Primary, work).await.expect("attached");
    let metadata = "VOL_METADATA=originstname+web1.example.com";
    let calls = node.calls();
    assert!(calls.contains(&format!(
        "setinfo EXTP_MODE=thin VOL_CNAME=root {metadata} VOL_NAME=u1.ext.disk0 {id} "
    )));
    assert_eq!(node.state(&disk).await, BlockState::Active);
    let uri = format!("file:{}", node.pool().join("u1.ext.disk0").display());
    let told = device.status(work).await.expect("status");
    assert_eq!((told.path.as_ref(), told.major_minor), (Some(&uri), None));
    let place = device.place(work).await.expect("a place");
    assert_eq!((place.source, place.shared), (Source::Uri(uri), true));
    device.grow(16, work).await.expect("grown");
    assert_eq!(fs::metadata(node.pool().join("u1.ext.disk0")).expect("there").len(), 16 << 20);
    device.grow(16, work).await.expect("grown already");
    let calls = node.calls();
    let grows: Vec<_> = calls.iter().filter(|call| call.starts_with("grow")).collect();
    assert_eq!(grows, [&format!("grow {all} VOL_NEW_SIZE=16 VOL_SIZE=8 {id} ")]);
    device.shutdown(work).await.expect("detached");
    refused(device.place(work).await);
    assert_eq!(node.state(&disk).await, BlockState::Inactive);
    device.remove(work).await.expect("removed");
    assert!(!node.has("u1.ext.disk0"));
    device.remove(work).await.expect("removed already");
    let logs = fs::read_dir(node.work.paths.es_log_dir()).expect("logs").flatten();
    let logs: Vec<_> = logs.map(|log| log.file_name().into_string().expect("text")).collect();
    assert!(logs.iter().any(|log| log.starts_with("create-pool-u1.ext.disk0-2")), "{logs:?}");
    assert!(!logs.iter().any(|log| log.starts_with("attach")), "{logs:?}");
}

#[tokio::test]
async fn opened_and_closed_as_a_migration_needs_it() {
    let node = Node::new();
    let disk = node.disk("multi", 1);
    let (device, work) = (node.device(&disk), &node.work);
    device.create(work).await.expect("made");
    refused(device.open(true, work).await);
    device.assemble(DiskRole::Primary, work).await.expect("attached");
    device.assemble(DiskRole::Primary, work).await.expect("attached already");
    let opened = node.calls().iter().filter(|call| *call == "open").count();
    assert_eq!(opened, 1, "opened once");
    let how = || fs::read_to_string(node.pool().join("u1.ext.disk0.open")).unwrap_or_default();
    assert_eq!(how(), "exclusive=True\n");
    device.open(false, work).await.expect("shared");
    assert_eq!(how(), "exclusive=False\n");
    device.close(work).await.expect("closed");
    device.close(work).await.expect("closed already");
    assert_eq!(how(), "");
    device.open(true, work).await.expect("opened");
    device.shutdown(work).await.expect("closed and detached");
    assert!(!node.has("u1.ext.disk0.open") && !node.has("u1.ext.disk0.attached"));
    device.shutdown(work).await.expect("detached already");
    device.assemble(DiskRole::Secondary, work).await.expect("attached");
    assert!(!node.has("u1.ext.disk0.open"), "only whoever runs the guest opens it");
    device.grow(12, work).await.expect("grown");
    device.remove(work).await.expect("closed, detached and removed");
    assert!(!node.has("u1.ext.disk0"));
}

#[tokio::test]
async fn snapshots_are_volumes_of_their_own() {
    let node = Node::new();
    let disk = node.disk("multi", 1);
    let (device, work) = (node.device(&disk), &node.work);
    device.create(work).await.expect("made");
    let mut copy = node.disk("multi", 2);
    copy.logical_id =
        roost_proto::objects::LogicalId::Pair("multi".into(), "u1.ext.disk0.snap".into());
    device.snapshot(&copy, work).await.expect("copied");
    device.snapshot(&copy, work).await.expect("copied already");
    assert!(node.has("u1.ext.disk0.snap"));
    node.device(&copy).remove(&node.undo()).await.expect("undone");
    assert!(!node.has("u1.ext.disk0.snap") && node.has("u1.ext.disk0"));
    let plain = node.disk("pool", 3);
    node.device(&plain).create(work).await.expect("made");
    let error = refused(node.device(&plain).snapshot(&node.disk("pool", 4), work).await);
    assert!(error.contains("has no script 'snapshot'"), "{error}");
    let error = refused(device.snapshot(&plain, work).await);
    assert!(error.contains("another provider's"), "{error}");
}

#[tokio::test]
async fn what_was_there_before_is_never_removed_by_an_undo() {
    let node = Node::new();
    node.foreign("u1.ext.disk0");
    let disk = node.disk("pool", 1);
    let device = node.device(&disk);
    let error = refused(device.create(&node.work).await);
    assert!(error.contains("dataset already exists"), "{error}");
    device.remove(&node.undo()).await.expect("nothing to undo");
    assert!(node.has("u1.ext.disk0"), "it is somebody's");
    // A provider may take one that is there: its script says so.
    node.script("pool", "create", "#!/bin/sh\nexit 0\n");
    device.create(&node.work).await.expect("adopted");
    device.remove(&node.undo()).await.expect("left alone");
    assert!(node.has("u1.ext.disk0"), "it was there before");
    device.remove(&node.work).await.expect("the instance is removed for good");
    assert!(!node.has("u1.ext.disk0"));
}

#[tokio::test]
async fn a_failed_create_leaves_nothing() {
    let node = Node::new();
    let disk = node.disk("pool", 1);
    let device = node.device(&disk);
    let half = ". $(dirname $0)/functions; truncate -s 1M $POOL/$VOL_NAME; echo disk full >&2";
    for end in ["exit 5", "kill -9 $$"] {
        node.script("pool", "create", &format!("#!/bin/sh\n{half}\n{end}\n"));
        let error = refused(device.create(&node.work).await);
        assert!(error.contains("create script failed") && error.ends_with("disk full"), "{error}");
        assert!(!node.has("u1.ext.disk0"), "{end}");
        assert_eq!(fs::read_dir(node.work.paths.es_made_dir()).expect("marks").count(), 0);
    }
}

#[tokio::test]
async fn what_a_crash_left_half_made_is_made_again() {
    let node = Node::new();
    let disk = node.disk("pool", 1);
    let device = node.device(&disk);
    // As noded leaves it when it is killed while 'create' is at work.
    let mark = node.work.paths.es_made_dir().join("pool.u1.ext.disk0.json");
    let making = json!({"disk": disk.uuid, "made": false, "existed": false});
    fs::create_dir_all(mark.parent().expect("directory")).expect("directory");
    for left in [0, 1, 8] {
        fs::write(&mark, making.to_string()).expect("mark");
        if left > 0 {
            fs::write(node.pool().join("u1.ext.disk0"), vec![0; left << 20]).expect("half");
        }
        device.create(&node.work).await.expect("made");
        let size = fs::metadata(node.pool().join("u1.ext.disk0")).expect("there").len();
        assert_eq!(size, 8 << 20, "{left} MiB were left");
        device.remove(&node.undo()).await.expect("undone");
        assert!(!node.has("u1.ext.disk0") && !mark.exists());
    }
    // Lost since it was made.
    device.create(&node.work).await.expect("made");
    fs::remove_file(node.pool().join("u1.ext.disk0")).expect("lost");
    device.create(&node.work).await.expect("made again");
    assert!(node.has("u1.ext.disk0"));
    let other = Disk { uuid: node.disk("pool", 2).uuid, ..disk };
    let error = refused(node.device(&other).create(&node.work).await);
    assert!(error.contains("belongs to disk 22222222"), "{error}");
}

#[tokio::test]
async fn a_failed_attach_leaves_nothing_attached() {
    let node = Node::new();
    let disk = node.disk("multi", 1);
    let (device, work) = (node.device(&disk), &node.work);
    device.create(work).await.expect("made");
    node.script("multi", "timeouts.list", "attach 1\n");
    let begun = "#!/bin/sh\ntouch $EXTP_POOL/$VOL_NAME.attached\n";
    for (end, why) in [
        ("echo no path to storage >&2; exit 3", "it said:\nno path to storage"),
        ("echo Attaching now...", r#"must be the path of a block device, or empty, and is "Att"#),
        ("head -c 100000 /dev/urandom", "its output is not text"),
        ("exit 0", "printed neither the path of a block device nor a URI"),
        ("echo /etc/passwd", "'/etc/passwd', which is not an existing block device"),
        ("kill -9 $$", "was killed by signal 9"),
        ("sleep 1000 & echo $! > $EXTP_POOL/pid; wait", "did not end within 1 s"),
    ] {
        node.script("multi", "attach", &format!("{begun}{end}\n"));
        let error = refused(device.assemble(DiskRole::Primary, work).await);
        assert!(error.contains("attach script failed") && error.contains(why), "{error}");
        assert!(error.contains("provider 'multi', volume 'u1.ext.disk0'"), "{error}");
        assert!(!node.has("u1.ext.disk0.attached"), "half attached after: {end}");
        assert_eq!(node.state(&disk).await, BlockState::Inactive);
    }
    let pid = fs::read_to_string(node.pool().join("pid")).expect("pid");
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z"), "all it started is killed: {stat}");
    // What a guest may be using is not detached because attaching it again failed.
    let good = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/extstorage/multi/multi.sh"),
    );
    node.script("multi", "attach", &good.expect("a script"));
    device.assemble(DiskRole::Primary, work).await.expect("attached");
    node.script("multi", "attach", "#!/bin/sh\nexit 1\n");
    refused(device.assemble(DiskRole::Primary, work).await);
    assert!(node.has("u1.ext.disk0.attached"));
}

#[tokio::test]
async fn a_script_that_hangs_holds_up_nothing_else() {
    let node = Node::new();
    let (stuck, free) = (node.disk("pool", 1), node.disk("pool", 2));
    let work = &node.work;
    node.device(&stuck).create(work).await.expect("made");
    let hang = "#!/bin/sh\ncase $VOL_NAME in u1.*) sleep 1000 ;; esac\necho\necho kvm:file:$EXTP_POOL/$VOL_NAME\n";
    node.script("pool", "attach", hang);
    node.script("pool", "timeouts.list", "attach 4\n");
    let began = Instant::now();
    let stuck_device = node.device(&stuck);
    let hanging = stuck_device.assemble(DiskRole::Primary, work);
    let others = async {
        node.device(&free).create(work).await.expect("made");
        node.device(&free).assemble(DiskRole::Primary, work).await.expect("attached");
        node.device(&stuck).status(work).await.expect("told");
        began.elapsed()
    };
    let (hung, took) = tokio::join!(hanging, others);
    assert!(took < Duration::from_secs(4), "held up for {took:?}");
    assert!(refused(hung).contains("did not end within 4 s"));
    // Whether it exists cannot be told, so it is not taken as gone.
    let error = refused(node.device(&stuck).remove(work).await);
    assert!(error.contains("did not end within 4 s"), "{error}");
    assert!(node.has("u1.ext.disk0"));
}

#[tokio::test]
async fn what_is_wrong_with_a_disk_is_said() {
    let node = Node::new();
    let mut disk = node.disk("pool", 1);
    disk.params.insert("color".into(), "red".into());
    let error = refused(node.device(&disk).create(&node.work).await);
    assert!(error.contains("has no parameters color; its 'parameters.list' has: pool"), "{error}");
    let mut disk = node.disk("none", 1);
    let error = refused(node.device(&disk).create(&node.work).await);
    assert!(error.contains("'none' is not on this node; install it below one of"), "{error}");
    disk.logical_id = roost_proto::objects::LogicalId::Pair("pool".into(), "../x".into());
    refused(Device::of(&disk, &node.work));
    let mut disk = node.disk("pool", 1);
    disk.params.insert("access".into(), "kernelspace".into());
    let device = node.device(&disk);
    device.create(&node.work).await.expect("made");
    device.assemble(DiskRole::Primary, &node.work).await.expect("attached");
    let error = refused(device.place(&node.work).await);
    assert!(error.contains("set the disk parameter access=userspace"), "{error}");
    fs::remove_file(node.work.paths.es_search_path()[0].join("multi/grow")).expect("broken");
    let found = ext_providers(&node.work.paths).await.expect("a report");
    let said: Vec<_> = found.iter().map(|p| (p.name.as_str(), p.problem.as_str())).collect();
    assert_eq!(said, [("loop", ""), ("multi", "its script 'grow' is missing"), ("pool", "")]);
}

/// With real devices.
#[tokio::test]
async fn the_loop_provider() {
    if !nix::unistd::Uid::effective().is_root() || !Path::new("/dev/loop-control").exists() {
        eprintln!("skipped: it needs root and loop devices");
        return;
    }
    let node = Node::new();
    let mut disk = node.disk("loop", 1);
    disk.params.insert("access".into(), "kernelspace".into());
    let (device, work) = (node.device(&disk), &node.work);
    device.create(work).await.expect("made");
    device.create(work).await.expect("made already");
    device.assemble(DiskRole::Primary, work).await.expect("attached");
    let Source::Block(path) = device.place(work).await.expect("a place").source else {
        panic!("a block device")
    };
    device.assemble(DiskRole::Primary, work).await.expect("attached already");
    assert_eq!(device.place(work).await.expect("a place").source, Source::Block(path.clone()));
    let status = device.status(work).await.expect("status");
    assert_eq!((status.state, status.size), (BlockState::Active, Some(8)));
    assert!(status.major_minor.is_some());
    let open = |path: &Path| fs::OpenOptions::new().read(true).write(true).open(path);
    let write = |path: &Path, byte: u8| {
        let file = open(path).expect("open");
        file.write_all_at(&[byte; 4096], 4 << 20).expect("write");
        file.sync_all().expect("sync");
    };
    let read = |path: &Path| {
        let mut data = [0; 4096];
        fs::File::open(path).expect("open").read_exact_at(&mut data, 4 << 20).expect("read");
        (data[0], data[4095])
    };
    write(&path, 42);
    device.grow(16, work).await.expect("grown");
    assert_eq!(device.status(work).await.expect("status").size, Some(16));
    let mut copy = node.disk("loop", 2);
    copy.params.insert("access".into(), "kernelspace".into());
    device.snapshot(&copy, work).await.expect("copied");
    write(&path, 43);
    device.close(work).await.expect("closed");
    // Some kernels refuse to open it, others to write.
    let written = open(&path).and_then(|file| file.write_all_at(&[44; 4096], 4 << 20));
    assert_eq!(written.expect_err("closed").kind(), std::io::ErrorKind::PermissionDenied);
    device.open(true, work).await.expect("opened");
    device.shutdown(work).await.expect("detached");
    device.shutdown(work).await.expect("detached already");
    assert_eq!(node.state(&disk).await, BlockState::Inactive);
    device.assemble(DiskRole::Primary, work).await.expect("attached");
    let Source::Block(path) = device.place(work).await.expect("a place").source else {
        panic!("a block device")
    };
    assert_eq!(read(&path), (43, 43), "data stays");
    let snapshot = node.device(&copy);
    snapshot.assemble(DiskRole::Primary, work).await.expect("attached");
    let place = snapshot.place(work).await.expect("a place");
    assert_eq!(read(place.source.path().expect("a device")), (42, 42), "as of then");
    snapshot.wipe(work).await.expect("wiped");
    assert_eq!(read(place.source.path().expect("a device")), (0, 0));
    snapshot.remove(work).await.expect("removed");
    device.remove(work).await.expect("removed");
    device.remove(work).await.expect("removed already");
    let left: Vec<_> = fs::read_dir(node.pool()).expect("pool").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}
