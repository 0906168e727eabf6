//! Where log lines go: standard error, or syslog.

use roost_proto::error::{Error, Result};
use std::io::{self, IsTerminal, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Where syslog listens.
const SYSLOG: &str = "/dev/log";
/// The facility of daemons.
const DAEMON: u8 = 3 << 3;

/// Logs from now on. `ROOST_LOG` says what; else what an operator wants to read, or more. Errors: there is no syslog.
pub fn begin(more: bool, syslog: bool) -> Result<()> {
    let usual = if more { "debug" } else { "info" };
    let filter = EnvFilter::try_from_env("ROOST_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    let lines = tracing_subscriber::fmt().with_env_filter(filter);
    if syslog {
        let failed = |e| Error::environment(format!("Cannot log to syslog at {SYSLOG}: {e}"));
        let socket = UnixDatagram::unbound().map_err(failed)?;
        socket.connect(SYSLOG).map_err(failed)?;
        // A syslog that stands still costs lines, not answers.
        socket.set_nonblocking(true).map_err(failed)?;
        let lines = lines.without_time().with_level(false).with_ansi(false);
        lines.with_writer(Syslog(Arc::new(socket))).init();
    } else {
        lines.with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).init();
    }
    Ok(())
}

#[derive(Debug)]
struct Syslog(Arc<UnixDatagram>);

/// One line.
#[derive(Debug)]
struct Message {
    to: Arc<UnixDatagram>,
    severity: u8,
}

impl<'a> MakeWriter<'a> for Syslog {
    type Writer = Message;

    fn make_writer(&'a self) -> Message {
        Message { to: Arc::clone(&self.0), severity: 6 }
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> Message {
        let severity = match *about.level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        Message { severity, ..self.make_writer() }
    }
}

impl Write for Message {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let head = format!("<{}>gnt-mond[{}]: ", DAEMON | self.severity, std::process::id());
        let message = [head.as_bytes(), text.trim_ascii_end()].concat();
        // There is nowhere to say that it is lost.
        let _ = self.to.send(&message);
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
    fn lines_reach_syslog_as_it_wants_them() {
        let dir = tempfile::tempdir().unwrap();
        let log = UnixDatagram::bind(dir.path().join("log")).unwrap();
        let to = UnixDatagram::unbound().unwrap();
        to.connect(dir.path().join("log")).unwrap();
        let lines = tracing_subscriber::fmt().without_time().with_level(false).with_ansi(false);
        let lines = lines.with_target(false).with_writer(Syslog(Arc::new(to))).finish();
        tracing::subscriber::with_default(lines, || tracing::warn!("something"));
        let mut text = [0; 200];
        let n = log.recv(&mut text).unwrap();
        let expected = format!("<28>gnt-mond[{}]: something", std::process::id());
        assert_eq!(std::str::from_utf8(&text[..n]).unwrap(), expected);
    }
}
