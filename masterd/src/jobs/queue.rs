//! The queue: which job is next.
//!
//! ```text
//!             ┌─ blocked: until the jobs it depends on have ended
//!   push ─────┼─ held: until a group it belongs to has room ─┐
//!             └─ ready ──────────────────────────────────────┴─► pop ─► running
//! ```
//!
//! Jobs start in the order of their priority, then of their number, as many at once as the cluster
//! allows. A job may need a *share* of groups: those that one filter rule decides about, those that
//! carry one rate-limit label. A group without room holds only its own jobs up.

use roost_proto::ids::{FilterId, JobId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Jobs that may only run so many at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// A filter rule decides about them.
    Rule(FilterId),
    /// `N:LABEL` in their reason trails.
    Label(String),
}

/// What a job needs of a group to start.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share {
    pub of: Group,
    /// How many of the group may run; 0: none.
    pub limit: u32,
}

#[derive(Debug)]
struct Waiting {
    priority: i32,
    shares: Vec<Share>,
}

/// Jobs that have not ended, but for what is done for them.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: HashMap<JobId, Waiting>,
    ready: BTreeSet<(i32, JobId)>,
    held: BTreeMap<Share, BTreeSet<(i32, JobId)>>,
    /// Jobs waiting for others, with those still missing.
    blocked: HashMap<JobId, HashSet<JobId>>,
    /// Who waits for a job.
    dependents: HashMap<JobId, Vec<JobId>>,
    running: HashMap<JobId, Vec<Share>>,
    /// How many of each group run.
    occupied: HashMap<Group, u32>,
}

impl Queue {
    /// Adds a job that waits for these unfinished ones.
    pub fn push(
        &mut self,
        job: JobId,
        priority: i32,
        shares: Vec<Share>,
        waits_for: HashSet<JobId>,
    ) {
        self.waiting.insert(job, Waiting { priority, shares });
        if waits_for.is_empty() {
            self.ready.insert((priority, job));
            return;
        }
        for other in &waits_for {
            self.dependents.entry(*other).or_default().push(job);
        }
        self.blocked.insert(job, waits_for);
    }

    /// How many jobs have not ended.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.running.len()
    }

    /// The next job to start, if there is room for one more.
    pub fn pop(&mut self, max_running: usize) -> Option<JobId> {
        if self.running.len() >= max_running {
            return None;
        }
        loop {
            let (from, next) = self.first()?;
            self.take(from.as_ref(), next);
            let job = next.1;
            let waiting = self.waiting.get(&job)?;
            match waiting.shares.iter().find(|share| !self.has_room(share)) {
                // It moves behind a group that has no room, so this comes to an end.
                Some(full) => {
                    let full = full.clone();
                    self.held.entry(full).or_default().insert(next);
                }
                None => {
                    let shares = self.waiting.remove(&job)?.shares;
                    self.resume(job, shares);
                    return Some(job);
                }
            }
        }
    }

    /// The most urgent job of those that are ready, or held by a group that has room by now.
    fn first(&self) -> Option<(Option<Share>, (i32, JobId))> {
        let ready = self.ready.first().map(|next| (None, *next));
        let held = self.held.iter().filter(|(share, _)| self.has_room(share));
        let held = held.filter_map(|(share, jobs)| Some((Some(share.clone()), *jobs.first()?)));
        ready.into_iter().chain(held).min_by_key(|(_, next)| *next)
    }

    fn take(&mut self, from: Option<&Share>, place: (i32, JobId)) -> bool {
        let Some(share) = from else { return self.ready.remove(&place) };
        let Some(jobs) = self.held.get_mut(share) else { return false };
        let there = jobs.remove(&place);
        if jobs.is_empty() {
            self.held.remove(share);
        }
        there
    }

    fn has_room(&self, share: &Share) -> bool {
        self.occupied.get(&share.of).copied().unwrap_or(0) < share.limit
    }

    /// A job is at work: one that was popped, or one from before a restart.
    pub fn resume(&mut self, job: JobId, shares: Vec<Share>) {
        for share in &shares {
            *self.occupied.entry(share.of.clone()).or_default() += 1;
        }
        self.running.insert(job, shares);
    }

    /// A job that was at work is not any more. Returns what it needed to start.
    pub fn finished(&mut self, job: JobId) -> Vec<Share> {
        let shares = self.running.remove(&job).unwrap_or_default();
        for share in &shares {
            if let Some(count) = self.occupied.get_mut(&share.of) {
                *count -= 1;
                if *count == 0 {
                    self.occupied.remove(&share.of);
                }
            }
        }
        shares
    }

    /// A job ended, however: those that waited only for it are ready.
    pub fn ended(&mut self, job: JobId) {
        for waiter in self.dependents.remove(&job).unwrap_or_default() {
            let Some(missing) = self.blocked.get_mut(&waiter) else { continue };
            missing.remove(&job);
            if missing.is_empty() {
                self.blocked.remove(&waiter);
                if let Some(waiting) = self.waiting.get(&waiter) {
                    self.ready.insert((waiting.priority, waiter));
                }
            }
        }
    }

    /// Whether a job, if it waited for these, would wait for itself in the end.
    pub fn would_circle(&self, job: JobId, waits_for: &HashSet<JobId>) -> bool {
        let mut seen = HashSet::new();
        let mut look: Vec<JobId> = waits_for.iter().copied().collect();
        while let Some(next) = look.pop() {
            if next == job {
                return true;
            }
            if seen.insert(next) {
                look.extend(self.blocked.get(&next).into_iter().flatten());
            }
        }
        false
    }

    /// Takes a job out that has not started. False: it is not here.
    pub fn remove(&mut self, job: JobId) -> bool {
        let Some(waiting) = self.waiting.remove(&job) else { return false };
        self.blocked.remove(&job);
        self.leave((waiting.priority, job));
        true
    }

    /// Takes it from among the ready and the held. False: it is blocked.
    fn leave(&mut self, place: (i32, JobId)) -> bool {
        let holders: Vec<_> = self.held.keys().cloned().map(Some).collect();
        self.take(None, place) || holders.iter().any(|share| self.take(share.as_ref(), place))
    }

    /// Another priority for a job that has not started.
    pub fn change_priority(&mut self, job: JobId, new: i32) {
        let Some(waiting) = self.waiting.get_mut(&job) else { return };
        let old = std::mem::replace(&mut waiting.priority, new);
        if self.leave((old, job)) {
            self.ready.insert((new, job));
        }
    }

    /// The rules are others now: what each job needs is found out anew.
    pub fn judge_again(&mut self, mut judge: impl FnMut(JobId) -> Vec<Share>) {
        for (_, jobs) in std::mem::take(&mut self.held) {
            self.ready.extend(jobs);
        }
        for (job, waiting) in &mut self.waiting {
            waiting.shares = judge(*job);
        }
        let running: Vec<_> = self.running.keys().copied().collect();
        for job in running {
            self.finished(job);
            let shares = judge(job);
            self.resume(job, shares);
        }
    }

    /// Whether a job is here and has not started.
    pub fn is_waiting(&self, job: JobId) -> bool {
        self.waiting.contains_key(&job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: JobId = JobId(1);
    const B: JobId = JobId(2);
    const C: JobId = JobId(3);
    const D: JobId = JobId(4);

    fn free(queue: &mut Queue, job: JobId, priority: i32) {
        queue.push(job, priority, vec![], HashSet::new());
    }

    fn label(name: &str, limit: u32) -> Share {
        Share { of: Group::Label(name.into()), limit }
    }

    fn shared(queue: &mut Queue, job: JobId, shares: &[Share]) {
        queue.push(job, 0, shares.to_vec(), HashSet::new());
    }

    #[test]
    fn by_priority_then_number() {
        let mut queue = Queue::default();
        free(&mut queue, B, 0);
        free(&mut queue, A, 0);
        free(&mut queue, C, -10);
        assert_eq!(queue.pop(2), Some(C));
        assert_eq!(queue.pop(2), Some(A));
        assert_eq!(queue.pop(2), None, "only two at once");
        assert_eq!(queue.len(), 3);
        queue.finished(C);
        assert_eq!(queue.pop(1), None, "the limit was lowered");
        assert_eq!(queue.pop(2), Some(B));
    }

    #[test]
    fn dependents_wait() {
        let mut queue = Queue::default();
        queue.push(C, 0, vec![], HashSet::from([A, B]));
        queue.ended(A);
        assert_eq!(queue.pop(9), None);
        queue.ended(B);
        assert_eq!(queue.pop(9), Some(C));
    }

    #[test]
    fn what_is_removed_does_not_start() {
        let mut queue = Queue::default();
        free(&mut queue, A, 0);
        queue.push(B, 0, vec![], HashSet::from([A]));
        shared(&mut queue, C, &[label("x", 0)]);
        assert_eq!(queue.pop(0), None);
        assert!(queue.remove(A));
        assert_eq!(queue.pop(9), None, "the third is held");
        assert!(queue.remove(B));
        assert!(queue.remove(C));
        assert!(!queue.remove(C));
        queue.ended(A);
        assert_eq!(queue.pop(9), None);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn circles_are_seen() {
        let mut queue = Queue::default();
        queue.push(B, 0, vec![], HashSet::from([A]));
        queue.push(C, 0, vec![], HashSet::from([B]));
        assert!(queue.would_circle(A, &HashSet::from([C])));
        assert!(queue.would_circle(A, &HashSet::from([A])));
        assert!(!queue.would_circle(D, &HashSet::from([C])));
    }

    #[test]
    fn a_group_without_room_holds_only_its_own() {
        let mut queue = Queue::default();
        for job in [A, B] {
            shared(&mut queue, job, &[label("x", 1)]);
        }
        free(&mut queue, C, 5);
        assert_eq!(queue.pop(9), Some(A));
        assert_eq!(queue.pop(9), Some(C), "the second of the group waits");
        assert_eq!(queue.pop(9), None);
        queue.finished(A);
        assert_eq!(queue.pop(9), Some(B));
    }

    #[test]
    fn a_job_needs_room_in_all_its_groups() {
        let mut queue = Queue::default();
        shared(&mut queue, A, &[label("x", 1)]);
        shared(&mut queue, B, &[label("y", 1)]);
        shared(&mut queue, C, &[label("x", 1), label("y", 1)]);
        shared(&mut queue, D, &[label("x", 1)]);
        assert_eq!((queue.pop(9), queue.pop(9)), (Some(A), Some(B)));
        assert_eq!(queue.pop(9), None);
        queue.finished(A);
        // C gets past x, but not past y; that must not keep D from x.
        assert_eq!(queue.pop(9), Some(D));
        queue.finished(B);
        assert_eq!(queue.pop(9), None);
        queue.finished(D);
        assert_eq!(queue.pop(9), Some(C));
    }

    #[test]
    fn priority_counts_among_the_held() {
        let mut queue = Queue::default();
        for job in [A, B, C] {
            shared(&mut queue, job, &[label("x", 1)]);
        }
        assert_eq!(queue.pop(9), Some(A));
        assert_eq!(queue.pop(9), None);
        queue.change_priority(C, -10);
        queue.finished(A);
        assert_eq!(queue.pop(9), Some(C));
    }

    #[test]
    fn other_rules_other_needs() {
        let mut queue = Queue::default();
        shared(&mut queue, A, &[]);
        shared(&mut queue, B, &[label("x", 0)]);
        assert_eq!((queue.pop(9), queue.pop(9)), (Some(A), None));
        queue.judge_again(|_| vec![label("x", 1)]);
        assert_eq!(queue.pop(9), None, "the first counts by now");
        queue.judge_again(|_| vec![label("x", 2)]);
        assert_eq!(queue.pop(9), Some(B));
        queue.judge_again(|_| vec![]);
        queue.finished(A);
        assert_eq!(queue.finished(B), vec![]);
        assert!(queue.occupied.is_empty());
    }

    #[test]
    fn a_rule_does_not_lift_what_a_job_depends_on() {
        let mut queue = Queue::default();
        free(&mut queue, A, 0);
        queue.push(B, 0, vec![label("x", 0)], HashSet::from([A]));
        queue.judge_again(|_| vec![]);
        assert_eq!((queue.pop(9), queue.pop(9)), (Some(A), None));
        queue.ended(A);
        assert_eq!(queue.pop(9), Some(B));
    }
}
