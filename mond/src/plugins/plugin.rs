//! One plugin.

use crate::collector::{About, Collected, Collector, Pending, Sampling};
use crate::exec::Command;
use crate::metrics::Metrics;
use crate::report::{Category, Data, Kind};
use crate::world::World;
use roost_proto::collectors::PLUGIN;
use roost_proto::error::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// A plugin may wait so long for others to end.
const QUEUE: Duration = Duration::from_secs(30);
/// No more figures of one plugin become metrics.
const MOST_FIGURES: usize = 200;

/// What the file beside a plugin says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    pub interval: Duration,
    pub timeout: Duration,
    pub category: Category,
    pub kind: Kind,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
            category: Category::Default,
            kind: Kind::Performance,
        }
    }
}

impl Settings {
    /// Of JSON: `interval` and `timeout` in seconds, `category` as in paths, `kind` 0 or 1. Errors: anything else.
    pub fn parse(text: &str) -> Result<Settings> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            interval: Option<f64>,
            timeout: Option<f64>,
            category: Option<String>,
            kind: Option<u8>,
        }
        let fields: Fields =
            serde_json::from_str(text).map_err(|e| Error::wrong_input(e.to_string()))?;
        let seconds = |name: &str, value: Option<f64>, default| match value {
            None => Ok(default),
            Some(value) if (0.1..=86_400.0).contains(&value) => Ok(Duration::from_secs_f64(value)),
            Some(value) => Err(Error::wrong_input(format!(
                "{name} is {value}, it must be between 0.1 and 86400 seconds"
            ))),
        };
        let default = Settings::default();
        let all = [
            Category::Default,
            Category::Instance,
            Category::Storage,
            Category::Daemon,
            Category::Hypervisor,
        ];
        Ok(Settings {
            interval: seconds("interval", fields.interval, default.interval)?,
            timeout: seconds("timeout", fields.timeout, default.timeout)?,
            category: match fields.category {
                None => default.category,
                Some(word) => {
                    all.into_iter().find(|one| one.as_str() == word).ok_or_else(|| {
                        let all = all.map(Category::as_str).join(", ");
                        Error::wrong_input(format!("there is no category '{word}', only {all}"))
                    })?
                }
            },
            kind: match fields.kind {
                None | Some(0) => Kind::Performance,
                Some(1) => Kind::Status,
                Some(kind) => {
                    return Err(Error::wrong_input(format!("kind is {kind}, it must be 0 or 1")));
                }
            },
        })
    }
}

/// See the module.
#[derive(Debug)]
pub struct Plugin {
    name: String,
    program: PathBuf,
    /// How it is run; or why it is not.
    ready: Result<Settings>,
    places: Arc<Semaphore>,
}

impl Plugin {
    pub fn new(
        name: String,
        program: PathBuf,
        ready: Result<Settings>,
        places: Arc<Semaphore>,
    ) -> Plugin {
        Plugin { name, program, ready, places }
    }

    async fn run(&self) -> Result<Collected> {
        let settings = self.ready.clone()?;
        let _place = self.places.acquire().await;
        let printed = Command::new(&self.program).deadline(settings.timeout).run_ok().await?;
        let text = String::from_utf8(printed)
            .map_err(|_| Error::environment("what it prints is not UTF-8"))?;
        let data = Data::parse(text)?;
        let metrics = figures(self.name.strip_prefix(PLUGIN).unwrap_or(&self.name), data.get());
        Ok(Collected { data, metrics })
    }
}

impl Collector for Plugin {
    fn about(&self) -> About {
        let settings = self.ready.as_ref().copied().unwrap_or_default();
        About {
            name: self.name.clone().into(),
            version: "P".into(),
            format_version: 1,
            category: settings.category,
            kind: settings.kind,
            sampling: Sampling::Background,
            interval: settings.interval,
            active: true,
            deadline: settings.timeout + QUEUE,
        }
    }

    fn keeps_last(&self) -> bool {
        true
    }

    fn collect<'a>(&'a self, _world: &'a World) -> Pending<'a> {
        Box::pin(self.run())
    }
}

/// The numbers at the top of an object.
fn figures(plugin: &str, data: &str) -> Metrics {
    let mut metrics = Metrics::default();
    let fields: Map<String, Value> = serde_json::from_str(data).unwrap_or_default();
    let numbers = fields.iter().filter_map(|(key, value)| Some((key, value.as_f64()?)));
    for (key, value) in numbers.take(MOST_FIGURES) {
        metrics.gauge(
            "roost_plugin_value",
            "A number at the top of what a plugin reports.",
            &[("plugin", plugin), ("key", key)],
            value,
        );
    }
    metrics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_mistakes_named() {
        assert_eq!(Settings::parse("{}").unwrap(), Settings::default());
        let text = r#"{"interval": 0.5, "timeout": 3, "category": "storage", "kind": 1}"#;
        let settings = Settings {
            interval: Duration::from_millis(500),
            timeout: Duration::from_secs(3),
            category: Category::Storage,
            kind: Kind::Status,
        };
        assert_eq!(Settings::parse(text).unwrap(), settings);
        for (text, why) in [
            ("{", "EOF"),
            (r#"{"intervall": 1}"#, "intervall"),
            (r#"{"interval": 0}"#, "between 0.1"),
            (r#"{"category": "x"}"#, "default, instance, storage"),
            (r#"{"kind": 2}"#, "0 or 1"),
        ] {
            let error = Settings::parse(text).unwrap_err();
            assert!(error.message.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn numbers_at_the_top_are_figures() {
        let metrics = figures("raid", r#"{"a": 1.5, "b": "x", "c": {"d": 1}, "e": -3}"#);
        let samples = &metrics.families[0].samples;
        assert_eq!(samples.iter().map(|one| one.value).collect::<Vec<_>>(), [1.5, -3.0]);
        assert_eq!(samples[1].labels, [("plugin", "raid".to_owned()), ("key", "e".to_owned())]);
        assert_eq!(figures("raid", "[1]"), Metrics::default());
    }
}
