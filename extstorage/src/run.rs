//! Runs a script and understands how it ended.

use crate::attached::Attached;
use crate::provider::Provider;
use crate::script::Script;
use crate::volume::{Call, Volume};
use roost_proto::error::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Lines of a failed script's output that the error repeats.
const LAST: usize = 20;

/// A program to be run: with this environment and `PATH`, no input, and a process group of its own,
/// all of which is killed at the deadline.
#[derive(Clone, Debug)]
pub struct Job {
    pub program: PathBuf,
    pub args: Vec<String>,
    pub dir: PathBuf,
    pub env: BTreeMap<String, String>,
    pub deadline: Duration,
    /// Where its output is appended, all in one; else standard output and error are kept apart.
    pub log: Option<PathBuf>,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub end: End,
    /// Empty where there is a log.
    pub stdout: Vec<u8>,
    /// The end of the log, where there is one.
    pub stderr: Vec<u8>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Exit(i32),
    Signal(i32),
    /// It was killed at its deadline.
    Deadline(Duration),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Exit(code) => write!(f, "exited with code {code}"),
            End::Signal(signal) => write!(f, "was killed by signal {signal}"),
            End::Deadline(limit) => write!(f, "did not end within {} s", limit.as_secs_f64()),
        }
    }
}

/// Runs programs: the one module of a program of ours that does.
pub trait Exec: Sync {
    /// Runs it to its end. An error means that it could not be started.
    fn run(&self, job: Job) -> impl Future<Output = Result<Ended>> + Send;
}

/// What a failure says about the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The script itself said no: it ended with an exit code other than 0.
    Refused,
    /// `attach` said yes, and what it printed is no volume.
    Nonsense,
    /// Nobody knows how far it came: it was killed, or never started.
    Unknown,
}

/// A script that failed.
#[derive(Clone, Debug)]
pub struct ScriptFailure {
    pub script: Script,
    pub verdict: Verdict,
    /// Which script, of what, how, its last words.
    pub message: String,
}

impl fmt::Display for ScriptFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ScriptFailure> for Error {
    fn from(failure: ScriptFailure) -> Error {
        Error::exec(failure.message)
    }
}

impl Provider {
    /// Runs a script that answers with its exit code only. `logs`: the directory for its log, and
    /// the time to name it by.
    pub async fn call(
        &self,
        exec: &impl Exec,
        volume: &Volume,
        call: Call<'_>,
        logs: Option<(&Path, &str)>,
    ) -> std::result::Result<(), ScriptFailure> {
        let script = call.script();
        let log = logs.map(|(dir, time)| {
            dir.join(format!("{script}-{}-{}-{time}.log", self.name, volume.name))
        });
        let ended = self.run(exec, volume, &call, log.clone()).await?;
        match ended.end {
            End::Exit(0) => Ok(()),
            end => Err(self.failure(volume, script, end, &ended.stderr, log.as_deref())),
        }
    }

    /// Runs `attach`. Whether the device exists is not looked at.
    pub async fn attach(
        &self,
        exec: &impl Exec,
        volume: &Volume,
    ) -> std::result::Result<Attached, ScriptFailure> {
        let ended = self.run(exec, volume, &Call::Attach, None).await?;
        if ended.end != End::Exit(0) {
            let said = if ended.stderr.is_empty() { &ended.stdout } else { &ended.stderr };
            return Err(self.failure(volume, Script::Attach, ended.end, said, None));
        }
        Attached::parse(&ended.stdout).map_err(|why| self.nonsense(volume, &why))
    }

    /// `attach` succeeded with something that is no volume.
    pub fn nonsense(&self, volume: &Volume, why: &str) -> ScriptFailure {
        ScriptFailure {
            script: Script::Attach,
            verdict: Verdict::Nonsense,
            message: format!(
                "External storage's attach script failed (provider '{}', volume '{}'): {why}",
                self.name, volume.name
            ),
        }
    }

    /// Runs a script, whatever comes of it.
    pub async fn run(
        &self,
        exec: &impl Exec,
        volume: &Volume,
        call: &Call<'_>,
        log: Option<PathBuf>,
    ) -> std::result::Result<Ended, ScriptFailure> {
        let script = call.script();
        let job = Job {
            program: self.dir.join(script.as_str()),
            args: vec![],
            dir: self.dir.clone(),
            env: volume.environment(call),
            deadline: self.limit(script),
            log,
        };
        exec.run(job).await.map_err(|error| ScriptFailure {
            script,
            verdict: Verdict::Unknown,
            message: format!(
                "External storage's {script} script could not be run (provider '{}', volume \
                 '{}'): {}",
                self.name, volume.name, error.message
            ),
        })
    }

    fn failure(
        &self,
        volume: &Volume,
        script: Script,
        end: End,
        said: &[u8],
        log: Option<&Path>,
    ) -> ScriptFailure {
        let words = match (last_lines(said), log) {
            (words, _) if words.is_empty() => "it said nothing".to_owned(),
            (words, Some(log)) => {
                format!("the last lines of its log '{}' are:\n{words}", log.display())
            }
            (words, None) => format!("it said:\n{words}"),
        };
        ScriptFailure {
            script,
            verdict: match end {
                End::Exit(_) => Verdict::Refused,
                End::Signal(_) | End::Deadline(_) => Verdict::Unknown,
            },
            message: format!(
                "External storage's {script} script failed ({end}; provider '{}', volume '{}'); \
                 {words}",
                self.name, volume.name
            ),
        }
    }
}

fn last_lines(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(LAST)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::Mutex;
    use std::task::{Context, Poll, Waker};

    /// Answers as it is told and remembers what was to be run.
    struct Fake(Ended, Mutex<Vec<Job>>);

    impl Exec for Fake {
        async fn run(&self, job: Job) -> Result<Ended> {
            self.1.lock().expect("lock").push(job);
            Ok(self.0.clone())
        }
    }

    fn now<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("nothing to wait for"),
        }
    }

    fn provider() -> (tempfile::TempDir, Provider) {
        let root = tempfile::tempdir().expect("directory");
        let dir = crate::provider::tests::make(root.path(), "san");
        let provider = Provider::read("san", &dir).expect("valid");
        (root, provider)
    }

    fn volume() -> Volume {
        Volume { name: "v0".into(), ..Volume::default() }
    }

    fn ends(end: End, stdout: &str, stderr: &str) -> Fake {
        Fake(Ended { end, stdout: stdout.into(), stderr: stderr.into() }, Mutex::new(vec![]))
    }

    #[test]
    fn a_script_runs_in_its_directory_with_a_log_of_its_own() {
        let (_root, provider) = provider();
        let exec = ends(End::Exit(0), "", "");
        let logs = Path::new("/var/log/ganeti/extstorage");
        let call = Call::Create { size: 3 };
        now(provider.call(&exec, &volume(), call, Some((logs, "now")))).expect("made");
        let jobs = exec.1.lock().expect("lock");
        let job = &jobs[0];
        assert_eq!(job.program, provider.dir.join("create"));
        assert_eq!((job.dir.as_path(), job.args.len()), (provider.dir.as_path(), 0));
        assert_eq!(job.log, Some(logs.join("create-san-v0-now.log")));
        assert_eq!(job.env["VOL_SIZE"], "3");
        assert_eq!(job.deadline, Duration::from_secs(3600));
    }

    #[test]
    fn a_failure_says_what_and_how_and_the_last_words() {
        let (_root, provider) = provider();
        let many: String = (1..=30).map(|n| format!("line {n}\n")).collect();
        let fail = |end, call: Call<'_>, log: bool| {
            let logs = Path::new("/l");
            let exec = ends(end, "", &many);
            now(provider.call(&exec, &volume(), call, log.then_some((logs, "t"))))
                .expect_err("it fails")
        };
        let failure = fail(End::Exit(3), Call::Remove, true);
        assert_eq!(failure.verdict, Verdict::Refused);
        let expected = "External storage's remove script failed (exited with code 3; provider \
                        'san', volume 'v0'); the last lines of its log '/l/remove-san-v0-t.log' \
                        are:\nline 11\n";
        assert!(failure.message.starts_with(expected), "{failure}");
        assert!(failure.message.ends_with("line 30"), "{failure}");
        let failure = fail(End::Deadline(Duration::from_secs(2)), Call::Detach, false);
        assert_eq!(failure.verdict, Verdict::Unknown);
        assert!(failure.message.contains("(did not end within 2 s;"), "{failure}");
        assert_eq!(fail(End::Signal(9), Call::Detach, false).verdict, Verdict::Unknown);
    }

    #[test]
    fn attach_is_understood() {
        let (_root, provider) = provider();
        let attach =
            |end, out: &str, err: &str| now(provider.attach(&ends(end, out, err), &volume()));
        let attached = attach(End::Exit(0), "/dev/x\n", "mapped").expect("attached");
        assert_eq!(attached.device, Some("/dev/x".into()));
        let failure = attach(End::Exit(0), "mapped\n", "").expect_err("nonsense");
        assert_eq!(failure.verdict, Verdict::Nonsense);
        assert!(failure.message.contains(r#"and is "mapped""#), "{failure}");
        let failure = attach(End::Exit(1), "", "no such image").expect_err("refused");
        assert_eq!(failure.verdict, Verdict::Refused);
        assert!(failure.message.ends_with("it said:\nno such image"), "{failure}");
    }
}
