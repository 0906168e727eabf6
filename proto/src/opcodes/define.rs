//! How an opcode is written down: one listing gives the struct, its constructor, its JSON form
//! and its checks.
//!
//! JSON is Ganeti's: a flat object; fields that are absent or null take their default; a field
//! nobody knows is refused. The reading is done by hand instead of by serde's derive because a
//! user shall read which parameter of which opcode is wrong and what would be right.

use crate::error::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// What every opcode has.
pub trait Operation: Sized {
    /// Its name on the wire, as `OP_INSTANCE_CREATE`.
    const OP_ID: &'static str;
    /// Its class-style name, as `InstanceCreate`; Ganeti puts `Op` in front.
    const NAME: &'static str;
    /// Its own fields, without the common ones.
    const FIELDS: &'static [&'static str];
    /// Those of [`Self::FIELDS`] that must be given.
    const REQUIRED: &'static [&'static str];
    /// Whether it takes instances, or their disks, to other nodes or other node groups.
    const MOVES: bool;

    /// Takes its fields out of an object. Errors: `wrong_input`, naming the parameter.
    fn take_from(fields: &mut Map<String, Value>) -> Result<Self>;

    /// Puts its fields that are not null into an object.
    fn put_into(&self, fields: &mut Map<String, Value>);

    /// What stands in brackets in the summary.
    fn summary_value(&self) -> Option<String>;
}

/// Fields whose text may be empty: there, empty means "unset" or "clear".
const MAY_BE_EMPTY: &[&str] = &[
    "compress",
    "default_iallocator",
    "drbd_helper",
    "file_storage_dir",
    "gluster_storage_dir",
    "install_image",
    "instance_communication_network",
    "master_netdev",
    "name",
    "network_vlan",
    "rule_comment",
    "shared_file_storage_dir",
    "vg_name",
    "zeroing_image",
];

/// Fields whose number must be at least 1.
const POSITIVE: &[&str] =
    &["candidate_pool_size", "max_running_jobs", "max_tracked_jobs", "runtime_mem", "ssh_key_bits"];

/// The largest number of disks of an instance.
pub const MAX_DISKS: u64 = 16;

/// The largest number of network cards of an instance.
pub const MAX_NICS: usize = 8;

fn invalid(op_id: &str, field: &str, why: impl std::fmt::Display) -> Error {
    Error::wrong_input(format!("Parameter '{op_id}.{field}' fails validation: {why}"))
}

/// A field's name without Rust's mark for words that are Rust's own.
pub(super) const fn plain(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', rest @ ..] => match std::str::from_utf8(rest) {
            Ok(field) => field,
            Err(_) => field,
        },
        _ => field,
    }
}

/// Takes one field; none if it is absent or null.
pub(super) fn take<T: DeserializeOwned>(
    op_id: &str,
    fields: &mut Map<String, Value>,
    field: &'static str,
) -> Result<Option<T>> {
    let field = plain(field);
    let value = match fields.remove(field) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    if let Err(why) = check(field, &value) {
        return Err(invalid(op_id, field, why));
    }
    match serde_json::from_value(value) {
        Ok(value) => Ok(Some(value)),
        Err(why) => Err(invalid(op_id, field, why)),
    }
}

/// The same for a field that must be there.
pub(super) fn take_required<T: DeserializeOwned>(
    op_id: &str,
    fields: &mut Map<String, Value>,
    field: &'static str,
) -> Result<T> {
    match take(op_id, fields, field)? {
        Some(value) => Ok(value),
        None => Err(Error::wrong_input(format!(
            "Required parameter '{op_id}.{}' missing",
            plain(field)
        ))),
    }
}

/// Checks that a type cannot express.
fn check(field: &str, value: &Value) -> std::result::Result<(), String> {
    match value {
        Value::String(text) if text.is_empty() && !MAY_BE_EMPTY.contains(&field) => {
            Err("it must not be empty".into())
        }
        Value::Array(items) if items.iter().any(|i| i.as_str() == Some("")) => {
            Err("its items must not be empty".into())
        }
        Value::Array(items)
            if field == "disks" && items.iter().any(|i| i.as_u64() >= Some(MAX_DISKS)) =>
        {
            Err(format!("disks are numbered from 0 to {}", MAX_DISKS - 1))
        }
        Value::Number(n) if field == "disk" && n.as_u64() >= Some(MAX_DISKS) => {
            Err(format!("{n}: disks are numbered from 0 to {}", MAX_DISKS - 1))
        }
        Value::Number(n) if POSITIVE.contains(&field) && n.as_u64() == Some(0) => {
            Err("it must be at least 1".into())
        }
        _ => Ok(()),
    }
}

/// Puts one field, unless it is null.
pub(super) fn put<T: Serialize>(fields: &mut Map<String, Value>, field: &'static str, value: &T) {
    let value = serde_json::to_value(value).expect("opcode fields are plain data with text keys");
    if !value.is_null() {
        fields.insert(plain(field).to_owned(), value);
    }
}

/// Refuses what is left over after all known fields were taken.
pub(super) fn refuse_rest<T: Operation>(fields: &Map<String, Value>) -> Result<()> {
    match fields.keys().next() {
        None => Ok(()),
        Some(field) if T::FIELDS.is_empty() => Err(Error::wrong_input(format!(
            "Object Op{} doesn't support the parameter '{field}': it has no parameters",
            T::NAME
        ))),
        Some(field) => Err(Error::wrong_input(format!(
            "Object Op{} doesn't support the parameter '{field}'; it has: {}",
            T::NAME,
            T::FIELDS.join(", ")
        ))),
    }
}

/// Values that can stand in a summary.
pub(super) trait SummaryText {
    fn summary_text(&self) -> String;
}

impl SummaryText for String {
    fn summary_text(&self) -> String {
        self.clone()
    }
}

impl SummaryText for Option<String> {
    fn summary_text(&self) -> String {
        self.clone().unwrap_or_else(|| "None".into())
    }
}

impl SummaryText for crate::choices::QueryResource {
    fn summary_text(&self) -> String {
        self.to_string()
    }
}

/// Seconds, shown in nanoseconds.
impl SummaryText for f64 {
    fn summary_text(&self) -> String {
        format!("{:.0}", self * 1e9)
    }
}

/// Defines opcodes: `struct Name = "OP_ID", moves instances, summary field; required { … } optional { field: type = default }`.
///
/// `moves instances` makes it [`Operation::MOVES`].
///
/// `Name::new` takes the required fields; the others get their defaults, to be changed with
/// `Name { field: value, ..Name::new(…) }`.
macro_rules! opcodes {
    ($(
        $(#[$meta:meta])*
        struct $name:ident = $id:literal $(, moves $moves:ident)? $(, summary $summary:ident)?;
        $(required { $( $(#[$rm:meta])* $r:ident : $rt:ty ),+ $(,)? })?
        $(optional { $( $(#[$om:meta])* $o:ident : $ot:ty = $od:expr ),+ $(,)? })?
    )+) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($( $(#[$rm])* pub $r: $rt, )+)?
            $($( $(#[$om])* pub $o: $ot, )+)?
        }

        impl $name {
            /// One with the defaults for everything that is not required.
            #[allow(clippy::new_without_default, reason = "most opcodes have required fields")]
            pub fn new($($($r: impl Into<$rt>),+)?) -> $name {
                $name {
                    $($( $r: $r.into(), )+)?
                    $($( $o: $od, )+)?
                }
            }
        }

        impl $crate::opcodes::define::Operation for $name {
            const OP_ID: &'static str = $id;
            const NAME: &'static str = stringify!($name);
            const FIELDS: &'static [&'static str] =
                &[$($($crate::opcodes::define::plain(stringify!($r)),)+)? $($($crate::opcodes::define::plain(stringify!($o)),)+)?];
            const REQUIRED: &'static [&'static str] = &[$($($crate::opcodes::define::plain(stringify!($r)),)+)?];
            const MOVES: bool = {
                let what: &[&str] = &[$(stringify!($moves))?];
                !what.is_empty()
            };

            fn take_from(
                fields: &mut serde_json::Map<String, serde_json::Value>,
            ) -> $crate::error::Result<$name> {
                #[allow(unused_imports, reason = "not every opcode has both kinds of fields")]
                use $crate::opcodes::define::{refuse_rest, take, take_required};
                let op = $name {
                    $($( $r: take_required($id, fields, stringify!($r))?, )+)?
                    $($( $o: match take($id, fields, stringify!($o))? {
                        Some(value) => value,
                        None => $od,
                    }, )+)?
                };
                refuse_rest::<$name>(fields)?;
                Ok(op)
            }

            #[allow(unused_variables, reason = "some opcodes have no fields")]
            fn put_into(&self, fields: &mut serde_json::Map<String, serde_json::Value>) {
                #[allow(unused_imports, reason = "some opcodes have no fields")]
                use $crate::opcodes::define::put;
                $($( put(fields, stringify!($r), &self.$r); )+)?
                $($( put(fields, stringify!($o), &self.$o); )+)?
            }

            fn summary_value(&self) -> Option<String> {
                None::<String>
                $(.or(Some($crate::opcodes::define::SummaryText::summary_text(&self.$summary))))?
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                let mut fields = serde_json::Map::new();
                $crate::opcodes::define::Operation::put_into(self, &mut fields);
                fields.insert("OP_ID".into(), $id.into());
                fields.serialize(s)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<$name, D::Error> {
                let mut fields = serde_json::Map::deserialize(d)?;
                $crate::opcodes::read_alone(&mut fields).map_err(serde::de::Error::custom)
            }
        }

        impl From<$name> for $crate::opcodes::OpCode {
            fn from(op: $name) -> Self {
                $crate::opcodes::OpCode::$name(op)
            }
        }
    )+};
}
pub(super) use opcodes;
