//! Questions to the person at the terminal.
//!
//! They go to the session's terminal, not to standard input, so that a script which pipes
//! something into a command is never taken for an answer. Without a terminal the default is
//! taken, which is "no".

use crate::context::{Cx, Tty};
use crate::failure::{Failure, Outcome};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};

/// One of the possible answers.
#[derive(Clone, Copy, Debug)]
pub struct Choice<T> {
    /// What is typed.
    pub key: &'static str,
    /// What it means to the command.
    pub value: T,
    /// What it means, in words.
    pub text: &'static str,
}

/// Asks for one of several answers; the last one is the default.
pub fn ask<T: Copy>(cx: &Cx, question: &str, choices: &[Choice<T>]) -> T {
    let default = choices.last().expect("a question has answers").value;
    let mut keys: Vec<String> = choices.iter().map(|choice| choice.key.to_owned()).collect();
    if let Some(last) = keys.last_mut() {
        *last = format!("[{last}]");
    }
    let prompt = format!("{}/?: ", keys.join("/"));
    let mut text = format!("{}\n{prompt}", wrap(question, 70));
    loop {
        let Some(answer) = read_answer(cx, &text) else { return default };
        let answer = answer.trim().to_ascii_lowercase();
        if answer.is_empty() {
            return default;
        }
        if let Some(choice) = choices.iter().find(|choice| choice.key == answer) {
            return choice.value;
        }
        text = if answer == "?" {
            let help: String =
                choices.iter().map(|c| format!(" {} - {}\n", c.key, c.text)).collect();
            format!("{help}{prompt}")
        } else {
            prompt.clone()
        };
    }
}

/// A question to be answered with yes or no.
pub fn yes_no(cx: &Cx, question: &str) -> bool {
    let choices = [
        Choice { key: "y", value: true, text: "Yes" },
        Choice { key: "n", value: false, text: "No" },
    ];
    ask(cx, question, &choices)
}

/// Asks, and ends the command with this exit code unless the answer is yes.
pub fn require(cx: &Cx, question: &str, code: u8) -> Outcome {
    if yes_no(cx, question) { Ok(()) } else { Err(Failure::Exit(code)) }
}

/// Asks for a number below a limit; none if there is no such answer.
pub fn number(cx: &Cx, prompt: &str, limit: usize) -> Option<usize> {
    loop {
        let answer = read_answer(cx, prompt)?;
        match answer.trim() {
            "x" | "" => return None,
            text => match text.parse() {
                Ok(number) if number < limit => return Some(number),
                _ => {}
            },
        }
    }
}

/// The most names that are shown unasked.
const SHOWN: usize = 20;

/// Asks whether an operation shall work on all of these.
pub fn several(cx: &Cx, names: &[String], kind: &str, operation: &str, extra: &str) -> bool {
    #[derive(Clone, Copy, PartialEq)]
    enum Answer {
        Yes,
        View,
        No,
    }
    let question = format!(
        "The {operation} will operate on {} {kind}.{}\nDo you want to continue?",
        names.len(),
        if extra.is_empty() { String::new() } else { format!("\n{extra}") },
    );
    let affected = format!("\nAffected {kind}:\n  {}", names.join("\n  "));
    let yes = Choice { key: "y", value: Answer::Yes, text: "Yes, execute the operation" };
    let view = Choice { key: "v", value: Answer::View, text: "View the list of affected objects" };
    let no = Choice { key: "n", value: Answer::No, text: "No, abort the operation" };
    let answer = if names.len() <= SHOWN {
        ask(cx, &format!("{question}{affected}"), &[yes, no])
    } else {
        match ask(cx, &question, &[yes, view, no]) {
            Answer::View => ask(cx, &format!("{question}{affected}"), &[yes, no]),
            other => other,
        }
    };
    answer == Answer::Yes
}

/// Writes to the terminal and reads a line; nothing if there is no terminal.
fn read_answer(cx: &Cx, text: &str) -> Option<String> {
    match &cx.io.tty {
        Tty::Nobody => None,
        Tty::Script(answers, asked) => {
            asked.borrow_mut().push_str(text);
            answers.borrow_mut().pop_front()
        }
        Tty::Session => {
            let Ok(mut tty) = OpenOptions::new().read(true).write(true).open("/dev/tty") else {
                eprintln!(
                    "Not confirmed: there is no terminal to ask at (see the options -f, --yes)"
                );
                return None;
            };
            tty.write_all(text.as_bytes()).ok()?;
            let mut line = String::new();
            let read = BufReader::new(tty).read_line(&mut line).ok()?;
            (read > 0).then_some(line)
        }
    }
}

/// Wraps at word boundaries; line ends in the text stay.
fn wrap(text: &str, width: usize) -> String {
    let mut out = String::new();
    for (i, line) in text.lines().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        // Indented lines are names: they stay as they are.
        if line.starts_with(' ') {
            out.push_str(line);
            continue;
        }
        let mut used = 0;
        for word in line.split_whitespace() {
            let length = word.chars().count();
            if used > 0 && used + 1 + length > width {
                out.push('\n');
                used = 0;
            } else if used > 0 {
                out.push(' ');
                used += 1;
            }
            out.push_str(word);
            used += length;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_at_words_and_keeps_names() {
        assert_eq!(wrap("aa bb cc", 5), "aa bb\ncc");
        assert_eq!(wrap("a\n\n  long name stays", 4), "a\n\n  long name stays");
        assert_eq!(wrap("toolongword x", 4), "toolongword\nx");
    }
}
