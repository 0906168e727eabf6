//! Answers to queries: what `gnt-* list`, the REST API and the watchers ask of the cluster's state.
//!
//! Pure: everything that can be known is in a [`World`], a snapshot that costs next to nothing to
//! take. One file for each resource turns an object, with what nodes say of it, into cells; the
//! language of fields and filters is `roost_proto::query`'s.
//!
//! ```text
//!   World ──► rows: all in nice order, or those named in the order asked ──► filter ──► cells
//! ```

mod cluster;
mod cluster_info;
mod export;
mod filter;
mod group;
mod hosted;
mod instance;
mod job;
mod lock;
mod network;
mod node;
mod rows;
mod rule;
pub(crate) mod storage;
#[cfg(test)]
mod testing;

pub use cluster_info::cluster_info;
pub use instance::{Place, Status, console_dict, status};

use crate::config::Config;
use crate::jobs::locks::LockInfo;
use crate::nodes::NodeView;
use crate::replication::Copies;
use roost_proto::error::{Error, Result};
use roost_proto::ids::NodeId;
use roost_proto::job::JobRecord;
use roost_proto::query::{Filter, QueryResponse, Resource};
use std::collections::HashMap;
use std::sync::Arc;

/// Everything that queries are answered from.
#[derive(Clone, Debug)]
pub struct World {
    pub config: Arc<Config>,
    /// What nodes said last.
    pub seen: HashMap<NodeId, Arc<NodeView>>,
    /// In any order. Needed for queries of jobs only.
    pub jobs: Vec<Arc<JobRecord>>,
    /// Locks that are held or waited for.
    pub locks: Vec<LockInfo>,
    /// The queue takes no new jobs.
    pub drained: bool,
    /// How the copies of the state are, if this is the leader of some.
    pub copies: Option<Copies>,
}

/// Answers a query. Errors: a name that does not exist (`unknown_entity`), a filter that does not
/// fit the fields, a resource that only a job can look up.
pub fn answer(
    world: &World,
    what: Resource,
    fields: &[String],
    filter: Option<&Filter>,
) -> Result<QueryResponse> {
    match what {
        Resource::Cluster => cluster::answer(world, fields, filter),
        Resource::Instance => instance::answer(world, fields, filter),
        Resource::Node => node::answer(world, fields, filter),
        Resource::Group => group::answer(world, fields, filter),
        Resource::Job => job::answer(world, fields, filter),
        Resource::Network => network::answer(world, fields, filter),
        Resource::Lock => lock::answer(world, fields, filter),
        Resource::Filter => filter::answer(world, fields, filter),
        Resource::Rule => rule::answer(world, fields, filter),
        Resource::Export => export::answer(world, fields, filter),
        Resource::Os | Resource::ExtStorage | Resource::NodeVolume | Resource::NodeStorage => {
            Err(Error::wrong_input(format!(
                "Resource '{what}' cannot be queried directly: nodes must be asked, by a job with \
                 {}",
                match what {
                    Resource::Os => "OP_OS_DIAGNOSE",
                    Resource::ExtStorage => "OP_EXT_STORAGE_DIAGNOSE",
                    Resource::NodeVolume => "OP_NODE_QUERYVOLS",
                    _ => "OP_NODE_QUERY_STORAGE",
                }
            )))
        }
    }
}

/// Whether a query of jobs is also about archived ones: it mentions the field `archived`. One that
/// names its jobs is not: the caller adds those that it names.
pub fn wants_archived_jobs(fields: &[String], filter: Option<&Filter>) -> bool {
    const FIELD: &str = "archived";
    let mut wanted = fields.iter().any(|field| field == FIELD);
    if let Some(filter) = filter {
        if filter.requested_names(Resource::Job.name_field()).is_some() {
            return false;
        }
        filter.visit_fields(&mut |field| wanted |= field == FIELD);
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archived_jobs_are_wanted_when_mentioned() {
        let fields = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert!(!wants_archived_jobs(&fields(&["id", "status"]), None));
        assert!(wants_archived_jobs(&fields(&["id", "archived"]), None));
        let filter = Filter::And(vec![Filter::True("archived".into())]);
        assert!(wants_archived_jobs(&fields(&["id"]), Some(&filter)));
        let named = Filter::Or(vec![Filter::equal("id", 7)]);
        assert!(!wants_archived_jobs(&fields(&["archived"]), Some(&named)));
    }

    #[test]
    fn what_needs_a_job_says_so() {
        let world = testing::world();
        let error = answer(&world, Resource::Os, &[], None).expect_err("nodes must be asked");
        assert!(error.message.contains("OP_OS_DIAGNOSE"), "{error}");
    }
}
