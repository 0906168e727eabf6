//! A command of a tool: its words, its options, and what it does.

use crate::context::Cx;
use crate::failure::Outcome;
use clap::{ArgMatches, Args, Command};
use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// A command, as `add` of `gnt-instance`. Its fields are its options and arguments.
pub trait Verb: Args + 'static {
    /// Its name.
    const NAME: &'static str;
    /// Other names.
    const ALIASES: &'static [&'static str] = &[];
    /// What it does, in a line.
    const ABOUT: &'static str;

    /// Does it.
    fn run(self, cx: &Cx) -> impl Future<Output = Outcome>;
}

/// The future of a running command.
pub type Running<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// A command in a tool's table.
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// What it does, in a line.
    pub about: &'static str,
    augment: fn(Command) -> Command,
    run: for<'a> fn(&'a ArgMatches, &'a Cx) -> Running<'a>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The table entry of a command.
pub const fn entry<V: Verb>() -> Entry {
    Entry {
        name: V::NAME,
        aliases: V::ALIASES,
        about: V::ABOUT,
        augment: V::augment_args,
        run: run::<V>,
    }
}

fn run<'a, V: Verb>(matches: &'a ArgMatches, cx: &'a Cx) -> Running<'a> {
    Box::pin(async move {
        // The parser checked everything already: this cannot fail for a well-formed definition.
        let verb = V::from_arg_matches(matches)
            .map_err(|error| crate::failure::Failure::Say(error.to_string(), 2))?;
        verb.run(cx).await
    })
}

/// What every command has.
#[derive(clap::Args, Debug, Default)]
pub struct CommonOptions {
    /// More output for debugging; repeat for more
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub debug: u8,
    /// Why this is done: recorded with the job
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

impl Entry {
    /// The parser of the command.
    pub fn command(&self, tool: &'static str) -> Command {
        let command = Command::new(self.name)
            .bin_name(format!("{tool} {}", self.name))
            .infer_long_args(true)
            .args_override_self(true);
        // The options' own documentation must not stand for the command's.
        let command = CommonOptions::augment_args((self.augment)(command)).about(self.about);
        // As Ganeti: the word after an option is its value, whatever it looks like.
        command.mut_args(|arg| {
            if !arg.is_positional() && arg.get_action().takes_values() {
                arg.allow_hyphen_values(true)
            } else {
                arg
            }
        })
    }

    /// Whether this is the command of that name.
    pub fn is_named(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }

    /// Runs it.
    pub fn run<'a>(&self, matches: &'a ArgMatches, cx: &'a Cx) -> Running<'a> {
        (self.run)(matches, cx)
    }
}
