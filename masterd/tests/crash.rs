//! Every opcode in several situations, with everything that may go wrong: see `sim::scenario`.
//! A new opcode gets all of it for one line in the table below.

#[allow(dead_code, reason = "each test program uses another part of it")]
mod sim;

use roost_masterd::config::{Change, Config, Object};
use roost_proto::ids::DiskId;
use roost_proto::job::JobStatus;
use roost_proto::node::Action;
use serde_json::{Value, json};
use sim::answers::{OS, PROVIDER};
use sim::hands::{Faults, When};
use sim::scenario::Step::{self, Do};
use sim::scenario::{Scenario, check};
use sim::site::{NEWCOMER, Site, node_id};
use sim::world::{Data, World};
use sim::{compare, crypto};
use std::collections::BTreeSet;

const WEB: &str = "web.example.com";

/// An opcode about the instance.
fn instance(op: &str, fields: Value) -> Value {
    let mut all = json!({"OP_ID": format!("OP_INSTANCE_{op}"), "instance_name": WEB});
    let more = fields.as_object().expect("fields").clone();
    all.as_object_mut().expect("fields").extend(more);
    all
}

/// A new instance on node1 with a network card.
fn create(template: &str, fields: Value) -> Value {
    let disks = match template {
        "diskless" => json!([]),
        "ext" => {
            json!([{"size": 1024, "provider": PROVIDER}, {"size": 2048, "provider": PROVIDER}])
        }
        "blockdev" => json!([{"adopt": DEVICE}]),
        _ => json!([{"size": 1024}, {"size": 2048}]),
    };
    let mut base = json!({
        "mode": "create", "disk_template": template, "disks": disks,
        "nics": [{"link": "br0", "mode": "bridged"}], "os_type": OS, "pnode": "node1",
    });
    if template == "drbd" {
        base["snode"] = "node2".into();
    }
    let mut op = instance("CREATE", base);
    op.as_object_mut().expect("fields").extend(fields.as_object().expect("fields").clone());
    op
}

/// A disk of some storage that all machines reach.
const DEVICE: &str = "/dev/disk/by-id/scsi-1";

fn device_appears(world: &mut World) {
    world
        .shared
        .insert(format!("blockdev:manual/{DEVICE}"), Data::new(DiskId(uuid::Uuid::nil()), 4096));
}

/// A volume that somebody made by hand.
fn volume_appears(world: &mut World) {
    world
        .named("node1")
        .files
        .insert("/dev/xenvg/byhand".into(), Data::new(DiskId(uuid::Uuid::nil()), 4096));
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

/// Somebody removes all volumes and files of a machine, or its physical volumes fail.
fn node1_loses_disks(world: &mut World) {
    world.named("node1").files.clear();
}

fn node2_loses_disks(world: &mut World) {
    world.named("node2").files.clear();
}

fn all_lose_disks(world: &mut World) {
    world.machines.values_mut().for_each(|machine| machine.files.clear());
}

/// Both sides of the second mirror.
fn mirrors_lose_disk_1(world: &mut World) {
    let machines = world.machines.values_mut();
    machines.for_each(|machine| machine.files.retain(|name, _| !name.contains(".disk1_")));
}

/// The machines did not see each other, and both wrote.
fn sides_part(world: &mut World) {
    world.part_all();
}

fn up(template: &str) -> Vec<Step> {
    vec![Do(create(template, json!({})))]
}

fn down(template: &str) -> Vec<Step> {
    vec![Do(create(template, json!({"start": false})))]
}

fn with(mut steps: Vec<Step>, step: Step) -> Vec<Step> {
    steps.push(step);
    steps
}

fn op(id: &str, fields: Value) -> Value {
    let mut all = fields;
    all["OP_ID"] = format!("OP_{id}").into();
    all
}

/// Instances named so have to be apart.
fn rule(name: &str, fields: Value) -> Value {
    let mut all = op("PLACEMENT_RULE_ADD", fields);
    all["rule_name"] = name.into();
    all["kind"] = "apart".into();
    all["instances"] = r#"name =* "web*""#.into();
    all
}

/// Writes web to node2.
fn export(fields: Value) -> Value {
    let mut all =
        json!({"OP_ID": "OP_BACKUP_EXPORT", "instance_name": WEB, "target_node": "node2"});
    all.as_object_mut().expect("fields").extend(fields.as_object().expect("fields").clone());
    all
}

/// web is gone, but for an export on node2.
fn exported(template: &str) -> Vec<Step> {
    with(up(template), Do(export(json!({"remove_instance": true}))))
}

/// Makes an instance from it.
fn import(fields: Value) -> Value {
    let mut all = json!({"OP_ID": "OP_INSTANCE_CREATE", "instance_name": WEB, "mode": "import",
                         "disks": [], "nics": [], "start": false});
    all.as_object_mut().expect("fields").extend(fields.as_object().expect("fields").clone());
    all
}

/// The power of node1 has failed and the administrator said so.
fn node1_dies(world: &mut World) {
    world.kill("node1");
}

fn node1_offline(config: &Config) -> Vec<Change> {
    let mut cluster = (*config.cluster).clone();
    let mut node = (**config.node("node1").expect("a node")).clone();
    node.offline = true;
    // The master is never offline: another node took over.
    cluster.master_node = node_id("node2");
    vec![
        Change::Update(Object::Cluster(Box::new(cluster))),
        Change::Update(Object::Node(Box::new(node))),
    ]
}

/// Somebody took the cluster's address away.
fn without_master_ip(world: &mut World) {
    world.named("node1").addresses.clear();
}

/// More candidates than are wanted.
fn smaller_pool(config: &Config) -> Vec<Change> {
    let mut cluster = (*config.cluster).clone();
    cluster.candidate_pool_size = 2;
    vec![Change::Update(Object::Cluster(Box::new(cluster)))]
}

fn web_to_node2(world: &mut World) {
    world.teleport(WEB, "node1", "node2");
}

/// A physical volume of a volume group is gone.
fn node2_loses_a_volume(world: &mut World) {
    world.named("node2").broken_groups.insert("xenvg".into());
}

/// A disk is larger than it should be.
fn disks_grow(world: &mut World) {
    for data in world.shared.values_mut() {
        data.size *= 2;
    }
}

fn volumes_grow(world: &mut World) {
    for data in world.named("node1").files.values_mut() {
        data.size *= 2;
    }
}

/// Two instances that run on node1.
fn two_up() -> Vec<Step> {
    let mut other = create("sharedfile", json!({}));
    other["instance_name"] = "db.example.com".into();
    vec![Do(create("sharedfile", json!({}))), Do(other)]
}

/// A cluster whose certificates and secrets are known.
fn equipped() -> Vec<Step> {
    vec![Step::Config(crypto::configured), Step::World(crypto::equipped)]
}

/// All nodes have an out-of-band helper.
fn helpers(config: &Config) -> Vec<Change> {
    let mut cluster = (*config.cluster).clone();
    cluster.ndparams.insert("oob_program".into(), "/usr/local/sbin/oob".into());
    vec![Change::Update(Object::Cluster(Box::new(cluster)))]
}

fn recorded_off(config: &Config) -> Vec<Change> {
    let nodes = ["node2", "node3"].map(|name| {
        let mut node = (**config.node(name).expect("a node")).clone();
        node.powered = false;
        Change::Update(Object::Node(Box::new(node)))
    });
    nodes.into()
}

fn switched_off(world: &mut World) {
    world.off.extend(["node2", "node3"].map(String::from));
}

fn remove_node(name: &str) -> Step {
    Do(op("NODE_REMOVE", json!({ "node_name": name })))
}

macro_rules! scenarios {
    ($($(#[$flag:ident])* $name:ident: $setup:expr => $op:expr;)+) => {
        $(#[test]
        fn $name() {
            #[allow(unused_mut, reason = "most have no flags")]
            let mut scenario = Scenario {
                name: stringify!($name),
                setup: $setup,
                op: $op,
                lossy: false,
                grows: false,
                leaves: false,
                rows: false,
                disturbed: false,
            };
            $(scenario.$flag = true;)*
            check(scenario);
        })+

        /// The opcodes of the table.
        fn covered() -> BTreeSet<String> {
            [$($op),+].iter().map(|op| op["OP_ID"].as_str().unwrap_or_default().into()).collect()
        }
    };
}

/// The source of a migration falls silent the moment the guest has left: nobody can tell where it
/// is, so nothing is done to it, and the administrator is told what to do.
#[test]
fn a_guest_that_moved_unnoticed_is_found_again() {
    let site = Site::new();
    let run = |op: Value, faults: Faults| {
        site.run(faults, async |master| {
            let job = master.submit(&[op]).await;
            master.settle().await;
            (master.job(job).record(), master.hands.calls())
        })
        .expect("nothing crashes")
    };
    run(create("sharedfile", json!({})), Faults::default());
    let migrate = || instance("MIGRATE", json!({"target_node": "node2"}));
    let trial = site.fork();
    let (_, calls) = trial
        .run(Faults::default(), async |master| {
            let job = master.submit(&[migrate()]).await;
            master.settle().await;
            (job, master.hands.calls())
        })
        .expect("nothing crashes");
    let number = calls.iter().position(|c| matches!(c.action, Action::MigrateRun { .. }));
    let fail = number.map(|n| (n, When::After));
    let (record, _) = run(migrate(), Faults { fail, for_good: true, ..Faults::default() });
    assert_eq!(record.status(), JobStatus::Error);
    assert!(site.world().violations.is_empty());
    assert_eq!(site.config().instance(WEB).expect("it is there").primary_node, {
        site.config().node("node1").expect("it is there").uuid
    });
    let (record, _) = run(instance("MIGRATE", json!({"cleanup": true})), Faults::default());
    assert_eq!(record.status(), JobStatus::Success, "{:?}", record.ops[0].result);
    let left = site.run(Faults::default(), async |master| {
        master.engine.repair_debris().await.expect("it can be stored").len()
    });
    assert_eq!(left, Some(0));
    let problems = compare::disagreements(&site.config(), &site.world());
    assert!(problems.is_empty(), "{problems:#?}");
}

/// Nobody forgets to add a line.
#[test]
fn every_opcode_has_a_scenario() {
    let list = include_str!("../src/ops/mod.rs");
    let list = list.split("\noperations! {").nth(1).and_then(|rest| rest.split('}').next());
    let names = list.expect("the list of opcodes").split(',').map(str::trim);
    let id = |name: &str| {
        let mut id = String::from("OP");
        for letter in name.chars() {
            if letter.is_uppercase() {
                id.push('_');
            }
            id.extend(letter.to_uppercase());
        }
        id
    };
    let all: BTreeSet<String> = names.filter(|name| !name.is_empty()).map(id).collect();
    assert!(all.len() > 20, "{all:?}");
    let missing: Vec<_> = all.difference(&covered()).cloned().collect();
    assert!(missing.is_empty(), "add a line to the table in {} for: {missing:?}", file!());
}

scenarios! {
    create_sharedfile: vec![] => create("sharedfile", json!({}));
    create_file: vec![] => create("file", json!({}));
    create_diskless: vec![] => create("diskless", json!({}));
    create_stopped: vec![] => create("sharedfile", json!({"start": false}));
    create_without_os: vec![] => create("file", json!({"no_install": true, "start": false}));
    create_anywhere: vec![] => create("sharedfile", json!({"pnode": null, "iallocator": "hail"}));
    create_plain: vec![] => create("plain", json!({}));
    create_drbd: vec![] => create("drbd", json!({}));
    create_drbd_stopped: vec![] => create("drbd", json!({"start": false}));
    create_drbd_unsynced: vec![] => create("drbd", json!({"wait_for_sync": false, "start": false}));
    create_drbd_anywhere: vec![] =>
        create("drbd", json!({"pnode": null, "snode": null, "iallocator": "hail"}));
    create_ext: vec![] => create("ext", json!({}));
    create_rbd: vec![] => create("rbd", json!({}));
    create_gluster: vec![] => create("gluster", json!({}));
    create_adopting_device: vec![Step::World(device_appears)] =>
        create("blockdev", json!({"no_install": true, "start": false}));
    create_adopting_volume: vec![Step::World(volume_appears)] =>
        create("plain", json!({"disks": [{"adopt": "byhand"}], "no_install": true}));
    startup: down("sharedfile") => instance("STARTUP", json!({}));
    startup_diskless: down("diskless") => instance("STARTUP", json!({}));
    startup_plain: down("plain") => instance("STARTUP", json!({}));
    startup_drbd: down("drbd") => instance("STARTUP", json!({}));
    startup_drbd_active: with(down("drbd"), Do(instance("ACTIVATE_DISKS", json!({})))) =>
        instance("STARTUP", json!({}));
    #[disturbed]
    startup_drbd_alone:
        with(with(down("drbd"), Step::World(node2_dies)), Step::Config(node2_offline)) =>
        instance("STARTUP", json!({}));
    shutdown_plain: up("plain") => instance("SHUTDOWN", json!({}));
    shutdown_drbd: up("drbd") => instance("SHUTDOWN", json!({}));
    reboot_drbd_full: up("drbd") => instance("REBOOT", json!({"reboot_type": "full"}));
    reboot_plain_full: up("plain") => instance("REBOOT", json!({"reboot_type": "full"}));
    remove_plain: up("plain") => instance("REMOVE", json!({}));
    remove_drbd: up("drbd") => instance("REMOVE", json!({}));
    remove_ext: up("ext") => instance("REMOVE", json!({}));
    migrate_drbd: up("drbd") => instance("MIGRATE", json!({}));
    migrate_ext: up("ext") => instance("MIGRATE", json!({"target_node": "node3"}));
    #[disturbed]
    migrate_drbd_cleanup: with(up("drbd"), Step::World(web_to_node2)) =>
        instance("MIGRATE", json!({"cleanup": true}));
    failover_drbd: up("drbd") => instance("FAILOVER", json!({}));
    failover_drbd_stopped: down("drbd") => instance("FAILOVER", json!({}));
    failover_drbd_active: with(down("drbd"), Do(instance("ACTIVATE_DISKS", json!({})))) =>
        instance("FAILOVER", json!({}));
    #[disturbed]
    failover_drbd_from_dead_node:
        with(with(up("drbd"), Step::World(node1_dies)), Step::Config(node1_offline)) =>
        instance("FAILOVER", json!({}));
    failover_ext: up("ext") => instance("FAILOVER", json!({"target_node": "node2"}));
    rename_drbd: down("drbd") => instance("RENAME", json!({"new_name": "www.example.com"}));
    #[lossy]
    reinstall_drbd: down("drbd") => instance("REINSTALL", json!({}));
    #[lossy]
    reinstall_plain: down("plain") => instance("REINSTALL", json!({}));
    activate_disks_drbd: down("drbd") =>
        instance("ACTIVATE_DISKS", json!({"wait_for_sync": true}));
    deactivate_disks_drbd: with(down("drbd"), Do(instance("ACTIVATE_DISKS", json!({})))) =>
        instance("DEACTIVATE_DISKS", json!({}));
    backup_prepare: up("file") =>
        op("BACKUP_PREPARE", json!({"instance_name": WEB, "mode": "local"}));
    export_file: up("file") => export(json!({}));
    export_plain_live: up("plain") => export(json!({"shutdown": false}));
    export_drbd: up("drbd") => export(json!({"compress": "gzip"}));
    export_stopped: down("ext") => export(json!({}));
    export_long_sleep: up("gluster") => export(json!({"long_sleep": true}));
    export_again: with(up("file"), Do(export(json!({})))) => export(json!({}));
    export_elsewhere: with(up("file"), Do(export(json!({"target_node": "node3"})))) =>
        export(json!({}));
    #[lossy]
    export_and_remove: up("drbd") => export(json!({"remove_instance": true}));
    export_remove: with(up("file"), Do(export(json!({})))) =>
        op("BACKUP_REMOVE", json!({"instance_name": WEB}));
    import_file: exported("file") => import(json!({"pnode": "node1"}));
    import_drbd: exported("drbd") => import(json!({"pnode": "node3", "snode": "node1"}));
    import_renamed: with(up("plain"), Do(export(json!({})))) =>
        import(json!({"instance_name": "copy.example.com", "pnode": "node3", "src_path": WEB,
                      "src_node": "node2", "nics": [{"mac": "generate"}]}));
    shutdown: up("file") => instance("SHUTDOWN", json!({}));
    reboot_soft: up("sharedfile") => instance("REBOOT", json!({"reboot_type": "soft"}));
    reboot_hard: up("sharedfile") => instance("REBOOT", json!({"reboot_type": "hard"}));
    reboot_full: up("sharedfile") => instance("REBOOT", json!({"reboot_type": "full"}));
    reboot_stopped: down("sharedfile") => instance("REBOOT", json!({"reboot_type": "hard"}));
    remove: up("sharedfile") => instance("REMOVE", json!({}));
    remove_file: up("file") => instance("REMOVE", json!({}));
    remove_stopped: down("file") => instance("REMOVE", json!({}));
    migrate: up("sharedfile") => instance("MIGRATE", json!({"target_node": "node2"}));
    migrate_anywhere: up("sharedfile") => instance("MIGRATE", json!({}));
    #[disturbed]
    migrate_cleanup: with(up("sharedfile"), Step::World(web_to_node2)) =>
        instance("MIGRATE", json!({"cleanup": true}));
    migrate_stopped: down("sharedfile") =>
        instance("MIGRATE", json!({"target_node": "node2", "allow_failover": true}));
    failover: up("sharedfile") => instance("FAILOVER", json!({"target_node": "node2"}));
    failover_stopped: down("sharedfile") => instance("FAILOVER", json!({"target_node": "node2"}));
    #[disturbed]
    failover_from_dead_node:
        with(with(up("sharedfile"), Step::World(node1_dies)), Step::Config(node1_offline)) =>
        instance("FAILOVER", json!({"target_node": "node3"}));
    move_running: up("file") => instance("MOVE", json!({"target_node": "node2"}));
    move_stopped: down("file") => instance("MOVE", json!({"target_node": "node2"}));
    rename: down("file") => instance("RENAME", json!({"new_name": "www.example.com"}));
    rename_diskless: down("diskless") => instance("RENAME", json!({"new_name": "www.example.com"}));
    #[lossy]
    reinstall: down("sharedfile") => instance("REINSTALL", json!({}));
    modify_backend: down("sharedfile") =>
        instance("SET_PARAMS", json!({"beparams": {"maxmem": 512, "minmem": 256, "vcpus": 2}}));
    modify_hypervisor: up("sharedfile") =>
        instance("SET_PARAMS", json!({"hvparams": {"boot_order": "network"}}));
    modify_memory: up("sharedfile") => instance("SET_PARAMS", json!({"runtime_mem": 128}));
    modify_offline: down("sharedfile") => instance("SET_PARAMS", json!({"offline": true}));
    add_disk: down("file") => instance("SET_PARAMS", json!({"disks": [["add", -1, {"size": 1024}]]}));
    add_disk_hot: up("sharedfile") =>
        instance("SET_PARAMS", json!({"disks": [["add", -1, {"size": 1024}]]}));
    remove_disk: down("file") => instance("SET_PARAMS", json!({"disks": [["remove", 0, {}]]}));
    remove_disk_hot: up("sharedfile") =>
        instance("SET_PARAMS", json!({"disks": [["remove", 0, {}]]}));
    modify_disk: down("file") =>
        instance("SET_PARAMS", json!({"disks": [["modify", 0, {"name": "root"}]]}));
    add_nic: down("file") => instance("SET_PARAMS", json!({"nics": [["add", -1, {"link": "br1"}]]}));
    add_nic_hot: up("sharedfile") =>
        instance("SET_PARAMS", json!({"nics": [["add", -1, {"link": "br1"}]]}));
    remove_nic_hot: up("sharedfile") => instance("SET_PARAMS",
        json!({"nics": [["remove", 0, {}]], "ignore_ipolicy": true}));
    modify_nic_hot: up("sharedfile") =>
        instance("SET_PARAMS", json!({"nics": [["modify", 0, {"link": "br1"}]]}));
    change_all_devices_hot: up("sharedfile") => instance("SET_PARAMS", json!({
        "disks": [["remove", 0, {}], ["add", -1, {"size": 1024}]],
        "nics": [["add", -1, {"link": "br1"}], ["remove", 0, {}]],
    }));
    #[grows]
    grow_disk: up("sharedfile") => instance("GROW_DISK", json!({"disk": 0, "amount": 512}));
    #[grows]
    grow_disk_stopped: down("file") =>
        instance("GROW_DISK", json!({"disk": 1, "amount": 4096, "absolute": true}));
    #[grows]
    grow_disk_plain: up("plain") => instance("GROW_DISK", json!({"disk": 0, "amount": 512}));
    #[grows]
    grow_disk_drbd: up("drbd") => instance("GROW_DISK", json!({"disk": 0, "amount": 512}));
    #[grows]
    grow_disk_drbd_stopped: down("drbd") => instance("GROW_DISK",
        json!({"disk": 1, "amount": 512, "wait_for_sync": false}));
    #[disturbed]
    recreate_disks_file: with(down("file"), Step::World(node1_loses_disks)) =>
        instance("RECREATE_DISKS", json!({}));
    #[disturbed]
    recreate_disks_plain: with(down("plain"), Step::World(node1_loses_disks)) =>
        instance("RECREATE_DISKS", json!({"disks": [0, [1, {"size": 4096, "mode": "ro"}]]}));
    #[disturbed]
    recreate_disk_drbd: with(down("drbd"), Step::World(mirrors_lose_disk_1)) =>
        instance("RECREATE_DISKS", json!({"disks": [1]}));
    #[disturbed]
    recreate_disks_elsewhere: with(down("drbd"), Step::World(all_lose_disks)) =>
        instance("RECREATE_DISKS", json!({"nodes": ["node3", "node2"]}));
    #[disturbed]
    recreate_disks_anywhere: with(down("plain"), Step::World(all_lose_disks)) =>
        instance("RECREATE_DISKS", json!({"iallocator": "hail"}));
    #[disturbed] #[leaves]
    recreate_disks_of_dead_node:
        with(with(up("plain"), Step::World(node1_dies)), Step::Config(node1_offline)) =>
        instance("RECREATE_DISKS", json!({"nodes": ["node2"]}));
    replace_disks_on_primary: up("drbd") =>
        instance("REPLACE_DISKS", json!({"mode": "replace_on_primary"}));
    replace_disks_on_secondary: up("drbd") =>
        instance("REPLACE_DISKS", json!({"mode": "replace_on_secondary", "disks": [1]}));
    replace_disks_early: up("drbd") =>
        instance("REPLACE_DISKS", json!({"mode": "replace_on_secondary", "early_release": true}));
    replace_disks_stopped: down("drbd") =>
        instance("REPLACE_DISKS", json!({"mode": "replace_on_primary"}));
    #[disturbed]
    replace_disks_lost: with(down("drbd"), Step::World(node1_loses_disks)) =>
        instance("REPLACE_DISKS", json!({"mode": "replace_on_primary"}));
    #[disturbed]
    replace_disks_faulty: with(up("drbd"), Step::World(node2_loses_disks)) =>
        instance("REPLACE_DISKS", json!({"mode": "replace_auto"}));
    replace_disks_not_faulty: up("drbd") =>
        instance("REPLACE_DISKS", json!({"mode": "replace_auto"}));
    replace_secondary: up("drbd") => instance("REPLACE_DISKS",
        json!({"mode": "replace_new_secondary", "remote_node": "node3"}));
    replace_secondary_early: up("drbd") => instance("REPLACE_DISKS",
        json!({"mode": "replace_new_secondary", "remote_node": "node3", "early_release": true}));
    replace_secondary_stopped: down("drbd") => instance("REPLACE_DISKS",
        json!({"mode": "replace_new_secondary", "iallocator": "hail"}));
    #[disturbed] #[leaves]
    replace_dead_secondary:
        with(with(up("drbd"), Step::World(node2_dies)), Step::Config(node2_offline)) =>
        instance("REPLACE_DISKS",
            json!({"mode": "replace_new_secondary", "remote_node": "node3"}));
    #[disturbed]
    repair_mirror: with(up("drbd"), Step::World(sides_part)) =>
        instance("REPAIR_MIRROR", json!({"discard_node": "node2"}));
    activate_disks: down("sharedfile") => instance("ACTIVATE_DISKS", json!({}));
    deactivate_disks: with(down("sharedfile"), Do(instance("ACTIVATE_DISKS", json!({})))) =>
        instance("DEACTIVATE_DISKS", json!({}));
    group_add: vec![] => op("GROUP_ADD", json!({"group_name": "rack3"}));
    group_rename: vec![] => op("GROUP_RENAME", json!({"group_name": "rack2", "new_name": "rack9"}));
    group_modify: vec![] =>
        op("GROUP_SET_PARAMS", json!({"group_name": "rack2", "alloc_policy": "last_resort"}));
    group_assign_nodes: vec![] =>
        op("GROUP_ASSIGN_NODES", json!({"group_name": "rack2", "nodes": ["node3"]}));
    group_remove: vec![Do(op("GROUP_ADD", json!({"group_name": "rack3"})))] =>
        op("GROUP_REMOVE", json!({"group_name": "rack3"}));
    tags_add: down("diskless") =>
        op("TAGS_SET", json!({"kind": "instance", "name": WEB, "tags": ["a", "b"]}));
    tags_remove: vec![Do(op("TAGS_SET", json!({"kind": "cluster", "tags": ["a", "b"]})))] =>
        op("TAGS_DEL", json!({"kind": "cluster", "tags": ["a"]}));
    tags_get: vec![] => op("TAGS_GET", json!({"kind": "cluster"}));
    tags_search: vec![] => op("TAGS_SEARCH", json!({"pattern": "."}));
    delay: vec![] => op("TEST_DELAY",
        json!({"duration": 0.1, "on_nodes": ["node1", "node2"], "repeat": 2, "no_locks": false}));
    console: up("sharedfile") => instance("CONSOLE", json!({}));
    instance_info: up("sharedfile") => op("INSTANCE_QUERY_DATA", json!({"instances": [WEB]}));
    node_add: vec![] => op("NODE_ADD", json!({"node_name": NEWCOMER}));
    node_readd:
        vec![Do(op("NODE_SET_PARAMS", json!({"node_name": "node3", "offline": true})))] =>
        op("NODE_ADD", json!({"node_name": "node3.example.com", "readd": true}));
    node_modify: vec![] => op("NODE_SET_PARAMS", json!({"node_name": "node3", "drained": true}));
    node_offline: vec![] => op("NODE_SET_PARAMS", json!({"node_name": "node3", "offline": true}));
    node_remove: vec![] => op("NODE_REMOVE", json!({"node_name": "node4"}));
    cluster_modify: vec![] =>
        op("CLUSTER_SET_PARAMS", json!({"candidate_pool_size": 2, "beparams": {"maxmem": 256}}));
    cluster_modify_directory: vec![] =>
        op("CLUSTER_SET_PARAMS", json!({"file_storage_dir": "/srv/other"}));
    cluster_smaller_pool: vec![] =>
        op("CLUSTER_SET_PARAMS", json!({"candidate_pool_size": 1}));
    cluster_redist_conf_smaller_pool: vec![Step::Config(smaller_pool)] =>
        op("CLUSTER_REDIST_CONF", json!({}));
    cluster_query: vec![] => op("CLUSTER_QUERY", json!({}));
    cluster_config_query: vec![] =>
        op("CLUSTER_CONFIG_QUERY", json!({"output_fields": ["cluster_name"]}));
    cluster_rename: vec![] => op("CLUSTER_RENAME", json!({"name": "house.example.com"}));
    cluster_renew_certificates: equipped() =>
        op("CLUSTER_RENEW_CRYPTO", json!({"node_certificates": true}));
    cluster_renew_some_certificates: equipped() => op("CLUSTER_RENEW_CRYPTO",
        json!({"node_certificates": true, "nodes": ["node2", "node3"]}));
    cluster_renew_all: equipped() => op("CLUSTER_RENEW_CRYPTO", json!({
        "new_cluster_certificate": true,
        "new_secrets": ["hmac.key", "spice.pem", "spice-ca.pem"],
        "given_secrets": {"rapi.pem": "version 3", "cluster-domain-secret": "version 4"},
    }));
    cluster_forget_former:
        with(equipped(), Do(op("CLUSTER_RENEW_CRYPTO", json!({"new_cluster_certificate": true})))) =>
        op("CLUSTER_RENEW_CRYPTO", json!({"forget_former": true}));
    cluster_post_init: vec![Step::World(without_master_ip)] => op("CLUSTER_POST_INIT", json!({}));
    cluster_activate_master_ip: vec![Step::World(without_master_ip)] =>
        op("CLUSTER_ACTIVATE_MASTER_IP", json!({}));
    cluster_activate_active_master_ip: vec![] => op("CLUSTER_ACTIVATE_MASTER_IP", json!({}));
    cluster_deactivate_master_ip: vec![] => op("CLUSTER_DEACTIVATE_MASTER_IP", json!({}));
    cluster_modify_master_ip: vec![] =>
        op("CLUSTER_SET_PARAMS", json!({"master_netdev": "br1", "master_netmask": 24}));
    cluster_redist_conf: vec![] => op("CLUSTER_REDIST_CONF", json!({}));
    cluster_verify: up("sharedfile") => op("CLUSTER_VERIFY", json!({}));
    cluster_verify_config: up("sharedfile") => op("CLUSTER_VERIFY_CONFIG", json!({}));
    cluster_verify_group: up("sharedfile") =>
        op("CLUSTER_VERIFY_GROUP", json!({"group_name": "default"}));
    cluster_verify_drbd: up("drbd") => op("CLUSTER_VERIFY", json!({}));
    group_verify_disks_drbd: up("drbd") =>
        op("GROUP_VERIFY_DISKS", json!({"group_name": "default"}));
    cluster_verify_disks: up("sharedfile") => op("CLUSTER_VERIFY_DISKS", json!({}));
    group_verify_disks: up("sharedfile") =>
        op("GROUP_VERIFY_DISKS", json!({"group_name": "default"}));
    #[disturbed]
    cluster_repair_disk_sizes: with(up("sharedfile"), Step::World(disks_grow)) =>
        op("CLUSTER_REPAIR_DISK_SIZES", json!({}));
    #[disturbed]
    cluster_repair_volume_sizes: with(up("plain"), Step::World(volumes_grow)) =>
        op("CLUSTER_REPAIR_DISK_SIZES", json!({}));
    cluster_destroy: ["node2", "node3", "node4"].map(remove_node).into() =>
        op("CLUSTER_DESTROY", json!({}));
    node_migrate: two_up() => op("NODE_MIGRATE", json!({"node_name": "node1"}));
    node_evacuate: two_up() =>
        op("NODE_EVACUATE", json!({"node_name": "node1", "mode": "primary-only"}));
    node_migrate_drbd: up("drbd") => op("NODE_MIGRATE", json!({"node_name": "node1"}));
    node_evacuate_drbd: up("drbd") =>
        op("NODE_EVACUATE", json!({"node_name": "node1", "mode": "primary-only"}));
    node_evacuate_mirrors: up("drbd") =>
        op("NODE_EVACUATE", json!({"node_name": "node2", "mode": "secondary-only"}));
    node_evacuate_all_drbd: up("drbd") =>
        op("NODE_EVACUATE", json!({"node_name": "node1", "mode": "all"}));
    create_by_script: vec![] =>
        create("sharedfile", json!({"pnode": null, "iallocator": "first"}));
    create_drbd_by_script: vec![] =>
        create("drbd", json!({"pnode": null, "snode": null, "iallocator": "first"}));
    create_several: vec![] => op("INSTANCE_MULTI_ALLOC", json!({"instances": [
        {"instance_name": "a.example.com", "mode": "create", "disk_template": "diskless",
         "disks": [], "nics": [{}], "no_install": true, "start": false},
        {"instance_name": "b.example.com", "mode": "create", "disk_template": "diskless",
         "disks": [], "nics": [{}], "no_install": true, "start": false},
    ]}));
    change_group: up("sharedfile") =>
        instance("CHANGE_GROUP", json!({"target_groups": ["rack2"]}));
    group_evacuate: two_up() =>
        op("GROUP_EVACUATE", json!({"group_name": "default", "sequential": true}));
    test_allocator: vec![] => op("TEST_ALLOCATOR", json!({"direction": "out", "mode": "allocate",
        "name": "new.example.com", "iallocator": "hail", "disk_template": "diskless",
        "disks": [], "nics": [{}]}));
    node_powercycle: vec![] => op("NODE_POWERCYCLE", json!({"node_name": "node4"}));
    #[rows]
    oob_power_off: vec![Step::Config(helpers)] => op("OOB_COMMAND",
        json!({"command": "power-off", "node_names": ["node2", "node3"], "ignore_status": true}));
    #[rows]
    oob_power_on: vec![Step::Config(helpers), Step::Config(recorded_off), Step::World(switched_off)] =>
        op("OOB_COMMAND", json!({"command": "power-on", "node_names": ["node2", "node3"],
            "power_delay": 0.001}));
    oob_power_status: vec![Step::Config(helpers)] =>
        op("OOB_COMMAND", json!({"command": "power-status"}));
    oob_health: vec![Step::Config(helpers)] => op("OOB_COMMAND", json!({"command": "health"}));
    node_volumes: vec![] => op("NODE_QUERYVOLS", json!({"output_fields": ["node", "name"]}));
    node_storage_modify: vec![] => op("NODE_MODIFY_STORAGE", json!({"node_name": "node2",
        "storage_type": "lvm-pv", "name": "/dev/sdb", "changes": {"allocatable": false}}));
    #[disturbed]
    node_storage_repair: vec![Step::World(node2_loses_a_volume)] =>
        op("REPAIR_NODE_STORAGE", json!({"node_name": "node2", "storage_type": "lvm-vg",
            "name": "xenvg"}));
    node_storage: vec![] => op("NODE_QUERY_STORAGE",
        json!({"output_fields": ["node", "name"], "storage_type": "file"}));
    ext_storage_diagnose: vec![] => op("EXT_STORAGE_DIAGNOSE",
        json!({"output_fields": ["name", "nodegroup_status"]}));
    set_balancer: vec![] => op("CLUSTER_SET_BALANCER", json!({"mode": "report", "hold": 60}));
    rule_add: up("diskless") => rule("a", json!({"strength": 2.5}));
    rule_modify: vec![Do(rule("a", json!({}))), Do(rule("b", json!({"enabled": false})))] =>
        op("PLACEMENT_RULE_MODIFY", json!({"rule_name": "b", "new_name": "c", "enabled": true}));
    rule_remove: vec![Do(rule("a", json!({})))] =>
        op("PLACEMENT_RULE_REMOVE", json!({"rule_name": "a"}));
    os_diagnose: vec![] => op("OS_DIAGNOSE", json!({"output_fields": ["name"]}));
}
