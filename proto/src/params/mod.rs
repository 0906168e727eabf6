//! Parameters: what there is, what is allowed, and how layers of settings are filled.

use serde_json::Value;
use std::collections::BTreeMap;

/// Parameter values by name.
pub type ParamMap = BTreeMap<String, Value>;
