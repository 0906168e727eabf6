//! `roost-masterd`: leads a cluster, or makes a new one.

use clap::{Args, Parser, Subcommand};
use roost_masterd::daemon::Ended;
use roost_masterd::{daemon, init, restart, restore, store};
use roost_proto::error::{Error, ErrorType, Result};
use roost_proto::import::ImportSpec;
use roost_proto::init::InitSpec;
use roost_proto::paths::{Paths, ROOTDIR_ENV};
use roost_proto::store::MigrateSpec;
use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Ganeti's exit code for "not the master".
const NOT_MASTER: u8 = 11;

#[derive(Debug, Parser)]
#[command(name = "roost-masterd", version, about = "The master daemon of a Roost cluster")]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lead the cluster, or keep a copy of its state, in the foreground (the default)
    Run(Run),
    /// Make a new cluster; settings are read from standard input (JSON)
    Init,
    /// Move the cluster's state to another store; settings are read from standard input (JSON)
    MigrateStore,
    /// Remove what the cluster of this node keeps in etcd
    DestroyStore,
    /// Make a cluster of a backup or of Ganeti's configuration; settings are read from standard
    /// input (JSON)
    Import,
}

#[derive(Debug, Args)]
struct Run {
    /// Of two master candidates, how many seconds one waits for the other before it accepts changes
    /// without it
    #[arg(long, value_name = "SECONDS", default_value_t = 30, env = "ROOST_ALONE_AFTER")]
    alone_after: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("ROOST_LOG")
                .unwrap_or_else(|_| "info".into()),
        )
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let paths = Paths::new(std::env::var_os(ROOTDIR_ENV).map(Into::into));
    let result = match arguments.command {
        Some(Command::Init) => make_cluster(&paths),
        Some(Command::Import) => import(&paths),
        Some(Command::DestroyStore) => store::migrate::destroy(&paths),
        Some(Command::MigrateStore) => migrate_store(&paths),
        Some(Command::Run(run)) => serve(&paths, &run),
        None => serve(&paths, &arguments.run),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            match error.error_type {
                Some(ErrorType::WrongState) => ExitCode::from(NOT_MASTER),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn settings<T: serde::de::DeserializeOwned>() -> Result<T> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|e| Error::wrong_input(format!("The settings cannot be read: {e}")))?;
    serde_json::from_str(&text)
        .map_err(|e| Error::wrong_input(format!("The settings cannot be understood: {e}")))
}

fn make_cluster(paths: &Paths) -> Result<()> {
    init::init(paths, &settings::<InitSpec>()?).map(|_| ())
}

fn import(paths: &Paths) -> Result<()> {
    let said = restore::import(paths, &settings::<ImportSpec>()?)?;
    print!("{said}");
    Ok(())
}

fn migrate_store(paths: &Paths) -> Result<()> {
    print!("{}", store::migrate::migrate(paths, &settings::<MigrateSpec>()?)?);
    Ok(())
}

fn serve(paths: &Paths, run: &Run) -> Result<()> {
    let stop = |e: std::io::Error| Error::environment(format!("Cannot start: {e}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(stop)?;
    let alone_after = Duration::from_secs(run.alone_after);
    let ended = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let (mut term, mut int) = (
            signal(SignalKind::terminate()).map_err(stop)?,
            signal(SignalKind::interrupt()).map_err(stop)?,
        );
        let on_signal = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            tracing::info!("stopping; jobs at work go on at the next start");
            on_signal.cancel();
        });
        daemon::run(paths, alone_after, shutdown).await
    })?;
    match ended {
        Ended::Stopped => Ok(()),
        // Not even a thread of what was remains.
        Ended::StartOver => Err(restart::start_over()),
    }
}
