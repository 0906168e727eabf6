//! The scripts by which an OS writes its disks into dumps, and reads them again.
//!
//! `export` writes to its standard output, and may say before how many bytes that will be: one
//! line to the file descriptor whose number is in `EXP_SIZE_FD`. `import` reads its standard input.
//! Each runs once for each disk; logs are in `<log>/os/{export|import}-<os>-<instance>-<time>.log`.

use super::environment;
use super::run::{check_formats, find, script_of};
use crate::clock;
use crate::exec::Command;
use crate::hypervisor::{Attachment, Source};
use roost_proto::error::{Error, Result};
use roost_proto::node::ExportScripts;
use roost_proto::paths::Paths;
use std::path::PathBuf;

/// Puts the pipe for the size, which comes as standard input, where the script looks for it: no
/// other process gets hold of it in between.
const SIZE_PIPE: &str = "exec 3>&0 0</dev/null; exec \"$0\"";
const SIZE_FD: &str = "3";

/// What a script is run for.
#[derive(Debug)]
pub struct Transfer<'a> {
    pub scripts: &'a ExportScripts,
    /// The instance's assembled disks.
    pub disks: Vec<Attachment>,
    /// Which of them it is about.
    pub index: usize,
    /// What is to be read or written: that disk, or a snapshot of it.
    pub device: &'a Attachment,
}

/// The script that writes a dump, and its log. Its standard input must be the pipe for the size.
pub async fn export(paths: &Paths, what: &Transfer<'_>) -> Result<(Command, PathBuf)> {
    prepare(paths, what, "export").await
}

/// The script that reads a dump, and its log.
pub async fn import(paths: &Paths, what: &Transfer<'_>) -> Result<(Command, PathBuf)> {
    prepare(paths, what, "import").await
}

async fn prepare(paths: &Paths, what: &Transfer<'_>, script: &str) -> Result<(Command, PathBuf)> {
    let ExportScripts { guest, osparams, osparams_private, debug } = what.scripts;
    let os = find(paths, &guest.os).await?;
    check_formats(&os, guest)?;
    let mut env = environment::core(&os, &guest.os, &[osparams, osparams_private], *debug);
    environment::instance(&mut env, guest, &what.disks);
    let prefix = script.to_uppercase();
    env.insert(format!("{prefix}_INDEX"), what.index.to_string());
    match &what.device.source {
        Source::Uri(uri) => {
            env.insert(format!("{prefix}_DISK_URI"), uri.clone());
        }
        Source::File(path) | Source::Block(path) => {
            let path = path.to_string_lossy().into_owned();
            env.insert(format!("{prefix}_DISK_PATH"), path.clone());
            env.insert(format!("{prefix}_DEVICE"), path);
        }
    }
    let name = format!("{script}-{}-{}-{}.log", guest.os, guest.name, clock::file_stamp());
    let log = paths.os_log_dir().join(name.replace('/', "_"));
    let command = match script {
        "export" => {
            env.insert("EXP_SIZE_FD".into(), SIZE_FD.into());
            Command::new("/bin/sh").args(["-c", SIZE_PIPE]).arg(os.dir.join(script))
        }
        _ => script_of(&os, script, Default::default()),
    };
    Ok((command.dir(&os.dir).envs(env).log(&log), log))
}

/// Whether an OS is here whose instances can be exported. The error says why not.
pub async fn check_export(paths: &Paths, os: &str) -> Result<()> {
    if os.is_empty() {
        return Err(Error::wrong_state(
            "The instance has no OS, so there are no scripts to export it with; give it one with \
             'gnt-instance modify --os-type OS'",
        ));
    }
    find(paths, os).await.map(drop)
}
