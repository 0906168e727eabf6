//! `gnt-cluster import-config`: the cluster again, from a backup.
//!
//! For the day on which all that held the state is gone. masterd's own `import` writes the state;
//! then the daemons are started and lead.

use crate::commands::daemon::{Daemon, start_daemon, start_watchers, stop_daemon};
use crate::confirm;
use crate::context::Cx;
use crate::exec;
use crate::failure::{Failure, Outcome};
use crate::resolve;
use crate::submit::{self, How};
use crate::verb::Verb;
use clap::Args;
use roost_proto::import::{Backup, BackupImport, ImportSpec};
use roost_proto::opcodes::ClusterPostInit;
use roost_proto::paths::Identity;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// `import-config`.
#[derive(Args, Debug)]
pub struct ImportConfig {
    /// Only say what would be restored
    #[arg(long)]
    dry_run: bool,
    /// In place of the cluster that is here, whose files are kept beside
    #[arg(short, long)]
    force: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Command nodes with this epoch or a higher one: above the one a node says it obeys
    #[arg(long, value_name = "N")]
    epoch: Option<u64>,
    /// This machine's address, if the backup's master had another one
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,
    /// Nodes that are gone for good, with commas: they become offline
    #[arg(long, value_name = "NODES", value_delimiter = ',')]
    lost: Vec<String>,
    /// Leave the daemons stopped
    #[arg(long)]
    no_start: bool,
    /// The backup; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl ImportConfig {
    fn spec(&self, file: String, dry_run: bool) -> ImportSpec {
        ImportSpec::Backup(BackupImport {
            file,
            dry_run,
            force: self.force,
            epoch: self.epoch,
            address: self.address.map(|address| address.to_string()),
            lost: self.lost.clone(),
        })
    }

    /// Nodes look for their master at an address: it must be one of this machine.
    fn check_address(&self, text: &str) -> Outcome {
        let backup = Backup::read(text)?;
        let known: Option<IpAddr> = serde_json::from_str::<Identity>(&backup.files.identity)
            .ok()
            .and_then(|identity| identity.address.parse().ok());
        let Some(address) = self.address.or(known) else { return Ok(()) };
        if resolve::is_local(address) {
            return Ok(());
        }
        Err(Failure::say(format!(
            "{address} is not an address of this machine. The backup's master, {}, had it: give it to \
             this machine, or say with --address which one this machine has",
            backup.master
        )))
    }
}

impl Verb for ImportConfig {
    const NAME: &'static str = "import-config";
    const ABOUT: &'static str = "Makes the cluster again from a backup, on this machine";

    async fn run(self, cx: &Cx) -> Outcome {
        let text = read(&self.file)?;
        cx.io.write_out(&import(&self.spec(text.clone(), true))?)?;
        if self.dry_run {
            return Ok(());
        }
        self.check_address(&text)?;
        if !self.yes {
            let question = "This machine will lead the cluster as it was when the backup was made. Any \
                            other master of it must be gone for good. Continue?";
            confirm::require(cx, question, 1)?;
        }
        let said = import(&self.spec(text, false))?;
        for line in said.lines().filter(|line| line.starts_with("What was here")) {
            cx.note(line);
        }
        // The one that runs may be somebody else's.
        stop_daemon(cx, Daemon::Noded).await?;
        if self.no_start {
            return Ok(());
        }
        start_daemon(cx, Daemon::Noded).await?;
        start_daemon(cx, Daemon::Masterd).await?;
        start_watchers(cx).await;
        submit::run(cx, ClusterPostInit::new(), &How::default()).await?;
        cx.say("The cluster is restored. Look at it with 'gnt-cluster verify'.")
    }
}

/// Reads a text, from standard input if it is called `-`.
pub(super) fn read(path: &Path) -> Outcome<String> {
    let mut text = String::new();
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin().read_to_string(&mut text).map(drop),
        false => std::fs::read_to_string(path).map(|found| text = found),
    };
    read.map_err(|why| Failure::say(format!("cannot read {}: {why}", path.display())))?;
    Ok(text)
}

/// Lets masterd do it, or only look. Returns what it says.
pub(super) fn import(spec: &ImportSpec) -> Outcome<String> {
    let program = exec::find("roost-masterd").ok_or_else(|| {
        Failure::say(
            "cannot find the program roost-masterd: it is neither beside this one nor in PATH",
        )
    })?;
    let mut command = exec::command(&program);
    command.arg("import");
    let input = serde_json::to_vec(spec).expect("settings are plain data");
    let (status, said, errors) = exec::run_with_input(command, &input)
        .map_err(|why| Failure::say(format!("cannot run {}: {why}", program.display())))?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&said).into_owned());
    }
    Err(Failure::say(String::from_utf8_lossy(&errors).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::run_alone;
    use clap::{Command, FromArgMatches};

    fn parsed(words: &[&str]) -> ImportConfig {
        let matches = ImportConfig::augment_args(Command::new("import-config"))
            .get_matches_from(["import-config"].iter().chain(words));
        ImportConfig::from_arg_matches(&matches).expect("good options")
    }

    #[test]
    fn options_become_settings() {
        let words = ["b", "--force", "--epoch=7", "--address=192.0.2.9", "--lost=n2,n3"];
        let spec = parsed(&words).spec("text".into(), false);
        let expected = BackupImport {
            file: "text".into(),
            dry_run: false,
            force: true,
            epoch: Some(7),
            address: Some("192.0.2.9".into()),
            lost: vec!["n2".into(), "n3".into()],
        };
        assert_eq!(spec, ImportSpec::Backup(expected));
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_named() {
        let ran = run_alone("gnt-cluster import-config /no/such/backup").await;
        assert_eq!(ran.code, 1);
        assert!(ran.err.starts_with("cannot read /no/such/backup"), "{ran:?}");
    }

    #[test]
    fn the_master_needs_its_address() {
        let backup = |address: &str| {
            let identity = format!(
                "{{\"cluster\": \"{0}\", \"node\": \"{0}\", \"name\": \"n1\", \"address\": \"{address}\"}}",
                "a5c9f2f4-7a08-4c0c-9df9-e3a2d3bfca7a"
            );
            serde_json::json!({"roost_backup": 1, "release": "1", "made": 1.0, "serial": 1, "epoch": 1,
                "cluster_name": "c", "cluster_uuid": "u", "master": "n1", "digest": "", "documents": [],
                "files": {"identity": identity, "authority": "", "authority_key": "",
                    "certificate": "", "key": ""}})
            .to_string()
        };
        parsed(&["b"]).check_address(&backup("127.0.0.1")).expect("here");
        let refused = parsed(&["b"]).check_address(&backup("192.0.2.1")).expect_err("elsewhere");
        assert!(refused.text().expect("text").contains("--address"));
        parsed(&["b", "--address=127.0.0.1"]).check_address(&backup("192.0.2.1")).expect("told");
    }
}
