//! What out-of-band commands have in common: the rows of `OP_OOB_COMMAND` as a table.

use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use clap::Args;
use roost_proto::query::ResultStatus;
use roost_proto::query::format::status_text;
use roost_proto::query::table::{Column, TextTable};
use serde_json::Value;

/// `--no-headers` and `--separator`.
#[derive(Args, Clone, Debug, Default)]
pub struct TableLook {
    /// No header line
    #[arg(long)]
    no_headers: bool,
    /// Put this between fields, and do not align them
    #[arg(long, value_name = "STRING")]
    separator: Option<String>,
}

/// Prints a line for each node, or several: what `tell` makes of a value. Exit code 1 if a node has
/// no value.
pub fn print(
    cx: &Cx,
    rows: &Value,
    look: &TableLook,
    tell: impl Fn(&Value) -> Vec<String>,
) -> Outcome {
    let mut table = TextTable::new(vec![Column::left("Node"), Column::left("Status")]);
    let mut failed = false;
    for row in rows.as_array().into_iter().flatten() {
        let node = row[0][1].as_str().unwrap_or("?");
        let number = row[1][0].as_u64();
        let status = number.and_then(ResultStatus::from_number).unwrap_or(ResultStatus::Unknown);
        let lines = match status {
            ResultStatus::Normal => tell(&row[1][1]),
            other => {
                failed = true;
                vec![status_text(other, true).to_owned()]
            }
        };
        let names = std::iter::once(node).chain(std::iter::repeat(""));
        names.zip(&lines).for_each(|(node, line)| table.row([node, line.as_str()]));
    }
    let mut text = String::new();
    table.write(&mut text, !look.no_headers, look.separator.as_deref());
    cx.io.write_out(&text)?;
    if failed { Err(Failure::Exit(1)) } else { Ok(()) }
}
