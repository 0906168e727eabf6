//! `gnt-cluster migrate-store`: from the embedded store to etcd, or back.
//!
//! ```text
//!   to etcd:   check (masterd still works) ─► ask ─► stop masterd ─► copy, compare, switch ─► start it
//!                                                        └─ failed: start it with the old store
//!   from etcd: check ─► ask ─► copy, compare, switch: masterd makes way, and notices the switch
//! ```
//!
//! On the master it copies, and all other master candidates switch by themselves; `--follow` makes one
//! switch that could not be told.

use crate::commands::daemon::{Daemon, start_daemon, stop_daemon};
use crate::confirm;
use crate::context::Cx;
use crate::exec;
use crate::failure::{Failure, Outcome};
use crate::verb::Verb;
use clap::{Args, ValueEnum};
use roost_proto::error::{Error, Result};
use roost_proto::store::{DEFAULT_TTL, EtcdSettings, MigrateSpec, StoreSettings};
use std::path::{Path, PathBuf};

/// Kinds of stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StoreKind {
    /// A database of masterd's, copied to all master candidates
    Embedded,
    /// An etcd cluster that exists already
    Etcd,
}

/// How to reach etcd.
#[derive(Args, Clone, Debug, Default)]
pub struct EtcdOptions {
    /// etcd's members, with commas: https://HOST:2379
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    etcd_endpoints: Vec<String>,
    /// Certificate of the authority that signed etcd's certificates
    #[arg(long, value_name = "FILE")]
    etcd_ca: Option<PathBuf>,
    /// Certificate for etcd
    #[arg(long, value_name = "FILE", requires = "etcd_key")]
    etcd_certificate: Option<PathBuf>,
    /// Key of the certificate for etcd
    #[arg(long, value_name = "FILE", requires = "etcd_certificate")]
    etcd_key: Option<PathBuf>,
    /// User of etcd
    #[arg(long, value_name = "NAME", requires = "etcd_password_file")]
    etcd_user: Option<String>,
    /// File with the password of the user of etcd, for root only
    #[arg(long, value_name = "FILE", requires = "etcd_user")]
    etcd_password_file: Option<PathBuf>,
    /// Seconds after which another master takes over from one that is silent
    #[arg(long, value_name = "SECONDS")]
    etcd_ttl: Option<u32>,
    /// Leave old revisions to etcd's own --auto-compaction-retention
    #[arg(long)]
    no_etcd_compaction: bool,
}

impl EtcdOptions {
    /// The settings of this store. Errors: options of etcd without etcd, or etcd without endpoints.
    pub fn settings(&self, kind: StoreKind) -> Result<StoreSettings> {
        let used = !self.etcd_endpoints.is_empty()
            || self.etcd_ca.is_some()
            || self.etcd_key.is_some()
            || self.etcd_user.is_some()
            || self.etcd_ttl.is_some()
            || self.no_etcd_compaction;
        match kind {
            StoreKind::Embedded if used => Err(Error::wrong_input(
                "Options of etcd (--etcd-…) make no sense without etcd as the store",
            )),
            StoreKind::Embedded => Ok(StoreSettings::Embedded),
            StoreKind::Etcd if self.etcd_endpoints.is_empty() => Err(Error::wrong_input(
                "Say with --etcd-endpoints where etcd is: https://HOST:2379, with commas",
            )),
            StoreKind::Etcd => Ok(StoreSettings::Etcd(EtcdSettings {
                endpoints: self.etcd_endpoints.clone(),
                ca: absolute(self.etcd_ca.as_deref())?,
                certificate: absolute(self.etcd_certificate.as_deref())?,
                key: absolute(self.etcd_key.as_deref())?,
                user: self.etcd_user.clone(),
                password_file: absolute(self.etcd_password_file.as_deref())?,
                ttl: self.etcd_ttl.unwrap_or(DEFAULT_TTL),
                compact: !self.no_etcd_compaction,
            })),
        }
    }
}

/// masterd has another working directory.
fn absolute(path: Option<&Path>) -> Result<Option<PathBuf>> {
    path.map(std::path::absolute)
        .transpose()
        .map_err(|why| Error::wrong_input(format!("A path given for etcd is wrong: {why}")))
}

/// `migrate-store`.
#[derive(Args, Debug)]
pub struct MigrateStore {
    #[command(flatten)]
    etcd: EtcdOptions,
    /// On another master candidate that did not switch by itself: only switch, nothing is copied
    #[arg(long)]
    follow: bool,
    /// Only check
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Leave masterd stopped
    #[arg(long)]
    no_start: bool,
    /// The new store
    #[arg(value_enum, value_name = "etcd|embedded")]
    to: StoreKind,
}

impl MigrateStore {
    fn spec(&self, check_only: bool) -> Result<MigrateSpec> {
        let to = self.etcd.settings(self.to)?;
        Ok(MigrateSpec { to, follow: self.follow, check_only })
    }
}

impl Verb for MigrateStore {
    const NAME: &'static str = "migrate-store";
    const ABOUT: &'static str = "Moves the cluster's state to etcd, or back";

    async fn run(self, cx: &Cx) -> Outcome {
        if self.follow {
            // It looks into a database that masterd has open.
            self.spec(true)?;
        } else {
            cx.io.write_out(&migrate(&self.spec(true)?)?)?;
        }
        if self.dry_run {
            return Ok(());
        }
        if !self.yes {
            let question = "masterd of this node is stopped and started again: for some seconds \
                            nothing can be changed. All other master candidates follow by \
                            themselves. Continue?";
            confirm::require(cx, question, 1)?;
        }
        // From etcd masterd must not stop before somebody else may lead: another node would. It makes
        // way by itself.
        if self.follow || self.to == StoreKind::Etcd {
            stop_daemon(cx, Daemon::Masterd).await?;
        }
        let done = migrate(&self.spec(false)?);
        // Whichever store counts now, the cluster goes on with it.
        match self.no_start {
            true => stop_daemon(cx, Daemon::Masterd).await?,
            false => start_daemon(cx, Daemon::Masterd).await?,
        };
        cx.io.write_out(&done?)?;
        Ok(())
    }
}

/// Lets masterd do it, or only look. Returns what to tell.
fn migrate(spec: &MigrateSpec) -> Outcome<String> {
    let input = serde_json::to_vec(spec).expect("settings are plain data");
    masterd("migrate-store", &input)
}

/// Runs a subcommand of masterd. Returns what it says.
pub(super) fn masterd(subcommand: &str, input: &[u8]) -> Outcome<String> {
    let program = exec::find("roost-masterd").ok_or_else(|| {
        Failure::say(
            "cannot find the program roost-masterd: it is neither beside this one nor in PATH",
        )
    })?;
    let mut command = exec::command(&program);
    command.arg(subcommand);
    let (status, said, errors) = exec::run_with_input(command, input)
        .map_err(|why| Failure::say(format!("cannot run {}: {why}", program.display())))?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&said).into_owned());
    }
    Err(Failure::say(String::from_utf8_lossy(&errors).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};

    fn spec(words: &[&str]) -> Result<MigrateSpec> {
        let matches = MigrateStore::augment_args(Command::new("migrate-store"))
            .try_get_matches_from(["migrate-store"].iter().chain(words))
            .map_err(|e| Error::wrong_input(e.to_string()))?;
        MigrateStore::from_arg_matches(&matches).expect("good options").spec(false)
    }

    #[test]
    fn options_become_settings() {
        let words = [
            "etcd",
            "--etcd-endpoints=https://a:2379,https://b:2379",
            "--etcd-ca=/ca",
            "--etcd-certificate=/crt",
            "--etcd-key=/key",
            "--etcd-user=roost",
            "--etcd-password-file=/pw",
            "--etcd-ttl=5",
            "--follow",
        ];
        let expected = EtcdSettings {
            endpoints: vec!["https://a:2379".into(), "https://b:2379".into()],
            ca: Some("/ca".into()),
            certificate: Some("/crt".into()),
            key: Some("/key".into()),
            user: Some("roost".into()),
            password_file: Some("/pw".into()),
            ttl: 5,
            compact: true,
        };
        let spec = spec(&words).expect("good");
        assert_eq!((spec.to, spec.follow), (StoreSettings::Etcd(expected), true));
    }

    #[test]
    fn the_embedded_store_needs_nothing() {
        assert_eq!(spec(&["embedded"]).expect("good").to, StoreSettings::Embedded);
        let error = spec(&["embedded", "--etcd-ca=/ca"]).expect_err("nonsense");
        assert!(error.message.contains("no sense"), "{error}");
    }

    #[test]
    fn etcd_needs_endpoints_and_whole_pairs() {
        let error = spec(&["etcd"]).expect_err("where is it?");
        assert!(error.message.contains("--etcd-endpoints"), "{error}");
        let place = "--etcd-endpoints=https://a:2379";
        spec(&["etcd", place, "--etcd-key=/key"]).expect_err("no certificate");
        spec(&["etcd", place, "--etcd-user=x"]).expect_err("no password");
        let relative = spec(&["etcd", place, "--etcd-ca=ca.pem"]).expect("good");
        let StoreSettings::Etcd(etcd) = relative.to else { panic!("not etcd") };
        assert!(etcd.ca.expect("given").is_absolute());
    }
}
