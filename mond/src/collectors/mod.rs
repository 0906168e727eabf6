//! One file per collector.

use crate::collector::Collector;
use std::sync::Arc;

/// All that are built in, in the order of the list of collectors: the reference's first.
pub fn all() -> Vec<Arc<dyn Collector>> {
    let mut all = ganeti::all();
    all.extend(roost::all());
    all
}

pub mod ganeti;
pub mod inst_status;
mod roost;
