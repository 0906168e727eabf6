//! What a provider's directory has, and whether that is what a provider must have.
//!
//! ```text
//!   create attach detach remove grow setinfo verify    needed      executable
//!   snapshot open close                                possible    executable
//!   parameters.list                                    needed      `name description` a line
//!   timeouts.list                                      possible    `script seconds` a line
//! ```
//!
//! `timeouts.list` is ours: a provider that knows its storage says how long a script may take.

use crate::script::Script;
use nix::unistd::{AccessFlags, access};
use roost_proto::error::{Error, Result};
use roost_proto::node::ExtReport;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file that names a provider's parameters.
pub(crate) const PARAMETERS: &str = "parameters.list";
/// The file that says how long scripts may take.
pub(crate) const TIMEOUTS: &str = "timeouts.list";

/// A usable provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    pub name: String,
    pub dir: PathBuf,
    /// (name, description).
    pub parameters: Vec<(String, String)>,
    /// Those of its scripts that not every provider has.
    optional: Vec<Script>,
    limits: BTreeMap<Script, Duration>,
}

impl Provider {
    /// The provider of a name on a search path. Errors: none of that name, not valid.
    pub fn find(search: &[PathBuf], name: &str) -> Result<Provider> {
        if !is_name(name) {
            return Err(Error::wrong_input(format!(
                "'{name}' is not a name of an external storage provider"
            )));
        }
        let dirs: Vec<String> = search.iter().map(|dir| dir.display().to_string()).collect();
        match search.iter().map(|dir| dir.join(name)).find(|dir| dir.is_dir()) {
            Some(dir) => Provider::read(name, &dir).map_err(|problems| {
                Error::environment(format!(
                    "External storage provider '{name}' is not valid on this node: {}",
                    problems.join("; ")
                ))
            }),
            None => Err(Error::environment(format!(
                "External storage provider '{name}' is not on this node; install it below one of {}",
                dirs.join(", ")
            ))),
        }
    }

    /// The provider in a directory. Errors: everything that is wrong with it.
    pub fn read(name: &str, dir: &Path) -> std::result::Result<Provider, Vec<String>> {
        let mut problems = vec![];
        let mut optional = vec![];
        for script in Script::ALL {
            match executable(dir, script) {
                Ok(true) if !script.is_needed() => optional.push(script),
                Ok(false) if script.is_needed() => {
                    problems.push(format!("its script '{script}' is missing"));
                }
                Ok(_) => {}
                Err(problem) => problems.push(problem),
            }
        }
        let parameters = parameters(dir).unwrap_or_else(|problem| {
            problems.push(problem);
            vec![]
        });
        let limits = limits(dir).unwrap_or_else(|problem| {
            problems.push(problem);
            BTreeMap::new()
        });
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Provider { name: name.to_owned(), dir: dir.to_owned(), parameters, optional, limits })
    }

    /// Whether it has the script.
    pub fn has(&self, script: Script) -> bool {
        script.is_needed() || self.optional.contains(&script)
    }

    /// How long the script may take.
    pub fn limit(&self, script: Script) -> Duration {
        self.limits.get(&script).copied().unwrap_or_else(|| script.usual_limit())
    }

    /// The same with one limit for all scripts that have none of their own that is shorter.
    #[must_use]
    pub fn limited(mut self, limit: Duration) -> Provider {
        for script in Script::ALL {
            let limit = self.limit(script).min(limit);
            self.limits.insert(script, limit);
        }
        self
    }

    /// Whether it takes these parameters. Errors name those it has.
    pub fn check_parameters<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> Result<()> {
        let known = |name: &str| self.parameters.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        let unknown: Vec<&str> =
            names.into_iter().map(String::as_str).filter(|name| !known(name)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let own: Vec<&str> = self.parameters.iter().map(|(name, _)| name.as_str()).collect();
        Err(Error::wrong_input(format!(
            "External storage provider '{}' has no parameters {}; its '{PARAMETERS}' has: {}",
            self.name,
            unknown.join(", "),
            if own.is_empty() { "none".to_owned() } else { own.join(", ") }
        )))
    }
}

/// Every provider on the search path, valid or not; of several with one name the first.
pub fn report(search: &[PathBuf]) -> Vec<ExtReport> {
    let mut found = BTreeMap::new();
    for base in search {
        let Ok(entries) = fs::read_dir(base) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_name(&name) && entry.path().is_dir() {
                found.entry(name).or_insert(entry.path());
            }
        }
    }
    let one = |(name, dir): (String, PathBuf)| {
        let path = dir.to_string_lossy().into_owned();
        match Provider::read(&name, &dir) {
            Ok(provider) => ExtReport {
                name,
                path,
                valid: true,
                problem: String::new(),
                parameters: provider.parameters,
            },
            Err(problems) => {
                ExtReport { name, path, problem: problems.join("; "), ..ExtReport::default() }
            }
        }
    };
    found.into_iter().map(one).collect()
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0'])
}

/// Whether the script is there. Errors: it is, and cannot be run.
fn executable(dir: &Path, script: Script) -> std::result::Result<bool, String> {
    let path = dir.join(script.as_str());
    match fs::metadata(&path) {
        Ok(meta) if !meta.is_file() => Err(format!("its '{script}' is not a regular file")),
        Ok(_) if access(&path, AccessFlags::X_OK).is_err() => {
            Err(format!("its script '{script}' is not executable (chmod +x)"))
        }
        Ok(_) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(format!("its script '{script}' cannot be looked at: {e}")),
    }
}

fn parameters(dir: &Path) -> std::result::Result<Vec<(String, String)>, String> {
    let text = match fs::read_to_string(dir.join(PARAMETERS)) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(format!("its '{PARAMETERS}' is missing (it may be empty)"));
        }
        Err(e) => return Err(format!("its '{PARAMETERS}' cannot be read: {e}")),
    };
    let mut all: Vec<(String, String)> = vec![];
    for (number, line) in lines(&text) {
        let (name, about) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if !name.chars().all(fits) {
            return Err(format!(
                "line {number} of its '{PARAMETERS}' begins with '{name}', which cannot be the \
                 name of a parameter"
            ));
        }
        if all.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return Err(format!("its '{PARAMETERS}' has the parameter '{name}' twice"));
        }
        all.push((name.to_owned(), about.trim_start().to_owned()));
    }
    Ok(all)
}

fn limits(dir: &Path) -> std::result::Result<BTreeMap<Script, Duration>, String> {
    let text = match fs::read_to_string(dir.join(TIMEOUTS)) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(format!("its '{TIMEOUTS}' cannot be read: {e}")),
    };
    let read = |(number, line): (usize, &str)| {
        let (name, seconds) = line.split_once(char::is_whitespace)?;
        let seconds = seconds.trim().parse().ok().filter(|seconds| *seconds > 0)?;
        let _: usize = number;
        Some((Script::named(name)?, Duration::from_secs(seconds)))
    };
    lines(&text)
        .map(|line| {
            read(line).ok_or_else(|| {
                format!("line {} of its '{TIMEOUTS}' is not a script and seconds", line.0)
            })
        })
        .collect()
}

/// Numbered lines with something in them; `#` begins a comment.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(n, line)| (n + 1, line.trim()));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A provider whose scripts all do nothing, in `base/name`.
    pub(crate) fn make(base: &Path, name: &str) -> PathBuf {
        let dir = base.join(name);
        fs::create_dir_all(&dir).expect("directory");
        for script in Script::ALL {
            put(&dir, script.as_str(), "#!/bin/sh\n", 0o755);
        }
        put(&dir, PARAMETERS, "dir where it is\n\n# a comment\nmode\n", 0o644);
        dir
    }

    fn put(dir: &Path, name: &str, text: &str, mode: u32) {
        fs::write(dir.join(name), text).expect("write");
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode)).expect("mode");
    }

    #[test]
    fn the_first_on_the_path_counts() {
        let root = tempfile::tempdir().expect("directory");
        let search = [root.path().join("none"), root.path().join("a"), root.path().join("b")];
        let first = make(&search[1], "san");
        make(&search[2], "san");
        make(&search[2], "other");
        let provider = Provider::find(&search, "san").expect("valid");
        assert_eq!(provider.dir, first);
        let parameters = [("dir", "where it is"), ("mode", "")];
        assert_eq!(provider.parameters, parameters.map(|(n, d)| (n.to_owned(), d.to_owned())));
        let all = report(&search);
        let names: Vec<&str> = all.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["other", "san"]);
        assert!(all.iter().all(|found| found.valid));
        let error = Provider::find(&search, "nas").expect_err("there is none");
        assert!(error.message.contains("install it below one of"), "{error}");
        Provider::find(&search, "../b/san").expect_err("not a name");
    }

    #[test]
    fn everything_wrong_is_named() {
        let root = tempfile::tempdir().expect("directory");
        let dir = make(root.path(), "bad");
        for optional in ["open", "close", "snapshot"] {
            fs::remove_file(dir.join(optional)).expect("remove");
        }
        assert!(!Provider::read("bad", &dir).expect("valid").has(Script::Open));
        fs::remove_file(dir.join("grow")).expect("remove");
        put(&dir, "attach", "#!/bin/sh\n", 0o644);
        put(&dir, "snapshot", "#!/bin/sh\n", 0o644);
        fs::remove_file(dir.join("verify")).expect("remove");
        fs::create_dir(dir.join("verify")).expect("directory");
        fs::remove_file(dir.join(PARAMETERS)).expect("remove");
        put(&dir, TIMEOUTS, "attach soon\n", 0o644);
        assert_eq!(
            Provider::read("bad", &dir).expect_err("not valid"),
            [
                "its script 'attach' is not executable (chmod +x)",
                "its script 'grow' is missing",
                "its 'verify' is not a regular file",
                "its script 'snapshot' is not executable (chmod +x)",
                "its 'parameters.list' is missing (it may be empty)",
                "line 1 of its 'timeouts.list' is not a script and seconds",
            ]
        );
        let found = report(&[root.path().to_owned()]);
        assert!(!found[0].valid && found[0].problem.contains("'grow' is missing; its 'verify'"));
        let error = Provider::find(&[root.path().to_owned()], "bad").expect_err("not valid");
        assert!(error.message.starts_with("External storage provider 'bad' is not valid"));
    }

    #[test]
    fn parameters_have_names() {
        let root = tempfile::tempdir().expect("directory");
        let dir = make(root.path(), "p");
        for (text, why) in [
            ("a b\nA c\n", "has the parameter 'A' twice"),
            ("a b\n\nx=y\n", "line 3 of its 'parameters.list' begins with 'x=y'"),
        ] {
            put(&dir, PARAMETERS, text, 0o644);
            let problems = Provider::read("p", &dir).expect_err(text);
            assert!(problems[0].contains(why), "{problems:?}");
        }
        fs::write(dir.join(PARAMETERS), [0xff, 0xfe]).expect("write");
        let problems = Provider::read("p", &dir).expect_err("not text");
        assert!(problems[0].contains("cannot be read"), "{problems:?}");
        put(&dir, PARAMETERS, "pool name\n", 0o644);
        let provider = Provider::read("p", &dir).expect("valid");
        provider.check_parameters([&"POOL".to_owned()]).expect("any case");
        let error = provider.check_parameters([&"x".to_owned()]).expect_err("unknown");
        assert_eq!(
            error.message,
            "External storage provider 'p' has no parameters x; its 'parameters.list' has: pool"
        );
    }

    #[test]
    fn a_provider_says_how_long_it_may_take() {
        let root = tempfile::tempdir().expect("directory");
        let dir = make(root.path(), "p");
        put(&dir, TIMEOUTS, "# slow SAN\nattach 7\ncreate 9000\n", 0o644);
        let provider = Provider::read("p", &dir).expect("valid");
        let seconds = |p: &Provider, s| p.limit(s).as_secs();
        assert_eq!(seconds(&provider, Script::Attach), 7);
        assert_eq!(seconds(&provider, Script::Create), 9000);
        assert_eq!(seconds(&provider, Script::Grow), 3600);
        let short = provider.limited(Duration::from_secs(60));
        assert_eq!(seconds(&short, Script::Attach), 7);
        assert_eq!(seconds(&short, Script::Create), 60);
    }
}
