//! What checks are made of: calls with their times, attached volumes as something to write to.

use super::Options;
use crate::attached::Attached;
use crate::medium::{Medium, device};
use crate::provider::Provider;
use crate::run::{Exec, ScriptFailure, Verdict};
use crate::script::Script;
use crate::volume::{Call, Volume};
use std::time::{Duration, Instant};

/// How long QEMU's tools may take for a piece of work.
const TOOL: Duration = Duration::from_secs(120);
/// How long a device node may need to appear.
const APPEARS: Duration = Duration::from_secs(5);
const MIB: u64 = 1 << 20;

/// A provider under test.
pub struct Kit<'a, E> {
    exec: &'a E,
    pub provider: Provider,
    pub options: &'a Options,
    /// Longest time of each script.
    times: Vec<(Script, Duration)>,
    /// Scripts that had to be killed.
    pub hung: Vec<Script>,
    /// How long a device node may need to appear after `attach` said yes: udev may be a little
    /// behind. Only a volume that was made is waited for, and only once in vain.
    patience: Duration,
}

/// An attached volume.
#[derive(Clone, Debug)]
pub struct There {
    pub attached: Attached,
    /// What it is written to through.
    pub medium: Medium,
}

impl<'a, E: Exec> Kit<'a, E> {
    pub fn new(exec: &'a E, provider: Provider, options: &'a Options) -> Kit<'a, E> {
        Kit { exec, provider, options, times: vec![], hung: vec![], patience: Duration::ZERO }
    }

    /// From now on there is a volume.
    pub fn expect_devices(&mut self) {
        self.patience = APPEARS;
    }

    /// A volume of the check's.
    pub fn volume(&self, suffix: &str) -> Volume {
        Volume {
            name: format!("{}.ext.disk{suffix}", self.options.uuid),
            uuid: self.options.uuid.clone(),
            cname: Some("roost-check".into()),
            params: self.options.params.clone(),
        }
    }

    /// Runs a script. The error says what went wrong, and what may be the reason.
    pub async fn call(&mut self, volume: &Volume, call: Call<'_>) -> Result<(), String> {
        let began = Instant::now();
        let done = self.provider.call(self.exec, volume, call, None).await;
        self.took(call.script(), began.elapsed());
        done.map_err(|failure| self.say(failure))
    }

    /// Runs `attach` and makes sure that what it prints is there. The error also says whether the
    /// script itself refused.
    pub async fn attach(&mut self, volume: &Volume) -> Result<There, (Verdict, String)> {
        let began = Instant::now();
        let attached = self.provider.attach(self.exec, volume).await;
        self.took(Script::Attach, began.elapsed());
        let attached = match attached {
            Ok(attached) => attached,
            Err(failure) => return Err((failure.verdict, self.say(failure))),
        };
        if let Some(path) = attached.device.clone() {
            let until = Instant::now() + self.patience;
            while device::number(&path).is_none() {
                if Instant::now() >= until {
                    self.patience = Duration::ZERO;
                    let path = path.display();
                    let why = format!("'{path}' on its first line is no existing block device");
                    return Err((Verdict::Nonsense, why));
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            return Ok(There { attached, medium: Medium::Device(path) });
        }
        match attached.uri("kvm").map(str::to_owned) {
            Some(uri) => {
                let medium = Medium::Uri(uri);
                Ok(There { attached, medium })
            }
            None => {
                let why = "it prints neither a block device nor a URI for kvm".to_owned();
                Err((Verdict::Nonsense, why))
            }
        }
    }

    /// Whether the volume exists: it can be attached, and what that prints can be opened.
    pub async fn exists(&mut self, volume: &Volume) -> Result<bool, String> {
        let there = match self.attach(volume).await {
            Ok(there) => self.size(&there.medium).await.is_ok(),
            Err((Verdict::Unknown, why)) => return Err(why),
            Err(_) => false,
        };
        if there {
            self.call(volume, Call::Detach).await?;
        }
        Ok(there)
    }

    /// MiB.
    pub async fn size(&self, medium: &Medium) -> Result<u64, String> {
        let size = medium.size(self.exec, TOOL).await;
        size.map(|bytes| bytes / MIB).map_err(|error| error.message)
    }

    /// Fills the MiB at `at`.
    pub async fn fill(&self, medium: &Medium, at: u64, byte: u8) -> Result<(), String> {
        medium.fill(at, byte, self.exec, TOOL).await.map_err(|error| error.message)
    }

    /// Whether the MiB at `at` has that byte.
    pub async fn holds(&self, medium: &Medium, at: u64, byte: u8) -> Result<bool, String> {
        medium.holds(at, byte, self.exec, TOOL).await.map_err(|error| error.message)
    }

    /// The longest time of each script, slowest first.
    pub fn times(&self) -> Vec<(Script, Duration)> {
        let mut times = self.times.clone();
        times.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
        times
    }

    fn took(&mut self, script: Script, time: Duration) {
        match self.times.iter_mut().find(|(known, _)| *known == script) {
            Some((_, longest)) => *longest = time.max(*longest),
            None => self.times.push((script, time)),
        }
    }

    fn say(&mut self, failure: ScriptFailure) -> String {
        let words = failure.message;
        if words.contains("did not end within") {
            self.hung.push(failure.script);
        }
        match hint(&words) {
            Some(hint) => format!("{words}\n{hint}"),
            None => words,
        }
    }
}

/// What is often the reason.
fn hint(words: &str) -> Option<&'static str> {
    let has = |text: &str| words.contains(text);
    if has("parameter not set") || has("unbound variable") || has("parameter null or not set") {
        Some(
            "Hint: scripts get PATH, VOL_… and EXTP_… variables and nothing else: no HOME, no USER, \
             no arguments. Give parameters with --param.",
        )
    } else if has("code 127") || has("not found") {
        Some("Hint: PATH is /sbin:/bin:/usr/sbin:/usr/bin; the directory is the provider's.")
    } else if has("Exec format error") || has("No such file or directory (os error 2)") {
        Some("Hint: a script begins with #! and the path of a program that exists.")
    } else {
        None
    }
}
