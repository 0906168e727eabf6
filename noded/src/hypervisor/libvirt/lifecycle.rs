//! Starting, stopping and restarting guests.

use super::link::{Connection, if_there};
use super::{Kvm, Phase, QUICK, SLOW, host, report, xml};
use crate::hypervisor::Attachment;
use roost_proto::error::{Error, Result};
use roost_proto::node::{GuestSpec, GuestState, InstanceRef, RebootKind};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use virt::domain::Domain;
use virt::error::Error as VirtError;
use virt_sys as sys;

/// Between looks whether a guest has ended.
const LOOK: Duration = Duration::from_millis(250);
/// A guest that boots just now does not hear the first request to shut down.
const ASK_AGAIN: Duration = Duration::from_secs(5);

impl Kvm {
    /// The XML of a guest, with its cards connected.
    pub(super) async fn host(&self, guest: &GuestSpec) -> Result<xml::Host> {
        let params = xml::KvmParams::new(&guest.hvparams)?;
        let probe = self.probe(host::emulator(&params)).await?;
        let log = self.console_log(&guest.name);
        let scripted = self.0.nics.scripted(&guest.nics);
        Ok(xml::Host { scripted, ..host::look_up(&guest.hvparams, &probe, log)? })
    }

    pub(crate) async fn start(
        &self,
        guest: &GuestSpec,
        disks: &[Attachment],
        paused: bool,
    ) -> Result<()> {
        match self.info(&guest.name).await? {
            Some(other) if other.uuid != Some(guest.uuid) => {
                return Err(Error::exists(format!(
                    "Instance {} cannot be started: this node has another guest of that name; \
                     remove it with virsh",
                    guest.name
                )));
            }
            Some(report) if report.state.is_running() => return Ok(()),
            Some(report) if report.state == GuestState::Incoming => {
                return Err(Error::wrong_state(format!(
                    "Instance {} cannot be started: it is being received by a migration",
                    guest.name
                )));
            }
            _ => {}
        }
        host::check_files(&xml::KvmParams::new(&guest.hvparams)?)?;
        let host = self.host(guest).await?;
        let xml = xml::domain(guest, disks, &host)?;
        crate::durable::make_dir(&self.0.console_logs)?;
        self.0.nics.connect(guest, &guest.nics, Phase::Start).await?;
        self.0.shared.ended.forget(&guest.name);
        let flags = if paused { sys::VIR_DOMAIN_START_PAUSED } else { sys::VIR_DOMAIN_NONE };
        let what = format!("Cannot start instance {}", guest.name);
        let create = move |c: &Connection| Domain::create_xml(c, &xml, flags).map(drop);
        let started = self.0.link.call(what, SLOW, create).await;
        match &started {
            // From now on an end of it says something.
            Ok(()) => self.0.shared.set_stopping(&guest.name, false),
            Err(_) => self.0.nics.disconnect(&guest.name).await,
        }
        started
    }

    /// What the domain of this name is doing, if there is one.
    pub(super) async fn state(&self, name: &str) -> Result<Option<GuestState>> {
        let wanted = name.to_owned();
        let look = move |c: &Connection| match report::find(c, &wanted)? {
            Some(domain) => report::state(&domain),
            None => Ok(None),
        };
        self.0.link.call(format!("Cannot look up guest {name}"), QUICK, look).await
    }

    /// Does something with a domain; `None` if it is not there (any more).
    pub(super) async fn with<T: Send + 'static>(
        &self,
        name: &str,
        what: impl Into<String>,
        limit: Duration,
        work: impl FnOnce(&Domain) -> Result<T, VirtError> + Send + 'static,
    ) -> Result<Option<T>> {
        let name = name.to_owned();
        let find = move |c: &Connection| match report::find(c, &name)? {
            Some(domain) => if_there(work(&domain)),
            None => Ok(None),
        };
        self.0.link.call(what, limit, find).await
    }

    pub(crate) async fn stop(&self, guest: &InstanceRef, timeout: Duration) -> Result<()> {
        let name = guest.name.as_str();
        self.0.shared.set_stopping(name, true);
        let stopped = self.end(name, timeout).await;
        match &stopped {
            // Until it is started again, news of its end are old.
            Ok(()) => {
                self.0.shared.ended.forget(name);
                self.0.nics.disconnect(name).await;
                self.0.shared.tell_gone(name);
            }
            Err(_) => self.0.shared.set_stopping(name, false),
        }
        stopped
    }

    /// Asks a guest to shut down, kills it when its time is over.
    async fn end(&self, name: &str, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let mut asked: Option<Instant> = None;
        loop {
            match self.state(name).await? {
                None => return Ok(()),
                // Frozen ones cannot hear.
                Some(GuestState::Running) if Instant::now() < deadline => {}
                Some(_) => break,
            }
            if asked.is_none_or(|at| at.elapsed() >= ASK_AGAIN) {
                asked = Some(Instant::now());
                let what = format!("Cannot ask instance {name} to shut down");
                let ask = |domain: &Domain| domain.shutdown().map(drop);
                if let Err(error) = self.with(name, what, QUICK, ask).await {
                    tracing::warn!(%error, "a guest cannot be asked to shut down");
                }
            }
            sleep(LOOK).await;
        }
        let what = format!("Cannot kill instance {name}");
        self.with(name, what, SLOW, |domain| {
            match domain.destroy() {
                // It ended in this very moment.
                Err(_) if report::state(domain)?.is_none() => Ok(()),
                other => other,
            }
        })
        .await
        .map(drop)
    }

    pub(crate) async fn reboot(
        &self,
        guest: &GuestSpec,
        disks: &[Attachment],
        kind: RebootKind,
        timeout: Duration,
    ) -> Result<()> {
        if kind == RebootKind::Soft && self.ask_to_reboot(&guest.name, timeout).await? {
            return Ok(());
        }
        let instance = InstanceRef { uuid: guest.uuid, name: guest.name.clone() };
        // A soft restart has used up the time.
        let timeout = if kind == RebootKind::Soft { Duration::ZERO } else { timeout };
        self.stop(&instance, timeout).await?;
        self.start(guest, disks, false).await
    }

    /// Whether the guest restarted in time.
    async fn ask_to_reboot(&self, name: &str, timeout: Duration) -> Result<bool> {
        let mut reboots = self.0.shared.reboots.subscribe();
        let what = format!("Cannot ask instance {name} to restart");
        let ask = |domain: &Domain| domain.reboot(sys::VIR_DOMAIN_REBOOT_DEFAULT);
        if self.with(name, what, QUICK, ask).await?.is_none() {
            return Err(not_running(name));
        }
        let restarted = async {
            loop {
                match reboots.recv().await {
                    Ok(who) if who == name => return,
                    Ok(_) => {}
                    // Some may have been missed; then the deadline decides.
                    Err(_) => std::future::pending().await,
                }
            }
        };
        Ok(tokio::time::timeout(timeout, restarted).await.is_ok())
    }

    pub(crate) async fn resume(&self, guest: &InstanceRef) -> Result<()> {
        let what = format!("Cannot resume instance {}", guest.name);
        let resume = |domain: &Domain| match report::state(domain)? {
            Some(GuestState::Paused) => domain.resume().map(|_| true),
            state => Ok(state.is_some_and(GuestState::is_running)),
        };
        match self.with(&guest.name, what, QUICK, resume).await? {
            Some(true) => Ok(()),
            _ => Err(not_running(&guest.name)),
        }
    }

    pub(crate) async fn forget(&self, guest: &InstanceRef) -> Result<()> {
        match self.state(&guest.name).await? {
            Some(state) if state.is_running() => Err(Error::wrong_state(format!(
                "Instance {} cannot be forgotten: it runs here; stop it first",
                guest.name
            ))),
            _ => self.stop(guest, Duration::ZERO).await,
        }
    }
}

pub(super) fn not_running(name: &str) -> Error {
    Error::wrong_state(format!("Instance {name} does not run on this node"))
}
