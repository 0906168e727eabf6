//! Random identifiers: the one place that makes them.

use uuid::Uuid;

/// What an answer is to be salted with: unlike any before, and not to be guessed.
#[allow(clippy::disallowed_methods, reason = "this is the id source of confd's client")]
pub fn rsalt() -> String {
    Uuid::new_v4().hyphenated().to_string()
}
