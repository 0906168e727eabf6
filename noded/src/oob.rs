//! Out-of-band helpers: programs of the administrator that switch other machines, or look at them.
//!
//! ```text
//!   PROGRAM COMMAND NODE      run here, on the master's node, as root, in a clean environment
//! ```
//!
//! They command the power of machines, so only what root alone can have put there is run: the program
//! and every directory on the way to it. What a program says is text; what it means, masterd knows.
//! One that switches has nothing to say: if it says something, it is not the helper it should be.

use crate::blocking::blocking;
use crate::exec::Command;
use roost_proto::error::{Error, Result};
use roost_proto::node::{OOB_AT_ONCE, OobCall, OobReply};
use roost_proto::paths::Paths;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// More than any list of sensors, bytes.
const OUTPUT: usize = 64 << 10;
/// Lines that are shown of what a helper said when it failed.
const SHOWN: usize = 10;
/// Writable by the group or by everybody.
const OTHERS_WRITE: u32 = 0o022;
/// Of a directory in which only owners remove and rename: `/tmp`.
const STICKY: u32 = 0o1000;

/// Switches a machine. Errors: the program must not or cannot be run, fails, hangs, or says something.
pub async fn switch(paths: &Paths, call: &OobCall) -> Result<()> {
    let said = run(paths, call).await?;
    match said.trim() {
        "" | "null" => Ok(()),
        said => Err(Error::exec(format!(
            "out-of-band program '{}' should say nothing for {}, but said '{}'; whether node {} was \
             switched is not known",
            call.program,
            call.command,
            last_lines(said),
            call.node
        ))),
    }
}

/// Runs helpers that only look, some at the same time. Replies are in the order of the calls.
pub async fn ask(paths: &Paths, calls: Vec<OobCall>) -> Vec<OobReply> {
    let places = Arc::new(Semaphore::new(OOB_AT_ONCE));
    let mut replies: Vec<OobReply> =
        calls.iter().map(|_| OobReply::Failed("it was given up".into())).collect();
    let mut running = JoinSet::new();
    for (number, call) in calls.into_iter().enumerate() {
        let (paths, places) = (paths.clone(), places.clone());
        running.spawn(async move {
            // The semaphore is never closed.
            let _place = places.acquire().await;
            (number, run(&paths, &call).await)
        });
    }
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok((number, Ok(said))) => replies[number] = OobReply::Said(said),
            Ok((number, Err(error))) => replies[number] = OobReply::Failed(error.message),
            Err(error) => tracing::error!(%error, "an out-of-band command was lost"),
        }
    }
    replies
}

/// Why programs cannot be run, by their paths.
pub async fn problems(paths: &Paths, programs: Vec<String>) -> Result<BTreeMap<String, String>> {
    let paths = paths.clone();
    blocking(move || {
        let of = |program: String| Some((check(&paths, &program, 0).err()?, program));
        Ok(programs.into_iter().filter_map(of).map(|(why, program)| (program, why)).collect())
    })
    .await
}

/// Runs a helper to its end. Returns its standard output.
async fn run(paths: &Paths, call: &OobCall) -> Result<String> {
    run_owned_by(paths, call, 0).await
}

async fn run_owned_by(paths: &Paths, call: &OobCall, owner: u32) -> Result<String> {
    let OobCall { program, command, node, timeout } = call;
    let place = paths.clone();
    let path = program.clone();
    let checked = blocking(move || Ok(check(&place, &path, owner))).await?;
    let checked = checked.map_err(|why| {
        Error::environment(format!("out-of-band program '{program}' is not run: {why}"))
    })?;
    tracing::info!(program, command = command.as_str(), node, "out-of-band helper runs");
    let running = Command::new(checked).arg(command.as_str()).arg(node).keep(OUTPUT);
    let (end, said) = running.deadline(Duration::from_secs(*timeout)).run_apart().await?;
    let text = String::from_utf8_lossy(&said).into_owned();
    let failed = |how: &str| {
        let all = format!("{}\n{}", text.trim_end(), end.text());
        Error::exec(format!(
            "out-of-band program '{program}' {how}, output '{}'",
            last_lines(all.trim())
        ))
    };
    if !end.ok() {
        return Err(failed(&end.end));
    }
    if said.len() > OUTPUT {
        return Err(failed(&format!("said more than {} KiB", OUTPUT >> 10)));
    }
    Ok(text)
}

/// The file to run, without symbolic links on the way to it; or why it must not be run. `owner` must
/// own it and all directories above it.
fn check(paths: &Paths, program: &str, owner: u32) -> Result<PathBuf, String> {
    let plain = |c| matches!(c, Component::RootDir | Component::Normal(_));
    if !program.starts_with('/') || !Path::new(program).components().all(plain) {
        return Err("it is not an absolute path".into());
    }
    let file = paths.absolute(program).canonicalize().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "it does not exist".to_owned(),
        _ => format!("it cannot be looked at: {error}"),
    })?;
    for (depth, path) in file.ancestors().enumerate() {
        let meta = std::fs::metadata(path)
            .map_err(|error| format!("{} cannot be looked at: {error}", path.display()))?;
        let what = if depth == 0 { "it".to_owned() } else { format!("{}", path.display()) };
        if depth == 0 && !meta.is_file() {
            return Err("it is no file".into());
        }
        if depth == 0 && meta.mode() & 0o111 == 0 {
            return Err("it is not executable".into());
        }
        if meta.uid() != owner && meta.uid() != 0 {
            return Err(format!("{what} belongs to user {}, not to root", meta.uid()));
        }
        let sticky = depth > 0 && meta.mode() & STICKY != 0;
        if meta.mode() & OTHERS_WRITE != 0 && !sticky {
            let mode = meta.mode() & 0o7777;
            return Err(format!("{what} can be written by others than root (mode {mode:04o})"));
        }
    }
    Ok(file)
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_proto::choices::OobAction;
    use std::os::unix::fs::PermissionsExt;

    struct Site {
        paths: Paths,
        root: tempfile::TempDir,
    }

    /// Below `/tmp`, where everybody writes but nobody removes what is another's.
    fn site() -> Site {
        let root = tempfile::tempdir().expect("directory");
        Site { paths: Paths::new(Some(root.path().into())), root }
    }

    impl Site {
        fn script(&self, script: &str, mode: u32) -> OobCall {
            let path = self.root.path().join("oob");
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
            self.mode("oob", mode);
            OobCall {
                program: "/oob".into(),
                command: OobAction::PowerOff,
                node: "node2".into(),
                timeout: 30,
            }
        }

        fn mode(&self, name: &str, mode: u32) {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(self.root.path().join(name), mode).expect("changed");
        }

        async fn said(&self, call: &OobCall) -> Result<String, String> {
            let ours = nix::unistd::geteuid().as_raw();
            run_owned_by(&self.paths, call, ours).await.map_err(|error| error.message)
        }

        fn problem(&self, program: &str) -> String {
            let ours = nix::unistd::geteuid().as_raw();
            check(&self.paths, program, ours).expect_err("it must not be run")
        }
    }

    #[tokio::test]
    async fn it_gets_command_and_node_and_nothing_else() {
        let site = site();
        let call = site.script("echo $# $1 $2 ${HOME-homeless}; echo no >&2", 0o700);
        let said = site.said(&call).await.expect("it runs");
        assert_eq!(said, "2 power-off node2 homeless\n");
    }

    #[tokio::test]
    async fn what_fails_hangs_or_talks_too_much_is_told() {
        let site = site();
        let fails = site.script("echo half; echo no such machine >&2; exit 1", 0o700);
        assert_eq!(
            site.said(&fails).await,
            Err("out-of-band program '/oob' exited with code 1, output 'half\nno such machine'"
                .into())
        );
        let hangs = OobCall { timeout: 0, ..site.script("sleep 1000", 0o700) };
        let why = site.said(&hangs).await.expect_err("it hangs");
        assert!(why.contains("did not end within 0 s"), "{why}");
        let talks = site.script("head -c 200000 /dev/zero | tr '\\0' x", 0o700);
        let why = site.said(&talks).await.expect_err("too much");
        assert!(why.contains("said more than 64 KiB"), "{}", &why[..100]);
    }

    #[test]
    fn only_what_root_alone_can_change_is_run() {
        let site = site();
        assert_eq!(site.problem("/oob"), "it does not exist");
        assert_eq!(site.problem("oob"), "it is not an absolute path");
        assert_eq!(site.problem("/../oob"), "it is not an absolute path");
        site.script("", 0o600);
        assert_eq!(site.problem("/oob"), "it is not executable");
        site.script("", 0o722);
        assert_eq!(site.problem("/oob"), "it can be written by others than root (mode 0722)");
        site.script("", 0o755);
        site.mode("", 0o775);
        let why = site.problem("/oob");
        assert!(why.ends_with(" can be written by others than root (mode 0775)"), "{why}");
        site.mode("", 0o755);
        std::fs::create_dir(site.root.path().join("dir")).expect("made");
        assert_eq!(site.problem("/dir"), "it is no file");
        let other = check(&site.paths, "/oob", 12345);
        match nix::unistd::geteuid().is_root() {
            true => assert!(other.is_ok(), "root's is always good"),
            false => assert!(other.expect_err("another's").contains("not to root")),
        }
    }

    #[tokio::test]
    async fn a_switch_says_nothing() {
        let site = site();
        if !nix::unistd::geteuid().is_root() {
            let error = switch(&site.paths, &site.script("", 0o755)).await.expect_err("not root's");
            assert!(error.message.contains("not to root"), "{error}");
            return;
        }
        switch(&site.paths, &site.script("echo null; echo done >&2", 0o755)).await.expect("good");
        let talks = site.script("echo '{\"ok\": true}'", 0o755);
        let error = switch(&site.paths, &talks).await.expect_err("it talks").message;
        assert!(error.contains("should say nothing for power-off, but said '{\"ok\": true}'"));
        let calls = vec![talks.clone(), OobCall { program: "/none".into(), ..talks }];
        assert_eq!(
            ask(&site.paths, calls).await,
            [
                OobReply::Said("{\"ok\": true}\n".into()),
                OobReply::Failed(
                    "out-of-band program '/none' is not run: it does not exist".into()
                )
            ]
        );
        let asked = vec!["/oob".to_owned(), "/none".to_owned()];
        let problems = problems(&site.paths, asked).await.expect("looked");
        assert_eq!(problems, [("/none".to_owned(), "it does not exist".to_owned())].into());
    }
}
