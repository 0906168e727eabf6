//! `config.ini` of an export: what the instance was like. Ganeti's format, version 0.
//!
//! Sections of `name = value` lines, as Python's `ConfigParser` writes and reads them; values are
//! written as Python's `str` does: `None`, `True`.

use crate::config::Config;
use roost_proto::error::{Error, Result};
use roost_proto::objects::{Disk, Instance};
use roost_proto::params::{ParamMap, fill, hypervisor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::{Display, Write};

/// The version that is written and read.
pub const VERSION: &str = "0";
/// Python's word for nothing.
const NONE: &str = "None";

/// The text of an export made at `now` (seconds since 1970). Its dumps are named by the disks'
/// UUIDs.
pub fn text(config: &Config, instance: &Instance, disks: &[Disk], now: f64) -> String {
    let mut all = Sections::default();
    all.put("export", "version", VERSION);
    all.put("export", "timestamp", now as i64);
    all.put("export", "source", instance.primary_node);
    all.put("export", "os", &instance.os);
    // The dumps themselves are not packed: only their way was.
    all.put("export", "compression", "none");
    let be = fill::beparams(&config.cluster, &instance.beparams);
    let mut put = |key: &str, value: &dyn Display| all.put("instance", key, value);
    put("name", &instance.name);
    put("maxmem", &be.maxmem);
    put("minmem", &be.minmem);
    put("memory", &be.maxmem);
    put("vcpus", &be.vcpus);
    put("disk_template", &disks.first().map_or("diskless", |d| d.dev_type.as_str()));
    put("hypervisor", &instance.hypervisor);
    put("tags", &instance.tags.join(" "));
    for (n, nic) in instance.nics.iter().enumerate() {
        let network = nic.network.as_ref().and_then(|id| config.networks.get(id));
        let params = fill::nic_params(&config.cluster, nic);
        let or_none = |text: Option<&str>| text.unwrap_or(NONE).to_owned();
        put(&format!("nic{n}_mac"), &nic.mac);
        put(&format!("nic{n}_ip"), &or_none(nic.ip.as_deref()));
        put(&format!("nic{n}_network"), &or_none(network.map(|n| n.name.as_str())));
        put(&format!("nic{n}_name"), &or_none(nic.name.as_deref()));
        put(&format!("nic{n}_mode"), &params.mode);
        put(
            &format!("nic{n}_link"),
            &or_none(Some(&params.link).filter(|l| !l.is_empty()).map(String::as_str)),
        );
        put(
            &format!("nic{n}_vlan"),
            &or_none(Some(&params.vlan).filter(|v| !v.is_empty()).map(String::as_str)),
        );
    }
    put("nic_count", &instance.nics.len());
    for (n, disk) in disks.iter().enumerate() {
        put(&format!("disk{n}_ivname"), &disk.iv_name);
        put(&format!("disk{n}_dump"), &disk.uuid);
        put(&format!("disk{n}_size"), &disk.size);
        put(&format!("disk{n}_name"), &disk.name.as_deref().unwrap_or(NONE));
    }
    put("disk_count", &disks.len());
    for (key, value) in fill::instance_hvparams(&config.cluster, instance) {
        let one = ParamMap::from([(key.clone(), value.clone())]);
        // Those that belong to nodes are none of the instance's.
        if hypervisor::typed(instance.hypervisor, &one, hypervisor::Scope::Instance).is_ok() {
            all.put("hypervisor", &key, python(&value));
        }
    }
    all.params("backend", &fill::beparams_map(&config.cluster, &instance.beparams));
    all.params("os", &instance.osparams);
    all.params("os_private", &instance.osparams_private);
    all.to_string()
}

fn python(value: &Value) -> String {
    match value {
        Value::Null => NONE.into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Sections with their values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sections {
    /// In the order in which they are written.
    order: Vec<String>,
    values: BTreeMap<String, BTreeMap<String, String>>,
}

impl Sections {
    fn section(&mut self, name: &str) -> &mut BTreeMap<String, String> {
        if !self.values.contains_key(name) {
            self.order.push(name.to_owned());
        }
        self.values.entry(name.to_owned()).or_default()
    }

    fn put(&mut self, section: &str, key: &str, value: impl Display) {
        // More lines of a value are indented, as Python reads them.
        let value = value.to_string().replace('\n', "\n\t");
        self.section(section).insert(key.to_owned(), value);
    }

    fn params(&mut self, section: &str, params: &ParamMap) {
        self.section(section);
        for (key, value) in params {
            self.put(section, key, python(value));
        }
    }

    /// Reads a text. Errors: a line that is none of such a file.
    pub fn parse(text: &str) -> Result<Sections> {
        let mut all = Sections::default();
        let mut at: Option<(String, Option<String>)> = None;
        for (n, line) in text.lines().enumerate() {
            let bad = || {
                Error::wrong_input(format!(
                    "Line {} of the export's config.ini is not of such a file: '{line}'",
                    n + 1
                ))
            };
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
                continue;
            }
            if line.starts_with([' ', '\t']) {
                let Some((section, Some(key))) = &at else { return Err(bad()) };
                let value = all.section(section).entry(key.clone()).or_default();
                value.push('\n');
                value.push_str(trimmed);
                continue;
            }
            if let Some(name) = trimmed.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
                all.section(name);
                at = Some((name.to_owned(), None));
                continue;
            }
            let Some((section, _)) = &at else { return Err(bad()) };
            let split = trimmed.find(['=', ':']).ok_or_else(bad)?;
            let key = trimmed[..split].trim().to_lowercase();
            let value = trimmed[split + 1..].trim().to_owned();
            let section = section.clone();
            all.section(&section).insert(key.clone(), value);
            at = Some((section, Some(key)));
        }
        Ok(all)
    }

    /// A value; `None` and nothing are no value.
    pub fn get(&self, section: &str, key: &str) -> Option<&str> {
        let value = self.values.get(section)?.get(key)?.as_str();
        Some(value).filter(|value| *value != NONE && !value.is_empty())
    }

    /// A value without which it is no export.
    pub fn need(&self, section: &str, key: &str) -> Result<&str> {
        self.get(section, key).ok_or_else(|| {
            Error::wrong_input(format!(
                "The export's config.ini has no '{key}' in its section [{section}]"
            ))
        })
    }

    /// A number without which it is no export.
    pub fn number(&self, section: &str, key: &str) -> Result<u64> {
        let text = self.need(section, key)?;
        text.parse().map_err(|_| {
            Error::wrong_input(format!(
                "The export's config.ini has '{text}' for '{key}' in its section [{section}], \
                 which is not a number"
            ))
        })
    }

    /// All values of a section, as text.
    pub fn all(&self, section: &str) -> impl Iterator<Item = (&str, &str)> {
        let values = self.values.get(section).into_iter().flatten();
        values.map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl Display for Sections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        for section in &self.order {
            writeln!(text, "[{section}]")?;
            for (key, value) in &self.values[section] {
                writeln!(text, "{key} = {value}")?;
            }
            writeln!(text)?;
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Site;
    use roost_proto::choices::DiskTemplate;
    use serde_json::json;

    #[test]
    fn what_is_written_is_read_again() {
        let mut site = Site::new(&["node1"]);
        site.instance("web", "node1", |i| {
            i.os = "debian+testing".into();
            i.tags = vec!["a".into(), "b".into()];
            i.osparams.insert("motd".into(), json!("two\nlines"));
            i.osparams_private.insert("key".into(), json!("hush"));
            i.beparams.insert("maxmem".into(), json!(256));
        });
        site.disk("web", DiskTemplate::File, "/srv/file/web/disk0");
        let instance = site.config.instance("web").expect("web");
        let disks: Vec<_> = site.config.disks_of(instance).iter().map(|d| (**d).clone()).collect();
        let text = text(&site.config, instance, &disks, 1_700_000_000.5);
        assert!(text.starts_with("[export]\n"), "{text}");
        let read = Sections::parse(&text).expect("readable");
        for (section, key, value) in [
            ("export", "version", "0"),
            ("export", "timestamp", "1700000000"),
            ("export", "os", "debian+testing"),
            ("export", "compression", "none"),
            ("instance", "name", "web"),
            ("instance", "maxmem", "256"),
            ("instance", "memory", "256"),
            ("instance", "disk_template", "file"),
            ("instance", "hypervisor", "fake"),
            ("instance", "tags", "a b"),
            ("instance", "disk0_ivname", "disk/0"),
            ("instance", "disk0_size", "1024"),
            ("backend", "always_failover", "False"),
            ("os", "motd", "two\nlines"),
            ("os_private", "key", "hush"),
        ] {
            assert_eq!(read.get(section, key), Some(value), "{section} {key}");
        }
        assert_eq!(read.need("instance", "disk0_dump").expect("there"), disks[0].uuid.to_string());
        assert_eq!(read.number("instance", "disk_count").expect("a number"), 1);
        assert_eq!(read.get("instance", "disk0_name"), None, "None is nothing");
    }

    #[test]
    fn what_python_writes_is_read_and_nonsense_is_not() {
        let text = "# made by hand\n[export]\nVersion=0\nos: debian\n\n[os]\nlong = a\n\tb\n";
        let read = Sections::parse(text).expect("readable");
        assert_eq!(read.get("export", "version"), Some("0"));
        assert_eq!(read.get("export", "os"), Some("debian"));
        assert_eq!(read.get("os", "long"), Some("a\nb"));
        for (text, line) in [("x = 1\n", 1), ("[a]\nnonsense\n", 2), ("[a]\n  y\n", 2)] {
            let error = Sections::parse(text).expect_err(text);
            assert!(error.message.contains(&format!("Line {line} ")), "{error}");
        }
        let error = read.number("export", "os").expect_err("no number");
        assert!(error.message.contains("not a number"), "{error}");
        read.need("instance", "name").expect_err("missing");
    }
}
