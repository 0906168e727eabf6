use super::*;
use crate::jobs::plan::OnFailure;
use crate::ops::testing::{Site, node_id, running, status};
use roost_proto::node::{Answer, BlockState};

const WEB: &str = "web.example.org";

fn sync(connection: &str, generations: &[&str]) -> SyncStatus {
    SyncStatus {
        connection: connection.into(),
        disk: "UpToDate".into(),
        local_good: true,
        percent: 100.0,
        generations: generations.iter().map(|id| format!("{id:0>16}")).collect(),
        ..SyncStatus::default()
    }
}

/// node1 and node2 tell this of their sides; the guest runs on `runs`.
fn site(one: SyncStatus, two: SyncStatus, runs: Option<&str>) -> Site {
    let mut site = Site::new(&["node1", "node2", "node3"]);
    site.instance(WEB, "node1", |i| i.disks_active = runs.is_some());
    site.drbd(WEB, "node2");
    let web = site.config.instance(WEB).expect("web").clone();
    for (node, sync) in [("node1", one), ("node2", two)] {
        let question = health::question(&site.config, &web, node_id(node)).expect("filled");
        let mut found = status(BlockState::Active);
        found.sync = Some(sync);
        site.answer(node, question.expect("a mirror"), Ok(Answer::Blocks(vec![found])));
        let guests = if runs == Some(node) { vec![running(WEB)] } else { vec![] };
        site.answer(node, Question::Guests, Ok(Answer::Guests(guests)));
    }
    site
}

fn op(node: &str) -> InstanceRepairMirror {
    InstanceRepairMirror::new(WEB, node)
}

/// Both have new data on top of what they had in common.
fn split(runs: Option<&str>) -> Site {
    let (one, two) = (sync("WFConnection", &["A1", "70"]), sync("StandAlone", &["B1", "71", "5"]));
    site(one, two, runs)
}

fn told(plan: &Plan) -> Vec<(NodeId, String)> {
    let action = |step: &Step| {
        let action = serde_json::to_value(step.task.action().expect("an action")).expect("JSON");
        let role = action.get("role").and_then(|r| r.as_str()).map(|r| format!("-{r}"));
        let what = action["do"].as_str().expect("text").to_owned();
        (step.task.nodes()[0], what + &role.unwrap_or_default())
    };
    plan.after.iter().map(action).collect()
}

#[test]
fn the_other_side_is_kept() {
    let site = split(Some("node1"));
    let plan = site.plan(op("node2")).expect("a plan");
    let (one, two) = (node_id("node1"), node_id("node2"));
    assert!(plan.before.is_empty() && plan.pivot.changes.is_empty());
    assert_eq!(
        told(&plan),
        [
            (two, "disks-close".to_owned()),
            (two, "mirrors-discard".to_owned()),
            (one, "disks-assemble-primary".to_owned()),
            (one, "mirrors-sync".to_owned()),
        ]
    );
    assert!(plan.after.iter().all(|step| step.on_failure == OnFailure::Fail));
    let said = plan.say.join(" ");
    assert!(said.contains("on node node2") && said.contains("is given up"), "{said}");
    assert!(said.contains("the data of node node1 is kept"), "{said}");
}

#[test]
fn the_primary_may_be_given_up_when_no_guest_runs_there() {
    let site = split(None);
    let plan = site.plan(op("node1")).expect("a plan");
    let what: Vec<_> = told(&plan).into_iter().map(|(_, what)| what).collect();
    assert_eq!(
        what,
        [
            "disks-close",
            "mirrors-discard",
            "disks-assemble-secondary",
            "mirrors-sync",
            "disks-shutdown",
            "disks-shutdown",
        ]
    );
    let error = split(Some("node1")).refusal(op("node1")).message;
    assert!(error.contains("runs on node node1") && error.contains("shut it down"), "{error}");
}

#[test]
fn nothing_is_given_up_without_need() {
    let why = |one: SyncStatus, two: SyncStatus, op| site(one, two, None).refusal(op).message;
    let fine = || sync("Connected", &["A0", "0"]);
    let error = why(fine(), fine(), op("node2"));
    assert!(error.contains("There is no split brain") && error.contains("Connected"), "{error}");
    // One is only behind the other.
    let behind =
        why(sync("WFConnection", &["A0", "70"]), sync("WFConnection", &["71", "0"]), op("node2"));
    assert!(behind.contains("There is no split brain"), "{behind}");
    // They never were the same.
    let strangers = why(sync("StandAlone", &["A0"]), sync("StandAlone", &["B0"]), op("node2"));
    assert!(strangers.contains("There is no split brain"), "{strangers}");
    let error = split(None).refusal(op("node3")).message;
    assert!(error.contains("its nodes are node1 and node2"), "{error}");
    let error = split(None).refusal(InstanceRepairMirror { disks: vec![4], ..op("node2") });
    assert!(error.message.contains("has no disk 4"), "{error}");
    let mut offline = split(None);
    offline.node("node2", |node| node.offline = true);
    assert!(offline.refusal(op("node2")).message.contains("is marked offline"));
}

#[test]
fn the_nodes_own_word_counts_too() {
    let mut flagged = sync("StandAlone", &[]);
    flagged.split_brain = true;
    site(flagged, sync("WFConnection", &[]), None).plan(op("node2")).expect("a plan");
    // At rest, what the meta data say is enough.
    let (one, two) = (sync("Unconfigured", &["A0", "70"]), sync("Unconfigured", &["B0", "70"]));
    site(one, two, None).plan(op("node1")).expect("a plan");
}
