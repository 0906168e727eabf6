//! Disks on a Gluster volume: files of a file system that every node mounts when it first needs it,
//! or, with the disk parameter `access=userspace`, opened by QEMU itself without that mount.
//!
//! Disk parameters: `host`, `port`, `volume` say where the volume is. The place of the mount is the
//! cluster's `gluster_storage_dir`. It is made for a first disk and stays: guests may use it.

use super::device::{BlockDevice, Place, Work};
use super::file::FileDisk;
use super::uri;
use crate::blocking::blocking;
use crate::exec::Command;
use crate::hypervisor::Source;
use crate::ssconf;
use roost_proto::choices::DiskTemplate;
use roost_proto::error::{Error, Result};
use roost_proto::node::{BlockState, BlockStatus, DiskRole};
use roost_proto::objects::{Disk, LogicalId};
use roost_proto::paths::Paths;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a mount may take. A volume whose servers do not answer is given up then.
const MOUNT: Duration = Duration::from_secs(60);

/// A disk on a Gluster volume.
#[derive(Clone, Debug)]
pub struct GlusterDisk {
    volume: Volume,
    /// As it is in the volume: `ganeti/INSTANCE.N`.
    name: String,
    /// As it is where the volume is mounted.
    file: FileDisk,
    userspace: bool,
}

/// A volume, and where it is mounted.
#[derive(Clone, Debug)]
struct Volume {
    host: String,
    port: u64,
    name: String,
    dir: PathBuf,
}

fn text<'a>(disk: &'a Disk, param: &str, default: &'a str) -> &'a str {
    disk.params.get(param).and_then(Value::as_str).filter(|v| !v.is_empty()).unwrap_or(default)
}

impl GlusterDisk {
    /// The file of a disk. Errors: no name, no directory to mount at, a name that leads elsewhere.
    pub fn of(disk: &Disk, paths: &Paths) -> Result<GlusterDisk> {
        let (driver, name) = match &disk.logical_id {
            LogicalId::Pair(driver, name) if !name.starts_with('/') => (driver, name),
            other => {
                return Err(Error::wrong_input(format!(
                    "Disk {} has no name on a Gluster volume: {other:?}",
                    disk.uuid
                )));
            }
        };
        let dir = ssconf::read(paths, "gluster_storage_dir").unwrap_or_default();
        let dir = dir.trim_end_matches('/');
        if dir.is_empty() {
            return Err(Error::environment(format!(
                "Disk {} is on a Gluster volume, and the cluster says nowhere to mount it; set it \
                 with 'gnt-cluster modify --gluster-storage-dir=DIR'",
                disk.uuid
            )));
        }
        let file = Disk {
            dev_type: DiskTemplate::SharedFile,
            logical_id: LogicalId::Pair(driver.clone(), format!("{dir}/{name}")),
            ..disk.clone()
        };
        let volume = Volume {
            host: text(disk, "host", "127.0.0.1").into(),
            port: disk.params.get("port").and_then(Value::as_u64).unwrap_or(24007),
            name: text(disk, "volume", "gv0").into(),
            dir: paths.absolute(dir),
        };
        Ok(GlusterDisk {
            file: FileDisk::of(&file, paths)?,
            name: name.clone(),
            userspace: text(disk, "access", "kernelspace") == "userspace",
            volume,
        })
    }

    /// By which QEMU opens it.
    fn uri(&self) -> String {
        let Volume { host, port, name, .. } = &self.volume;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        format!("gluster://{host}:{port}/{name}/{}", self.name)
    }

    /// Only QEMU itself may change the image while a guest uses it.
    pub fn grows_by_hypervisor(&self) -> bool {
        self.userspace || self.file.grows_by_hypervisor()
    }

    async fn mounted(&self) -> Result<&FileDisk> {
        self.volume.mount().await?;
        Ok(&self.file)
    }
}

/// What is mounted at a directory: kind of file system and source. `mounts` is a mountinfo(5).
fn mounted_at(mounts: &str, dir: &Path) -> Option<(String, String)> {
    let of = |line: &str| {
        let (place, kind) = line.split_once(" - ")?;
        let point = place.split(' ').nth(4)?.replace("\\040", " ");
        let mut kind = kind.split(' ');
        let found = (kind.next()?.to_owned(), kind.next()?.replace("\\040", " "));
        (Path::new(&point) == dir).then_some(found)
    };
    // Of several, the last one covers the others.
    mounts.lines().rev().find_map(of)
}

impl Volume {
    fn source(&self) -> String {
        format!("{}:/{}", self.host, self.name)
    }

    /// Whether it is mounted. Errors: something else is.
    fn is_mounted(&self) -> Result<bool> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")
            .map_err(|e| Error::environment(format!("Cannot see what is mounted: {e}")))?;
        match mounted_at(&mounts, &self.dir) {
            None => Ok(false),
            Some((kind, source)) if kind == "fuse.glusterfs" => {
                let name = |source: &str| {
                    source.rsplit_once(':').map_or(source, |(_, name)| name).replace('/', "")
                };
                if name(&source) == self.name {
                    return Ok(true);
                }
                Err(self.occupied(&format!("the Gluster volume '{source}'")))
            }
            Some((kind, source)) => Err(self.occupied(&format!("'{source}' ({kind})"))),
        }
    }

    fn occupied(&self, by: &str) -> Error {
        Error::environment(format!(
            "The Gluster volume '{}' cannot be mounted at '{}': {by} is there; unmount that, or \
             let the disk parameter 'volume' name it",
            self.source(),
            self.dir.display()
        ))
    }

    /// Mounts it, unless it is.
    async fn mount(&self) -> Result<()> {
        // One at a time: two would lie on top of each other.
        static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let _alone = ALONE.lock().await;
        let this = self.clone();
        let there = blocking(move || {
            let there = this.is_mounted()?;
            if !there {
                fs::create_dir_all(&this.dir).map_err(|e| {
                    Error::environment(format!("Cannot make '{}': {e}", this.dir.display()))
                })?;
            }
            Ok(there)
        })
        .await?;
        if there {
            return Ok(());
        }
        Command::new("mount")
            .args(["-t", "glusterfs", "-o"])
            .arg(format!("server-port={}", self.port))
            .arg(self.source())
            .arg(&self.dir)
            .deadline(MOUNT)
            .run_ok()
            .await
            .map_err(|e| {
                Error::environment(format!(
                    "The Gluster volume '{}' cannot be mounted at '{}': {}; is it started \
                     ('gluster volume status'), and is glusterfs-client installed here?",
                    self.source(),
                    self.dir.display(),
                    e.message
                ))
            })?;
        // The helper may succeed and the mount be gone at once: servers that refuse the client.
        let this = self.clone();
        match blocking(move || this.is_mounted()).await? {
            true => Ok(()),
            false => Err(Error::environment(format!(
                "The Gluster volume '{}' was mounted at '{}' and is gone; see the log in \
                 /var/log/glusterfs",
                self.source(),
                self.dir.display()
            ))),
        }
    }
}

impl BlockDevice for GlusterDisk {
    async fn create(&self, work: &Work) -> Result<()> {
        self.mounted().await?.create(work).await
    }

    async fn remove(&self, work: &Work) -> Result<()> {
        match self.mounted().await {
            Ok(file) => file.remove(work).await,
            // It was made through a mount, and a mount stays: without one nothing was made.
            Err(error) if work.undo => {
                let (name, volume) = (&self.name, self.volume.source());
                work.reporter.message(format!(
                    "Nothing to remove of '{name}': the Gluster volume '{volume}' is not here ({})",
                    error.message
                ));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn wipe(&self, work: &Work) -> Result<()> {
        self.mounted().await?.wipe(work).await
    }

    async fn assemble(&self, role: DiskRole, work: &Work) -> Result<()> {
        self.mounted().await?.assemble(role, work).await
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

    async fn grow(&self, size: u64, work: &Work) -> Result<()> {
        self.mounted().await?.grow(size, work).await
    }

    async fn rename(&self, to: &Disk, work: &Work) -> Result<()> {
        let to = GlusterDisk::of(to, &work.paths)?;
        let from = self.mounted().await?.clone();
        blocking(move || from.rename_now(&to.file)).await
    }

    async fn snapshot(&self, _to: &Disk, _work: &Work) -> Result<()> {
        Err(Error::environment(format!(
            "The disk '{}' on a Gluster volume cannot be snapshot",
            self.name
        )))
    }

    async fn status(&self, work: &Work) -> Result<BlockStatus> {
        let mut status = self.mounted().await?.status(work).await?;
        if self.userspace && status.state == BlockState::Active {
            status.path = Some(uri::shown(&self.uri()));
        }
        Ok(status)
    }

    async fn place(&self, work: &Work) -> Result<Place> {
        if !self.userspace {
            return self.mounted().await?.place(work).await;
        }
        let format = self.file.format();
        Ok(Place { source: Source::Uri(self.uri()), format, shared: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn disk(params: Value) -> Disk {
        serde_json::from_value(json!({
            "uuid": "22222222-0000-4000-8000-000000000001", "dev_type": "gluster", "size": 1,
            "logical_id": ["loop", "ganeti/i1.0"], "params": params,
        }))
        .expect("a disk")
    }

    fn paths() -> (tempfile::TempDir, Paths) {
        let root = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(root.path().to_owned()));
        fs::create_dir_all(paths.data_dir()).expect("data");
        (root, paths)
    }

    #[test]
    fn a_disk_is_a_file_or_an_address() {
        let (root, paths) = paths();
        let why = GlusterDisk::of(&disk(json!({})), &paths).expect_err("nowhere to mount").message;
        assert!(why.contains("--gluster-storage-dir"), "{why}");
        fs::write(paths.ssconf("gluster_storage_dir"), "/srv/gluster/\n").expect("ssconf");
        let plain = GlusterDisk::of(&disk(json!({})), &paths).expect("a disk");
        assert_eq!(plain.volume.source(), "127.0.0.1:/gv0");
        assert_eq!(plain.volume.dir, root.path().join("srv/gluster"));
        assert!(!plain.userspace);
        let params =
            json!({"host": "2001:db8::1", "port": 4, "volume": "v", "access": "userspace"});
        let own = GlusterDisk::of(&disk(params), &paths).expect("a disk");
        assert_eq!(own.uri(), "gluster://[2001:db8::1]:4/v/ganeti/i1.0");
        assert!(own.userspace && own.grows_by_hypervisor());
    }

    #[test]
    fn a_name_does_not_lead_out_of_the_volume() {
        let (_root, paths) = paths();
        fs::write(paths.ssconf("gluster_storage_dir"), "/srv/gluster\n").expect("ssconf");
        for name in ["/etc/passwd", "../../etc/passwd", "ganeti/../../x"] {
            let mut bad = disk(json!({}));
            bad.logical_id = LogicalId::Pair("loop".into(), name.into());
            GlusterDisk::of(&bad, &paths).expect_err(name);
        }
    }

    #[test]
    fn mounts_are_recognised() {
        let mounts = "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                      30 20 0:40 / /srv/a\\040b rw - fuse.glusterfs glu1:/gv0 rw,user_id=0\n\
                      31 20 0:41 / /srv/x rw - tmpfs tmpfs rw\n";
        let at = |dir: &str| mounted_at(mounts, Path::new(dir));
        assert_eq!(at("/srv/a b"), Some(("fuse.glusterfs".into(), "glu1:/gv0".into())));
        assert_eq!(at("/srv/x"), Some(("tmpfs".into(), "tmpfs".into())));
        assert_eq!(at("/srv"), None);
    }
}
