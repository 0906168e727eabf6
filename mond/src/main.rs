//! `gnt-mond`: reports on a node over HTTP.
//!
//! ```text
//!   root: bind ─► start the helper ─► become nobody ─► ask confd, collect, serve ─► SIGTERM: end what is under way
//! ```

use clap::{Args, Parser, Subcommand};
use roost_confd::logging::{self, Syslog};
use roost_confd::privileges;
use roost_mond::check::Check;
use roost_mond::helper::{self, Helper};
use roost_mond::http::tls::{Files, Tls};
use roost_mond::http::{Limits, Listener, Site};
use roost_mond::plugins::Plugins;
use roost_mond::settings;
use roost_mond::world::World;
use roost_proto::error::{Error, Result};
use roost_proto::paths::{MOND_PORT, Paths, ROOTDIR_ENV};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Its name in syslog.
const PROGRAM: &str = "gnt-mond";

/// Who serves, on machines that have this user.
const USER: &str = "gnt-mond";

#[derive(Debug, Parser)]
#[command(name = "gnt-mond", version, about = "Reports on this node over HTTP")]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
    /// All files are below this directory
    #[arg(long, env = ROOTDIR_ENV, global = true, value_name = "DIR")]
    rootdir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Asks a mond, with exit codes for Nagios and Icinga
    Check(Check),
    /// What stays root; started by gnt-mond itself
    #[command(hide = true)]
    Helper {
        #[arg(long)]
        worker: bool,
    },
}

#[derive(Debug, Args)]
struct Serve {
    /// Stay in the foreground; it always does, whoever starts it puts it in the background
    #[arg(short, long)]
    foreground: bool,
    /// Log more
    #[arg(short, long)]
    debug: bool,
    /// TCP port
    #[arg(short, long, value_name = "PORT", default_value_t = MOND_PORT)]
    port: u16,
    /// Listen at this address only
    #[arg(short, long, value_name = "ADDRESS")]
    bind: Option<IpAddr>,
    /// Do not become user gnt-mond, and have no helper that stays root
    #[arg(long)]
    no_user_checks: bool,
    /// Log to syslog: as well (yes) or instead (only)
    #[arg(
        long, value_enum, value_name = "WHERE", num_args = 0..=1, require_equals = true,
        default_value = "no", default_missing_value = "yes"
    )]
    syslog: Syslog,
    /// Serve over TLS with this certificate (PEM, those that signed it behind it)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key (PEM), readable to the user that mond becomes
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // One thread: what there is to do fits into it, and gives up its rights as a whole.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_stack_size(512 << 10)
        .build();
    let done = runtime
        .map_err(|e| Error::environment(format!("No runtime can be started: {e}")))
        .and_then(|runtime| runtime.block_on(obey(arguments)));
    done.unwrap_or_else(|error| {
        eprintln!("gnt-mond: {error}");
        ExitCode::FAILURE
    })
}

async fn obey(arguments: Arguments) -> Result<ExitCode> {
    // An empty variable is as good as none.
    let paths = Paths::new(arguments.rootdir.filter(|dir| !dir.as_os_str().is_empty()));
    match arguments.command {
        None => serve(paths, arguments.serve).await.map(|()| ExitCode::SUCCESS),
        Some(Command::Check(check)) => {
            let (line, state) = check.run().await;
            println!("{line}");
            Ok(ExitCode::from(state as u8))
        }
        Some(Command::Helper { worker }) => {
            logging::begin(PROGRAM, false, Syslog::No)?;
            match worker {
                false => helper::run_keeper(paths).await,
                true => helper::run_worker(paths).await,
            }
            .map(|()| ExitCode::SUCCESS)
        }
    }
}

async fn serve(paths: Paths, options: Serve) -> Result<()> {
    logging::begin(PROGRAM, options.debug, options.syslog)?;
    let stop = stop_on_signals()?;
    let tls = match (options.tls_cert, options.tls_key) {
        (Some(certificate), Some(key)) => Some(Files { certificate, key }),
        _ => None,
    };
    let tls = tls.map(Tls::load).transpose()?;
    let listener = Listener::bind(options.bind, options.port, tls, Limits::default())?;
    let owner = nix::unistd::geteuid();
    let helper = match owner.is_root() && !options.no_user_checks {
        true => Helper::start(&paths)?,
        false => Helper::default(),
    };
    write_pid_file(&paths);
    let who = match options.no_user_checks {
        true => "keeps what rights it was started with".to_owned(),
        false => privileges::drop_all(Some(USER), false)?,
    };
    let plugins = Plugins::new(paths.collector_plugins(), owner.as_raw());
    let (schedule, settings) = settings::furnish(World::new(paths.clone(), helper), plugins);
    let site = Arc::new(Site::new(schedule, settings.known()));
    tracing::info!("mond listens at {} and {who}", listener.address()?);
    let following = tokio::spawn(settings.follow());
    listener.serve(site, stop).await;
    following.abort();
    tracing::info!("mond ends");
    Ok(())
}

fn stop_on_signals() -> Result<CancellationToken> {
    let unheard =
        |e: std::io::Error| Error::environment(format!("Signals cannot be listened to: {e}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(unheard)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(unheard)?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("told to terminate"),
            _ = interrupt.recv() => tracing::info!("interrupted"),
        }
        told.cancel();
    });
    Ok(stop)
}

/// Where there is a place for it: outside a cluster there is none, and nobody looks.
fn write_pid_file(paths: &Paths) {
    let path = paths.pid_file("mond");
    if path.parent().is_some_and(std::path::Path::is_dir)
        && let Err(error) = std::fs::write(&path, format!("{}\n", std::process::id()))
    {
        tracing::warn!("Cannot write '{}': {error}", path.display());
    }
}
