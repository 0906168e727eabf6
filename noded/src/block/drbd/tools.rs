//! Runs DRBD's tools, and tells the kernel what they may not be told.

use super::plan::{self, Call};
use super::show::{self, Configured};
use super::table::Table;
use super::version::{self, Dialect, Version};
use crate::blocking::blocking;
use crate::exec::Command;
use crate::ssconf;
use roost_proto::error::{Error, Result};
use roost_proto::paths::Paths;
use std::fs;
use std::time::Duration;

/// How long a tool may take. A disk that does not answer holds it up.
const DEADLINE: Duration = Duration::from_secs(120);
/// What the kernel calls by itself, of which nothing is needed here: Ganeti's choice.
pub const HELPER: &str = "/bin/true";
/// Where the kernel says what it calls.
const HELPER_PARAMETER: &str = "/sys/module/drbd/parameters/usermode_helper";

/// Why a tool failed.
#[derive(Debug)]
pub struct Failure {
    /// DRBD's own number: 104, -12, …
    pub code: Option<i32>,
    pub words: String,
}

impl Failure {
    /// Something has the device open.
    pub const IN_USE: i32 = -12;
    /// The data here are not good enough.
    pub const NEEDS_GOOD_DATA: i32 = -2;

    fn of(text: &str) -> Failure {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let words: Vec<&str> = lines.filter(|line| !line.starts_with("additional info")).collect();
        let code = words.iter().find_map(|line| {
            let (_, rest) = line.split_once('(')?;
            rest.split_once(')')?.0.parse().ok()
        });
        Failure { code, words: words.join(": ") }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        Error::exec(failure.words)
    }
}

/// Does a call; returns what it prints.
pub async fn call(call: Call) -> Result<std::result::Result<String, Failure>> {
    match call {
        Call::Run(program, arguments) => {
            let what = arguments.first().cloned().unwrap_or_default();
            let command = Command::new(program).args(&arguments).deadline(DEADLINE);
            let (end, output) = command.run_apart().await?;
            if end.ok() {
                return Ok(Ok(String::from_utf8_lossy(&output).into_owned()));
            }
            // Some say it on standard output.
            let said = match end.text().trim() {
                "" => String::from_utf8_lossy(&output).into_owned(),
                said => said.to_owned(),
            };
            let mut failure = Failure::of(&said);
            if failure.words.is_empty() {
                failure.words.clone_from(&end.end);
            }
            tracing::debug!(program, what, words = failure.words, "a tool of DRBD failed");
            Ok(Err(failure))
        }
        Call::Tell(message) => {
            blocking(move || match message.send() {
                Ok(()) => Ok(Ok(String::new())),
                Err(error) => Ok(Err(Failure { code: None, words: error.message })),
            })
            .await
        }
    }
}

/// Does a call; a failure is an error that says `what` could not be done.
pub async fn done(what: &str, order: Call) -> Result<String> {
    let failed = |f: Failure| Error::exec(format!("Cannot {what}: {}", f.words));
    call(order).await?.map_err(failed)
}

/// All devices that are set up. Paths are as they were given.
pub async fn configured() -> Result<Vec<Configured>> {
    let text = done("list DRBD devices", plan::setup(["show", "--show-defaults"])).await?;
    show::parse(&text).map_err(|why| Error::exec(format!("Cannot list DRBD devices: {why}")))
}

/// All devices as they are now.
pub async fn now() -> Result<Table> {
    let order = plan::setup(["events2", "--now", "--statistics"]);
    done("tell the state of DRBD devices", order).await.map(|text| Table::of_dump(&text))
}

/// The module, loaded if it was not. Errors: this machine has none, or one too old.
pub async fn module(paths: &Paths) -> Result<Version> {
    if !version::loaded() {
        let helper = wanted_helper(paths);
        let loaded = Command::new("modprobe")
            .args(["drbd", "minor_count=128", &format!("usermode_helper={helper}")])
            .deadline(DEADLINE)
            .run_ok()
            .await;
        loaded.map_err(|e| {
            Error::environment(format!(
                "This node has no DRBD: its kernel module could not be loaded ({}); install a \
                 kernel with it, and the package drbd-utils",
                e.message
            ))
        })?;
    }
    match Version::now() {
        Some(Ok(version)) => Ok(version),
        Some(Err(why)) => Err(Error::environment(why)),
        None => Err(Error::environment("This node has no DRBD: /proc/drbd is missing")),
    }
}

/// What the cluster wants the kernel to call.
pub fn wanted_helper(paths: &Paths) -> String {
    let set = ssconf::read(paths, "drbd_usermode_helper").filter(|helper| !helper.is_empty());
    set.unwrap_or_else(|| HELPER.to_owned())
}

/// What the kernel calls by itself.
pub fn helper() -> Option<String> {
    fs::read_to_string(HELPER_PARAMETER)
        .ok()
        .map(|text| text.trim_end_matches(['\0', '\n']).to_owned())
}

/// The identifiers of a device's data, while it is attached.
pub async fn generations(dialect: Dialect, device: &Configured, peer: u32) -> Vec<String> {
    let minor = device.minor.to_string();
    let order = match dialect {
        Dialect::Eight => plan::setup(["get-gi", &minor]),
        Dialect::Nine => plan::setup(["get-gi", &device.resource, &peer.to_string(), "0"]),
    };
    match call(order).await {
        Ok(Ok(text)) => super::meta::parse_generations(&text),
        _ => vec![],
    }
}

/// 9: the number of a resource's other side.
pub async fn peer_number(resource: &str) -> Result<String> {
    let order = plan::setup(["events2", "--now", resource]);
    let text = done("tell the other side of a mirror", order).await?;
    let number = text
        .lines()
        .filter(|line| line.starts_with("exists connection "))
        .find_map(|line| line.split_whitespace().find_map(|w| w.strip_prefix("peer-node-id:")));
    Ok(number.unwrap_or("0").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_drbds_number_and_words() {
        let failure = Failure::of("0: State change failed: (-12) Device is held open by someone\n");
        assert_eq!(failure.code, Some(Failure::IN_USE));
        let failure = Failure::of(
            "resource0: State change failed: (-12) Device is held open by someone\n\
             additional info from kernel:\nfailed to demote\n",
        );
        assert_eq!(failure.code, Some(-12));
        assert!(failure.words.ends_with("by someone: failed to demote"), "{}", failure.words);
        let failure = Failure::of("0: Failure: (104) Can not open backing device.\n");
        assert_eq!(failure.code, Some(104));
        assert_eq!(Failure::of("Can not open device '/dev/x': No such file").code, None);
        assert_eq!(Failure::of("").code, None);
    }
}
