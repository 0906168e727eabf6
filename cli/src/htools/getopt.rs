//! Command lines as `getopt_long` reads them, which is what scripts around these tools are written for.
//!
//! clap knows the options and their values; it does not know values that only count when they are attached
//! (`-pname`, `-C/tmp/moves`, `-L` and then something else). So words are first brought into one form:
//!
//! ```text
//!   -vC/tmp/moves -t FILE --mi=1  ──►  --verbose --print-commands=/tmp/moves --text-data=FILE --min-score=1
//! ```

use clap::{Arg, ArgAction, Command};
use std::ffi::{OsStr, OsString};

/// A command line in one form.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// `--name` or `--name=value`, whole names.
    pub options: Vec<OsString>,
    pub arguments: Vec<OsString>,
}

/// What an option does with the word behind it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Value {
    None,
    Attached,
    Required,
}

fn value_of(option: &Arg) -> Value {
    if matches!(option.get_action(), ArgAction::Set | ArgAction::Append) {
        match option.get_num_args() {
            Some(range) if range.min_values() == 0 => Value::Attached,
            _ => Value::Required,
        }
    } else {
        Value::None
    }
}

/// How an option's value is called in messages.
pub fn value_name(option: &Arg) -> String {
    let name = option.get_value_names().and_then(<[_]>::first);
    name.map_or_else(|| "ARG".to_owned(), ToString::to_string)
}

/// Whether the option's value only counts when it is attached.
pub fn is_optional(option: &Arg) -> bool {
    value_of(option) == Value::Attached
}

/// Whether the option has a value at all.
pub fn has_value(option: &Arg) -> bool {
    value_of(option) != Value::None
}

/// Brings a command line into one form. Errors: a line for everything that is wrong with it.
pub fn read(command: &Command, words: Vec<OsString>) -> Result<Words, Vec<String>> {
    let mut read = Words::default();
    let mut errors = vec![];
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy().into_owned();
        if text == "--" {
            read.arguments.extend(words);
            break;
        }
        let result = if let Some(long) = text.strip_prefix("--") {
            read_long(command, long, &mut words).map(|option| read.options.push(option))
        } else if text.len() > 1 && text.starts_with('-') {
            read_short(command, &text[1..], &mut words, &mut read.options, &mut errors)
        } else {
            read.arguments.push(word);
            Ok(())
        };
        errors.extend(result.err());
    }
    if errors.is_empty() { Ok(read) } else { Err(errors) }
}

fn joined(name: &str, value: &OsStr) -> OsString {
    let mut word = OsString::from(format!("--{name}="));
    word.push(value);
    word
}

fn plain(name: &str) -> OsString {
    OsString::from(format!("--{name}"))
}

/// `name` or `name=value`; the name may be the beginning of only one.
fn read_long(
    command: &Command,
    text: &str,
    rest: &mut impl Iterator<Item = OsString>,
) -> Result<OsString, String> {
    let (typed, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let named = |option: &Arg| option.get_long() == Some(typed);
    let begins = |option: &Arg| option.get_long().is_some_and(|long| long.starts_with(typed));
    let mut found: Vec<&Arg> = command.get_opts().filter(|option| named(option)).collect();
    if found.is_empty() {
        found = command.get_opts().filter(|option| begins(option)).collect();
    }
    let option = match found.as_slice() {
        [] => return Err(format!("unrecognized option `--{typed}'")),
        [option] => *option,
        several => {
            let names: Vec<String> =
                several.iter().filter_map(|o| o.get_long()).map(|n| format!("--{n}")).collect();
            return Err(format!(
                "option `--{typed}' is ambiguous; could be one of: {}",
                names.join(" ")
            ));
        }
    };
    let name = option.get_long().unwrap_or_default();
    match (value_of(option), value) {
        (Value::None, Some(_)) => Err(format!("option `--{name}' doesn't allow an argument")),
        (Value::None | Value::Attached, None) => Ok(plain(name)),
        (_, Some(value)) => Ok(joined(name, OsStr::new(value))),
        (Value::Required, None) => match rest.next() {
            Some(value) => Ok(joined(name, &value)),
            None => Err(format!("option `--{name}' requires an argument {}", value_name(option))),
        },
    }
}

/// Several letters in one word; the rest of it, or the next word, may be a value.
fn read_short(
    command: &Command,
    letters: &str,
    rest: &mut impl Iterator<Item = OsString>,
    options: &mut Vec<OsString>,
    errors: &mut Vec<String>,
) -> Result<(), String> {
    for (at, letter) in letters.char_indices() {
        let attached = &letters[at + letter.len_utf8()..];
        let Some(option) = command.get_opts().find(|option| option.get_short() == Some(letter))
        else {
            errors.push(format!("unrecognized option `-{letter}'"));
            continue;
        };
        let name = option.get_long().unwrap_or_default();
        match value_of(option) {
            Value::None => options.push(plain(name)),
            Value::Attached if attached.is_empty() => options.push(plain(name)),
            Value::Required if attached.is_empty() => match rest.next() {
                Some(value) => options.push(joined(name, &value)),
                None => {
                    return Err(format!(
                        "option `-{letter}' requires an argument {}",
                        value_name(option)
                    ));
                }
            },
            Value::Attached | Value::Required => {
                options.push(joined(name, OsStr::new(attached)));
                return Ok(());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        Command::new("hx")
            .arg(Arg::new("a").short('v').long("verbose").action(ArgAction::Count))
            .arg(Arg::new("p").short('p').long("print-nodes").num_args(0..=1))
            .arg(Arg::new("t").short('t').long("text-data").value_name("FILE"))
            .arg(Arg::new("s").long("min-score").value_name("EPSILON"))
            .arg(Arg::new("g").long("min-gain").value_name("DELTA"))
            .arg(Arg::new("l").long("min-gain-limit").value_name("SCORE"))
    }

    fn words(line: &str) -> Result<(String, String), Vec<String>> {
        let words = read(&command(), line.split_whitespace().map(OsString::from).collect())?;
        let join = |words: Vec<OsString>| {
            words.iter().map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ")
        };
        Ok((join(words.options), join(words.arguments)))
    }

    #[test]
    fn all_forms_become_one() {
        let (options, arguments) =
            words("-vp+name one -tFILE -v --min-s 1 --text=x -p two -- -v").expect("good");
        let expected = "--verbose --print-nodes=+name --text-data=FILE --verbose --min-score=1 \
                        --text-data=x --print-nodes";
        assert_eq!(options, expected);
        assert_eq!(arguments, "one two -v");
        assert_eq!(words("--min-gain 1").expect("whole names win").0, "--min-gain=1");
        assert_eq!(words("-l").expect_err("there is no -l"), ["unrecognized option `-l'"]);
        assert_eq!(words("- -t -v").expect("values").0, "--text-data=-v");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, message) in [
            (
                "--mi 3",
                "option `--mi' is ambiguous; could be one of: --min-score --min-gain --min-gain-limit",
            ),
            ("--nonsense", "unrecognized option `--nonsense'"),
            ("--verbose=3", "option `--verbose' doesn't allow an argument"),
            ("-t", "option `-t' requires an argument FILE"),
            ("--min-score", "option `--min-score' requires an argument EPSILON"),
        ] {
            assert_eq!(words(line).expect_err(line), [message]);
        }
        assert_eq!(
            words("-v5 -x").expect_err("two"),
            ["unrecognized option `-5'", "unrecognized option `-x'"]
        );
    }
}
