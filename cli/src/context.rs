//! What a running command has at hand: the environment, standard files, the connection.

use crate::client::Client;
use crate::failure::{Failure, Outcome};
use roost_proto::paths::{Paths, ROOTDIR_ENV};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use tokio::sync::OnceCell;

/// What the process was given by its environment.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Where everything is.
    pub root: Option<PathBuf>,
    /// `FORCE_LUXI_SOCKET`: `master`, `query`, or a socket's path.
    pub socket: Option<String>,
    /// `HTOOLS`: which of the placement tools `htools` is.
    pub htools: Option<String>,
    /// `GNT_INSTANCE_LIST` and the like: words before those of a list command.
    pub list_defaults: Vec<(String, String)>,
}

impl Environment {
    /// That of this process.
    pub fn from_process() -> Environment {
        let lists = ["GNT_NODE_LIST", "GNT_GROUP_LIST", "GNT_INSTANCE_LIST"];
        Environment {
            root: std::env::var_os(ROOTDIR_ENV).map(PathBuf::from),
            socket: std::env::var("FORCE_LUXI_SOCKET").ok(),
            htools: std::env::var("HTOOLS").ok(),
            list_defaults: lists
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
                .collect(),
        }
    }
}

/// Where questions are asked.
#[derive(Debug)]
pub enum Tty {
    /// The terminal of the session, if it has one.
    Session,
    /// Nobody is there: the default is taken.
    Nobody,
    /// Answers prepared by a test, and what was asked.
    Script(RefCell<VecDeque<String>>, RefCell<String>),
}

/// Standard files, replaceable in tests.
pub struct Io {
    out: RefCell<Box<dyn Write>>,
    err: RefCell<Box<dyn Write>>,
    /// A person watches: progress lines make sense.
    pub watched: bool,
    /// Where questions go.
    pub tty: Tty,
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Io").field("watched", &self.watched).finish_non_exhaustive()
    }
}

impl Io {
    /// Those of the process.
    pub fn standard() -> Io {
        let watched = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        Io::new(Box::new(std::io::stdout()), Box::new(std::io::stderr()), watched, Tty::Session)
    }

    /// Any others.
    pub fn new(out: Box<dyn Write>, err: Box<dyn Write>, watched: bool, tty: Tty) -> Io {
        Io { out: RefCell::new(out), err: RefCell::new(err), watched, tty }
    }

    /// Writes to standard output. A reader that went away ends the command.
    pub fn write_out(&self, text: &str) -> Outcome {
        let mut out = self.out.borrow_mut();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(|_| Failure::Exit(1))
    }

    /// Writes to standard error; there is nobody to tell if that fails.
    pub fn write_err(&self, text: &str) {
        let mut err = self.err.borrow_mut();
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }
}

/// A running command's context.
#[derive(Debug)]
pub struct Cx {
    /// The tool, as `gnt-instance`.
    pub tool: &'static str,
    /// The command's name.
    pub verb: &'static str,
    /// Where things are.
    pub paths: Paths,
    /// The process's environment.
    pub environment: Environment,
    /// How often `-d` was given.
    pub debug: u8,
    /// `--reason`.
    pub reason: Option<String>,
    /// Standard files.
    pub io: Io,
    client: OnceCell<Client>,
}

impl Cx {
    /// A context without options.
    pub fn new(tool: &'static str, verb: &'static str, environment: Environment, io: Io) -> Cx {
        let paths = Paths::new(environment.root.clone());
        let client = OnceCell::new();
        Cx { tool, verb, paths, environment, debug: 0, reason: None, io, client }
    }

    /// The connection to the master, made at first use.
    pub async fn client(&self) -> Outcome<&Client> {
        self.client.get_or_try_init(|| Client::connect(&self.paths, &self.environment)).await
    }

    /// The same where masterd listens elsewhere; it has to be asked for first. Empty: at its usual place.
    pub async fn client_at(&self, socket: &str) -> Outcome<&Client> {
        if socket.is_empty() {
            return self.client().await;
        }
        let environment = Environment { socket: Some(socket.into()), ..self.environment.clone() };
        self.client.get_or_try_init(|| Client::connect(&self.paths, &environment)).await
    }

    /// The name of the master, if what was told comes from a copy of its state.
    pub fn copy_of(&self) -> Option<&str> {
        self.client.get().and_then(Client::copy_of)
    }

    /// A line on standard output.
    pub fn say(&self, line: impl fmt::Display) -> Outcome {
        self.io.write_out(&format!("{line}\n"))
    }

    /// A line on standard error.
    pub fn note(&self, line: impl fmt::Display) {
        self.io.write_err(&format!("{line}\n"));
    }
}

/// Prints a formatted line on standard output: `say!(cx, "x = {x}")`.
#[macro_export]
macro_rules! say {
    ($cx:expr, $($arg:tt)*) => { $cx.say(format_args!($($arg)*))? };
}

/// Prints a formatted line on standard error.
#[macro_export]
macro_rules! note {
    ($cx:expr, $($arg:tt)*) => { $cx.note(format_args!($($arg)*)) };
}
