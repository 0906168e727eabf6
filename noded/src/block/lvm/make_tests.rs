use super::super::stand_in::StandIn;
use super::*;
use crate::steps::Reporter;
use roost_proto::node::InstanceRef;
use roost_proto::objects::Disk;
use roost_proto::paths::Paths;
use serde_json::json;
use std::time::Duration;

/// The disk whose volume one.disk0 is in what was recorded, and another.
const ONE: &str = "22222222-0000-4000-8000-000000000001";
const TWO: &str = "22222222-0000-4000-8000-000000000002";

fn volume(node: &StandIn, disk: &str, name: &str, size: u64) -> Volume {
    let disk: Disk = serde_json::from_value(json!({
        "uuid": disk, "dev_type": "plain", "size": size, "logical_id": ["xenvg", name],
    }))
    .expect("a disk");
    let lvm = node.lvm(Duration::from_secs(60));
    Volume { lvm, ..Volume::of(&disk).expect("a volume") }
}

fn work(undo: bool) -> Work {
    let instance = InstanceRef {
        uuid: "33333333-0000-4000-8000-000000000001".parse().expect("uuid"),
        name: roost_proto::names::InstanceName::new("web.example.com").expect("name"),
    };
    Work {
        paths: Paths::new(None),
        node: "00000000-0000-4000-8000-000000000001".parse().expect("uuid"),
        instance: Some(instance),
        undo,
        reporter: Reporter::silent(),
        budget: Default::default(),
    }
}

#[tokio::test]
async fn a_new_volume_has_its_mark_from_the_first_moment() {
    let node = StandIn::new();
    volume(&node, TWO, "new", 100).make(&work(false)).await.expect("made");
    assert_eq!(
        node.changes(),
        [format!(
            "lvcreate --yes -Wn --name new --addtag roost-disk+{TWO} --addtag \
             originstname+web.example.com --size 100m --stripes 1 xenvg"
        )]
    );
}

#[tokio::test]
async fn what_was_made_before_is_taken() {
    let node = StandIn::new();
    volume(&node, ONE, "one.disk0", 98).make(&work(false)).await.expect("rounded up to extents");
    let error = volume(&node, ONE, "one.disk0", 200).make(&work(false)).await;
    assert_eq!(
        error.expect_err("another size").message,
        "The volume 'xenvg/one.disk0' of this disk exists and has 100 MiB, not 200"
    );
    let error = volume(&node, TWO, "one.disk0", 100).make(&work(false)).await;
    let error = error.expect_err("foreign").message;
    assert!(error.contains(&format!("is not this disk's but disk {ONE}'s; give it")), "{error}");
    let error = volume(&node, TWO, "two.disk0", 104).make(&work(false)).await;
    let error = error.expect_err("foreign").message;
    assert!(error.contains("is not this disk's; give it another name with 'lvrename"), "{error}");
    assert_eq!(node.changes(), Vec::<String>::new());
}

#[tokio::test]
async fn fewer_stripes_are_better_than_no_disk() {
    let node = StandIn::new();
    node.before("case \"$*\" in *--stripes\\ 2*) echo '  Insufficient room' >&2; exit 5;; esac");
    let wide = Volume { stripes: 3, ..volume(&node, TWO, "new", 100) };
    wide.make(&work(false)).await.expect("made");
    let tried: Vec<_> = node.changes().iter().map(|c| c[c.len() - 7..].to_owned()).collect();
    assert_eq!(tried, ["2 xenvg", "1 xenvg"], "there are two physical volumes");
}

#[tokio::test]
async fn no_room_and_no_group() {
    let node = StandIn::new();
    let error = volume(&node, TWO, "new", 4000).make(&work(false)).await.expect_err("full");
    assert_eq!(
        error,
        Error::resources(
            "Volume group 'xenvg' has 3220 MiB free of 4088 MiB, and volume 'new' needs 4000 MiB; \
             remove or move disks, or add a physical volume with 'vgextend xenvg DEVICE'"
        )
    );
    let elsewhere = Volume { group: "vg2".into(), ..volume(&node, TWO, "new", 1) };
    let error = elsewhere.make(&work(false)).await.expect_err("no group").message;
    assert!(error.starts_with("There is no volume group 'vg2' on this node; there are: xenvg"));
    assert_eq!(node.changes(), Vec::<String>::new());
}

#[tokio::test]
async fn thin_volumes_are_zero_until_they_are_written() {
    let node = StandIn::new();
    let zero = async |name| volume(&node, TWO, name, 100).is_zero_until_written().await;
    assert_eq!(zero("thin.disk0").await, Ok(true));
    assert_eq!(zero("split").await, Ok(false));
    assert_eq!(zero("tp").await, Ok(false), "no pool is in a pool");
    assert!(zero("none").await.expect_err("none").message.contains("no volume 'xenvg/none'"));
}

#[tokio::test]
async fn thin_volumes_are_made_in_their_pool() {
    let node = StandIn::new();
    let thin = |pool: &str| Volume { pool: Some(pool.into()), ..volume(&node, TWO, "new", 9000) };
    thin("tp").make(&work(false)).await.expect("more than there is may be promised");
    assert!(node.changes()[0].ends_with("--virtualsize 9000m --thinpool tp xenvg"));
    let error = thin("mir").make(&work(false)).await.expect_err("no pool").message;
    assert!(error.contains("no thin pool 'mir' in volume group 'xenvg' on this node (there: tp)"));
}

#[test]
fn whole_physical_volumes() {
    let node = StandIn::new();
    let pv = |name: &str, free: u64| Physical {
        name: name.into(),
        size: 1000 * MIB,
        free: free * MIB,
        allocatable: true,
        ..Physical::default()
    };
    let physical =
        vec![pv("/dev/a", 1000), pv("/dev/b", 500), pv("/dev/c", 999), pv("/dev/d", 1000)];
    let group = Group { physical, ..Group::default() };
    let ask = |spindles, size| {
        let volume = Volume { exclusive: true, spindles, ..volume(&node, TWO, "new", size) };
        volume.whole_spindles(&group)
    };
    assert_eq!(ask(Some(1), 900).expect("one"), ["/dev/c"], "the smallest that will do");
    assert_eq!(ask(Some(1), 1000).expect("one"), ["/dev/a"]);
    assert_eq!(ask(Some(3), 2000).expect("three").len(), 3);
    let error = |spindles, size| ask(spindles, size).expect_err("refused").message;
    assert!(error(None, 1).contains("does not say how many spindles"));
    assert!(error(Some(4), 1).contains("4 needed, 3 there"));
    assert!(error(Some(1), 1500).contains("1 spindle(s) are not enough for volume 'new' of 1500"));
}

#[tokio::test]
async fn volumes_with_snapshots_are_kept() {
    let node = StandIn::new();
    let one = volume(&node, ONE, "one.disk0", 100);
    let error = one.delete(&work(false)).await.expect_err("has a snapshot").message;
    assert!(error.contains("its snapshots would lose their data: xenvg/snap"), "{error}");
    let error = one.extend(200, &work(false)).await.expect_err("has a snapshot").message;
    assert!(error.contains("it has snapshots (xenvg/snap)"), "{error}");
    assert_eq!(node.changes(), Vec::<String>::new());
}

#[tokio::test]
async fn nobody_elses_volume_is_removed() {
    let node = StandIn::new();
    volume(&node, TWO, "one.disk0", 100).delete(&work(false)).await.expect("left alone");
    volume(&node, TWO, "two.disk0", 100).delete(&work(true)).await.expect("an undo");
    volume(&node, TWO, "none", 100).delete(&work(false)).await.expect("nothing there");
    assert_eq!(node.changes(), Vec::<String>::new());
    // The configuration says that this is the disk's; LVM's answer here is that it stays.
    let error = volume(&node, TWO, "off", 40).delete(&work(false)).await.expect_err("stays");
    assert!(error.message.contains("it is still there"), "{error}");
    assert_eq!(
        node.changes(),
        ["lvremove --yes --select lv_uuid=WtcCJe-2vUN-ZymI-S2Qz-z0jd-9c9q-v31Ckd xenvg"]
    );
}

#[tokio::test]
async fn an_adopted_volume_keeps_its_name_in_mind() {
    let node = StandIn::new();
    let old = volume(&node, TWO, "off", 40);
    let new = volume(&node, TWO, "u.disk0", 40);
    old.become_other(&Volume { lvm: old.lvm, ..new }, &work(false)).await.expect("taken");
    assert_eq!(
        node.changes(),
        [
            format!(
                "lvchange --addtag roost-disk+{TWO} --addtag originstname+web.example.com --addtag \
                 roost-adopted+off xenvg/off"
            ),
            "lvrename xenvg off u.disk0".to_owned(),
        ]
    );
    let other = volume(&node, TWO, "one.disk0", 100);
    let error = other.become_other(&volume(&node, TWO, "x", 100), &work(false)).await;
    assert!(error.expect_err("foreign").message.contains(&format!("belongs to disk {ONE}")));
    let error = old.become_other(&volume(&node, TWO, "split", 100), &work(false)).await;
    assert!(error.expect_err("in the way").message.contains("that exists"));
}

#[tokio::test]
async fn a_snapshot_has_room_for_everything() {
    let node = StandIn::new();
    let one = volume(&node, ONE, "one.disk0", 100);
    one.freeze(&volume(&node, TWO, "copy", 100), &work(false)).await.expect("made");
    assert!(node.changes()[0].ends_with("--extents 27 xenvg/one.disk0"), "{:?}", node.changes());
    let error = one.freeze(&volume(&node, TWO, "split", 100), &work(false)).await;
    assert!(error.expect_err("in the way").message.contains("exists and is something else"));
}

#[tokio::test]
async fn status_says_what_is_wrong() {
    use roost_proto::node::BlockState;
    let node = StandIn::new();
    let tell = async |disk, name| volume(&node, disk, name, 1).tell().await.expect("a status");
    let one = tell(ONE, "one.disk0").await;
    assert_eq!((one.size, one.major_minor), (Some(100), Some((254, 0))));
    let foreign = tell(TWO, "one.disk0").await;
    assert_eq!(foreign.state, BlockState::Faulty);
    assert!(foreign.detail.contains("belongs to disk"));
    assert_eq!(tell(TWO, "off").await.state, BlockState::Inactive);
    assert_eq!(tell(TWO, "none").await.state, BlockState::Missing);
    assert!(tell(TWO, "two.disk0").await.detail.contains("suspended"));
    assert!(tell(TWO, "snap").await.detail.contains("had not enough room"));
    let thin = tell(TWO, "thin.disk0").await;
    assert!(
        thin.detail.contains("3072 MiB promised") || thin.detail.contains("not there"),
        "{thin:?}"
    );
}
