//! Which allocator is meant, and how it is set up.

use crate::config::Config;
use roost_proto::error::{Error, Result};
use roost_proto::objects::{Cluster, ParamMap};
use serde_json::Value;

/// The allocator that is part of masterd.
pub const HAIL: &str = "hail";

/// Who chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allocator {
    /// We do: `roost_htools`.
    Hail,
    /// A script on the master's node.
    Script(String),
}

impl Allocator {
    /// The one of a name; of `.` or none the cluster's default, which is `hail` unless another one was set.
    /// Errors: what cannot be a name.
    pub fn of(config: &Config, name: Option<&str>) -> Result<Allocator> {
        match name.filter(|name| *name != ".") {
            Some(name) => Allocator::named(name),
            None => Allocator::of_cluster(&config.cluster),
        }
    }

    /// The default of a cluster.
    pub fn of_cluster(cluster: &Cluster) -> Result<Allocator> {
        Allocator::named(&cluster.default_iallocator)
    }

    fn named(name: &str) -> Result<Allocator> {
        match name {
            "" | "." | HAIL => Ok(Allocator::Hail),
            name => {
                check_name(name)?;
                Ok(Allocator::Script(name.to_owned()))
            }
        }
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        match self {
            Allocator::Hail => HAIL,
            Allocator::Script(name) => name,
        }
    }
}

/// A name that a script can have. Errors: `wrong_input`.
pub fn check_name(name: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(good) {
        return Ok(());
    }
    Err(Error::wrong_input(format!(
        "Invalid iallocator name '{name}': it has letters, digits, '-' and '_'"
    )))
}

/// The cluster's default parameters as options of a command: `--name` for one that is only there.
pub fn arguments(params: &ParamMap) -> Vec<String> {
    let argument = |(name, value): (&String, &Value)| match value {
        Value::Null | Value::Bool(true) => Some(format!("--{name}")),
        Value::Bool(false) => None,
        Value::String(text) => Some(format!("--{name}={text}")),
        other => Some(format!("--{name}={other}")),
    };
    params.iter().filter_map(argument).collect()
}

/// Those of the cluster's default parameters that mean something to our own allocator; the same options that
/// the command `hail` has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub ignore_soft_errors: bool,
    pub no_capacity_checks: bool,
    pub accept_existing_errors: bool,
}

impl Settings {
    /// Of the cluster.
    pub fn of(config: &Config) -> Settings {
        let given = arguments(&config.cluster.default_iallocator_params);
        let has = |option: &str| given.iter().any(|argument| argument == option);
        Settings {
            ignore_soft_errors: has("--ignore-soft-errors"),
            no_capacity_checks: has("--no-capacity-checks"),
            accept_existing_errors: has("--accept-existing-errors"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;
    use serde_json::json;

    #[test]
    fn names_and_the_default() {
        let mut site = Site::new(&["node1"]);
        let of = |site: &Site, name| Allocator::of(&site.config, name).map(|a| a.name().to_owned());
        for name in [None, Some("."), Some("hail")] {
            assert_eq!(of(&site, name), Ok("hail".into()));
        }
        site.cluster(|cluster| cluster.default_iallocator = "spread".into());
        assert_eq!(of(&site, None), Ok("spread".into()));
        assert_eq!(of(&site, Some(".")), Ok("spread".into()));
        assert_eq!(of(&site, Some("hail")), Ok("hail".into()));
        assert_eq!(of(&site, Some("other")), Ok("other".into()));
        let error = of(&site, Some("../sh")).expect_err("no path").message;
        assert!(error.contains("Invalid iallocator name '../sh'"), "{error}");
    }

    #[test]
    fn parameters_become_options() {
        let params = json!({
            "a": null, "b": "x y", "c": 3, "d": true, "e": false, "no-capacity-checks": true,
        });
        let params: ParamMap = serde_json::from_value(params).expect("a map");
        let options = ["--a", "--b=x y", "--c=3", "--d", "--no-capacity-checks"];
        assert_eq!(arguments(&params), options);
        let mut site = Site::new(&["node1"]);
        site.cluster(|cluster| cluster.default_iallocator_params = params);
        let settings = Settings::of(&site.config);
        assert!(settings.no_capacity_checks && !settings.ignore_soft_errors);
    }
}
