use super::*;
use proptest::prelude::*;

const MOUNTS: &str = include_str!("../../../../fixtures/proc/mounts");
const GIB: u64 = 1 << 30;

fn mount(point: &str) -> Mount {
    // Of two on top of each other the upper one.
    parse(MOUNTS).into_iter().rfind(|mount| mount.point == Path::new(point)).unwrap()
}

/// 100 GiB, of which so many are free, all for everybody.
fn usage(free: u64) -> Usage {
    Usage {
        size: 100 * GIB,
        free: free * GIB,
        available: free * GIB,
        inodes: 1000,
        inodes_free: 500,
        read_only: false,
    }
}

#[test]
fn mounts_are_read() {
    let mounts = parse(MOUNTS);
    let disk = mounts.iter().find(|mount| mount.device == "/dev/sdb1").unwrap();
    assert_eq!(disk.point, Path::new("/mnt/my disk"));
    assert!(disk.read_only && !mount("/").read_only);
    assert_eq!(unescaped(r"a\040b\134c\9"), r"a b\c\9");
}

#[test]
fn real_filesystems_are_chosen_once_each() {
    let dirs = ["/", "/var/lib/ganeti", "/srv/ganeti/file-storage", "/var/log/ganeti"];
    let mounts = parse(MOUNTS);
    let needed = needed(&mounts, &dirs.map(PathBuf::from));
    let names: Vec<&Path> = needed.iter().map(PathBuf::as_path).collect();
    assert_eq!(
        names,
        [Path::new("/"), Path::new("/srv/ganeti/file-storage"), Path::new("/var/lib")]
    );
    let chosen = chosen(mounts, &needed);
    let points: Vec<&str> = chosen.iter().filter_map(|mount| mount.point.to_str()).collect();
    // /var/lib is a mount of the same device as /home; of tmpfs only what is needed.
    assert_eq!(
        points,
        ["/", "/boot", "/var/lib", "/srv/ganeti/file-storage", "/mnt/my disk", "/srv/shared"]
    );
    assert_eq!(chosen[2].kind, "xfs");
    let twice = "/dev/sda1 / ext4 rw 0 0\n/dev/sda1 /var/lib/ganeti ext4 rw 0 0\n\
                 /dev/sda1 /var/log/ganeti ext4 ro 0 0\n";
    let needed = super::needed(&parse(twice), &dirs.map(PathBuf::from));
    let chosen = super::chosen(parse(twice), &needed);
    let points: Vec<&str> = chosen.iter().filter_map(|mount| mount.point.to_str()).collect();
    assert_eq!(points, ["/", "/var/log/ganeti"], "the latter can only be read");
}

#[test]
fn a_needed_filesystem_must_have_room_and_take_changes() {
    let root = mount("/");
    let code = |usage: Usage, needed| judge(&root, needed, Some(&Ok(usage))).code;
    assert_eq!(code(usage(4), true), Code::Ok);
    assert_eq!(code(usage(3), true), Code::Bad);
    assert_eq!(code(usage(0), false), Code::Ok, "not the cluster's business");
    assert_eq!(code(Usage { inodes_free: 30, ..usage(50) }, true), Code::Bad);
    assert_eq!(
        code(Usage { inodes: 0, inodes_free: 0, ..usage(50) }, true),
        Code::Ok,
        "it has none"
    );
    assert_eq!(code(Usage { read_only: true, ..usage(50) }, true), Code::Bad);
    let reserved = Usage { available: 0, ..usage(5) };
    assert_eq!(code(reserved, true), Code::Bad, "the rest is for root");
    let health = judge(&root, true, Some(&Ok(usage(2))));
    assert!(health.message.contains("98 %, 2048 MiB left"), "{health:?}");
}

#[test]
fn one_that_does_not_answer_is_told() {
    let shared = mount("/srv/shared");
    assert_eq!(judge(&shared, false, None).code, Code::Unknown);
    let health = judge(&shared, true, None);
    assert_eq!(health.code, Code::Bad);
    assert!(health.message.contains("is nfs.example.org:/shared reachable"), "{health:?}");
    assert_eq!(judge(&shared, true, Some(&Err("EIO".into()))).code, Code::Bad);
    let report = filesystem(&shared, true, None);
    assert_eq!((report.size, report.read_only), (None, None));
}

#[test]
fn used_is_what_df_says() {
    assert_eq!(used(&usage(25)), Some(75.0));
    let reserved = Usage { available: 20 * GIB, ..usage(25) };
    assert_eq!(used(&reserved), Some(78.9));
    assert_eq!(used(&Usage::default()), None);
}

/// Answers but for paths that contain `hangs`.
fn sometimes(point: &Path) -> Result<Usage, String> {
    let text = point.to_string_lossy();
    if let Some(fifo) = text.strip_prefix("/hangs") {
        // Until somebody writes: as long as the test wishes.
        return std::fs::read(fifo).map(|_| usage(1)).map_err(|e| e.to_string());
    }
    Ok(usage(50))
}

#[tokio::test]
async fn a_mount_that_hangs_holds_up_no_other_and_is_asked_by_one_thread_only() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let hangs = PathBuf::from(format!("/hangs{}", fifo.display()));
    let points = [PathBuf::from("/a"), hangs.clone(), PathBuf::from("/b"), PathBuf::from("/c")];
    let asker = Asker::default();
    let patience = Duration::from_millis(200);
    for _ in 0..3 {
        let answers = asker.ask(&points, sometimes, patience).await;
        let mut found: Vec<&Path> = answers.keys().map(PathBuf::as_path).collect();
        found.sort();
        assert_eq!(found, ["/a", "/b", "/c"].map(Path::new));
        assert_eq!(*asker.busy(), HashSet::from([hangs.clone()]), "one thread waits");
    }
    std::fs::write(&fifo, "go").unwrap();
    while !asker.busy().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn this_machine_has_a_root() {
    let dir = tempfile::tempdir().unwrap();
    let all = Asker::default().filesystems(&Paths::new(Some(dir.path().into()))).await;
    let root = all.iter().find(|one| one.mount == "/").unwrap();
    assert!(root.needed && root.size.unwrap() > 0, "{root:?}");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[ -~\\\\0-7\n]{0,300}", dir in "/[a-z/]{0,20}") {
        let mounts = parse(&text);
        let needed = needed(&mounts, &[PathBuf::from(dir)]);
        chosen(mounts, &needed);
    }

    #[test]
    fn no_numbers_make_it_panic(
        size in any::<u64>(), free in any::<u64>(), available in any::<u64>(), inodes in any::<u64>(),
        inodes_free in any::<u64>(), read_only in any::<bool>(),
    ) {
        let usage = Usage { size, free, available, inodes, inodes_free, read_only };
        let health = judge(&mount("/"), true, Some(&Ok(usage)));
        prop_assert_eq!(health.code == Code::Ok, health.message.is_empty());
    }
}
