//! What a tool says about itself: usage, version, and what shells complete.

use super::getopt::{has_value, is_optional, value_name};
use super::personality::Entry;
use clap::{Arg, Command};
use std::fmt::Write;

/// Roost's version, where Ganeti's tools name theirs.
fn version_line(name: &str) -> String {
    format!("{name} (ganeti) version {}\n", env!("CARGO_PKG_VERSION"))
}

/// `--version`.
pub fn version(name: &str) -> String {
    let (system, machine) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("{}running on {system} {machine}\n", version_line(name))
}

/// `-p[FIELDS]`, `--print-nodes[=FIELDS]`.
fn forms(option: &Arg) -> (String, String) {
    let (mut short, mut long) = (String::new(), String::new());
    let value = value_name(option);
    let (for_short, for_long) = match (has_value(option), is_optional(option)) {
        (false, _) => (String::new(), String::new()),
        (true, true) => (format!("[{value}]"), format!("[={value}]")),
        (true, false) => (format!(" {value}"), format!("={value}")),
    };
    if let Some(letter) = option.get_short() {
        short = format!("-{letter}{for_short}");
    }
    if let Some(name) = option.get_long() {
        long = format!("--{name}{for_long}");
    }
    (short, long)
}

/// `--help`.
pub fn usage(command: &Command) -> String {
    let name = command.get_name();
    let mut text = version_line(name);
    let arguments: String = command
        .get_positionals()
        .map(|argument| format!(" [{}...]", value_name(argument)))
        .collect();
    let _ = writeln!(text, "Usage: {name} [OPTION...]{arguments}");
    let options: Vec<(&Arg, String, String)> = command
        .get_opts()
        .map(|option| {
            let (short, long) = forms(option);
            (option, short, long)
        })
        .collect();
    let widest =
        |of: fn(&(&Arg, String, String)) -> usize| options.iter().map(of).max().unwrap_or(0);
    let (left, right) = (widest(|row| row.1.len()), widest(|row| row.2.len()));
    for (option, short, long) in &options {
        let about = option.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "  {short:left$}  {long:right$}  {about}");
    }
    text
}

/// What an option's value is, in the words of Ganeti's shell completion.
fn completed(option: &Arg) -> String {
    let choices = option.get_possible_values();
    if !choices.is_empty() {
        let names: Vec<&str> = choices.iter().map(clap::builder::PossibleValue::get_name).collect();
        return format!("choices={}", names.join(","));
    }
    if !has_value(option) {
        return "none".into();
    }
    let word = match value_name(option).as_str() {
        "FILE" | "SOCKET" => "file",
        "PATH" => "dir",
        "ADDRESS" => "host",
        "N" | "SECONDS" | "SPINDLES" | "GIB" => "integer",
        "EPSILON" | "RATIO" | "DELTA" | "SCORE" | "FACTOR" => "float",
        "ID" => "onegroup",
        "NODE" => "onenode",
        "INSTS" => "manyinstances",
        "TAG,..." | "NODE,..." | "SPEC" | "STDSPEC" | "TSPEC" => "string",
        "CHOICE" => "choices=yes,no",
        "PRIO" => "choices=low,normal,high",
        "ALGORITHM" => "choices=greedy,search",
        "TEMPLATE" => "choices=blockdev,diskless,drbd,ext,file,gluster,plain,rbd,sharedfile",
        _ => "none",
    };
    word.into()
}

/// `--help-completion`.
pub fn completion(command: &Command) -> String {
    let mut text = String::new();
    for option in command.get_opts() {
        let short = option.get_short().map(|letter| format!("-{letter}"));
        let long = option.get_long().map(|name| format!("--{name}"));
        let names: Vec<String> = short.into_iter().chain(long).collect();
        let _ = writeln!(text, "{} {}", names.join(","), completed(option));
    }
    text
}

/// For a name that is none of the tools'.
pub fn unrecognised(name: &str, tools: &[Entry]) -> String {
    let mut text = format!(
        "Unrecognised personality '{name}'.\n\
         This program must be installed under one of the following names:\n"
    );
    for tool in tools {
        let mut line = format!(" {:<8} -", tool.name);
        for word in tool.about.split_whitespace() {
            if line.len() + 1 + word.len() > 79 {
                let _ = writeln!(text, "{line}");
                line = " ".repeat(11);
            }
            let _ = write!(line, " {word}");
        }
        let _ = writeln!(text, "{line}");
    }
    text.push_str(
        "\nError: Please either rename/symlink the program or set\n\
         the environment variable HTOOLS to the desired role.\n",
    );
    text
}
