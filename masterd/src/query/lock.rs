//! Locks as rows: those that are held or waited for.

use super::World;
use super::rows::Asked;
use crate::jobs::locks::{LockInfo, Mode};
use roost_proto::error::Result;
use roost_proto::ids::JobId;
use roost_proto::nicesort;
use roost_proto::query::fields::LockField as F;
use roost_proto::query::{Cell, Filter, FilterValue, QueryResponse, Row};
use serde_json::{Value, json};

pub(super) fn answer(
    world: &World,
    fields: &[String],
    filter: Option<&Filter>,
) -> Result<QueryResponse> {
    let asked = Asked::<F>::new(fields, filter)?;
    let mut rows: Vec<LockRow<'_>> =
        world.locks.iter().map(|lock| LockRow { name: lock.name.to_string(), lock }).collect();
    // A lock that nobody wants does not exist: naming it is no mistake.
    if let Some(names) = &asked.names {
        rows.retain(|row| {
            names.iter().any(|n| matches!(n, FilterValue::Text(text) if *text == row.name))
        });
    }
    let rows = nicesort::sort_many(rows, |row| &row.name);
    asked.answer(rows)
}

#[derive(Debug)]
struct LockRow<'a> {
    name: String,
    lock: &'a LockInfo,
}

impl Row for LockRow<'_> {
    type Field = F;

    fn cell(&self, field: &F) -> Cell {
        let numbers = |jobs: &[JobId]| jobs.iter().map(|job| Value::from(job.0)).collect::<Value>();
        let lock = self.lock;
        match *field {
            F::Name => Cell::new(self.name.as_str()),
            F::Mode => Cell::new(lock.mode.map(Mode::as_str)),
            F::Owner => match lock.owners.is_empty() {
                true => Cell::new(Value::Null),
                false => Cell::new(numbers(&lock.owners)),
            },
            F::Pending => Cell::list(
                lock.pending.iter().map(|(mode, jobs)| json!([mode.as_str(), numbers(jobs)])),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::locks::{Level, LockName};
    use crate::query::testing::{cells, world};
    use roost_proto::query::Resource;

    #[test]
    fn holders_and_waiters_are_named() {
        let mut world = world();
        let lock = |name: &str, mode, owners: &[u64], pending| LockInfo {
            name: LockName::new(Level::Instance, name),
            mode,
            owners: owners.iter().copied().map(JobId).collect(),
            pending,
        };
        let waiting = vec![(Mode::Shared, vec![JobId(9), JobId(10)])];
        world.locks = vec![
            lock("web10", Some(Mode::Exclusive), &[7], vec![]),
            lock("web9", None, &[], waiting),
        ];
        let fields = ["name", "mode", "owner", "pending"];
        let rows = cells(&world, Resource::Lock, &fields, &[]);
        let expected = json!([
            [[0, "instance/web9"], [0, null], [0, null], [0, [["shared", [9, 10]]]]],
            [[0, "instance/web10"], [0, "exclusive"], [0, [7]], [0, []]],
        ]);
        assert_eq!(serde_json::to_value(rows).expect("plain data"), expected);
        let named = cells(&world, Resource::Lock, &["owner"], &["instance/web10", "instance/x"]);
        assert_eq!(named, [[Cell::list([7])]]);
    }
}
