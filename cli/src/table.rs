//! The `list` and `list-fields` commands, which are the same for every resource.

use crate::clock;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use clap::Args;
use clap::builder::PossibleValuesParser;
use roost_proto::error::Error;
use roost_proto::query::columns::{default_columns, select_columns};
use roost_proto::query::filter::{looks_like_filter, names_filter};
use roost_proto::query::format::{
    TableOptions, unknown_fields_warning, write_fields, write_response,
};
use roost_proto::query::{
    Cell, FieldKind, Filter, QueryFieldsResponse, QueryResponse, Resource, ResultStatus, parse,
};
use serde_json::{Map, Value};

/// Exit code after a query of fields that nobody knows.
pub const UNKNOWN_FIELD: u8 = 14;

/// How a table looks.
#[derive(Args, Clone, Debug, Default)]
pub struct LookOptions {
    /// No header line
    #[arg(long)]
    pub no_headers: bool,
    /// Put this between fields, and do not align them
    #[arg(long, value_name = "STRING")]
    pub separator: Option<String>,
    /// JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// `--units`.
#[derive(Args, Clone, Debug, Default)]
pub struct UnitsOption {
    /// Unit of sizes: h (readable), m (MiB), g (GiB), t (TiB)
    #[arg(long, value_name = "UNIT", value_parser = PossibleValuesParser::new(["h", "m", "g", "t"]))]
    pub units: Option<String>,
}

/// Which fields.
#[derive(Args, Clone, Debug, Default)]
pub struct FieldsOptions {
    /// Fields to show, with commas; with a + in front, in addition to the usual ones
    #[arg(short, long, value_name = "FIELDS")]
    pub output: Option<String>,
}

/// What a list command has beside its arguments.
#[derive(Args, Clone, Debug, Default)]
pub struct ListOptions {
    #[command(flatten)]
    pub look: LookOptions,
    #[command(flatten)]
    pub fields: FieldsOptions,
    /// Words instead of signs for missing values
    #[arg(short, long)]
    pub verbose: bool,
}

/// `-F`.
#[derive(Args, Clone, Debug, Default)]
pub struct FilterOption {
    /// The argument is a filter, even if it does not look like one
    #[arg(short = 'F', long)]
    pub filter: bool,
}

/// What a list command is asked for.
#[derive(Debug)]
pub struct ListRequest<'a> {
    /// Of what.
    pub resource: Resource,
    /// Names, or a filter.
    pub arguments: &'a [String],
    /// The argument is a filter.
    pub force_filter: bool,
    /// A further condition.
    pub condition: Option<Filter>,
    /// Options.
    pub options: &'a ListOptions,
    /// `--units`.
    pub units: Option<&'a str>,
}

impl LookOptions {
    /// The layout's options.
    pub fn table<'a>(
        &'a self,
        units: Option<&str>,
        verbose: bool,
        time: &'a dyn Fn(f64) -> String,
    ) -> Outcome<TableOptions<'a>> {
        let units = units.map(str::parse).transpose()?;
        Ok(TableOptions {
            headers: !self.no_headers,
            separator: self.separator.as_deref(),
            units,
            verbose,
            time,
        })
    }
}

/// The time format of tables.
pub fn time(seconds: f64) -> String {
    clock::stamp(seconds as u64)
}

/// The filter that arguments stand for.
pub fn argument_filter(
    resource: Resource,
    arguments: &[String],
    force_filter: bool,
) -> Outcome<Option<Filter>> {
    let is_filter = force_filter || looks_like_filter(arguments);
    if is_filter {
        return match arguments {
            [text] => match parse(text) {
                Ok(filter) => Ok(Some(filter)),
                Err(error) => Err(Failure::say(error.to_string())),
            },
            _ => Err(Error::wrong_input("Exactly one argument must be given as a filter").into()),
        };
    }
    let numbers = resource == Resource::Job;
    names_filter(arguments, resource.name_field(), numbers)
        .map_err(|error| Error::wrong_input(error.to_string()).into())
}

/// Carries out a list command.
pub async fn list(cx: &Cx, request: ListRequest<'_>) -> Outcome {
    let resource = request.resource;
    let options = request.options;
    let named = argument_filter(resource, request.arguments, request.force_filter)?;
    let filter = Filter::both(request.condition, named);
    let fields = select_columns(default_columns(resource), options.fields.output.as_deref());
    let response = cx.client().await?.query(resource, &fields, filter.as_ref()).await?;
    print_response(cx, resource, &response, &options.look, request.units, options.verbose)
}

/// Prints an answer, and ends with the exit code for unknown fields if there are any.
pub fn print_response(
    cx: &Cx,
    resource: Resource,
    response: &QueryResponse,
    look: &LookOptions,
    units: Option<&str>,
    verbose: bool,
) -> Outcome {
    let mut text = String::new();
    if look.json {
        text = pretty(&json_rows(response));
    } else {
        write_response(&mut text, resource, response, &look.table(units, verbose, &time)?);
    }
    // The warning comes first, so that it is seen above a long table.
    let warning = unknown_fields_warning(&response.fields);
    if let Some(warning) = &warning {
        cx.note(warning);
    }
    cx.io.write_out(&text)?;
    match warning {
        Some(_) => Err(Failure::Exit(UNKNOWN_FIELD)),
        None => Ok(()),
    }
}

/// An answer as a list of objects; missing values are null.
pub fn json_rows(response: &QueryResponse) -> Value {
    let row = |cells: &Vec<Cell>| {
        let object: Map<String, Value> = response
            .fields
            .iter()
            .zip(cells)
            .map(|(field, cell)| {
                let known = cell.status == ResultStatus::Normal;
                let value = if known { cell.value.clone() } else { Value::Null };
                (field.name.clone().into_owned(), value)
            })
            .collect();
        Value::Object(object)
    };
    Value::Array(response.data.iter().map(row).collect())
}

/// JSON for people, with an end of line.
pub fn pretty(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("a value can be written");
    text.push('\n');
    text
}

/// Carries out a list-fields command; it needs no master.
pub fn list_fields(cx: &Cx, resource: Resource, names: &[String], look: &LookOptions) -> Outcome {
    let fields = QueryFieldsResponse::of(resource, Some(names)).fields;
    let warning = unknown_fields_warning(&fields);
    if let Some(warning) = &warning {
        cx.note(warning);
    }
    let mut text = String::new();
    if look.json {
        text = pretty(&serde_json::to_value(&fields).expect("descriptions are plain data"));
    } else {
        write_fields(&mut text, &fields, !look.no_headers, look.separator.as_deref());
    }
    cx.io.write_out(&text)?;
    match warning {
        Some(_) => Err(Failure::Exit(UNKNOWN_FIELD)),
        None => Ok(()),
    }
}

/// The rows of an opcode's result as a query's answer: plain values, in the order of the fields.
pub fn from_rows(resource: Resource, fields: &[String], rows: &Value) -> QueryResponse {
    let fields = QueryFieldsResponse::of(resource, Some(fields)).fields;
    let cell = |(i, value): (usize, &Value)| {
        let kind = fields.get(i).map_or(FieldKind::Other, |field| field.kind);
        match (kind, value) {
            (FieldKind::Unknown, _) => Cell::UNKNOWN,
            (_, Value::Null) => Cell::UNAVAILABLE,
            // Sizes may come as text.
            (kind, Value::String(text)) if kind.is_numeric() => {
                text.parse::<f64>().map_or(Cell::new(value.clone()), Cell::new)
            }
            _ => Cell::new(value.clone()),
        }
    };
    let row = |row: &Value| row.as_array().into_iter().flatten().enumerate().map(cell).collect();
    let data = rows.as_array().into_iter().flatten().map(row).collect();
    QueryResponse { data, fields }
}
