//! Archived jobs: put aside, not held in memory, looked up one by one.
//!
//! There may be millions. Their documents have their numbers as names, so one is found at once, and
//! all of them are gone through by counting: a piece at a time, between which commits go on.

use super::engine::Engine;
use super::entry::JobEntry;
use super::journal::{archive_key, job_key};
use super::step::join_all;
use crate::clock;
use crate::state::Commit;
use roost_proto::error::{Error, Result};
use roost_proto::ids::JobId;
use roost_proto::job::JobRecord;
use std::ops::Range;
use std::sync::{Arc, PoisonError};

/// How many documents are written or asked for together.
const WRITES: usize = 500;
const READS: usize = 64;

impl Engine {
    /// Puts a job aside. False: it is not there, or has not ended.
    pub async fn archive(&self, job: JobId) -> Result<bool> {
        let Some(entry) = self.0.entry(job).filter(|e| e.status().is_final()) else {
            return Ok(false);
        };
        self.archive_all(vec![entry]).await?;
        Ok(true)
    }

    /// Puts all jobs aside that ended more than `age` seconds ago. Returns how many, and how many
    /// were not looked at: none, because it does not give up.
    pub async fn autoarchive(&self, age: Option<u64>) -> Result<(u64, u64)> {
        let now = clock::now().0;
        let is_old = |record: &JobRecord| {
            let times = [record.end_timestamp, record.start_timestamp, record.received_timestamp];
            let time = times.into_iter().flatten().next().unwrap_or_default().0;
            age.is_none_or(|age| now.saturating_sub(time) >= age)
        };
        let mut old = self.jobs();
        old.retain(|entry| entry.status().is_final() && is_old(&entry.record()));
        let archived = old.len() as u64;
        self.archive_all(old).await?;
        Ok((archived, 0))
    }

    async fn archive_all(&self, entries: Vec<Arc<JobEntry>>) -> Result<()> {
        for chunk in entries.chunks(WRITES) {
            let mut commit = Commit::default();
            for entry in chunk {
                let (_, body) = entry.document_after(|record| record.archived = true);
                commit.puts.push((archive_key(entry.id), body));
                commit.deletes.push(job_key(entry.id));
            }
            self.0.state.commit(commit).await?;
            let mut jobs = self.0.jobs.write().unwrap_or_else(PoisonError::into_inner);
            for entry in chunk {
                jobs.remove(&entry.id);
            }
        }
        Ok(())
    }

    /// An archived job.
    pub async fn archived(&self, job: JobId) -> Result<Option<JobRecord>> {
        let Some(body) = self.0.state.get(archive_key(job)).await? else { return Ok(None) };
        serde_json::from_str(&body)
            .map(Some)
            .map_err(|e| Error::internal(format!("Archived job {job} cannot be read: {e}")))
    }

    /// The jobs of these numbers, archived or not, in order. Those that nobody knows are left out.
    pub async fn jobs_between(&self, numbers: Range<u64>) -> Result<Vec<Arc<JobRecord>>> {
        let numbers: Vec<_> = numbers.collect();
        let mut found = Vec::new();
        for some in numbers.chunks(READS) {
            let each = some.iter().map(|number| self.job_or_archived(JobId(*number)));
            for record in join_all(each).await {
                found.extend(record?);
            }
        }
        Ok(found)
    }

    /// A job, archived or not.
    pub async fn job_or_archived(&self, job: JobId) -> Result<Option<Arc<JobRecord>>> {
        if let Some(entry) = self.job(job) {
            return Ok(Some(entry.record()));
        }
        if let Some(record) = self.archived(job).await? {
            return Ok(Some(Arc::new(record)));
        }
        // It may have been archived, and be visible, just between the two looks; or not yet.
        Ok(self.job(job).map(|entry| entry.record()))
    }
}
