//! A mirrored disk on this node.

use super::super::device::{Assembly, BlockDevice, Device, Place, Work};
use super::super::{users, wipe};
use super::meta::{self, Meta};
use super::mirrors::mirrors;
use super::plan::{self, Call, Whose};
use super::show::Configured;
use super::state::{DiskState, Live, Role};
use super::version::{self, Dialect, Version};
use super::{report, tools};
use crate::blocking::blocking;
use crate::hypervisor::{ImageFormat, Source};
use crate::ssconf;
use roost_proto::error::{Error, Result};
use roost_proto::ids::{DiskId, NodeId};
use roost_proto::node::{BlockState, BlockStatus, DiskRole, SyncStatus};
use roost_proto::objects::{Disk, LogicalId, ParamMap};
use roost_proto::paths::Paths;
use std::fs;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

pub(super) const MIB: u64 = 1 << 20;
/// DRBD's number among the kernel's block devices.
const MAJOR: u32 = 147;
/// What 128 MiB of meta data can describe, MiB: a bit of its bitmap is 4 KiB of data.
const LARGEST: u64 = ((128 << 20) - 72 * 512) * 8 / 256;
/// How long the other side may take to grow, too.
const GROWTH: Duration = Duration::from_secs(30);

/// A disk that is a DRBD device.
#[derive(Clone)]
pub struct DrbdDisk {
    pub(super) uuid: DiskId,
    /// `disk/0`, for messages.
    pub(super) name: String,
    /// MiB.
    pub(super) size: u64,
    pub(super) params: ParamMap,
    pub(super) minor: u32,
    pub(super) port: u16,
    pub(super) secret: String,
    /// This node's number among the two, the other's identity and its number.
    pub(super) number: u32,
    pub(super) peer: NodeId,
    /// Where the two reach each other, as far as it was said.
    pub(super) local: Option<String>,
    pub(super) remote: Option<String>,
    pub(super) data: Box<Device>,
    pub(super) meta: Box<Device>,
}

impl std::fmt::Debug for DrbdDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DrbdDisk")
            .field("uuid", &self.uuid)
            .field("minor", &self.minor)
            .field("data", &self.data)
            .field("meta", &self.meta)
            .finish_non_exhaustive()
    }
}

impl DrbdDisk {
    /// This node's side of a disk. Errors: it has none here, or does not say what it stands on.
    pub fn of(disk: &Disk, work: &Work) -> Result<DrbdDisk> {
        let wrong = |why: &str| {
            Error::wrong_input(format!("Disk {} of template {} {why}", disk.uuid, disk.dev_type))
        };
        let LogicalId::Drbd(a, b, port, minor_a, minor_b, secret) = &disk.logical_id else {
            return Err(wrong("does not say its nodes, minors and port"));
        };
        let (number, minor, peer) = match work.node {
            node if node == *a => (0, *minor_a, *b),
            node if node == *b => (1, *minor_b, *a),
            _ => return Err(wrong("has no side on this node")),
        };
        let [data, meta] = disk.children.as_slice() else {
            return Err(wrong("does not stand on a data and a meta data volume"));
        };
        Ok(DrbdDisk {
            uuid: disk.uuid,
            name: disk.iv_name.clone(),
            size: disk.size,
            params: disk.params.clone(),
            minor,
            port: *port,
            secret: secret.clone(),
            number,
            peer,
            local: disk.addresses.get(&work.node).cloned(),
            remote: disk.addresses.get(&peer).cloned(),
            data: Box::new(Device::of(data, work)?),
            meta: Box::new(Device::of(meta, work)?),
        })
    }

    /// Ganeti's name for it.
    pub(super) fn resource(&self) -> String {
        format!("resource{}", self.minor)
    }

    /// `/dev/drbd0`.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/dev/drbd{}", self.minor))
    }

    /// `'/dev/drbd0'`, for messages.
    pub(super) fn called(&self) -> String {
        format!("'{}'", self.path().display())
    }

    /// An error that says which disk of the instance it is about.
    pub fn named(&self, error: Error) -> Error {
        if self.name.is_empty() { error } else { error.at(&self.name) }
    }

    /// What users call the other side.
    pub(super) fn peer_name(&self, paths: &Paths) -> String {
        node_name(self.peer, paths)
    }

    /// What holds this side's data, if it is active.
    pub(super) async fn data_path(&self, work: &Work) -> Option<PathBuf> {
        block_path(&self.data, work).await.ok()
    }

    /// How this disk's minor is set up, and whose it is. Nothing where there is no DRBD.
    pub(super) async fn configured(&self, work: &Work) -> Result<Option<(Configured, Whose)>> {
        if !version::loaded() {
            return Ok(None);
        }
        let data = self.data_path(work).await;
        let mut all = tools::configured().await?;
        if let Some(data) = &data {
            same_names(&mut all, data);
        }
        let Some(device) = all.into_iter().find(|d| d.minor == self.minor) else { return Ok(None) };
        // Nothing can stand on a volume that is not active.
        let data = data.unwrap_or_else(|| PathBuf::from("(inactive)"));
        let whose = plan::whose(&device, &data, &self.secret);
        Ok(Some((device, whose)))
    }

    /// The device, which must be set up and this disk's.
    pub(super) async fn set_up(&self, work: &Work) -> Result<Configured> {
        match self.configured(work).await? {
            Some((device, Whose::Ours | Whose::OursDiskless | Whose::OursElsewhere)) => Ok(device),
            _ => Err(Error::environment(format!(
                "{} is not active on this node; activate it with 'gnt-instance activate-disks'",
                self.called()
            ))),
        }
    }

    pub(super) async fn live(&self) -> Result<Option<Live>> {
        if !version::loaded() {
            return Ok(None);
        }
        mirrors().now(self.minor).await
    }

    pub(super) fn dialect() -> Dialect {
        match Version::now() {
            Some(Ok(version)) => version.dialect,
            _ => Dialect::Eight,
        }
    }

    /// Does one thing; the error says what, on what.
    pub(super) async fn done(&self, what: &str, call: Call) -> Result<String> {
        tools::done(&format!("{what} {}", self.called()), call).await
    }

    /// The device's file: without udev nobody else makes it.
    pub(super) async fn ensure_node(&self) -> Result<()> {
        let (path, minor) = (self.path(), self.minor);
        blocking(move || {
            let wanted = nix::sys::stat::makedev(MAJOR.into(), minor.into());
            match fs::metadata(&path) {
                Ok(meta) if meta.file_type().is_block_device() && meta.rdev() == wanted => {
                    return Ok(());
                }
                Ok(_) => fs::remove_file(&path),
                Err(_) => Ok(()),
            }
            .map_err(|e| std::io::Error::other(e.to_string()))
            .and_then(|()| {
                use nix::sys::stat::{Mode, SFlag, mknod};
                let mode = Mode::from_bits_truncate(0o600);
                match mknod(&path, SFlag::S_IFBLK, mode, wanted) {
                    // udev was faster.
                    Ok(()) | Err(nix::errno::Errno::EEXIST) => Ok(()),
                    Err(e) => Err(e.into()),
                }
            })
            .map_err(|e| Error::exec(format!("Cannot make '{}': {e}", path.display())))
        })
        .await
    }

    /// Who has the device open, as the end of a sentence.
    pub(super) async fn users(&self) -> String {
        let device = Some((MAJOR, self.minor));
        blocking(move || Ok(users::told(device))).await.unwrap_or_default()
    }

    /// Takes the device down if it is this disk's; somebody else's is left alone. `replaced`: not
    /// either if it has other storage than this one, or is in use without.
    pub(super) async fn take_down(&self, work: &Work) -> Result<()> {
        let Some((device, whose)) = self.configured(work).await? else { return Ok(()) };
        let ours = match whose {
            Whose::Ours => true,
            Whose::OursDiskless | Whose::Nobodys => {
                // Maybe it is between two storages; in use, it must stay.
                let live = self.live().await?;
                device.resource == self.resource()
                    && live.is_none_or(|live| live.role != Role::Primary || !work.undo)
            }
            Whose::OursElsewhere | Whose::Foreign => false,
        };
        if !ours {
            return Ok(());
        }
        self.demote(work).await?;
        self.done("take down", plan::setup(["down", &device.resource])).await.map(drop)
    }

    /// Makes meta data, unless there are some: then the volume was not made just now.
    async fn make_meta(&self, new: bool, work: &Work) -> Result<()> {
        let version = tools::module(&work.paths).await?;
        self.meta.assemble(DiskRole::Secondary, work).await?;
        let path = block_path(&self.meta, work).await?;
        if !new && read_meta(&path).await?.is_some() {
            return Ok(());
        }
        let call = plan::create_meta(version.dialect, &path);
        self.done("make meta data for", call).await.map(drop)
    }

    async fn make(&self, work: &Work) -> Result<()> {
        if self.size > LARGEST {
            return Err(Error::wrong_input(format!(
                "Disk {} of {} MiB is too large to be mirrored: its 128 MiB of meta data suffice \
                 for {LARGEST} MiB; use several disks",
                self.uuid, self.size
            )));
        }
        let missing = |status: &BlockStatus| status.state == BlockState::Missing;
        let new_data = missing(&self.data.status(work).await?);
        let new_meta = missing(&self.meta.status(work).await?);
        let made = async {
            self.data.create(work).await?;
            self.meta.create(work).await?;
            self.make_meta(new_meta, work).await
        };
        let made = made.await;
        if made.is_err() {
            let undo = Work { undo: true, ..work.clone() };
            for (device, new) in [(&self.meta, new_meta), (&self.data, new_data)] {
                if new && let Err(error) = device.remove(&undo).await {
                    tracing::warn!(%error, "a volume is left of a mirror that could not be made");
                }
            }
        }
        made
    }

    async fn status_now(&self, work: &Work) -> Result<BlockStatus> {
        let mut status = BlockStatus {
            state: BlockState::Inactive,
            path: None,
            major_minor: None,
            size: None,
            sync: None,
            detail: String::new(),
            children: vec![self.data.status(work).await?, self.meta.status(work).await?],
        };
        let configured = self.configured(work).await?;
        match configured {
            Some((device, Whose::Ours | Whose::OursDiskless | Whose::OursElsewhere)) => {
                let Some(live) = self.live().await? else { return Ok(status) };
                self.describe(&device, &live, &mut status).await;
            }
            other => {
                if let Some((device, Whose::Foreign)) = other {
                    status.detail =
                        format!("minor {} is '{}' of somebody else", self.minor, device.resource);
                }
                self.describe_parts(work, &mut status).await;
            }
        }
        Ok(status)
    }

    async fn describe(&self, device: &Configured, live: &Live, status: &mut BlockStatus) {
        let generations = match device.backing {
            Some(_) => tools::generations(Self::dialect(), device, 1 - self.number).await,
            None => vec![],
        };
        status.state = BlockState::Active;
        status.path = Some(self.path().display().to_string());
        status.major_minor = Some((MAJOR, self.minor));
        status.size = Some(live.size / 1024);
        if live.disk <= DiskState::Failed {
            status.detail = "it has no storage on this node".into();
            if !live.has_good_data() {
                status.state = BlockState::Faulty;
            }
        }
        status.sync = Some(report::status(live, report::figures(live), generations));
    }

    /// Of a mirror that is not set up.
    async fn describe_parts(&self, work: &Work, status: &mut BlockStatus) {
        let missing =
            |n: usize| status.children.get(n).is_some_and(|c| c.state == BlockState::Missing);
        match (missing(0), missing(1)) {
            (true, true) => status.state = BlockState::Missing,
            (false, false) => {}
            (data, _) => {
                status.state = BlockState::Faulty;
                let what = if data { "data" } else { "meta data" };
                status.detail = format!("its {what} volume is missing");
            }
        }
        if let Ok(path) = block_path(&self.meta, work).await
            && let Ok(Some(found)) = read_meta(&path).await
        {
            status.sync = Some(SyncStatus {
                degraded: true,
                connection: "Unconfigured".into(),
                generations: meta::written(&found.generations),
                ..SyncStatus::default()
            });
        }
    }

    /// On the side in use: DRBD takes what its storage has grown by, once both sides have.
    async fn resize(&self, size: u64, work: &Work) -> Result<()> {
        let Some((_, Whose::Ours)) = self.configured(work).await? else { return Ok(()) };
        let Some(live) = self.live().await? else { return Ok(()) };
        let wanted = size * 1024;
        if live.role != Role::Primary || live.size >= wanted {
            return Ok(());
        }
        let size_arg = format!("--size={}s", size * 2048);
        self.done("grow", plan::setup(["resize", &self.minor.to_string(), &size_arg])).await?;
        let grown = |live: Option<&Live>| live.is_none_or(|l| l.size >= wanted).then_some(());
        let until = Instant::now() + GROWTH;
        // The size is no state: DRBD need not tell of it.
        let look = Some(Duration::from_millis(500));
        match mirrors().wait(self.minor, until, look, grown).await? {
            Some(()) => Ok(()),
            None => Err(Error::exec(format!(
                "{} did not grow to {size} MiB: node {} has not as much below its side, or is away; \
                 when it has, grow the disk again",
                self.called(),
                self.peer_name(&work.paths)
            ))),
        }
    }
}

impl BlockDevice for DrbdDisk {
    async fn create(&self, work: &Work) -> Result<()> {
        self.make(work).await
    }

    async fn remove(&self, work: &Work) -> Result<()> {
        let _lock = mirrors().lock(self.minor).await;
        self.take_down(work).await?;
        // Without its meta data the data are nobody's mirror any more.
        let meta = self.meta.remove(work).await;
        let data = self.data.remove(work).await;
        meta.and(data)
    }

    async fn wipe(&self, work: &Work) -> Result<()> {
        self.set_up(work).await?;
        let live = self.live().await?;
        if live.is_none_or(|live| live.role != Role::Primary) {
            return Err(Error::wrong_state(format!(
                "{} can be overwritten only where it is primary",
                self.called()
            )));
        }
        let path = self.path();
        let failed = |e: Error| e.at(format!("overwriting {}", self.called()));
        wipe::zeros(&path, 0, self.size * MIB, work).await.map_err(failed)
    }

    async fn assemble(&self, role: DiskRole, work: &Work) -> Result<()> {
        self.assemble_as(Assembly::of(role), work).await
    }

    async fn shutdown(&self, work: &Work) -> Result<()> {
        let _lock = mirrors().lock(self.minor).await;
        self.take_down(work).await?;
        let meta = self.meta.shutdown(work).await;
        let data = self.data.shutdown(work).await;
        meta.and(data)
    }

    async fn open(&self, exclusive: bool, work: &Work) -> Result<()> {
        self.use_here(exclusive, work).await
    }

    async fn close(&self, work: &Work) -> Result<()> {
        self.stop_using(work).await
    }

    async fn grow(&self, size: u64, work: &Work) -> Result<()> {
        if size > LARGEST {
            return Err(Error::wrong_input(format!(
                "{} cannot grow to {size} MiB: its 128 MiB of meta data suffice for {LARGEST} MiB",
                self.called()
            )));
        }
        let _lock = mirrors().lock(self.minor).await;
        self.data.grow(size, work).await?;
        self.resize(size, work).await
    }

    async fn rename(&self, _to: &Disk, _work: &Work) -> Result<()> {
        Err(Error::wrong_input(format!(
            "{} has no name that could be changed; its volumes have",
            self.called()
        )))
    }

    async fn snapshot(&self, to: &Disk, work: &Work) -> Result<()> {
        // External meta data: the data volume has just what a guest sees.
        self.data.snapshot(to, work).await
    }

    async fn status(&self, work: &Work) -> Result<BlockStatus> {
        self.status_now(work).await
    }

    async fn place(&self, work: &Work) -> Result<Place> {
        self.set_up(work).await?;
        Ok(Place { source: Source::Block(self.path()), format: ImageFormat::Raw, shared: true })
    }
}

/// What users call a node; its identity where this node does not know the name.
pub(super) fn node_name(node: NodeId, paths: &Paths) -> String {
    let uuid = node.to_string();
    let named = |line: &String| {
        line.split_once(' ').filter(|(id, _)| *id == uuid).map(|(_, n)| n.to_owned())
    };
    ssconf::lines(paths, "node_uuids").iter().find_map(named).unwrap_or(uuid)
}

/// The block device that an assembled device is.
pub(super) async fn block_path(device: &Device, work: &Work) -> Result<PathBuf> {
    match device.place(work).await?.source {
        Source::Block(path) => Ok(path),
        Source::File(path) => Err(Error::environment(format!(
            "DRBD stands on block devices, and '{}' is a file",
            path.display()
        ))),
        Source::Uri(uri) => {
            Err(Error::environment(format!("DRBD stands on block devices, and '{uri}' is none")))
        }
    }
}

/// The same device may have several names: those of `path` become it.
pub(super) fn same_names(all: &mut [Configured], path: &Path) {
    let number = |path: &Path| fs::metadata(path).ok().map(|meta| meta.rdev()).filter(|n| *n != 0);
    let Some(wanted) = number(path) else { return };
    for backing in all.iter_mut().filter_map(|device| device.backing.as_mut()) {
        for name in [&mut backing.data, &mut backing.meta] {
            if number(Path::new(name.as_str())) == Some(wanted) {
                *name = path.display().to_string();
            }
        }
    }
}

/// The meta data on a volume.
pub(super) async fn read_meta(path: &Path) -> Result<Option<Meta>> {
    let path = path.to_owned();
    blocking(move || Meta::read(&path)).await
}

/// Bytes that a block device has.
pub(super) async fn bytes(path: &Path) -> Result<u64> {
    let path = path.to_owned();
    blocking(move || {
        fs::File::open(&path).and_then(|mut file| file.seek(SeekFrom::End(0))).map_err(|e| {
            Error::exec(format!("The size of '{}' cannot be told: {e}", path.display()))
        })
    })
    .await
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
