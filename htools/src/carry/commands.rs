//! Commands that people can run.

use super::{Act, acts, runs};
use crate::balance::Step;
use crate::model::{Cluster, NodeIdx};
use crate::names::ShortNames;
use std::fmt::Write;

/// What a script begins with.
const HEAD: &str = "#!/bin/sh

# Auto-generated script for executing cluster rebalancing

# To stop, touch the file /tmp/stop-htools

set -e

check() {
  if [ -f /tmp/stop-htools ]; then
    echo 'Stop requested, exiting'
    exit 0
  fi
}

";

/// The arguments of `gnt-instance` that make a step.
pub fn commands(cluster: &Cluster, names: &ShortNames, step: &Step) -> Vec<String> {
    commands_named(cluster, names, names, step)
}

/// The same where instances are called otherwise than nodes.
fn commands_named(
    cluster: &Cluster,
    instances: &ShortNames,
    nodes: &ShortNames,
    step: &Step,
) -> Vec<String> {
    let what = step.what;
    let instance = instances.show(&cluster.instances[what.instance.at()].name);
    let node = |node: NodeIdx| nodes.show(&cluster.nodes[node.at()].name);
    let verb = if runs(cluster, what) { "migrate" } else { "failover" };
    let command = |act: Act| match act {
        Act::Move(None) => format!("{verb} -f {instance}"),
        Act::Move(Some(to)) => format!("{verb} -f -n {} {instance}", node(to)),
        Act::Replace(to) => format!("replace-disks -n {} {instance}", node(to)),
    };
    acts(what.kind).into_iter().map(command).collect()
}

/// What asks, in a script, whether to stop.
const CHECK: &str = "  check";

/// The lines of a script for all sets, without what it begins with.
pub fn lines(
    cluster: &Cluster,
    instances: &ShortNames,
    nodes: &ShortNames,
    sets: &[Vec<Step>],
) -> String {
    let mut text = String::new();
    for (at, set) in sets.iter().enumerate() {
        let number = at + 1;
        // Writing to a string cannot fail.
        writeln!(text, "\necho jobset {number}, {} jobs", set.len()).ok();
        for (at, step) in set.iter().enumerate() {
            writeln!(text, "  echo job {number}/{}\n{CHECK}", at + 1).ok();
            for command in commands_named(cluster, instances, nodes, step) {
                writeln!(text, "  gnt-instance {command}").ok();
            }
        }
    }
    text
}

/// Lines of a script as they are shown to people.
pub fn to_look_at(lines: &str) -> String {
    lines.lines().filter(|line| *line != CHECK).map(|line| format!("  {line}\n")).collect()
}

/// Lines of a script with what it begins with.
pub fn to_run(lines: &str) -> String {
    format!("{HEAD}{lines}")
}

/// To look at.
pub fn listing(cluster: &Cluster, names: &ShortNames, sets: &[Vec<Step>]) -> String {
    to_look_at(&lines(cluster, names, names, sets))
}

/// To be run; it stops between jobs when the file `/tmp/stop-htools` is there.
pub fn script(cluster: &Cluster, names: &ShortNames, sets: &[Vec<Step>]) -> String {
    to_run(&lines(cluster, names, names, sets))
}
