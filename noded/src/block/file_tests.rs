use super::*;
use crate::steps::Reporter;
use serde_json::json;

struct Node {
    root: tempfile::TempDir,
    work: Work,
}

const A: &str = "11111111-0000-4000-8000-00000000000a";
const B: &str = "11111111-0000-4000-8000-00000000000b";

fn node() -> Node {
    let root = tempfile::tempdir().expect("directory");
    let paths = Paths::new(Some(root.path().to_owned()));
    fs::create_dir_all(paths.data_dir()).expect("data");
    fs::create_dir_all(paths.absolute("/srv/files")).expect("storage");
    fs::write(paths.ssconf("file_storage_dir"), "/srv/files\n").expect("ssconf");
    let node = A.parse().expect("uuid");
    Node {
        root,
        work: Work {
            paths,
            node,
            instance: None,
            undo: false,
            reporter: Reporter::silent(),
            budget: Default::default(),
        },
    }
}

impl Node {
    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join("srv/files").join(path)
    }

    /// Everything below the storage directory.
    fn left(&self) -> Vec<String> {
        fn walk(dir: &Path, base: &Path, all: &mut Vec<String>) {
            for entry in fs::read_dir(dir).expect("list").flatten() {
                let path = entry.path();
                all.push(path.strip_prefix(base).expect("below").display().to_string());
                if path.is_dir() {
                    walk(&path, base, all);
                }
            }
        }
        let mut all = vec![];
        walk(&self.path(""), &self.path(""), &mut all);
        all.sort();
        all
    }
}

fn disk(uuid: &str, path: &str, size: u64, format: &str) -> Disk {
    serde_json::from_value(json!({
        "uuid": uuid, "dev_type": "file", "size": size,
        "logical_id": ["loop", format!("/srv/files/{path}")],
        "params": {"format": format},
    }))
    .expect("a disk")
}

fn device(node: &Node, disk: &Disk) -> FileDisk {
    FileDisk::of(disk, &node.work.paths).expect("a file")
}

#[tokio::test]
async fn a_disk_is_made_once_and_removed_with_its_directory() {
    for format in ["raw", "qcow2"] {
        let node = node();
        let work = &node.work;
        let disk = device(&node, &disk(A, "i1/disk0", 64, format));
        assert_eq!(disk.status(work).await.expect("status").state, BlockState::Missing);
        for _ in 0..2 {
            disk.create(work).await.expect("create");
        }
        disk.assemble(DiskRole::Primary, work).await.expect("assemble");
        let status = disk.status(work).await.expect("status");
        assert_eq!((status.state, status.size), (BlockState::Active, Some(64)), "{format}");
        assert_eq!(status.path, Some(node.path("i1/disk0").display().to_string()));
        assert_eq!(node.left(), ["i1", "i1/.disk0.roost", "i1/disk0"]);
        disk.wipe(work).await.expect("wipe");
        for size in [128, 128, 100] {
            disk.grow(size, work).await.expect("grow");
        }
        assert_eq!(disk.status(work).await.expect("status").size, Some(128), "{format}");
        for _ in 0..2 {
            disk.remove(work).await.expect("remove");
            assert_eq!(node.left(), Vec::<String>::new());
        }
    }
}

#[tokio::test]
async fn a_foreign_file_is_never_touched() {
    let node = node();
    fs::create_dir(node.path("i1")).expect("directory");
    fs::write(node.path("i1/disk0"), "precious").expect("file");
    let wanted = device(&node, &disk(A, "i1/disk0", 1, "raw"));
    let error = wanted.create(&node.work).await.expect_err("it exists");
    assert!(error.message.contains("exists and is not this disk's"), "{error}");
    let undo = Work { undo: true, ..node.work.clone() };
    wanted.remove(&undo).await.expect("undone");
    assert_eq!(fs::read(node.path("i1/disk0")).expect("still there"), b"precious");

    let mine = device(&node, &disk(A, "i2/disk0", 1, "raw"));
    mine.create(&node.work).await.expect("create");
    let other = device(&node, &disk(B, "i2/disk0", 1, "raw"));
    let error = other.create(&node.work).await.expect_err("it is A's");
    assert!(error.message.contains(&format!("but disk {A}'s")), "{error}");
    other.assemble(DiskRole::Primary, &node.work).await.expect_err("it is A's");
    other.remove(&node.work).await.expect("B's is not there");
    assert_eq!(other.status(&node.work).await.expect("status").state, BlockState::Faulty);
    assert!(node.path("i2/disk0").exists());
}

#[tokio::test]
async fn a_file_of_ganetis_is_adopted_and_removed() {
    let node = node();
    fs::create_dir(node.path("i1")).expect("directory");
    fs::write(node.path("i1/disk0"), vec![0; 1 << 20]).expect("file");
    let disk = device(&node, &disk(A, "i1/disk0", 1, "raw"));
    disk.assemble(DiskRole::Primary, &node.work).await.expect("adopted");
    assert_eq!(marker::owner(&disk.path, disk.disk), Ok(Owner::Ours));
    marker::clear(&disk.path).expect("mark lost");
    disk.remove(&node.work).await.expect("removed as the configuration says");
    assert_eq!(node.left(), Vec::<String>::new());
}

#[tokio::test]
async fn a_disk_that_does_not_fit_leaves_nothing() {
    let node = node();
    for format in ["raw", "qcow2"] {
        // Larger than any file may be.
        let disk = device(&node, &disk(A, "i1/disk0", 1 << 43, format));
        disk.create(&node.work).await.expect_err("too large");
        assert_eq!(node.left(), Vec::<String>::new(), "{format}");
    }
}

#[tokio::test]
async fn a_disk_cut_short_by_a_crash_is_finished() {
    let node = node();
    let wanted = device(&node, &disk(A, "i1/disk0", 8, "raw"));
    fs::create_dir(node.path("i1")).expect("directory");
    marker::set(&wanted.path, wanted.disk).expect("mark");
    wanted.create(&node.work).await.expect("marked, but not made");
    File::create(&wanted.path).and_then(|f| f.set_len(1 << 20)).expect("short");
    wanted.create(&node.work).await.expect("made, but short");
    assert_eq!(fs::metadata(&wanted.path).expect("stat").len(), 8 << 20);
    let smaller = device(&node, &disk(A, "i1/disk0", 4, "raw"));
    let error = smaller.create(&node.work).await.expect_err("larger than wanted");
    assert!(error.message.contains("has 8 MiB, not 4"), "{error}");
}

#[tokio::test]
async fn data_moves_with_a_rename_and_stays_with_a_snapshot() {
    let node = node();
    let work = &node.work;
    let old = device(&node, &disk(A, "i1/disk0", 1, "raw"));
    let new = disk(A, "i2/disk0", 1, "raw");
    old.create(work).await.expect("create");
    fs::write(&old.path, "data").expect("write");
    for _ in 0..2 {
        old.rename(&new, work).await.expect("rename");
        assert_eq!(node.left(), ["i2", "i2/.disk0.roost", "i2/disk0"]);
    }
    let new = device(&node, &new);
    let copy = disk(B, "i3/disk0", 1, "raw");
    new.snapshot(&copy, work).await.expect("snapshot");
    assert_eq!(fs::read(node.path("i3/disk0")).expect("read"), b"data");
    assert_eq!(fs::read(node.path("i2/disk0")).expect("read"), b"data");
    let error = new.rename(&copy, work).await.expect_err("in the way");
    assert!(error.message.contains("that exists"), "{error}");
}

#[tokio::test]
async fn wiped_data_reads_as_zeros() {
    let node = node();
    let disk = device(&node, &disk(A, "i1/disk0", 1, "raw"));
    disk.create(&node.work).await.expect("create");
    fs::write(&disk.path, vec![7; 1 << 20]).expect("write");
    disk.wipe(&node.work).await.expect("wipe");
    assert_eq!(fs::read(&disk.path).expect("read"), vec![0; 1 << 20]);
    fs::write(&disk.path, vec![7; 1 << 20]).expect("write");
    let file = OpenOptions::new().write(true).open(&disk.path).expect("open");
    disk.write_zeros(file, 1 << 20, &node.work).expect("zeros");
    assert_eq!(fs::read(&disk.path).expect("read"), vec![0; 1 << 20]);
}

#[tokio::test]
async fn a_missing_disk_says_what_to_do() {
    let node = node();
    let disk = device(&node, &disk(A, "i1/disk0", 1, "raw"));
    for error in [
        disk.assemble(DiskRole::Primary, &node.work).await.expect_err("missing"),
        disk.place(&node.work).await.expect_err("missing"),
        disk.grow(2, &node.work).await.expect_err("missing"),
    ] {
        assert!(error.message.contains("recreate-disks"), "{error}");
    }
}
