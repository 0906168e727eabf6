//! What a report is. Source: Ganeti's reference on mond, report object and status codes.

use roost_proto::error::{Error, Result};
use serde::Serialize;
use serde_json::value::RawValue;
use std::time::Duration;

/// Which part of the machine a collector looks at; part of the path of its report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// None in particular: null in the report, `default` in paths.
    Default,
    Instance,
    Storage,
    Daemon,
    Hypervisor,
}

impl Category {
    /// As it is written in paths and in the list of collectors.
    pub fn as_str(self) -> &'static str {
        match self {
            Category::Default => "default",
            Category::Instance => "instance",
            Category::Storage => "storage",
            Category::Daemon => "daemon",
            Category::Hypervisor => "hypervisor",
        }
    }
}

/// What kind of report it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Figures.
    Performance = 0,
    /// Figures and a judgement: data is an object with `status` first.
    Status = 1,
}

/// A judgement, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Code {
    #[default]
    Ok = 0,
    /// Wrong, and being mended without anybody doing anything.
    Fixing = 1,
    Unknown = 2,
    Bad = 4,
}

/// A judgement and why. As JSON: `{"code": 4, "message": "…"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    pub code: Code,
    /// Empty if all is well.
    pub message: String,
}

impl Health {
    /// Anything but well.
    pub fn new(code: Code, message: impl Into<String>) -> Health {
        Health { code, message: message.into() }
    }

    /// All is well.
    pub fn ok() -> Health {
        Health::default()
    }

    /// Of several: the worst code; the messages of those that are not well, the last first, each on a line of
    /// its own behind an empty one, as the reference has it.
    pub fn merged<'a>(all: impl IntoIterator<Item = &'a Health>) -> Health {
        let mut merged = Health::ok();
        let mut messages = vec![];
        for one in all {
            merged.code = merged.code.max(one.code);
            if one.code != Code::Ok {
                messages.push(one.message.as_str());
            }
        }
        for message in messages.into_iter().rev() {
            merged.message.push('\n');
            merged.message.push_str(message);
        }
        merged
    }
}

impl Serialize for Health {
    fn serialize<S: serde::Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut fields = to.serialize_struct("Health", 2)?;
        fields.serialize_field("code", &(self.code as u8))?;
        fields.serialize_field("message", &self.message)?;
        fields.end()
    }
}

/// The `data` of a report: JSON.
#[derive(Clone, Debug)]
pub struct Data(Box<RawValue>);

impl Data {
    /// Keys stay in the order of the struct's fields.
    pub fn of(value: &impl Serialize) -> Result<Data> {
        serde_json::value::to_raw_value(value)
            .map(Data)
            .map_err(|e| Error::internal(format!("a report cannot be written: {e}")))
    }

    /// Of JSON text. Errors: it is none.
    pub fn parse(json: String) -> Result<Data> {
        RawValue::from_string(json)
            .map(Data)
            .map_err(|e| Error::environment(format!("not JSON: {e}")))
    }

    /// The text.
    pub fn get(&self) -> &str {
        self.0.get()
    }
}

/// A report.
#[derive(Clone, Debug)]
pub struct Report {
    pub name: String,
    pub version: String,
    pub format_version: u32,
    /// When it was made, since 1970.
    pub timestamp: Duration,
    pub category: Category,
    pub kind: Kind,
    pub data: Data,
}

impl Report {
    /// As JSON, in the reference's order of keys. The timestamp is in nanoseconds, to the microsecond.
    pub fn json(&self) -> Result<String> {
        #[derive(Serialize)]
        struct Fields<'a> {
            name: &'a str,
            version: &'a str,
            format_version: u32,
            timestamp: u64,
            category: Option<&'static str>,
            kind: u8,
            data: &'a RawValue,
        }
        let micros = u64::try_from(self.timestamp.as_micros()).unwrap_or(u64::MAX);
        let fields = Fields {
            name: &self.name,
            version: &self.version,
            format_version: self.format_version,
            timestamp: micros.saturating_mul(1000),
            category: (self.category != Category::Default).then(|| self.category.as_str()),
            kind: self.kind as u8,
            data: &self.data.0,
        };
        serde_json::to_string(&fields)
            .map_err(|e| Error::internal(format!("a report cannot be written: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judgements_are_merged_as_the_reference_does() {
        let all = [
            Health::ok(),
            Health::new(Code::Fixing, "3: Trying to establish a network connection"),
            Health::new(Code::Bad, "4: No network config available"),
        ];
        let merged = Health::merged(&all);
        assert_eq!(merged.code, Code::Bad);
        assert_eq!(
            merged.message,
            "\n4: No network config available\n3: Trying to establish a network connection"
        );
        assert_eq!(Health::merged(&all[..1]), Health::ok());
    }

    #[test]
    fn a_report_has_the_keys_of_the_reference_in_their_order() {
        let report = Report {
            name: "diskstats".into(),
            version: "B".into(),
            format_version: 1,
            timestamp: Duration::from_nanos(1_795_166_471_838_106_999),
            category: Category::Storage,
            kind: Kind::Performance,
            data: Data::parse("[]".into()).unwrap(),
        };
        assert_eq!(
            report.json().unwrap(),
            r#"{"name":"diskstats","version":"B","format_version":1,"timestamp":1795166471838106000,"category":"storage","kind":0,"data":[]}"#
        );
        let report = Report { category: Category::Default, ..report };
        assert!(report.json().unwrap().contains(r#""category":null"#));
    }
}
