//! On the host: runs a command in a machine as if it ran here, with its standard streams, exit code
//! and environment. What `nsenter` is for nodes that are namespaces.

use std::io::{self, IsTerminal as _, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};

use super::super::error::{Error, Result};
use super::wire::{Frame, Request};

/// The hidden subcommand of `gnt-lab` that is the client.
pub const SUBCOMMAND: &str = "machine-exec";
/// The agent answers at once, unless its machine is stopped or has far too much to do.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a command and returns its exit code.
pub fn run(node: &str, socket: &Path, argv: &[String]) -> Result<i32> {
    let terminal = terminal();
    let environment = std::env::vars().collect();
    let mut stream = connect(node, socket)?;
    let run = Request::Run { argv: argv.to_vec(), environment, terminal };
    let lost = |e| lost(node, e);
    Frame::Request(run).send(&mut stream).map_err(lost)?;
    let _raw = terminal.map(|_| Raw::begin());
    let mut input = stream.try_clone().map_err(lost)?;
    if terminal.is_none() && io::stdin().is_terminal() {
        // Somebody else's: a pager's, or that of whoever put us into the background.
        Frame::Data(0, Vec::new()).send(&mut input).map_err(lost)?;
    } else {
        send_input(input);
    }
    loop {
        match Frame::receive(&mut stream).map_err(lost)? {
            // A reader that left gets no more, as a pipe would have it.
            Frame::Data(1, bytes) => put(&mut io::stdout(), &bytes),
            Frame::Data(_, bytes) => put(&mut io::stderr(), &bytes),
            Frame::Exit(code) => return Ok(code),
            Frame::Refused(why) => return Err(Error::Invalid(format!("{node}: {why}"))),
            _ => {}
        }
    }
}

fn put(to: &mut impl Write, bytes: &[u8]) {
    if to.write_all(bytes).and_then(|()| to.flush()).is_err() {
        // The agent kills the command when its client leaves.
        std::process::exit(141);
    }
}

fn send_input(mut to: UnixStream) {
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let n = io::stdin().read(&mut buffer).unwrap_or(0);
            if Frame::Data(0, buffer[..n].to_vec()).send(&mut to).is_err() || n == 0 {
                break;
            }
        }
    });
}

/// A file's contents.
pub fn read(node: &str, socket: &Path, path: &str) -> Result<Vec<u8>> {
    let mut stream = connect(node, socket)?;
    let lost = |e| lost(node, e);
    Frame::Request(Request::Read { path: path.into() }).send(&mut stream).map_err(lost)?;
    let mut all = Vec::new();
    loop {
        match Frame::receive(&mut stream).map_err(lost)? {
            Frame::Data(_, bytes) => all.extend(bytes),
            Frame::Exit(_) => return Ok(all),
            other => return Err(refused(node, path, other)),
        }
    }
}

/// Replaces a file.
pub fn write(node: &str, socket: &Path, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
    let mut stream = connect(node, socket)?;
    let lost = |e| lost(node, e);
    let mut frames = vec![Frame::Request(Request::Write { path: path.into(), mode })];
    frames.extend(bytes.chunks(64 << 10).map(|chunk| Frame::Data(0, chunk.to_vec())));
    frames.push(Frame::Data(0, Vec::new()));
    for frame in frames {
        frame.send(&mut stream).map_err(lost)?;
    }
    match Frame::receive(&mut stream).map_err(lost)? {
        Frame::Exit(_) => Ok(()),
        other => Err(refused(node, path, other)),
    }
}

fn refused(node: &str, path: &str, answer: Frame) -> Error {
    let why = if let Frame::Refused(why) = answer { why } else { format!("{answer:?}") };
    Error::Invalid(format!("{node}: {path}: {why}"))
}

/// A connection to an agent that lives.
fn connect(node: &str, socket: &Path) -> Result<UnixStream> {
    // Whoever listens there dies with the machine.
    let mut stream =
        UnixStream::connect(socket).map_err(|_| Error::NodeDown { node: node.into() })?;
    let hello = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| {
        let hello = Frame::receive(&mut stream)?;
        stream.set_read_timeout(None).map(|()| hello)
    });
    match hello {
        Ok(Frame::Hello) => Ok(stream),
        Ok(other) => Err(Error::Invalid(format!("{node}'s agent said {other:?}"))),
        Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            let hint = ": is it frozen, or out of memory? its console is in init.log of its folder";
            Err(Error::Timeout {
                what: format!("an answer of {node}"),
                seconds: PATIENCE.as_secs(),
                hint: hint.into(),
            })
        }
        Err(e) => Err(lost(node, e)),
    }
}

fn lost(node: &str, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => Error::PowerLost { node: node.into() },
        _ => Error::Io { what: format!("cannot talk to {node}'s agent"), source: error },
    }
}

/// Rows and columns of our terminal, if we are the one it is for.
fn terminal() -> Option<(u16, u16)> {
    let ours = || tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp());
    let all = io::stdin().is_terminal() && io::stdout().is_terminal() && ours();
    let size = || {
        let argv = ["stty", "size"];
        let mut stty = super::super::exec::command(&argv);
        stty.stdin(std::process::Stdio::inherit());
        let said = super::super::exec::collect(stty, &argv).ok()?.stdout;
        let (rows, columns) = said.trim().split_once(' ')?;
        Some((rows.parse().ok()?, columns.parse().ok()?))
    };
    all.then(|| size().unwrap_or((24, 80)))
}

/// Our terminal hands on every key; as it was again when dropped.
struct Raw(Option<Termios>);

impl Raw {
    fn begin() -> Raw {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(mut raw) = before.clone() {
            cfmakeraw(&mut raw);
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &raw);
        }
        Raw(before)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, before);
        }
    }
}

/// Turns a connection to the agent into one to a UNIX socket inside; ours is closed where it
/// cannot.
pub fn become_socket<S: Read + Write>(stream: &mut S, path: &str) -> io::Result<()> {
    let refused = |frame| Err(io::Error::other(format!("{frame:?}")));
    match Frame::receive(stream)? {
        Frame::Hello => Frame::Request(Request::Connect { path: path.into() }).send(stream)?,
        other => return refused(other),
    }
    match Frame::receive(stream)? {
        Frame::Exit(0) => Ok(()),
        other => refused(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Shutdown;

    #[test]
    fn a_machine_without_power_is_told_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent.sock");
        let dead = read("node1", &socket, "/x").unwrap_err();
        assert!(matches!(dead, Error::NodeDown { .. }), "{dead}");

        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let dies = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            Frame::Hello.send(&mut stream).unwrap();
            let _ = Frame::receive(&mut stream);
            stream.shutdown(Shutdown::Both).unwrap();
        });
        let lost = read("node1", &socket, "/x").unwrap_err();
        assert!(matches!(lost, Error::PowerLost { .. }), "{lost}");
        dies.join().unwrap();
    }
}
