//! Node parameters.

use super::ParamMap;
use super::value::{self, Check, Kind, Lit, Param, param};
use crate::error::{Error, Result};
use serde_json::Value;

/// Every node parameter.
pub const TABLE: &[Param] = &[
    param("cpu_speed", Kind::Float, Lit::F(1.0), Check::Any),
    param("disk_copy_rate", Kind::Int, Lit::I(0), Check::AtLeast(0)),
    param("disk_resync_rate", Kind::Int, Lit::I(0), Check::AtLeast(0)),
    param("exclusive_storage", Kind::Bool, Lit::B(false), Check::Any),
    param("oob_program", Kind::Text, Lit::T(""), Check::Path),
    param("ovs", Kind::Bool, Lit::B(false), Check::Any),
    param("ovs_link", Kind::Text, Lit::T(""), Check::Any),
    param("ovs_name", Kind::Text, Lit::T("switch1"), Check::Any),
    param("spindle_count", Kind::Int, Lit::I(1), Check::AtLeast(0)),
    param("ssh_port", Kind::Int, Lit::I(22), Check::Between(1, 65535)),
];

/// Those that a single node cannot have: they would tear its group apart.
pub const NOT_ON_NODES: &[&str] = &["exclusive_storage"];

/// All parameters of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct FilledNd {
    /// The out-of-band helper's path; empty: none.
    pub oob_program: String,
    /// Disks in the node.
    pub spindle_count: u64,
    /// Instances get whole physical volumes.
    pub exclusive_storage: bool,
    /// Whether an Open vSwitch is set up.
    pub ovs: bool,
    /// The switch's name.
    pub ovs_name: String,
    /// The interface that connects the switch; empty: none.
    pub ovs_link: String,
    /// Where sshd listens.
    pub ssh_port: u16,
    /// Compared with a node of speed 1.
    pub cpu_speed: f64,
    /// MiB a second that all copies, exports, imports and wipes of the node may move together; 0:
    /// as fast as they can. Not Ganeti's.
    pub disk_copy_rate: u64,
    /// The same for resynchronizations of mirrors.
    pub disk_resync_rate: u64,
}

impl FilledNd {
    /// Reads a filled map; what is missing or odd in it takes the built-in default.
    pub fn from_map(map: &ParamMap) -> FilledNd {
        let text =
            |key, default: &str| map.get(key).and_then(Value::as_str).unwrap_or(default).to_owned();
        let flag = |key| map.get(key).and_then(Value::as_bool).unwrap_or(false);
        let number = |key| map.get(key).and_then(Value::as_u64);
        FilledNd {
            oob_program: text("oob_program", ""),
            spindle_count: number("spindle_count").unwrap_or(1),
            exclusive_storage: flag("exclusive_storage"),
            ovs: flag("ovs"),
            ovs_name: text("ovs_name", "switch1"),
            ovs_link: text("ovs_link", ""),
            ssh_port: number("ssh_port").and_then(|n| n.try_into().ok()).unwrap_or(22),
            cpu_speed: map.get("cpu_speed").and_then(Value::as_f64).unwrap_or(1.0),
            disk_copy_rate: number("disk_copy_rate").unwrap_or(0),
            disk_resync_rate: number("disk_resync_rate").unwrap_or(0),
        }
    }

    /// The map again.
    pub fn to_map(&self) -> ParamMap {
        ParamMap::from([
            ("oob_program".to_owned(), self.oob_program.as_str().into()),
            ("spindle_count".to_owned(), self.spindle_count.into()),
            ("exclusive_storage".to_owned(), self.exclusive_storage.into()),
            ("ovs".to_owned(), self.ovs.into()),
            ("ovs_name".to_owned(), self.ovs_name.as_str().into()),
            ("ovs_link".to_owned(), self.ovs_link.as_str().into()),
            ("ssh_port".to_owned(), self.ssh_port.into()),
            ("cpu_speed".to_owned(), self.cpu_speed.into()),
            ("disk_copy_rate".to_owned(), self.disk_copy_rate.into()),
            ("disk_resync_rate".to_owned(), self.disk_resync_rate.into()),
        ])
    }
}

/// Where node parameters are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For all nodes.
    Cluster,
    /// For the nodes of a group.
    Group,
    /// For one node.
    Node,
}

/// Types and checks settings as a user gives them. Errors: `wrong_input`.
pub fn typed(settings: &ParamMap, level: Level) -> Result<ParamMap> {
    let out = value::typed(TABLE, settings, "node")?;
    match out.keys().find(|key| NOT_ON_NODES.contains(&key.as_str())) {
        Some(key) if level == Level::Node => Err(Error::wrong_input(format!(
            "The node parameter '{key}' can't be set for a single node; set it for its group or \
             the cluster"
        ))),
        _ => match out.get("cpu_speed").and_then(Value::as_f64) {
            Some(speed) if speed <= 0.0 => {
                Err(value::invalid("node", "cpu_speed", &speed.into(), "it must be larger than 0"))
            }
            _ => Ok(out),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_agree() {
        assert_eq!(FilledNd::from_map(&ParamMap::new()).to_map(), value::defaults(TABLE));
    }

    #[test]
    fn settings_are_typed() {
        let one = |key: &str, value| ParamMap::from([(key.to_owned(), value)]);
        let typed_as = |key, value, level| typed(&one(key, value), level);
        assert_eq!(
            typed_as("ssh_port", json!("2222"), Level::Node).expect("good"),
            one("ssh_port", json!(2222))
        );
        typed_as("exclusive_storage", json!("yes"), Level::Group).expect("for a group");
        let error = typed_as("exclusive_storage", json!(true), Level::Node).expect_err("node");
        assert!(error.message.contains("single node"), "{error}");
        assert!(typed_as("cpu_speed", json!(0), Level::Node).is_err());
        assert!(typed_as("oob_program", json!("ipmi"), Level::Node).is_err());
    }
}
