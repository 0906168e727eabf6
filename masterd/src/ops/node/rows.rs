//! Rows of what lies on nodes: the old form of queries, answered by opcodes.

use roost_proto::error::{Error, Result};
use roost_proto::query::fields::Field;

/// The fields of these names. Errors: `wrong_input`, naming those that do not exist.
pub fn fields<F: Field>(names: &[String]) -> Result<Vec<F>> {
    let unknown: Vec<_> =
        names.iter().filter(|n| F::parse(n).is_none()).map(String::as_str).collect();
    if !unknown.is_empty() {
        let known: Vec<_> = F::all().iter().map(|f| f.def().name.into_owned()).collect();
        return Err(Error::wrong_input(format!(
            "Unknown output fields selected: {}; there are: {}",
            unknown.join(", "),
            known.join(", ")
        )));
    }
    Ok(names.iter().filter_map(|name| F::parse(name)).collect())
}
