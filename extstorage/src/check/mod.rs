//! The author's kit: makes the calls of a volume's life one after the other and looks whether the
//! provider keeps the contract.
//!
//! ```text
//!   files ─► verify ─► attach what is not there ─► create ─► attach ─► data ─► setinfo, open, close
//!     ─► grow ─► snapshot ─► detach, attach: the data ─► remove ─► attach what is gone ─► clean up
//! ```
//!
//! Everything it makes has a new name of the shape that volumes have, and is removed at the end,
//! also after failures. What cannot be found out is skipped, with the reason; it is no failure.

mod contract;
mod kit;
mod steps;

pub use contract::Check;

use crate::provider::Provider;
use crate::run::Exec;
use kit::Kit;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// What is checked with.
#[derive(Clone, Debug)]
pub struct Options {
    /// A new identifier: volumes are named by it.
    pub uuid: String,
    /// The provider's parameters.
    pub params: BTreeMap<String, String>,
    /// MiB; volumes of it and of twice as much are made.
    pub size: u64,
    /// No script may take longer.
    pub limit: Duration,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Pass,
    Fail,
    /// It could not be found out, or need not be kept.
    Skip,
}

impl State {
    /// As reports write it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Pass => "PASS",
            State::Fail => "FAIL",
            State::Skip => "SKIP",
        }
    }
}

/// A check and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub check: Check,
    pub state: State,
    /// What was seen.
    pub detail: String,
}

/// Checks the provider in a directory. `tell` hears each finding at once; returned are all.
pub async fn run(
    exec: &impl Exec,
    name: &str,
    dir: &Path,
    options: &Options,
    tell: impl FnMut(&Finding),
) -> Vec<Finding> {
    let mut findings = Findings { all: vec![], tell };
    let provider = match Provider::read(name, dir) {
        Ok(provider) => {
            findings.add(Check::Files, State::Pass, steps::contents(&provider));
            provider.limited(options.limit)
        }
        Err(problems) => {
            findings.add(Check::Files, State::Fail, problems.join("; "));
            return findings.all;
        }
    };
    if let Err(error) = provider.check_parameters(options.params.keys()) {
        findings.add(Check::Parameters, State::Fail, error.message);
        return findings.all;
    }
    let mut kit = Kit::new(exec, provider, options);
    for finding in steps::run(&mut kit, &mut findings).await {
        findings.add(finding.check, finding.state, finding.detail);
    }
    findings.all
}

/// Findings so far, told as they come.
struct Findings<T> {
    all: Vec<Finding>,
    tell: T,
}

/// Whoever collects findings.
trait Collect {
    fn add(&mut self, check: Check, state: State, detail: String);
}

impl<T: FnMut(&Finding)> Collect for Findings<T> {
    fn add(&mut self, check: Check, state: State, detail: String) {
        let finding = Finding { check, state, detail };
        (self.tell)(&finding);
        self.all.push(finding);
    }
}
