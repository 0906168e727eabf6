//! Queries: what `gnt-* list`, RAPI and the query socket ask of the cluster's state.
//!
//! A query names a resource, fields and a filter; the answer is a table of cells, each a status
//! and a value, with a description of every column. This module has the vocabulary (resources,
//! [`fields`], the [`filter`] language and its text form), the engine that runs a prepared query
//! over rows ([`eval`]) and the text layout of the result ([`format`]). It knows nothing of where
//! rows come from.
//!
//! ```text
//! names, -F text ──parse──► Filter ──┐
//! JSON qfilter ────from_json─────────┤
//! field names ──Field::parse─────────┴──► Prepared ──run(rows)──► cells ──format──► text
//! ```

pub mod columns;
pub mod compiled;
pub mod eval;
pub mod fields;
pub mod filter;
pub mod format;
pub mod parse;
pub mod pyrepr;
pub mod resource;
pub mod table;
pub mod value;

pub use compiled::{Compiled, FilterError};
pub use eval::{Prepared, Row, run};
pub use fields::{Field, FieldDef, FieldKind, Source, fields_of, find};
pub use filter::{Filter, FilterValue};
pub use parse::{ParseError, parse};
pub use resource::Resource;
pub use value::{Cell, ResultStatus};

use serde::{Deserialize, Serialize};

/// A query's answer, in Ganeti's wire shape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QueryResponse {
    /// One list of cells a row, in the order of `fields`.
    pub data: Vec<Vec<Cell>>,
    /// The columns; a field nobody knows has the kind `unknown`.
    pub fields: Vec<FieldDef>,
}

impl QueryResponse {
    /// The requested fields that do not exist, in order.
    pub fn unknown_fields(&self) -> Vec<&str> {
        fields::unknown_names(&self.fields)
    }
}

/// The answer to "which fields are there", in Ganeti's wire shape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QueryFieldsResponse {
    /// The fields, known and unknown.
    pub fields: Vec<FieldDef>,
}

impl QueryFieldsResponse {
    /// Describes the named fields of a resource, or all of them (in nice order) if none is named.
    pub fn of(resource: Resource, names: Option<&[String]>) -> QueryFieldsResponse {
        let fields = match names {
            None | Some([]) => fields_of(resource).to_vec(),
            Some(names) => {
                names.iter().map(|n| find(resource, n).unwrap_or(FieldDef::unknown(n))).collect()
            }
        };
        QueryFieldsResponse { fields }
    }
}
