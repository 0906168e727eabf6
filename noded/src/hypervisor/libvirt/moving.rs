//! libvirt's part of migrations: what the source asks of its own libvirt and of the target's.

use super::link::{Connection, failed, on_thread};
use super::{Kvm, Phase, QUICK, SLOW, ffi, host, report, xml};
use crate::hypervisor::Attachment;
use roost_proto::error::{Error, Result};
use roost_proto::node::{GuestSpec, GuestState, Progress};
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};
use virt::domain::{Domain, MigrateParameters};
use virt::error::Error as VirtError;
use virt_sys as sys;

/// Connecting to the target's libvirt through the tunnel.
const CONNECT: Duration = Duration::from_secs(30);
/// How long an aborted job may take to end.
const SETTLE: Duration = Duration::from_secs(60);
/// Between looks at the progress: short at first, since small guests are quick.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LOOK: Duration = Duration::from_secs(1);
/// Between lines about the progress in the job's log.
const TALK: Duration = Duration::from_secs(5);
/// Where libvirt keeps the process ids of its QEMUs, and how often one is looked at.
const PID_DIR: &str = "/run/libvirt/qemu";
const PROCESS_LOOK: Duration = Duration::from_millis(5);
/// After so many passes over the memory a post-copy migration switches over.
const POST_COPY_AFTER: u64 = 2;

/// How a guest is to be moved. The sockets lead to the target.
#[derive(Clone, Debug)]
pub struct Move {
    pub libvirt_socket: PathBuf,
    pub memory_socket: PathBuf,
    pub disks_socket: PathBuf,
    pub live: bool,
    pub copy_disks: bool,
}

impl Move {
    fn target_uri(&self) -> String {
        format!("qemu+unix:///system?socket={}", self.libvirt_socket.display())
    }

    /// Flags and parameters for libvirt. Errors: disks would have to be copied, but must not.
    fn terms(&self, guest: &GuestSpec, disks: &[Attachment]) -> Result<(u32, MigrateParameters)> {
        let params = xml::KvmParams::new(&guest.hvparams)?;
        let caps = params.list("migration_caps", ':');
        let asked = |names: &[&str]| names.iter().any(|name| caps.contains(name));
        let unix = |path: &Path| Some(format!("unix://{}", path.display()));
        let mut terms = MigrateParameters {
            uri: unix(&self.memory_socket),
            bandwidth: params.number("migration_bandwidth"),
            ..MigrateParameters::default()
        };
        let mut flags = sys::VIR_MIGRATE_PEER2PEER | sys::VIR_MIGRATE_ABORT_ON_ERROR;
        if self.live {
            flags |= sys::VIR_MIGRATE_LIVE;
        }
        if self.live && asked(&["postcopy-ram", "x-postcopy-ram", "postcopy"]) {
            flags |= sys::VIR_MIGRATE_POSTCOPY;
        } else {
            flags |= sys::VIR_MIGRATE_PAUSED;
        }
        if asked(&["auto-converge"]) {
            flags |= sys::VIR_MIGRATE_AUTO_CONVERGE;
        }
        if asked(&["xbzrle"]) {
            flags |= sys::VIR_MIGRATE_COMPRESSED;
            terms.compression = Some("xbzrle".into());
        }
        if asked(&["multifd"]) {
            flags |= sys::VIR_MIGRATE_PARALLEL;
        }
        if disks.iter().any(|disk| disk.shared) {
            // That both nodes reach the same data is known to us, not to libvirt.
            flags |= sys::VIR_MIGRATE_UNSAFE;
        }
        let host = xml::Host { q35: xml::machine(&params).contains("q35"), ..xml::Host::default() };
        let own = disks.iter().filter(|disk| !disk.shared);
        if let Some(disk) = own.clone().find(|disk| disk.readonly && self.copy_disks) {
            return Err(Error::wrong_state(format!(
                "Disk {} of instance {} is read-only: QEMU copies only disks that the guest may \
                 write; change its mode, or move the instance while it is stopped",
                disk.index, guest.name
            )));
        }
        let own: Vec<_> = own.map(|disk| xml::disk_target(&params, &host, disk.index)).collect();
        if !own.is_empty() {
            if !self.copy_disks {
                return Err(Error::wrong_state(format!(
                    "Instance {} cannot be migrated without its disks: {} are only on this node; \
                     copy them too, or move the instance while it is stopped",
                    guest.name,
                    own.join(", ")
                )));
            }
            flags |= sys::VIR_MIGRATE_NON_SHARED_DISK;
            terms.migrate_disks = own;
            terms.disks_uri = unix(&self.disks_socket);
        }
        Ok((flags, terms))
    }
}

impl Kvm {
    /// The socket of this node's libvirt, for a source that wants to speak to it.
    pub fn libvirt_socket() -> PathBuf {
        let all = ["/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock"].map(PathBuf::from);
        let found = all.iter().find(|path| path.exists()).unwrap_or(&all[0]);
        found.clone()
    }

    /// On the target: everything the guest needs but its memory.
    pub(crate) async fn prepare_incoming(
        &self,
        guest: &GuestSpec,
        disks: &[Attachment],
    ) -> Result<()> {
        host::check_files(&xml::KvmParams::new(&guest.hvparams)?)?;
        // Also finds out whether guests run at all, before the source depends on it.
        let host = self.host(guest).await?;
        xml::domain(guest, disks, &host)?;
        for disk in disks {
            if let Some(path) = disk.source.path().filter(|path| !path.exists()) {
                return Err(Error::wrong_state(format!(
                    "Disk {} of instance {} is not on this node: there is no {}",
                    disk.index,
                    guest.name,
                    path.display()
                )));
            }
        }
        crate::durable::make_dir(&self.0.console_logs)?;
        self.0.shared.ended.forget(&guest.name);
        self.0.nics.connect(guest, &guest.nics, Phase::Pre).await
    }

    /// On the target: the guest is here and runs.
    pub(crate) async fn has_arrived(&self, guest: &GuestSpec) -> Result<()> {
        self.0.shared.set_stopping(&guest.name, false);
        self.0.nics.connect(guest, &guest.nics, Phase::Post).await
    }

    /// On the source: ends what an earlier try, perhaps of a noded that died, has left running.
    pub(crate) async fn settle(&self, name: &str) -> Result<()> {
        let deadline = Instant::now() + SETTLE;
        let what = format!("Cannot abort the last migration of instance {name}");
        loop {
            let abort = |domain: &Domain| {
                let busy = report::leaving(domain);
                if busy {
                    // It may end by itself in this moment; the next look decides.
                    let _ = ffi::abort_job(domain);
                }
                Ok(busy)
            };
            if self.with(name, &what, QUICK, abort).await? != Some(true) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::exec(format!("{what}: it does not end")));
            }
            sleep(FIRST_LOOK).await;
        }
    }

    /// On the source: moves a guest; it arrives frozen. Dropping the future aborts the move.
    pub(crate) async fn migrate(
        &self,
        guest: &GuestSpec,
        disks: &[Attachment],
        how: &Move,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<()> {
        let (flags, terms) = how.terms(guest, disks)?;
        let name = guest.name.to_string();
        let what = format!("Cannot migrate instance {name}");
        let downtime = xml::KvmParams::new(&guest.hvparams)?.number("migration_downtime");
        let post_copy = flags & sys::VIR_MIGRATE_POSTCOPY != 0;
        let mut watcher = Watcher { downtime, post_copy, said: None, disks: None };
        let connection = self.0.link.shared().await?;
        let mut abort = AbortOnDrop { connection: Some(connection.clone()), name: name.clone() };
        let uri = how.target_uri();
        let (mover, moved) = (connection.clone(), name.clone());
        let mut done = on_thread(move || {
            let domain = Domain::lookup_by_name(&mover, &moved)?;
            domain.migrate_to_uri3(Some(&uri), terms, flags)
        })?;
        let mut next = Instant::now() + FIRST_LOOK;
        loop {
            tokio::select! {
                result = &mut done => {
                    abort.connection = None;
                    return match result {
                        Ok(Ok(())) => Ok(()),
                        Ok(Err(error)) => Err(failed(&what, &error)),
                        Err(_) => Err(Error::internal(format!("{what}: the thread died"))),
                    };
                }
                () = sleep_until(next) => {
                    let look = watcher.clone();
                    let looked = self
                        .with(&name, "migration progress", QUICK, move |domain| look.look(domain))
                        .await;
                    // It may have left between two looks.
                    if let Ok(Some(stats)) = looked {
                        watcher.took_effect(&stats);
                        if let Some(step) = watcher.progress(&stats) {
                            progress(step);
                        }
                    }
                    next = Instant::now() + if watcher.said.is_some() { LOOK } else { FIRST_LOOK };
                }
            }
        }
    }

    /// On the source: returns when the guest's QEMU is dead. libvirt itself looks only five times a
    /// second, and the guest is frozen for that long. Never returns if QEMU cannot be found.
    pub(crate) async fn process_ends(&self, name: &str) {
        let Some(pid) = process(name) else { return std::future::pending().await };
        while is_alive(pid) {
            sleep(PROCESS_LOOK).await;
        }
    }

    /// On the source: kills a frozen leftover.
    pub(crate) async fn drop_frozen(&self, name: &str) -> Result<()> {
        let what = format!("Cannot remove the leftover of instance {name}");
        self.0.shared.set_stopping(name, true);
        self.with(name, what, SLOW, destroy_frozen).await.map(drop)
    }
}

/// The process of a guest's QEMU, which may be dead.
fn process(name: &str) -> Option<u32> {
    let file = Path::new(PID_DIR).join(format!("{name}.pid"));
    std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok())
}

/// Whether a guest's QEMU lives, as far as can be told without libvirt.
pub fn has_process(name: &str) -> bool {
    process(name).is_some_and(is_alive)
}

/// Whether a process can still do anything: not if it is gone or only waits to be buried.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name is in brackets and may contain anything.
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// Destroys a domain unless it runs.
fn destroy_frozen(domain: &Domain) -> Result<(), VirtError> {
    match report::state(domain)? {
        Some(GuestState::Paused | GuestState::Incoming) => domain.destroy(),
        _ => Ok(()),
    }
}

/// Aborts a migration whose future was dropped.
struct AbortOnDrop {
    connection: Option<Arc<Connection>>,
    name: String,
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let name = std::mem::take(&mut self.name);
        tracing::info!(instance = name, "aborting a migration");
        // Without a thread the tunnels' end aborts it as well.
        let _ = on_thread(move || match report::find(&connection, &name) {
            Ok(Some(domain)) => ffi::abort_job(&domain),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        });
    }
}

/// Follows a migration.
#[derive(Clone, Debug)]
struct Watcher {
    /// ms to be set, until it is set.
    downtime: Option<u64>,
    /// To be switched to post-copy, until it is.
    post_copy: bool,
    /// When something was last said.
    said: Option<Instant>,
    /// When it was last looked, and the bytes of disks that were left then.
    disks: Option<(Instant, u64)>,
}

/// What a look found.
#[derive(Debug)]
struct Stats {
    job: ffi::Job,
    downtime_set: bool,
    post_copied: bool,
}

impl Watcher {
    fn look(&self, domain: &Domain) -> Result<Stats, VirtError> {
        let job = ffi::job(domain, ffi::Stats::Current)?;
        let downtime_set = match self.downtime {
            Some(ms) if job.busy => domain.migrate_set_max_downtime(ms, 0).is_ok(),
            _ => false,
        };
        let post_copied = self.post_copy
            && job.get(sys::VIR_DOMAIN_JOB_MEMORY_ITERATION) >= Some(POST_COPY_AFTER)
            && ffi::start_post_copy(domain).is_ok();
        Ok(Stats { job, downtime_set, post_copied })
    }

    fn took_effect(&mut self, stats: &Stats) {
        if stats.downtime_set {
            self.downtime = None;
        }
        if stats.post_copied {
            self.post_copy = false;
        }
    }

    /// Bytes of disks a second since the last look: QEMU does not tell.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "for people, not for sums"
    )]
    fn disk_rate(&mut self, left: Option<u64>) -> u64 {
        let before = std::mem::replace(&mut self.disks, left.map(|left| (Instant::now(), left)));
        match (before, left) {
            (Some((at, before)), Some(left)) if !at.elapsed().is_zero() => {
                (before.saturating_sub(left) as f64 / at.elapsed().as_secs_f64()) as u64
            }
            _ => 0,
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "for people, not for sums")]
    fn progress(&mut self, stats: &Stats) -> Option<Progress> {
        let get = |name: &CStr| stats.job.get(name);
        let total = get(sys::VIR_DOMAIN_JOB_DATA_TOTAL).filter(|total| *total > 0)?;
        let left = get(sys::VIR_DOMAIN_JOB_DATA_REMAINING).unwrap_or(0);
        let disks = get(sys::VIR_DOMAIN_JOB_DISK_REMAINING).filter(|left| *left > 0);
        let rate = get(sys::VIR_DOMAIN_JOB_MEMORY_BPS).unwrap_or(0)
            + get(sys::VIR_DOMAIN_JOB_DISK_BPS).unwrap_or_else(|| self.disk_rate(disks));
        let mib = |bytes: u64| bytes >> 20;
        let talk = self.said.is_none_or(|at| at.elapsed() >= TALK);
        let message = talk.then(|| {
            self.said = Some(Instant::now());
            let memory = mib(get(sys::VIR_DOMAIN_JOB_MEMORY_REMAINING).unwrap_or(left));
            let what = match disks {
                // The memory follows when the disks are there.
                Some(left) if memory == 0 => format!("disks left {} MiB", mib(left)),
                Some(left) => format!("memory left {memory} MiB, disks left {} MiB", mib(left)),
                None => format!("memory left {memory} MiB"),
            };
            let downtime = get(sys::VIR_DOMAIN_JOB_DOWNTIME);
            let downtime = downtime.map(|ms| format!(", downtime {ms} ms")).unwrap_or_default();
            format!("{what}, {} MiB/s{downtime}", mib(rate))
        });
        Some(Progress {
            percent: Some(100.0 * total.saturating_sub(left) as f64 / total as f64),
            rate: Some(rate as f64),
            eta: (rate > 0).then(|| left as f64 / rate as f64),
            message,
        })
    }
}

/// The libvirt of a migration's target.
#[derive(Clone, Debug)]
pub struct Peer(Arc<Connection>);

impl Peer {
    /// Reaches it through a local socket that leads there.
    pub async fn open(socket: &Path) -> Result<Peer> {
        let uri = format!("qemu+unix:///system?socket={}", socket.display());
        let opened = on_thread(move || Connection::open(&uri))?;
        match tokio::time::timeout(CONNECT, opened).await {
            Ok(Ok(Ok(connection))) => Ok(Peer(Arc::new(connection))),
            Ok(Ok(Err(error))) => Err(failed("Cannot reach the target's libvirt", &error)),
            Ok(Err(_)) => Err(Error::internal("the thread that connects died")),
            Err(_) => Err(Error::exec("The target's libvirt does not answer")),
        }
    }

    async fn with<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce(&Domain) -> Result<T, VirtError> + Send + 'static,
    ) -> Result<Option<T>> {
        let (connection, name) = (self.0.clone(), name.to_owned());
        let answer = on_thread(move || match report::find(&connection, &name)? {
            Some(domain) => super::link::if_there(work(&domain)),
            None => Ok(None),
        })?;
        let what = "The target's libvirt";
        match tokio::time::timeout(SLOW, answer).await {
            Ok(Ok(result)) => result.map_err(|error| failed(what, &error)),
            Ok(Err(_)) => Err(Error::internal("the thread that asks died")),
            Err(_) => Err(Error::exec(format!("{what} does not answer"))),
        }
    }

    /// What the guest is doing there.
    pub async fn state(&self, name: &str) -> Result<Option<GuestState>> {
        Ok(self.with(name, report::state).await?.flatten())
    }

    /// How the guest came there, in words: how much was sent, how long that took and for how long
    /// it was frozen (by libvirt's account, which does not count the last few milliseconds).
    pub async fn came(&self, name: &str) -> Result<Option<String>> {
        self.with(name, |domain| {
            let job = ffi::job(domain, ffi::Stats::Completed)?;
            let get = |name: &CStr| job.get(name).unwrap_or(0);
            // After post-copy libvirt does not know.
            let known = job.get(sys::VIR_DOMAIN_JOB_DATA_PROCESSED).is_some_and(|sent| sent > 0);
            Ok(known.then(|| {
                format!(
                    "sent {} MiB in {:.1} s, frozen for {} ms",
                    get(sys::VIR_DOMAIN_JOB_DATA_PROCESSED) >> 20,
                    Duration::from_millis(get(sys::VIR_DOMAIN_JOB_TIME_ELAPSED)).as_secs_f64(),
                    get(sys::VIR_DOMAIN_JOB_DOWNTIME),
                )
            }))
        })
        .await
        .map(Option::flatten)
    }

    /// Lets a frozen guest go on there.
    pub async fn resume(&self, name: &str) -> Result<()> {
        self.with(name, |domain| domain.resume().map(drop)).await.map(drop)
    }

    /// Removes a guest there that does not run.
    pub async fn drop_frozen(&self, name: &str) -> Result<()> {
        self.with(name, destroy_frozen).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypervisor::{ImageFormat, Source};
    use roost_proto::choices::Hypervisor;
    use roost_proto::params::hypervisor::defaults;
    use serde_json::json;
    use uuid::Uuid;

    fn guest(caps: &str) -> GuestSpec {
        let mut hvparams = defaults(Hypervisor::Kvm);
        hvparams.insert("migration_caps".into(), caps.into());
        serde_json::from_value(json!({
            "uuid": Uuid::from_u128(1), "name": "web", "hypervisor": "kvm",
            "hvparams": hvparams, "beparams": {},
        }))
        .expect("a guest")
    }

    fn disk(index: u32, shared: bool) -> Attachment {
        Attachment {
            index,
            uuid: Uuid::from_u128(u128::from(index)).into(),
            source: Source::File("/x".into()),
            format: ImageFormat::Raw,
            readonly: false,
            shared,
        }
    }

    fn how(live: bool, copy_disks: bool) -> Move {
        let at = |name: &str| PathBuf::from("/run/m").join(name);
        Move {
            libvirt_socket: at("l"),
            memory_socket: at("m"),
            disks_socket: at("d"),
            live,
            copy_disks,
        }
    }

    #[test]
    fn terms_follow_mode_disks_and_capabilities() {
        let (flags, terms) = how(true, false).terms(&guest(""), &[disk(0, true)]).expect("terms");
        assert_eq!(
            flags,
            sys::VIR_MIGRATE_PEER2PEER
                | sys::VIR_MIGRATE_ABORT_ON_ERROR
                | sys::VIR_MIGRATE_LIVE
                | sys::VIR_MIGRATE_PAUSED
                | sys::VIR_MIGRATE_UNSAFE
        );
        assert_eq!(terms.uri.as_deref(), Some("unix:///run/m/m"));
        assert_eq!((terms.bandwidth, terms.disks_uri), (Some(32), None));

        let disks = [disk(0, true), disk(1, false)];
        let (flags, terms) = how(false, true).terms(&guest("xbzrle"), &disks).expect("terms");
        assert_eq!(terms.migrate_disks, ["vdb"]);
        assert_eq!(terms.disks_uri.as_deref(), Some("unix:///run/m/d"));
        assert!(flags & sys::VIR_MIGRATE_NON_SHARED_DISK != 0);
        assert!(flags & sys::VIR_MIGRATE_COMPRESSED != 0 && flags & sys::VIR_MIGRATE_LIVE == 0);

        let frozen = [Attachment { readonly: true, ..disk(1, false) }];
        let error = how(true, true).terms(&guest(""), &frozen).expect_err("read-only");
        assert!(error.message.contains("Disk 1 of instance web is read-only"), "{error}");
        let error = how(true, false).terms(&guest(""), &disks).expect_err("not shared");
        assert!(error.message.contains("vdb are only on this node"), "{error}");

        let post_copy = guest("postcopy-ram:auto-converge");
        let (flags, _) = how(true, false).terms(&post_copy, &[]).expect("terms");
        assert!(flags & sys::VIR_MIGRATE_POSTCOPY != 0 && flags & sys::VIR_MIGRATE_PAUSED == 0);
        assert!(flags & sys::VIR_MIGRATE_AUTO_CONVERGE != 0);
    }

    #[test]
    fn the_dead_are_told_from_the_living() {
        assert!(is_alive(std::process::id()));
        assert!(!is_alive(u32::MAX));
    }

    #[test]
    fn progress_is_told_in_figures_and_words() {
        let mut watcher = Watcher { downtime: Some(30), post_copy: false, said: None, disks: None };
        let figure = |name: &CStr, mib: u64| (name.to_owned(), mib << 20);
        let figures = [
            figure(sys::VIR_DOMAIN_JOB_DATA_TOTAL, 200),
            figure(sys::VIR_DOMAIN_JOB_DATA_REMAINING, 50),
            figure(sys::VIR_DOMAIN_JOB_MEMORY_REMAINING, 50),
            figure(sys::VIR_DOMAIN_JOB_MEMORY_BPS, 25),
        ];
        let job = ffi::Job { busy: true, figures: figures.into() };
        let stats = Stats { job, downtime_set: true, post_copied: false };
        watcher.took_effect(&stats);
        assert_eq!(watcher.downtime, None);
        let progress = watcher.progress(&stats).expect("progress");
        assert_eq!((progress.percent, progress.eta), (Some(75.0), Some(2.0)));
        assert_eq!(progress.message.as_deref(), Some("memory left 50 MiB, 25 MiB/s"));
        assert_eq!(watcher.progress(&stats).expect("progress").message, None, "not every time");
        let figures = [
            figure(sys::VIR_DOMAIN_JOB_DATA_TOTAL, 200),
            figure(sys::VIR_DOMAIN_JOB_DATA_REMAINING, 150),
            figure(sys::VIR_DOMAIN_JOB_MEMORY_REMAINING, 0),
            figure(sys::VIR_DOMAIN_JOB_DISK_REMAINING, 150),
        ];
        let job = ffi::Job { busy: true, figures: figures.into() };
        let copying = Stats { job, downtime_set: false, post_copied: false };
        let long_ago = Instant::now().checked_sub(Duration::from_secs(2)).expect("after the boot");
        (watcher.said, watcher.disks) = (None, Some((long_ago, 170 << 20)));
        let progress = watcher.progress(&copying).expect("progress");
        assert_eq!(progress.percent, Some(25.0));
        let words = progress.message.expect("words");
        assert!(words == "disks left 150 MiB, 9 MiB/s" || words.ends_with(" 10 MiB/s"), "{words}");
        let nothing = Stats { job: ffi::Job::default(), downtime_set: false, post_copied: false };
        assert_eq!(watcher.progress(&nothing), None);
    }
}
