//! Backend parameters: what an instance gets of its node, whatever the hypervisor.

use super::value::{self, Check, Kind, Lit, Param, param};
use super::{AUTO, ParamMap};
use crate::error::{Error, Result};
use serde_json::Value;

/// Every backend parameter.
pub const TABLE: &[Param] = &[
    param("always_failover", Kind::Bool, Lit::B(false), Check::Any),
    param("auto_balance", Kind::Bool, Lit::B(true), Check::Any),
    param("maxmem", Kind::Size, Lit::I(128), Check::AtLeast(1)),
    param("minmem", Kind::Size, Lit::I(128), Check::AtLeast(1)),
    param("spindle_use", Kind::Int, Lit::I(1), Check::AtLeast(0)),
    param("vcpus", Kind::Int, Lit::I(1), Check::AtLeast(1)),
];

/// The old name for "both maxmem and minmem".
const MEMORY: &str = "memory";

/// All backend parameters of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilledBe {
    /// MiB at the start, and the most it can be given.
    pub maxmem: u64,
    /// MiB it can be squeezed down to; what it needs to move.
    pub minmem: u64,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Counted for redundancy and moved by balancing.
    pub auto_balance: bool,
    /// Stopped and started instead of migrated.
    pub always_failover: bool,
    /// How much it loads its disks, in spindles.
    pub spindle_use: u32,
}

impl FilledBe {
    /// Reads a filled map; what is missing or odd in it takes the built-in default.
    pub fn from_map(map: &ParamMap) -> FilledBe {
        FilledBe {
            maxmem: number(map, "maxmem").unwrap_or(128),
            minmem: number(map, "minmem").unwrap_or(128),
            vcpus: number(map, "vcpus").and_then(|n| n.try_into().ok()).unwrap_or(1),
            auto_balance: map.get("auto_balance").and_then(Value::as_bool).unwrap_or(true),
            always_failover: map.get("always_failover").and_then(Value::as_bool).unwrap_or(false),
            spindle_use: number(map, "spindle_use").and_then(|n| n.try_into().ok()).unwrap_or(1),
        }
    }

    /// The map again.
    pub fn to_map(&self) -> ParamMap {
        ParamMap::from([
            ("maxmem".to_owned(), self.maxmem.into()),
            ("minmem".to_owned(), self.minmem.into()),
            ("vcpus".to_owned(), self.vcpus.into()),
            ("auto_balance".to_owned(), self.auto_balance.into()),
            ("always_failover".to_owned(), self.always_failover.into()),
            ("spindle_use".to_owned(), self.spindle_use.into()),
        ])
    }

    /// Errors if the values contradict each other.
    pub fn check(&self) -> Result<()> {
        if self.minmem > self.maxmem {
            return Err(Error::wrong_input(format!(
                "Invalid memory: minmem ({} MiB) is larger than maxmem ({} MiB); lower minmem or \
                 raise maxmem",
                self.minmem, self.maxmem
            )));
        }
        Ok(())
    }
}

fn number(map: &ParamMap, key: &str) -> Option<u64> {
    map.get(key).and_then(Value::as_u64)
}

/// Types and checks settings as a user gives them: `memory` sets both limits, `auto` (the cluster's
/// value) leaves the setting out. Errors: `wrong_input`.
pub fn typed(settings: &ParamMap) -> Result<ParamMap> {
    let mut settings = settings.clone();
    if let Some(memory) = settings.remove(MEMORY) {
        settings.insert("maxmem".into(), memory.clone());
        settings.insert("minmem".into(), memory);
    }
    settings.retain(|_, value| value != AUTO);
    value::typed(TABLE, &settings, "backend")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> ParamMap {
        serde_json::from_value(value).expect("object")
    }

    #[test]
    fn settings_are_typed() {
        assert_eq!(
            typed(&map(json!({"memory": "1g", "vcpus": "2", "auto_balance": "auto"})))
                .expect("good"),
            map(json!({"maxmem": 1024, "minmem": 1024, "vcpus": 2}))
        );
        assert_eq!(
            typed(&map(json!({"maxmem": 512, "memory": "1g"}))).expect("memory overwrites")["maxmem"],
            1024
        );
        assert!(typed(&map(json!({"vcpus": 0}))).is_err());
        assert!(typed(&map(json!({"ram": 1}))).is_err());
    }

    #[test]
    fn filled_from_defaults() {
        let filled = FilledBe::from_map(&value::defaults(TABLE));
        assert_eq!(filled, FilledBe::from_map(&ParamMap::new()), "one set of defaults");
        assert_eq!(FilledBe::from_map(&filled.to_map()), filled);
        assert_eq!(filled.to_map(), value::defaults(TABLE));
    }

    #[test]
    fn memory_limits_fit() {
        let mut be = FilledBe::from_map(&ParamMap::new());
        be.check().expect("equal is good");
        be.minmem = 256;
        assert!(be.check().expect_err("too large").message.contains("larger than maxmem"));
    }
}
