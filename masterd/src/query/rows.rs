//! Which rows a query has, and their order.

use roost_proto::error::Result;
use roost_proto::nicesort;
use roost_proto::query::{Field, Filter, FilterValue, Prepared, QueryResponse, Row, run};

/// A query of one resource, ready to run.
#[derive(Debug)]
pub(super) struct Asked<'a, F> {
    pub prepared: Prepared<F>,
    /// The rows asked for by name, in order. They are answered as they were named; otherwise it is
    /// about all.
    pub names: Option<Vec<&'a FilterValue>>,
}

impl<'a, F: Field> Asked<'a, F> {
    /// Looks up the fields and checks the filter.
    pub fn new(fields: &[String], filter: Option<&'a Filter>) -> Result<Asked<'a, F>> {
        let prepared = Prepared::new(fields, filter)?;
        let names = filter.and_then(|f| f.requested_names(F::RESOURCE.name_field()));
        Ok(Asked { prepared, names })
    }

    /// The objects: `all` of them in nice order of their names, or those that were named as `one`
    /// finds them. Errors: `one`'s, for a name that does not exist.
    pub fn objects<T>(
        &self,
        all: impl FnOnce() -> Vec<T>,
        name: impl Fn(&T) -> &str,
        one: impl Fn(&str) -> Result<T>,
    ) -> Result<Vec<T>> {
        match &self.names {
            None => Ok(nicesort::sort_many(all(), name)),
            Some(names) => names
                .iter()
                .map(|name| match name {
                    FilterValue::Text(name) => one(name),
                    other => one(&other.to_string()),
                })
                .collect(),
        }
    }

    /// The answer. What was named passes: that a short name or a UUID means it is known already.
    pub fn answer<R: Row<Field = F>>(
        &self,
        rows: impl IntoIterator<Item = R>,
    ) -> Result<QueryResponse> {
        let data = match self.names {
            Some(_) => rows.into_iter().map(|row| self.prepared.cells(&row)).collect(),
            None => run(rows, &self.prepared)?,
        };
        Ok(QueryResponse { data, fields: self.prepared.defs().to_vec() })
    }
}
