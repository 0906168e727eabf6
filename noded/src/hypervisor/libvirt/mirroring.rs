//! Disks of a guest go to other places while it runs and writes: QEMU mirrors each, and when all
//! are equal the guest goes on with the mirrors.
//!
//! ```text
//!   held: old ─▶ held: old, new ── copy, then every write to both ── all equal ── pivot ─▶ held: new
//!                      └──────────── whatever fails: mirrors end, what pivoted is mirrored back ─▶ old
//! ```
//!
//! The guest's device stays as it is, with the alias and the serial number of the disk it was
//! plugged as. Which disks it holds by now is noted in the domain ([`super::live`]) *before* QEMU
//! touches the new place: neither side can be removed from under a guest, whoever dies when.
//! Everything is looked up in the domain, so a noded that was restarted goes on where it must.

use super::lifecycle::not_running;
use super::link::{Connection, on_thread};
use super::{Kvm, QUICK, SLOW, ffi, live, report, xml};
use crate::hypervisor::Attachment;
use roost_proto::error::{Error, Result};
use roost_proto::ids::DiskId;
use roost_proto::node::{GuestSpec, Progress};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use virt::domain::Domain;
use virt_sys as sys;

/// How long mirrors of an earlier try may take to end.
const SETTLE: Duration = Duration::from_secs(60);
/// Between looks: short at first, since small disks are quick.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LOOK: Duration = Duration::from_secs(1);
/// Between lines about the progress in the job's log.
const TALK: Duration = Duration::from_secs(5);

/// Told how far it is.
type Tell<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// A place a disk's data may be.
#[derive(Clone, Debug)]
struct Place {
    disk: DiskId,
    /// As libvirt is told of it.
    xml: String,
    /// As libvirt shows it: a path or a name.
    source: Option<String>,
}

/// A device of the guest, where its data is and where it is to be.
#[derive(Clone, Debug)]
struct Pair {
    index: u32,
    alias: String,
    /// libvirt's name of the device.
    target: String,
    from: Place,
    to: Place,
}

impl Pair {
    fn back(self) -> Pair {
        Pair { from: self.to, to: self.from, ..self }
    }

    /// The device in a domain's XML.
    fn device<'a>(&self, xml: &'a str, guest: &str) -> Result<&'a str> {
        live::device(xml, "disk", &self.alias).ok_or_else(|| {
            Error::exec(format!("Disk {} of instance {guest} has been unplugged", self.index))
        })
    }

    /// The guest uses the new place.
    fn has_moved(&self, device: &str) -> bool {
        !is_mirrored(device) && self.to.source.is_some() && source(device) == self.to.source
    }
}

/// Where a device's data is: the first source in its XML.
fn source(device: &str) -> Option<String> {
    ["file", "dev", "name"].into_iter().find_map(|kind| live::attribute(device, "source", kind))
}

fn is_mirrored(device: &str) -> bool {
    device.contains("<mirror")
}

/// All that is written is on both sides.
fn is_ready(device: &str) -> bool {
    live::attribute(device, "mirror", "ready").as_deref() == Some("yes")
}

impl Kvm {
    /// Has a running guest go on with the disks `to[i]` instead of `from[i]`, all of them or, after
    /// a failure, none. `bandwidth`: bytes a second of each; 0: as fast as can be. Dropping the
    /// future ends what is under way.
    pub(crate) async fn mirror_disks(
        &self,
        guest: &GuestSpec,
        from: &[Attachment],
        to: &[Attachment],
        bandwidth: u64,
        tell: Tell<'_>,
    ) -> Result<()> {
        let pairs = self.pairs(guest, from, to).await?;
        let Err(error) = self.mirror(guest, &pairs, bandwidth, tell).await else { return Ok(()) };
        if self.state(&guest.name).await.is_ok_and(|state| state.is_none()) {
            return Err(error);
        }
        let back: Vec<Pair> = pairs.into_iter().map(Pair::back).collect();
        match self.mirror(guest, &back, bandwidth, tell).await {
            Ok(()) => Err(error),
            Err(stuck) => Err(Error::exec(format!(
                "{error}; and not all disks of instance {} are where they were ({stuck}): do not \
                 stop it before 'virsh domblklist {0}' on its node shows where they are",
                guest.name
            ))),
        }
    }

    /// What is to go where. Errors: the guest does not run, or has not these disks.
    async fn pairs(
        &self,
        guest: &GuestSpec,
        from: &[Attachment],
        to: &[Attachment],
    ) -> Result<Vec<Pair>> {
        let host = self.host(guest).await?;
        let place = |disk: &Attachment| -> Result<Place> {
            let xml = xml::plugged_disk(guest, disk, &host)?;
            Ok(Place { disk: disk.uuid, source: source(&xml), xml })
        };
        let domain = self.live_xml(&guest.name).await?;
        let mut pairs = Vec::new();
        for (from, to) in from.iter().zip(to) {
            let alias = [from.uuid, to.uuid].into_iter().find_map(|d| live::disk_alias(&domain, d));
            let device = alias.as_ref().and_then(|alias| live::device(&domain, "disk", alias));
            let target = device.and_then(|device| live::attribute(device, "target", "dev"));
            let (Some(alias), Some(target)) = (alias, target) else {
                return Err(Error::wrong_state(format!(
                    "Instance {} runs without its disk {}; stop and start it first",
                    guest.name, from.index
                )));
            };
            let (index, from, to) = (from.index, place(from)?, place(to)?);
            pairs.push(Pair { index, alias, target, from, to });
        }
        Ok(pairs)
    }

    /// Mirrors what is not there yet, and pivots. After a failure some may have moved.
    async fn mirror(
        &self,
        guest: &GuestSpec,
        pairs: &[Pair],
        bandwidth: u64,
        tell: Tell<'_>,
    ) -> Result<()> {
        let name = guest.name.as_str();
        self.end_mirrors(name, pairs).await?;
        let xml = self.live_xml(name).await?;
        let mut pending = Vec::new();
        for pair in pairs {
            if !pair.has_moved(pair.device(&xml, name)?) {
                pending.push(pair.clone());
            }
        }
        if !pending.is_empty() {
            self.note(name, pairs, |pair| vec![pair.from.disk, pair.to.disk]).await?;
            let connection = self.0.link.shared().await?;
            let targets = pending.iter().map(|pair| pair.target.clone()).collect();
            let mut end =
                EndOnDrop { connection: Some(connection), name: name.to_owned(), targets };
            for pair in &pending {
                self.begin(name, pair, bandwidth).await?;
            }
            self.until_equal(name, &pending, tell).await?;
            for pair in &pending {
                self.pivot(name, pair).await?;
            }
            end.connection = None;
        }
        self.note(name, pairs, |pair| vec![pair.to.disk]).await
    }

    /// Ends the mirrors of an earlier try.
    async fn end_mirrors(&self, name: &str, pairs: &[Pair]) -> Result<()> {
        let deadline = Instant::now() + SETTLE;
        loop {
            let xml = self.live_xml(name).await?;
            let mut busy = Vec::new();
            for pair in pairs {
                if is_mirrored(pair.device(&xml, name)?) {
                    busy.push(pair);
                }
            }
            let Some(first) = busy.first() else { return Ok(()) };
            if Instant::now() > deadline {
                return Err(Error::exec(format!(
                    "The mirror of disk {} of instance {name} does not end",
                    first.index
                )));
            }
            for pair in busy {
                let target = pair.target.clone();
                let what = format!("Cannot end the mirror of disk {}", pair.index);
                let abort = move |domain: &Domain| ffi::end_block_job(domain, &target, false);
                // It may end by itself in this moment; the next look decides.
                if let Err(error) = self.with(name, what, SLOW, abort).await {
                    tracing::debug!(instance = name, %error, "a mirror");
                }
            }
            sleep(FIRST_LOOK).await;
        }
    }

    async fn begin(&self, name: &str, pair: &Pair, bandwidth: u64) -> Result<()> {
        let what = format!("Cannot mirror disk {} of instance {name}", pair.index);
        let (target, xml) = (pair.target.clone(), pair.to.xml.clone());
        let begin = move |domain: &Domain| ffi::block_copy(domain, &target, &xml, bandwidth);
        self.with(name, what, SLOW, begin).await?.ok_or_else(|| not_running(name))
    }

    /// Waits until all mirrors hold what their disks hold.
    async fn until_equal(&self, name: &str, pending: &[Pair], tell: Tell<'_>) -> Result<()> {
        let mut meter = Meter::default();
        loop {
            let xml = self.live_xml(name).await?;
            let mut ready = true;
            for pair in pending {
                let device = pair.device(&xml, name)?;
                if !is_mirrored(device) {
                    return Err(Error::exec(format!(
                        "The mirror of disk {} of instance {name} broke off; \
                         /var/log/libvirt/qemu/{name}.log may say why",
                        pair.index
                    )));
                }
                ready &= is_ready(device);
            }
            if ready {
                return Ok(());
            }
            let targets: Vec<String> = pending.iter().map(|pair| pair.target.clone()).collect();
            let look = move |domain: &Domain| {
                let each = targets.iter().map(|target| ffi::block_job(domain, target));
                each.sum::<Result<ffi::Moved, _>>()
            };
            if let Ok(Some(moved)) = self.with(name, "progress of mirrors", QUICK, look).await
                && let Some(progress) = meter.progress(moved)
            {
                tell(progress);
            }
            sleep(if meter.said.is_some() { LOOK } else { FIRST_LOOK }).await;
        }
    }

    /// The guest goes on with the mirror.
    async fn pivot(&self, name: &str, pair: &Pair) -> Result<()> {
        let what = format!("Cannot go on with the mirror of disk {} of {name}", pair.index);
        let target = pair.target.clone();
        let pivot = move |domain: &Domain| ffi::end_block_job(domain, &target, true);
        let done = self.with(name, what, SLOW, pivot).await;
        // The answer may have come too late, or too early: the domain knows.
        let xml = self.live_xml(name).await?;
        match (pair.has_moved(pair.device(&xml, name)?), done) {
            (true, _) => Ok(()),
            (false, Err(error)) => Err(error),
            (false, Ok(_)) => Err(Error::exec(format!(
                "Disk {} of instance {name} did not go to its new place",
                pair.index
            ))),
        }
    }

    /// Notes which disks the devices hold.
    async fn note(
        &self,
        name: &str,
        pairs: &[Pair],
        holds: impl Fn(&Pair) -> Vec<DiskId>,
    ) -> Result<()> {
        let xml = self.live_xml(name).await?;
        let before = live::held(&xml);
        let mut held = before.clone();
        for pair in pairs {
            let disks = holds(pair);
            match disks.as_slice() {
                [own] if xml::disk_alias(*own) == pair.alias => held.remove(&pair.alias),
                _ => held.insert(pair.alias.clone(), disks),
            };
        }
        if held == before {
            return Ok(());
        }
        let text = live::held_xml(&held);
        let what = format!("Cannot note the disks of instance {name}");
        let set = move |domain: &Domain| {
            let kind = sys::VIR_DOMAIN_METADATA_ELEMENT.cast_signed();
            let (key, space) = (Some("roost"), Some(live::NAMESPACE));
            domain
                .set_metadata(kind, Some(&text), key, space, sys::VIR_DOMAIN_AFFECT_LIVE)
                .map(drop)
        };
        self.with(name, what, QUICK, set).await?.ok_or_else(|| not_running(name))
    }
}

/// Ends mirrors whose future was dropped.
struct EndOnDrop {
    connection: Option<Arc<Connection>>,
    name: String,
    targets: Vec<String>,
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let (name, targets) = (std::mem::take(&mut self.name), std::mem::take(&mut self.targets));
        tracing::info!(instance = name, "ending the mirrors of disks");
        // Without a thread the next try ends them.
        let _ = on_thread(move || {
            if let Ok(Some(domain)) = report::find(&connection, &name) {
                for target in targets {
                    // One that is over has nothing to end.
                    let _ = ffi::end_block_job(&domain, &target, false);
                }
            }
        });
    }
}

/// How fast it goes.
#[derive(Debug, Default)]
struct Meter {
    /// When something was last said.
    said: Option<Instant>,
    /// When it was last looked, and what had moved then.
    before: Option<(Instant, u64)>,
}

impl Meter {
    #[allow(clippy::cast_precision_loss, reason = "for people, not for sums")]
    fn progress(&mut self, moved: ffi::Moved) -> Option<Progress> {
        if moved.total == 0 {
            return None;
        }
        let left = moved.total.saturating_sub(moved.done);
        let now = Instant::now();
        let rate = self.before.replace((now, moved.done)).and_then(|(at, done)| {
            let seconds = now.duration_since(at).as_secs_f64();
            (seconds > 0.0).then(|| moved.done.saturating_sub(done) as f64 / seconds)
        });
        let rate = rate.filter(|rate| *rate > 0.0);
        let talk = self.said.is_none_or(|at| at.elapsed() >= TALK);
        let message = talk.then(|| {
            self.said = Some(now);
            let speed = rate.map(|rate| format!(", {:.0} MiB/s", rate / 1_048_576.0));
            format!("disks left {} MiB{}", left >> 20, speed.unwrap_or_default())
        });
        Some(Progress {
            percent: Some(100.0 * moved.done as f64 / moved.total as f64),
            rate,
            eta: rate.map(|rate| left as f64 / rate),
            message,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIRRORED: &str = "<disk type='file'><source file='/old'/>\
        <mirror type='block' job='copy' ready='yes'><source dev='/new'/></mirror>\
        <target dev='vda'/></disk>";

    #[test]
    fn where_a_disk_is() {
        assert_eq!(source(MIRRORED).as_deref(), Some("/old"));
        assert!(is_mirrored(MIRRORED) && is_ready(MIRRORED));
        let copying = MIRRORED.replace(" ready='yes'", "");
        assert!(is_mirrored(&copying) && !is_ready(&copying));
        let moved = "<disk type='block'><source dev='/new'/><target dev='vda'/></disk>";
        assert!(!is_mirrored(moved));
        assert_eq!(source(moved).as_deref(), Some("/new"));
    }

    #[test]
    fn progress_in_words() {
        let mut meter = Meter::default();
        assert_eq!(meter.progress(ffi::Moved { done: 0, total: 0 }), None);
        let first = meter.progress(ffi::Moved { done: 1 << 20, total: 4 << 20 }).expect("moves");
        assert_eq!(first.percent, Some(25.0));
        assert_eq!(first.message.as_deref(), Some("disks left 3 MiB"));
        let next = meter.progress(ffi::Moved { done: 2 << 20, total: 4 << 20 }).expect("moves");
        assert_eq!((next.percent, next.message), (Some(50.0), None), "not said so soon again");
        assert!(next.rate.is_some() && next.eta.is_some());
    }
}
