//! What the `list` commands show by default, and how they print structured values.

use super::{Resource, pyrepr};
use serde_json::Value;

/// The columns of a `list` command without `-o`; empty if there is no such command.
pub fn default_columns(resource: Resource) -> &'static [&'static str] {
    match resource {
        Resource::Instance => &["name", "hypervisor", "os", "pnode", "status", "oper_ram"],
        Resource::Node => {
            &["name", "dtotal", "dfree", "mtotal", "mnode", "mfree", "pinst_cnt", "sinst_cnt"]
        }
        Resource::Group => &["name", "node_cnt", "pinst_cnt", "alloc_policy", "ndparams"],
        Resource::Job => &["id", "status", "summary"],
        Resource::Network => &["name", "network", "gateway", "mac_prefix", "group_list", "tags"],
        Resource::Lock => &["name", "mode", "owner", "pending"],
        Resource::Filter => {
            &["uuid", "watermark", "priority", "predicates", "action", "reason_trail"]
        }
        Resource::Rule => &["name", "kind", "domain", "strength", "status", "violators"],
        Resource::Export => &["node", "export"],
        Resource::NodeVolume => &["node", "phys", "vg", "name", "size", "instance"],
        Resource::NodeStorage => &["node", "type", "name", "size", "used", "free", "allocatable"],
        Resource::Cluster | Resource::Os | Resource::ExtStorage => &[],
    }
}

/// The columns that `-o` selects: `a,b` instead of the default ones, `+a,b` after them.
pub fn select_columns(default: &[&str], output: Option<&str>) -> Vec<String> {
    let split = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let default = || default.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>();
    match output {
        None => default(),
        Some(output) => match output.strip_prefix('+') {
            Some(more) => default().into_iter().chain(split(more)).collect(),
            None => split(output),
        },
    }
}

/// How a column's values are printed.
#[derive(Clone, Copy, Debug, Default)]
pub enum CellStyle {
    /// As its kind says.
    #[default]
    Kind,
    /// A list's items, with commas.
    CommaList,
    /// A dictionary as `key=value, …`; `(empty)` without entries.
    KeyValues,
    /// A list of (seconds, microseconds) as a Python list of times; `?` for one that is not yet.
    JobTimes,
    /// Network connections as `group (mode, link, vlan), …`.
    NetworkGroups,
    /// A word, or `-` for null.
    OrDash,
    /// A list's items, with commas; `-` if there are none.
    ListOrDash,
    /// Who waits for a lock, as `mode:job,job …`; `-` if nobody does.
    LockPending,
    /// Whatever a command needs.
    Custom(fn(&Value) -> String),
}

/// How the `list` command of a resource prints a field.
pub fn style_of(resource: Resource, field: &str) -> CellStyle {
    match (resource, field) {
        (Resource::Instance, "tags" | "disk.sizes" | "snodes" | "snodes.group")
        | (Resource::Instance, "snodes.group.uuid" | "nic.macs" | "nic.ips" | "nic.modes")
        | (Resource::Instance, "nic.links" | "nic.bridges" | "nic.networks")
        | (Resource::Node, "tags" | "pinst_list" | "sinst_list")
        | (Resource::Group, "tags" | "node_list" | "pinst_list")
        | (Resource::Network, "tags" | "inst_list")
        | (Resource::Job, "summary") => CellStyle::CommaList,
        (Resource::Rule, "members") => CellStyle::CommaList,
        (Resource::Rule, "violators" | "problems") => CellStyle::ListOrDash,
        (Resource::Group, "ndparams" | "custom_ndparams") => CellStyle::KeyValues,
        (Resource::Job, "opstart" | "opexec" | "opend") => CellStyle::JobTimes,
        (Resource::Network, "group_list") => CellStyle::NetworkGroups,
        (Resource::Lock, "mode") => CellStyle::OrDash,
        (Resource::Lock, "owner") => CellStyle::ListOrDash,
        (Resource::Lock, "pending") => CellStyle::LockPending,
        _ => CellStyle::Kind,
    }
}

impl CellStyle {
    /// Writes a value in this style. False if the style leaves it to the value's kind, which it
    /// does too when the value does not have the expected shape.
    pub(super) fn write(
        self,
        out: &mut String,
        value: &Value,
        time: &dyn Fn(f64) -> String,
    ) -> bool {
        match (self, value) {
            (CellStyle::Custom(format), value) => out.push_str(&format(value)),
            (CellStyle::OrDash, Value::Null) => out.push('-'),
            (CellStyle::ListOrDash | CellStyle::LockPending, Value::Null) => out.push('-'),
            (CellStyle::ListOrDash | CellStyle::LockPending, Value::Array(items))
                if items.is_empty() =>
            {
                out.push('-');
            }
            (CellStyle::CommaList | CellStyle::ListOrDash, Value::Array(items)) => {
                join(out, items, ",", pyrepr::write_str);
            }
            (CellStyle::KeyValues, Value::Object(entries)) if entries.is_empty() => {
                out.push_str("(empty)");
            }
            (CellStyle::KeyValues, Value::Object(entries)) => {
                join(out, entries, ", ", |out, (key, value)| {
                    out.push_str(key);
                    out.push('=');
                    pyrepr::write_str(out, value);
                });
            }
            (CellStyle::JobTimes, Value::Array(times)) => {
                out.push('[');
                join(out, times, ", ", |out, pair| {
                    out.push_str(&pyrepr::repr(&Value::String(job_time(pair, time))));
                });
                out.push(']');
            }
            (CellStyle::NetworkGroups, Value::Array(groups)) => {
                join(out, groups, ", ", |out, group| match group.as_array().map(Vec::as_slice) {
                    Some([name, connection @ ..]) => {
                        pyrepr::write_str(out, name);
                        out.push_str(" (");
                        join(out, connection, ", ", pyrepr::write_str);
                        out.push(')');
                    }
                    _ => pyrepr::write_str(out, group),
                });
            }
            (CellStyle::LockPending, Value::Array(waiting)) => {
                join(out, waiting, " ", |out, entry| match entry.as_array().map(Vec::as_slice) {
                    Some([mode, Value::Array(jobs)]) => {
                        pyrepr::write_str(out, mode);
                        out.push(':');
                        join(out, jobs, ",", pyrepr::write_str);
                    }
                    _ => pyrepr::write_str(out, entry),
                });
            }
            _ => return false,
        }
        true
    }
}

fn join<T>(
    out: &mut String,
    items: impl IntoIterator<Item = T>,
    separator: &str,
    write: impl Fn(&mut String, T),
) {
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push_str(separator);
        }
        write(out, item);
    }
}

/// One of a job's times, (seconds, microseconds), as text; `?` without one. `time` formats whole
/// seconds.
pub fn job_time(pair: &Value, time: &dyn Fn(f64) -> String) -> String {
    let part = |i: usize| pair.get(i).and_then(Value::as_i64);
    match (part(0), part(1)) {
        (Some(seconds), Some(micros)) => format!("{}.{micros:06}", time(seconds as f64)),
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::find;

    #[test]
    fn every_column_and_style_names_a_field() {
        for resource in Resource::ALL {
            for name in default_columns(resource) {
                assert!(find(resource, name).is_some(), "{resource} {name}");
            }
        }
        assert!(matches!(style_of(Resource::Job, "opend"), CellStyle::JobTimes));
    }

    #[test]
    fn output_selects_or_adds() {
        assert_eq!(select_columns(&["a", "b"], None), ["a", "b"]);
        assert_eq!(select_columns(&["a", "b"], Some("c,a")), ["c", "a"]);
        assert_eq!(select_columns(&["a", "b"], Some("+c,d")), ["a", "b", "c", "d"]);
    }
}
