//! Jobs chosen by number or by state, for `cancel` and `change-priority`.

use super::job_id;
use super::list::in_states;
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::{confirm, table};
use clap::Args;
use roost_proto::error::Error;
use roost_proto::ids::JobId;
use roost_proto::query::columns::default_columns;
use roost_proto::query::{Filter, Resource};

/// The exit code if the question is answered with no.
const DECLINED: u8 = 13;

/// How jobs are chosen.
#[derive(Args, Clone, Debug)]
pub struct Selection {
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
    /// All that are queued, waiting or canceling
    #[arg(long)]
    pub pending: bool,
    /// All that are queued
    #[arg(long)]
    pub queued: bool,
    /// All that are waiting
    #[arg(long)]
    pub waiting: bool,
    /// Numbers
    #[arg(value_name = "JOB")]
    pub jobs: Vec<String>,
}

impl Selection {
    /// The chosen jobs. Those chosen by state are shown first, and asked about.
    pub async fn jobs(&self, cx: &Cx, question: &str) -> Outcome<Vec<JobId>> {
        let filters: Vec<Filter> = [
            (self.pending, &["queued", "waiting", "canceling"][..]),
            (self.queued, &["queued"]),
            (self.waiting, &["waiting"]),
        ]
        .into_iter()
        .filter(|(wanted, _)| *wanted)
        .map(|(_, states)| in_states(states))
        .collect();
        let filter = match (filters.as_slice(), self.jobs.as_slice()) {
            ([], [_, ..]) => {
                return Ok(self.jobs.iter().map(|text| job_id(text)).collect::<Result<_, _>>()?);
            }
            ([filter], []) => filter,
            ([], []) => {
                return Err(Error::wrong_input(
                    "No jobs were named: give their numbers, or one of --pending, --queued, \
                     --waiting",
                )
                .into());
            }
            _ => {
                return Err(Error::wrong_input(
                    "Only one way to choose jobs can be used at a time: numbers, --pending, \
                     --queued or --waiting",
                )
                .into());
            }
        };
        let fields = default_columns(Resource::Job);
        let response = cx.client().await?.query(Resource::Job, fields, Some(filter)).await?;
        if response.data.is_empty() {
            return Err(
                Error::wrong_state("No jobs with the requested status have been found").into()
            );
        }
        let jobs: Vec<JobId> =
            response.data.iter().filter_map(|row| row.first()?.value.as_u64().map(JobId)).collect();
        if !self.force {
            table::print_response(cx, Resource::Job, &response, &Default::default(), None, false)?;
            if !confirm::yes_no(cx, question) {
                return Err(Failure::Exit(DECLINED));
            }
        }
        Ok(jobs)
    }
}
