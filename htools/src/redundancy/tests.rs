use super::*;
use crate::{state, text};

/// Nodes `n1`… of 4 GiB and 100 GiB, the last one smaller, with these instances.
fn placed(nodes: usize, instances: &[&str]) -> Placement {
    let mut all = "g|u|preferred||\n\n".to_owned();
    for node in 1..=nodes {
        all += &format!("n{node}|4096|0|4096|102400|102400|8|N|u|1||N|0|1|1.0\n");
    }
    all += "\n";
    for instance in instances {
        all += &format!("{instance}\n");
    }
    all += "\n\n";
    let cluster = text::read(&all).expect("a cluster");
    Placement::new(cluster, &state::Options::default())
}

fn bad(placement: &Placement) -> Vec<String> {
    let nodes: Vec<NodeIdx> = (0..placement.cluster().nodes.len()).map(NodeIdx::of).collect();
    let found = non_redundant(placement, &nodes, &Options::default());
    found.iter().map(|found| found.explain(placement.cluster()).to_string()).collect()
}

#[test]
fn mirrored_instances_need_room_on_their_secondaries() {
    let two = ["a|1024|1024|1|running|Y|n1|n2|drbd||1", "b|1024|1024|1|running|Y|n1|n2|drbd||1"];
    assert_eq!(bad(&placed(2, &two)), Vec::<String>::new());
    let three = ["a|2048|1024|1|running|Y|n1|n2|drbd||1", "b|2048|1024|1|running|Y|n1|n2|drbd||1"];
    let expected = "if n1 fails, instance a has no place: its secondary n2 cannot run it (FailMem)";
    assert_eq!(bad(&placed(2, &three)), [expected]);
}

#[test]
fn shared_storage_needs_any_room() {
    let one = "a|3072|1024|1|running|Y|n1||ext||1";
    assert_eq!(bad(&placed(2, &[one])), Vec::<String>::new());
    let full = "b|3072|1024|1|running|Y|n2||ext||1";
    assert_eq!(
        bad(&placed(2, &[one, full])),
        [
            "if n1 fails, instance a has no place: no other node of the group can take it (FailMem: 1)",
            "if n2 fails, instance b has no place: no other node of the group can take it (FailMem: 1)"
        ]
    );
    assert_eq!(bad(&placed(3, &[one, full])), Vec::<String>::new());
    assert_eq!(
        bad(&placed(1, &[one])),
        ["if n1 fails, instance a has no place: there is no other node in the group"]
    );
}

#[test]
fn several_instances_may_not_fit_where_each_would() {
    let pair = ["a|2048|1024|1|running|Y|n1||ext||1", "b|2047|1024|1|running|Y|n1||ext||1"];
    assert_eq!(bad(&placed(2, &pair)).len(), 0);
    let pair = ["a|2048|1024|1|running|Y|n1||plain||1", "b|2048|1024|1|running|Y|n1||ext||1"];
    assert_eq!(
        bad(&placed(2, &pair)),
        [
            "if n1 fails, instance a has no place: no other node of the group can take it (FailMem: 1)"
        ]
    );
}

#[test]
fn what_the_policy_forbids_cannot_be_made_anew() {
    let small = "a|64|1024|1|running|Y|n1||plain||1";
    assert_eq!(bad(&placed(3, &[small])).len(), 1);
    let shared = "a|64|1024|1|running|Y|n1||ext||1";
    assert_eq!(bad(&placed(3, &[shared])).len(), 0);
}

#[test]
fn offline_nodes_and_groups_may_be_left_out() {
    let mut cluster =
        placed(2, &["a|3072|1024|1|running|Y|n1||plain||1", "b|3072|1|1|running|Y|n2||ext||1"])
            .to_cluster();
    cluster.nodes[0].offline = true;
    let placement = Placement::new(cluster, &state::Options::default());
    let nodes = [NodeIdx(0), NodeIdx(1)];
    assert_eq!(non_redundant(&placement, &nodes, &Options::default()).len(), 2);
    let accept = Options { accept_existing: true, ..Options::default() };
    let found = non_redundant(&placement, &nodes, &accept);
    assert_eq!(found.iter().map(|found| found.node).collect::<Vec<_>>(), [NodeIdx(1)]);
    let ignore = Options { ignore_groups: vec![GroupIdx(0)], ..Options::default() };
    assert_eq!(non_redundant(&placement, &nodes, &ignore), []);
}
