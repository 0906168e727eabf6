//! Numbers, pools and lists: candidates, jobs, user ids, MAC addresses, collectors, tools.

use crate::ops::Context;
use roost_proto::collectors;
use roost_proto::error::{Error, Result};
use roost_proto::objects::{Cluster, CollectorConfig};
use roost_proto::opcodes::ClusterSetParams;

/// Compression tools that exports expect everywhere.
const BUILT_IN_TOOLS: [&str; 3] = ["gzip", "gzip-fast", "gzip-slow"];

/// Puts the settings into a cluster.
pub fn put_into(op: &ClusterSetParams, cx: &mut Context<'_, '_>, new: &mut Cluster) -> Result<()> {
    for (what, given, place) in [
        ("candidate pool size", op.candidate_pool_size, &mut new.candidate_pool_size),
        ("number of running jobs", op.max_running_jobs, &mut new.max_running_jobs),
        ("number of tracked jobs", op.max_tracked_jobs, &mut new.max_tracked_jobs),
    ] {
        if let Some(given) = given {
            *place = u32::try_from(given)
                .map_err(|_| Error::wrong_input(format!("The {what} {given} is too large")))?;
        }
    }
    if let Some(prefix) = &op.mac_prefix {
        new.mac_prefix = mac_prefix(prefix)?;
    }
    uid_pool(op, new)?;
    if let Some(tools) = &op.compression_tools {
        compression_tools(tools)?;
        new.compression_tools.clone_from(tools);
    }
    for (name, active) in op.enabled_data_collectors.iter().flatten() {
        if !active {
            cx.say(format!("Deactivating data collector {name}"));
        }
        collector(new, name)?.active = *active;
    }
    for (name, interval) in op.data_collector_interval.iter().flatten() {
        if *interval <= 0 {
            return Err(Error::wrong_input(format!(
                "The interval of data collector '{name}' must be larger than 0"
            )));
        }
        collector(new, name)?.interval = *interval as f64;
    }
    Ok(())
}

/// Three bytes, of an individual address.
fn mac_prefix(prefix: &str) -> Result<String> {
    let parts: Vec<_> = prefix.split(':').collect();
    let byte = |part: &&str| part.len() == 2 && u8::from_str_radix(part, 16).is_ok();
    if parts.len() != 3 || !parts.iter().all(byte) {
        return Err(Error::wrong_input(format!(
            "Invalid MAC address prefix '{prefix}': it has three bytes, as aa:00:00"
        )));
    }
    if u8::from_str_radix(parts[0], 16).is_ok_and(|first| first & 1 == 1) {
        return Err(Error::wrong_input(format!(
            "Invalid MAC address prefix '{prefix}': addresses with it would be multicast ones"
        )));
    }
    Ok(prefix.to_ascii_lowercase())
}

/// The ranges of user ids, replaced first, then added to and removed from.
fn uid_pool(op: &ClusterSetParams, new: &mut Cluster) -> Result<()> {
    if let Some(pool) = &op.uid_pool {
        new.uid_pool.clone_from(pool);
    }
    for range in op.add_uids.iter().flatten() {
        if !new.uid_pool.contains(range) {
            new.uid_pool.push(*range);
        }
    }
    for range in op.remove_uids.iter().flatten() {
        if !new.uid_pool.contains(range) {
            return Err(Error::wrong_input(format!(
                "User-id range to be removed is not found in the current user-id pool: {}-{}",
                range.0, range.1
            )));
        }
        new.uid_pool.retain(|other| other != range);
    }
    new.uid_pool.sort_unstable();
    for (lower, higher) in &new.uid_pool {
        if lower > higher {
            return Err(Error::wrong_input(format!(
                "Lower user-id boundary value ({lower}) is larger than the higher one ({higher})"
            )));
        }
    }
    for pair in new.uid_pool.windows(2) {
        if pair[1].0 <= pair[0].1 {
            return Err(Error::wrong_input(format!(
                "The user-id ranges {}-{} and {}-{} overlap",
                pair[0].0, pair[0].1, pair[1].0, pair[1].1
            )));
        }
    }
    Ok(())
}

fn compression_tools(tools: &[String]) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if let Some(tool) = tools.iter().find(|tool| tool.is_empty() || !tool.chars().all(good)) {
        return Err(Error::wrong_input(format!(
            "Invalid compression tool '{tool}': only letters, digits, '-' and '_' are allowed"
        )));
    }
    let missing: Vec<_> =
        BUILT_IN_TOOLS.iter().filter(|tool| !tools.iter().any(|t| t == *tool)).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::wrong_input(format!(
        "Compression tools that are built in can't be dropped: {}",
        missing.join(", ")
    )))
}

fn collector<'a>(new: &'a mut Cluster, name: &str) -> Result<&'a mut CollectorConfig> {
    if !collectors::is_known(name) && !new.data_collectors.contains_key(name) {
        let mut all: Vec<_> = collectors::GANETI.into_iter().chain(collectors::OURS).collect();
        all.sort_unstable();
        return Err(Error::wrong_input(format!(
            "Unknown data collector '{name}'; there are: {}, and {}NAME of a plugin",
            all.join(", "),
            collectors::PLUGIN
        )));
    }
    let default = CollectorConfig { active: true, interval: collectors::INTERVAL };
    Ok(new.data_collectors.entry(name.to_owned()).or_insert(default))
}

#[cfg(test)]
mod tests {
    use super::super::given as op;
    use crate::ops::testing::Site;
    use serde_json::json;

    #[test]
    fn numbers_and_lists() {
        let mut site = Site::new(&["node1"]);
        site.run(op(json!({
            "max_running_jobs": 5,
            "max_tracked_jobs": 50,
            "mac_prefix": "AA:BB:CC",
            "uid_pool": [[2000, 2010]],
            "add_uids": [[1000, 1005], [2000, 2010]],
            "compression_tools": ["gzip", "gzip-fast", "gzip-slow", "lzop"],
            "enabled_data_collectors": {"drbd": false, "node-os": false, "plugin-raid": true},
            "data_collector_interval": {"lv": 1_000_000},
        })));
        let cluster = &site.config.cluster;
        assert_eq!((cluster.max_running_jobs, cluster.max_tracked_jobs), (5, 50));
        assert_eq!(cluster.mac_prefix, "aa:bb:cc");
        assert_eq!(cluster.uid_pool, [(1000, 1005), (2000, 2010)]);
        assert_eq!(cluster.compression_tools.len(), 4);
        assert!(!cluster.data_collectors["drbd"].active);
        assert_eq!(cluster.data_collectors["lv"].interval, 1e6);
        assert!(!cluster.data_collectors["node-os"].active);
        assert!(cluster.data_collectors["plugin-raid"].active);
        site.run(op(json!({"remove_uids": [[1000, 1005]]})));
        assert_eq!(site.config.cluster.uid_pool, [(2000, 2010)]);
    }

    #[test]
    fn refusals() {
        let site = Site::new(&["node1"]);
        for (settings, why) in [
            (json!({"mac_prefix": "aa:bb"}), "three bytes"),
            (json!({"mac_prefix": "01:00:00"}), "multicast"),
            (json!({"uid_pool": [[5, 1]]}), "Lower user-id boundary value (5)"),
            (json!({"uid_pool": [[1, 5], [5, 9]]}), "overlap"),
            (json!({"remove_uids": [[1, 2]]}), "not found in the current user-id pool: 1-2"),
            (json!({"compression_tools": ["gzip", "gzip-fast"]}), "dropped: gzip-slow"),
            (json!({"compression_tools": ["a b"]}), "Invalid compression tool 'a b'"),
            (json!({"enabled_data_collectors": {"x": true}}), "Unknown data collector 'x'"),
            (json!({"data_collector_interval": {"lv": 0}}), "larger than 0"),
        ] {
            let error = site.refusal(op(settings));
            assert!(error.message.contains(why), "{error}\nshould say {why}");
        }
    }
}
