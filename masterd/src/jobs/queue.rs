//! The queue: which job is next.
//!
//! A job is *ready* when the jobs it depends on have ended; ready jobs start in the order of their
//! priority, then of their number, as many at once as the cluster allows.

use roost_proto::ids::JobId;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Jobs that have not started.
#[derive(Debug, Default)]
pub struct Queue {
    ready: BTreeSet<(i32, JobId)>,
    /// Jobs waiting for others, with those still missing.
    blocked: HashMap<JobId, (i32, HashSet<JobId>)>,
    /// Who waits for a job.
    dependents: HashMap<JobId, Vec<JobId>>,
    running: usize,
}

impl Queue {
    /// Adds a job that waits for these unfinished ones.
    pub fn push(&mut self, job: JobId, priority: i32, waits_for: HashSet<JobId>) {
        if waits_for.is_empty() {
            self.ready.insert((priority, job));
            return;
        }
        for other in &waits_for {
            self.dependents.entry(*other).or_default().push(job);
        }
        self.blocked.insert(job, (priority, waits_for));
    }

    /// The next job to start, if there is room for one more.
    pub fn pop(&mut self, max_running: usize) -> Option<JobId> {
        if self.running >= max_running {
            return None;
        }
        let (_, job) = self.ready.pop_first()?;
        self.running += 1;
        Some(job)
    }

    /// A job at work from before a restart: it does not queue again.
    pub fn resume(&mut self) {
        self.running += 1;
    }

    /// A job that was at work is not any more.
    pub fn finished(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// A job ended, however: those that waited only for it are ready.
    pub fn ended(&mut self, job: JobId) {
        for waiter in self.dependents.remove(&job).unwrap_or_default() {
            if let Some((priority, missing)) = self.blocked.get_mut(&waiter) {
                missing.remove(&job);
                if missing.is_empty() {
                    self.ready.insert((*priority, waiter));
                    self.blocked.remove(&waiter);
                }
            }
        }
    }

    /// Takes a job out that has not started. False: it is not here.
    pub fn remove(&mut self, job: JobId, priority: i32) -> bool {
        self.ready.remove(&(priority, job)) || self.blocked.remove(&job).is_some()
    }

    /// Another priority for a job that has not started.
    pub fn change_priority(&mut self, job: JobId, old: i32, new: i32) {
        if self.ready.remove(&(old, job)) {
            self.ready.insert((new, job));
        } else if let Some((priority, _)) = self.blocked.get_mut(&job) {
            *priority = new;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: JobId = JobId(1);
    const B: JobId = JobId(2);
    const C: JobId = JobId(3);

    #[test]
    fn by_priority_then_number() {
        let mut queue = Queue::default();
        queue.push(B, 0, HashSet::new());
        queue.push(A, 0, HashSet::new());
        queue.push(C, -10, HashSet::new());
        assert_eq!(queue.pop(2), Some(C));
        assert_eq!(queue.pop(2), Some(A));
        assert_eq!(queue.pop(2), None, "only two at once");
        queue.finished();
        assert_eq!(queue.pop(2), Some(B));
    }

    #[test]
    fn dependents_wait() {
        let mut queue = Queue::default();
        queue.push(C, 0, HashSet::from([A, B]));
        queue.ended(A);
        assert_eq!(queue.pop(9), None);
        queue.ended(B);
        assert_eq!(queue.pop(9), Some(C));
    }

    #[test]
    fn what_is_removed_does_not_start() {
        let mut queue = Queue::default();
        queue.push(A, 0, HashSet::new());
        queue.push(B, 0, HashSet::from([A]));
        assert!(queue.remove(A, 0));
        assert!(queue.remove(B, 0));
        assert!(!queue.remove(B, 0));
        queue.ended(A);
        assert_eq!(queue.pop(9), None);
    }
}
