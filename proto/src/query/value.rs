//! One cell of a query's answer.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Whether a cell has a value, and if not, why. The numbers are Ganeti's on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ResultStatus {
    /// There is a value.
    #[default]
    Normal = 0,
    /// Nobody knows a field of this name.
    Unknown = 1,
    /// The value should be there but could not be got (a node did not answer).
    NoData = 2,
    /// The field does not apply to this object.
    Unavailable = 3,
    /// The node that would know is marked offline.
    Offline = 4,
}

impl ResultStatus {
    /// Reads the wire number.
    pub fn from_number(number: u64) -> Option<ResultStatus> {
        [
            ResultStatus::Normal,
            ResultStatus::Unknown,
            ResultStatus::NoData,
            ResultStatus::Unavailable,
            ResultStatus::Offline,
        ]
        .into_iter()
        .find(|s| *s as u64 == number)
    }
}

/// A status and a value; the value of every status but `Normal` is null.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Whether there is a value.
    pub status: ResultStatus,
    /// The value, null without one.
    pub value: Value,
}

impl Cell {
    /// A cell with a value.
    pub fn new(value: impl Into<Value>) -> Cell {
        Cell { status: ResultStatus::Normal, value: value.into() }
    }

    /// A cell with a value, or one that says "does not apply".
    pub fn or_unavailable<T: Into<Value>>(value: Option<T>) -> Cell {
        value.map_or(Cell::UNAVAILABLE, Cell::new)
    }

    /// A cell with a value, or one that says "could not be got".
    pub fn or_no_data<T: Into<Value>>(value: Option<T>) -> Cell {
        value.map_or(Cell::NO_DATA, Cell::new)
    }

    /// A list of values.
    pub fn list<T: Into<Value>>(items: impl IntoIterator<Item = T>) -> Cell {
        Cell::new(Value::Array(items.into_iter().map(Into::into).collect()))
    }

    /// No such field.
    pub const UNKNOWN: Cell = Cell { status: ResultStatus::Unknown, value: Value::Null };
    /// Could not be got.
    pub const NO_DATA: Cell = Cell { status: ResultStatus::NoData, value: Value::Null };
    /// Does not apply to this object.
    pub const UNAVAILABLE: Cell = Cell { status: ResultStatus::Unavailable, value: Value::Null };
    /// The node is marked offline.
    pub const OFFLINE: Cell = Cell { status: ResultStatus::Offline, value: Value::Null };

    /// Whether there is a value.
    pub fn is_normal(&self) -> bool {
        self.status == ResultStatus::Normal
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.status as u8, &self.value).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Cell, D::Error> {
        let (number, value) = <(u64, Value)>::deserialize(deserializer)?;
        let status = ResultStatus::from_number(number).ok_or_else(|| {
            serde::de::Error::custom(format!("{number} is no result status (0 to 4)"))
        })?;
        Ok(Cell { status, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_a_pair_on_the_wire() {
        let row = vec![Cell::new("a"), Cell::NO_DATA, Cell::list([1, 2]), Cell::OFFLINE];
        let json = serde_json::to_string(&row).unwrap();
        assert_eq!(json, r#"[[0,"a"],[2,null],[0,[1,2]],[4,null]]"#);
        assert_eq!(serde_json::from_str::<Vec<Cell>>(&json).unwrap(), row);
        assert!(serde_json::from_str::<Cell>("[5,null]").is_err());
    }
}
