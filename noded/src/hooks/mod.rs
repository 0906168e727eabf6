//! Hooks: the administrator's scripts, run before and after operations.
//!
//! `/etc/ganeti/hooks/<path>-<phase>.d/*`, in byte order of their names; with only the variables of
//! the operation, no arguments, no input, in `/`. What is no executable regular file, or has a name
//! with other characters than letters, digits, `-` and `_` (a package manager's leftovers), is
//! skipped.

use crate::blocking::blocking;
use crate::exec::Command;
use nix::unistd::{AccessFlags, access};
use roost_proto::error::{Error, Result};
use roost_proto::node::{HookPhase, HookResult};
use roost_proto::paths::Paths;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A script that takes longer has failed: Ganeti's limit for the whole call.
const DEADLINE: Duration = Duration::from_secs(900);
/// Lines of a script's output that are reported at most.
const LINES: usize = 1000;

/// Runs the hooks of a phase and tells what each did. Failures of scripts are results, not errors.
pub async fn run(
    paths: &Paths,
    path: &str,
    phase: HookPhase,
    env: &BTreeMap<String, String>,
) -> Result<Vec<HookResult>> {
    if !is_plain(path) {
        return Err(Error::wrong_input(format!("'{path}' is not the name of a hooks path")));
    }
    let phase = match phase {
        HookPhase::Pre => "pre",
        HookPhase::Post => "post",
    };
    let folder = format!("{path}-{phase}.d");
    let dir = paths.hooks_dir().join(&folder);
    let scripts = blocking(move || scripts(&dir)).await?;
    let mut results = Vec::with_capacity(scripts.len());
    for script in scripts {
        let name = format!("{folder}/{}", script.name);
        results.push(match script.path {
            Some(path) => run_one(name, &path, env).await,
            None => HookResult { script: name, ok: None, output: String::new() },
        });
    }
    Ok(results)
}

/// The names of the directories that hold a script to run. One that cannot be read is named too:
/// running its hooks tells why.
pub async fn directories(paths: &Paths) -> Vec<String> {
    let base = paths.hooks_dir();
    let found = blocking(move || {
        let Ok(entries) = std::fs::read_dir(&base) else { return Ok(vec![]) };
        let names = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> = names
            .filter(|name| name.ends_with("-pre.d") || name.ends_with("-post.d"))
            .filter(|name| match scripts(&base.join(name)) {
                Ok(scripts) => scripts.iter().any(|script| script.path.is_some()),
                Err(_) => true,
            })
            .collect();
        names.sort();
        Ok(names)
    });
    found.await.unwrap_or_default()
}

async fn run_one(script: String, path: &Path, env: &BTreeMap<String, String>) -> HookResult {
    // The search path cannot be changed from outside.
    let env = env.iter().filter(|(name, _)| *name != "PATH");
    let env = env.map(|(name, value)| (name.clone(), value.clone())).collect();
    match Command::new(path).envs(env).deadline(DEADLINE).run().await {
        Ok(end) if end.ok() => HookResult { script, ok: Some(true), output: end.last_lines(LINES) },
        Ok(end) => {
            let mut output = end.last_lines(LINES);
            if output.is_empty() {
                output = end.end;
            }
            HookResult { script, ok: Some(false), output }
        }
        Err(error) => HookResult { script, ok: Some(false), output: error.message },
    }
}

struct Script {
    name: String,
    /// `None`: skipped.
    path: Option<PathBuf>,
}

/// What is in the directory, in order. Hidden files are not even skipped. No directory, no hooks.
fn scripts(dir: &Path) -> Result<Vec<Script>> {
    let failed =
        |e| Error::environment(format!("Cannot read the hooks in '{}': {e}", dir.display()));
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        Err(e) => return Err(failed(e)),
    };
    let mut names = vec![];
    for entry in entries {
        names.push(entry.map_err(failed)?.file_name());
    }
    names.sort();
    let scripts = names.into_iter().filter_map(|name| {
        let path = dir.join(&name);
        let name = name.to_string_lossy().into_owned();
        if name.starts_with('.') {
            return None;
        }
        let runs = is_plain(&name) && path.is_file() && access(&path, AccessFlags::X_OK).is_ok();
        Some(Script { name, path: runs.then_some(path) })
    });
    Ok(scripts.collect())
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn script(dir: &Path, name: &str, mode: u32, text: &str) {
        fs::create_dir_all(dir).expect("directory");
        fs::write(dir.join(name), text).expect("script");
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode)).expect("mode");
    }

    #[tokio::test]
    async fn scripts_run_in_order_with_only_their_variables() {
        let root = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(root.path().to_owned()));
        let dir = paths.hooks_dir().join("instance-add-pre.d");
        script(&dir, "20-fails", 0o755, "#!/bin/sh\necho no room; exit 1\n");
        script(&dir, "10-env", 0o755, "#!/bin/sh\npwd; env | grep -v ^PWD= | sort\n");
        script(&dir, "15-not-executable", 0o644, "#!/bin/sh\n");
        script(&dir, "16.dpkg-old", 0o755, "#!/bin/sh\n");
        script(&dir, ".hidden", 0o755, "#!/bin/sh\n");
        fs::create_dir(dir.join("17-directory")).expect("directory");
        let env = BTreeMap::from([
            ("GANETI_OP_CODE".to_owned(), "OP_INSTANCE_CREATE".to_owned()),
            ("PATH".to_owned(), "/evil".to_owned()),
        ]);
        let results = run(&paths, "instance-add", HookPhase::Pre, &env).await.expect("run");
        let short: Vec<_> = results.iter().map(|r| (r.script.as_str(), r.ok)).collect();
        assert_eq!(
            short,
            [
                ("instance-add-pre.d/10-env", Some(true)),
                ("instance-add-pre.d/15-not-executable", None),
                ("instance-add-pre.d/16.dpkg-old", None),
                ("instance-add-pre.d/17-directory", None),
                ("instance-add-pre.d/20-fails", Some(false)),
            ]
        );
        assert_eq!(
            results[0].output,
            "/\nGANETI_OP_CODE=OP_INSTANCE_CREATE\nPATH=/sbin:/bin:/usr/sbin:/usr/bin"
        );
        assert_eq!(results[4].output, "no room");
    }

    #[tokio::test]
    async fn only_directories_with_something_to_run_are_reported() {
        let root = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(root.path().to_owned()));
        assert_eq!(directories(&paths).await, Vec::<String>::new());
        let hooks = paths.hooks_dir();
        script(&hooks.join("node-add-post.d"), "log", 0o755, "#!/bin/sh\n");
        script(&hooks.join("instance-add-pre.d"), "ask", 0o755, "#!/bin/sh\n");
        script(&hooks.join("instance-stop-pre.d"), "off", 0o644, "#!/bin/sh\n");
        script(&hooks.join("watcher"), "log", 0o755, "#!/bin/sh\n");
        assert_eq!(directories(&paths).await, ["instance-add-pre.d", "node-add-post.d"]);
    }

    #[tokio::test]
    async fn no_directory_is_no_hooks_and_a_wrong_path_is_refused() {
        let root = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(root.path().to_owned()));
        let none = run(&paths, "node-add", HookPhase::Post, &BTreeMap::new()).await;
        assert_eq!(none, Ok(vec![]));
        let wrong = run(&paths, "../x", HookPhase::Pre, &BTreeMap::new()).await;
        assert!(wrong.expect_err("refused").message.contains("'../x'"));
    }
}
