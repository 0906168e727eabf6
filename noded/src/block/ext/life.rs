//! The life of a volume on this node: made, attached, opened, and the way back, each so that it may
//! be repeated and that a failure leaves nothing half done.
//!
//! Scripts say yes or no, or they are killed and nobody knows. Whether a volume exists can only be
//! seen by attaching it: as with Ganeti, what cannot be attached is not there.
//!
//! ```text
//!   make     mark     there?
//!            none     any      mark "making" (and whether it was there), run the script ─► made
//!            making   no       remove what there may be of it, then the same
//!            making   yes      made by an earlier try: done
//!            made     yes/no   done / lost since then: the same as none
//!            the script refuses ─► what came into being meanwhile is removed again; no mark
//!            the script was killed ─► what there may be of it is removed; else the mark stays
//!
//!   remove   undo of what has no mark, or was there before ─► left alone
//!            otherwise close, detach, remove; a volume that cannot be attached before and whose
//!            removal is refused is not there any more
//! ```

use super::attachment::Attachment;
use super::lock;
use super::mark::{self, Mark};
use super::scripts::Noded;
use crate::block::device::Work;
use crate::blocking::blocking;
use crate::clock;
use crate::leftover;
use roost_extstorage::{Attached, Call, Medium, Provider, Script, ScriptFailure, Verdict, device};
use roost_proto::error::{Error, ErrorKind, Result};
use roost_proto::ids::DiskId;
use roost_proto::paths::Paths;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;

/// How long a device node may need to appear after `attach` said yes: udev makes it.
const APPEARS: Duration = Duration::from_secs(5);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// How long QEMU may take to find out whether a volume can be opened.
const PROBE: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

/// A volume of a provider, and the disk that it is.
#[derive(Clone, Debug)]
pub struct Volume {
    pub disk: DiskId,
    pub provider: String,
    /// What scripts are told of it.
    pub told: roost_extstorage::Volume,
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Volume '{}' of provider '{}'", self.told.name, self.provider)
    }
}

/// A volume attached for a while.
#[derive(Debug)]
pub struct Borrowed {
    pub attached: Attached,
    /// It was attached before: it stays so.
    stays: bool,
}

/// Whether a volume exists.
#[derive(Debug)]
enum There {
    /// With its size in MiB, where that can be told.
    Yes(Option<u64>),
    No,
}

impl Volume {
    /// Waits until nobody works on it. A script that noded left running when it was killed is ended
    /// first. Errors: it cannot be.
    pub async fn lock(&self, paths: &Paths) -> Result<OwnedMutexGuard<()>> {
        let guard = lock::lock(&self.provider, &self.told.name).await;
        if leftover::end(&self.note(paths)).await? {
            tracing::info!(volume = %self, "ended a script that was left running");
        }
        Ok(guard)
    }

    /// Where a script at work on it is noted.
    fn note(&self, paths: &Paths) -> PathBuf {
        paths.es_attached_dir().join(format!("{}.{}.script", self.provider, self.told.name))
    }

    fn exec(&self, work: &Work) -> Noded {
        Noded { note: Some(self.note(&work.paths)) }
    }

    /// Its provider. Errors: it is not on this node, not valid.
    pub async fn provider(&self, paths: &Paths) -> Result<Provider> {
        let (search, name) = (paths.es_search_path(), self.provider.clone());
        blocking(move || Provider::find(&search, &name)).await
    }

    fn file(&self) -> String {
        format!("{}.{}.json", self.provider, self.told.name)
    }

    /// Its mark's file.
    pub fn mark(&self, paths: &Paths) -> PathBuf {
        paths.es_made_dir().join(self.file())
    }

    /// Its attachment's file.
    pub fn attachment(&self, paths: &Paths) -> PathBuf {
        paths.es_attached_dir().join(self.file())
    }

    /// Runs a script that answers with its exit code.
    pub async fn call(
        &self,
        provider: &Provider,
        call: Call<'_>,
        work: &Work,
    ) -> std::result::Result<(), ScriptFailure> {
        let logs = work.paths.es_log_dir();
        provider.call(&self.exec(work), &self.told, call, Some((&logs, &clock::file_stamp()))).await
    }

    /// Makes it: `call` is done by the scripts for `by`, which is the volume itself or, for a
    /// snapshot, what it is a copy of. Its size is in MiB.
    pub async fn make(&self, by: &Volume, call: Call<'_>, size: u64, work: &Work) -> Result<()> {
        let _lock = self.lock(&work.paths).await?;
        let provider = self.provider(&work.paths).await?;
        provider.check_parameters(self.told.params.keys())?;
        let path = self.mark(&work.paths);
        let found = mark::read(&path)?;
        if let Some(other) = found.as_ref().filter(|found| found.disk != self.disk) {
            return Err(Error::exists(format!("{self} belongs to disk {}", other.disk)));
        }
        let there = self.there(&provider, work).await?;
        let existed = match (found, there) {
            (None, there) => matches!(there, There::Yes(_)),
            (Some(Mark { made, existed: false, .. }), There::Yes(found)) => {
                if made || found.is_some_and(|found| found >= size) {
                    return mark::write(
                        &path,
                        &Mark { disk: self.disk, made: true, existed: false },
                    );
                }
                self.erase(&provider, work).await?;
                false
            }
            (Some(Mark { made: true, existed: true, .. }), There::Yes(_)) => return Ok(()),
            (Some(Mark { made: false, existed: true, .. }), There::Yes(_)) => true,
            (Some(Mark { made, existed, .. }), There::No) => {
                if !made && !existed {
                    // What is left of a try that was killed may be in the way and cannot be seen.
                    self.erase_unseen(&provider, work).await;
                }
                false
            }
        };
        blocking({
            let (dir, mark) =
                (work.paths.es_made_dir(), Mark { disk: self.disk, made: false, existed });
            let path = path.clone();
            move || {
                mark::prune(&dir);
                mark::write(&path, &mark)
            }
        })
        .await?;
        match by.call(&provider, call, work).await {
            Ok(()) => mark::write(&path, &Mark { disk: self.disk, made: true, existed }),
            Err(failure) => {
                if existed || self.clean_up(&provider, failure.verdict, work).await {
                    mark::clear(&path)?;
                }
                Err(failure.into())
            }
        }
    }

    /// After a script that failed to make it: removes what came of it. Says whether nothing is left.
    async fn clean_up(&self, provider: &Provider, verdict: Verdict, work: &Work) -> bool {
        let erased = match self.there(provider, work).await {
            Ok(There::Yes(_)) => self.erase(provider, work).await,
            // It said no, and nothing is to be seen of it: nothing of ours is there.
            Ok(There::No) if verdict == Verdict::Refused => Ok(()),
            Ok(There::No) => {
                self.erase_unseen(provider, work).await;
                Ok(())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &erased {
            work.reporter
                .message(format!("{self} may be half made, and cannot be removed: {error}"));
        }
        erased.is_ok()
    }

    /// Removes it, which is attached by nobody.
    async fn erase(&self, provider: &Provider, work: &Work) -> Result<()> {
        Ok(self.call(provider, Call::Remove, work).await?)
    }

    /// Removes what there may be of it.
    async fn erase_unseen(&self, provider: &Provider, work: &Work) {
        if let Err(failure) = self.call(provider, Call::Remove, work).await {
            tracing::info!(volume = %self, %failure, "nothing was left of a volume, it seems");
        }
    }

    /// Removes it, and every trace of it on this node.
    pub async fn remove(&self, work: &Work) -> Result<()> {
        let _lock = self.lock(&work.paths).await?;
        let path = self.mark(&work.paths);
        if work.undo {
            let why = match mark::read(&path)? {
                None => Some("it was not made here".to_owned()),
                Some(mark) if mark.disk != self.disk => Some(format!("it is disk {}'s", mark.disk)),
                Some(mark) if mark.existed => Some("it was there before".to_owned()),
                Some(_) => None,
            };
            if let Some(why) = why {
                tracing::info!(volume = %self, why, "left alone");
                if mark::read(&path)?.is_some_and(|mark| mark.disk == self.disk) {
                    work.reporter.message(format!("{self} was left alone: {why}"));
                    mark::clear(&path)?;
                }
                return Ok(());
            }
        }
        let provider = self.provider(&work.paths).await?;
        let there = match Attachment::read(&self.attachment(&work.paths))? {
            Some(known) => {
                self.detach(work).await?;
                match known.attached {
                    true => There::Yes(None),
                    false => self.there(&provider, work).await?,
                }
            }
            None => self.there(&provider, work).await?,
        };
        match (self.call(&provider, Call::Remove, work).await, there) {
            (Ok(()), _) => {}
            (Err(failure), There::No) if failure.verdict == Verdict::Refused => {
                work.reporter.message(format!(
                    "{self} is taken as gone: it cannot be attached, and its removal was refused: \
                     {failure}"
                ));
            }
            (Err(failure), _) => return Err(failure.into()),
        }
        mark::clear(&path)
    }

    /// Whether it exists: attaches it and, if it was not attached before, detaches it again.
    async fn there(&self, provider: &Provider, work: &Work) -> Result<There> {
        let stays = Attachment::read(&self.attachment(&work.paths))?.is_some();
        let seen = match self.look(provider, work).await {
            Ok(attached) => Ok(self.measure(attached).await),
            Err(failure) => match failure.verdict {
                Verdict::Refused | Verdict::Nonsense => Ok(There::No),
                Verdict::Unknown => Err(Error::from(failure)),
            },
        };
        if !stays {
            let detached = self.call(provider, Call::Detach, work).await;
            match (&seen, detached) {
                (_, Ok(())) => {}
                (Ok(There::Yes(_)), Err(failure)) => return Err(failure.into()),
                (_, Err(failure)) => {
                    tracing::debug!(volume = %self, %failure, "not attached, and not detached");
                }
            }
        }
        seen
    }

    /// Whether what `attach` said is there. A provider without devices may print a URI without
    /// looking; where QEMU's tools are missing it is believed.
    async fn measure(&self, attached: Attached) -> There {
        let mib = |bytes: u64| Some(bytes / MIB);
        match (attached.device.clone(), attached.uri("kvm")) {
            (Some(path), _) => {
                There::Yes(blocking(move || device::size(&path)).await.map_or(None, mib))
            }
            (None, None) => There::Yes(None),
            (None, Some(uri)) => {
                match Medium::Uri(uri.to_owned()).size(&Noded::default(), PROBE).await {
                    Ok(bytes) => There::Yes(mib(bytes)),
                    Err(error) if matches!(error.kind, ErrorKind::OpExecError) => There::No,
                    Err(_) => There::Yes(None),
                }
            }
        }
    }

    /// Runs `attach` and makes sure that what it prints is there.
    pub async fn look(
        &self,
        provider: &Provider,
        work: &Work,
    ) -> std::result::Result<Attached, ScriptFailure> {
        let attached = provider.attach(&self.exec(work), &self.told).await?;
        for line in &attached.ignored {
            tracing::warn!(volume = %self, line, "attach printed something that is no URI");
        }
        if let Some(path) = &attached.device
            && device::number(path).is_none()
        {
            return Err(provider.nonsense(
                &self.told,
                &format!(
                    "line 1 of its output is '{}', which is not an existing block device",
                    path.display()
                ),
            ));
        }
        Ok(attached)
    }

    /// The same; waits for a device node that is not there yet.
    async fn look_patiently(
        &self,
        provider: &Provider,
        work: &Work,
    ) -> std::result::Result<Attached, ScriptFailure> {
        let until = tokio::time::Instant::now() + APPEARS;
        loop {
            match self.look(provider, work).await {
                Err(failure)
                    if failure.verdict == Verdict::Nonsense
                        && failure.message.contains("not an existing block device")
                        && tokio::time::Instant::now() < until =>
                {
                    tokio::time::sleep(LOOK).await;
                }
                other => return other,
            }
        }
    }

    /// Attaches it; with `open` it is opened, too. A failure leaves it as it was.
    pub async fn attach(&self, open: bool, work: &Work) -> Result<()> {
        let provider = self.provider(&work.paths).await?;
        let path = self.attachment(&work.paths);
        let before = Attachment::read(&path)?.filter(|found| found.attached);
        let mut attachment = match &before {
            Some(before) => before.clone(),
            None => {
                let begun = Attachment::begun();
                begun.write(&path)?;
                begun
            }
        };
        let attached = match self.look_patiently(&provider, work).await {
            Ok(attached) => {
                attachment.set(attached);
                attachment.write(&path)
            }
            Err(failure) => Err(failure.into()),
        };
        let done = match attached {
            Ok(()) if open => self.open(&provider, true, work).await,
            other => other,
        };
        // A guest may use what was attached before.
        if let (Err(error), None) = (&done, &before) {
            tracing::info!(volume = %self, %error, "detaching what could not be attached");
            if let Err(error) = self.detach(work).await {
                work.reporter.message(format!("{self} may be half attached: {error}"));
            }
        }
        done
    }

    /// Closes and detaches it.
    pub async fn detach(&self, work: &Work) -> Result<()> {
        let provider = self.provider(&work.paths).await?;
        let path = self.attachment(&work.paths);
        let known = Attachment::read(&path)?;
        if known.as_ref().is_some_and(|known| known.open.is_some()) {
            self.close(&provider, work).await?;
        }
        match (self.call(&provider, Call::Detach, work).await, known) {
            (Ok(()), _) => Attachment::clear(&path),
            (Err(failure), Some(_)) => Err(failure.into()),
            // Nobody attached it here: it may not even exist.
            (Err(failure), None) => {
                work.reporter.message(format!(
                    "{self} was not attached here, and detaching it all the same failed: {failure}"
                ));
                Ok(())
            }
        }
    }

    /// Opens it, which must be attached.
    pub async fn open(&self, provider: &Provider, exclusive: bool, work: &Work) -> Result<()> {
        let path = self.attachment(&work.paths);
        let Some(mut known) = Attachment::read(&path)?.filter(|known| known.attached) else {
            return Err(self.not_attached());
        };
        if known.open == Some(exclusive) && !known.opening {
            return Ok(());
        }
        if provider.has(Script::Open) {
            (known.open, known.opening) = (Some(exclusive), true);
            known.write(&path)?;
            self.call(provider, Call::Open { exclusive }, work).await?;
            known.opening = false;
            known.write(&path)?;
        }
        Ok(())
    }

    /// Closes it.
    pub async fn close(&self, provider: &Provider, work: &Work) -> Result<()> {
        let path = self.attachment(&work.paths);
        let Some(mut known) = Attachment::read(&path)? else { return Ok(()) };
        if known.open.is_some() && provider.has(Script::Close) {
            self.call(provider, Call::Close, work).await?;
        }
        (known.open, known.opening) = (None, false);
        known.write(&path)
    }

    /// What it is attached as, as of now.
    pub async fn attached_as(&self, work: &Work) -> Result<Attached> {
        let path = self.attachment(&work.paths);
        let Some(mut known) = Attachment::read(&path)?.filter(|known| known.attached) else {
            return Err(self.not_attached());
        };
        let provider = self.provider(&work.paths).await?;
        let attached = self.look(&provider, work).await?;
        known.set(attached.clone());
        known.write(&path)?;
        Ok(attached)
    }

    fn not_attached(&self) -> Error {
        Error::wrong_state(format!(
            "{self} is not attached on this node; 'gnt-instance activate-disks' attaches it"
        ))
    }

    /// Attaches it for a while.
    pub async fn borrow(&self, work: &Work) -> Result<Borrowed> {
        let path = self.attachment(&work.paths);
        let stays = Attachment::read(&path)?.is_some_and(|known| known.attached);
        self.attach(false, work).await?;
        let attached = match self.attached_as(work).await {
            Ok(attached) => attached,
            Err(error) => {
                if !stays {
                    self.detach(work).await?;
                }
                return Err(error);
            }
        };
        Ok(Borrowed { attached, stays })
    }

    /// The end of it.
    pub async fn give_back(&self, borrowed: Borrowed, work: &Work) -> Result<()> {
        if borrowed.stays { Ok(()) } else { self.detach(work).await }
    }
}
