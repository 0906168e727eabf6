//! OS parameters that must not be seen.
//!
//! *Private* ones are stored and handed to the OS scripts, but never shown. *Secret* ones are not
//! even stored: they live only until their job has run. Neither can be printed by accident.

use crate::error::{Error, Result};
use crate::params::ParamMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// What is shown in place of the value.
pub const REDACTED: &str = "<redacted>";

macro_rules! hidden {
    ($($(#[$meta:meta])* $name:ident)+) => {$(
        $(#[$meta])*
        #[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(ParamMap);

        impl $name {
            /// Hides values.
            pub fn new(values: ParamMap) -> $name {
                $name(values)
            }

            /// The real values, for the one who needs them.
            pub fn reveal(&self) -> &ParamMap {
                &self.0
            }

            /// The keys with [`REDACTED`] in place of every value.
            pub fn redacted(&self) -> ParamMap {
                self.0.keys().map(|key| (key.clone(), REDACTED.into())).collect()
            }

            /// The keys.
            pub fn keys(&self) -> impl Iterator<Item = &str> {
                self.0.keys().map(String::as_str)
            }

            /// Whether there are none.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl From<ParamMap> for $name {
            fn from(values: ParamMap) -> $name {
                $name(values)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_map().entries(self.0.keys().map(|key| (key, REDACTED))).finish()
            }
        }
    )+};
}

hidden! {
    /// Private OS parameters: stored, never shown.
    PrivateParams
    /// Secret OS parameters: never stored, never shown.
    SecretParams
}

impl SecretParams {
    /// Errors if the values are gone because their job was read back from storage.
    pub fn check_present(&self) -> Result<()> {
        match self.0.values().any(|v| v == REDACTED) {
            true => Err(Error::wrong_input("Please re-submit secret parameters to job.")),
            false => Ok(()),
        }
    }
}

/// How much of an opcode is written out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Everything: for the master.
    Full,
    /// Without secret values: for storage.
    Stored,
    /// Without private and secret values: for people and logs.
    Shown,
}

/// A stored opcode as people may see it. Knows no opcodes: old and future ones are as safe.
pub fn shown(stored: &Value) -> Value {
    let mut value = stored.clone();
    redact(&mut value, View::Shown);
    value
}

/// Replaces the values that a view must not have, at any depth.
pub(super) fn redact(value: &mut Value, view: View) {
    let Value::Object(fields) = value else {
        if let Value::Array(items) = value {
            items.iter_mut().for_each(|item| redact(item, view));
        }
        return;
    };
    for (field, value) in fields {
        match field.as_str() {
            "osparams_secret" if view != View::Full => hide(value),
            "osparams_private" if view == View::Shown => hide(value),
            "osparams_private_cluster" if view == View::Shown => {
                value.as_object_mut().into_iter().flat_map(|m| m.values_mut()).for_each(hide);
            }
            _ => redact(value, view),
        }
    }
}

fn hide(params: &mut Value) {
    for value in params.as_object_mut().into_iter().flat_map(|m| m.values_mut()) {
        *value = REDACTED.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn debug_never_shows_values() {
        let params: SecretParams =
            serde_json::from_value(json!({"root_password": "hunter2"})).expect("map");
        assert_eq!(format!("{params:?}"), r#"{"root_password": "<redacted>"}"#);
        params.check_present().expect("values are there");
        assert!(SecretParams::new(params.redacted()).check_present().is_err());
    }

    #[test]
    fn views() {
        let full = json!({"instances": [{"osparams_private": {"a": "1"}, "osparams_secret": {"b": "2"}}],
                          "osparams_private_cluster": {"debian": {"c": "3"}}});
        let view = |v| {
            let mut value = full.clone();
            redact(&mut value, v);
            value.to_string()
        };
        assert_eq!(view(View::Full), full.to_string());
        let stored = view(View::Stored);
        assert!(stored.contains("\"1\"") && stored.contains("\"3\"") && !stored.contains("\"2\""));
        let shown = view(View::Shown);
        assert!(!["\"1\"", "\"2\"", "\"3\""].iter().any(|v| shown.contains(v)), "{shown}");
    }
}
