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
    let what = step.what;
    let instance = names.show(&cluster.instances[what.instance.at()].name);
    let node = |node: NodeIdx| names.show(&cluster.nodes[node.at()].name);
    let verb = if runs(cluster, what) { "migrate" } else { "failover" };
    let command = |act: Act| match act {
        Act::Move(None) => format!("{verb} -f {instance}"),
        Act::Move(Some(to)) => format!("{verb} -f -n {} {instance}", node(to)),
        Act::Replace(to) => format!("replace-disks -n {} {instance}", node(to)),
    };
    acts(what.kind).into_iter().map(command).collect()
}

/// The lines for all sets; `check` asks before each job whether to stop.
fn lines(cluster: &Cluster, names: &ShortNames, sets: &[Vec<Step>], check: bool) -> String {
    let mut text = String::new();
    for (at, set) in sets.iter().enumerate() {
        let number = at + 1;
        // Writing to a string cannot fail.
        writeln!(text, "\necho jobset {number}, {} jobs", set.len()).ok();
        for (at, step) in set.iter().enumerate() {
            writeln!(text, "  echo job {number}/{}", at + 1).ok();
            if check {
                text.push_str("  check\n");
            }
            for command in commands(cluster, names, step) {
                writeln!(text, "  gnt-instance {command}").ok();
            }
        }
    }
    text
}

/// To look at.
pub fn listing(cluster: &Cluster, names: &ShortNames, sets: &[Vec<Step>]) -> String {
    lines(cluster, names, sets, false).lines().map(|line| format!("  {line}\n")).collect()
}

/// To be run; it stops between jobs when the file `/tmp/stop-htools` is there.
pub fn script(cluster: &Cluster, names: &ShortNames, sets: &[Vec<Step>]) -> String {
    format!("{HEAD}{}", lines(cluster, names, sets, true))
}
