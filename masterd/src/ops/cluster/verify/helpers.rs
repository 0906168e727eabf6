//! Out-of-band helpers in a group's verification: the master's node, which runs them, has them.

use super::findings::{self, Findings};
use super::group::Scene;
use crate::config::Config;
use crate::ops::node::oob;
use roost_proto::ids::NodeId;
use roost_proto::node::Question;
use roost_proto::objects::Node;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Asks the master's node for the helpers of these nodes, if they have any.
pub fn ask<'a>(
    config: &Config,
    nodes: impl Iterator<Item = &'a Arc<Node>>,
) -> Option<(NodeId, Question)> {
    let programs: BTreeSet<_> = nodes.filter_map(|node| oob::program(config, node)).collect();
    let programs = Vec::from_iter(programs);
    (!programs.is_empty()).then(|| (config.master(), Question::OobPrograms { programs }))
}

/// Each helper that cannot be run is told of once, with the nodes that it is for.
pub fn status(scene: &Scene<'_>, findings: &mut Findings<'_>) {
    let mut used: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for node in &scene.members {
        if let Some(program) = oob::program(scene.config, node) {
            used.entry(program).or_default().push(&node.name);
        }
    }
    let master = scene.config.node_name(scene.config.master());
    for (program, nodes) in &used {
        if let Some(why) = scene.helpers.get(program.as_str()) {
            let nodes = nodes.join(", ");
            let text = format!("Invalid out-of-band path {program} (of {nodes}): {why}");
            findings.error(findings::ENODEOOBPATH, &master, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{Site, verified};
    use roost_proto::node::Answer;
    use roost_proto::opcodes::ClusterVerifyGroup;

    #[test]
    fn a_helper_that_cannot_be_run_is_told_of_once() {
        let mut site = Site::new(&["node1", "node2", "node3"]);
        let op = || ClusterVerifyGroup { error_codes: true, ..ClusterVerifyGroup::new("default") };
        let asks = |site: &Site| {
            let mut asked = site.questions(op());
            asked.retain(|(_, question)| matches!(question, Question::OobPrograms { .. }));
            asked
        };
        assert_eq!(asks(&site), [], "there are none");
        for (node, program) in [("node2", "/sbin/a"), ("node3", "/sbin/a"), ("node1", "/sbin/b")] {
            site.node(node, |n| {
                n.ndparams.insert("oob_program".into(), program.into());
            });
        }
        let programs = vec!["/sbin/a".to_owned(), "/sbin/b".to_owned()];
        assert_eq!(asks(&site), [("node1".to_owned(), Question::OobPrograms { programs })]);
        verified(&mut site, op(), |_, _| {});
        let errors = |site: &Site| -> Vec<String> {
            let said = site.plan(op()).expect("a plan").say;
            said.into_iter().filter(|line| line.contains("ERROR")).collect()
        };
        assert_eq!(errors(&site), [] as [&str; 0]);
        for (_, _, answer) in &mut site.facts.answers {
            if let Ok(Answer::OobPrograms(problems)) = answer {
                problems.insert("/sbin/a".into(), "it does not exist".into());
            }
        }
        assert_eq!(
            errors(&site),
            ["  - ERROR:ENODEOOBPATH:node:node1:Invalid out-of-band path /sbin/a (of node2, \
                 node3): it does not exist"]
        );
    }
}
