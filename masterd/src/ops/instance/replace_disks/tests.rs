use super::*;
use crate::jobs::plan::OnFailure;
use crate::ops::testing::{Site, machine, node_id, status};
use roost_proto::node::{Action, Answer, BlockState, BlockStatus, SyncStatus};
use roost_proto::objects::LogicalId;

const WEB: &str = "web.example.org";

/// node1 is the primary, node2 the secondary; node3 and node4 are free.
fn site(disks_active: bool) -> Site {
    let mut site = Site::new(&["node1", "node2", "node3", "node4"]);
    site.instance(WEB, "node1", |i| i.disks_active = disks_active);
    site.drbd(WEB, "node2");
    let id = site.config.instance(WEB).expect("web").disks[0];
    let mut disk = (**site.config.disks.get(&id).expect("a disk")).clone();
    let part = |name: &str, size| Disk {
        dev_type: roost_proto::choices::DiskTemplate::Plain,
        logical_id: LogicalId::Pair("xenvg".into(), name.into()),
        size,
        ..disk.clone()
    };
    disk.children = vec![part("u.disk0_data", 1024), part("u.disk0_meta", 128)];
    site.apply(&[crate::config::Change::Update(crate::config::Object::Disk(Box::new(disk)))]);
    for (node, free) in [("node1", 4096), ("node2", 4096), ("node3", 2000), ("node4", 3000)] {
        let mut report = machine(1024);
        report.volume_groups.insert("xenvg".into(), (8192, free));
        site.answer(node, Question::Node, Ok(Answer::Node(Box::new(report))));
    }
    site
}

/// A side that is set up.
fn side(connection: &str, disk: &str) -> BlockStatus {
    let mut found = status(BlockState::Active);
    found.children = vec![status(BlockState::Active), status(BlockState::Active)];
    found.sync = Some(SyncStatus {
        connection: connection.into(),
        disk: disk.into(),
        local_good: disk == "UpToDate",
        percent: 100.0,
        ..SyncStatus::default()
    });
    found
}

fn good() -> BlockStatus {
    side("Connected", "UpToDate")
}

/// Not set up; its volumes are there, or not.
fn at_rest(there: bool) -> BlockStatus {
    let state = if there { BlockState::Inactive } else { BlockState::Missing };
    let mut found = status(state);
    found.children = vec![status(state), status(state)];
    found
}

/// Both nodes tell how their sides are.
fn with(mut site: Site, one: BlockStatus, two: BlockStatus) -> Site {
    let web = site.config.instance(WEB).expect("web").clone();
    for (node, found) in [("node1", one), ("node2", two)] {
        let question = health::question(&site.config, &web, node_id(node)).expect("filled");
        site.answer(node, question.expect("a mirror"), Ok(Answer::Blocks(vec![found])));
    }
    site
}

fn op(mode: Mode) -> InstanceReplaceDisks {
    InstanceReplaceDisks::new(WEB, mode)
}

fn to(node: &str) -> InstanceReplaceDisks {
    InstanceReplaceDisks { remote_node: Some(node.into()), ..op(Mode::NewSecondary) }
}

/// What is done where: `node2:mirrors-detach`, `/` and its undo.
fn told(site: &Site, steps: &[Step]) -> Vec<String> {
    let one = |task: &crate::jobs::plan::Task| {
        let action = serde_json::to_value(task.action().expect("an action")).expect("JSON");
        let role = action.get("role").and_then(|r| r.as_str()).map(|r| format!("-{r}"));
        let name = site.config.node_name(task.nodes()[0]);
        format!("{name}:{}{}", action["do"].as_str().expect("text"), role.unwrap_or_default())
    };
    let step = |step: &Step| match &step.undo {
        None => one(&step.task),
        Some(undo) => format!("{} / {}", one(&step.task), one(undo)),
    };
    steps.iter().map(step).collect()
}

/// The names of volumes in an action: of the second list, if it has two.
fn names(step: &Step) -> Vec<String> {
    let disks = match step.task.action() {
        Some(Action::DisksRename { to, .. }) => to,
        Some(Action::DisksRemove { disks, .. }) => disks,
        other => panic!("{other:?}"),
    };
    let name = |disk: &Disk| match &disk.logical_id {
        LogicalId::Pair(_, name) => name.clone(),
        other => panic!("{other:?}"),
    };
    disks.iter().map(name).collect()
}

#[test]
fn in_place_on_the_secondary() {
    let site = with(site(true), good(), good());
    let plan = site.plan(op(Mode::OnSecondary)).expect("a plan");
    assert_eq!(
        told(&site, &plan.before),
        [
            "node2:disks-create / node2:disks-remove",
            "node2:mirrors-detach / node2:disks-assemble-secondary",
            "node2:disks-rename / node2:disks-rename",
            "node2:disks-rename / node2:disks-rename",
            "node2:disks-assemble-secondary / node2:mirrors-detach",
        ]
    );
    // Undoing removes the volumes that were made, under their own names, and never the mirror.
    let away = ["u.disk0_data_replaced-1000000", "u.disk0_meta_replaced-1000000"];
    assert_eq!(names(&plan.before[2]), away);
    assert_eq!(names(&plan.before[3]), ["u.disk0_data", "u.disk0_meta"]);
    assert_eq!(told(&site, &plan.after), ["node1:mirrors-sync", "node2:disks-remove"]);
    assert_eq!(names(&plan.after[1]), away);
    assert_eq!(plan.after[0].on_failure, OnFailure::Fail, "what is old stays if it fails");
    assert_eq!(plan.after[1].on_failure, OnFailure::Debris);
    let headings: Vec<_> = plan
        .say
        .iter()
        .chain(plan.before.iter().chain(&plan.after).filter_map(|step| step.say.as_ref()))
        .filter(|line| line.starts_with("STEP"))
        .collect();
    assert_eq!(
        headings,
        [
            "STEP 1/6 Check device existence",
            "STEP 2/6 Check peer consistency",
            "STEP 3/6 Allocate new storage",
            "STEP 4/6 Changing drbd configuration",
            "STEP 5/6 Sync devices",
            "STEP 6/6 Removing old storage",
        ]
    );
    let early = InstanceReplaceDisks { early_release: true, ..op(Mode::OnSecondary) };
    let plan = site.plan(early).expect("a plan");
    assert_eq!(told(&site, &plan.after), ["node2:disks-remove", "node1:mirrors-sync"]);
    assert_eq!(plan.after[1].say.as_deref(), Some("STEP 6/6 Sync devices"));
}

#[test]
fn in_place_on_the_primary_that_lost_its_volumes() {
    let mut diskless = side("Connected", "Diskless");
    diskless.children = vec![status(BlockState::Missing), status(BlockState::Missing)];
    let site = with(site(true), diskless, good());
    let plan = site.plan(op(Mode::Auto)).expect("a plan");
    assert!(plan.say.iter().any(|line| line.contains("disk/0 is faulty on node node1")));
    assert_eq!(
        told(&site, &plan.before),
        [
            "node1:disks-create / node1:disks-remove",
            "node1:mirrors-detach",
            "node1:disks-rename / node1:disks-rename",
            "node1:disks-assemble-primary / node1:mirrors-detach",
        ]
    );
    assert_eq!(told(&site, &plan.after), ["node1:mirrors-sync"], "nothing old is there");
}

#[test]
fn disks_of_a_stopped_instance_are_active_meanwhile() {
    let started = with(site(false), at_rest(true), at_rest(true));
    let plan = started.plan(op(Mode::OnPrimary)).expect("a plan");
    let before = told(&started, &plan.before);
    assert_eq!(
        before[..3],
        [
            "node2:disks-assemble-secondary / node2:disks-shutdown",
            "node1:disks-assemble-primary / node1:disks-shutdown",
            "node1:mirrors-sync / node1:mirrors-sync",
        ]
    );
    assert_eq!(before.last().map(String::as_str), Some("node1:mirrors-sync"));
    assert_eq!(
        told(&started, &plan.after),
        ["node1:disks-remove", "node1:disks-shutdown", "node2:disks-shutdown"]
    );
    // What is lost cannot be activated: the other side is, alone.
    let lost = with(site(false), at_rest(false), at_rest(true));
    let plan = lost.plan(op(Mode::OnPrimary)).expect("a plan");
    let Some(Action::DisksAssemble { alone, .. }) = plan.before[0].task.action() else {
        panic!("{:?}", plan.before[0])
    };
    assert!(*alone);
    assert_eq!(
        told(&lost, &plan.before),
        [
            "node2:disks-assemble-primary / node2:disks-shutdown",
            "node1:disks-create / node1:disks-remove",
            "node1:disks-rename / node1:disks-rename",
            "node1:disks-assemble-secondary / node1:disks-shutdown",
            "node1:mirrors-sync",
        ]
    );
}

#[test]
fn another_secondary() {
    let mut site = with(site(true), good(), good());
    let plan = site.plan(to("node3")).expect("a plan");
    assert_eq!(
        told(&site, &plan.before),
        [
            "node3:disks-create / node3:disks-remove",
            "node3:disks-assemble-secondary / node3:disks-shutdown",
            "node2:mirrors-disconnect / node2:disks-assemble-secondary",
            "node1:disks-assemble-primary / node1:disks-assemble-primary",
        ]
    );
    assert_eq!(told(&site, &plan.after), ["node1:mirrors-sync", "node2:disks-remove"]);
    site.apply(&plan.pivot.changes);
    let instance = site.config.instance(WEB).expect("web").clone();
    assert_eq!(site.config.secondaries(&instance), [node_id("node3")]);
    let disk = health::stored(&site.config, &instance).remove(0);
    assert_eq!(disk.nodes, [node_id("node1"), node_id("node3")]);
    assert_eq!(disk.children[0].nodes, disk.nodes);
    let LogicalId::Drbd(a, b, port, here, there, secret) = disk.logical_id else {
        panic!("{:?}", disk.logical_id)
    };
    assert_eq!((a, b), (node_id("node1"), node_id("node3")));
    assert_eq!((here, there), (0, 0), "the primary's minor stays");
    assert!(port != 11000 && secret != "secret", "nothing the old secondary knows");
}

#[test]
fn the_allocator_takes_the_node_with_most_room() {
    let site = with(site(true), good(), good());
    let op = InstanceReplaceDisks { iallocator: Some(".".into()), ..op(Mode::NewSecondary) };
    let plan = site.plan(op).expect("a plan");
    let line = format!("Selected new secondary for instance '{WEB}': node4");
    assert!(plan.say.contains(&line), "{:?}", plan.say);
    assert_eq!(told(&site, &plan.before)[0], "node4:disks-create / node4:disks-remove");
}

#[test]
fn a_secondary_that_is_gone_for_good() {
    let mut site = site(true);
    site.node("node2", |node| node.offline = true);
    let web = site.config.instance(WEB).expect("web").clone();
    let question = health::question(&site.config, &web, node_id("node1")).expect("filled");
    let alone = Answer::Blocks(vec![side("WFConnection", "UpToDate")]);
    site.answer("node1", question.expect("a mirror"), Ok(alone));
    let plan = site.plan(to("node3")).expect("a plan");
    assert_eq!(
        told(&site, &plan.before),
        [
            "node3:disks-create / node3:disks-remove",
            "node3:disks-assemble-secondary / node3:disks-shutdown",
            "node1:disks-assemble-primary / node1:disks-assemble-primary",
        ]
    );
    assert_eq!(told(&site, &plan.after), ["node1:mirrors-sync"]);
    let [left] = plan.pivot.leaves.as_slice() else { panic!("{:?}", plan.pivot.leaves) };
    assert!(left.why.contains("node2 is marked offline"), "{}", left.why);
    assert_eq!(left.step.task.nodes(), [node_id("node2")]);
    assert!(plan.say.iter().any(|line| line.contains("early release is switched on")));
    assert!(site.refusal(op(Mode::OnSecondary)).message.contains("move the mirror with -n"));
}

#[test]
fn a_side_that_is_not_good_is_not_relied_on() {
    let why = |one: BlockStatus, two: BlockStatus, op: InstanceReplaceDisks| {
        with(site(true), one, two).refusal(op).message
    };
    let degraded = "has degraded storage, unsafe to replace disks for instance web.example.org";
    let behind = || side("SyncTarget", "Inconsistent");
    let message = why(good(), behind(), op(Mode::OnPrimary));
    assert!(message.contains(&format!("Node node2 {degraded}")), "{message}");
    let message = why(behind(), good(), op(Mode::OnSecondary));
    assert!(message.contains(&format!("Node node1 {degraded}")), "{message}");
    assert!(why(behind(), good(), to("node3")).contains(degraded));
    // It may not know what was written.
    let parted = || side("WFConnection", "UpToDate");
    assert!(why(parted(), parted(), op(Mode::OnPrimary)).contains("is not connected there"));
    let mut split = side("StandAlone", "UpToDate");
    split.sync.as_mut().expect("mirrored").split_brain = true;
    let message = why(side("StandAlone", "UpToDate"), split, to("node3"));
    assert!(message.contains("repair-mirror --discard NODE"), "{message}");
    let message = why(at_rest(true), good(), op(Mode::OnSecondary));
    assert!(message.contains("activate-disks"), "{message}");
    let message = why(at_rest(true), good(), op(Mode::Auto));
    assert!(message.contains("please run 'gnt-instance activate-disks"), "{message}");
    let failed = || side("Connected", "Diskless");
    assert!(why(failed(), failed(), op(Mode::Auto)).contains("on more than one node"));
}

#[test]
fn nothing_is_replaced_where_nothing_is_faulty() {
    let site = with(site(true), good(), side("SyncTarget", "UpToDate"));
    let plan = site.plan(op(Mode::Auto)).expect("a plan");
    assert_eq!(plan.say, [format!("No disks need replacement for instance '{WEB}'")]);
    assert!(plan.before.is_empty() && plan.after.is_empty() && plan.pivot.changes.is_empty());
}

#[test]
fn requests_that_make_no_sense() {
    let mut site = with(site(true), good(), good());
    let why = |site: &Site, op: InstanceReplaceDisks| site.refusal(op).message;
    assert!(why(&site, op(Mode::NewSecondary)).contains("either an iallocator"));
    let named = InstanceReplaceDisks { remote_node: Some("node3".into()), ..op(Mode::Auto) };
    assert!(why(&site, named).contains("only be used when changing the secondary"));
    assert!(why(&site, to("node1")).contains("is the primary node"));
    assert!(why(&site, to("node2")).contains("is already the secondary node"));
    let some = InstanceReplaceDisks { disks: vec![7], ..op(Mode::OnPrimary) };
    assert!(why(&site, some).contains("has no disk 7"));
    site.node("node3", |node| node.drained = true);
    assert!(why(&site, to("node3")).contains("is drained"));
    site.instance("file", "node1", |_| {});
    site.disk("file", roost_proto::choices::DiskTemplate::File, "/srv/file/x");
    let file = InstanceReplaceDisks::new("file", Mode::OnPrimary);
    assert!(why(&site, file).contains("only disks of template 'drbd'"));
}
