use super::*;
use crate::nodes::NodeView;
use crate::ops::testing::{Site, node_id, running};
use roost_proto::choices::{AdminState, AllocPolicy, InstCreateMode, RebootType};
use roost_proto::names::ClusterName;
use roost_proto::node::{Answer, Question};
use roost_proto::opcodes::*;
use serde_json::{Value, json};
use std::sync::Arc;

const NODE1: &str = "node1.example.org";
const NODE2: &str = "node2.example.org";
const NODE3: &str = "node3.example.org";
const WEB1: &str = "web1.example.org";

/// A node reports hooks.
fn has_hooks(site: &mut Site, node: &str, directories: &[&str]) {
    let view =
        site.facts.seen.entry(node_id(node)).or_insert_with(|| Arc::new(NodeView::default()));
    let view = Arc::make_mut(view);
    view.up = true;
    view.report.hooks.extend(directories.iter().map(|name| (*name).to_owned()));
}

/// The site the environments were recorded on; its master has hooks of that path.
fn recorded(path: &str) -> Site {
    let mut site = Site::new(&[NODE1, NODE2, NODE3]);
    site.cluster(|c| c.cluster_name = ClusterName::new("clst.example.org").expect("a name"));
    has_hooks(&mut site, NODE1, &[&format!("{path}-pre.d"), &format!("{path}-post.d")]);
    site
}

fn nics() -> Value {
    let card = |number: u8| {
        json!({"uuid": uuid::Uuid::from_u128(number.into()), "mac": format!("aa:00:01:00:00:0{number}"),
            "ip": format!("10.9.0.5{number}"),
            "nicparams": {"mode": "routed", "link": format!("10{number}")}})
    };
    json!([card(0), card(1)])
}

/// With an instance of the name that is (or shall be) up or down.
fn with_instance(path: &str, name: &str, up: bool, tags: &[&str]) -> Site {
    let mut site = recorded(path);
    site.instance(name, NODE1, |i| {
        i.os = "noop".into();
        i.admin_state = if up { AdminState::Up } else { AdminState::Down };
        i.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        i.nics = serde_json::from_value(nics()).expect("cards");
        for (key, value) in [("minmem", 128), ("maxmem", 256), ("vcpus", 2)] {
            i.beparams.insert(key.into(), json!(value));
        }
    });
    site
}

/// Answers all questions as a healthy node would on which these guests run.
fn answer_all(site: &mut Site, op: &OpInput, guests: &[&str]) {
    for (node, question) in site.questions(op.clone()) {
        let answer = match question {
            Question::Node => {
                site.free_memory(&node, 4096);
                continue;
            }
            Question::Guests => Answer::Guests(guests.iter().map(|name| running(name)).collect()),
            Question::MissingBridges { .. } => Answer::Names(vec![]),
            _ => Answer::Done,
        };
        site.answer(&node, question, Ok(answer));
    }
}

/// What an opcode would run: path, phase, nodes, variables.
fn planned(site: &mut Site, op: impl Into<OpInput>, guests: &[&str]) -> Plan {
    let op = op.into();
    answer_all(site, &op, guests);
    site.plan(op).expect("a plan")
}

fn hooks(step: &Step) -> (&str, HookPhase, &[NodeId], &Vars) {
    match step.task.action() {
        Some(Action::Hooks { path, phase, env }) => (path, *phase, step.task.nodes(), env),
        other => panic!("no hooks but {other:?}"),
    }
}

/// Without what is random, and what the shell adds.
fn lines(vars: impl IntoIterator<Item = (String, String)>) -> Vec<String> {
    let random = |name: &str| name.ends_with("_UUID") || name.ends_with("_MAC");
    let vars = vars.into_iter().map(|(name, value)| match random(&name) {
        true => format!("{name}=*"),
        false => format!("{name}={value}"),
    });
    let mut lines: Vec<_> = vars.filter(|line| line.starts_with("GANETI_")).collect();
    lines.sort();
    lines
}

fn fixture(text: &str) -> Vec<String> {
    let vars = text.lines().filter_map(|line| line.split_once('='));
    lines(vars.map(|(name, value)| (name.to_owned(), value.to_owned())))
}

fn same(plan: &Plan, path: &str, pre: &str, post: &str) {
    let (ran, phase, nodes, env) = hooks(plan.before.first().expect("a first step"));
    assert_eq!((ran, phase, nodes), (path, HookPhase::Pre, &[node_id(NODE1)][..]));
    assert_eq!(lines(env.clone()), fixture(pre), "{path}, pre");
    let last = plan.after.last().expect("a last step");
    let (ran, phase, nodes, env) = hooks(last);
    assert_eq!((ran, phase, nodes), (path, HookPhase::Post, &[node_id(NODE1)][..]));
    assert_eq!(last.on_failure, OnFailure::Warn);
    assert_eq!(lines(env.clone()), fixture(post), "{path}, post");
}

macro_rules! same {
    ($plan:expr, $path:literal) => {
        same(
            &$plan,
            $path,
            include_str!(concat!("../../../fixtures/hooks/", $path, "-pre.env")),
            include_str!(concat!("../../../fixtures/hooks/", $path, "-post.env")),
        )
    };
}

fn create() -> InstanceCreate {
    let nic = json!([{"mode": "routed", "link": "100", "ip": "10.9.0.50"}]);
    let nics: Vec<NicSpec> = serde_json::from_value(nic).expect("a card");
    let mut op = InstanceCreate::new(WEB1, InstCreateMode::Create, vec![], nics);
    op.disk_template = Some(roost_proto::choices::DiskTemplate::Diskless);
    op.os_type = Some("noop".into());
    op.no_install = Some(true);
    op.pnode = Some(NODE1.into());
    op.tags = vec!["prod".into()];
    for (key, value) in [("minmem", 128), ("maxmem", 256), ("vcpus", 1)] {
        op.beparams.insert(key.into(), json!(value));
    }
    op
}

#[test]
fn scripts_see_what_was_recorded_when_an_instance_is_added() {
    let plan = planned(&mut recorded("instance-add"), create(), &[]);
    same!(plan, "instance-add");
}

#[test]
fn scripts_see_what_was_recorded_in_the_life_of_an_instance() {
    let mut site = with_instance("instance-start", WEB1, false, &["prod"]);
    let start = InstanceStartup { force: true, ..InstanceStartup::new(WEB1) };
    same!(planned(&mut site, start, &[]), "instance-start");

    let mut site = with_instance("instance-reboot", WEB1, true, &["prod"]);
    let reboot = InstanceReboot::new(WEB1, RebootType::Hard);
    same!(planned(&mut site, reboot, &[WEB1]), "instance-reboot");

    let mut site = with_instance("instance-rename", WEB1, false, &["b", "prod"]);
    let rename = InstanceRename::new(WEB1, "web2.example.org");
    same!(planned(&mut site, rename, &[]), "instance-rename");

    let name = "web2.example.org";
    let mut site = with_instance("instance-stop", name, false, &["prod", "b"]);
    same!(planned(&mut site, InstanceShutdown::new(name), &[name]), "instance-stop");

    let mut site = with_instance("instance-remove", name, false, &["b", "prod"]);
    same!(planned(&mut site, InstanceRemove::new(name), &[]), "instance-remove");
}

#[test]
fn scripts_see_what_was_recorded_about_cluster_and_groups() {
    let set = ClusterSetParams { candidate_pool_size: Some(5), ..ClusterSetParams::new() };
    same!(planned(&mut recorded("cluster-modify"), set, &[]), "cluster-modify");

    let mut site = recorded("group-modify");
    site.group("g2");
    let mut set = GroupSetParams::new("g2");
    set.alloc_policy = Some(AllocPolicy::Unallocable);
    same!(planned(&mut site, set, &[]), "group-modify");

    let mut site = recorded("group-rename");
    site.group("g2");
    same!(planned(&mut site, GroupRename::new("g2", "g3"), &[]), "group-rename");
}

#[test]
fn a_change_is_told_before_it_is_made() {
    let mut site = with_instance("instance-modify", WEB1, false, &[]);
    let mut op = InstanceSetParams::new(WEB1);
    op.beparams.insert("vcpus".into(), json!(4));
    let plan = planned(&mut site, op, &[]);
    let (_, _, _, env) = hooks(&plan.before[0]);
    assert_eq!(env["GANETI_INSTANCE_VCPUS"], "4");
    assert_eq!(env["GANETI_INSTANCE_BE_vcpus"], "2");
    let (_, _, _, env) = hooks(plan.after.last().expect("post hooks"));
    assert_eq!(env["GANETI_POST_INSTANCE_BE_vcpus"], "4");
}

#[test]
fn without_hooks_nothing_is_added() {
    let mut site = with_instance("node-add", WEB1, false, &[]);
    let with = planned(&mut site, InstanceStartup::new(WEB1), &[]);
    site.facts.seen.clear();
    let without = planned(&mut site, InstanceStartup::new(WEB1), &[]);
    assert_eq!(with, without);
}

#[test]
fn hooks_run_first_and_last_where_they_are() {
    let mut site = with_instance("instance-start", WEB1, false, &[]);
    site.instance("b.example.org", NODE2, |i| i.admin_state = AdminState::Down);
    // The third has nothing to do with the instance.
    for node in [NODE2, NODE3] {
        has_hooks(&mut site, node, &["instance-start-pre.d", "config-update-post.d"]);
    }
    has_hooks(&mut site, NODE1, &["config-update-post.d"]);
    let plan = planned(&mut site, InstanceStartup::new("b.example.org"), &[]);
    assert_eq!(hooks(&plan.before[0]).2, [node_id(NODE1), node_id(NODE2)]);
    assert!(plan.before.len() > 1, "then the instance is started");
    let after: Vec<_> = plan.after.iter().map(hooks).map(|(path, _, on, _)| (path, on)).collect();
    let master = &[node_id(NODE1)][..];
    // Down should become up: a change of the configuration.
    assert_eq!(after, [("instance-start", master), ("config-update", master)]);
    let env = hooks(&plan.after[1]).3;
    assert_eq!(env["GANETI_HOOKS_PATH"], "config-update");
    assert_eq!(env["GANETI_INSTANCE_STATUS"], "down");
    assert!(!env.keys().any(|name| name.starts_with("GANETI_POST_")));
}

#[test]
fn a_node_that_does_not_answer_does_not_object() {
    let mut site = with_instance("instance-start", WEB1, false, &[]);
    site.instance("b.example.org", NODE2, |i| i.admin_state = AdminState::Down);
    has_hooks(&mut site, NODE2, &["instance-start-pre.d"]);
    let view = site.facts.seen.get_mut(&node_id(NODE2)).expect("a view");
    Arc::make_mut(view).up = false;
    let plan = planned(&mut site, InstanceStartup::new("b.example.org"), &[]);
    assert_eq!(hooks(&plan.before[0]).2, [node_id(NODE1)]);
    let said = format!(" - WARNING: Node {NODE2} does not answer: its hooks are not run");
    assert_eq!(plan.say.last(), Some(&said));
}

#[test]
fn a_dry_run_runs_no_hooks() {
    let mut site = with_instance("instance-start", WEB1, false, &[]);
    let mut op = OpInput::from(InstanceStartup::new(WEB1));
    op.common.dry_run = true;
    let plan = planned(&mut site, op, &[]);
    assert!(!plan.before.iter().any(|step| step.name.contains("hooks")));
}

#[test]
fn a_removed_node_is_not_asked() {
    let mut site = recorded("node-remove");
    has_hooks(&mut site, NODE3, &["node-remove-pre.d", "node-remove-post.d"]);
    has_hooks(&mut site, NODE2, &["node-remove-pre.d", "node-remove-post.d"]);
    let plan = planned(&mut site, NodeRemove::new(NODE3), &[]);
    assert_eq!(hooks(&plan.before[0]).2, [node_id(NODE1), node_id(NODE2)]);
    let (_, _, nodes, env) = hooks(plan.after.last().expect("post hooks"));
    assert_eq!(nodes, [node_id(NODE1), node_id(NODE2)]);
    assert_eq!(env["GANETI_POST_NODE_NAME"], NODE3);
}
