//! What nodes report of how busy they are: asked of their monitoring daemons, or saved by somebody.

use super::http::Place;
use super::{UtilisationOptions, read_file};
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::note;
use roost_htools::model::{Cluster, NodeIdx};
use roost_htools::sources::monitoring::{Collector, Load, apply, asked, read};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use tokio::task::JoinSet;

/// Where monitoring daemons listen.
const PORT: u16 = 1815;
/// How many are asked at a time.
const AT_ONCE: usize = 64;

/// Sets what instances use to what is reported, if all that is needed is.
pub async fn use_reports(cx: &Cx, cluster: &mut Cluster, options: &UtilisationOptions) -> Outcome {
    let collector = if options.mond_xen { Collector::XenCpu } else { Collector::Cpu };
    let wanted = asked(cluster);
    let loads = match &options.mond_data {
        Some(path) => saved(path, cluster, collector, &wanted)?,
        None => {
            let places = wanted
                .iter()
                .map(|node| (*node, Place::plain(&cluster.nodes[node.at()].name, PORT)));
            ask(cx, places, collector).await
        }
    };
    let Err(why) = apply(cluster, collector, &loads) else { return Ok(()) };
    note!(cx, "{why}");
    if options.complete {
        return Err(Failure::say("Error: Not all required data available"));
    }
    Ok(())
}

fn saved(
    path: &Path,
    cluster: &Cluster,
    collector: Collector,
    wanted: &[NodeIdx],
) -> Outcome<HashMap<NodeIdx, Load>> {
    let text = read_file(path).map_err(|why| Failure::say(format!("Error: {why}")))?;
    let reports = read(&path.display().to_string(), &text)
        .map_err(|why| Failure::say(format!("Error: can't parse MonD data: {why}")))?;
    let load = |node: &NodeIdx| {
        let reports = reports.get(&cluster.nodes[node.at()].name)?;
        let load = reports.iter().find_map(|report| collector.read(report))?;
        Some((*node, load))
    };
    Ok(wanted.iter().filter_map(load).collect())
}

/// Asks all of them, and says which did not answer.
pub(super) async fn ask(
    cx: &Cx,
    places: impl Iterator<Item = (NodeIdx, Place)>,
    collector: Collector,
) -> HashMap<NodeIdx, Load> {
    let (mut places, mut asked) = (places, JoinSet::new());
    let mut loads = HashMap::new();
    loop {
        while asked.len() < AT_ONCE
            && let Some((node, place)) = places.next()
        {
            asked.spawn(async move { (node, place.get(&collector.path(), None).await) });
        }
        let Some(answer) = asked.join_next().await else { return loads };
        match answer {
            Ok((node, Ok(text))) => {
                let report: Option<Value> = serde_json::from_str(&text).ok();
                let load = report.and_then(|report| collector.read(&report));
                loads.extend(load.map(|load| (node, load)));
            }
            Ok((_, Err(why))) => note!(cx, "{why}"),
            // A panic is a bug there, and no answer here.
            Err(why) => note!(cx, "{why}"),
        }
    }
}
