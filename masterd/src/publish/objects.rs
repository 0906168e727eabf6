//! A snapshot in Ganeti's format, one object after the other.
//!
//! What Ganeti's file does not have is not in here either: authorities and their keys, versions of shared
//! secrets, fields of ours.

use crate::config::Config;
use crate::store::{self, Key};
use roost_proto::ids::Serial;
use roost_proto::import::strict_object;
use roost_proto::objects::CONFIG_VERSION;
use roost_proto::published::Space;
use serde::Serialize;
use serde_json::{Value, json};

/// The maps of the file and how it calls them.
pub const MAPS: [(Space, &str); 6] = [
    (Space::NodeGroup, "nodegroups"),
    (Space::Node, "nodes"),
    (Space::Network, "networks"),
    (Space::Disk, "disks"),
    (Space::Instance, "instances"),
    (Space::Filter, "filters"),
];

/// Everything of a kind: identifier and object.
pub type Objects<'a> = Box<dyn Iterator<Item = (String, Value)> + Send + 'a>;

fn strict(space: Space, object: &impl Serialize) -> Value {
    // Objects of the configuration have text keys only.
    strict_object(space, serde_json::to_value(object).unwrap_or_default())
}

/// What is beside the maps.
pub fn top(config: &Config) -> Value {
    json!({
        "version": CONFIG_VERSION,
        "ctime": config.cluster.ctime,
        "mtime": config.cluster.mtime,
        "serial_no": serial(config),
    })
}

/// The number of what is published: the higher, the newer, on whatever candidate.
pub fn serial(config: &Config) -> Serial {
    config.changed.max(Serial(1))
}

/// The cluster; its serial number is that of the commit, so that answers of two candidates can be compared.
pub fn cluster(config: &Config) -> Value {
    let mut cluster = strict(Space::Cluster, &*config.cluster);
    cluster["serial_no"] = json!(serial(config).0.max(config.cluster.serial_no));
    cluster
}

/// All of a kind.
pub fn all(config: &Config, space: Space) -> Objects<'_> {
    macro_rules! all {
        ($map:ident) => {
            Box::new(
                config
                    .$map
                    .iter()
                    .map(move |(id, object)| (id.to_string(), strict(space, &**object))),
            )
        };
    }
    match space {
        Space::Top => Box::new(std::iter::once((String::new(), top(config)))),
        Space::Cluster => Box::new(std::iter::once((String::new(), cluster(config)))),
        Space::Node => all!(nodes),
        Space::NodeGroup => all!(groups),
        Space::Instance => all!(instances),
        Space::Disk => all!(disks),
        Space::Network => all!(networks),
        Space::Filter => all!(filters),
    }
}

/// What a document is called outside. None: it is not published.
pub fn space_of(key: &Key) -> Option<Space> {
    Some(match key.space {
        store::Space::Cluster => Space::Cluster,
        store::Space::Node => Space::Node,
        store::Space::NodeGroup => Space::NodeGroup,
        store::Space::Instance => Space::Instance,
        store::Space::Disk => Space::Disk,
        store::Space::Network => Space::Network,
        store::Space::Filter => Space::Filter,
        store::Space::Rule
        | store::Space::Job
        | store::Space::Journal
        | store::Space::Debris
        | store::Space::Archive
        | store::Space::Meta => return None,
    })
}

/// One object as it is now. None: there is none.
pub fn one(config: &Config, space: Space, id: &str) -> Option<Value> {
    macro_rules! one {
        ($map:ident) => {
            config.$map.get(&id.parse().ok()?).map(|object| strict(space, &**object))
        };
    }
    match space {
        Space::Top => Some(top(config)),
        Space::Cluster => Some(cluster(config)),
        Space::Node => one!(nodes),
        Space::NodeGroup => one!(groups),
        Space::Instance => one!(instances),
        Space::Disk => one!(disks),
        Space::Network => one!(networks),
        Space::Filter => one!(filters),
    }
}
