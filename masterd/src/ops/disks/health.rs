//! Whether mirrors can be relied on: what both sides and the other nodes say of them.
//!
//! | this side's data | the other side          | it may be used here                         |
//! |------------------|-------------------------|---------------------------------------------|
//! | good             | connected               | yes                                         |
//! | good             | away, and known to be   | yes: unless it wrote alone before it went   |
//! | good             | there, not connected    | no: what is written there is not known here |
//! | behind           | any                     | no: wait until it is equal again            |
//! | both were written while they did not talk | | no: somebody must say whose data counts     |

use super::active::{self, is_mirror};
use super::minors::minor_of;
use crate::config::Config;
use crate::ops::Context;
use crate::ops::guest::filled_disks;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::node::{Answer, BlockState, BlockStatus, Question, SyncStatus};
use roost_proto::objects::{Disk, Instance};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The stored disks of an instance.
pub fn stored(config: &Config, instance: &Instance) -> Vec<Disk> {
    config.disks_of(instance).iter().map(|disk| (**disk).clone()).collect()
}

/// Nodes with mirrors of the instance's disks are asked whether they are there.
pub fn ask_secondaries(config: &Config, instance: &Instance) -> Vec<(NodeId, Question)> {
    let online = |id: &NodeId| config.nodes.get(id).is_some_and(|node| !node.offline);
    let nodes = config.secondaries(instance).into_iter().filter(online);
    nodes.map(|node| (node, Question::Node)).collect()
}

/// Nodes with mirrors of the instance's disks that are marked offline.
pub fn offline(config: &Config, instance: &Instance) -> Vec<NodeId> {
    let offline = |id: &NodeId| config.nodes.get(id).is_none_or(|node| node.offline);
    config.secondaries(instance).into_iter().filter(offline).collect()
}

/// Nodes with mirrors that are away: marked offline, or silent if that may be (`ignore`). They were
/// asked by [`ask_secondaries`]. Errors: one is silent; `way_out` says what to do.
pub fn away(
    cx: &mut Context<'_, '_>,
    instance: &Instance,
    ignore: bool,
    way_out: &str,
) -> Result<Vec<NodeId>> {
    let config = cx.config();
    let mut away = Vec::new();
    for id in config.secondaries(instance) {
        let node = config.node_by_id(id)?;
        if node.offline {
            cx.info(format!(
                "Secondary node {} is marked offline, disks of {} are used without it",
                node.name, instance.name
            ));
            away.push(id);
        } else if let Err(error) = cx.report(id).map(|_| ()) {
            if !ignore {
                return Err(Error::environment(format!(
                    "Secondary node {} of instance {} does not answer ({error}); {way_out}",
                    node.name, instance.name
                )));
            }
            cx.warn(format!(
                "Secondary node {} does not answer, disks of {} are used without it: {error}",
                node.name, instance.name
            ));
            away.push(id);
        }
    }
    Ok(away)
}

/// The mirrors of an instance, as a question for one of their nodes.
pub fn question(config: &Config, instance: &Instance, node: NodeId) -> Result<Option<Question>> {
    let disks = stored(config, instance);
    let here: Vec<Disk> =
        disks.into_iter().filter(|d| is_mirror(d) && d.nodes.contains(&node)).collect();
    let disks = filled_disks(config, instance.primary_node, &here)?;
    Ok((!disks.is_empty()).then_some(Question::Blocks { disks }))
}

/// All disks of instances, asked of every node that has a side of them and is not marked offline: one
/// question for each node.
pub fn ask_all<'a>(
    config: &Config,
    instances: impl Iterator<Item = &'a Arc<Instance>>,
) -> Result<Vec<(NodeId, Question)>> {
    let mut by_node: BTreeMap<NodeId, Vec<Disk>> = BTreeMap::new();
    for instance in instances {
        let (primary, disks) = (instance.primary_node, stored(config, instance));
        for node in active::sides(primary, &disks) {
            if config.node_by_id(node)?.offline {
                continue;
            }
            let here = active::on_node(config, node, primary, &disks)?;
            by_node.entry(node).or_default().extend(here);
        }
    }
    Ok(by_node.into_iter().map(|(node, disks)| (node, Question::Blocks { disks })).collect())
}

/// What a node answered to [`question`]: its mirrors with their state.
pub fn answers<'b>(cx: &Context<'_, 'b>, node: NodeId) -> Result<Vec<(&'b Disk, &'b BlockStatus)>> {
    for (from, question, answer) in cx.answers() {
        if let (true, Question::Blocks { disks }) = (*from == node, question) {
            return match answer {
                Ok(Answer::Blocks(all)) => Ok(disks.iter().zip(all).collect()),
                Ok(_) => Err(Error::internal("An answer does not fit the question")),
                Err(error) => Err(error.clone()),
            };
        }
    }
    Ok(vec![])
}

/// Why an instance must not use this side of its mirrors instead of that on `source`; nothing if it
/// may. `source_there`: that node answers, so it may have written what this side does not know.
pub fn objections(
    cx: &Context<'_, '_>,
    instance: &Instance,
    target: NodeId,
    source: NodeId,
    source_there: bool,
) -> Result<Vec<String>> {
    let config = cx.config();
    let name = config.node_name(target);
    let mut problems = Vec::new();
    for (disk, status) in answers(cx, target)? {
        let what = format!("{} on node {name}", disk.iv_name);
        let problem = match (status.state, &status.sync) {
            (BlockState::Missing, _) => Some("is missing".to_owned()),
            (BlockState::Faulty, _) => Some(format!("is faulty: {}", status.detail)),
            // Nobody uses it: what its meta data says is looked at when it is assembled.
            (BlockState::Inactive, _) | (_, None) => None,
            (BlockState::Active, Some(sync)) => {
                unsafe_here(sync, source_there, &instance.name, &name)
            }
        };
        problems.extend(problem.map(|why| format!("{what} {why}")));
        if source_there {
            continue;
        }
        // The last that was heard of the other side, before it was gone.
        let last =
            cx.seen().get(&source).and_then(|view| view.mirrors.get(&minor_of(disk, source)?));
        if last.is_some_and(|sync| sync.role == "Primary" && !talks(sync)) {
            let source = config.node_name(source);
            problems.push(format!(
                "{what} is older than that on node {source}, which went on alone before it was \
                 gone"
            ));
        }
    }
    Ok(problems)
}

/// Both sides are connected.
pub fn talks(sync: &SyncStatus) -> bool {
    let parted = [
        "StandAlone",
        "Disconnecting",
        "Unconnected",
        "Timeout",
        "BrokenPipe",
        "NetworkFailure",
        "ProtocolError",
        "TearDown",
        "WFConnection",
        "Connecting",
        "Unconfigured",
        "",
    ];
    !parted.contains(&sync.connection.as_str())
}

/// Both sides were written while they did not see each other: neither is what the other one was.
pub fn have_parted(a: &SyncStatus, b: &SyncStatus) -> bool {
    if a.split_brain || b.split_brain {
        return true;
    }
    if talks(a) && talks(b) {
        return false;
    }
    // The last bit only says that a primary wrote it last.
    let known = |sync: &SyncStatus| -> Vec<u64> {
        let number = |text: &String| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
        sync.generations.iter().filter_map(number).map(|id| id & !1).collect()
    };
    let (a, b) = (known(a), known(b));
    let (Some(mine), Some(theirs)) = (a.first(), b.first()) else { return false };
    // They were the same once. Otherwise they are strangers.
    let related = a[1..].iter().any(|id| *id != 0 && b[1..].contains(id));
    related && !a.contains(theirs) && !b.contains(mine)
}

/// How two parted sides are brought together again.
pub fn split_brain_way_out(instance: &str) -> String {
    format!(
        "say whose data is given up with 'gnt-instance repair-mirror --discard NODE {instance}'"
    )
}

fn unsafe_here(
    sync: &SyncStatus,
    source_there: bool,
    instance: &str,
    node: &str,
) -> Option<String> {
    if sync.split_brain {
        let way_out = split_brain_way_out(instance);
        return Some(format!("and on the other node were both written (split brain): {way_out}"));
    }
    if !sync.local_good {
        return Some(match sync.percent < 100.0 && talks(sync) {
            true => format!("is still being made equal ({:.1}%)", sync.percent),
            false => format!("has no good data ({})", sync.disk),
        });
    }
    if source_there && !talks(sync) {
        return Some(format!(
            "is not connected ({}): what was written since then is not on node {node}",
            sync.connection
        ));
    }
    None
}

/// Words for a mirror that is not as it should be; nothing if it is. `true`: this side's data is
/// good all the same.
pub fn trouble(sync: &SyncStatus) -> Option<(String, bool)> {
    if sync.split_brain {
        return Some(("split brain: both sides were written".into(), false));
    }
    if !sync.degraded {
        return None;
    }
    let eta = sync.eta.map(|s| format!(", {s:.0} s left")).unwrap_or_default();
    let text = match (talks(sync), sync.percent < 100.0) {
        (true, true) => format!("being made equal, {:.1}%{eta}", sync.percent),
        (true, false) => format!("here {}, there {}", sync.disk, sync.peer_disk),
        (false, _) => format!("not connected to its other side ({})", sync.connection),
    };
    Some((text, sync.local_good))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::NodeView;
    use crate::ops::testing::{Site, node_id, status};
    use std::sync::Arc;

    fn sync(connection: &str, disk: &str) -> SyncStatus {
        SyncStatus {
            connection: connection.into(),
            disk: disk.into(),
            local_good: disk == "UpToDate",
            degraded: connection != "Connected",
            percent: 100.0,
            role: "Secondary".into(),
            ..SyncStatus::default()
        }
    }

    fn site(sync: Option<SyncStatus>) -> Site {
        let mut site = Site::new(&["node1", "node2"]);
        site.instance("web", "node1", |_| {});
        site.drbd("web", "node2");
        let web = site.config.instance("web").expect("web").clone();
        let question = question(&site.config, &web, node_id("node2")).expect("filled");
        let mut found = status(BlockState::Active);
        found.sync = sync;
        site.answer("node2", question.expect("a mirror"), Ok(Answer::Blocks(vec![found])));
        site
    }

    fn said(site: &Site, source_there: bool) -> String {
        let web = site.config.instance("web").expect("web");
        let (one, two) = (node_id("node1"), node_id("node2"));
        let all = site.planning(|cx| objections(cx, web, two, one, source_there));
        all.expect("answers").join("; ")
    }

    #[test]
    fn which_side_may_be_used() {
        let connected = site(Some(sync("Connected", "UpToDate")));
        assert_eq!(said(&connected, true), "");
        let parted = site(Some(sync("WFConnection", "UpToDate")));
        assert_eq!(said(&parted, false), "");
        assert!(said(&parted, true).contains("disk/0 on node node2 is not connected"));
        let behind = SyncStatus { percent: 12.34, ..sync("SyncTarget", "Inconsistent") };
        assert!(said(&site(Some(behind)), false).contains("being made equal (12.3%)"));
        let bad = site(Some(sync("WFConnection", "Outdated")));
        assert!(said(&bad, false).contains("no good data (Outdated)"));
        let split = SyncStatus { split_brain: true, ..sync("StandAlone", "UpToDate") };
        assert!(said(&site(Some(split)), false).contains("repair-mirror --discard NODE web"));
        assert_eq!(said(&site(None), true), "", "not set up");
    }

    #[test]
    fn the_last_words_of_a_node_that_is_gone() {
        let mut site = site(Some(sync("WFConnection", "UpToDate")));
        let alone = SyncStatus { role: "Primary".into(), ..sync("WFConnection", "UpToDate") };
        let view = NodeView { mirrors: [(0, alone)].into(), ..NodeView::default() };
        site.facts.seen.insert(node_id("node1"), Arc::new(view));
        assert!(said(&site, false).contains("older than that on node node1"));
    }

    #[test]
    fn secondaries_that_are_away() {
        let mut site = site(None);
        let web = site.config.instance("web").expect("web").clone();
        assert_eq!(ask_secondaries(&site.config, &web), [(node_id("node2"), Question::Node)]);
        site.answer("node2", Question::Node, Err(Error::exec("silent")));
        let find = |site: &Site, ignore| {
            site.planning(|cx| away(cx, &web, ignore, "start it with --force"))
        };
        let error = find(&site, false).expect_err("it is silent").message;
        assert!(error.contains("does not answer") && error.contains("--force"), "{error}");
        assert_eq!(find(&site, true).expect("ignored"), [node_id("node2")]);
        site.node("node2", |node| node.offline = true);
        assert_eq!(find(&site, false).expect("offline"), [node_id("node2")]);
        assert_eq!(offline(&site.config, &web), [node_id("node2")]);
        assert_eq!(ask_secondaries(&site.config, &web), []);
    }

    #[test]
    fn words() {
        assert_eq!(trouble(&sync("Connected", "UpToDate")), None);
        let target = SyncStatus { percent: 50.0, eta: Some(7.2), ..sync("SyncTarget", "Bad") };
        let text = "being made equal, 50.0%, 7 s left".to_owned();
        assert_eq!(trouble(&target), Some((text, false)));
        let parted = trouble(&sync("StandAlone", "UpToDate")).expect("trouble");
        assert_eq!(parted, ("not connected to its other side (StandAlone)".into(), true));
    }
}
