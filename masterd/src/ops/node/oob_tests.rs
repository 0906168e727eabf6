use super::*;
use crate::ops::testing::{Site, node_id};

const PROGRAM: &str = "/usr/local/sbin/oob";

/// Four nodes; node4 has no helper.
fn site() -> Site {
    let mut site = Site::new(&["node1", "node2", "node3", "node4"]);
    for node in ["node1", "node2", "node3"] {
        site.node(node, |n| {
            n.ndparams.insert("oob_program".into(), PROGRAM.into());
        });
    }
    site
}

fn on(command: OobAction, nodes: &[&str]) -> OobCommand {
    let node_names = nodes.iter().map(|node| (*node).to_owned()).collect();
    OobCommand { node_names, ..OobCommand::new(command) }
}

fn asked(command: OobAction, node: &str) -> OobCall {
    OobCall { program: PROGRAM.into(), command, node: node.into(), timeout: 60 }
}

/// The recorded power of a row, by the node's name.
fn recorded(plan: &Plan) -> Vec<(usize, String, bool)> {
    let rows = plan.pivot.rows.iter().map(|(row, change)| match change {
        Change::Update(Object::Node(node)) => (*row, node.name.to_string(), node.powered),
        other => panic!("another change: {other:?}"),
    });
    rows.collect()
}

#[test]
fn nodes_are_switched_off_by_the_master_and_recorded() {
    let mut site = site();
    for node in ["node2", "node3", "node4"] {
        site.node(node, |n| n.offline = true);
    }
    let op = on(OobAction::PowerOff, &["node4", "node3", "node2", "node2"]);
    assert_eq!(site.questions(op.clone()), [], "nothing is switched before the plan is stored");
    let plan = site.plan(op).expect("a plan");
    let tasks: Vec<_> = plan.before.iter().map(|step| (step.task.clone(), step.row)).collect();
    let task = |node| Task::on(node_id("node1"), Action::Oob(asked(OobAction::PowerOff, node)));
    assert_eq!(tasks, [(task("node2"), Some(0)), (task("node3"), Some(1))]);
    assert!(plan.before.iter().all(|step| step.undo.is_none() && step.stays.is_some()));
    assert_eq!(recorded(&plan), [(0, "node2".into(), false), (1, "node3".into(), false)]);
    assert!(plan.pivot.changes.is_empty());
    assert_eq!(
        plan.result,
        json!([[[0, "node2"], [0, null]], [[0, "node3"], [0, null]], [[0, "node4"], [3, null]]])
    );
}

#[test]
fn nodes_are_switched_on_one_after_the_other() {
    let mut site = site();
    site.node("node2", |n| n.powered = false);
    let op =
        OobCommand { power_delay: 1.5, ..on(OobAction::PowerOn, &["node2", "node3", "node4"]) };
    let plan = site.plan(op.clone()).expect("a plan");
    assert_eq!(plan.before.len(), 3);
    assert_eq!(plan.before[1].task, Task::Sleep { duration: 1.5 });
    // node3 is recorded as powered already.
    assert_eq!(recorded(&plan), [(0, "node2".into(), true)]);
    let at_once = site.plan(OobCommand { power_delay: 0.0, ..op }).expect("a plan");
    assert_eq!(at_once.before.len(), 2);
    let cycle = site.plan(on(OobAction::PowerCycle, &["node2"])).expect("a plan");
    assert_eq!((cycle.before.len(), recorded(&cycle)), (1, vec![]));
}

#[test]
fn without_names_it_is_all_but_the_master() {
    let site = site();
    let plan = site.plan(OobCommand::new(OobAction::PowerCycle)).expect("a plan");
    assert_eq!(plan.before.len(), 2);
    assert_eq!(site.plan(OobCommand::new(OobAction::PowerOn)).expect("a plan").before.len(), 5);
    let uuids = Some(vec![node_id("node3").to_string()]);
    let op = OobCommand { node_uuids: uuids, ..OobCommand::new(OobAction::PowerCycle) };
    assert_eq!(site.plan(op).expect("a plan").result[0][0][1], "node3");
}

#[test]
fn what_must_not_be_is_refused() {
    let mut site = site();
    let why = |site: &Site, op: OobCommand| site.refusal(op).message;
    for command in [OobAction::PowerOff, OobAction::PowerCycle] {
        assert_eq!(
            why(&site, on(command, &["node2", "node1"])),
            match command {
                OobAction::PowerOff =>
                    "Operating on the master node node1 is not allowed for power-off; run \
                     '/usr/local/sbin/oob power-off node1' if you want to operate on the master \
                     regardless",
                _ =>
                    "Operating on the master node node1 is not allowed for power-cycle; run \
                     '/usr/local/sbin/oob power-cycle node1' if you want to operate on the master \
                     regardless",
            }
        );
    }
    let off = on(OobAction::PowerOff, &["node2"]);
    assert!(
        why(&site, off.clone())
            .starts_with("Cannot power off node node2 because it is not marked offline")
    );
    site.plan(OobCommand { ignore_status: true, ..off.clone() }).expect("a plan");
    for timeout in [0, 841] {
        assert!(why(&site, OobCommand { timeout, ..off.clone() }).contains("between 1 and 840"));
    }
    for power_delay in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(why(&site, OobCommand { power_delay, ..off.clone() }).contains("delay"));
    }
    assert!(why(&site, on(OobAction::Health, &["node9"])).contains("node9"));
    site.node("node1", |n| n.ndparams.clear());
    assert!(
        why(&site, on(OobAction::PowerOff, &["node1"]))
            .ends_with("; it does not support out-of-band operations")
    );
}

/// Answers of helpers, in the order of nodes.
fn answered(site: &mut Site, op: &OobCommand, replies: Vec<OobReply>) {
    let [(node, question)] = <[_; 1]>::try_from(site.questions(op.clone())).expect("one");
    assert_eq!(node, "node1");
    site.answer(&node, question, Ok(Answer::Oob(replies)));
}

#[test]
fn health_is_told_and_warned_of() {
    let mut site = site();
    let op = OobCommand::new(OobAction::Health);
    let said = |text: &str| OobReply::Said(text.into());
    let bad = said(r#"[["fan", "OK"], ["disk", "WARNING"], ["heat", "UNKNOWN"]]"#);
    answered(&mut site, &op, vec![bad, said("fine"), OobReply::Failed("it hangs".into())]);
    let plan = site.plan(op).expect("a plan");
    assert_eq!(
        plan.result,
        json!([
            [[0, "node1"], [0, [["fan", "OK"], ["disk", "WARNING"], ["heat", "UNKNOWN"]]]],
            [[0, "node2"], [2, null]],
            [[0, "node3"], [2, null]],
            [[0, "node4"], [3, null]],
        ])
    );
    assert_eq!(plan.say[0], " - WARNING: Item 'disk' on node 'node1' has status 'WARNING'");
    assert!(plan.say[1].contains("on node node2: the helper said 'fine' where"), "{}", plan.say[1]);
    assert_eq!(plan.say[2], " - WARNING: Out-of-band command health on node node3: it hangs");
    assert_eq!(plan.say.len(), 3);
    assert!(plan.before.is_empty());
}

#[test]
fn power_status_is_compared_with_what_is_recorded() {
    let mut site = site();
    let op = on(OobAction::PowerStatus, &["node2", "node3"]);
    let said = |powered: bool| OobReply::Said(json!({ "powered": powered }).to_string());
    answered(&mut site, &op, vec![said(true), said(false)]);
    let plan = site.plan(op.clone()).expect("a plan");
    assert_eq!(
        plan.result,
        json!([[[0, "node2"], [0, {"powered": true}]], [[0, "node3"], [0, {"powered": false}]]])
    );
    assert_eq!(
        plan.say,
        [" - WARNING: Node node3 is powered off, but recorded as powered on; correct it with \
          'gnt-node modify --node-powered'"]
    );
    assert!(plan.pivot.rows.is_empty(), "looking changes nothing");
    // The master's node does not answer at all.
    site.facts.answers[0].2 = Err(Error::exec("no route"));
    let plan = site.plan(op).expect("a plan");
    assert_eq!(plan.result[0][1], json!([2, null]));
    assert!(plan.say[0].ends_with("on node node2: no route"), "{}", plan.say[0]);
}
