//! Runs a prepared query over rows.
//!
//! A query is prepared once: field names become enum values, the filter is checked against the
//! fields' kinds, regular expressions are compiled. Then each row is asked for the cells that the
//! filter needs and, if it passes, for the cells of the answer.

use super::compiled::{Compiled, FilterError};
use super::fields::{Field, FieldDef, Source};
use super::filter::Filter;
use super::value::Cell;
use super::{QueryResponse, fields};

/// Something with fields: an instance together with what the nodes say of it, say.
pub trait Row {
    /// The fields of its resource.
    type Field: Field;
    /// The value of one field.
    fn cell(&self, field: &Self::Field) -> Cell;
}

impl<R: Row + ?Sized> Row for &R {
    type Field = R::Field;
    fn cell(&self, field: &Self::Field) -> Cell {
        (**self).cell(field)
    }
}

/// A query made ready to run: the columns and the compiled filter.
#[derive(Clone, Debug)]
pub struct Prepared<F> {
    columns: Vec<Option<F>>,
    defs: Vec<FieldDef>,
    filter: Option<Compiled<F>>,
}

impl<F: Field> Prepared<F> {
    /// Prepares a query. Requested fields that do not exist become columns of unknown cells; a
    /// filter on such a field is an error.
    pub fn new(
        fields: &[impl AsRef<str>],
        filter: Option<&Filter>,
    ) -> Result<Prepared<F>, FilterError> {
        let columns = fields.iter().map(|name| F::parse(name.as_ref())).collect();
        let defs = fields
            .iter()
            .map(|name| {
                let name = name.as_ref();
                fields::find(F::RESOURCE, name).unwrap_or_else(|| FieldDef::unknown(name))
            })
            .collect();
        let lookup = |name: &str| {
            let field = F::parse(name).ok_or_else(|| FilterError::UnknownField(name.to_owned()))?;
            let def = field.def();
            Ok((field, Some(def.kind), def.matching))
        };
        let filter = filter.map(|f| Compiled::build(f, lookup)).transpose()?;
        Ok(Prepared { columns, defs, filter })
    }

    /// The columns' descriptions.
    pub fn defs(&self) -> &[FieldDef] {
        &self.defs
    }

    /// The columns' fields; None where there is no such field.
    pub fn columns(&self) -> &[Option<F>] {
        &self.columns
    }

    /// The fields the filter reads.
    pub fn filter_fields(&self) -> &[F] {
        self.filter.as_ref().map_or(&[], Compiled::fields)
    }

    /// Every field the query reads; some may come twice.
    pub fn fields(&self) -> impl Iterator<Item = &F> {
        self.columns.iter().flatten().chain(self.filter_fields())
    }

    /// Whether the query reads a field, as a column or in the filter.
    pub fn uses(&self, wanted: impl Fn(&F) -> bool) -> bool {
        self.fields().any(wanted)
    }

    /// Whether it needs anything from the nodes.
    pub fn needs_live(&self) -> bool {
        self.uses(|f| f.source() == Source::Live)
    }

    /// Whether the filter is enough to exclude a row without asking the nodes. Rows that may pass
    /// are those worth asking about.
    pub fn may_match<R: Row<Field = F>>(&self, row: &R) -> Result<bool, FilterError> {
        let Some(filter) = &self.filter else { return Ok(true) };
        filter.passes(|field| match field.source() {
            Source::Live => Cell::NO_DATA,
            Source::Config => row.cell(field),
        })
    }

    /// Whether a row passes the filter.
    pub fn matches<R: Row<Field = F>>(&self, row: &R) -> Result<bool, FilterError> {
        match &self.filter {
            None => Ok(true),
            Some(filter) => filter.passes(|field| row.cell(field)),
        }
    }

    /// A row's cells, whether it passes or not.
    pub fn cells<R: Row<Field = F>>(&self, row: &R) -> Vec<Cell> {
        self.columns
            .iter()
            .map(|column| column.as_ref().map_or(Cell::UNKNOWN, |field| row.cell(field)))
            .collect()
    }

    /// The whole answer.
    pub fn response<R: Row<Field = F>>(
        &self,
        rows: impl IntoIterator<Item = R>,
    ) -> Result<QueryResponse, FilterError> {
        Ok(QueryResponse { data: run(rows, self)?, fields: self.defs.clone() })
    }
}

/// The cells of the rows that pass, in the rows' order. Fails if a value does not have the type
/// that the filter compares it with.
pub fn run<R: Row>(
    rows: impl IntoIterator<Item = R>,
    prepared: &Prepared<R::Field>,
) -> Result<Vec<Vec<Cell>>, FilterError> {
    let rows = rows.into_iter();
    let Some(filter) = &prepared.filter else {
        return Ok(rows.map(|row| prepared.cells(&row)).collect());
    };
    let mut scratch = filter.scratch();
    let mut data = Vec::new();
    for row in rows {
        if filter.passes_with(&mut scratch, |field| row.cell(field))? {
            data.push(prepared.cells(&row));
        }
    }
    Ok(data)
}

#[cfg(test)]
#[path = "eval_tests.rs"]
mod tests;
