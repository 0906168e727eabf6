//! Allocator scripts: programs that say where instances shall be, on the master's node.
//!
//! ```text
//!   SCRIPT REQUEST-FILE [--option[=value]…]     the answer is on standard output; exit status 0
//! ```
//!
//! The request is a file of its own for each run, which nobody else can read and which goes with the run.
//! What is in request and answer, masterd knows. Source: Ganeti's reference on interfaces, allocators.

use crate::durable;
use crate::exec::Command;
use roost_proto::error::{Error, Result};
use roost_proto::paths::Paths;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a script may take.
const DEADLINE: Duration = Duration::from_secs(900);
/// An answer for all instances of a large cluster, bytes.
const ANSWER: usize = 48 << 20;

/// Names of the scripts there are, in order.
pub fn list(paths: &Paths) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for dir in paths.iallocator_search_path() {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let found = entries.filter(|entry| is_program(&entry.path()));
        names.extend(found.filter_map(|entry| entry.file_name().into_string().ok()));
    }
    names.sort();
    names.dedup();
    names
}

/// Runs a script. Errors: there is none of that name, or it failed; then with what it said.
pub async fn run(paths: &Paths, name: &str, request: &str, args: Vec<String>) -> Result<String> {
    run_for(paths, name, request, args, DEADLINE).await
}

async fn run_for(
    paths: &Paths,
    name: &str,
    request: &str,
    args: Vec<String>,
    deadline: Duration,
) -> Result<String> {
    let program = find(paths, name)?;
    let file = RequestFile::write(paths, request)?;
    tracing::info!(name, "allocator script runs");
    let command = Command::new(program).arg(&file.0).args(args).keep(ANSWER).deadline(deadline);
    let (end, answer) = command.run_apart().await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    if end.ok() {
        return Ok(answer);
    }
    let said = format!("{}\n{}", answer.trim_end(), end.text());
    let said: Vec<&str> = said.trim().lines().collect();
    let last = said[said.len().saturating_sub(20)..].join("\n");
    Err(Error::exec(format!("iallocator module '{name}' failed: {}, output '{last}'", end.end)))
}

/// Where a script is.
fn find(paths: &Paths, name: &str) -> Result<PathBuf> {
    let plain = !name.is_empty() && !name.starts_with('.') && !name.contains('/');
    let places = paths.iallocator_search_path();
    let found = places.iter().map(|dir| dir.join(name)).find(|path| plain && is_program(path));
    found.ok_or_else(|| {
        let places: Vec<_> = places.iter().map(|dir| dir.display().to_string()).collect();
        Error::environment(format!(
            "iallocator module '{name}' not found: there is no program of that name in {}",
            places.join(" or ")
        ))
    })
}

fn is_program(path: &Path) -> bool {
    let meta = std::fs::metadata(path);
    meta.is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// A request, for as long as a script reads it.
struct RequestFile(PathBuf);

impl RequestFile {
    fn write(paths: &Paths, request: &str) -> Result<RequestFile> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let dir = paths.iallocator_dir();
        durable::make_dir(&dir)?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("request-{}-{number}.json", std::process::id()));
        durable::write(&path, request.as_bytes(), 0o600)?;
        Ok(RequestFile(path))
    }
}

impl Drop for RequestFile {
    fn drop(&mut self) {
        if let Err(error) = durable::remove(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a request stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Site {
        paths: Paths,
        _root: tempfile::TempDir,
    }

    fn site(scripts: &[(&str, &str)]) -> Site {
        let root = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(root.path().into()));
        let dir = &paths.iallocator_search_path()[1];
        std::fs::create_dir_all(dir).expect("directory");
        for (name, script) in scripts {
            let path = dir.join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(&path, mode).expect("executable");
        }
        Site { paths, _root: root }
    }

    #[tokio::test]
    async fn a_script_reads_its_request_and_answers() {
        let site =
            site(&[("echo", "stat -c %a \"$1\"; cat \"$1\"; shift; echo \"$@\"; echo no >&2")]);
        let args = vec!["--verbose".into(), "--level=2".into()];
        let answer = run(&site.paths, "echo", "{}\n", args).await.expect("an answer");
        assert_eq!(answer, "600\n{}\n--verbose --level=2\n");
        let left = std::fs::read_dir(site.paths.iallocator_dir()).expect("made").count();
        assert_eq!(left, 0, "the request goes with the run");
        assert_eq!(list(&site.paths), ["echo"]);
    }

    #[tokio::test]
    async fn what_fails_says_what_it_said() {
        let site =
            site(&[("bad", "echo half; echo why >&2; exit 3"), ("hang", "echo on; sleep 60")]);
        let error = run(&site.paths, "bad", "{}", vec![]).await.expect_err("it fails").message;
        let ends = "failed: exited with code 3, output 'half\nwhy'";
        assert_eq!(error, format!("iallocator module 'bad' {ends}"));
        let limit = Duration::from_millis(200);
        let late = run_for(&site.paths, "hang", "{}", vec![], limit).await.expect_err("it hangs");
        assert!(late.message.contains("did not end within 0.2 s, output 'on'"), "{late}");
    }

    #[tokio::test]
    async fn only_programs_in_the_search_path() {
        let site = site(&[("good", "true")]);
        let dir = &site.paths.iallocator_search_path()[1];
        std::fs::write(dir.join("text"), "no program").expect("written");
        for name in ["text", "missing", "../iallocators/good", ".", ""] {
            let error = run(&site.paths, name, "{}", vec![]).await.expect_err(name);
            assert!(error.message.contains("not found"), "{error}");
        }
        assert_eq!(list(&site.paths), ["good"]);
    }
}
