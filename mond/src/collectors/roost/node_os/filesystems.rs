//! The filesystems of this node, and how full they are. One that does not answer (the server of a network
//! filesystem is gone) blocks whoever asks, for as long: a thread of its own asks, and is let be.
//!
//! ```text
//!   mounts ─► thread: statvfs, one after another ─► answers
//!                └─ 1 s without one: this mount hangs; a new thread asks the rest.
//!                   Nobody asks it again until that thread is back: at most one waits at each mount.
//! ```

use crate::report::{Code, Health};
use roost_proto::paths::Paths;
use serde::Serialize;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a mount may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// So many mounts that hang are waited for in one look; the rest is not asked.
const HANGING: usize = 2;
/// Stack of a thread that asks.
const STACK: usize = 64 << 10;
/// No more are reported.
const MOST: usize = 200;
/// From here on a filesystem counts as full, in percent.
const FULL: f64 = 97.0;
/// Types of network filesystems; of the others those count that are on a device.
const OVER_NETWORK: [&str; 10] =
    ["nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "9p", "virtiofs", "ocfs2", "gfs2"];

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub device: String,
    pub point: PathBuf,
    pub kind: String,
    pub read_only: bool,
}

/// How full something is. Sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub size: u64,
    pub free: u64,
    /// For others than root.
    pub available: u64,
    pub inodes: u64,
    pub inodes_free: u64,
    pub read_only: bool,
}

/// A filesystem, as it is reported.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Filesystem {
    pub mount: String,
    pub device: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// The cluster needs it: the system, its state, its storage.
    pub needed: bool,
    pub size: Option<u64>,
    pub free: Option<u64>,
    pub available: Option<u64>,
    pub used_percent: Option<f64>,
    pub inodes: Option<u64>,
    pub inodes_free: Option<u64>,
    pub read_only: Option<bool>,
    pub status: Health,
}

/// Asks mounts. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Asker(Arc<Mutex<HashSet<PathBuf>>>);

type Answers = HashMap<PathBuf, Result<Usage, String>>;

impl Asker {
    fn busy(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `ask` says of each; those that hang are not in it.
    async fn ask(
        &self,
        points: &[PathBuf],
        ask: fn(&Path) -> Result<Usage, String>,
        patience: Duration,
    ) -> Answers {
        let busy = self.busy().clone();
        let mut left: Vec<PathBuf> =
            points.iter().filter(|point| !busy.contains(*point)).cloned().collect();
        let mut answers = Answers::new();
        for _ in 0..HANGING {
            if left.is_empty() {
                break;
            }
            let mut told = self.begin(left.clone(), ask);
            while let Ok(Some((point, answer))) = tokio::time::timeout(patience, told.recv()).await
            {
                left.retain(|other| *other != point);
                answers.insert(point, answer);
            }
            // The thread goes through them in order: the first that is left is the one that hangs.
            if !left.is_empty() {
                left.remove(0);
            }
        }
        answers
    }

    /// Has a thread ask one after another until nobody listens any more.
    fn begin(
        &self,
        points: Vec<PathBuf>,
        ask: fn(&Path) -> Result<Usage, String>,
    ) -> mpsc::Receiver<(PathBuf, Result<Usage, String>)> {
        let (tell, told) = mpsc::channel(points.len().max(1));
        let asker = self.clone();
        let work = move || {
            for point in points {
                if tell.is_closed() || !asker.busy().insert(point.clone()) {
                    break;
                }
                let answer = ask(&point);
                asker.busy().remove(&point);
                if tell.try_send((point, answer)).is_err() {
                    break;
                }
            }
        };
        // Without a thread nothing is told, as if all hung.
        let thread = std::thread::Builder::new().name("statvfs".into()).stack_size(STACK);
        if let Err(error) = thread.spawn(work) {
            tracing::warn!(%error, "cannot start a thread to look at filesystems");
        }
        told
    }

    /// All filesystems of interest.
    pub async fn filesystems(&self, paths: &Paths) -> Vec<Filesystem> {
        let text = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let mounts = parse(&text);
        let needed = needed(&mounts, &of_interest(paths));
        let mounts = chosen(mounts, &needed);
        let points: Vec<PathBuf> = mounts.iter().map(|mount| mount.point.clone()).collect();
        let answers = self.ask(&points, statvfs, PATIENCE).await;
        let report = |mount: &Mount| {
            filesystem(mount, needed.contains(&mount.point), answers.get(&mount.point))
        };
        mounts.iter().map(report).collect()
    }
}

fn statvfs(point: &Path) -> Result<Usage, String> {
    let found = nix::sys::statvfs::statvfs(point).map_err(|e| e.to_string())?;
    let fragment = found.fragment_size();
    let bytes = |blocks: u64| blocks.saturating_mul(fragment);
    Ok(Usage {
        size: bytes(found.blocks()),
        free: bytes(found.blocks_free()),
        available: bytes(found.blocks_available()),
        inodes: found.files(),
        inodes_free: found.files_free(),
        read_only: found.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY),
    })
}

/// Reads `/proc/mounts`.
pub fn parse(text: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let mut fields = line.split(' ');
        let (device, point) = (fields.next()?, fields.next()?);
        let (kind, options) = (fields.next()?, fields.next()?);
        Some(Mount {
            device: unescaped(device),
            point: PathBuf::from(unescaped(point)),
            kind: kind.to_owned(),
            read_only: options.split(',').any(|option| option == "ro"),
        })
    };
    text.lines().filter_map(mount).collect()
}

/// Blanks and the like are written as `\040`.
fn unescaped(text: &str) -> String {
    let mut bytes = vec![];
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|d| *first == b'\\' && d.iter().all(u8::is_ascii_digit));
        let code =
            octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Directories of which the cluster needs room: the system, its state and logs, where disks are.
fn of_interest(paths: &Paths) -> Vec<PathBuf> {
    let mut all = vec![PathBuf::from("/"), paths.data_dir(), paths.log_dir()];
    for list in ["file_storage_dir", "shared_file_storage_dir", "gluster_storage_dir"] {
        let text = std::fs::read_to_string(paths.ssconf(list)).unwrap_or_default();
        let dir = text.trim();
        if dir.starts_with('/') {
            all.push(paths.absolute(dir));
        }
    }
    all
}

/// The mounts on which directories are.
fn needed(mounts: &[Mount], dirs: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mount_of = |dir: &PathBuf| {
        let above = mounts.iter().map(|mount| &mount.point).filter(|point| dir.starts_with(point));
        above.max_by_key(|point| point.components().count()).cloned()
    };
    dirs.iter().filter_map(mount_of).collect()
}

/// Those of interest, each filesystem once: of several mounts of a device the first needed one, else the first.
fn chosen(mounts: Vec<Mount>, needed: &BTreeSet<PathBuf>) -> Vec<Mount> {
    let is_real = |mount: &Mount| {
        let over_network = OVER_NETWORK.contains(&mount.kind.as_str())
            || mount.kind.starts_with("fuse.glusterfs")
            || mount.kind.starts_with("fuse.ceph");
        // Images of read-only systems are always full.
        let is_image = matches!(mount.kind.as_str(), "squashfs" | "iso9660" | "erofs");
        over_network || mount.kind == "zfs" || (mount.device.starts_with('/') && !is_image)
    };
    // Of mounts on top of each other the last is what can be seen.
    let last: HashMap<PathBuf, usize> =
        mounts.iter().enumerate().map(|(n, mount)| (mount.point.clone(), n)).collect();
    let (mut points, mut devices) = (vec![], HashSet::new());
    let visible = mounts.iter().enumerate().filter(|(n, mount)| last[&mount.point] == *n);
    let visible: Vec<&Mount> = visible.map(|(_, mount)| mount).collect();
    let (first, others): (Vec<&Mount>, Vec<&Mount>) =
        visible.iter().partition(|mount| needed.contains(&mount.point));
    // One device may be mounted at many places; all are as full, but not all may be written to.
    for mount in first.into_iter().chain(others.into_iter().filter(|mount| is_real(mount))) {
        let is_device = mount.device.starts_with('/') || mount.device.contains(':');
        let key = (mount.device.clone(), mount.kind.clone(), mount.read_only);
        if devices.insert(key) || !is_device {
            points.push(mount.point.clone());
        }
    }
    points.truncate(MOST);
    let chosen: BTreeSet<PathBuf> = points.into_iter().collect();
    let visible = visible.into_iter().filter(|mount| chosen.contains(&mount.point));
    visible.cloned().collect()
}

fn filesystem(mount: &Mount, needed: bool, answer: Option<&Result<Usage, String>>) -> Filesystem {
    let usage = answer.and_then(|answer| answer.as_ref().ok());
    Filesystem {
        mount: mount.point.to_string_lossy().into_owned(),
        device: mount.device.clone(),
        kind: mount.kind.clone(),
        needed,
        size: usage.map(|usage| usage.size),
        free: usage.map(|usage| usage.free),
        available: usage.map(|usage| usage.available),
        used_percent: usage.and_then(used),
        inodes: usage.map(|usage| usage.inodes),
        inodes_free: usage.map(|usage| usage.inodes_free),
        read_only: usage.map(|usage| usage.read_only || mount.read_only),
        status: judge(mount, needed, answer),
    }
}

/// In percent of what others than root can use, as `df` has it; None: it has no blocks.
fn used(usage: &Usage) -> Option<f64> {
    let used = usage.size.saturating_sub(usage.free);
    let all = used.saturating_add(usage.available);
    (all > 0).then(|| (used as f64 / all as f64 * 1000.0).round() / 10.0)
}

fn inodes_used(usage: &Usage) -> Option<f64> {
    let used = usage.inodes.saturating_sub(usage.inodes_free);
    (usage.inodes > 0).then(|| used as f64 / usage.inodes as f64 * 100.0)
}

fn judge(mount: &Mount, needed: bool, answer: Option<&Result<Usage, String>>) -> Health {
    let code = if needed { Code::Bad } else { Code::Unknown };
    let usage = match answer {
        None => {
            let device = &mount.device;
            let message =
                format!("It does not answer: is {device} reachable? Whoever uses it hangs, too");
            return Health::new(code, message);
        }
        Some(Err(why)) => return Health::new(code, format!("It cannot be looked at: {why}")),
        Some(Ok(usage)) => usage,
    };
    if !needed {
        return Health::ok();
    }
    if mount.read_only || usage.read_only {
        return Health::new(
            Code::Bad,
            "It can only be read: after an error of its device the kernel lets nobody write. See \
             dmesg; check it and mount it again",
        );
    }
    let percent = used(usage).filter(|used| *used >= FULL);
    if let Some(percent) = percent {
        let free = usage.available >> 20;
        return Health::new(
            Code::Bad,
            format!("It is full ({percent:.0} %, {free} MiB left): remove something or enlarge it"),
        );
    }
    match inodes_used(usage) {
        Some(percent) if percent >= FULL => Health::new(
            Code::Bad,
            format!(
                "It can take no more files ({percent:.0} % of its inodes are used): remove some"
            ),
        ),
        _ => Health::ok(),
    }
}

#[cfg(test)]
#[path = "filesystems_tests.rs"]
mod tests;
