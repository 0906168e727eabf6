//! Groups, scenes and plans, of small clusters.

use super::super::plan::{self, Found};
use super::*;
use crate::ops::testing::{Site, machine, node_id};
use roost_proto::opcodes::OpCode;
use serde_json::json;

const CLOCK: u64 = 1_000_000;

/// Three nodes with room; all instances are on the first, mirrored on the second, and run.
fn site() -> Site {
    let mut site = Site::new(&["node1", "node2", "node3"]);
    for at in 1..=6 {
        let name = format!("web{at}");
        site.instance(&name, "node1", |_| {});
        site.mirrored_volumes(&name, "node2");
        site.seen("node1", &name);
    }
    for name in ["node1", "node2", "node3"] {
        let view = site.facts.seen.entry(node_id(name)).or_default();
        let view = Arc::make_mut(view);
        (view.up, view.told) = (true, CLOCK - 2_000);
        view.report = machine(if name == "node1" { 40_000 } else { 60_000 });
        view.report.volume_groups = [("xenvg".to_owned(), (1 << 20, 1 << 19))].into();
    }
    site.cluster(|cluster| cluster.volume_group_name = Some("xenvg".into()));
    site
}

fn job(id: u64, status: &str, input: Value) -> Arc<JobRecord> {
    let op = json!({"input": input, "status": status, "result": null, "priority": 0});
    let record = json!({"id": id, "ops": [op]});
    Arc::new(serde_json::from_value(record).expect("a job"))
}

fn world(site: &Site, jobs: Vec<Arc<JobRecord>>) -> World {
    World {
        config: Arc::new(site.config.clone()),
        seen: site.facts.seen.clone(),
        active: site.active.clone(),
        jobs,
        clock: CLOCK,
    }
}

fn group(site: &Site) -> GroupId {
    site.config.group("default").expect("it").uuid
}

fn seen(site: &Site, jobs: Vec<Arc<JobRecord>>, since: u64) -> Option<Sight> {
    let world = world(site, jobs);
    let work = Work::of(&world.config, &world.jobs);
    obstacle(&world, &work, group(site), since)
}

fn planned(site: &Site, jobs: Vec<Arc<JobRecord>>, budget: (u32, u64)) -> Found {
    let world = world(site, jobs);
    let work = Work::of(&world.config, &world.jobs);
    plan::plan(&Scene::new(&world, &work), group(site), budget, &[], 7.0)
}

fn migrate(name: &str) -> Value {
    json!({"OP_ID": "OP_INSTANCE_MIGRATE", "instance_name": name})
}

#[test]
fn a_group_is_left_alone_while_others_move_its_instances() {
    let site = site();
    assert_eq!(seen(&site, vec![], 0), None);
    let busy = |input: Value| seen(&site, vec![job(17, "queued", input)], 0);
    let wanted = Some(Sight::Busy("job 17, which moves instances".into()));
    assert_eq!(busy(migrate("web1")), wanted);
    assert_eq!(busy(json!({"OP_ID": "OP_NODE_EVACUATE", "node_name": "node3"})), wanted);
    assert_eq!(busy(json!({"OP_ID": "OP_GROUP_EVACUATE", "group_name": "default"})), wanted);
    let change = json!({"OP_ID": "OP_INSTANCE_CHANGE_GROUP", "instance_name": "elsewhere",
        "target_groups": ["default"]});
    assert_eq!(busy(change), wanted);
    let backup = json!({"OP_ID": "OP_BACKUP_EXPORT", "instance_name": "web1"});
    assert_eq!(busy(backup), None, "that moves nothing");
    let mut ours = migrate("web1");
    ours["reason"] = json!([["gnt:client", "", 1], [REASON, "move=5;group=default", 2]]);
    assert_eq!(mark_of(&job(18, "queued", ours.clone())), Some(5));
    assert_eq!(busy(ours), None, "the ledger knows ours");
    assert_eq!(seen(&site, vec![job(17, "success", migrate("web1"))], 0), None, "it has ended");
}

#[test]
fn all_nodes_have_to_have_reported() {
    let mut site = site();
    let busy = seen(&site, vec![], CLOCK - 1_000);
    assert!(matches!(&busy, Some(Sight::Busy(what)) if what.starts_with("a new report of node ")));
    let told = |site: &mut Site, told: u64, up: bool| {
        let view = Arc::make_mut(site.facts.seen.get_mut(&node_id("node2")).expect("it"));
        (view.told, view.up) = (told, up);
    };
    let unknown = Some(Sight::Unknown("node node2 has not reported lately".into()));
    for (when, up) in [(CLOCK - 2_000, false), (0, true), (CLOCK - 30_001, true)] {
        told(&mut site, when, up);
        assert_eq!(seen(&site, vec![], 0), unknown);
    }
    site.node("node2", |node| node.offline = true);
    assert_eq!(seen(&site, vec![], 0), None, "nobody waits for that one");
    site.node("node3", |node| node.drained = true);
    assert_eq!(seen(&site, vec![], 0), None);
    let id = group(&site);
    let mut tagged = (**site.config.groups.get(&id).expect("it")).clone();
    tagged.tags = vec![OFF_TAG.into()];
    let object = crate::config::Object::Group(tagged);
    site.apply(&[crate::config::Change::Update(object)]);
    assert_eq!(seen(&site, vec![], 0), Some(Sight::Excluded));
}

#[test]
fn a_plan_keeps_to_its_budget_and_begins_with_moves_that_share_no_node() {
    let site = site();
    let world = world(&site, vec![]);
    let scene = Scene::new(&world, &Work::default());
    let Sight::Known { score, unavoidable } = scene.sight(group(&site)) else { panic!("known") };
    assert!(score - unavoidable > 1.0, "{score} {unavoidable}");
    let found = planned(&site, vec![], (100, 1 << 20));
    assert!((found.told.before - score).abs() < 1e-9, "{} {score}", found.told.before);
    assert!(found.told.after < score - 1.0 && found.told.moves.len() >= 3, "{:?}", found.told);
    assert_eq!(found.first.len(), 1, "with three nodes all moves share one");
    assert!(found.first[0].is_true(&site.config));
    let failovers = planned(&site, vec![], (100, 0));
    assert!(!failovers.told.moves.is_empty());
    assert!(failovers.told.moves.iter().all(|m| m.copy == 0), "{:?}", failovers.told);
    assert_eq!(planned(&site, vec![], (2, 1 << 20)).told.moves.len(), 2);
    let copied: u64 = planned(&site, vec![], (100, 3000)).told.moves.iter().map(|m| m.copy).sum();
    assert!(copied <= 3000, "{copied}");
}

#[test]
fn who_is_not_to_be_moved_stays() {
    let mut site = site();
    let change = |site: &mut Site, name: &str, change: &dyn Fn(&mut Instance)| {
        let mut instance = (**site.config.instance(name).expect("it")).clone();
        change(&mut instance);
        let object = crate::config::Object::Instance(Box::new(instance));
        site.apply(&[crate::config::Change::Update(object)]);
    };
    change(&mut site, "web1", &|i| i.tags = vec![OFF_TAG.into()]);
    change(&mut site, "web2", &|i| {
        i.beparams.insert("always_failover".into(), true.into());
    });
    change(&mut site, "web3", &|i| {
        i.beparams.insert("auto_balance".into(), false.into());
    });
    // It should run, and does not.
    let view = Arc::make_mut(site.facts.seen.get_mut(&node_id("node1")).expect("it"));
    view.guests.remove("web4");
    let backup = json!({"OP_ID": "OP_BACKUP_EXPORT", "instance_name": "web5"});
    let found = planned(&site, vec![job(17, "running", backup)], (100, 1 << 20));
    let mut names: Vec<_> = found.told.moves.iter().map(|m| m.instance.as_str()).collect();
    names.dedup();
    assert_eq!(names, ["web6"]);
}

#[test]
fn nothing_of_a_plan_is_true_when_the_instance_is_elsewhere() {
    let mut site = site();
    let first = planned(&site, vec![], (100, 1 << 20)).first.remove(0);
    let ops = &first.ops;
    let quiet = |op: &OpCode| !matches!(op, OpCode::InstanceMigrate(op) if op.allow_failover);
    assert!(!ops.is_empty() && ops.iter().all(quiet), "{ops:?}");
    assert!(!ops.iter().any(|op| matches!(op, OpCode::InstanceFailover(_))), "{ops:?}");
    let instance = site.config.instances.get(&first.cost.instance).expect("it");
    let mut moved = (**instance).clone();
    moved.primary_node = node_id("node2");
    let object = crate::config::Object::Instance(Box::new(moved));
    site.apply(&[crate::config::Change::Update(object)]);
    assert!(!first.is_true(&site.config));
}

#[test]
fn instances_that_are_being_made_count_and_stay() {
    let mut site = site();
    let mut new = (**site.config.instance("web1").expect("it")).clone();
    new.uuid = InstanceId(uuid::Uuid::from_u128(77));
    new.name = roost_proto::names::InstanceName::new("new").expect("a name");
    (new.primary_node, new.disks) = (node_id("node3"), vec![]);
    let mut plan = Plan::default();
    let object = crate::config::Object::Instance(Box::new(new));
    plan.pivot.changes = vec![crate::config::Change::Add(object)];
    site.active.push(Arc::new(plan));
    let world = world(&site, vec![]);
    let scene = Scene::new(&world, &Work::default());
    let index = scene.snapshot.instance(InstanceId(uuid::Uuid::from_u128(77))).expect("it");
    assert!(scene.still.contains(&index));
    assert_eq!(scene.snapshot.cluster.instances.len(), 7);
}
