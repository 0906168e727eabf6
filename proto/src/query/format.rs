//! The text of a query's answer, as the `list` commands print it.

use super::columns::{CellStyle, style_of};
use super::table::{Column, TextTable};
use super::value::{Cell, ResultStatus};
use super::{FieldDef, FieldKind, QueryResponse, Resource, pyrepr};
use crate::units::{SizeUnit, format_unit};
use serde_json::Value;
use std::fmt;

/// The options that `list` commands share.
#[derive(Clone, Copy)]
pub struct TableOptions<'a> {
    /// Whether the first line has the columns' titles (not with `--no-headers`).
    pub headers: bool,
    /// What stands between columns instead of padding (`--separator`).
    pub separator: Option<&'a str>,
    /// How sizes are printed (`--units`); by default to suit people, with a separator in MiB.
    pub units: Option<SizeUnit>,
    /// Whether a missing value is explained by a word instead of a sign (`--verbose`).
    pub verbose: bool,
    /// Turns seconds since the epoch into `YYYY-MM-DD HH:MM:SS` local time. Neither clock nor time
    /// zone is known here.
    pub time: &'a dyn Fn(f64) -> String,
}

impl fmt::Debug for TableOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableOptions")
            .field("headers", &self.headers)
            .field("separator", &self.separator)
            .field("units", &self.units)
            .field("verbose", &self.verbose)
            .finish_non_exhaustive()
    }
}

impl<'a> TableOptions<'a> {
    /// The defaults.
    pub fn new(time: &'a dyn Fn(f64) -> String) -> TableOptions<'a> {
        TableOptions { headers: true, separator: None, units: None, verbose: false, time }
    }

    fn size_unit(&self) -> SizeUnit {
        self.units.unwrap_or(match self.separator {
            Some(_) => SizeUnit::Mebi,
            None => SizeUnit::Human,
        })
    }
}

/// Appends an answer as a table, printed as the resource's `list` command does.
pub fn write_response(
    out: &mut String,
    resource: Resource,
    response: &QueryResponse,
    options: &TableOptions<'_>,
) {
    write_response_with(out, response, options, |field| style_of(resource, field));
}

/// The same with the caller's choice of styles.
pub fn write_response_with(
    out: &mut String,
    response: &QueryResponse,
    options: &TableOptions<'_>,
    style: impl Fn(&str) -> CellStyle,
) {
    let columns = response
        .fields
        .iter()
        .map(|f| Column { title: f.title.clone().into_owned(), right: f.kind.is_numeric() })
        .collect();
    let styles: Vec<CellStyle> = response.fields.iter().map(|f| style(&f.name)).collect();
    let mut table = TextTable::new(columns);
    for row in &response.data {
        // A row of another length would shift all that follow.
        for (i, field) in response.fields.iter().enumerate() {
            let cell = row.get(i).unwrap_or(&Cell::NO_DATA);
            table.cell_with(|out| write_cell(out, cell, field.kind, styles[i], options));
        }
    }
    table.write(out, options.headers, options.separator);
}

/// Appends one cell.
pub fn write_cell(
    out: &mut String,
    cell: &Cell,
    kind: FieldKind,
    style: CellStyle,
    options: &TableOptions<'_>,
) {
    if cell.status != ResultStatus::Normal {
        out.push_str(status_text(cell.status, options.verbose));
    } else if !style.write(out, &cell.value, options.time) {
        write_value(out, &cell.value, kind, options);
    }
}

/// What stands in place of a missing value.
pub fn status_text(status: ResultStatus, verbose: bool) -> &'static str {
    match (status, verbose) {
        (ResultStatus::Normal, _) => "",
        (ResultStatus::Unknown, false) => "??",
        (ResultStatus::Unknown, true) => "(unknown)",
        (ResultStatus::NoData, false) => "?",
        (ResultStatus::NoData, true) => "(nodata)",
        (ResultStatus::Unavailable, false) => "-",
        (ResultStatus::Unavailable, true) => "(unavail)",
        (ResultStatus::Offline, false) => "*",
        (ResultStatus::Offline, true) => "(offline)",
    }
}

fn write_value(out: &mut String, value: &Value, kind: FieldKind, options: &TableOptions<'_>) {
    match (kind, value) {
        (FieldKind::Boolean, value) => out.push(if is_true(value) { 'Y' } else { 'N' }),
        (FieldKind::Unit, Value::Number(number)) => {
            let mib = number.as_f64().unwrap_or_default();
            out.push_str(&format_unit(mib, options.size_unit()));
        }
        (FieldKind::Timestamp, Value::Number(number)) => {
            out.push_str(&(options.time)(number.as_f64().unwrap_or_default()));
        }
        (FieldKind::Timestamp, _) => out.push_str("N/A"),
        (_, value) => pyrepr::write_str(out, value),
    }
}

/// What Python takes for true.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
    }
}

/// The table of a `list-fields` command.
pub fn write_fields(out: &mut String, fields: &[FieldDef], headers: bool, separator: Option<&str>) {
    let columns = ["Name", "Type", "Title", "Description"].map(Column::left).to_vec();
    let mut table = TextTable::new(columns);
    for field in fields {
        table.row([&field.name, field.kind.title(), &field.title, &field.doc]);
    }
    table.write(out, headers, separator);
}

/// The warning on standard error about fields that nobody knows; None if all are known. Such a
/// command ends with exit code 14.
pub fn unknown_fields_warning(fields: &[FieldDef]) -> Option<String> {
    let unknown = super::fields::unknown_names(fields);
    (!unknown.is_empty())
        .then(|| format!("Warning: Queried for unknown fields {}", unknown.join(", ")))
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
