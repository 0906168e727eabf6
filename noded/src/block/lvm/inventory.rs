//! All there is of LVM on this node, as of a moment.
//!
//! ```text
//!   actions            ──► now()      always read
//!   status, questions  ──► lately()   at most a second old, never older than our own last change
//!   reports of the node ─► figures()  at most 30 s old; never waited for long
//! ```
//!
//! One reads at a time, the others share what it finds. If LVM hangs, reports of the node go on
//! with the last figures for a while and then without.

use super::report::{self, Group, Logical, Physical};
use super::tools::Tools;
use roost_proto::error::{Error, Result};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How old status may be.
const LATELY: Duration = Duration::from_secs(1);
/// How old the figures of reports may be.
const FIGURES: Duration = Duration::from_secs(30);
/// How long a report of the node waits for LVM: while nothing is known yet, and later.
const PATIENCE: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(2)];
/// Figures older than this are not told any more.
const STALE: Duration = Duration::from_secs(300);
/// When LVM could not be read, it is left in peace for so long.
const PAUSE: Duration = Duration::from_secs(60);

/// Volume groups, physical and logical volumes.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    pub groups: BTreeMap<String, Group>,
    /// Physical volumes in no group.
    pub loose: Vec<Physical>,
    pub volumes: Vec<Logical>,
    /// What LVM complained about while it was read.
    pub warnings: Vec<String>,
    /// All could be read: what is not here does not exist.
    pub whole: bool,
}

impl Inventory {
    /// A logical volume.
    pub fn volume(&self, group: &str, name: &str) -> Option<&Logical> {
        self.volumes.iter().find(|lv| lv.group == group && lv.name == name)
    }

    /// A volume group. The error names those that are there.
    pub fn group(&self, name: &str) -> Result<&Group> {
        self.groups.get(name).ok_or_else(|| {
            let known: Vec<_> = self.groups.keys().map(String::as_str).collect();
            let known = match known.as_slice() {
                [] => "there are none".to_owned(),
                known => format!("there are: {}", known.join(", ")),
            };
            Error::environment(format!(
                "There is no volume group '{name}' on this node; {known}. Make it with 'vgcreate \
                 {name} DEVICE', or use another one{}",
                self.doubts()
            ))
        })
    }

    /// Whether something that is not in it is really not there.
    pub fn sure(&self, what: &str) -> Result<()> {
        if self.whole {
            return Ok(());
        }
        Err(Error::environment(format!(
            "Whether there is {what} on this node cannot be told{}",
            self.doubts()
        )))
    }

    fn doubts(&self) -> String {
        match self.warnings.as_slice() {
            _ if self.whole => String::new(),
            [] => "; LVM failed".to_owned(),
            words => format!("; LVM says: {}", words.join("; ")),
        }
    }
}

/// Room by volume group: (total, free) MiB, and (total, free) spindles.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    pub space: BTreeMap<String, (u64, u64)>,
    pub spindles: BTreeMap<String, (u64, u64)>,
}

#[derive(Clone, Debug)]
struct Read {
    at: Instant,
    /// Our changes before it.
    changes: u64,
    found: Arc<Inventory>,
}

/// LVM of a machine: its commands, and what was read last.
#[derive(Debug)]
pub struct Lvm {
    tools: Tools,
    /// Held while reading.
    reading: tokio::sync::Mutex<()>,
    last: Mutex<Option<Read>>,
    changes: AtomicU64,
    /// Not read for reports before that.
    pause: Mutex<Option<Instant>>,
}

static MACHINE: LazyLock<Lvm> = LazyLock::new(|| Lvm::new(Tools::of_this_machine()));

/// LVM of this machine: there is one.
pub fn lvm() -> &'static Lvm {
    &MACHINE
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lvm {
    pub fn new(tools: Tools) -> Lvm {
        Lvm {
            tools,
            reading: tokio::sync::Mutex::default(),
            last: Mutex::default(),
            changes: AtomicU64::new(0),
            pause: Mutex::default(),
        }
    }

    /// Whether this machine has LVM at all.
    pub fn is_there(&self) -> bool {
        self.tools.are_there()
    }

    /// Everything, as it is now.
    pub async fn now(&self) -> Result<Arc<Inventory>> {
        self.not_older(Duration::ZERO).await
    }

    /// Everything, as it was within the last second.
    pub async fn lately(&self) -> Result<Arc<Inventory>> {
        self.not_older(LATELY).await
    }

    /// Everything, not older than that.
    async fn not_older(&self, age: Duration) -> Result<Arc<Inventory>> {
        let asked = Instant::now();
        if let Some(found) = self.known(asked.checked_sub(age).unwrap_or(asked)) {
            return Ok(found);
        }
        let _reading = self.reading.lock().await;
        // Somebody may have begun and ended reading while this one waited.
        if let Some(found) = self.known(asked.checked_sub(age).unwrap_or(asked)) {
            return Ok(found);
        }
        self.read().await
    }

    /// What was read after `since` and after our last change.
    fn known(&self, since: Instant) -> Option<Arc<Inventory>> {
        let last = locked(&self.last);
        let last = last.as_ref()?;
        let good = last.at >= since && last.changes == self.changes.load(Ordering::SeqCst);
        good.then(|| last.found.clone())
    }

    async fn read(&self) -> Result<Arc<Inventory>> {
        let (at, changes) = (Instant::now(), self.changes.load(Ordering::SeqCst));
        let (physical, logical) = tokio::try_join!(
            self.tools.report("pvs", report::PHYSICAL),
            self.tools.report("lvs", report::LOGICAL),
        )?;
        let (groups, loose) = report::physical(&physical.text)?;
        let mut warnings = physical.words;
        warnings.extend(logical.words);
        let mut seen = std::collections::HashSet::new();
        warnings.retain(|line| seen.insert(line.clone()));
        let found = Arc::new(Inventory {
            groups,
            loose,
            volumes: report::logical(&logical.text)?,
            warnings,
            whole: physical.whole && logical.whole,
        });
        *locked(&self.last) = Some(Read { at, changes, found: found.clone() });
        Ok(found)
    }

    /// Runs a command that changes something; what was read before counts no more. Returns what it
    /// said.
    pub async fn change<A: Into<std::ffi::OsString>>(
        &self,
        verb: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Vec<String>> {
        self.changes.fetch_add(1, Ordering::SeqCst);
        let done = self.tools.change(verb, args).await;
        // Also what was read meanwhile.
        self.changes.fetch_add(1, Ordering::SeqCst);
        done
    }

    /// Room of all volume groups, for reports of the node: nothing where there is no LVM, and what
    /// was known before while it does not answer.
    pub async fn figures(&'static self) -> Figures {
        if !self.is_there() {
            return Figures::default();
        }
        let patience = PATIENCE[usize::from(locked(&self.last).is_some())];
        let paused = locked(&self.pause).is_some_and(|until| Instant::now() < until);
        if !paused {
            // Goes on when it is not waited for any more, so that the next report has it.
            let reading = tokio::spawn(async move {
                let read = self.not_older(FIGURES).await;
                *locked(&self.pause) = read.is_err().then(|| Instant::now() + PAUSE);
                read
            });
            match tokio::time::timeout(patience, reading).await {
                Ok(Ok(Ok(found))) => return figures(&found),
                Ok(Ok(Err(error))) => tracing::warn!(%error, "volume groups cannot be read"),
                Ok(Err(_)) | Err(_) => {}
            }
        }
        let last = locked(&self.last).clone();
        match last {
            Some(last) if last.at.elapsed() < STALE => figures(&last.found),
            _ => Figures::default(),
        }
    }
}

fn figures(found: &Inventory) -> Figures {
    let usable = || found.groups.values().filter(|group| !group.exported);
    Figures {
        space: usable().map(|g| (g.name.clone(), (g.size >> 20, g.usable() >> 20))).collect(),
        spindles: usable().map(|g| (g.name.clone(), g.spindles())).collect(),
    }
}

#[cfg(test)]
#[path = "inventory_tests.rs"]
mod tests;
