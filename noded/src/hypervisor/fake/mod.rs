//! A hypervisor that runs nothing: each guest is a small file. For simulation, tests and benchmarks.
//!
//! ```text
//!   <run dir>/fake-hypervisor/NAME            it runs (or is frozen, or being received: see inside)
//!   <run dir>/fake-hypervisor/NAME@shutdown   it was shut down from inside
//!   <run dir>/fake-hypervisor/NAME@crashed    it died
//! ```
//!
//! Like processes, guests survive a restart of noded and are lost with the machine's power. A file
//! removed or renamed by hand is a guest that died or shut itself down, noticed within a second.
//! Nothing is synced to disk: creating hundreds a second costs next to nothing.

mod files;

pub use files::FakeGuest;

use super::{Attachment, EventSender, GuestEvent};
use files::Files;
use roost_proto::choices::Hypervisor;
use roost_proto::error::{Error, Result};
use roost_proto::ids::DiskId;
use roost_proto::node::{
    Acceleration, ConsoleInfo, GuestNic, GuestReport, GuestSpec, GuestState, InstanceRef,
    RebootKind,
};
use roost_proto::objects::ParamMap;
use roost_proto::paths::Paths;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

/// How often the files are looked at for changes by hand.
const POLL: Duration = Duration::from_millis(250);

/// The fake hypervisor. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fake(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: Files,
    events: EventSender,
    guests: Mutex<BTreeMap<String, FakeGuest>>,
}

impl Fake {
    /// Takes over the guests there are, and watches them. Errors: the directory cannot be made.
    pub fn new(paths: &Paths, events: EventSender) -> Result<Fake> {
        let files = Files::open(paths.run_dir().join("fake-hypervisor"))?;
        let guests = Mutex::new(files.read_all(&BTreeMap::new())?);
        let inner = Arc::new(Inner { files, events, guests });
        let watched = Arc::downgrade(&inner);
        std::thread::Builder::new()
            .name("fake-hypervisor".into())
            .spawn(move || watch(&watched))
            .map_err(|e| Error::environment(format!("Cannot start a thread: {e}")))?;
        Ok(Fake(inner))
    }

    fn guests(&self) -> MutexGuard<'_, BTreeMap<String, FakeGuest>> {
        self.0.guests()
    }

    /// Changes a guest that runs. Errors if it does not.
    fn change(&self, name: &str, change: impl FnOnce(&mut FakeGuest)) -> Result<()> {
        let mut guests = self.guests();
        let guest = guests
            .get_mut(name)
            .filter(|guest| guest.state.is_running())
            .ok_or_else(|| not_running(name))?;
        change(guest);
        self.0.files.write(guest)?;
        self.0.events.send(GuestEvent::Changed(guest.report()));
        Ok(())
    }

    fn put(&self, guest: FakeGuest) -> Result<()> {
        let mut guests = self.guests();
        self.0.files.write(&guest)?;
        self.0.events.send(GuestEvent::Changed(guest.report()));
        guests.insert(guest.name.clone(), guest);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<()> {
        let mut guests = self.guests();
        self.0.files.remove(name)?;
        if guests.remove(name).is_some() {
            self.0.events.send(gone(name));
        }
        Ok(())
    }

    fn state(&self, name: &str) -> Option<GuestState> {
        self.guests().get(name).map(|guest| guest.state)
    }

    pub(crate) async fn start(
        &self,
        guest: &GuestSpec,
        disks: &[Attachment],
        paused: bool,
    ) -> Result<()> {
        match self.state(&guest.name) {
            Some(state) if state.is_running() => return Ok(()),
            Some(GuestState::Incoming) => {
                return Err(Error::wrong_state(format!(
                    "Instance {} cannot be started: it is being received by a migration",
                    guest.name
                )));
            }
            _ => {}
        }
        self.put(FakeGuest {
            uuid: guest.uuid,
            name: guest.name.to_string(),
            state: if paused { GuestState::Paused } else { GuestState::Running },
            memory: guest.maxmem(),
            vcpus: guest.vcpus(),
            disks: disks.iter().map(|disk| disk.uuid).collect(),
            nics: guest.nics.iter().map(|nic| nic.uuid).collect(),
        })
    }

    pub(crate) async fn stop(&self, guest: &InstanceRef, _timeout: Duration) -> Result<()> {
        self.remove(&guest.name)
    }

    pub(crate) async fn reboot(
        &self,
        guest: &GuestSpec,
        disks: &[Attachment],
        kind: RebootKind,
        _timeout: Duration,
    ) -> Result<()> {
        match kind {
            RebootKind::Soft => self.change(&guest.name, |_| {}),
            RebootKind::Hard => {
                self.remove(&guest.name)?;
                self.start(guest, disks, false).await
            }
        }
    }

    pub(crate) async fn balloon(&self, guest: &InstanceRef, memory: u64) -> Result<()> {
        self.change(&guest.name, |guest| guest.memory = memory)
    }

    pub(crate) async fn resume(&self, guest: &InstanceRef) -> Result<()> {
        let mut guests = self.guests();
        let guest = guests.get_mut(guest.name.as_str()).ok_or_else(|| not_running(&guest.name))?;
        if guest.state != GuestState::Running {
            guest.state = GuestState::Running;
            self.0.files.write(guest)?;
            self.0.events.send(GuestEvent::Changed(guest.report()));
        }
        Ok(())
    }

    pub(crate) async fn plug_disk(&self, guest: &GuestSpec, disk: &Attachment) -> Result<()> {
        self.change(&guest.name, |guest| {
            if !guest.disks.contains(&disk.uuid) {
                guest.disks.push(disk.uuid);
            }
        })
    }

    pub(crate) async fn unplug_disk(&self, guest: &GuestSpec, disk: DiskId) -> Result<()> {
        self.change(&guest.name, |guest| guest.disks.retain(|known| *known != disk))
    }

    /// A running guest has other disks in the places of its disks from now on. Their data is there.
    pub(crate) fn swap_disks(
        &self,
        guest: &GuestSpec,
        from: &[Attachment],
        to: &[Attachment],
    ) -> Result<()> {
        self.change(&guest.name, |guest| {
            for (from, to) in from.iter().zip(to) {
                let place = guest.disks.iter_mut().find(|disk| **disk == from.uuid);
                place.into_iter().for_each(|disk| *disk = to.uuid);
            }
        })
    }

    pub(crate) async fn uses(&self, name: &str, disks: &[DiskId]) -> Result<Option<DiskId>> {
        let guests = self.guests();
        let guest = guests.get(name).filter(|guest| guest.state.is_running());
        Ok(guest.and_then(|guest| disks.iter().find(|disk| guest.disks.contains(disk)).copied()))
    }

    pub(crate) async fn resize_disk(
        &self,
        _guest: &InstanceRef,
        _disk: DiskId,
        _size: u64,
    ) -> Result<()> {
        Ok(())
    }

    pub(crate) async fn plug_nic(&self, guest: &GuestSpec, nic: &GuestNic) -> Result<()> {
        self.change(&guest.name, |guest| {
            if !guest.nics.contains(&nic.uuid) {
                guest.nics.push(nic.uuid);
            }
        })
    }

    pub(crate) async fn unplug_nic(&self, guest: &GuestSpec, nic: &GuestNic) -> Result<()> {
        self.change(&guest.name, |guest| guest.nics.retain(|known| *known != nic.uuid))
    }

    pub(crate) async fn list(&self) -> Result<Vec<GuestReport>> {
        Ok(self.guests().values().map(FakeGuest::report).collect())
    }

    pub(crate) async fn info(&self, name: &str) -> Result<Option<GuestReport>> {
        Ok(self.guests().get(name).map(FakeGuest::report))
    }

    pub(crate) async fn console(&self, guest: &GuestSpec) -> Result<ConsoleInfo> {
        Ok(ConsoleInfo {
            instance: guest.name.to_string(),
            kind: "msg".into(),
            message: Some("Console not available for fake hypervisor".into()),
            ..ConsoleInfo::default()
        })
    }

    pub(crate) async fn validate(&self, _hvparams: &ParamMap) -> Result<()> {
        Ok(())
    }

    pub(crate) async fn acceleration(&self) -> Acceleration {
        Acceleration {
            usable: true,
            accelerator: "none".into(),
            reason: "guests are simulated".into(),
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    pub(crate) async fn forget(&self, guest: &InstanceRef) -> Result<()> {
        match self.state(&guest.name) {
            Some(state) if state.is_running() => Err(Error::wrong_state(format!(
                "Instance {} cannot be forgotten: it runs here; stop it first",
                guest.name
            ))),
            _ => self.remove(&guest.name),
        }
    }

    /// The whole state of a running guest, to be sent to another node.
    pub(crate) fn send_state(&self, name: &str) -> Result<FakeGuest> {
        let guests = self.guests();
        guests
            .get(name)
            .filter(|guest| guest.state.is_running())
            .cloned()
            .ok_or_else(|| not_running(name))
    }

    /// Takes in a guest sent by another node. It does not run before it is resumed.
    pub(crate) fn receive_state(&self, mut guest: FakeGuest) -> Result<()> {
        match self.state(&guest.name) {
            Some(state) if state.is_running() => Err(Error::wrong_state(format!(
                "Instance {} cannot be received: it runs here already",
                guest.name
            ))),
            _ => {
                guest.state = GuestState::Incoming;
                self.put(guest)
            }
        }
    }

    /// The guest has left for another node.
    pub(crate) fn has_left(&self, name: &str) -> Result<()> {
        self.remove(name)
    }
}

impl Inner {
    fn guests(&self) -> MutexGuard<'_, BTreeMap<String, FakeGuest>> {
        self.guests.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Compares what is known with the files.
    fn look(&self) -> Result<()> {
        // Locked before reading: a guest started meanwhile must not be taken for lost.
        let mut guests = self.guests();
        let found = self.files.read_all(&guests)?;
        for name in guests.keys().filter(|name| !found.contains_key(*name)) {
            tracing::info!(instance = %name, "a fake guest is gone");
            self.events.send(gone(name));
        }
        for (name, guest) in &found {
            if guests.get(name) != Some(guest) {
                self.events.send(GuestEvent::Changed(guest.report()));
            }
        }
        *guests = found;
        Ok(())
    }
}

/// Looks at the files from time to time for as long as the hypervisor is in use.
fn watch(inner: &Weak<Inner>) {
    let mut seen = None;
    while let Some(inner) = inner.upgrade() {
        let now = inner.files.changed();
        if now != seen || now.is_none() {
            if let Err(error) = inner.look() {
                tracing::warn!(%error, "cannot look after fake guests");
            }
            seen = now;
        }
        drop(inner);
        std::thread::sleep(POLL);
    }
}

fn gone(name: &str) -> GuestEvent {
    GuestEvent::Gone { name: name.to_owned(), hypervisor: Hypervisor::Fake }
}

fn not_running(name: &str) -> Error {
    Error::wrong_state(format!("Instance {name} does not run on this node"))
}

#[cfg(test)]
mod tests;
