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

/// How wide a terminal is taken to be.
const WIDTH: usize = 80;
/// Forms of options that are longer than this stand in a line of their own.
const LONGEST_FORM: usize = 26;

/// Words in lines of at most [`WIDTH`], all but the first with `indent` blanks in front; the first has `begun`
/// characters already.
fn wrapped(words: &str, begun: usize, indent: usize) -> String {
    let (mut text, mut at) = (String::new(), begun);
    for word in words.split_whitespace() {
        let length = word.chars().count();
        if at > indent && at + 1 + length > WIDTH {
            text.push('\n');
            text.push_str(&" ".repeat(indent));
            at = indent;
        } else if at > indent {
            text.push(' ');
            at += 1;
        }
        text.push_str(word);
        at += length;
    }
    text
}

/// What an option is for, and what it is when it is not given.
fn purpose(option: &Arg) -> String {
    let about = option.get_help().map(ToString::to_string).unwrap_or_default();
    match option.get_default_values() {
        [default, ..] if has_value(option) => {
            format!("{about} [default: {}]", default.to_string_lossy())
        }
        _ => about,
    }
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
    if let Some(about) = command.get_about() {
        let _ = writeln!(text, "\n{}\n", wrapped(&format!("{name}: {about}."), 0, 0));
    }
    let options: Vec<(&Arg, String, String)> = command
        .get_opts()
        .map(|option| {
            let (short, long) = forms(option);
            (option, short, long)
        })
        .collect();
    let widest =
        |of: fn(&(&Arg, String, String)) -> usize| options.iter().map(of).max().unwrap_or(0);
    let left = widest(|row| row.1.len());
    let right = widest(|row| row.2.len()).min(LONGEST_FORM);
    let indent = left + right + 6;
    for (option, short, long) in &options {
        let mut line = format!("  {short:left$}  {long:right$}  ");
        if line.len() > indent {
            let _ = writeln!(text, "{}", line.trim_end());
            line = " ".repeat(indent);
        }
        let _ = writeln!(text, "{line}{}", wrapped(&purpose(option), indent, indent));
    }
    text
}

/// What an option's value is, in the words of Ganeti's shell completion.
fn completed(option: &Arg) -> &'static str {
    if !has_value(option) {
        return "none";
    }
    match value_name(option).as_str() {
        "FILE" | "SOCKET" => "file",
        "PATH" => "dir",
        "ADDRESS" => "host",
        "N" | "SPINDLES" => "integer",
        "EPSILON" | "RATIO" | "DELTA" | "SCORE" | "FACTOR" | "SECONDS" => "float",
        "ID" => "onegroup",
        "NODE" => "onenode",
        "INSTS" => "manyinstances",
        "NODE,..." => "manynodes",
        "TAG,..." | "SPEC" | "MIX" | "SIZE" | "REASON" => "string",
        "CHOICE" => "choices=yes,no",
        "PRIO" => "choices=low,normal,high",
        "ALGORITHM" => "choices=greedy,search",
        "TEMPLATE" => "choices=blockdev,diskless,drbd,ext,file,gluster,plain,rbd,sharedfile",
        _ => "none",
    }
}

/// The same of arguments, with how many there are at least and at most.
fn completed_argument(argument: &Arg) -> &'static str {
    match value_name(argument).as_str() {
        "FILE" => "file 1 1",
        "CLUSTER" => "host 0 none",
        _ => "none 0 none",
    }
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
    for argument in command.get_positionals() {
        let _ = writeln!(text, "{}", completed_argument(argument));
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
        let line = format!(" {:<8} - ", tool.name);
        let about = wrapped(tool.about, line.len(), line.len());
        let _ = writeln!(text, "{line}{about}");
    }
    text.push_str(
        "\nError: Please either rename/symlink the program or set\n\
         the environment variable HTOOLS to the desired role.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::htools::TOOLS;

    #[test]
    fn help_fits_a_terminal_and_names_defaults() {
        for tool in TOOLS {
            let text = usage(&tool.command());
            for line in text.lines() {
                assert!(line.chars().count() <= WIDTH, "{}: {line}", tool.name);
                assert_eq!(line, line.trim_end(), "{}", tool.name);
            }
        }
        let text = |name: &str| {
            let tool = TOOLS.iter().find(|tool| tool.name == name).expect("a tool");
            (usage(&tool.command()), completion(&tool.command()))
        };
        let (help, words) = text("hbal");
        let flat = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            flat.contains("Usage: hbal [OPTION...] hbal: cluster balancer that looks"),
            "{help}"
        );
        assert!(flat.contains("[default: 1e-9] -g DELTA"), "{help}");
        assert!(!flat.contains("[default: false]"), "{help}");
        assert!(words.contains("-E,--evac-mode none\n-"), "{words}");
        assert!(words.contains("--priority choices=low,normal,high\n"), "{words}");
        assert!(!words.contains("true,false"), "{words}");
        let (help, words) = text("hail");
        let alone = "--restrict-allocation-to=NODE,...\n          ";
        assert!(help.contains(alone), "{help}");
        assert!(words.ends_with("--help-completion none\nfile 1 1\n"), "{words}");
    }
}
