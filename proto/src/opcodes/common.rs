//! The fields that all opcodes have.

use super::define::{put, take};
use super::{OpCode, View, secret};
use crate::error::{Error, Result};
use crate::job::JobStatus;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A job to wait for: its number (negative: counted back from this one within one submission, -1
/// is the one before) and the final states that are accepted; none given: any.
pub type Depend = (i64, Vec<JobStatus>);

/// Why an opcode was submitted: source, text, nanoseconds since 1970.
pub type ReasonEntry = (String, String, u64);

/// What all opcodes have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Common {
    /// Check and plan, but change nothing.
    pub dry_run: bool,
    /// 0 is none.
    pub debug_level: u32,
    /// -20 is first, 19 is last; users have -10, 0 and 10.
    pub priority: i32,
    /// Jobs that must be done before.
    pub depends: Vec<Depend>,
    /// Anything.
    pub comment: Option<String>,
    /// The reason trail.
    pub reason: Vec<ReasonEntry>,
}

impl Common {
    /// Their names.
    pub const FIELDS: &'static [&'static str] =
        &["dry_run", "debug_level", "priority", "depends", "comment", "reason"];

    /// The largest priority number: last.
    pub const PRIORITY_LOWEST: i32 = 19;

    /// The smallest priority number: first.
    pub const PRIORITY_HIGHEST: i32 = -20;

    pub(super) fn take_from(op_id: &str, fields: &mut Map<String, Value>) -> Result<Common> {
        let common = Common {
            dry_run: take(op_id, fields, "dry_run")?.unwrap_or(false),
            debug_level: take(op_id, fields, "debug_level")?.unwrap_or(0),
            priority: take(op_id, fields, "priority")?.unwrap_or(0),
            depends: take::<Vec<(JobNumber, Vec<JobStatus>)>>(op_id, fields, "depends")?
                .unwrap_or_default()
                .into_iter()
                .map(|(job, states)| (job.0, states))
                .collect(),
            comment: match fields.remove("comment") {
                Some(Value::String(text)) => Some(text),
                Some(Value::Null) | None => None,
                Some(_) => {
                    return Err(Error::wrong_input(format!(
                        "Parameter '{op_id}.comment' fails validation: it must be text"
                    )));
                }
            },
            reason: take::<Vec<ReasonEntry>>(op_id, fields, "reason")?.unwrap_or_default(),
        };
        let range = Common::PRIORITY_HIGHEST..=Common::PRIORITY_LOWEST;
        if !range.contains(&common.priority) {
            return Err(Error::wrong_input(format!(
                "Parameter '{op_id}.priority' fails validation: {} is not between {} and {}",
                common.priority,
                range.start(),
                range.end()
            )));
        }
        if let Some((job, state)) = common
            .depends
            .iter()
            .find_map(|(job, states)| Some((job, states.iter().find(|s| !s.is_final())?)))
        {
            return Err(Error::wrong_input(format!(
                "Parameter '{op_id}.depends' fails validation: job {job} can't be waited for in \
                 state '{state}', only final states can: canceled, success, error"
            )));
        }
        Ok(common)
    }

    fn put_into(&self, fields: &mut Map<String, Value>) {
        put(fields, "dry_run", &self.dry_run);
        put(fields, "debug_level", &self.debug_level);
        put(fields, "priority", &self.priority);
        fields.insert("depends".into(), Value::Null);
        if !self.depends.is_empty() {
            put(fields, "depends", &self.depends);
        }
        fields.insert("comment".into(), Value::Null);
        put(fields, "comment", &self.comment);
        put(fields, "reason", &self.reason);
    }
}

/// A job number, or its digits as text.
struct JobNumber(i64);

impl<'de> Deserialize<'de> for JobNumber {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<JobNumber, D::Error> {
        let value = Value::deserialize(d)?;
        let number = match &value {
            Value::String(digits) => digits.parse().ok(),
            other => other.as_i64(),
        };
        match number {
            Some(number) if number != 0 => Ok(JobNumber(number)),
            _ => Err(serde::de::Error::custom(format!("{value} is not a job number"))),
        }
    }
}

/// An opcode as submitted: with the common fields. Its JSON form is flat, as Ganeti's.
#[derive(Clone, Debug, PartialEq)]
pub struct OpInput {
    /// What all opcodes have.
    pub common: Common,
    /// The opcode.
    pub op: OpCode,
}

impl OpInput {
    /// Reads `{"OP_ID": …, fields…, common fields…}`.
    /// Errors: `wrong_input`, naming opcode, parameter and what would be right.
    pub fn from_json(value: &Value) -> Result<OpInput> {
        let Value::Object(fields) = value else {
            return Err(Error::wrong_input(format!(
                "An opcode is an object with the key OP_ID, not {value}"
            )));
        };
        let mut fields = fields.clone();
        let op_id = match fields.remove("OP_ID") {
            Some(Value::String(op_id)) => op_id,
            Some(other) => {
                return Err(Error::wrong_input(format!("OP_ID must be text, not {other}")));
            }
            None => {
                return Err(Error::wrong_input(
                    "An opcode needs the key OP_ID, as OP_INSTANCE_CREATE",
                ));
            }
        };
        let common = Common::take_from(&op_id, &mut fields)?;
        let op = OpCode::take_from(&op_id, &mut fields)?;
        Ok(OpInput { common, op })
    }

    /// The JSON form. Has secrets: see [`OpInput::to_view`].
    pub fn to_json(&self) -> Value {
        self.to_view(View::Full)
    }

    /// The JSON form with no more of the secrets than a view may have.
    pub fn to_view(&self, view: View) -> Value {
        let mut value = self.op.to_view(View::Full);
        if let Value::Object(fields) = &mut value {
            self.common.put_into(fields);
        }
        secret::redact(&mut value, view);
        value
    }
}

impl<T: Into<OpCode>> From<T> for OpInput {
    fn from(op: T) -> OpInput {
        OpInput { common: Common::default(), op: op.into() }
    }
}

impl Serialize for OpInput {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(s)
    }
}

impl<'de> Deserialize<'de> for OpInput {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<OpInput, D::Error> {
        OpInput::from_json(&Value::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}
