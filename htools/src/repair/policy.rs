//! What may be done to instances, by tags.

use super::behind;
use super::tags::Repair;
use crate::model::{Cluster, NodeIdx};

/// What may be done to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Nobody said that anything may be done.
    NotEnabled,
    /// Nothing until then (seconds since 1970), or until the tag is removed.
    Suspended(Option<i64>),
    /// This and what does less harm.
    Enabled(Repair),
}

impl Policy {
    /// Of the tags of one object at a time; none: they say nothing.
    ///
    /// A suspension goes before a permission, so that it stops what others allow; one whose time has come says
    /// nothing. Of several permissions the one that allows least counts.
    pub fn of(tags: &[String], now: i64) -> Option<Policy> {
        let suspended = || tags.iter().filter_map(|tag| behind(tag, ":suspend"));
        if suspended().any(str::is_empty) {
            return Some(Policy::Suspended(None));
        }
        let until =
            suspended().filter_map(|time| time.parse().ok()).filter(|time| *time > now).max();
        if until.is_some() {
            return Some(Policy::Suspended(until));
        }
        let enabled = tags.iter().filter_map(|tag| Repair::of(behind(tag, "")?)).min();
        enabled.map(Policy::Enabled)
    }
}

/// By instance: what may be done to it. Its own tags count, else those of its primary node's group, else the cluster's.
pub fn policies(cluster: &Cluster, now: i64) -> Vec<Policy> {
    let all = Policy::of(&cluster.tags, now).unwrap_or(Policy::NotEnabled);
    let groups: Vec<Policy> =
        cluster.groups.iter().map(|group| Policy::of(&group.tags, now).unwrap_or(all)).collect();
    let group = |node: NodeIdx| cluster.nodes.get(node.at()).map(|node| groups[node.group.at()]);
    let instances = cluster.instances.iter();
    instances
        .map(|i| Policy::of(&i.tags, now).or_else(|| group(i.primary)).unwrap_or(all))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::simulate;
    use crate::text;

    fn of(tags: &[&str]) -> Option<Policy> {
        let tags: Vec<String> =
            tags.iter().map(|tag| format!("ganeti:watcher:autorepair{tag}")).collect();
        Policy::of(&tags, 1000)
    }

    #[test]
    fn the_least_that_is_allowed_counts() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["", ":", ":tape", "failover"]), None);
        assert_eq!(of(&[":reinstall", ":migrate"]), Some(Policy::Enabled(Repair::Migrate)));
        assert_eq!(of(&[":pending:failover:i:1:2"]), None);
    }

    #[test]
    fn a_suspension_goes_before_a_permission_until_its_time_has_come() {
        for tag in [":suspend", ":suspend:"] {
            assert_eq!(of(&[":failover", tag, ":suspend:2000"]), Some(Policy::Suspended(None)));
        }
        let until = |time| Some(Policy::Suspended(Some(time)));
        assert_eq!(of(&[":suspend:1001", ":suspend:3000", ":failover"]), until(3000));
        assert_eq!(of(&[":suspend:1000", ":failover"]), Some(Policy::Enabled(Repair::Failover)));
        assert_eq!(of(&[":suspend:soon"]), None);
    }

    #[test]
    fn the_nearest_that_says_something_counts() {
        let mut cluster = simulate::read(&["p,1,1t,1t,8", "p,1,1t,1t,8"]).expect("cluster");
        let tag = |word: &str| vec![format!("ganeti:watcher:autorepair:{word}")];
        let instances = "i1|1|1|1|running|Y|node-01-001||plain|\ni2|1|1|1|running|Y|node-02-001||plain|\n\
                         i3|1|1|1|running|Y|node-02-001||plain|ganeti:watcher:autorepair:suspend\n";
        let empty = text::write(&cluster);
        let (nodes, rest) = empty.split_once("1.0\n\n\n").expect("no instances");
        cluster = text::read(&format!("{nodes}1.0\n\n{instances}\n{rest}")).expect("cluster");
        let enabled = Policy::Enabled;
        assert_eq!(policies(&cluster, 0)[..2], [Policy::NotEnabled; 2]);
        cluster.tags = tag("fix-storage");
        cluster.groups[1].tags = tag("reinstall");
        let wanted =
            [enabled(Repair::FixStorage), enabled(Repair::Reinstall), Policy::Suspended(None)];
        assert_eq!(policies(&cluster, 0), wanted);
    }
}
