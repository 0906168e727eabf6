//! Opcodes that ask, and those about OS definitions and external storage providers.

use super::define::opcodes;
use crate::choices::QueryResource;
use serde_json::Value;

opcodes! {
    /// Fields of objects. Result: `{fields, data}`.
    struct Query = "OP_QUERY", summary what;
    required {
        what: QueryResource,
        fields: Vec<String>,
    }
    optional {
        use_locking: bool = false,
        /// A filter in list form.
        qfilter: Option<Value> = None,
    }

    /// What fields there are. Result: their definitions.
    struct QueryFields = "OP_QUERY_FIELDS", summary what;
    required { what: QueryResource }
    optional {
        /// Absent: all.
        fields: Option<Vec<String>> = None,
    }

    /// OS definitions on the nodes. Result: rows.
    struct OsDiagnose = "OP_OS_DIAGNOSE";
    required { output_fields: Vec<String> }
    optional {
        /// None given: all.
        names: Vec<String> = Vec::new(),
    }

    /// External storage providers on the nodes. Result: rows.
    struct ExtStorageDiagnose = "OP_EXT_STORAGE_DIAGNOSE";
    required { output_fields: Vec<String> }
    optional {
        /// None given: all.
        names: Vec<String> = Vec::new(),
    }
}
