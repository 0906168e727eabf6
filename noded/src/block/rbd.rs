//! Disks that are images of a Ceph pool (`rbd`): mapped by this node's kernel, or, with the disk
//! parameter `access=userspace`, opened by QEMU itself through librbd.
//!
//! ```text
//!   (nothing) ── create ──► image, marked with its disk ── assemble ──► /dev/rbdN, or nothing to do
//!       ▲                          │   ▲                                       │
//!       └───────── remove ─────────┘   └────────────── shutdown ───────────────┘
//! ```
//!
//! Disk parameters: `pool`; `user-id`, the cephx user, whose key ceph's own configuration names.
//! An image's name is unique (the master made it up); a mark in its metadata says whose it is.

use super::device::{BlockDevice, Place, Work};
use super::uri;
use crate::exec::{Command, Output};
use crate::hypervisor::{ImageFormat, Source};
use roost_proto::choices::DiskTemplate;
use roost_proto::error::{Error, Result};
use roost_proto::ids::DiskId;
use roost_proto::node::{BlockState, BlockStatus, DiskRole};
use roost_proto::objects::{Disk, LogicalId};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// A question to the pool. One that does not answer (no monitor, no quorum) is given up then.
const ASK: Duration = Duration::from_secs(30);
/// What touches the data of an image.
const WORK: Duration = Duration::from_secs(3600);
/// The key in an image's metadata that names its disk.
const MARK: &str = "roost-disk";
/// Names a ceph.conf other than ceph's own; for several clusters of Ceph, and for tests.
const CONF: &str = "CEPH_CONF";
const MIB: u64 = 1 << 20;
/// What `rbd` exits with when there is no such image.
const ENOENT: i32 = 2;

/// A disk that is an image.
#[derive(Clone, Debug)]
pub struct RbdDisk {
    disk: DiskId,
    /// MiB.
    size: u64,
    pool: String,
    image: String,
    user: String,
    userspace: bool,
    conf: Option<String>,
}

impl RbdDisk {
    /// The image of a disk. Errors: it names none.
    pub fn of(disk: &Disk) -> Result<RbdDisk> {
        let image = match &disk.logical_id {
            LogicalId::Pair(_, image) if disk.dev_type == DiskTemplate::Rbd => image.clone(),
            other => {
                return Err(Error::wrong_input(format!(
                    "Disk {} names no image: {other:?}",
                    disk.uuid
                )));
            }
        };
        let text = |param: &str, default: &str| {
            let value = disk.params.get(param).and_then(Value::as_str).filter(|v| !v.is_empty());
            value.unwrap_or(default).to_owned()
        };
        Ok(RbdDisk {
            disk: disk.uuid,
            size: disk.size,
            pool: text("pool", "rbd"),
            image,
            user: text("user-id", ""),
            userspace: text("access", "kernelspace") == "userspace",
            conf: std::env::var(CONF).ok().filter(|conf| !conf.is_empty()),
        })
    }

    /// Only QEMU itself knows how to tell a guest.
    pub fn grows_by_hypervisor(&self) -> bool {
        false
    }

    fn spec(&self) -> String {
        format!("{}/{}", self.pool, self.image)
    }

    fn rbd(&self, deadline: Duration) -> Command {
        let mut command = Command::new("rbd").deadline(deadline);
        if let Some(conf) = &self.conf {
            command = command.arg("--conf").arg(conf.as_str());
        }
        if !self.user.is_empty() {
            command = command.arg("--id").arg(self.user.as_str());
        }
        command
    }

    fn error(&self, what: &str, why: impl std::fmt::Display) -> Error {
        Error::exec(format!("Cannot {what} the image '{}': {why}", self.spec()))
    }

    fn missing(&self) -> Error {
        Error::environment(format!(
            "The image '{}' is missing; bring it back, or make new disks with 'gnt-instance \
             recreate-disks'",
            self.spec()
        ))
    }

    /// Runs it; the error names the image.
    async fn done(&self, what: &str, command: Command) -> Result<()> {
        command.run_ok().await.map(drop).map_err(|e| self.error(what, e.message))
    }

    /// An answer in JSON; nothing if there is no such thing.
    async fn ask(&self, args: &[&str]) -> Result<Option<Value>> {
        let command = self.rbd(ASK).args(args.iter().copied()).args(["--format", "json"]);
        let (end, answer) = command.run_apart().await?;
        let Output { code, .. } = end;
        match code {
            0 => serde_json::from_slice(&answer).map(Some).map_err(|e| {
                self.error("look at", format!("rbd answers something that is no JSON: {e}"))
            }),
            ENOENT => Ok(None),
            _ => Err(self.error("look at", format!("rbd {}: {}", end.end, end.last_lines(5)))),
        }
    }

    /// MiB it has; nothing if there is none.
    async fn real_size(&self) -> Result<Option<u64>> {
        let info = self.ask(&["info", &self.spec()]).await?;
        Ok(info.and_then(|info| info["size"].as_u64()).map(|bytes| bytes / MIB))
    }

    /// The disk it was made for, as far as that is known.
    async fn owner(&self) -> Result<Option<String>> {
        let marks = self.ask(&["image-meta", "list", &self.spec()]).await?;
        Ok(marks.and_then(|marks| marks[MARK].as_str().map(str::to_owned)))
    }

    /// An image that is another disk's is never touched.
    async fn must_be_ours(&self) -> Result<()> {
        match self.owner().await? {
            Some(owner) if owner != self.disk.to_string() => Err(Error::exists(format!(
                "The image '{}' belongs to disk {owner}, not {}",
                self.spec(),
                self.disk
            ))),
            _ => Ok(()),
        }
    }

    async fn mark(&self) -> Result<()> {
        let id = self.disk.to_string();
        let command = self.rbd(ASK).args(["image-meta", "set", &self.spec(), MARK, &id]);
        self.done("mark", command).await
    }

    /// Where this node's kernel has it.
    async fn mapped(&self) -> Result<Option<PathBuf>> {
        if !std::path::Path::new("/sys/bus/rbd").exists() {
            return Ok(None);
        }
        let all = self.ask(&["showmapped"]).await?.unwrap_or_default();
        Ok(find_mapped(&all, &self.pool, &self.image))
    }

    /// By which QEMU opens it.
    fn uri(&self) -> String {
        let mut uri = format!("rbd:{}", self.spec());
        if !self.user.is_empty() {
            uri.push_str(&format!(":id={}", self.user));
        }
        if let Some(conf) = &self.conf {
            uri.push_str(&format!(":conf={conf}"));
        }
        uri
    }

    async fn resize(&self, size: u64, shrink: bool) -> Result<()> {
        let mut command =
            self.rbd(WORK).args(["resize", "--no-progress", "--size", &format!("{size}M")]);
        if shrink {
            command = command.arg("--allow-shrink");
        }
        self.done("resize", command.arg(self.spec())).await
    }
}

/// What `rbd showmapped` says, by any of its two shapes: a list, or an object by number.
fn find_mapped(all: &Value, pool: &str, image: &str) -> Option<PathBuf> {
    let entries: Vec<&Value> = match all {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => vec![],
    };
    let ours = |e: &&&Value| e["pool"] == pool && e["name"] == image && e["snap"] == "-";
    Some(PathBuf::from(entries.iter().find(ours)?["device"].as_str()?))
}

impl BlockDevice for RbdDisk {
    async fn create(&self, _work: &Work) -> Result<()> {
        match self.real_size().await? {
            None => {
                let size = format!("{}M", self.size);
                // Features that every kernel can map.
                let args = ["create", "--image-feature", "layering", "--size", &size, &self.spec()];
                self.done("make", self.rbd(ASK).args(args)).await?;
            }
            Some(size) if size == self.size => self.must_be_ours().await?,
            Some(size) => {
                return Err(Error::exists(format!(
                    "The image '{}' exists and has {size} MiB, not {}",
                    self.spec(),
                    self.size
                )));
            }
        }
        self.mark().await
    }

    async fn remove(&self, work: &Work) -> Result<()> {
        if self.real_size().await?.is_none() {
            return Ok(());
        }
        if self.must_be_ours().await.is_err() {
            let spec = self.spec();
            work.reporter.message(format!("The image '{spec}' was left alone: not this disk's"));
            return Ok(());
        }
        self.shutdown(work).await?;
        self.done("remove", self.rbd(WORK).args(["rm", "--no-progress", &self.spec()])).await
    }

    async fn wipe(&self, _work: &Work) -> Result<()> {
        self.must_be_ours().await?;
        // What is cut off is gone: it reads as zeros when it comes back.
        self.resize(0, true).await?;
        self.resize(self.size, false).await
    }

    async fn assemble(&self, _role: DiskRole, _work: &Work) -> Result<()> {
        if self.real_size().await?.is_none() {
            return Err(self.missing());
        }
        self.must_be_ours().await?;
        if self.userspace || self.mapped().await?.is_some() {
            return Ok(());
        }
        self.rbd(ASK).args(["map", &self.spec()]).run_ok().await.map(drop).map_err(|e| {
            let why = format!(
                "{}; with the disk parameter access=userspace QEMU opens it without the kernel",
                e.message
            );
            self.error("map", why)
        })
    }

    async fn shutdown(&self, _work: &Work) -> Result<()> {
        match self.mapped().await? {
            None => Ok(()),
            Some(device) => self.done("unmap", self.rbd(ASK).arg("unmap").arg(device)).await,
        }
    }

    async fn open(&self, _exclusive: bool, _work: &Work) -> Result<()> {
        Ok(())
    }

    async fn close(&self, _work: &Work) -> Result<()> {
        Ok(())
    }

    async fn grow(&self, size: u64, _work: &Work) -> Result<()> {
        match self.real_size().await? {
            None => Err(self.missing()),
            Some(now) if now >= size => Ok(()),
            Some(_) => self.resize(size, false).await,
        }
    }

    async fn rename(&self, to: &Disk, _work: &Work) -> Result<()> {
        let to = RbdDisk::of(to)?;
        if to.spec() == self.spec() || self.real_size().await?.is_none() {
            to.must_be_ours().await?;
            return match to.real_size().await? {
                Some(_) => to.mark().await,
                None => Err(self.missing()),
            };
        }
        self.must_be_ours().await?;
        self.done("rename", self.rbd(ASK).args(["rename", &self.spec(), &to.spec()])).await?;
        to.mark().await
    }

    /// A clone: it shares what does not change, and Ceph keeps the snapshot below it as long.
    async fn snapshot(&self, to: &Disk, _work: &Work) -> Result<()> {
        let to = RbdDisk::of(to)?;
        if to.real_size().await?.is_some() && to.owner().await?.is_some() {
            return to.must_be_ours().await;
        }
        let snap = format!("{}@roost-{}", self.spec(), to.disk);
        let taken = self.ask(&["snap", "ls", &self.spec()]).await?.unwrap_or_default();
        let name = format!("roost-{}", to.disk);
        let listed = taken.as_array().is_some_and(|all| all.iter().any(|s| s["name"] == *name));
        if !listed {
            let args = ["snap", "create", "--no-progress", &snap];
            self.done("snapshot", self.rbd(ASK).args(args)).await?;
        }
        if to.real_size().await?.is_none() {
            let args = ["clone", "--rbd-default-clone-format", "2", &snap, &to.spec()];
            self.done("clone", self.rbd(ASK).args(args)).await?;
        }
        // It stays, out of sight, until the clone is removed.
        let args = ["snap", "rm", "--no-progress", &snap];
        self.done("give up the snapshot of", self.rbd(ASK).args(args)).await?;
        to.mark().await
    }

    async fn status(&self, _work: &Work) -> Result<BlockStatus> {
        let mut status = BlockStatus::of(BlockState::Missing);
        let Some(size) = self.real_size().await? else { return Ok(status) };
        status.size = Some(size);
        if let Err(error) = self.must_be_ours().await {
            status.state = BlockState::Faulty;
            status.detail = error.message;
            return Ok(status);
        }
        let device = if self.userspace { None } else { self.mapped().await? };
        status.state = match (self.userspace, &device) {
            (true, _) | (_, Some(_)) => BlockState::Active,
            (false, None) => BlockState::Inactive,
        };
        status.path = match self.userspace {
            true => Some(uri::shown(&self.uri())),
            false => device.map(|device| device.to_string_lossy().into_owned()),
        };
        Ok(status)
    }

    async fn place(&self, _work: &Work) -> Result<Place> {
        let source = match self.userspace {
            true => Source::Uri(self.uri()),
            false => Source::Block(self.mapped().await?.ok_or_else(|| {
                self.error("use", "it is not mapped here; 'gnt-instance activate-disks' does it")
            })?),
        };
        Ok(Place { source, format: ImageFormat::Raw, shared: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn disk(params: Value) -> RbdDisk {
        let disk: Disk = serde_json::from_value(json!({
            "uuid": "22222222-0000-4000-8000-000000000001", "dev_type": "rbd", "size": 1,
            "logical_id": ["rbd", "u.rbd.disk0"], "params": params,
        }))
        .expect("a disk");
        RbdDisk::of(&disk).expect("an image")
    }

    #[test]
    fn how_qemu_finds_an_image() {
        let plain = RbdDisk { conf: None, ..disk(json!({})) };
        assert_eq!(plain.uri(), "rbd:rbd/u.rbd.disk0");
        let own = disk(json!({"pool": "fast", "user-id": "roost", "access": "userspace"}));
        let own = RbdDisk { conf: Some("/etc/ceph/b.conf".into()), ..own };
        assert_eq!(own.uri(), "rbd:fast/u.rbd.disk0:id=roost:conf=/etc/ceph/b.conf");
        assert!(own.userspace);
    }

    #[test]
    fn mapped_images_in_both_shapes() {
        let one =
            json!({"id": "0", "pool": "rbd", "name": "a", "snap": "-", "device": "/dev/rbd0"});
        let list = json!([one, {"pool": "rbd", "name": "b", "snap": "s", "device": "/dev/rbd1"}]);
        let find = |all: &Value, name| find_mapped(all, "rbd", name);
        assert_eq!(find(&list, "a"), Some("/dev/rbd0".into()));
        assert_eq!(find(&list, "b"), None, "a snapshot is not the image");
        assert_eq!(find(&json!({"0": one}), "a"), Some("/dev/rbd0".into()));
        assert_eq!(find(&Value::Null, "a"), None);
    }
}
