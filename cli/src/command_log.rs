//! The log of commands: who administers a cluster can look up what was typed, and when.

use crate::clock;
use crate::values::shell_quote;
use roost_proto::opcodes::REDACTED;
use roost_proto::paths::Paths;
use std::ffi::OsString;
use std::io::Write;

/// Options whose values nobody shall read later.
const SECRET: [&str; 2] = ["--os-parameters-private", "--os-parameters-secret"];

/// Appends a line about a command that is about to run. Where there is no log directory, or no
/// right to write there, there is no cluster to be answerable for.
pub fn record(paths: &Paths, tool: &str, verb: &str, words: &[OsString]) {
    let path = paths.log_file("commands");
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    if let Ok(mut file) = file {
        let nanos = clock::now_nanos();
        let time = clock::stamp_micros(nanos / 1_000_000_000, (nanos / 1_000 % 1_000_000) as u32);
        let line = format!(
            "{time}: {tool} {verb} pid={} INFO run with arguments '{}'\n",
            std::process::id(),
            printable(words)
        );
        // In one write, so that lines of several commands do not mix.
        let _ = file.write_all(line.as_bytes());
    }
}

/// The words as a shell would take them, without secrets.
fn printable(words: &[OsString]) -> String {
    let mut hide_next = false;
    let words = words.iter().map(|word| {
        let word = word.to_string_lossy();
        if std::mem::take(&mut hide_next) {
            return REDACTED.to_owned();
        }
        // Options may be abbreviated: whatever may become a secret one is taken for one.
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word.as_ref(), None),
        };
        let is_secret = name.len() > "--os-parameters".len()
            && SECRET.iter().any(|option| option.starts_with(name));
        match (is_secret, value) {
            (true, Some(_)) => format!("{name}={REDACTED}"),
            (true, None) => {
                hide_next = true;
                name.to_owned()
            }
            (false, _) => shell_quote(&word).replace('\n', "\\n"),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(
            printable(&words(&["-O", "a=1", "--os-parameters-secret", "b=2", "web 1"])),
            "-O a=1 --os-parameters-secret <redacted> 'web 1'"
        );
        assert_eq!(
            printable(&words(&["--os-parameters-p=x=1", "--os-parameters=y=2"])),
            "--os-parameters-p=<redacted> --os-parameters=y=2"
        );
    }

    #[test]
    fn lines_are_appended_where_there_is_a_log_directory() {
        let root = tempfile::tempdir().expect("temporary directory");
        let paths = Paths::new(Some(root.path().to_owned()));
        record(&paths, "gnt-job", "list", &[]);
        assert!(!paths.log_file("commands").exists());
        std::fs::create_dir_all(paths.log_dir()).expect("directory");
        record(&paths, "gnt-job", "list", &[OsString::from("7")]);
        let text = std::fs::read_to_string(paths.log_file("commands")).expect("a log");
        assert!(text.ends_with(" INFO run with arguments '7'\n"), "{text}");
        assert!(text.contains(": gnt-job list pid="), "{text}");
    }
}
