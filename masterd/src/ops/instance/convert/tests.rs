//! Which conversions there are, and what they do to whom.

use super::*;
use crate::config::{Change, Object};
use crate::jobs::plan::{Plan, Step};
use crate::ops::testing::{Site, machine, node_id, running, status};
use roost_proto::choices::DiskMode;
use roost_proto::node::{Action, BlockState, NodeReport};
use roost_proto::objects::LogicalId;

fn site(template: DiskTemplate) -> Site {
    let mut site = Site::new(&["node1", "node2", "node3"]);
    site.cluster(|cluster| {
        use DiskTemplate::{Diskless, Drbd, Ext, File, Plain, SharedFile};
        cluster.enabled_disk_templates = vec![Drbd, Plain, File, SharedFile, Ext, Diskless];
        cluster.volume_group_name = Some("xenvg".into());
    });
    site.instance("web", "node1", |web| web.admin_state = AdminState::Down);
    match template {
        DiskTemplate::Drbd => drbd(&mut site),
        DiskTemplate::Diskless => {}
        other => site.disk("web", other, "/srv/file/web/disk0"),
    }
    if template == DiskTemplate::Plain {
        let mut disk = first(&site);
        disk.logical_id = LogicalId::Pair("xenvg".into(), "a.disk0".into());
        disk.nodes = vec![node_id("node1")];
        disk.name = Some("root".into());
        site.apply(&[Change::Update(Object::Disk(Box::new(disk)))]);
    }
    site
}

/// A mirror with its volumes.
fn drbd(site: &mut Site) {
    site.drbd("web", "node2");
    let mut disk = first(site);
    let volume = |number: u128, name: &str, size| Disk {
        uuid: uuid::Uuid::from_u128(number).into(),
        dev_type: DiskTemplate::Plain,
        logical_id: LogicalId::Pair("xenvg".into(), name.into()),
        size,
        ..disk.clone()
    };
    disk.children = vec![volume(0xda, "b.disk0_data", 1024), volume(0xae, "b.disk0_meta", 128)];
    site.apply(&[Change::Update(Object::Disk(Box::new(disk)))]);
}

fn first(site: &Site) -> Disk {
    let web = site.config.instance("web").expect("web");
    Disk::clone(&site.config.disks_of(web)[0])
}

fn to(template: DiskTemplate) -> InstanceSetParams {
    InstanceSetParams { disk_template: Some(template), ..InstanceSetParams::new("web") }
}

/// All answer, with room; the disk has `size` MiB.
fn answered(site: &mut Site, op: &InstanceSetParams, size: u64) {
    for (node, question) in site.questions(op.clone()) {
        let answer = match &question {
            Question::Node => Answer::Node(Box::new(NodeReport {
                volume_groups: [("xenvg".to_owned(), (10_000, 9_000))].into(),
                ..machine(4096)
            })),
            Question::Guests => Answer::Guests(vec![]),
            Question::Blocks { disks } => {
                let found = BlockStatus { size: Some(size), ..status(BlockState::Inactive) };
                Answer::Blocks(vec![found; disks.len()])
            }
            other => panic!("an unexpected question: {other:?}"),
        };
        site.answer(&node, question, Ok(answer));
    }
}

fn names(steps: &[Step]) -> Vec<&str> {
    steps.iter().map(|step| step.name.as_str()).filter(|name| !name.contains("hooks")).collect()
}

/// The disks that an undo or a step removes on a node.
fn removed(plan: &Plan, node: &str) -> Vec<Disk> {
    let steps = plan.before.iter().chain(&plan.after);
    let tasks = steps.flat_map(|step| step.undo.iter().chain([&step.task]));
    let on = tasks.filter(|task| task.nodes() == [node_id(node)]);
    on.filter_map(|task| match task.action() {
        Some(Action::DisksRemove { disks, .. }) => Some(disks.clone()),
        _ => None,
    })
    .flatten()
    .collect()
}

fn refusal(site: &mut Site, op: InstanceSetParams) -> String {
    site.refusal(op).message
}

#[test]
fn volumes_get_a_mirror_and_are_never_removed() {
    let mut site = site(DiskTemplate::Plain);
    let old = first(&site);
    let op = InstanceSetParams { remote_node: Some("node2".into()), ..to(DiskTemplate::Drbd) };
    // Larger than recorded: rounded up to extents.
    answered(&mut site, &op, 1028);
    let plan = site.run(op);
    assert_eq!(
        names(&plan.before),
        [
            "renaming the volumes",
            "creating volumes on node2",
            "creating meta data on node1",
            "connecting mirrors on secondary node node2",
            "connecting mirrors",
            "starting to mirror",
            "waiting for disks to sync",
        ]
    );
    let new = first(&site);
    assert_eq!((new.dev_type, new.size, &new.name), (DiskTemplate::Drbd, 1028, &old.name));
    assert_eq!(new.nodes, [node_id("node1"), node_id("node2")]);
    assert_eq!(new.children[0].uuid, old.uuid, "the same volume");
    assert!(!site.config.disks.contains_key(&old.uuid));
    let gone = removed(&plan, "node1");
    assert!(gone.iter().all(|disk| disk.uuid == new.children[1].uuid), "{gone:#?}");
    assert_eq!(plan.result[0], serde_json::json!(["disk_template", "drbd"]));
}

#[test]
fn a_mirror_goes_and_its_volumes_stay() {
    let mut site = site(DiskTemplate::Drbd);
    let old = first(&site);
    let op = to(DiskTemplate::Plain);
    answered(&mut site, &op, 1024);
    let plan = site.run(op.clone());
    let new = first(&site);
    assert_eq!((new.dev_type, new.uuid), (DiskTemplate::Plain, old.children[0].uuid));
    assert_eq!((new.nodes.as_slice(), new.iv_name.as_str()), (&[node_id("node1")][..], "disk/0"));
    let gone = removed(&plan, "node1");
    assert!(gone.iter().all(|disk| disk.uuid == old.children[1].uuid), "{gone:#?}");
    assert!(removed(&plan, "node2").iter().all(|disk| disk.uuid == old.uuid));
    assert!(names(&plan.before).contains(&"waiting for disks to sync"));

    // The other side is away: what is here counts, and what is there is told of.
    let mut alone = self::site(DiskTemplate::Drbd);
    alone.node("node2", |node| node.offline = true);
    answered(&mut alone, &op, 1024);
    let plan = alone.run(op);
    assert!(!names(&plan.before).contains(&"waiting for disks to sync"));
    assert_eq!(removed(&plan, "node2"), []);
    assert!(plan.say.iter().any(|line| line.contains("xenvg/b.disk0_data, xenvg/b.disk0_meta")));
}

#[test]
fn others_are_copied_into_new_disks() {
    let mut site = site(DiskTemplate::File);
    let old = first(&site);
    let op = InstanceSetParams { iallocator: Some("hail".into()), ..to(DiskTemplate::Drbd) };
    answered(&mut site, &op, 1024);
    let plan = site.run(op);
    let new = first(&site);
    assert_eq!((new.dev_type, new.size), (DiskTemplate::Drbd, 1024));
    let copied = plan.before.iter().find_map(|step| match step.task.action() {
        Some(Action::DisksCopy { from, to, target, .. }) => {
            Some((from[0].uuid, to[0].uuid, *target))
        }
        _ => None,
    });
    assert_eq!(copied, Some((old.uuid, new.uuid, node_id("node1"))));
    let says: Vec<_> = plan.before.iter().filter_map(|step| step.say.as_deref()).collect();
    assert!(says.contains(&"Generating new 'drbd' disk template..."), "{says:?}");
    assert!(says.contains(&"Converting disk template from 'file' to 'drbd'"), "{says:?}");
    let last = plan.after.iter().rfind(|step| step.name.starts_with("removing")).expect("removal");
    match last.task.action() {
        Some(Action::DisksRemove { disks, .. }) => assert_eq!(disks[0].uuid, old.uuid),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_the_instance_policy_refuses_is_said() {
    let mut site = site(DiskTemplate::File);
    let small = Disk { size: 100, ..first(&site) };
    site.apply(&[Change::Update(Object::Disk(Box::new(small)))]);
    let op = InstanceSetParams { iallocator: Some("hail".into()), ..to(DiskTemplate::Drbd) };
    answered(&mut site, &op, 100);
    let said = refusal(&mut site, op.clone());
    assert!(said.contains("outside the instance policy of group 'default' (FailDisk)"), "{said}");
    site.run(InstanceSetParams { ignore_ipolicy: true, ..op });
}

#[test]
fn a_running_guest_takes_part_in_it() {
    let run = |mode, template| {
        let mut site = site(DiskTemplate::File);
        let mut web = Instance::clone(site.config.instance("web").expect("web"));
        (web.admin_state, web.disks_active) = (AdminState::Up, true);
        let disk = Disk { mode, ..first(&site) };
        site.apply(&[
            Change::Update(Object::Instance(Box::new(web))),
            Change::Update(Object::Disk(Box::new(disk))),
        ]);
        let op = InstanceSetParams { remote_node: Some("node2".into()), ..to(template) };
        // The first answer counts.
        site.answer("node1", Question::Guests, Ok(Answer::Guests(vec![running("web")])));
        answered(&mut site, &op, 1024);
        (site, op)
    };
    let (mut site, op) = run(DiskMode::Rw, DiskTemplate::Drbd);
    let old = first(&site);
    let plan = site.run(op);
    let new = first(&site);
    assert_eq!((new.dev_type, new.size), (DiskTemplate::Drbd, 1024));
    let step = plan.before.last().expect("steps");
    let ids = |task: Option<&crate::jobs::plan::Task>| match task.and_then(|t| t.action()) {
        Some(Action::DisksMirror { from, to, .. }) => Some((from[0].uuid, to[0].uuid)),
        _ => None,
    };
    assert!(step.no_return);
    assert_eq!(ids(Some(&step.task)), Some((old.uuid, new.uuid)));
    assert_eq!(ids(step.undo.as_ref()), Some((new.uuid, old.uuid)), "had back");
    // Only when the new mirror is whole the old data goes.
    assert_eq!(
        names(&plan.after),
        ["waiting for disks to sync", "deactivating instance disks", "removing instance disks"]
    );
    assert!(removed(&plan, "node1").iter().any(|disk| disk.uuid == old.uuid));

    let (mut read_only, op) = run(DiskMode::Ro, DiskTemplate::Drbd);
    assert!(refusal(&mut read_only, op).contains("is read-only"));
}

#[test]
fn what_is_refused() {
    let mut plain = site(DiskTemplate::Plain);
    let drbd = to(DiskTemplate::Drbd);
    let said = refusal(&mut plain, to(DiskTemplate::Plain));
    assert_eq!(said, "Instance already has disk template plain");
    assert!(refusal(&mut plain, drbd.clone()).contains("name it with -n"));
    let same = InstanceSetParams { remote_node: Some("node1".into()), ..drbd.clone() };
    assert!(refusal(&mut plain, same).contains("is the same as the primary node"));
    let both = InstanceSetParams {
        remote_node: Some("node2".into()),
        iallocator: Some("hail".into()),
        ..drbd
    };
    assert!(refusal(&mut plain, both).contains("not both"));
    let needless =
        InstanceSetParams { remote_node: Some("node2".into()), ..to(DiskTemplate::File) };
    assert!(refusal(&mut plain, needless).contains("has no secondary node"));
    assert!(refusal(&mut plain, to(DiskTemplate::Rbd)).contains("is not enabled"));
    assert!(refusal(&mut plain, to(DiskTemplate::Diskless)).contains("Unsupported disk template"));
    assert!(refusal(&mut plain, to(DiskTemplate::Ext)).contains("provider=NAME"));
    let mut stray = to(DiskTemplate::File);
    stray.ext_params.insert("provider".into(), "p".into());
    assert!(refusal(&mut plain, stray).contains("don't fit the template 'file'"));

    let op = to(DiskTemplate::File);
    let mut up = site(DiskTemplate::Plain);
    let mut web = Instance::clone(up.config.instance("web").expect("web"));
    web.admin_state = AdminState::Up;
    up.apply(&[Change::Update(Object::Instance(Box::new(web.clone())))]);
    answered(&mut up, &op, 1024);
    assert!(refusal(&mut up, op.clone()).contains("shut it down first"));

    let mut active = site(DiskTemplate::Plain);
    let mut web = Instance::clone(active.config.instance("web").expect("web"));
    web.disks_active = true;
    active.apply(&[Change::Update(Object::Instance(Box::new(web)))]);
    answered(&mut active, &op, 1024);
    assert!(refusal(&mut active, op.clone()).contains("deactivate-disks web"));

    let mut nothing = site(DiskTemplate::Diskless);
    assert!(refusal(&mut nothing, op).contains("conversion from diskless to file"));
}
