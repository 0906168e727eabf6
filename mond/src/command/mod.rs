//! `mon-collector`: one report of one collector, printed. Source: Ganeti's reference on mond, mon-collector CLI.
//!
//! ```text
//!   arguments ─► options ─┬─► usage, version, completion
//!                         └─► collector ◄─ files instead of the machine, confd ─► report, a line of JSON
//! ```
//!
//! The reference knows four collectors by this way; here all can be asked but those that need samples over minutes.

mod cluster;
mod objects;
mod options;

use crate::clock;
use crate::collector::{Collected, Collector};
use crate::collectors::{self, ganeti};
use crate::helper::Helper;
use crate::report::Report;
use crate::world::{ClusterView, World};
use options::{COMMANDS, OTHER, Options, Parsed};
use roost_proto::error::{Error, Result};
use roost_proto::paths::{Paths, ROOTDIR_ENV};
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// The most that is read of a file that was named, bytes.
const LARGEST: u64 = 64 << 20;
/// They tell an average of minutes; a program that ends at once has none.
const AVERAGES: [&str; 2] = ["cpu-avg-load", "xen-cpu-avg-load"];

/// What is printed where, and the exit code.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    stdout: String,
    stderr: String,
    code: u8,
}

impl Said {
    fn out(text: String) -> Said {
        Said { stdout: text, stderr: String::new(), code: 0 }
    }
}

/// The program.
pub fn main() -> ExitCode {
    let mut args = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned());
    let program = args.next().unwrap_or_default();
    let program = program.rsplit('/').next().filter(|name| !name.is_empty());
    let root = std::env::var_os(ROOTDIR_ENV).filter(|dir: &OsString| !dir.is_empty());
    let paths = Paths::new(root.map(Into::into));
    let said = run(program.unwrap_or("mon-collector"), &args.collect::<Vec<_>>(), paths);
    print!("{}", said.stdout);
    eprint!("{}", said.stderr);
    ExitCode::from(said.code)
}

fn run(program: &str, args: &[String], paths: Paths) -> Said {
    let all = askable();
    let names: Vec<String> = all.iter().map(|one| one.about().name.into_owned()).collect();
    let usage = |code| Said { code, ..Said::out(options::usage(program, &names)) };
    let Some((first, rest)) = args.split_first() else { return usage(1) };
    match first.as_str() {
        "--help" | "-h" => return usage(0),
        "--version" | "-V" => return Said::out(options::version(program)),
        "--help-completion" => return Said::out(format!("choices={} 1 1\n", names.join(","))),
        _ => {}
    }
    let Some(collector) = all.iter().find(|one| one.about().name == *first) else {
        return usage(1);
    };
    let command = COMMANDS.iter().find(|one| one.name == *first).unwrap_or(&OTHER);
    let options = match options::parse(command, rest) {
        Ok(Parsed::Help) => return Said::out(command.help(program)),
        Ok(Parsed::Version) => return Said::out(options::version(program)),
        Ok(Parsed::Completion) => return Said::out(command.completion()),
        Ok(Parsed::Run(options)) => options,
        Err(wrong) => {
            let stderr = format!("Command line error: {wrong}\n{}", command.help(program));
            return Said { stdout: String::new(), stderr, code: 2 };
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let report = runtime
        .map_err(|e| Error::environment(format!("no runtime can be started: {e}")))
        .and_then(|runtime| runtime.block_on(report(collector, &options, paths)));
    match report {
        Ok((json, warnings)) => Said { stderr: warnings, ..Said::out(format!("{json}\n")) },
        Err(error) => Said { stdout: String::new(), stderr: format!("Error: {error}\n"), code: 1 },
    }
}

/// The collectors that can be asked once.
fn askable() -> Vec<Arc<dyn Collector>> {
    let mut all = collectors::all();
    all.retain(|one| !AVERAGES.contains(&one.about().name.as_ref()));
    all
}

/// The report as JSON, and what there is to say besides.
async fn report(
    collector: &Arc<dyn Collector>,
    options: &Options,
    paths: Paths,
) -> Result<(String, String)> {
    if !options.arguments.is_empty() {
        return Err(Error::wrong_input(format!(
            "This program takes exactly zero arguments, got '{}'",
            options.arguments.join(" ")
        )));
    }
    let about = collector.about();
    let name = about.name.as_ref();
    let mut warnings = String::new();
    let mut view = match (name, &options.instances, &options.drbd_pairing) {
        // All that is needed is given.
        ("diskstats", ..) | ("lv", Some(_), _) | ("drbd", _, Some(_)) => ClusterView::default(),
        _ => match cluster::ask(&paths, options).await {
            Ok(view) => view,
            Err(error) if name == "inst-status-xen" => {
                return Err(Error::environment(format!(
                    "Can't get instance info from ConfD: {error}"
                )));
            }
            // Outside a cluster most collectors miss nothing.
            Err(_) if !matches!(name, "drbd" | "lv") && !in_cluster(&paths) => {
                ClusterView::default()
            }
            Err(error) => {
                warnings =
                    format!("Warning: it is not known which instances this is of: {error}\n");
                ClusterView::default()
            }
        },
    };
    if let Some(file) = &options.drbd_pairing {
        view.drbd = objects::pairs(&read(file)?)?;
    }
    if let Some(file) = &options.instances {
        view.guests = objects::guests(&read(file)?)?;
    }
    let collected = match (name, &options.file, &options.drbd_status) {
        ("diskstats", Some(file), _) => ganeti::diskstats::collected(&read(file)?)?,
        ("lv", Some(file), _) => ganeti::lv::collected(&read(file)?, &view.guests)?,
        ("drbd", _, Some(file)) => ganeti::drbd::collected(&read(file)?, &view.drbd)?,
        _ => collect(collector, paths, view).await?,
    };
    let report = Report {
        name: about.name.to_string(),
        version: about.version.to_string(),
        format_version: about.format_version,
        timestamp: clock::now(),
        category: about.category,
        kind: about.kind,
        data: collected.data,
    };
    Ok((report.json()?, warnings))
}

fn in_cluster(paths: &Paths) -> bool {
    paths.ssconf("master_candidates_ips").exists()
}

/// Looks at this machine.
async fn collect(
    collector: &Arc<dyn Collector>,
    paths: Paths,
    view: ClusterView,
) -> Result<Collected> {
    let world = World::new(paths, Helper::default());
    world.set_cluster(view);
    let deadline = collector.about().deadline;
    tokio::time::timeout(deadline, collector.collect(&world)).await.map_err(|_| {
        Error::environment(format!("It took longer than {} s", deadline.as_secs_f64()))
    })?
}

/// The text of a file.
fn read(path: &Path) -> Result<String> {
    let mut text = vec![];
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut text));
    let failed =
        |why: String| Error::environment(format!("Cannot read '{}': {why}", path.display()));
    match read {
        Err(error) => Err(failed(error.to_string())),
        Ok(size) if size as u64 > LARGEST => {
            Err(failed(format!("it is larger than {} MiB", LARGEST >> 20)))
        }
        Ok(_) => Ok(String::from_utf8_lossy(&text).into_owned()),
    }
}

#[cfg(test)]
mod tests;
