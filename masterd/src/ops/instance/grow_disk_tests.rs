use super::*;
use crate::ops::testing::{Site, node_id};
use roost_proto::choices::DiskTemplate;
use roost_proto::node::{Answer, NodeReport};

const WEB: &str = "web.example.org";

fn site(template: DiskTemplate) -> Site {
    let mut site = Site::new(&["node1", "node2"]);
    site.instance(WEB, "node1", |i| i.disks_active = true);
    match template {
        DiskTemplate::Drbd => site.drbd(WEB, "node2"),
        other => site.disk(WEB, other, "/srv/file/web/disk0"),
    }
    let mut disk = stored(&site);
    let volume = |name: &str| roost_proto::objects::LogicalId::Pair("xenvg".into(), name.into());
    match template {
        DiskTemplate::Drbd => {
            let part = |name: &str, size| Disk {
                dev_type: DiskTemplate::Plain,
                logical_id: volume(name),
                size,
                ..disk.clone()
            };
            disk.children = vec![part("d_data", 1024), part("d_meta", 128)];
        }
        DiskTemplate::Plain => {
            disk.logical_id = volume("d");
            disk.nodes = vec![node_id("node1")];
        }
        _ => {}
    }
    site.apply(&[Change::Update(Object::Disk(Box::new(disk)))]);
    site
}

fn stored(site: &Site) -> Disk {
    let instance = site.config.instance(WEB).expect("an instance");
    (*site.config.disks_of(instance)[0]).clone()
}

/// A node answers how much room its volume group has.
fn room(site: &mut Site, node: &str, free: u64) {
    let mut report = NodeReport::default();
    report.volume_groups.insert("xenvg".into(), (4096, free));
    site.answer(node, Question::Node, Ok(Answer::Node(Box::new(report))));
}

fn grow(amount: u64) -> InstanceGrowDisk {
    InstanceGrowDisk::new(WEB.to_owned(), 0_u32, amount)
}

/// Nodes and stages of the steps before the pivot.
fn grows(plan: &Plan) -> Vec<(NodeId, GrowStage, u64)> {
    let grow = |step: &Step| match step.task.action() {
        Some(Action::DiskGrow { size, stage, .. }) => Some((step.task.nodes()[0], *stage, *size)),
        _ => None,
    };
    plan.before.iter().filter_map(grow).collect()
}

#[test]
fn a_file_grows_in_one_step_and_stays_so() {
    let mut site = site(DiskTemplate::File);
    let plan = site.plan(grow(512)).expect("a plan");
    assert_eq!(plan.say, [format!("Growing disk 0 of instance '{WEB}' by 512M to 1.5G")]);
    assert_eq!(grows(&plan), [(node_id("node1"), GrowStage::Whole, 1536)]);
    assert!(plan.before[0].undo.is_none());
    let stays = plan.before[0].stays.as_deref().expect("it cannot be taken back");
    assert!(stays.contains("disk/0") && stays.contains("recorded as 1.0G"), "{stays}");
    assert!(plan.after.is_empty());
    site.apply(&plan.pivot.changes);
    assert_eq!(stored(&site).size, 1536);
    let absolute = InstanceGrowDisk { absolute: true, ..grow(2048) };
    assert_eq!(grows(&site.plan(absolute).expect("a plan"))[0].2, 2048);
}

#[test]
fn a_mirror_grows_on_the_secondary_first_and_waits() {
    let mut site = site(DiskTemplate::Drbd);
    room(&mut site, "node1", 1024);
    room(&mut site, "node2", 1024);
    let plan = site.plan(grow(1024)).expect("a plan");
    let (one, two) = (node_id("node1"), node_id("node2"));
    assert_eq!(grows(&plan), [(two, GrowStage::Storage, 2048), (one, GrowStage::Whole, 2048)]);
    let [sync] = plan.after.as_slice() else { panic!("{:?}", plan.after) };
    assert!(matches!(sync.task.action(), Some(Action::MirrorsSync { .. })));
    assert_eq!(sync.on_failure, OnFailure::Warn);
    site.apply(&plan.pivot.changes);
    let new = stored(&site);
    assert_eq!((new.size, new.children[0].size, new.children[1].size), (2048, 2048, 128));
    let quick = InstanceGrowDisk { wait_for_sync: false, ..grow(0) };
    let plan = site.plan(quick).expect("a plan");
    assert!(plan.after.is_empty() && plan.pivot.say[0].contains("WARNING: Not waiting"));
}

#[test]
fn the_new_part_is_wiped_before_the_guest_knows_of_it() {
    let mut site = site(DiskTemplate::Plain);
    site.cluster(|c| c.prealloc_wipe_disks = true);
    room(&mut site, "node1", 1024);
    let plan = site.plan(grow(1024)).expect("a plan");
    let stages: Vec<_> = grows(&plan).into_iter().map(|(_, stage, _)| stage).collect();
    assert_eq!(stages, [GrowStage::Storage, GrowStage::Zero, GrowStage::Whole]);
}

#[test]
fn disks_of_a_stopped_instance_are_active_meanwhile() {
    let mut site = site(DiskTemplate::File);
    let mut instance = (**site.config.instance(WEB).expect("an instance")).clone();
    instance.disks_active = false;
    site.apply(&[Change::Update(Object::Instance(Box::new(instance)))]);
    let plan = site.plan(grow(1)).expect("a plan");
    assert!(matches!(plan.before[0].task.action(), Some(Action::DisksAssemble { .. })));
    assert!(plan.before[0].undo.is_some());
    let last = plan.after.last().expect("a step").task.action();
    assert!(matches!(last, Some(Action::DisksShutdown { .. })));
}

#[test]
fn what_is_refused() {
    let mut site = site(DiskTemplate::Drbd);
    room(&mut site, "node1", 1024);
    room(&mut site, "node2", 100);
    let why = |op: InstanceGrowDisk| site.refusal(op).message;
    assert!(why(grow(1024)).contains("on target node node2 vg xenvg: required 1024 MiB"));
    assert!(why(InstanceGrowDisk { disk: 3, ..grow(1) }).contains("has no disk 3"));
    let smaller = InstanceGrowDisk { absolute: true, ..grow(512) };
    assert!(why(smaller).contains("(512M) is smaller than current disk size (1.0G)"));
    assert!(why(grow(u64::MAX)).contains("can't grow by"));
    site.node("node2", |node| node.offline = true);
    assert!(site.refusal(grow(1)).message.contains("Node node2 is marked offline"));
}

#[test]
fn the_policy_counts_but_only_what_it_newly_breaks() {
    let site = site(DiskTemplate::File);
    let error = site.refusal(grow(1 << 30)).message;
    assert!(error.contains("disk-size") && error.contains("--ignore-ipolicy"), "{error}");
    let op = InstanceGrowDisk { ignore_ipolicy: true, ..grow(1 << 30) };
    let plan = site.plan(op).expect("a plan");
    assert!(plan.say.iter().any(|line| line.contains("WARNING")), "{:?}", plan.say);
}
