//! What breaks, and how it is mended.
//!
//! ```text
//!   whole ── one fault ──► broken for some seconds ── mended ──► somebody leads? ──► whole
//!                              │                                     │ not for long: the operator
//!                              └── it was the master's, sometimes:   ▼
//!                                  master-failover            master-failover
//! ```
//!
//! Wall clocks are not moved here: processes of one machine share them, and the libraries that
//! pretend otherwise do not work for static programs. The simulation of masterd moves them.

use super::Site;
use super::random::Random;
use crate::lab::Lab;
use crate::master::Submitted;
use anyhow::{Context as _, Result, bail};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// How long a cluster that was mended may be without a leader before the operator acts.
const LEADS: Duration = Duration::from_secs(20);
/// How often the operator tries.
const TRIES: usize = 12;

/// What may happen. Nodes are named.
#[derive(Clone, Debug)]
enum Fault {
    /// A daemon dies and is started again.
    Kill {
        node: String,
        daemon: &'static str,
    },
    /// A daemon hangs; `None`: all of the node.
    Freeze {
        node: String,
        daemon: Option<&'static str>,
    },
    PowerCut {
        node: String,
    },
    /// The operator says that a dark node is offline, moves its guests, and takes it back.
    Offline {
        node: String,
    },
    /// From everybody.
    Cut {
        nodes: Vec<String>,
    },
    /// The wire between two.
    Wire {
        a: String,
        b: String,
    },
    /// No room for the state.
    Full {
        node: String,
    },
    /// Nothing new is put on a node for a while, and its guests go elsewhere.
    Drain {
        node: String,
    },
}

/// Breaks and mends things for as long as `length`; all is mended when it returns.
pub fn run(site: &Site, mut random: Random, length: Duration, handle: &Handle) -> Result<()> {
    let end = Instant::now() + length;
    while Instant::now() < end {
        let master = leader(site, handle)?;
        // The master is where it matters most.
        let node = match random.percent(40) {
            true => master.clone(),
            false => random.pick(&site.nodes).clone(),
        };
        let fault = choose(&node, &master, &mut random, &site.nodes);
        let broken_for = Duration::from_millis(300 + random.below(7_000) as u64);
        let concerns_master = fault.stops_master(&master);
        let fail_over = concerns_master && random.percent(70);
        site.history.add(
            "fault",
            &json!({ "fault": format!("{fault:?}"), "master": master, "fail_over": fail_over }),
        );
        fault.begin(site, handle).with_context(|| format!("{fault:?}"))?;
        std::thread::sleep(broken_for);
        if fail_over {
            let others: Vec<_> = site.nodes.iter().filter(|n| **n != master).cloned().collect();
            fail_over_to_any(site, handle, &others, &mut random)?;
        }
        fault.mend(site, handle).with_context(|| format!("mending {fault:?}"))?;
        site.history.add("whole", &json!({ "fault": format!("{fault:?}") }));
        std::thread::sleep(Duration::from_millis(random.below(3_000) as u64));
    }
    leader(site, handle).map(drop)
}

fn choose(node: &str, master: &str, random: &mut Random, nodes: &[String]) -> Fault {
    let node = node.to_owned();
    match random.below(100) {
        0..20 => Fault::Kill { node, daemon: "masterd" },
        20..32 => Fault::Kill { node, daemon: "noded" },
        32..42 => Fault::Freeze { node, daemon: Some("masterd") },
        42..48 => Fault::Freeze { node, daemon: Some("noded") },
        48..54 => Fault::Freeze { node, daemon: None },
        54..66 => Fault::PowerCut { node },
        66..71 if node != master => Fault::Offline { node },
        71..80 => Fault::Cut { nodes: vec![node] },
        80..86 => {
            let other = random.pick(nodes).clone();
            Fault::Cut { nodes: if other == node { vec![node] } else { vec![node, other] } }
        }
        86..92 => {
            let others: Vec<_> = nodes.iter().filter(|n| **n != node).cloned().collect();
            Fault::Wire { b: random.pick(&others).clone(), a: node }
        }
        92..97 => Fault::Full { node },
        _ if node != master => Fault::Drain { node },
        _ => Fault::Kill { node, daemon: "masterd" },
    }
}

impl Fault {
    /// Whether the master of now cannot work meanwhile.
    fn stops_master(&self, master: &str) -> bool {
        match self {
            Fault::Kill { node, daemon } => node == master && *daemon == "masterd",
            Fault::Freeze { node, daemon } => node == master && *daemon != Some("noded"),
            Fault::PowerCut { node } | Fault::Full { node } => node == master,
            Fault::Cut { nodes } => nodes.len() == 1 && nodes[0] == master,
            Fault::Wire { .. } | Fault::Offline { .. } | Fault::Drain { .. } => false,
        }
    }

    fn begin(&self, site: &Site, handle: &Handle) -> Result<()> {
        match self {
            Fault::Kill { node, daemon } => site.lab().kill_daemon(node, daemon)?,
            Fault::Freeze { node, daemon: Some(daemon) } => site.lab().freeze(node, daemon)?,
            Fault::Freeze { node, daemon: None } => site.lab().freeze_node(node)?,
            Fault::PowerCut { node } => site.lab().kill(node)?,
            Fault::Offline { node } => {
                site.lab().kill(node)?;
                say(site, handle, &modify(node, json!({ "offline": true })));
                say(site, handle, &evacuate(node));
            }
            Fault::Cut { nodes } => {
                for node in nodes {
                    site.lab_mut().cut(node, None)?;
                }
            }
            Fault::Wire { a, b } => site.lab_mut().cut(a, Some(b))?,
            Fault::Full { node } => site.lab().fill(node)?,
            Fault::Drain { node } => {
                say(site, handle, &modify(node, json!({ "drained": true })));
                say(site, handle, &evacuate(node));
            }
        }
        Ok(())
    }

    fn mend(&self, site: &Site, handle: &Handle) -> Result<()> {
        match self {
            Fault::Kill { node, daemon } => start_daemon(&site.lab(), node, daemon)?,
            Fault::Freeze { node, daemon: Some(daemon) } => site.lab().thaw(node, daemon)?,
            Fault::Freeze { node, daemon: None } => site.lab().thaw_node(node)?,
            Fault::PowerCut { node } => site.lab().start(node)?,
            Fault::Offline { node } => {
                site.lab().start(node)?;
                say(site, handle, &modify(node, json!({ "offline": false, "force": true })));
            }
            Fault::Cut { .. } | Fault::Wire { .. } => site.lab_mut().heal()?,
            Fault::Full { node } => {
                site.lab().unfill(node)?;
                // A daemon may have ended for want of room.
                for daemon in ["noded", "masterd"] {
                    start_daemon(&site.lab(), node, daemon)?;
                }
            }
            Fault::Drain { node } => {
                say(site, handle, &modify(node, json!({ "drained": false })));
            }
        }
        Ok(())
    }
}

/// As an administrator would: a start that takes too long is tried again.
fn start_daemon(lab: &Lab, node: &str, daemon: &str) -> Result<()> {
    lab.start_daemon(node, daemon).or_else(|_| lab.start_daemon(node, daemon)).map_err(Into::into)
}

fn modify(node: &str, change: serde_json::Value) -> serde_json::Value {
    let mut op = change;
    op["OP_ID"] = "OP_NODE_SET_PARAMS".into();
    op["node_name"] = format!("{node}.lab").into();
    op["auto_promote"] = true.into();
    op
}

fn evacuate(node: &str) -> serde_json::Value {
    json!({ "OP_ID": "OP_NODE_EVACUATE", "node_name": format!("{node}.lab"), "mode": "primary-only" })
}

/// The operator's own jobs: they may fail like all others, and everybody can read how it went.
fn say(site: &Site, handle: &Handle, opcode: &serde_json::Value) {
    let said = handle.block_on(async {
        let Some((master, ..)) = site.leader_within(LEADS).await else {
            return "nobody leads".to_owned();
        };
        match master.submit_within(LEADS, opcode).await {
            Submitted::Accepted(job) => {
                let ended = tokio::time::timeout(Duration::from_secs(90), master.wait(job)).await;
                format!("job {job}: {ended:?}")
            }
            other => format!("{other:?}"),
        }
    });
    site.history.add("operator", &json!({ "opcode": opcode, "said": said }));
}

/// Who leads. If nobody does for long, the operator makes somebody lead.
fn leader(site: &Site, handle: &Handle) -> Result<String> {
    match handle.block_on(site.leader_within(LEADS)) {
        Some((_, node, _)) => Ok(node),
        None => {
            site.history.add("leaderless", &json!({}));
            let mut random = Random::new(0);
            fail_over_to_any(site, handle, &site.nodes, &mut random)
        }
    }
}

/// `gnt-cluster master-failover` here and there, until one works. Never with a loss.
fn fail_over_to_any(
    site: &Site,
    handle: &Handle,
    nodes: &[String],
    random: &mut Random,
) -> Result<String> {
    let mut last = String::new();
    for _ in 0..TRIES {
        let node = random.pick(nodes).clone();
        let began = Instant::now();
        let tried = handle.block_on(async {
            let limit = Duration::from_secs(100);
            let work = async { site.connect(&node).await?.fail_over(false, false).await };
            tokio::time::timeout(limit, work).await.unwrap_or_else(|_| bail!("it takes too long"))
        });
        let (ok, said) = match &tried {
            Ok(said) => (true, format!("{said:?}")),
            Err(error) => (false, format!("{error:#}")),
        };
        let took = began.elapsed().as_millis() as u64;
        site.history.add("failover", &json!({ "to": node, "ok": ok, "said": said, "took": took }));
        // It leads already, or somebody else could be made to lead.
        if ok || said.contains("already the master") {
            return Ok(node);
        }
        last = format!("{node}: {said}");
        std::thread::sleep(Duration::from_millis(500));
    }
    bail!("nobody can be made the master: {last}")
}
