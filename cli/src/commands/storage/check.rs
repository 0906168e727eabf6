//! `gnt-storage check`: whether a provider's scripts keep the contract. Works on this machine alone;
//! no cluster is needed.

use crate::context::Cx;
use crate::exec::Scripts;
use crate::failure::{Failure, Outcome};
use crate::say;
use crate::values::{self, Params};
use crate::verb::Verb;
use clap::Args;
use roost_extstorage::check::{self, Finding, Options, State};
use roost_proto::error::Error;
use roost_proto::query::pyrepr;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

/// `check`.
#[derive(Args, Debug)]
pub struct Check {
    /// A parameter of the provider: NAME=VALUE,…; repeat for more
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = values::params)]
    params: Vec<Params>,
    /// Where the provider's directory is; else it is looked for where nodes do
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Kill and fail a script that takes longer than this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Size of the volumes that are made, MiB; some are grown to twice as much
    #[arg(long, value_name = "MIB", default_value_t = 64,
          value_parser = clap::value_parser!(u64).range(4..))]
    size: u64,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    /// Its name; with a slash, its directory
    #[arg(value_name = "PROVIDER")]
    provider: String,
}

impl Verb for Check {
    const NAME: &'static str = "check";
    const ABOUT: &'static str = "Tries out on this machine whether a provider keeps the contract";

    async fn run(self, cx: &Cx) -> Outcome {
        let (name, dir) = self.find(cx)?;
        let params = self.params.iter().flat_map(|params| &params.0);
        let options = Options {
            uuid: uuid()?,
            params: params.map(|(name, value)| (name.clone(), pyrepr::str(value))).collect(),
            size: self.size,
            limit: Duration::from_secs(self.timeout),
        };
        if !self.json {
            say!(cx, "Checking provider '{name}' in '{}'", dir.display());
        }
        let tell = |finding: &Finding| {
            if !self.json {
                // Who does not read any more is told the exit code.
                let _ = cx.io.write_out(&line(finding));
            }
        };
        let findings = check::run(&Scripts, &name, &dir, &options, tell).await;
        let count = |state| findings.iter().filter(|finding| finding.state == state).count();
        let (passed, failed, skipped) =
            (count(State::Pass), count(State::Fail), count(State::Skip));
        if self.json {
            let all: Vec<Value> = findings.iter().map(as_json).collect();
            let report = json!({
                "provider": name, "path": dir, "keeps_contract": failed == 0, "checks": all,
            });
            cx.io.write_out(&crate::table::pretty(&report))?;
        } else {
            say!(cx, "{passed} passed, {failed} failed, {skipped} skipped");
        }
        if failed == 0 { Ok(()) } else { Err(Failure::Exit(1)) }
    }
}

impl Check {
    /// Name and directory of the provider.
    fn find(&self, cx: &Cx) -> Outcome<(String, PathBuf)> {
        let search = cx.paths.es_search_path();
        let dir = match (&self.dir, self.provider.contains('/')) {
            (Some(dir), _) => dir.clone(),
            (None, true) => PathBuf::from(&self.provider),
            (None, false) => {
                let found = search.iter().map(|dir| dir.join(&self.provider));
                found.into_iter().find(|dir| dir.is_dir()).ok_or_else(|| {
                    let dirs: Vec<String> =
                        search.iter().map(|dir| dir.display().to_string()).collect();
                    Error::environment(format!(
                        "Provider '{}' is in none of {}; use --dir",
                        self.provider,
                        dirs.join(", ")
                    ))
                })?
            }
        };
        let dir = dir.canonicalize().map_err(|e| {
            Error::environment(format!("Cannot open the directory '{}': {e}", dir.display()))
        })?;
        let last = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = if self.provider.contains('/') { last } else { self.provider.clone() };
        Ok((name, dir))
    }
}

/// A new identifier, by the kernel.
fn uuid() -> Outcome<String> {
    let path = "/proc/sys/kernel/random/uuid";
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::environment(format!("Cannot read '{path}': {e}")))?;
    Ok(text.trim().to_owned())
}

/// A finding as text; a failure with what the contract says.
fn line(finding: &Finding) -> String {
    let indented = |text: &str| text.trim_end().replace('\n', "\n     ");
    let mut text =
        format!("{} {}: {}\n", finding.state.as_str(), finding.check, indented(&finding.detail));
    if finding.state == State::Fail {
        let _ = writeln!(text, "     The contract: {}", indented(finding.check.contract()));
    }
    text
}

fn as_json(finding: &Finding) -> Value {
    json!({
        "check": finding.check.as_str(),
        "state": finding.state.as_str(),
        "detail": finding.detail,
        "contract": finding.check.contract(),
    })
}
