//! What was done for which step of which job, so that nothing is done twice.
//!
//! ```text
//!            run                    ends well
//!   unknown ─────► running ────────────────────► done (outcome repeated) ──forget──► unknown
//!                    │  ▲ run again: joins it
//!                    └── fails ──► unknown: the next run tries again
//! ```
//!
//! Work goes on when whoever asked has gone; the next to ask joins it. A step and its undoing never
//! run at once, and either one makes the other forgotten.
//!
//! Outcomes are kept in an append-only file. It is not synced: a lost one only means that the
//! action, which may be repeated, is. For the same reason all are dropped after a boot, which
//! undoes much of what was done (assembled disks, running guests).

use crate::durable;
use crate::failpoint::{self, Place};
use roost_proto::error::{Error, Result};
use roost_proto::node::{Outcome, Progress};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// Names a step of a job, or its undoing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Step {
    pub job: u64,
    pub op: u32,
    pub step: u32,
    pub undo: bool,
}

impl Step {
    fn opposite(self) -> Step {
        Step { undo: !self.undo, ..self }
    }
}

/// How long an outcome holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Until the machine boots.
    Boot,
    /// Until noded restarts: it made something that lives in this process.
    Process,
}

/// What whoever follows a step hears. The last is `End`.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Progress(Progress),
    End(Result<Outcome>),
}

/// All steps this node works on or remembers.
#[derive(Debug)]
pub struct Steps {
    inner: Mutex<Inner>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Inner {
    done: BTreeMap<Step, Done>,
    running: BTreeMap<Step, watch::Receiver<Live>>,
    journal: Journal,
}

#[derive(Clone, Debug)]
struct Done {
    /// Of the action: the same number with other work is not the same step.
    digest: String,
    outcome: Outcome,
}

/// A step at work.
#[derive(Clone, Debug, Default)]
struct Live {
    /// Progress that has something for the job's log. All of it reaches every follower.
    messages: Vec<Progress>,
    /// The newest figures. Older ones are of no interest.
    figures: Option<Progress>,
    end: Option<Result<Outcome>>,
}

/// By which the work tells how far it is.
#[derive(Clone, Debug)]
pub struct Reporter(watch::Sender<Live>);

impl Reporter {
    /// Tells followers; those that come later hear all messages, and the newest figures.
    pub fn progress(&self, progress: Progress) {
        self.0.send_modify(|live| match progress.message {
            Some(_) => live.messages.push(progress),
            None => live.figures = Some(progress),
        });
    }

    /// Tells a line for the job's log.
    pub fn message(&self, message: impl Into<String>) {
        self.progress(Progress { message: Some(message.into()), ..Progress::default() });
    }

    /// A reporter nobody listens to.
    pub fn silent() -> Reporter {
        Reporter(watch::Sender::new(Live::default()))
    }
}

/// Hears how a step goes.
#[derive(Debug)]
pub struct Follower {
    live: watch::Receiver<Live>,
    messages: usize,
    figures: Option<Progress>,
    over: bool,
}

impl Follower {
    fn new(live: watch::Receiver<Live>) -> Follower {
        Follower { live, messages: 0, figures: None, over: false }
    }

    fn ended(outcome: Outcome) -> Follower {
        let live = Live { end: Some(Ok(outcome)), ..Live::default() };
        Follower::new(watch::Sender::new(live).subscribe())
    }

    /// The next event; `None` after the end.
    pub async fn next(&mut self) -> Option<Event> {
        if self.over {
            return None;
        }
        loop {
            if let Some(event) = self.ready() {
                return Some(event);
            }
            if self.live.changed().await.is_err() && self.live.borrow().end.is_none() {
                self.over = true;
                return Some(Event::End(Err(Error::internal("The step was dropped unfinished"))));
            }
        }
    }

    fn ready(&mut self) -> Option<Event> {
        let live = self.live.borrow_and_update();
        if let Some(message) = live.messages.get(self.messages) {
            self.messages += 1;
            return Some(Event::Progress(message.clone()));
        }
        if let Some(end) = &live.end {
            self.over = true;
            return Some(Event::End(end.clone()));
        }
        if live.figures != self.figures {
            self.figures.clone_from(&live.figures);
            return self.figures.clone().map(Event::Progress);
        }
        None
    }

    /// Waits for the end.
    pub async fn end(mut self) -> Result<Outcome> {
        while let Some(event) = self.next().await {
            if let Event::End(end) = event {
                return end;
            }
        }
        Err(Error::internal("The step ended before"))
    }
}

impl Steps {
    /// Reads what is remembered from `dir`. `boot` names this boot of the machine.
    pub fn load(dir: &Path, boot: &str) -> Result<Steps> {
        durable::make_dir(dir)?;
        let path = dir.join("steps");
        let done = read_journal(&path, boot);
        let journal = Journal::write_new(path, boot, &done)?;
        let inner = Inner { done, running: BTreeMap::new(), journal };
        Ok(Steps { inner: Mutex::new(inner), tasks: TaskTracker::new() })
    }

    /// Does `work` for the step, unless that is being done or was done already.
    ///
    /// `action` is the action as it was sent: only the same is the same step.
    pub fn run<F, W>(
        self: &Arc<Self>,
        step: Step,
        action: &str,
        memory: Memory,
        work: F,
    ) -> Follower
    where
        F: FnOnce(Reporter) -> W + Send + 'static,
        W: Future<Output = Result<Outcome>> + Send + 'static,
    {
        let digest = digest(action);
        let mut inner = self.lock();
        if let Some(live) = inner.running.get(&step) {
            return Follower::new(live.clone());
        }
        if let Some(done) = inner.done.get(&step)
            && done.digest == digest
        {
            return Follower::ended(done.outcome.clone());
        }
        let (sender, live) = watch::channel(Live::default());
        let opposite = inner.running.get(&step.opposite()).cloned();
        inner.running.insert(step, live.clone());
        drop(inner);
        let steps = self.clone();
        self.tasks.spawn(async move {
            if let Some(opposite) = opposite {
                // Its result belongs to whoever asked for it; here only that it is over.
                let _ = Follower::new(opposite).end().await;
            }
            let reporter = Reporter(sender.clone());
            // Job 0 is nobody's: what follows the configuration by itself.
            let deadly = step.job != 0;
            if deadly {
                failpoint::hit(Place::StepBegun);
            }
            let end = match tokio::spawn(async move { work(reporter).await }).await {
                Ok(end) => end,
                Err(e) => Err(Error::internal(format!("The node daemon failed: {e}"))),
            };
            if deadly {
                failpoint::hit(Place::StepDone);
            }
            steps.finish(step, digest, memory, &end);
            sender.send_modify(|live| live.end = Some(end));
        });
        Follower::new(live)
    }

    /// Forgets all steps of these jobs.
    pub fn forget(&self, jobs: &[u64]) {
        let mut inner = self.lock();
        let mut any = false;
        for job in jobs {
            let first = Step { job: *job, op: 0, step: 0, undo: false };
            let steps: Vec<Step> =
                inner.done.range(first..).map(|(s, _)| *s).take_while(|s| s.job == *job).collect();
            any |= !steps.is_empty();
            for step in steps {
                inner.done.remove(&step);
            }
        }
        if any {
            inner.write(&Line::Forget { forget: jobs.to_vec() });
        }
    }

    /// Starts nothing any more and waits for what runs.
    pub async fn drain(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn finish(&self, step: Step, digest: String, memory: Memory, end: &Result<Outcome>) {
        let mut inner = self.lock();
        inner.running.remove(&step);
        let undone = inner.done.remove(&step.opposite()).is_some();
        let again = inner.done.remove(&step).is_some();
        match end {
            Ok(outcome) => {
                let done = Done { digest, outcome: outcome.clone() };
                match memory {
                    Memory::Boot => inner.write(&Line::Done(Box::new(Record::new(step, &done)))),
                    Memory::Process if undone || again => {
                        inner.write(&Line::Gone { gone: step });
                    }
                    Memory::Process => {}
                }
                inner.done.insert(step, done);
            }
            Err(_) if undone || again => inner.write(&Line::Gone { gone: step }),
            Err(_) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Inner {
    fn write(&mut self, line: &Line) {
        let compact = self.journal.lines > 1000 + 2 * self.done.len();
        let written = if compact {
            let (path, boot) = (self.journal.path.clone(), self.journal.boot.clone());
            Journal::write_new(path, &boot, &self.done).map(|journal| self.journal = journal)
        } else {
            Ok(())
        };
        if let Err(error) = written.and_then(|()| self.journal.append(line)) {
            tracing::warn!(%error, "a finished step may be repeated");
        }
    }
}

fn digest(action: &str) -> String {
    crate::credentials::hex(&Sha256::digest(action.as_bytes())[..12])
}

/// The file: one JSON value a line.
#[derive(Debug)]
struct Journal {
    path: PathBuf,
    boot: String,
    file: File,
    lines: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    /// The first line.
    Boot {
        boot: String,
    },
    Done(Box<Record>),
    /// Not done any more, nor undone.
    Gone {
        gone: Step,
    },
    Forget {
        forget: Vec<u64>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    step: Step,
    digest: String,
    outcome: Outcome,
}

impl Record {
    fn new(step: Step, done: &Done) -> Record {
        Record { step, digest: done.digest.clone(), outcome: done.outcome.clone() }
    }
}

impl Journal {
    fn write_new(path: PathBuf, boot: &str, done: &BTreeMap<Step, Done>) -> Result<Journal> {
        let failed = |e: &dyn std::fmt::Display| {
            Error::exec(format!("Cannot write '{}': {e}", path.display()))
        };
        let mut text = line(&Line::Boot { boot: boot.to_owned() })?;
        for (step, done) in done {
            text += &line(&Line::Done(Box::new(Record::new(*step, done))))?;
        }
        durable::write(&path, text.as_bytes(), 0o600)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(|e| failed(&e))?;
        Ok(Journal { file, boot: boot.to_owned(), lines: done.len() + 1, path })
    }

    fn append(&mut self, entry: &Line) -> Result<()> {
        self.lines += 1;
        self.file
            .write_all(line(entry)?.as_bytes())
            .map_err(|e| Error::exec(format!("Cannot write '{}': {e}", self.path.display())))
    }
}

fn line(line: &Line) -> Result<String> {
    serde_json::to_string(line)
        .map(|text| text + "\n")
        .map_err(|e| Error::internal(format!("A step's outcome cannot be written: {e}")))
}

/// What a former process has left. A line cut short by a crash, and what follows, is not there.
fn read_journal(path: &Path, boot: &str) -> BTreeMap<Step, Done> {
    let mut done = BTreeMap::new();
    let Ok(file) = File::open(path) else { return done };
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    for (n, text) in lines.enumerate() {
        match serde_json::from_str(&text) {
            Ok(Line::Boot { boot: of }) if n == 0 && of == boot => {}
            _ if n == 0 => return done,
            Ok(Line::Done(r)) => {
                done.remove(&r.step.opposite());
                done.insert(r.step, Done { digest: r.digest, outcome: r.outcome });
            }
            Ok(Line::Gone { gone }) => {
                done.remove(&gone);
                done.remove(&gone.opposite());
            }
            Ok(Line::Forget { forget }) => done.retain(|step, _| !forget.contains(&step.job)),
            Ok(Line::Boot { .. }) | Err(_) => return done,
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;

    const DO: Step = Step { job: 7, op: 0, step: 2, undo: false };
    const UNDO: Step = Step { undo: true, ..DO };

    fn outcome(message: &str) -> Outcome {
        Outcome { messages: vec![message.into()], ..Outcome::default() }
    }

    fn load(dir: &Path) -> Arc<Steps> {
        Arc::new(Steps::load(dir, "boot-1").expect("load"))
    }

    /// Runs work that counts itself.
    async fn counted(steps: &Arc<Steps>, step: Step, action: &str, n: &Arc<AtomicUsize>) {
        let n = n.clone();
        steps
            .run(step, action, Memory::Boot, move |_| async move {
                n.fetch_add(1, Ordering::SeqCst);
                Ok(outcome("done"))
            })
            .end()
            .await
            .expect("success");
    }

    #[tokio::test]
    async fn a_finished_step_is_repeated_even_after_a_restart() {
        let dir = tempfile::tempdir().expect("directory");
        let n = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 {
            let steps = load(dir.path());
            counted(&steps, DO, "a", &n).await;
            counted(&steps, DO, "a", &n).await;
        }
        assert_eq!(n.load(Ordering::SeqCst), 1);
        let steps = load(dir.path());
        counted(&steps, DO, "another action", &n).await;
        assert_eq!(n.load(Ordering::SeqCst), 2, "the same number, but other work");
        steps.forget(&[6, 7]);
        counted(&load(dir.path()), DO, "another action", &n).await;
        assert_eq!(n.load(Ordering::SeqCst), 3, "forgotten");
        let steps = Arc::new(Steps::load(dir.path(), "boot-2").expect("load"));
        counted(&steps, DO, "another action", &n).await;
        assert_eq!(n.load(Ordering::SeqCst), 4, "another boot");
    }

    #[tokio::test]
    async fn a_failure_is_not_remembered() {
        let dir = tempfile::tempdir().expect("directory");
        let steps = load(dir.path());
        let failed = steps.run(DO, "a", Memory::Boot, |_| async { Err(Error::exec("disk full")) });
        assert_eq!(failed.end().await, Err(Error::exec("disk full")));
        let n = Arc::new(AtomicUsize::new(0));
        counted(&steps, DO, "a", &n).await;
        assert_eq!(n.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_running_step_is_joined_and_outlives_who_asked() {
        let dir = tempfile::tempdir().expect("directory");
        let steps = load(dir.path());
        let go = Arc::new(Notify::new());
        let first = steps.run(DO, "a", Memory::Boot, {
            let go = go.clone();
            move |reporter| async move {
                reporter.message("halfway");
                go.notified().await;
                Ok(outcome("first"))
            }
        });
        drop(first);
        let mut second =
            steps.run(DO, "a", Memory::Boot, |_| async { Err(Error::exec("must not run")) });
        let Some(Event::Progress(p)) = second.next().await else { panic!("progress first") };
        assert_eq!(p.message.as_deref(), Some("halfway"));
        go.notify_one();
        assert_eq!(second.next().await, Some(Event::End(Ok(outcome("first")))));
        assert_eq!(second.next().await, None);
    }

    #[tokio::test]
    async fn undoing_waits_for_what_it_undoes_and_both_forget_each_other() {
        let dir = tempfile::tempdir().expect("directory");
        let steps = load(dir.path());
        let go = Arc::new(Notify::new());
        let order = Arc::new(Mutex::new(vec![]));
        let doing = steps.run(DO, "a", Memory::Boot, {
            let (go, order) = (go.clone(), order.clone());
            move |_| async move {
                go.notified().await;
                order.lock().expect("lock").push("do");
                Ok(outcome("done"))
            }
        });
        let undoing = steps.run(UNDO, "b", Memory::Boot, {
            let order = order.clone();
            move |_| async move {
                order.lock().expect("lock").push("undo");
                Ok(outcome("undone"))
            }
        });
        go.notify_one();
        undoing.end().await.expect("undone");
        doing.end().await.expect("done");
        assert_eq!(*order.lock().expect("lock"), ["do", "undo"]);
        let n = Arc::new(AtomicUsize::new(0));
        counted(&load(dir.path()), DO, "a", &n).await;
        assert_eq!(n.load(Ordering::SeqCst), 1, "it was undone, so it is done again");
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_a_torn_line_is_ignored() {
        let dir = tempfile::tempdir().expect("directory");
        let steps = load(dir.path());
        let failed = steps.run(DO, "a", Memory::Boot, |_| async { panic!("bug") }).end().await;
        assert!(failed.expect_err("panic").message.contains("bug"));
        let n = Arc::new(AtomicUsize::new(0));
        counted(&steps, DO, "a", &n).await;
        let mut file =
            OpenOptions::new().append(true).open(dir.path().join("steps")).expect("open");
        file.write_all(b"{\"job\":8,\"op").expect("torn");
        counted(&load(dir.path()), DO, "a", &n).await;
        assert_eq!(n.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_lives_in_the_process_is_done_again_after_a_restart() {
        let dir = tempfile::tempdir().expect("directory");
        let n = Arc::new(AtomicUsize::new(0));
        for _ in 0..2 {
            let steps = load(dir.path());
            for _ in 0..2 {
                let n = n.clone();
                let work = move |_| async move {
                    n.fetch_add(1, Ordering::SeqCst);
                    Ok(Outcome::default())
                };
                steps.run(DO, "a", Memory::Process, work).end().await.expect("success");
            }
        }
        assert_eq!(n.load(Ordering::SeqCst), 2);
    }
}
