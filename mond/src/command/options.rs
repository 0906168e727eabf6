//! Options of `mon-collector`: as GNU's `getopt` reads them, and how they are explained.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::PathBuf;

/// A collector that can be asked, and what can be said besides.
#[derive(Debug)]
pub struct Command {
    pub name: &'static str,
    options: &'static [Spec],
}

/// An option; all of the collectors' own have a value.
#[derive(Debug)]
struct Spec {
    key: Key,
    short: Option<char>,
    long: &'static str,
    /// What stands for the value in the help; none: it has no value.
    value: Option<&'static str>,
    /// What a shell may complete it with.
    kind: &'static str,
    about: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    File,
    Status,
    Pairing,
    Instances,
    Address,
    Port,
    Version,
    Help,
    Completion,
}

const fn option(
    key: Key,
    short: char,
    long: &'static str,
    value: &'static str,
    kind: &'static str,
    about: &'static str,
) -> Spec {
    Spec { key, short: Some(short), long, value: Some(value), kind, about }
}

const fn flag(key: Key, short: Option<char>, long: &'static str, about: &'static str) -> Spec {
    Spec { key, short, long, value: None, kind: "none", about }
}

const ADDRESS: Spec =
    option(Key::Address, 'a', "address", "IP", "host", "ask the confd at this address");
const PORT: Spec = option(Key::Port, 'p', "port", "PORT", "integer", "UDP port of confd");

/// All commands have these.
const GENERAL: [Spec; 3] = [
    flag(Key::Version, Some('V'), "version", "show the version of this program"),
    flag(Key::Help, Some('h'), "help", "show this text"),
    flag(Key::Completion, None, "help-completion", "list the options for shells"),
];

/// Those of the reference.
pub const COMMANDS: [Command; 4] = [
    Command {
        name: "diskstats",
        options: &[option(
            Key::File,
            'f',
            "file",
            "FILE",
            "file",
            "read this instead of /proc/diskstats",
        )],
    },
    Command {
        name: "drbd",
        options: &[
            option(
                Key::Status,
                's',
                "drbd-status",
                "FILE",
                "file",
                "read this instead of /proc/drbd",
            ),
            option(
                Key::Pairing,
                'p',
                "drbd-pairing",
                "FILE",
                "file",
                "whose the minors are, instead of confd's answer: [[node, minor, instance, disk, role, peer], …]",
            ),
        ],
    },
    Command { name: "inst-status-xen", options: &[ADDRESS, PORT] },
    Command {
        name: "lv",
        options: &[
            option(
                Key::File,
                'f',
                "file",
                "FILE",
                "file",
                "read this instead of the output of lvs",
            ),
            ADDRESS,
            PORT,
            option(
                Key::Instances,
                'i',
                "instances",
                "FILE",
                "file",
                "instances and their disks, instead of confd's answers: [[instance, [disk, …]], …]",
            ),
        ],
    },
];

/// All others.
pub const OTHER: Command = Command { name: "", options: &[ADDRESS, PORT] };

/// What was said.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub file: Option<PathBuf>,
    pub drbd_status: Option<PathBuf>,
    pub drbd_pairing: Option<PathBuf>,
    pub instances: Option<PathBuf>,
    pub address: Option<IpAddr>,
    pub port: Option<u16>,
    /// What is no option.
    pub arguments: Vec<String>,
}

/// What is wanted.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    Run(Options),
    Help,
    Version,
    Completion,
}

/// Reads what stands behind the name of a collector. Errors: a sentence. As with `getopt`, options and others may
/// be mixed up to `--`, and a long name may be shortened as long as it is the only one that begins so.
pub fn parse(command: &Command, args: &[String]) -> Result<Parsed, String> {
    let mut options = Options::default();
    let mut said = vec![];
    let mut args = args.iter().cloned();
    while let Some(arg) = args.next() {
        if arg == "--" {
            options.arguments.extend(args.by_ref());
        } else if let Some(long) = arg.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            let option = command.long(name)?;
            match (option.value, value) {
                (None, Some(_)) => {
                    return Err(format!("option `--{}' doesn't allow an argument", option.long));
                }
                (None, None) => said.push(option.key),
                (Some(what), value) => {
                    let value = value.or_else(|| args.next());
                    let missing =
                        || format!("option `--{}' requires an argument {what}", option.long);
                    options.set(option.key, value.ok_or_else(missing)?)?;
                }
            }
        } else if let Some(letters) = arg.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            let mut letters = letters.chars();
            while let Some(letter) = letters.next() {
                let option = command.all().find(|option| option.short == Some(letter));
                let option = option.ok_or_else(|| format!("unrecognized option `-{letter}'"))?;
                let Some(what) = option.value else {
                    said.push(option.key);
                    continue;
                };
                let rest = Some(letters.as_str().to_owned()).filter(|rest| !rest.is_empty());
                let missing = || format!("option `-{letter}' requires an argument {what}");
                options.set(option.key, rest.or_else(|| args.next()).ok_or_else(missing)?)?;
                break;
            }
        } else {
            options.arguments.push(arg);
        }
    }
    let wants = |key| said.contains(&key);
    Ok(match () {
        () if wants(Key::Help) => Parsed::Help,
        () if wants(Key::Version) => Parsed::Version,
        () if wants(Key::Completion) => Parsed::Completion,
        () => Parsed::Run(options),
    })
}

impl Options {
    fn set(&mut self, key: Key, value: String) -> Result<(), String> {
        match key {
            Key::File => self.file = Some(value.into()),
            Key::Status => self.drbd_status = Some(value.into()),
            Key::Pairing => self.drbd_pairing = Some(value.into()),
            Key::Instances => self.instances = Some(value.into()),
            Key::Address => {
                let address =
                    value.parse().map_err(|_| format!("`{value}' is not an IP address"))?;
                self.address = Some(address);
            }
            Key::Port => {
                let port = value.parse().map_err(|_| format!("`{value}' is not a port"))?;
                self.port = Some(port);
            }
            Key::Version | Key::Help | Key::Completion => {}
        }
        Ok(())
    }
}

impl Command {
    fn all(&self) -> impl Iterator<Item = &Spec> {
        self.options.iter().chain(&GENERAL)
    }

    fn long(&self, name: &str) -> Result<&Spec, String> {
        if let Some(option) = self.all().find(|option| option.long == name) {
            return Ok(option);
        }
        let mut alike = self.all().filter(|option| option.long.starts_with(name));
        match (alike.next(), alike.next()) {
            (Some(option), None) => Ok(option),
            (None, _) => Err(format!("unrecognized option `--{name}'")),
            (Some(_), Some(_)) => Err(format!("option `--{name}' is ambiguous")),
        }
    }

    /// What `--help` prints.
    pub fn help(&self, program: &str) -> String {
        let rows: Vec<_> = self.all().map(|option| (option.words(), option.about)).collect();
        let width = rows.iter().map(|row| row.0.len()).max().unwrap_or(0);
        let version = env!("CARGO_PKG_VERSION");
        let mut text = format!("{program} {version}\nUsage: {program} [OPTION...]\n");
        for (words, about) in rows {
            // Writing to memory does not fail.
            let _ = writeln!(text, "  {words:width$}  {about}");
        }
        text
    }

    /// What `--help-completion` prints: options and what they take.
    pub fn completion(&self) -> String {
        let line = |option: &Spec| {
            let short = option.short.map_or(String::new(), |short| format!("-{short},"));
            format!("{short}--{} {}\n", option.long, option.kind)
        };
        self.all().map(line).collect()
    }
}

impl Spec {
    fn words(&self) -> String {
        let value = self.value.unwrap_or_default();
        let blank = if value.is_empty() { "" } else { " " };
        let equals = if value.is_empty() { "" } else { "=" };
        let short = self.short.map_or("    ".into(), |short| format!("-{short}{blank}{value}  "));
        format!("{short}--{}{equals}{value}", self.long)
    }
}

/// What is printed when no collector is named.
pub fn usage(program: &str, names: &[String]) -> String {
    let mut names: Vec<_> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    let width = names.iter().map(|name| name.len()).max().unwrap_or(0);
    let mut text = format!(
        "Usage: {program} {{command}} [options...] [argument...]\n\
         {program} <command> --help to see details, or man {program}\n\nCommands:\n"
    );
    for name in names {
        let _ =
            writeln!(text, " {name:width$} - prints what the collector {name} reports, as JSON");
    }
    text
}

/// What `--version` prints.
pub fn version(program: &str) -> String {
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("{program} {}\nrunning on {os} {arch}\n", env!("CARGO_PKG_VERSION"))
}
