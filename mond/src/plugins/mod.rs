//! People's own collectors: programs that print a data section.
//!
//! ```text
//!   /etc/ganeti/mond/collectors.d/
//!     raid         a program of root's that nobody else may write: the collector plugin-raid
//!     raid.json    optional: {"interval": 60, "timeout": 10, "category": "storage", "kind": 1}
//! ```
//!
//! They run as the user mond is, at their interval. What prints no JSON in time, or exits with anything but 0, has
//! failed: the last good report is served, with its age. What is refused is listed, and its report says why.

mod plugin;

use crate::collector::Collector;
use plugin::{Plugin, Settings};
use roost_proto::collectors::{PLUGIN, is_plugin};
use roost_proto::error::{Error, Result};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::Semaphore;

/// So many plugins run at once.
const AT_ONCE: usize = 4;
/// More are not looked at.
const MOST: usize = 100;

/// The directory. See the module.
#[derive(Debug)]
pub struct Plugins {
    dir: PathBuf,
    /// Who may own them besides root: whoever started mond.
    owner: u32,
    taken: Vec<String>,
    known: BTreeMap<PathBuf, Known>,
    places: Arc<Semaphore>,
    trouble: Option<String>,
}

#[derive(Debug)]
struct Known {
    state: State,
    plugin: Arc<Plugin>,
    /// Its name is its own.
    listed: bool,
}

/// What makes a plugin another one when it changes: of the program and of its settings.
#[derive(Debug, PartialEq)]
struct State {
    program: Stamp,
    settings: Option<Stamp>,
}

#[derive(Debug, PartialEq)]
struct Stamp {
    inode: (u64, u64),
    changed: Option<SystemTime>,
    ctime: (i64, i64),
    mode: u32,
    owner: u32,
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let file = path.metadata().ok()?;
        Some(Stamp {
            inode: (file.dev(), file.ino()),
            changed: file.modified().ok(),
            ctime: (file.ctime(), file.ctime_nsec()),
            mode: file.mode(),
            owner: file.uid(),
        })
    }
}

impl Plugins {
    /// Of a directory, which need not be there. `owner`: who may own them besides root.
    pub fn new(dir: PathBuf, owner: u32) -> Plugins {
        Plugins {
            dir,
            owner,
            taken: vec![],
            known: BTreeMap::new(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            trouble: None,
        }
    }

    /// These names are taken.
    #[must_use]
    pub fn besides(mut self, taken: Vec<String>) -> Plugins {
        self.taken = taken;
        self
    }

    /// Looks what there is. A plugin that has not changed is the same one as before.
    pub fn scan(&mut self) -> Vec<Arc<dyn Collector>> {
        let trouble = match self.look() {
            Ok(known) => {
                self.known = known;
                None
            }
            Err(error) => {
                self.known.clear();
                Some(error.message)
            }
        };
        if trouble != self.trouble
            && let Some(trouble) = &trouble
        {
            tracing::warn!("no plugins: {trouble}");
        }
        self.trouble = trouble;
        let listed = self.known.values().filter(|known| known.listed);
        listed.map(|known| Arc::clone(&known.plugin) as Arc<dyn Collector>).collect()
    }

    fn look(&mut self) -> Result<BTreeMap<PathBuf, Known>> {
        let unreadable = |e: std::io::Error| {
            Error::environment(format!("Cannot read '{}': {e}", self.dir.display()))
        };
        let entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(BTreeMap::new());
            }
            Err(error) => return Err(unreadable(error)),
        };
        // Whoever may write there may put programs there.
        if let Some(stamp) = Stamp::of(&self.dir) {
            self.trusted(&self.dir, &stamp)?;
        }
        let mut paths: Vec<PathBuf> =
            entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
        paths.sort();
        let mut names = self.taken.clone();
        let mut found = BTreeMap::new();
        for path in paths {
            let Some(program) = Stamp::of(&path) else { continue };
            let is_program = program.mode & 0o170_000 == 0o100_000 && program.mode & 0o111 != 0;
            let Some(name) = name(&path).filter(|_| is_program && found.len() < MOST) else {
                continue;
            };
            let beside = path.with_extension("json");
            let state = State { program, settings: Stamp::of(&beside) };
            let listed = !names.contains(&name);
            let known = match self.known.remove(&path) {
                Some(known) if known.state == state && known.listed == listed => known,
                _ => {
                    let ready = self.ready(&path, &beside, &name, &names, &state);
                    if let Err(error) = &ready {
                        tracing::warn!("plugin {name} is refused: {error}");
                    } else {
                        tracing::info!("plugin {name} is '{}'", path.display());
                    }
                    let places = Arc::clone(&self.places);
                    let plugin = Arc::new(Plugin::new(name.clone(), path.clone(), ready, places));
                    Known { state, plugin, listed }
                }
            };
            names.push(name);
            found.insert(path, known);
        }
        Ok(found)
    }

    /// Whether a plugin can be used, and how.
    fn ready(
        &self,
        program: &Path,
        beside: &Path,
        name: &str,
        names: &[String],
        state: &State,
    ) -> Result<Settings> {
        self.trusted(program, &state.program)?;
        if names.iter().any(|taken| taken == name) {
            return Err(Error::environment(format!(
                "'{}' has a name that is taken",
                program.display()
            )));
        }
        if !is_plugin(name) {
            return Err(Error::environment(format!(
                "'{}' must be called by small letters, digits and dashes",
                program.display()
            )));
        }
        let Some(settings) = &state.settings else { return Ok(Settings::default()) };
        self.trusted(beside, settings)?;
        let wrong = |e: &dyn std::fmt::Display| {
            Error::environment(format!("'{}' is not understood: {e}", beside.display()))
        };
        let text = std::fs::read_to_string(beside).map_err(|e| wrong(&e))?;
        Settings::parse(&text).map_err(|e| wrong(&e))
    }

    fn trusted(&self, path: &Path, stamp: &Stamp) -> Result<()> {
        let path = path.display();
        if stamp.owner != 0 && stamp.owner != self.owner {
            return Err(Error::environment(format!("'{path}' belongs to somebody else than root")));
        }
        if stamp.mode & 0o022 != 0 {
            return Err(Error::environment(format!(
                "'{path}' can be written by others than its owner; take that away with 'chmod go-w'"
            )));
        }
        Ok(())
    }
}

/// The collector's name: the file's without what is behind its dot, `plugin-` in front. Settings and hidden files
/// have none.
fn name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (stem, end) = file.split_once('.').unwrap_or((file, ""));
    let hidden = stem.is_empty() || end == "json" || file.ends_with('~');
    (!hidden).then(|| match stem.starts_with(PLUGIN) {
        true => stem.to_owned(),
        false => format!("{PLUGIN}{stem}"),
    })
}

#[cfg(test)]
mod tests;
