//! `gnt-job list`.

use crate::context::Cx;
use crate::failure::Outcome;
use crate::table::{self, FilterOption, ListOptions, ListRequest};
use crate::verb::Verb;
use clap::Args;
use roost_proto::query::columns::select_columns;
use roost_proto::query::{Filter, Resource};

crate::commands::list::list_fields!(Resource::Job);

/// `list`.
#[derive(Args, Debug)]
pub struct List {
    #[command(flatten)]
    options: ListOptions,
    #[command(flatten)]
    filter: FilterOption,
    /// Only those that are queued, waiting or canceling
    #[arg(long, overrides_with_all = ["running", "error", "finished", "archived"])]
    pending: bool,
    /// Only those that run
    #[arg(long, overrides_with_all = ["pending", "error", "finished", "archived"])]
    running: bool,
    /// Only those that failed
    #[arg(long, overrides_with_all = ["pending", "running", "finished", "archived"])]
    error: bool,
    /// Only those that have ended
    #[arg(long, overrides_with_all = ["pending", "running", "error", "archived"])]
    finished: bool,
    /// Also archived ones
    #[arg(long, overrides_with_all = ["pending", "running", "error", "finished"])]
    archived: bool,
    /// Numbers, or a filter
    #[arg(value_name = "JOB|FILTER")]
    arguments: Vec<String>,
}

/// Jobs in one of these states.
pub fn in_states(states: &[&str]) -> Filter {
    Filter::Or(states.iter().map(|state| Filter::equal("status", *state)).collect())
}

impl List {
    fn states(&self) -> Option<Filter> {
        if self.pending {
            Some(in_states(&["queued", "waiting", "canceling"]))
        } else if self.running {
            Some(in_states(&["running"]))
        } else if self.error {
            Some(in_states(&["error"]))
        } else if self.finished {
            Some(in_states(&["canceled", "success", "error"]))
        } else {
            None
        }
    }
}

impl Verb for List {
    const NAME: &'static str = "list";
    const ABOUT: &'static str = "Lists the jobs and their status";

    async fn run(self, cx: &Cx) -> Outcome {
        let condition = self.states();
        let mut options = self.options;
        if self.archived {
            // Archived jobs are shown to those who ask for the field.
            let default = ["id", "status", "summary"];
            let mut columns = select_columns(&default, options.fields.output.as_deref());
            if !columns.iter().any(|column| column == "archived") {
                columns.push("archived".to_owned());
            }
            options.fields.output = Some(columns.join(","));
        }
        let request = ListRequest {
            resource: Resource::Job,
            arguments: &self.arguments,
            force_filter: self.filter.filter,
            condition,
            options: &options,
            units: None,
        };
        table::list(cx, request).await
    }
}
