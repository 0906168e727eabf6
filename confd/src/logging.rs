//! Where log lines go: standard error, syslog or both.

use clap::ValueEnum;
use roost_proto::error::{Error, Result};
use std::io::{self, IsTerminal, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Where syslog listens.
const SYSLOG: &str = "/dev/log";
/// Its number for daemons.
const DAEMON: u8 = 3;

/// Whether lines go to syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Syslog {
    /// To standard error
    No,
    /// To both
    Yes,
    /// To syslog
    Only,
}

/// Begins to log; in syslog lines are `program`'s. The variable `ROOST_LOG` says what, otherwise `debug`. Errors: there
/// is no syslog.
pub fn begin(program: &'static str, debug: bool, syslog: Syslog) -> Result<()> {
    let usual = if debug { "debug" } else { "info" };
    let filter = EnvFilter::try_from_env("ROOST_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    let stderr = (syslog != Syslog::Only).then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
            .boxed()
    });
    let syslog = match syslog {
        Syslog::No => None,
        Syslog::Yes | Syslog::Only => {
            // syslog has its own time, level and name.
            let lines = tracing_subscriber::fmt::layer().with_ansi(false).without_time();
            let lines = lines.with_level(false).with_target(false);
            Some(lines.with_writer(ToSyslog::connect(SYSLOG, program)?).boxed())
        }
    };
    tracing_subscriber::registry().with(filter).with(stderr).with(syslog).init();
    Ok(())
}

/// Writes each line as a message of syslog.
#[derive(Clone, Debug)]
struct ToSyslog {
    socket: Arc<UnixDatagram>,
    program: &'static str,
}

impl ToSyslog {
    fn connect(path: &str, program: &'static str) -> Result<ToSyslog> {
        let failed = |e: io::Error| {
            Error::environment(format!("Cannot log to syslog at {path}: {e}; is it running?"))
        };
        let socket = UnixDatagram::unbound().map_err(failed)?;
        socket.connect(path).map_err(failed)?;
        // A syslog that hangs must not hang the daemon.
        socket.set_nonblocking(true).map_err(failed)?;
        Ok(ToSyslog { socket: Arc::new(socket), program })
    }
}

impl<'a> MakeWriter<'a> for ToSyslog {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { socket: self.socket.clone(), program: self.program, severity: 6 }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line {
        let severity = match *meta.level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        Line { severity, ..self.make_writer() }
    }
}

struct Line {
    socket: Arc<UnixDatagram>,
    program: &'static str,
    severity: u8,
}

impl Write for Line {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let (priority, program) = (DAEMON * 8 + self.severity, self.program);
        let head = format!("<{priority}>{program}[{}]: ", std::process::id());
        // There is nobody to tell that a line is lost.
        let _ = self.socket.send(&[head.as_bytes(), text.trim_ascii_end()].concat());
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_message_with_its_level() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = UnixDatagram::bind(&path).unwrap();
        let lines = tracing_subscriber::fmt::layer().with_ansi(false).without_time();
        let lines = lines.with_level(false).with_target(false);
        let to = ToSyslog::connect(path.to_str().unwrap(), "gnt-confd").unwrap();
        let subscriber = tracing_subscriber::registry().with(lines.with_writer(to));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!("the key is old");
            tracing::info!("good");
        });
        let mut room = [0; 200];
        for (severity, text) in [(28, "the key is old"), (30, "good")] {
            let length = log.recv(&mut room).unwrap();
            let pid = std::process::id();
            let expected = format!("<{severity}>gnt-confd[{pid}]: {text}");
            assert_eq!(std::str::from_utf8(&room[..length]).unwrap(), expected);
        }
    }

    #[test]
    fn no_syslog_is_said() {
        let error = ToSyslog::connect("/nonexistent/log", "gnt-confd").unwrap_err();
        assert!(error.message.contains("is it running?"), "{error}");
    }
}
