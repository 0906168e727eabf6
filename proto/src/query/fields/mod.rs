//! The fields of every resource: name, title, kind, and where the value comes from.
//!
//! Each resource has an enum of its fields, so that a query's field names are looked up once and
//! rows are evaluated by matching on the enum. Families with a number or a parameter's name
//! (`disk.size/3`, `hv/acpi`) are one variant with a payload.

mod cluster;
mod diagnose;
mod export;
mod filter;
mod group;
mod hv;
mod instance;
mod job;
mod lock;
mod macros;
mod ndp;
mod network;
mod node;
mod rule;
mod storage;

pub use cluster::ClusterField;
pub use diagnose::{ExtStorageField, OsField};
pub use export::ExportField;
pub use filter::FilterField;
pub use group::GroupField;
pub use hv::HV_PARAMS;
pub use instance::InstanceField;
pub use job::JobField;
pub use lock::LockField;
pub use ndp::NDP_PARAMS;
pub use network::NetworkField;
pub use node::NodeField;
pub use rule::RuleField;
pub use storage::{NodeStorageField, NodeVolumeField};

use super::Resource;
use crate::nicesort;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::LazyLock;

/// The type of a field's values; decides how they are printed and what they compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    /// A string.
    Text,
    /// True or false.
    #[serde(rename = "bool")]
    Boolean,
    /// A whole number.
    Number,
    /// A number with a fraction.
    Float,
    /// A size in MiB.
    Unit,
    /// Seconds since the epoch, with a fraction.
    Timestamp,
    /// Anything else: lists, dictionaries.
    Other,
    /// A field nobody knows.
    #[serde(other)]
    Unknown,
}

impl FieldKind {
    /// The word the `list-fields` commands print.
    pub fn title(self) -> &'static str {
        match self {
            FieldKind::Text => "Text",
            FieldKind::Boolean => "Boolean",
            FieldKind::Number => "Number",
            FieldKind::Float => "Floating-point number",
            FieldKind::Unit => "Storage size",
            FieldKind::Timestamp => "Timestamp",
            FieldKind::Other => "Custom",
            FieldKind::Unknown => "Unknown",
        }
    }

    /// Whether tables align it right.
    pub fn is_numeric(self) -> bool {
        matches!(self, FieldKind::Number | FieldKind::Float | FieldKind::Unit)
    }
}

/// Where a field's value comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Source {
    /// The master's own state.
    #[default]
    Config,
    /// The nodes: asking for it contacts them.
    Live,
}

/// How a filter compares a field's values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Matching {
    /// As they are.
    #[default]
    Exact,
    /// As host names: equal to their short forms too, in any case. In lists, each item.
    HostName,
    /// As a job's times, (seconds, microseconds): by the seconds.
    JobTime,
}

/// The description of a field; on the wire `{name, title, kind, doc}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldDef {
    /// What one asks for.
    pub name: Cow<'static, str>,
    /// The column's header.
    pub title: Cow<'static, str>,
    /// The type of its values.
    pub kind: FieldKind,
    /// What it means, in a few words.
    pub doc: Cow<'static, str>,
    /// Where its value comes from (not on the wire).
    #[serde(skip)]
    pub source: Source,
    /// How filters compare it (not on the wire).
    #[serde(skip)]
    pub matching: Matching,
}

impl FieldDef {
    /// The description of a field that does not exist.
    pub fn unknown(name: &str) -> FieldDef {
        FieldDef {
            name: Cow::Owned(name.to_owned()),
            title: Cow::Owned(name.to_owned()),
            kind: FieldKind::Unknown,
            doc: Cow::Owned(format!("Unknown field '{name}'")),
            source: Source::Config,
            matching: Matching::Exact,
        }
    }
}

/// The fields of one resource, as an enum.
pub trait Field: Copy + PartialEq + Debug + Sized + 'static {
    /// Whose fields they are.
    const RESOURCE: Resource;
    /// Other names: (alias, field).
    const ALIASES: &'static [(&'static str, &'static str)];
    /// Looks a field up by its name or an alias.
    fn parse(name: &str) -> Option<Self>;
    /// Its description, under its main name.
    fn def(&self) -> FieldDef;
    /// Where its value comes from.
    fn source(&self) -> Source;
    /// All of them, without aliases, in the order of their definition.
    fn all() -> Vec<Self>;
}

/// One parameter of a family such as `hv/` or `ndp/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamField {
    /// The parameter's name, without the family.
    pub name: &'static str,
    /// The column's header; None: family and name.
    pub title: Option<&'static str>,
    /// The type of its values.
    pub kind: FieldKind,
    /// What it means, in a few words.
    pub doc: &'static str,
}

/// The parameter of that name: its place in the family's table.
fn find_param(table: &'static [ParamField], name: &str) -> Option<&'static ParamField> {
    table.iter().find(|p| p.name == name)
}

fn describe<F: Field>() -> Vec<FieldDef> {
    let mut fields: Vec<FieldDef> = F::all().iter().map(Field::def).collect();
    fields.extend(F::ALIASES.iter().map(|(alias, name)| {
        let target = F::parse(name).expect("an alias stands for a field").def();
        FieldDef { name: Cow::Borrowed(alias), ..target }
    }));
    fields.sort_by(|a, b| nicesort::compare(&a.name, &b.name));
    fields
}

/// Every field of a resource, aliases included, in nice order of the names.
pub fn fields_of(resource: Resource) -> &'static [FieldDef] {
    macro_rules! table {
        ($field:ty) => {{
            static TABLE: LazyLock<Vec<FieldDef>> = LazyLock::new(describe::<$field>);
            &TABLE
        }};
    }
    match resource {
        Resource::Cluster => table!(ClusterField),
        Resource::Instance => table!(InstanceField),
        Resource::Node => table!(NodeField),
        Resource::Group => table!(GroupField),
        Resource::Job => table!(JobField),
        Resource::Network => table!(NetworkField),
        Resource::Lock => table!(LockField),
        Resource::Filter => table!(FilterField),
        Resource::Rule => table!(RuleField),
        Resource::Export => table!(ExportField),
        Resource::Os => table!(OsField),
        Resource::ExtStorage => table!(ExtStorageField),
        Resource::NodeVolume => table!(NodeVolumeField),
        Resource::NodeStorage => table!(NodeStorageField),
    }
}

/// The description of one field, under the name asked for.
pub fn find(resource: Resource, name: &str) -> Option<FieldDef> {
    let fields = fields_of(resource);
    let at = fields.binary_search_by(|f| nicesort::compare(&f.name, name)).ok()?;
    Some(fields[at].clone())
}

/// The names of fields that nobody knows, in order.
pub fn unknown_names(fields: &[FieldDef]) -> Vec<&str> {
    fields.iter().filter(|f| f.kind == FieldKind::Unknown).map(|f| f.name.as_ref()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<F: Field>() {
        let table = fields_of(F::RESOURCE);
        assert_eq!(table.len(), F::all().len() + F::ALIASES.len());
        for field in F::all() {
            let def = field.def();
            assert_eq!(F::parse(&def.name), Some(field), "{}", def.name);
            assert_eq!(find(F::RESOURCE, &def.name), Some(def.clone()));
            assert_eq!(def.source, field.source());
            assert!(!def.doc.is_empty() && !def.title.contains(' '), "{}", def.name);
            assert_ne!(def.kind, FieldKind::Unknown);
        }
        for (alias, name) in F::ALIASES {
            assert_eq!(F::parse(alias), F::parse(name));
            assert_eq!(find(F::RESOURCE, alias).unwrap().name, *alias);
        }
        for pair in table.windows(2) {
            assert_ne!(pair[0].name, pair[1].name, "defined twice");
        }
        assert!(F::parse(F::RESOURCE.name_field()).is_some());
        for wrong in ["", "nonexistent", "Name", "disk.size/", "disk.size/16", "disk.size/01"] {
            assert_eq!(F::parse(wrong), None);
            assert_eq!(find(F::RESOURCE, wrong), None);
        }
    }

    #[test]
    fn tables_are_sound() {
        check::<ClusterField>();
        check::<InstanceField>();
        check::<NodeField>();
        check::<GroupField>();
        check::<JobField>();
        check::<NetworkField>();
        check::<LockField>();
        check::<FilterField>();
        check::<RuleField>();
        check::<ExportField>();
        check::<OsField>();
        check::<ExtStorageField>();
        check::<NodeVolumeField>();
        check::<NodeStorageField>();
    }

    #[test]
    fn families() {
        let def = find(Resource::Instance, "disk.size/12").unwrap();
        assert_eq!((def.title.as_ref(), def.kind), ("Disk/12", FieldKind::Unit));
        assert_eq!(find(Resource::Instance, "sda_size").unwrap().title, "Disk/0");
        assert_eq!(find(Resource::Instance, "hv/acpi").unwrap().title, "ACPI");
        assert_eq!(find(Resource::Instance, "hv/vga").unwrap().title, "hv/vga");
        assert_eq!(find(Resource::Instance, "hv/migration_mode"), None);
        assert_eq!(find(Resource::Instance, "be/memory").unwrap().kind, FieldKind::Unit);
        assert_eq!(
            find(Resource::Instance, "nic.network.name/7").unwrap().title,
            "NicNetworkName/7"
        );
        assert_eq!(find(Resource::Instance, "nic.ip/8"), None);
        assert_eq!(find(Resource::Node, "ndp/ssh_port").unwrap().title, "ndp/ssh_port");
        assert_eq!(find(Resource::Group, "ndp/cpu_speed").unwrap().kind, FieldKind::Float);
        assert_eq!(HV_PARAMS.len(), 82);
    }

    #[test]
    fn the_wire_has_four_keys() {
        let def = find(Resource::Node, "name").unwrap();
        assert_eq!(
            serde_json::to_string(&def).unwrap(),
            r#"{"name":"name","title":"Node","kind":"text","doc":"Node name"}"#
        );
        let kind = |k: FieldKind| serde_json::to_value(k).unwrap();
        assert_eq!(kind(FieldKind::Boolean), "bool");
        assert_eq!(kind(FieldKind::Float), "float");
        let newer: FieldKind = serde_json::from_str("\"colour\"").unwrap();
        assert_eq!(newer, FieldKind::Unknown);
    }
}
