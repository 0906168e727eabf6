//! Everything that changes the disks of an instance, with everything that may go wrong: see
//! `sim::scenario`. Conversions between templates, disks that come and go, and disks that go to
//! another node with their instance.

#[allow(dead_code, reason = "each test program uses another part of it")]
mod sim;

use roost_masterd::config::{Change, Config, Object};
use roost_proto::job::JobStatus;
use roost_proto::node::Action;
use serde_json::{Value, json};
use sim::answers::{OS, PROVIDER};
use sim::compare;
use sim::hands::{Faults, When};
use sim::scenario::Step::{self, Do};
use sim::scenario::{Scenario, check};
use sim::site::Site;
use sim::world::World;

const WEB: &str = "web.example.com";

/// An opcode about the instance.
fn instance(op: &str, fields: Value) -> Value {
    let mut all = json!({"OP_ID": format!("OP_INSTANCE_{op}"), "instance_name": WEB});
    let more = fields.as_object().expect("fields").clone();
    all.as_object_mut().expect("fields").extend(more);
    all
}

/// A new instance on node1, its mirrors on node2.
fn create(template: &str, start: bool) -> Step {
    let provider = (template == "ext").then_some(PROVIDER);
    let disk = |size: u64| match provider {
        Some(provider) => json!({"size": size, "provider": provider}),
        None => json!({"size": size}),
    };
    let disks = if template == "diskless" { vec![] } else { vec![disk(1024), disk(2048)] };
    let mut fields = json!({
        "mode": "create", "disk_template": template, "disks": disks,
        "nics": [{"link": "br0", "mode": "bridged"}], "os_type": OS, "pnode": "node1",
        "start": start,
    });
    if template == "drbd" {
        fields["snode"] = "node2".into();
    }
    Do(instance("CREATE", fields))
}

fn up(template: &str) -> Vec<Step> {
    vec![create(template, true)]
}

fn down(template: &str) -> Vec<Step> {
    vec![create(template, false)]
}

fn with(mut steps: Vec<Step>, step: Step) -> Vec<Step> {
    steps.push(step);
    steps
}

fn modify(fields: Value) -> Value {
    instance("SET_PARAMS", fields)
}

/// The guest runs on node2, and its disks are there as well as on node1: as after a migration with
/// disks of which nobody heard how it ended.
fn web_to_node2(world: &mut World) {
    let copied = world.named("node1").files.clone();
    world.named("node2").files.extend(copied);
    world.teleport(WEB, "node1", "node2");
}

/// Two disks, of which the second has a name.
fn named(template: &str, start: bool) -> Vec<Step> {
    let name = modify(json!({"disks": [["modify", 1, {"name": "data"}]]}));
    vec![create(template, start), Do(name)]
}

fn detach_it() -> Step {
    Do(modify(json!({"disks": [["detach", "data", {}]]})))
}

fn attach_it() -> Value {
    modify(json!({"disks": [["attach", -1, {"name": "data"}]]}))
}

/// The power of node2, which has the mirrors, has failed and the administrator said so.
fn node2_dies(world: &mut World) {
    world.kill("node2");
}

fn node2_offline(config: &Config) -> Vec<Change> {
    let mut node = (**config.node("node2").expect("a node")).clone();
    node.offline = true;
    vec![Change::Update(Object::Node(Box::new(node)))]
}

macro_rules! scenarios {
    ($($(#[$flag:ident])* $name:ident: $setup:expr => $op:expr;)+) => {$(
        #[test]
        fn $name() {
            #[allow(unused_mut, reason = "most have no flags")]
            let mut scenario = Scenario::new(stringify!($name), $setup, $op);
            $(scenario.$flag = true;)*
            check(scenario);
        }
    )+};
}

/// A migration with disks whose end nobody hears of: the guest is found again with its disks, and
/// the copy that does not count goes, whichever that is.
#[test]
fn a_guest_that_moved_with_its_disks_unnoticed_keeps_them() {
    let site = Site::new();
    let run = |site: &Site, op: Value, faults: Faults| {
        site.run(faults, async |master| {
            let job = master.submit(&[op]).await;
            master.settle().await;
            (master.job(job).record(), master.hands.calls())
        })
        .expect("nothing crashes")
    };
    let Do(new) = create("file", true) else { panic!("a job") };
    run(&site, new, Faults::default());
    let migrate = || instance("MIGRATE", json!({"target_node": "node2", "copy_disks": true}));
    let (_, calls) = run(&site.fork(), migrate(), Faults::default());
    let number = calls.iter().position(|c| matches!(c.action, Action::MigrateRun { .. }));
    let fail = number.map(|n| (n, When::After));
    let (record, _) = run(&site, migrate(), Faults { fail, for_good: true, ..Faults::default() });
    assert_eq!(record.status(), JobStatus::Error);
    let node = |name: &str| site.config().node(name).expect("a node").uuid;
    let (one, two) = (node("node1"), node("node2"));
    assert_eq!(site.config().instance(WEB).expect("it is there").primary_node, one);
    let disks = |node| site.world().machines[&node].files.len();
    assert_eq!((disks(one), disks(two)), (2, 2), "nothing was taken from under the guest");
    assert!(site.world().violations.is_empty(), "{:?}", site.world().violations);
    let (record, _) = run(&site, instance("MIGRATE", json!({"cleanup": true})), Faults::default());
    assert_eq!(record.status(), JobStatus::Success, "{:?}", record.ops[0].result);
    let left = site.run(Faults::default(), async |master| {
        master.engine.repair_debris().await.expect("it can be stored").len()
    });
    assert_eq!(left, Some(0));
    assert_eq!((disks(one), disks(two)), (0, 2));
    let problems = compare::disagreements(&site.config(), &site.world());
    assert!(problems.is_empty(), "{problems:#?}");
}

scenarios! {
    migrate_with_files: up("file") =>
        instance("MIGRATE", json!({"target_node": "node2", "copy_disks": true}));
    migrate_with_volumes: up("plain") => instance("MIGRATE", json!({"copy_disks": true}));
    #[disturbed]
    migrate_with_files_cleanup: with(up("file"), Step::World(web_to_node2)) =>
        instance("MIGRATE", json!({"cleanup": true}));

    plain_to_drbd: down("plain") =>
        modify(json!({"disk_template": "drbd", "remote_node": "node2"}));
    plain_to_drbd_anywhere: down("plain") =>
        modify(json!({"disk_template": "drbd", "iallocator": "hail", "wait_for_sync": false}));
    drbd_to_plain: down("drbd") => modify(json!({"disk_template": "plain"}));
    #[disturbed]
    drbd_to_plain_alone:
        with(with(down("drbd"), Step::World(node2_dies)), Step::Config(node2_offline)) =>
        modify(json!({"disk_template": "plain"}));
    plain_to_file: down("plain") => modify(json!({"disk_template": "file"}));
    file_to_plain: down("file") => modify(json!({"disk_template": "plain"}));
    file_to_sharedfile: down("file") => modify(json!({"disk_template": "sharedfile"}));
    sharedfile_to_rbd: down("sharedfile") => modify(json!({"disk_template": "rbd"}));
    file_to_ext: down("file") =>
        modify(json!({"disk_template": "ext", "ext_params": {"provider": PROVIDER, "dir": "/x"}}));
    ext_to_ext: down("ext") =>
        modify(json!({"disk_template": "ext", "ext_params": {"provider": "other"}}));
    ext_to_drbd: down("ext") =>
        modify(json!({"disk_template": "drbd", "remote_node": "node3"}));
    drbd_to_gluster: down("drbd") => modify(json!({"disk_template": "gluster"}));

    file_to_sharedfile_hot: up("file") => modify(json!({"disk_template": "sharedfile"}));
    plain_to_file_hot: up("plain") => modify(json!({"disk_template": "file"}));
    ext_to_drbd_hot: up("ext") =>
        modify(json!({"disk_template": "drbd", "remote_node": "node3"}));

    add_plain: down("plain") => modify(json!({"disks": [["add", -1, {"size": 1024}]]}));
    add_plain_hot: up("plain") => modify(json!({"disks": [["add", 0, {"size": 1024}]]}));
    add_drbd: down("drbd") => modify(json!({"disks": [["add", -1, {"size": 1024}]]}));
    add_drbd_hot: up("drbd") => modify(json!({"disks": [["add", -1, {"size": 1024}]]}));
    add_ext_hot: up("ext") =>
        modify(json!({"disks": [["add", -1, {"size": 1024, "provider": PROVIDER}]]}));
    add_first_drbd: down("diskless") => modify(json!({
        "disks": [["add", -1, {"size": 1024, "dev_type": "drbd"}]], "remote_node": "node2",
    }));
    remove_drbd: down("drbd") => modify(json!({"disks": [["remove", 0, {}]]}));
    remove_drbd_hot: up("drbd") => modify(json!({"disks": [["remove", 1, {}]]}));
    remove_ext_hot: up("ext") => modify(json!({"disks": [["remove", 0, {}]]}));
    modify_ext: down("ext") => modify(json!({"disks": [["modify", 0, {"dir": "/y"}]]}));
    detach_file: down("file") => modify(json!({"disks": [["detach", 0, {}]]}));
    detach_file_hot: up("file") => modify(json!({"disks": [["detach", 0, {}]]}));
    detach_drbd_hot: up("drbd") => modify(json!({"disks": [["detach", 1, {}]]}));
    attach_file: with(named("file", false), detach_it()) => attach_it();
    attach_file_hot: with(named("file", true), detach_it()) => attach_it();
    attach_drbd: with(named("drbd", false), detach_it()) => attach_it();
    attach_drbd_hot: with(named("drbd", true), detach_it()) => attach_it();

    move_plain: up("plain") => instance("MOVE", json!({"target_node": "node2"}));
    move_plain_stopped: down("plain") =>
        instance("MOVE", json!({"target_node": "node3", "compress": "gzip"}));
}
