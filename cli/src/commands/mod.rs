//! The commands: a folder per tool, a file per command.

pub mod backup;
pub mod cluster;
pub mod confd_client;
pub mod daemon;
pub mod debug;
pub mod filter;
pub mod group;
pub mod instance;
pub mod job;
pub mod list;
pub mod node;
pub mod os;
pub mod rule;
pub mod storage;
pub mod tags;

use crate::context::Cx;
use crate::failure::Outcome;
use crate::say;
use crate::tool::Tool;
use roost_proto::query::pyrepr;
use serde_json::Value;

/// All tools.
pub static TOOLS: &[Tool] = &[
    Tool {
        family: "backup",
        program: "gnt-backup",
        about: "exports of instances, and imports",
        verbs: backup::VERBS,
    },
    Tool {
        family: "cluster",
        program: "gnt-cluster",
        about: "the cluster as a whole",
        verbs: cluster::VERBS,
    },
    Tool {
        family: "confd-client",
        program: "gnt-confd-client",
        about: "questions to confd, which answers without a master",
        verbs: confd_client::VERBS,
    },
    Tool {
        family: "daemon",
        program: "daemon-util",
        about: "the daemons on this machine",
        verbs: daemon::VERBS,
    },
    Tool {
        family: "debug",
        program: "gnt-debug",
        about: "tests and inside views",
        verbs: debug::VERBS,
    },
    Tool {
        family: "filter",
        program: "gnt-filter",
        about: "rules that hold, refuse or limit jobs",
        verbs: filter::VERBS,
    },
    Tool { family: "group", program: "gnt-group", about: "groups of nodes", verbs: group::VERBS },
    Tool {
        family: "instance",
        program: "gnt-instance",
        about: "instances: virtual machines",
        verbs: instance::VERBS,
    },
    Tool { family: "job", program: "gnt-job", about: "jobs", verbs: job::VERBS },
    Tool {
        family: "node",
        program: "gnt-node",
        about: "nodes: physical machines",
        verbs: node::VERBS,
    },
    Tool {
        family: "os",
        program: "gnt-os",
        about: "operating system definitions",
        verbs: os::VERBS,
    },
    Tool {
        family: "rule",
        program: "gnt-rule",
        about: "placement rules: instances together, apart, on some nodes",
        verbs: rule::VERBS,
    },
    Tool {
        family: "storage",
        program: "gnt-storage",
        about: "external storage providers",
        verbs: storage::VERBS,
    },
];

/// Prints what a `modify` changed: the result's (what, new) pairs.
fn print_changes(cx: &Cx, kind: &str, name: &str, result: &Value) -> Outcome<bool> {
    let changes: Vec<&Value> = result.as_array().into_iter().flatten().collect();
    if changes.is_empty() {
        return Ok(false);
    }
    say!(cx, "Modified {kind} {name}");
    for change in changes {
        let part = |i: usize| pyrepr::str(change.get(i).unwrap_or(&Value::Null));
        say!(cx, " - {} -> {}", pad(&part(0)), part(1));
    }
    Ok(true)
}

/// Ganeti pads what was changed to five characters.
fn pad(text: &str) -> String {
    format!("{text:<5}")
}
