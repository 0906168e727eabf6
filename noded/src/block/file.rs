//! Disks that are files: `file` (on this node) and `sharedfile` (on a file system that all nodes
//! mount). Raw ones are sparse; with the disk parameter `format=qcow2` they are QEMU's images.

use super::device::{BlockDevice, Place, Work};
use super::marker::{self, Owner};
use super::place;
use crate::blocking::blocking;
use crate::durable;
use crate::exec::Command;
use crate::hypervisor::{ImageFormat, Source};
use nix::fcntl::{FallocateFlags, fallocate};
use roost_proto::choices::DiskTemplate;
use roost_proto::error::{Error, Result};
use roost_proto::ids::DiskId;
use roost_proto::node::{BlockState, BlockStatus, DiskRole};
use roost_proto::objects::Disk;
use roost_proto::paths::Paths;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long qemu-img may take to make or resize an image, none of which moves data.
const QEMU_IMG: Duration = Duration::from_secs(300);
const MIB: u64 = 1 << 20;

/// A disk that is a file.
#[derive(Clone, Debug)]
pub struct FileDisk {
    disk: DiskId,
    /// MiB.
    size: u64,
    /// On this machine.
    path: PathBuf,
    format: ImageFormat,
    shared: bool,
    /// The directory it is in is a storage directory itself: not made for it, so never removed.
    in_base: bool,
}

impl FileDisk {
    /// The file of a disk. Errors: it has no path, or one that may not hold disks.
    pub fn of(disk: &Disk, paths: &Paths) -> Result<FileDisk> {
        let path = disk.path().ok_or_else(|| {
            Error::wrong_input(format!(
                "Disk {} of template {} has no path",
                disk.uuid, disk.dev_type
            ))
        })?;
        let format = match disk.format() {
            "raw" => ImageFormat::Raw,
            "qcow2" => ImageFormat::Qcow2,
            other => {
                return Err(Error::wrong_input(format!(
                    "Disk {} has format '{other}'; file disks are raw or qcow2",
                    disk.uuid
                )));
            }
        };
        let local = place::check(path, paths)?;
        let parent = Path::new(path).parent();
        let in_base =
            place::allowed_directories(paths).iter().any(|dir| Some(Path::new(dir)) == parent);
        Ok(FileDisk {
            disk: disk.uuid,
            size: disk.size,
            path: local,
            format,
            shared: disk.dev_type == DiskTemplate::SharedFile,
            in_base,
        })
    }

    fn error(&self, what: &str, why: impl std::fmt::Display) -> Error {
        Error::exec(format!("Cannot {what} the disk file '{}': {why}", self.path.display()))
    }

    fn missing(&self) -> Error {
        Error::environment(format!(
            "The disk file '{}' is missing; if it is on a shared file system, is that mounted? \
             Otherwise bring it back, or make new disks with 'gnt-instance recreate-disks'",
            self.path.display()
        ))
    }

    /// MiB that a guest sees, rounded down; `None` if there is no file.
    fn real_size(&self) -> Result<Option<u64>> {
        let bytes = match self.format {
            ImageFormat::Raw => match self.path.metadata() {
                Ok(meta) => Ok(meta.len()),
                Err(e) => Err(e),
            },
            ImageFormat::Qcow2 => qcow2_size(&self.path),
        };
        match bytes {
            Ok(bytes) => Ok(Some(bytes / MIB)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.error("read", e)),
        }
    }

    /// What is to be done to make it: the file is there already, or its place is ready.
    fn prepare(&self) -> Result<Prepared> {
        let owner = marker::owner(&self.path, self.disk)?;
        if self.path.symlink_metadata().is_ok() {
            return match owner {
                Owner::Ours => match self.real_size()? {
                    Some(size) if size == self.size => Ok(Prepared::Done),
                    Some(size) if size > self.size => Err(Error::exists(format!(
                        "The disk file '{}' exists and has {size} MiB, not {}",
                        self.path.display(),
                        self.size
                    ))),
                    // Cut short by a crash.
                    _ => Ok(Prepared::Ready),
                },
                Owner::Other(_) | Owner::Unmarked => Err(Error::exists(format!(
                    "The file '{}' exists and is not this disk's{}; move it away or remove it",
                    self.path.display(),
                    match owner {
                        Owner::Other(other) => format!(" but disk {other}'s"),
                        _ => String::new(),
                    }
                ))),
            };
        }
        if let Some(dir) = self.path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o750)
                .create(dir)
                .and_then(|()| durable::sync_parent(dir))
                .map_err(|e| self.error("make the directory for", e))?;
        }
        marker::set(&self.path, self.disk)?;
        Ok(Prepared::Ready)
    }

    fn make_raw(&self) -> Result<()> {
        let bytes = self.size.checked_mul(MIB).ok_or_else(|| self.error("make", "too large"))?;
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.path)
            .and_then(|file| {
                file.set_len(bytes)?;
                file.sync_all()
            })
            .and_then(|()| durable::sync_parent(&self.path))
            .map_err(|e| self.error("make", e))
    }

    /// Makes an image aside and puts it in place as a whole.
    async fn make_qcow2(&self) -> Result<()> {
        let aside = self.aside();
        Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2"])
            .arg(&aside)
            .arg(format!("{}M", self.size))
            .deadline(QEMU_IMG)
            .run_ok()
            .await
            .map_err(|e| self.error("make", e))?;
        let this = self.clone();
        blocking(move || this.put_in_place(&aside)).await
    }

    fn put_in_place(&self, aside: &Path) -> Result<()> {
        File::open(aside)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(aside, &self.path))
            .and_then(|()| durable::sync_parent(&self.path))
            .map_err(|e| self.error("make", e))
    }

    fn aside(&self) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        self.path.with_file_name(format!(".{name}.new"))
    }

    /// Removes what there is of it: data, then mark, then its directory if nothing else is there.
    fn erase(&self) -> Result<()> {
        durable::remove(&self.aside())?;
        durable::remove(&self.path)?;
        marker::clear(&self.path)?;
        self.leave_directory();
        Ok(())
    }

    fn leave_directory(&self) {
        if let (Some(dir), false) = (self.path.parent(), self.in_base) {
            // Not empty: other disks are in it. Anything else does no harm.
            if fs::remove_dir(dir).is_ok() {
                let _ = durable::sync_parent(dir);
            }
        }
    }

    fn remove_now(&self, undo: bool) -> Result<Option<String>> {
        let there = self.path.symlink_metadata().is_ok();
        match marker::owner(&self.path, self.disk)? {
            Owner::Ours => self.erase().map(|()| None),
            // Made by Ganeti, or its mark was lost: still ours, says the configuration. But an undo
            // speaks of a disk that may never have been made.
            Owner::Unmarked if there && !undo => self.erase().map(|()| None),
            Owner::Unmarked if !there => {
                self.leave_directory();
                Ok(None)
            }
            Owner::Unmarked => Ok(Some("it was there before".into())),
            Owner::Other(_) if !there => Ok(None),
            Owner::Other(other) => Ok(Some(format!("it belongs to disk {other}"))),
        }
    }

    fn punch(&self, work: &Work) -> Result<()> {
        let file =
            OpenOptions::new().write(true).open(&self.path).map_err(|e| self.error("wipe", e))?;
        let length = file.metadata().map_err(|e| self.error("wipe", e))?.len();
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let whole = i64::try_from(length).map_err(|e| self.error("wipe", e))?;
        if length == 0 || fallocate(&file, flags, 0, whole).is_ok() {
            return file.sync_all().map_err(|e| self.error("wipe", e));
        }
        self.write_zeros(file, length, work).map_err(|e| self.error("wipe", e))
    }

    fn write_zeros(&self, mut file: File, length: u64, work: &Work) -> io::Result<()> {
        let zeros = vec![0; MIB as usize];
        let mut done = 0;
        while done < length {
            let n = zeros.len().min(usize::try_from(length - done).unwrap_or(usize::MAX));
            work.budget.take(n as u64, || true);
            file.write_all(&zeros[..n])?;
            done += n as u64;
            if done % (256 * MIB) == 0 {
                work.reporter.progress(roost_proto::node::Progress {
                    percent: Some(100.0 * done as f64 / length as f64),
                    ..Default::default()
                });
            }
        }
        file.sync_all()
    }

    fn adopt(&self) -> Result<()> {
        if self.path.symlink_metadata().is_err() {
            return Err(self.missing());
        }
        match marker::owner(&self.path, self.disk)? {
            Owner::Ours => Ok(()),
            Owner::Unmarked => marker::set(&self.path, self.disk),
            Owner::Other(other) => {
                Err(self.error("use", format!("it belongs to disk {other}, not {}", self.disk)))
            }
        }
    }

    /// Moves the file; done already is success.
    pub(super) fn rename_now(&self, to: &FileDisk) -> Result<()> {
        if self.path == to.path {
            return marker::set(&to.path, to.disk);
        }
        let (here, there) =
            (self.path.symlink_metadata().is_ok(), to.path.symlink_metadata().is_ok());
        let owner = marker::owner(&to.path, to.disk)?;
        match (here, there) {
            (false, true) if owner == Owner::Ours => {}
            (false, _) => return Err(self.missing()),
            (true, true) => {
                return Err(Error::exists(format!(
                    "The disk file '{}' cannot be moved to '{}': that exists",
                    self.path.display(),
                    to.path.display()
                )));
            }
            (true, false) => {
                if let Owner::Other(other) = marker::owner(&self.path, self.disk)? {
                    return Err(self.error("move", format!("it belongs to disk {other}")));
                }
                to.prepare()?;
                fs::rename(&self.path, &to.path)
                    .and_then(|()| durable::sync_parent(&to.path))
                    .map_err(|e| self.error(&format!("move (to '{}')", to.path.display()), e))?;
            }
        }
        marker::clear(&self.path)?;
        self.leave_directory();
        Ok(())
    }

    fn status_now(&self) -> Result<BlockStatus> {
        let mut status = BlockStatus {
            state: BlockState::Missing,
            path: None,
            major_minor: None,
            size: None,
            sync: None,
            detail: String::new(),
            children: vec![],
        };
        match self.real_size() {
            Ok(None) => return Ok(status),
            Ok(size) => {
                status.size = size;
                status.state = BlockState::Active;
                status.path = Some(self.path.to_string_lossy().into_owned());
            }
            Err(error) => {
                status.state = BlockState::Faulty;
                status.detail = error.message;
            }
        }
        if let Owner::Other(other) = marker::owner(&self.path, self.disk)? {
            status.state = BlockState::Faulty;
            status.detail = format!("the file belongs to disk {other}");
        }
        Ok(status)
    }

    /// How its data is laid out.
    pub(super) fn format(&self) -> ImageFormat {
        self.format
    }

    /// Only QEMU itself may change the image while a guest uses it.
    pub fn grows_by_hypervisor(&self) -> bool {
        self.format == ImageFormat::Qcow2
    }

    async fn here<T: Send + 'static>(
        &self,
        work: impl FnOnce(&FileDisk) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let this = self.clone();
        blocking(move || work(&this)).await
    }
}

enum Prepared {
    Done,
    Ready,
}

impl BlockDevice for FileDisk {
    async fn create(&self, _work: &Work) -> Result<()> {
        let existed = self.path.symlink_metadata().is_ok();
        let made = match self.here(FileDisk::prepare).await {
            Ok(Prepared::Done) => return Ok(()),
            Ok(Prepared::Ready) => match self.format {
                ImageFormat::Raw => self.here(FileDisk::make_raw).await,
                ImageFormat::Qcow2 => self.make_qcow2().await,
            },
            Err(e) => Err(e),
        };
        if made.is_err()
            && !existed
            && let Err(error) = self.here(FileDisk::erase).await
        {
            tracing::warn!(%error, "a disk that could not be made leaves something");
        }
        made
    }

    async fn remove(&self, work: &Work) -> Result<()> {
        let undo = work.undo;
        if let Some(why) = self.here(move |this| this.remove_now(undo)).await? {
            let path = self.path.display();
            work.reporter.message(format!("The file '{path}' was left alone: {why}"));
        }
        Ok(())
    }

    async fn wipe(&self, work: &Work) -> Result<()> {
        self.here(FileDisk::adopt).await?;
        match self.format {
            ImageFormat::Raw => {
                let work = work.clone();
                self.here(move |this| this.punch(&work)).await
            }
            ImageFormat::Qcow2 => self.make_qcow2().await,
        }
    }

    async fn assemble(&self, _role: DiskRole, _work: &Work) -> Result<()> {
        self.here(FileDisk::adopt).await
    }

    async fn shutdown(&self, _work: &Work) -> Result<()> {
        Ok(())
    }

    async fn open(&self, _exclusive: bool, _work: &Work) -> Result<()> {
        Ok(())
    }

    async fn close(&self, _work: &Work) -> Result<()> {
        Ok(())
    }

    async fn grow(&self, size: u64, _work: &Work) -> Result<()> {
        let now = self.here(FileDisk::real_size).await?.ok_or_else(|| self.missing())?;
        if now >= size {
            return Ok(());
        }
        match self.format {
            ImageFormat::Raw => {
                let grown = FileDisk { size, ..self.clone() };
                blocking(move || grown.make_raw()).await
            }
            ImageFormat::Qcow2 => Command::new("qemu-img")
                .args(["resize", "-q", "-f", "qcow2"])
                .arg(&self.path)
                .arg(format!("{size}M"))
                .deadline(QEMU_IMG)
                .run_ok()
                .await
                .map(drop)
                .map_err(|e| self.error("grow", e)),
        }
    }

    async fn rename(&self, to: &Disk, work: &Work) -> Result<()> {
        let to = FileDisk::of(to, &work.paths)?;
        self.here(move |this| this.rename_now(&to)).await
    }

    async fn snapshot(&self, to: &Disk, work: &Work) -> Result<()> {
        let to = FileDisk::of(to, &work.paths)?;
        if to.format != self.format {
            return Err(self.error("snapshot", "the copy would have another format"));
        }
        let target = to.clone();
        if let Prepared::Done = blocking(move || target.prepare()).await? {
            return Ok(());
        }
        let aside = to.aside();
        let copied = Command::new("cp")
            .args(["--reflink=auto", "--sparse=always", "--"])
            .arg(&self.path)
            .arg(&aside)
            .run_ok()
            .await
            .map_err(|e| self.error("snapshot", e));
        let target = to.clone();
        let placed = match copied {
            Ok(_) => blocking(move || target.put_in_place(&aside)).await,
            Err(e) => Err(e),
        };
        if placed.is_err() {
            to.here(FileDisk::erase).await?;
        }
        placed
    }

    async fn status(&self, _work: &Work) -> Result<BlockStatus> {
        self.here(FileDisk::status_now).await
    }

    async fn place(&self, _work: &Work) -> Result<Place> {
        self.here(|this| {
            if this.path.symlink_metadata().is_err() {
                return Err(this.missing());
            }
            let source = Source::File(this.path.clone());
            Ok(Place { source, format: this.format, shared: this.shared })
        })
        .await
    }
}

/// Bytes that a guest sees of an image: a field of its header.
fn qcow2_size(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut head = [0; 32];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut head)?;
    if &head[..4] != b"QFI\xfb" {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a qcow2 image"));
    }
    Ok(head[24..].iter().fold(0, |size, byte| size << 8 | u64::from(*byte)))
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
