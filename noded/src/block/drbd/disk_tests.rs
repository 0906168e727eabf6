//! What a description becomes, before anything is done.

use super::*;
use crate::steps::Reporter;
use serde_json::json;

const A: &str = "00000000-0000-4000-8000-000000000001";
const B: &str = "00000000-0000-4000-8000-000000000002";
const C: &str = "00000000-0000-4000-8000-000000000003";

fn disk() -> Disk {
    let volume = |n: u32, name: &str, size: u64| {
        json!({
            "uuid": format!("22222222-0000-4000-8000-{n:012}"), "dev_type": "plain",
            "logical_id": ["xenvg", name], "size": size, "nodes": [A, B],
        })
    };
    serde_json::from_value(json!({
        "uuid": "22222222-0000-4000-8000-000000000009", "dev_type": "drbd", "size": 1024,
        "iv_name": "disk/0", "logical_id": [A, B, 11003, 4, 7, "the-secret"], "nodes": [A, B],
        "addresses": {A: "10.0.0.1", B: "10.0.0.2"},
        "children": [volume(1, "u.disk0_data", 1024), volume(2, "u.disk0_meta", 128)],
    }))
    .expect("a disk")
}

fn work(node: &str) -> Work {
    let root = tempfile::tempdir().expect("directory");
    let paths = Paths::new(Some(root.keep()));
    fs::create_dir_all(paths.data_dir()).expect("data");
    let names = format!("{A} node1.example.com\n{B} node2.example.com\n");
    fs::write(paths.ssconf("node_uuids"), names).expect("ssconf");
    let node = node.parse().expect("uuid");
    Work {
        paths,
        node,
        instance: None,
        undo: false,
        reporter: Reporter::silent(),
        budget: Default::default(),
    }
}

#[test]
fn each_node_finds_its_side() {
    let work_a = work(A);
    let a = DrbdDisk::of(&disk(), &work_a).expect("a side");
    assert_eq!((a.minor, a.number, a.local.as_deref()), (4, 0, Some("10.0.0.1")));
    assert_eq!(a.peer_name(&work_a.paths), "node2.example.com");
    assert_eq!(a.called(), "'/dev/drbd4'");
    let b = DrbdDisk::of(&disk(), &work(B)).expect("a side");
    assert_eq!((b.minor, b.number, b.remote.as_deref()), (7, 1, Some("10.0.0.1")));
    assert_eq!(b.resource(), "resource7");
    let error = DrbdDisk::of(&disk(), &work(C)).expect_err("no side");
    assert!(error.message.contains("no side on this node"), "{error}");
}

#[test]
fn a_disk_must_stand_on_two_volumes() {
    let alone = Disk { children: vec![], ..disk() };
    let error = DrbdDisk::of(&alone, &work(A)).expect_err("no volumes");
    assert!(error.message.contains("does not stand on"), "{error}");
    let plain = Disk { logical_id: LogicalId::Pair("a".into(), "b".into()), ..disk() };
    let error = DrbdDisk::of(&plain, &work(A)).expect_err("no mirror");
    assert!(error.message.contains("does not say its nodes"), "{error}");
}

#[test]
fn the_secret_is_not_shown() {
    let disk = DrbdDisk::of(&disk(), &work(A)).expect("a side");
    assert!(!format!("{disk:?}").contains("the-secret"));
}

#[tokio::test]
async fn what_meta_data_cannot_describe_is_refused() {
    let large = Disk { size: 5 << 20, ..disk() };
    let work = work(A);
    let error = DrbdDisk::of(&large, &work).expect("a side").create(&work).await;
    let error = error.expect_err("too large");
    assert!(error.message.contains("too large to be mirrored"), "{error}");
    // A little below 4 TiB.
    assert_eq!(LARGEST, (4 << 20) - 1152);
}

#[test]
fn several_names_of_a_device_are_one() {
    let dir = tempfile::tempdir().expect("directory");
    let link = dir.path().join("null");
    std::os::unix::fs::symlink("/dev/null", &link).expect("link");
    let backing =
        super::super::show::Backing { data: link.display().to_string(), meta: "/dev/zero".into() };
    let mut all = [Configured { backing: Some(backing), ..Configured::default() }];
    same_names(&mut all, Path::new("/dev/null"));
    let backing = all[0].backing.as_ref().expect("backing");
    assert_eq!((backing.data.as_str(), backing.meta.as_str()), ("/dev/null", "/dev/zero"));
}
