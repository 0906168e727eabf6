//! `roost-noded`: the node daemon, and the command by which a machine joins a cluster.

use clap::{Parser, Subcommand};
use roost_noded::join::{self, Token};
use roost_noded::{Noded, Options, daemon};
use roost_proto::error::{Error, Result};
use roost_proto::paths::{Paths, ROOTDIR_ENV};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[derive(Debug, Parser)]
#[command(name = "roost-noded", version, about = "The node daemon of Roost")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// All files are below this directory.
    #[arg(long, env = ROOTDIR_ENV, global = true, value_name = "DIR")]
    rootdir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the daemon in the foreground (the default).
    Run {
        /// Where it listens, instead of the address it joined with.
        #[arg(long, value_name = "ADDRESS[:PORT]")]
        listen: Option<String>,
    },
    /// Makes this machine a node of a cluster.
    Join {
        /// What `gnt-node add` printed on the master.
        token: String,
        /// Also if this machine was a node of that cluster before.
        #[arg(long)]
        force: bool,
    },
    /// Forgets a cluster that is no more.
    Leave,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("ROOST_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match obey(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("roost-noded: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn obey(arguments: Arguments) -> Result<()> {
    // An empty variable is as good as none.
    let paths = Paths::new(arguments.rootdir.filter(|dir| !dir.as_os_str().is_empty()));
    match arguments.command.unwrap_or(Command::Run { listen: None }) {
        Command::Run { listen } => run(paths, listen).await,
        Command::Join { token, force } => {
            let identity = join::join(&paths, &Token::parse(&token)?, force).await?;
            println!(
                "This machine is now node {} of cluster {}. Start its daemons: gnt daemon start-all",
                identity.name, identity.cluster
            );
            Ok(())
        }
        Command::Leave => join::wipe(&paths),
    }
}

async fn run(paths: Paths, listen: Option<String>) -> Result<()> {
    let unheard =
        |e: std::io::Error| Error::environment(format!("Signals cannot be listened to: {e}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(unheard)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(unheard)?;
    let handle = Noded::start(Options { listen, ..Options::new(paths.clone()) }).await?;
    daemon::write_pid_file(&paths)?;
    let stop = handle.stopper();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("told to terminate"),
            _ = interrupt.recv() => tracing::info!("interrupted"),
        }
        stop.cancel();
    });
    handle.ended().await?;
    // Only a file: whoever starts noded next writes it anew.
    let _ = std::fs::remove_file(paths.pid_file("noded"));
    Ok(())
}
