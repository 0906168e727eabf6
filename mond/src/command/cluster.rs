//! What confd says of this node: asked once.

use super::objects;
use super::options::Options;
use crate::settings;
use crate::world::{ClusterView, Guest};
use roost_confd::client::{self, AskError, Client};
use roost_proto::error::Result;
use roost_proto::paths::Paths;
use std::time::Duration;

/// How long to wait for answers, and for further ones after the first.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(3), Duration::from_millis(300));

/// Asks the confd that was named, or those of the cluster. Errors: this machine is in no cluster, nobody answers,
/// or this node is not known.
pub async fn ask(paths: &Paths, options: &Options) -> Result<ClusterView> {
    let client = match options.address {
        Some(address) => Client::new(vec![address], client::key(paths)?)?,
        None => Client::of_cluster(paths)?,
    };
    let client = client.timeout(PATIENCE.0).settle(PATIENCE.1);
    let client = options.port.into_iter().fold(client, Client::port);
    let node = settings::node_name(paths)?;
    let minors = client.node_drbd(&node).await?.value;
    let pair = |row: client::DrbdMinor| Some((u32::try_from(row.minor).ok()?, row.instance));
    let drbd = minors.into_iter().filter_map(pair).collect();
    let guests = match client.node_guests(&node).await {
        Ok(told) => told.value.iter().map(settings::guest).collect(),
        // A daemon of Ganeti's own does not know this question; it has just answered another.
        Err(error) if error.is_silence() => one_by_one(&client, &node).await?,
        Err(error) => return Err(error.into()),
    };
    Ok(ClusterView { node: Some(node), enabled_hypervisors: vec![], drbd, guests })
}

/// The instances, and of each its disks.
async fn one_by_one(client: &Client, node: &str) -> Result<Vec<Guest>, AskError> {
    let instances = client.node_instances(node).await?.value;
    let primary = instances.primary.iter().map(|one| (one, true));
    let mut guests = vec![];
    for (instance, primary) in primary.chain(instances.secondary.iter().map(|one| (one, false))) {
        let Some(name) = instance["name"].as_str() else { continue };
        let disks = client.instance_disks(name).await?.value;
        guests.extend(objects::guest(instance, &disks, primary));
    }
    Ok(guests)
}
