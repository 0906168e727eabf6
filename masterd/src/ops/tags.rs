//! Tags: words on objects.

use roost_proto::error::{Error, Result};

/// The longest tag.
const MAX_LENGTH: usize = 128;

/// A tag is made of word characters and `. + * / : @ -`.
pub fn check_tag(tag: &str) -> Result<()> {
    if tag.is_empty() || tag.len() > MAX_LENGTH {
        return Err(Error::wrong_input(format!(
            "Invalid tag '{tag}': it must have 1 to {MAX_LENGTH} characters"
        )));
    }
    match tag.chars().find(|c| !(c.is_alphanumeric() || "_.+*/:@-".contains(*c))) {
        Some(c) => {
            Err(Error::wrong_input(format!("Invalid tag '{tag}': character '{c}' is not allowed")))
        }
        None => Ok(()),
    }
}
