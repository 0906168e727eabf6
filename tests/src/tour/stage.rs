//! What the person in front of the screen sees: titles, commands before their output, findings.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::lab::{Lab, Output, code};

/// Columns a line of ours may have.
const WIDTH: usize = 88;

/// A lab and the screen its story is told on.
#[derive(Debug)]
pub struct Stage {
    /// Where it plays.
    pub lab: Lab,
    screen: Screen,
    chapters: usize,
}

/// How to write on the screen.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    colour: bool,
}

impl Screen {
    /// Standard output; in colour when a person looks at it.
    pub fn new() -> Screen {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        Screen { colour: io::stdout().is_terminal() && !plain }
    }

    fn paint(self, colour: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.into() }
    }

    /// A line of explanation.
    pub fn say(self, text: &str) {
        println!("{}", self.paint("2", text));
    }

    /// Something that was checked and holds.
    pub fn good(self, text: &str) {
        println!("{} {text}", self.paint("1;32", "✓"));
    }

    /// Something that does not hold.
    pub fn bad(self, text: &str) {
        println!("{} {text}", self.paint("1;31", "✗"));
    }

    fn title(self, text: &str) {
        let line = format!("── {text} ");
        let fill = "─".repeat(WIDTH.saturating_sub(line.chars().count()));
        println!("\n{}", self.paint("1;36", &format!("{line}{fill}")));
    }

    fn command(self, place: &str, command: &str) {
        let prompt = self.paint("32", &format!("{place}#"));
        let lines = fold(command, WIDTH - place.len());
        let lines: Vec<String> = lines.iter().map(|line| self.paint("1", line)).collect();
        println!("{prompt} {}", lines.join(" \\\n    "));
        // The command writes to the same place by itself.
        let _ = io::stdout().flush();
    }
}

impl Default for Screen {
    fn default() -> Screen {
        Screen::new()
    }
}

impl Stage {
    /// A lab to tell a story about.
    pub fn new(lab: Lab, screen: Screen) -> Stage {
        Stage { lab, screen, chapters: 0 }
    }

    /// Begins the next part.
    pub fn chapter(&mut self, title: &str) {
        self.chapters += 1;
        self.screen.title(&format!("{}. {title}", self.chapters));
    }

    /// A line of explanation.
    pub fn say(&self, text: &str) {
        self.screen.say(text);
    }

    /// A finding, after its check.
    pub fn good(&self, text: &str) {
        self.screen.good(text);
    }

    /// Shows a command, runs it on a node with its output on the screen, and fails unless it ends
    /// with code 0. Returns how many seconds it took.
    pub fn run(&self, node: &str, command: &str) -> Result<f32> {
        self.run_as(node, command, &words(command))
    }

    /// Like [`Stage::run`], where what is shown is not what is run.
    pub fn run_as(&self, node: &str, shown: &str, argv: &[&str]) -> Result<f32> {
        self.screen.command(node, shown);
        let began = Instant::now();
        let limited = [&["timeout", "--foreground", "900"], argv].concat();
        let status = self.lab.node(node)?.command(&limited)?.status();
        let code = code(status.with_context(|| format!("cannot run `{shown}` on {node}"))?);
        ensure!(code == 0, "`{shown}` on {node} ended with code {code}");
        Ok(began.elapsed().as_secs_f32())
    }

    /// Shows a command of the lab itself, to be run on the host.
    pub fn show_host(&self, command: &str) {
        self.screen.command("host", command);
    }

    /// Runs a command out of sight and returns what it said.
    pub fn quietly(&self, node: &str, command: &str) -> Result<Output> {
        Ok(self.lab.exec(node, &words(command))?)
    }

    /// Standard output, without the last line's end, of a command that must succeed.
    pub fn output(&self, node: &str, command: &str) -> Result<String> {
        let out = self.quietly(node, command)?.success(&format!("{node}: {command}"))?;
        Ok(out.trim_end().to_owned())
    }
}

fn words(command: &str) -> Vec<&str> {
    command.split_whitespace().collect()
}

/// Breaks a command at blanks where it is longer than `width`.
fn fold(command: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in command.split(' ') {
        let line = lines.last_mut().expect("it starts with one line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.len() + 1 + word.len() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.into());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_commands_are_broken_at_blanks() {
        assert_eq!(fold("a bb ccc", 20), ["a bb ccc"]);
        assert_eq!(fold("a bb ccc dddddddd e", 6), ["a bb", "ccc", "dddddddd", "e"]);
    }
}
