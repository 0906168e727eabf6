//! A placement tool: its name, its options, what it does; and how a command line becomes one.

use super::{getopt, help};
use crate::context::{Cx, Environment, Io};
use crate::failure::{Failure, Outcome};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command};
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// A tool, as `hbal`. Its fields are its options, and positional ones its arguments.
///
/// An option needs a long name. One whose value may be left away has `num_args = 0..=1`,
/// `require_equals = true` and a `default_missing_value`.
pub trait Tool: Args + 'static {
    /// Its name.
    const NAME: &'static str;
    /// What it is, for the list of tools.
    const ABOUT: &'static str;

    /// Does it. [`Failure::Exit`] is an exit code without further words.
    fn run(self, cx: &Cx) -> impl Future<Output = Outcome>;
}

type Running<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// A tool in the table.
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    augment: fn(Command) -> Command,
    run: for<'a> fn(&'a ArgMatches, &'a Cx) -> Running<'a>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The table entry of a tool.
pub const fn entry<T: Tool>() -> Entry {
    Entry { name: T::NAME, about: T::ABOUT, augment: T::augment_args, run: run::<T> }
}

fn run<'a, T: Tool>(matches: &'a ArgMatches, cx: &'a Cx) -> Running<'a> {
    Box::pin(async move {
        // The parser checked everything already: this cannot fail for a well-formed definition.
        let tool = T::from_arg_matches(matches).map_err(|e| Failure::Say(e.to_string(), 2))?;
        tool.run(cx).await
    })
}

fn flag(name: &'static str, about: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(about)
}

impl Entry {
    /// The parser of the tool.
    pub fn command(&self) -> Command {
        (self.augment)(Command::new(self.name))
            .about(self.about)
            .bin_name(self.name)
            .disable_help_flag(true)
            .disable_version_flag(true)
            .args_override_self(true)
            .arg(flag("version", "Show the version of the program").short('V'))
            .arg(flag("help", "Show help").short('h'))
            .arg(flag("help-completion", "Show what shells need for completion"))
    }

    /// Runs a command line, without the program's name; returns the exit code.
    pub async fn run(&self, words: Vec<OsString>, environment: Environment, io: Io) -> u8 {
        let cx = Cx::new(self.name, self.name, environment, io);
        match self.try_run(words, &cx).await {
            Ok(()) => 0,
            Err(failure) => {
                if let Some(text) = failure.text() {
                    cx.note(text);
                }
                failure.code()
            }
        }
    }

    async fn try_run(&self, words: Vec<OsString>, cx: &Cx) -> Outcome {
        let command = self.command();
        let words = getopt::read(&command, words).map_err(|errors| {
            let name = self.name;
            let text = format!(
                "Command line error: {}\n\n'{name} --help' lists the options.",
                errors.join("\n")
            );
            Failure::Say(text, 2)
        })?;
        let asked = |option: &str| words.options.iter().any(|word| word.as_os_str() == option);
        if asked("--help") {
            return cx.io.write_out(&help::usage(&command));
        }
        if asked("--version") {
            return cx.io.write_out(&help::version(self.name));
        }
        if asked("--help-completion") {
            return cx.io.write_out(&help::completion(&command));
        }
        if command.get_positionals().next().is_none() && !words.arguments.is_empty() {
            return Err(Failure::say("Error: This program doesn't take any arguments."));
        }
        let mut all = vec![OsString::from(self.name)];
        all.extend(words.options);
        all.push("--".into());
        all.extend(words.arguments);
        let matches = command.try_get_matches_from(all).map_err(refuse)?;
        (self.run)(&matches, cx).await
    }
}

/// What is wrong with an option's value, in the words of who reads it.
fn refuse(error: clap::Error) -> Failure {
    let why = match (error.kind(), error.source()) {
        (ErrorKind::ValueValidation, Some(source)) => source.to_string(),
        _ => {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        }
    };
    Failure::say(format!("Error while parsing command line arguments:\n{why}"))
}
