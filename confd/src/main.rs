//! `gnt-confd`: answers signed questions about the configuration over UDP.

use clap::Parser;
use roost_confd::answers::Answers;
use roost_confd::clock::{self, Clock};
use roost_confd::feed::{Feed, Source, ViewSink};
use roost_confd::keyring::Keyring;
use roost_confd::logging::{self, Syslog};
use roost_confd::privileges;
use roost_confd::server::{Bound, Rules, Server, Settings};
use roost_confd::status::{self, StatusFile};
use roost_confd::view::Shared;
use roost_confd::wire::{CLOCK_SKEW, PORT};
use roost_proto::error::{Error, Result};
use roost_proto::paths::{Identity, Paths, ROOTDIR_ENV};
use roost_proto::secrets::SecretFile;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Between two looks at the key.
const LOOK: Duration = Duration::from_secs(1);

/// Answers signed questions about the cluster's configuration over UDP.
#[derive(Debug, Parser)]
#[command(name = "gnt-confd", version)]
struct Arguments {
    /// Stay in the foreground. It always does; who starts it puts it into the background
    #[arg(short, long)]
    foreground: bool,
    /// Log more
    #[arg(short, long)]
    debug: bool,
    /// Log to syslog: as well (yes) or instead (only)
    #[arg(
        long, value_enum, value_name = "WHERE", num_args = 0..=1, require_equals = true,
        default_value = "no", default_missing_value = "yes"
    )]
    syslog: Syslog,
    /// UDP port
    #[arg(short, long, value_name = "PORT", default_value_t = PORT)]
    port: u16,
    /// Address to listen at; all of IPv4 (or IPv6 in clusters of that family) unless said
    #[arg(short, long, value_name = "ADDRESS")]
    bind: Option<IpAddr>,
    /// Do not change to the user of the daemon
    #[arg(long)]
    no_user_checks: bool,
    /// Change to this user instead of gnt-confd
    #[arg(long, value_name = "NAME", conflicts_with = "no_user_checks")]
    user: Option<String>,
    /// File with the key that signs questions and answers
    #[arg(long, value_name = "FILE")]
    hmac_key: Option<PathBuf>,
    /// Answer from this file in the format of Ganeti's config.data instead of this node's cluster
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Let the clock stand still at this time, seconds since 1970: for recorded questions
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    clock: Option<i64>,
    /// How far the clock of whoever asks may be from ours
    #[arg(long, value_name = "SECONDS", default_value_t = CLOCK_SKEW.unsigned_abs())]
    clock_skew: u64,
    /// Answer questions signed with HMAC-SHA256, too
    #[arg(long)]
    sha256: bool,
    /// How many sockets share the work, each with a thread; as many as there are cores, four at
    /// most, unless said
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=64))]
    sockets: Option<u8>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // An empty variable is as good as none.
    let root = std::env::var_os(ROOTDIR_ENV).filter(|dir| !dir.is_empty());
    let paths = Paths::new(root.map(PathBuf::from));
    let logs = logging::begin("gnt-confd", arguments.debug, arguments.syslog);
    match logs.and_then(|()| run(&arguments, &paths)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gnt-confd: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments, paths: &Paths) -> Result<()> {
    let address = arguments.bind.unwrap_or_else(|| usual_address(paths));
    let bound = Bound::open(Settings {
        address: SocketAddr::new(address, arguments.port),
        sockets: arguments.sockets.map_or_else(Settings::usual_sockets, usize::from),
        rules: Rules { skew: arguments.clock_skew, sha256: arguments.sha256 },
    })?;
    // Other daemons of this node's name may serve other files.
    let status = match &arguments.config {
        None => status_file(paths),
        Some(_) => None,
    };
    let user = arguments.user.as_deref().unwrap_or(privileges::USER);
    let user = Some(user).filter(|_| !arguments.no_user_checks);
    let now = privileges::drop_all(user, arguments.user.is_some())?;
    tracing::info!("listens at UDP {}, {now}", bound.address());
    // From here on there are threads, none of which may do more.
    let threads = |e| Error::environment(format!("Cannot start a thread: {e}"));
    let key = match &arguments.hmac_key {
        Some(file) => file.clone(),
        None => paths.secret(SecretFile::ConfdHmacKey),
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(threads)?;
    // Before anything is answered: whoever has an answer may end it.
    let mut signals = {
        let _of_the_runtime = runtime.enter();
        Signals::listen()?
    };
    let waits = arguments.hmac_key.is_none() && arguments.config.is_none();
    let key = match waits {
        true => runtime.block_on(key_comes(&key, &mut signals)),
        false => Some(Keyring::open(&key)?),
    };
    let Some(key) = key.map(Arc::new) else { return Ok(()) };
    let source = match &arguments.config {
        Some(file) => Source::File(file.clone()),
        None => Source::cluster(paths),
    };
    let view = Arc::new(Shared::new());
    let answers: Arc<dyn Answers> = view.clone();
    let sink = Box::new(ViewSink::new(view));
    let feed = Feed::start(source, sink).map_err(threads)?;
    let clock = arguments.clock.map_or(Clock::Machine, Clock::Frozen);
    let server = bound.serve(&answers, &key, clock)?;
    let ended = runtime.block_on(until_told(&server, &key, status.as_ref(), &mut signals));
    drop(feed);
    let address = server.address();
    let totals = server.stop()?;
    if let Some(status) = status {
        // Only a file.
        let _ = status.write(clock::seconds(), address, &totals);
    }
    let drops = Some(totals.drops()).filter(|drops| !drops.is_empty());
    tracing::info!(
        "stopped; received {}, answered {}, without an answer: {}",
        totals.received,
        totals.answered,
        drops.as_deref().unwrap_or("none")
    );
    ended
}

/// The signals that end the daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Signals> {
        let unheard =
            |e: std::io::Error| Error::environment(format!("Signals cannot be listened to: {e}"));
        let terminate = signal(SignalKind::terminate()).map_err(unheard)?;
        let interrupt = signal(SignalKind::interrupt()).map_err(unheard)?;
        Ok(Signals { terminate, interrupt })
    }

    /// Returns when one has come since they were listened to.
    async fn come(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Waits until the node's key can be read: a node that is just joining gets it a moment later, first closed to
/// everybody. None: a signal came first.
async fn key_comes(file: &Path, signals: &mut Signals) -> Option<Keyring> {
    let mut said = String::new();
    loop {
        match Keyring::open(file) {
            Ok(key) => return Some(key),
            Err(error) if error.message != said => {
                tracing::info!("{error}; waits for it, as a node that is in no cluster yet");
                said = error.message;
            }
            Err(_) => {}
        }
        tokio::select! {
            () = signals.come() => return None,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Every second a look at the key, every ten at what was done, until a signal comes.
async fn until_told(
    server: &Server,
    key: &Keyring,
    status: Option<&StatusFile>,
    signals: &mut Signals,
) -> Result<()> {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut next_status = Instant::now();
    loop {
        let tick = tokio::select! {
            () = signals.come() => return Ok(()),
            tick = ticks.tick() => tick,
        };
        key.look();
        if server.is_broken() {
            return Err(Error::internal("A thread of the server ended; the daemon ends, too"));
        }
        if let Some(status) = status.filter(|_| tick >= next_status) {
            next_status = tick + status::EVERY;
            if let Err(error) = status.write(clock::seconds(), server.address(), &server.totals()) {
                tracing::debug!("cannot write the status: {error}");
            }
        }
    }
}

/// Everywhere in the cluster's family: that of this node's primary address, which it has from the moment it joins.
fn usual_address(paths: &Paths) -> IpAddr {
    let identity = std::fs::read(paths.identity()).unwrap_or_default();
    let identity: Option<Identity> = serde_json::from_slice(&identity).ok();
    match identity.and_then(|identity| identity.address.parse().ok()) {
        Some(IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
        _ => Ipv4Addr::UNSPECIFIED.into(),
    }
}

fn status_file(paths: &Paths) -> Option<StatusFile> {
    match StatusFile::create(&paths.confd_status()) {
        Ok(file) => Some(file),
        Err(error) => {
            tracing::info!("{error}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_listens_in_the_family_of_its_node() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(Some(root.path().to_owned()));
        assert_eq!(usual_address(&paths), Ipv4Addr::UNSPECIFIED);
        std::fs::create_dir_all(paths.data_dir()).unwrap();
        for (address, expected) in [("192.0.2.1", "0.0.0.0"), ("2001:db8::1", "::")] {
            let identity = format!(
                r#"{{"cluster": "6b6f7b1c-0000-4000-8000-000000000001", "node": "6b6f7b1c-0000-4000-8000-000000000002", "name": "node1.lab", "address": "{address}"}}"#
            );
            std::fs::write(paths.identity(), identity).unwrap();
            assert_eq!(usual_address(&paths).to_string(), expected);
        }
    }
}
