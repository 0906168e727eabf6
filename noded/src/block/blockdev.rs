//! Devices that exist and are taken over as they are (`blockdev`): partitions, multipath devices,
//! volumes of an appliance. They are never made, grown or removed by us, only used.

use super::device::{BlockDevice, Place, Work};
use crate::blocking::blocking;
use crate::hypervisor::{ImageFormat, Source};
use roost_proto::error::{Error, Result};
use roost_proto::node::{BlockState, BlockStatus, DiskRole};
use roost_proto::objects::Disk;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Devices may be adopted from below this directory only, because names elsewhere change with the
/// next boot (Ganeti's reference, disk templates).
const ROOT: &str = "/dev/disk";
const MIB: u64 = 1 << 20;

/// An adopted device.
#[derive(Clone, Debug)]
pub struct AdoptedDevice {
    path: PathBuf,
    /// MiB.
    size: u64,
}

impl AdoptedDevice {
    /// The device of a disk. Errors: its path is not one that may be adopted.
    pub fn of(disk: &Disk) -> Result<AdoptedDevice> {
        let path = PathBuf::from(disk.path().unwrap_or_default());
        let plain = path.components().all(|c| !matches!(c, std::path::Component::ParentDir));
        if !path.starts_with(ROOT) || path == Path::new(ROOT) || !plain {
            return Err(Error::wrong_input(format!(
                "The device '{}' can't be used: only those below {ROOT} keep their names (by-id, \
                 by-path, by-uuid, …)",
                path.display()
            )));
        }
        Ok(AdoptedDevice { path, size: disk.size })
    }

    fn never(&self, what: &str) -> Error {
        Error::wrong_state(format!(
            "The device '{}' was adopted and cannot be {what}: it is not ours",
            self.path.display()
        ))
    }

    /// (bytes, major, minor); nothing if it is not there. Errors: it is no device, or unreadable.
    fn look(&self) -> Result<Option<(u64, u32, u32)>> {
        let Ok(meta) = self.path.metadata() else { return Ok(None) };
        let wrong = |why: String| {
            Error::environment(format!("The device '{}' can't be used: {why}", self.path.display()))
        };
        if !meta.file_type().is_block_device() {
            return Err(wrong("it is not a block device".into()));
        }
        let bytes = File::open(&self.path)
            .and_then(|mut file| file.seek(SeekFrom::End(0)))
            .map_err(|e| wrong(e.to_string()))?;
        let number = meta.rdev();
        let part = |n: u64| u32::try_from(n).unwrap_or_default();
        Ok(Some((bytes, part(nix::sys::stat::major(number)), part(nix::sys::stat::minor(number)))))
    }

    /// It is there and as large as recorded.
    async fn check(&self) -> Result<()> {
        let this = self.clone();
        blocking(move || match this.look()? {
            Some((bytes, ..)) if bytes / MIB >= this.size => Ok(()),
            Some((bytes, ..)) => Err(Error::environment(format!(
                "The device '{}' has {} MiB, {} are recorded; 'gnt-cluster repair-disk-sizes' \
                 corrects the record if the device is the right one",
                this.path.display(),
                bytes / MIB,
                this.size
            ))),
            None => Err(Error::environment(format!(
                "The device '{}' is not there; is it connected to this node?",
                this.path.display()
            ))),
        })
        .await
    }
}

impl BlockDevice for AdoptedDevice {
    async fn create(&self, _work: &Work) -> Result<()> {
        self.check().await
    }

    async fn remove(&self, work: &Work) -> Result<()> {
        let path = self.path.display();
        work.reporter.message(format!("The adopted device '{path}' keeps its data"));
        Ok(())
    }

    async fn wipe(&self, work: &Work) -> Result<()> {
        let path = self.path.display();
        work.reporter.message(format!("The adopted device '{path}' is not wiped"));
        Ok(())
    }

    async fn assemble(&self, _role: DiskRole, _work: &Work) -> Result<()> {
        self.check().await
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

    async fn grow(&self, _size: u64, _work: &Work) -> Result<()> {
        Err(self.never("grown"))
    }

    async fn rename(&self, to: &Disk, work: &Work) -> Result<()> {
        match to.path() {
            // Adoption: it stays as it is. Undone, it may not even be there.
            Some(same) if self.path.as_os_str() == same => match work.undo {
                true => Ok(()),
                false => self.check().await,
            },
            _ => Err(self.never("renamed")),
        }
    }

    async fn snapshot(&self, _to: &Disk, _work: &Work) -> Result<()> {
        Err(self.never("snapshot"))
    }

    async fn status(&self, _work: &Work) -> Result<BlockStatus> {
        let this = self.clone();
        blocking(move || {
            let mut status = BlockStatus::of(BlockState::Missing);
            match this.look() {
                Ok(None) => {}
                Ok(Some((bytes, major, minor))) => {
                    status.state = BlockState::Active;
                    status.path = Some(this.path.to_string_lossy().into_owned());
                    status.size = Some(bytes / MIB);
                    status.major_minor = Some((major, minor));
                }
                Err(error) => {
                    status.state = BlockState::Faulty;
                    status.detail = error.message;
                }
            }
            Ok(status)
        })
        .await
    }

    async fn place(&self, _work: &Work) -> Result<Place> {
        self.check().await?;
        let source = Source::Block(self.path.clone());
        Ok(Place { source, format: ImageFormat::Raw, shared: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::Reporter;
    use roost_proto::paths::Paths;
    use serde_json::json;

    fn disk(path: &str) -> Disk {
        serde_json::from_value(json!({
            "uuid": "22222222-0000-4000-8000-000000000001", "dev_type": "blockdev", "size": 1,
            "logical_id": ["manual", path],
        }))
        .expect("a disk")
    }

    #[test]
    fn only_lasting_names() {
        for bad in ["/dev/sda", "/dev/disk", "/dev/disk/../sda", "/etc/passwd", ""] {
            AdoptedDevice::of(&disk(bad)).expect_err(bad);
        }
        AdoptedDevice::of(&disk("/dev/disk/by-id/x")).expect("a lasting name");
    }

    #[tokio::test]
    async fn what_is_not_there_is_missing_and_never_made() {
        let paths = Paths::new(None);
        let node = "00000000-0000-4000-8000-000000000001".parse().expect("uuid");
        let reporter = Reporter::silent();
        let work =
            Work { paths, node, instance: None, undo: false, reporter, budget: Default::default() };
        let device = AdoptedDevice::of(&disk("/dev/disk/by-id/roost-none")).expect("a name");
        let status = device.status(&work).await.expect("an answer");
        assert_eq!(status.state, BlockState::Missing);
        let error = device.create(&work).await.expect_err("it is not there");
        assert!(error.message.contains("is not there"), "{error}");
        device.remove(&work).await.expect("nothing to do");
        device.grow(5, &work).await.expect_err("not ours");
    }
}
