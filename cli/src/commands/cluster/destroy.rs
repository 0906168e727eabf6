//! `gnt-cluster destroy`.

use crate::commands::daemon::{Daemon, stop_daemon};
use crate::context::Cx;
use crate::failure::{Failure, Outcome};
use crate::submit::{self, How};
use crate::verb::Verb;
use clap::Args;
use roost_proto::paths::Paths;
use std::io::ErrorKind;
use std::path::PathBuf;

/// `destroy`.
#[derive(Args, Debug)]
pub struct Destroy {
    /// Confirms it
    #[arg(long, visible_alias = "ya-rly")]
    yes_do_it: bool,
}

impl Verb for Destroy {
    const NAME: &'static str = "destroy";
    const ABOUT: &'static str = "Destroys the cluster";

    async fn run(self, cx: &Cx) -> Outcome {
        if !self.yes_do_it {
            return Err(Failure::say(
                "Destroying a cluster is irreversible. If you really want destroy this cluster, \
                 supply the --yes-do-it option.",
            ));
        }
        submit::run(cx, roost_proto::opcodes::ClusterDestroy::new(), &How::default()).await?;
        for daemon in [Daemon::Mond, Daemon::Confd, Daemon::Masterd] {
            stop_daemon(cx, daemon).await?;
        }
        if cx.paths.data_dir().join("store.json").exists()
            && let Err(why) = super::migrate_store::masterd("destroy-store", &[])
        {
            let why = why.text().unwrap_or_default();
            cx.note(format_args!("Warning: what the cluster has in etcd is not removed: {why}"));
        }
        stop_daemon(cx, Daemon::Noded).await?;
        for path in remains(&cx.paths) {
            let removed = match path.is_dir() {
                true => std::fs::remove_dir_all(&path),
                false => std::fs::remove_file(&path),
            };
            if let Err(why) = removed
                && why.kind() != ErrorKind::NotFound
            {
                cx.note(format_args!("Warning: cannot remove {}: {why}", path.display()));
            }
        }
        Ok(())
    }
}

/// What a cluster leaves on its master: state, identity, keys, published values.
fn remains(paths: &Paths) -> Vec<PathBuf> {
    let database = paths.database();
    let beside = |suffix: &str| {
        let mut name = database.clone().into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    };
    let mut remains = vec![
        beside("-wal"),
        beside("-shm"),
        database.clone(),
        paths.data_dir().join("store.json"),
        paths.identity(),
        paths.authority(),
        paths.authority_key(),
        paths.certificate(),
        paths.key(),
        paths.noded_dir(),
        paths.master_socket(),
        paths.published_config(),
        paths.config_feed(),
    ];
    let published = std::fs::read_dir(paths.data_dir()).into_iter().flatten().flatten();
    remains.extend(
        published
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("ssconf_"))
            .map(|entry| entry.path()),
    );
    remains
}
