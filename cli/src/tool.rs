//! Finds out which tool and command is meant, and runs it.

use crate::command_log;
use crate::commands;
use crate::context::{Cx, Environment, Io};
use crate::docs;
use crate::htools;
use crate::verb::{CommonOptions, Entry};
use clap::FromArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::ffi::OsString;
use std::fmt::Write;
use std::path::Path;

/// A tool: a family of commands.
#[derive(Debug)]
pub struct Tool {
    /// Its word after `gnt`.
    pub family: &'static str,
    /// Its program name.
    pub program: &'static str,
    /// What it is about, in a line.
    pub about: &'static str,
    /// Its commands.
    pub verbs: &'static [Entry],
}

impl Tool {
    /// The command of that name.
    pub fn find(&self, name: &str) -> Option<&'static Entry> {
        self.verbs.iter().find(|verb| verb.is_named(name))
    }

    /// The list of commands.
    pub fn usage(&self) -> String {
        let mut verbs: Vec<&Entry> = self.verbs.iter().collect();
        verbs.sort_by_key(|verb| verb.name);
        let program = self.program;
        let mut text = format!(
            "Usage: {program} {{command}} [options...] [argument...]\n\
             {program} <command> --help to see details, or man {program}\n\nCommands:\n"
        );
        list(&mut text, verbs.iter().map(|verb| (verb.name, verb.about)));
        text
    }
}

/// ` name - text` lines, wrapped at 79 columns.
fn list<'a>(text: &mut String, items: impl Iterator<Item = (&'a str, &'a str)> + Clone) {
    let width = items.clone().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, about) in items {
        let mut line = format!(" {name:width$} -");
        for word in about.split_whitespace() {
            if line.len() + 1 + word.len() > 79 {
                let _ = writeln!(text, "{line}");
                line = " ".repeat(width + 3);
            }
            let _ = write!(line, " {word}");
        }
        let _ = writeln!(text, "{line}");
    }
}

fn all_usage() -> String {
    let mut text = "Usage: gnt {family} {command} [options...] [argument...]\n\
                    gnt <family> --help to see its commands\n\nFamilies:\n"
        .to_owned();
    list(&mut text, commands::TOOLS.iter().map(|tool| (tool.family, tool.about)));
    text.push_str("\nPlacement tools:\n");
    list(&mut text, htools::TOOLS.iter().map(|tool| (tool.name, tool.about)));
    text
}

fn version(program: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("{program} (ganeti v{version}) {version}\n")
}

/// Runs a command line, the program's name included; returns the exit code.
pub fn run(words: Vec<OsString>, environment: Environment, io: Io) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            io.write_err(&format!("Unhandled exception: cannot start the runtime: {error}\n"));
            return 1;
        }
    };
    runtime.block_on(run_async(words, environment, io))
}

/// The same inside a runtime.
pub async fn run_async(words: Vec<OsString>, environment: Environment, io: Io) -> u8 {
    let mut words = words.into_iter();
    let program = words.next().unwrap_or_default();
    let program = Path::new(&program)
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    if let Some(role) = htools::role(&program, &environment) {
        return htools::run(&role, words.collect(), environment, io).await;
    }
    let family = match program.as_str() {
        "daemon-util" => "daemon".to_owned(),
        program => match program.strip_prefix("gnt-") {
            Some(family) => family.to_owned(),
            None => match words.next().map(|word| word.to_string_lossy().into_owned()) {
                Some(word) if word == "--version" => return print(&io, &version("gnt"), 0),
                Some(word) if word == "--help" || word == "-h" => {
                    return print(&io, &all_usage(), 0);
                }
                Some(word) => word,
                None => return print(&io, &all_usage(), 1),
            },
        },
    };
    match family.as_str() {
        "completion" => return completion(&io, words.next()),
        "man" => return manuals(&io, words.next()),
        name if htools::find(name).is_some() => {
            return htools::run(name, words.collect(), environment, io).await;
        }
        _ => {}
    }
    let Some(tool) = commands::TOOLS.iter().find(|tool| tool.family == family) else {
        return print(&io, &all_usage(), 1);
    };
    let verb = match words.next().map(|word| word.to_string_lossy().into_owned()) {
        Some(word) if word == "--version" => return print(&io, &version(tool.program), 0),
        Some(word) if word == "--help" || word == "-h" => return print(&io, &tool.usage(), 0),
        Some(word) => tool.find(&word),
        None => None,
    };
    let Some(verb) = verb else {
        return print(&io, &tool.usage(), 1);
    };
    run_verb(tool, verb, words.collect(), environment, io).await
}

/// `gnt completion SHELL`: for the shell to read.
fn completion(io: &Io, shell: Option<OsString>) -> u8 {
    let shell = shell.and_then(|shell| shell.to_string_lossy().parse().ok());
    let Some(shell) = shell else {
        io.write_err("Usage: gnt completion bash|zsh|fish\n");
        return 2;
    };
    let mut text = Vec::new();
    docs::completions(shell, &mut text);
    print(io, &String::from_utf8_lossy(&text), 0)
}

/// `gnt man DIR`: writes manual pages.
fn manuals(io: &Io, dir: Option<OsString>) -> u8 {
    let Some(dir) = dir else {
        io.write_err("Usage: gnt man DIRECTORY\n");
        return 2;
    };
    match docs::manuals(Path::new(&dir)) {
        Ok(()) => 0,
        Err(why) => {
            io.write_err(&format!("cannot write manual pages: {why}\n"));
            1
        }
    }
}

fn print(io: &Io, text: &str, code: u8) -> u8 {
    match io.write_out(text) {
        Ok(()) => code,
        Err(failure) => failure.code(),
    }
}

async fn run_verb(
    tool: &'static Tool,
    verb: &'static Entry,
    words: Vec<OsString>,
    environment: Environment,
    io: Io,
) -> u8 {
    let paths = roost_proto::paths::Paths::new(environment.root.clone());
    command_log::record(&paths, tool.program, verb.name, &words);
    let mut all = vec![OsString::from(verb.name)];
    all.extend(list_defaults(tool, verb, &environment));
    all.extend(words);
    let mut command = verb.command(tool.program);
    let matches = match command.try_get_matches_from_mut(all) {
        Ok(matches) => matches,
        Err(error) => return refuse(&io, tool, verb, &command, &error),
    };
    let mut cx = Cx::new(tool.program, verb.name, environment, io);
    if let Ok(common) = CommonOptions::from_arg_matches(&matches) {
        cx.debug = common.debug;
        cx.reason = common.reason;
    }
    let ended = verb.run(&matches, &cx).await;
    if let Some(master) = cx.copy_of() {
        cx.note(format_args!(
            "Note: this node's copy of the configuration has answered; what runs is known to the \
             master, {master}."
        ));
    }
    match ended {
        Ok(()) => 0,
        Err(failure) => {
            if let Some(text) = failure.text() {
                cx.note(text);
            }
            failure.code()
        }
    }
}

/// The words that `GNT_INSTANCE_LIST` and the like put in front.
fn list_defaults(tool: &Tool, verb: &Entry, environment: &Environment) -> Vec<OsString> {
    if verb.name != "list" {
        return Vec::new();
    }
    let name = format!("GNT_{}_LIST", tool.family.to_ascii_uppercase());
    environment
        .list_defaults
        .iter()
        .filter(|(key, _)| *key == name)
        .flat_map(|(_, value)| crate::values::shell_split(value))
        .map(OsString::from)
        .collect()
}

/// Prints what is wrong with a command line. Help is no error; a wrong number of arguments has an
/// exit code other than that of a wrong option, as in Ganeti.
fn refuse(io: &Io, tool: &Tool, verb: &Entry, command: &clap::Command, error: &clap::Error) -> u8 {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return print(io, &error.render().to_string(), 0);
        }
        ErrorKind::MissingRequiredArgument => {
            if let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg)
                && missing.iter().any(|word| word.starts_with('-'))
            {
                return wrong_option(io, tool, error);
            }
        }
        ErrorKind::UnknownArgument => {
            if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg)
                && word.starts_with('-')
            {
                return wrong_option(io, tool, error);
            }
        }
        _ => return wrong_option(io, tool, error),
    }
    io.write_err(&format!("Error: Command {} {}\n", verb.name, expected_arguments(command)));
    1
}

fn wrong_option(io: &Io, tool: &Tool, error: &clap::Error) -> u8 {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    io.write_err(&format!("{}: error: {text}", tool.program));
    2
}

/// How many arguments a command takes, in Ganeti's words.
fn expected_arguments(command: &clap::Command) -> String {
    let mut required = 0;
    let mut optional = 0;
    let mut unlimited = false;
    for arg in command.get_positionals() {
        if arg.is_required_set() {
            required += 1;
        } else {
            optional += 1;
        }
        unlimited |= arg.get_num_args().is_some_and(|range| range.max_values() > 1)
            || matches!(arg.get_action(), clap::ArgAction::Append);
    }
    match (required, optional, unlimited) {
        (n, _, true) => format!("expects at least {n} argument(s)"),
        (0, 0, false) => "expects no arguments".to_owned(),
        (n, 0, false) => format!("expects {n} argument(s)"),
        (n, m, false) => format!("expects only {} argument(s)", n + m),
    }
}
