//! KVM: QEMU through libvirt. The only folder that knows libvirt.
//!
//! Guests are *transient* domains: libvirt has one while it runs and forgets it when it ends, so
//! nothing stale can be started on the wrong node later; what a guest is, only the cluster's
//! configuration says. How a guest ended that nobody stopped is kept beside ([`ended`]).
//!
//! ```text
//!   mod        Kvm: the parts together, and questions
//!   lifecycle  start, stop, reboot          devices   plug, unplug, resize, balloon
//!   xml        a guest as XML, pure         live      devices in the XML of a running guest
//!   nics       cards connected by scripts   host      facts of the node the XML needs
//!   link, ffi  the connection, its events   report    domains as reports
//!   moving     libvirt's part of migrations mirroring  disks go elsewhere while their guest runs
//! ```

mod devices;
mod ended;
mod ffi;
mod host;
mod lifecycle;
mod link;
mod live;
mod mirroring;
mod moving;
mod nics;
mod report;
mod xml;

pub use moving::{Move, Peer};
pub use nics::Phase;

use super::probe::{self, Probe};
use super::{EventSender, GuestEvent};
use ended::Ended;
use link::{Connection, Handler, Link};
use nics::Nics;
use roost_proto::choices::Hypervisor;
use roost_proto::error::{Error, Result};
use roost_proto::node::{Acceleration, ConsoleInfo, GuestReport, GuestSpec};
use roost_proto::objects::ParamMap;
use roost_proto::paths::Paths;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, broadcast};
use virt_sys as sys;

/// Where libvirt's QEMU driver is.
const URI: &str = "qemu:///system";
/// Questions, and changes that libvirt makes at once.
const QUICK: Duration = Duration::from_secs(30);
/// What starts or ends a process.
const SLOW: Duration = Duration::from_secs(180);

/// QEMU with KVM, or emulating. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Kvm(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    link: Link,
    run: PathBuf,
    console_logs: PathBuf,
    nics: Nics,
    shared: Shared,
    /// Held while QEMU is tried, so that it is tried once.
    probing: AsyncMutex<()>,
}

/// What calls and the watch thread both use.
#[derive(Clone, Debug)]
struct Shared {
    events: EventSender,
    ended: Ended,
    /// Guests that we stopped and did not start again: their end says nothing.
    stopping: Arc<Mutex<BTreeSet<String>>>,
    /// Names of guests that restarted themselves.
    reboots: broadcast::Sender<String>,
    /// Names of guests that are gone: their cards are to be disconnected.
    gone: tokio::sync::mpsc::UnboundedSender<String>,
}

impl Kvm {
    /// Connects to libvirt, now or as soon as it runs. Must be called within the runtime.
    pub fn new(paths: &Paths, events: EventSender) -> Result<Kvm> {
        Kvm::at(URI, paths, events)
    }

    fn at(uri: &str, paths: &Paths, events: EventSender) -> Result<Kvm> {
        let run = paths.run_dir().join("kvm");
        let nics = Nics::new(paths.conf_dir(), run.clone());
        let (gone, mut ended) = tokio::sync::mpsc::unbounded_channel();
        let shared = Shared {
            events,
            ended: Ended::new(run.join("ended")),
            stopping: Arc::default(),
            reboots: broadcast::Sender::new(64),
            gone,
        };
        let link = Link::new(uri, shared.clone())?;
        let cleaner = nics.clone();
        tokio::spawn(async move {
            while let Some(name) = ended.recv().await {
                cleaner.disconnect(&name).await;
            }
        });
        let console_logs = paths.log_dir().join("console");
        Ok(Kvm(Arc::new(Inner {
            link,
            run,
            console_logs,
            nics,
            shared,
            probing: AsyncMutex::new(()),
        })))
    }

    fn console_log(&self, name: &str) -> PathBuf {
        self.0.console_logs.join(format!("{name}.log"))
    }

    /// All guests: those that are there, and those that ended by themselves.
    pub(crate) async fn list(&self) -> Result<Vec<GuestReport>> {
        let mut all = self.0.link.call("Cannot list guests", QUICK, |c| report::list(c)).await?;
        let names: BTreeSet<String> = all.iter().map(|report| report.name.clone()).collect();
        let ended = self.0.shared.ended.all();
        all.extend(ended.into_iter().filter(|report| !names.contains(&report.name)));
        Ok(all)
    }

    pub(crate) async fn info(&self, name: &str) -> Result<Option<GuestReport>> {
        let wanted = name.to_owned();
        let what = format!("Cannot look up guest {name}");
        let find = move |c: &Connection| report::find_report(c, &wanted);
        let found = self.0.link.call(what, QUICK, find).await?;
        Ok(found.or_else(|| self.0.shared.ended.get(name)))
    }

    /// How to get at a console: the serial one, else the display.
    pub(crate) async fn console(&self, guest: &GuestSpec) -> Result<ConsoleInfo> {
        let params = xml::KvmParams::new(&guest.hvparams)?;
        let info = ConsoleInfo { instance: guest.name.to_string(), ..ConsoleInfo::default() };
        if params.flag("serial_console") {
            let command = ["virsh", "-c", self.0.link.uri(), "console", &guest.name];
            return Ok(ConsoleInfo {
                kind: "ssh".into(),
                user: Some("root".into()),
                command: Some(command.map(str::to_owned).to_vec()),
                ..info
            });
        }
        let anywhere = |bind: &str| matches!(bind, "0.0.0.0" | "::");
        let at = |bind: &str| Some(bind.to_owned()).filter(|bind| !anywhere(bind));
        if let Some(bind) = params.set("vnc_bind_address").filter(|bind| !bind.starts_with('/')) {
            return Ok(ConsoleInfo {
                kind: "vnc".into(),
                host: at(bind),
                port: guest.network_port,
                display: guest.network_port.map(|port| port.saturating_sub(5900)),
                ..info
            });
        }
        if let Some(bind) = params.set("spice_bind") {
            let port = guest.network_port;
            return Ok(ConsoleInfo { kind: "spice".into(), host: at(bind), port, ..info });
        }
        let message = format!(
            "No serial shell for instance {}: set serial_console, vnc_bind_address or spice_bind",
            guest.name
        );
        Ok(ConsoleInfo { kind: "msg".into(), message: Some(message), ..info })
    }

    /// Whether this node can do what the parameters ask: all of them are understood, the files are
    /// here, and this QEMU has that machine.
    pub(crate) async fn validate(&self, hvparams: &ParamMap) -> Result<()> {
        let params = xml::KvmParams::new(hvparams)?;
        host::check_files(&params)?;
        let probe = self.probe(host::emulator(&params)).await?;
        let host = host::look_up(hvparams, &probe, PathBuf::new())?;
        let sample = serde_json::json!({
            "uuid": uuid::Uuid::nil(), "name": "sample", "hypervisor": "kvm",
            "hvparams": hvparams, "beparams": {"vcpus": vcpus_that_fit(&params)},
            "network_port": 5900,
        });
        let sample: GuestSpec = serde_json::from_value(sample)
            .map_err(|e| Error::internal(format!("a sample guest: {e}")))?;
        // Only for its errors.
        xml::domain(&sample, &[], &host)?;
        let machine = xml::machine(&params).to_owned();
        let what = format!("The kvm hypervisor parameter machine_version={machine} cannot be used");
        let known = self
            .0
            .link
            .call(what, QUICK, move |c| {
                let emulator = host.emulator.to_string_lossy();
                let kind = if host.kvm { "kvm" } else { "qemu" };
                c.get_domain_capabilities(
                    Some(&emulator),
                    Some("x86_64"),
                    Some(&machine),
                    Some(kind),
                    0,
                )
            })
            .await;
        match known {
            Ok(_) => Ok(()),
            Err(error) if error.error_type.is_some() => Err(error),
            Err(error) => Err(Error::wrong_input(error.message)),
        }
    }

    /// What guests run with here.
    pub(crate) async fn acceleration(&self) -> Acceleration {
        let probe = match self.probe(Path::new("/usr/bin/qemu-system-x86_64")).await {
            Ok(probe) => probe,
            Err(error) => {
                return Acceleration { reason: error.message, ..Acceleration::default() };
            }
        };
        let libvirt = self.0.link.call("Cannot ask libvirt", QUICK, |c| c.get_lib_version()).await;
        let qemu = format!("qemu {}", probe.version);
        let accelerator = if probe.kvm { "kvm" } else { "tcg" };
        match libvirt {
            Ok(version) => Acceleration {
                usable: probe.usable,
                accelerator: if probe.usable { accelerator } else { "none" }.into(),
                reason: probe.reason,
                version: format!("{qemu}, libvirt {}", version_text(version)),
            },
            Err(error) => Acceleration {
                usable: false,
                accelerator: "none".into(),
                reason: error.message,
                version: qemu,
            },
        }
    }

    async fn probe(&self, emulator: &Path) -> Result<Probe> {
        let _one = self.0.probing.lock().await;
        probe::probe(emulator, &self.0.run).await
    }
}

/// As many processors as the topology of the parameters makes, at least one.
fn vcpus_that_fit(params: &xml::KvmParams<'_>) -> u64 {
    let masks = params.text("cpu_mask").split(':').count() as u64;
    let threads = ["cpu_sockets", "cpu_cores", "cpu_threads"]
        .into_iter()
        .map(|name| params.number(name).unwrap_or(1))
        .product::<u64>();
    masks.max(threads)
}

/// 11003000 is 11.3.0.
fn version_text(version: u32) -> String {
    format!("{}.{}.{}", version / 1_000_000, version / 1000 % 1000, version % 1000)
}

impl Shared {
    fn is_stopping(&self, name: &str) -> bool {
        self.stopping.lock().unwrap_or_else(|e| e.into_inner()).contains(name)
    }

    fn set_stopping(&self, name: &str, stopping: bool) {
        let mut all = self.stopping.lock().unwrap_or_else(|e| e.into_inner());
        if stopping {
            all.insert(name.to_owned());
        } else {
            all.remove(name);
        }
    }

    fn tell_gone(&self, name: &str) {
        let hypervisor = Hypervisor::Kvm;
        self.events.send(GuestEvent::Gone { name: name.to_owned(), hypervisor });
    }
}

impl Handler for Shared {
    fn connected(&mut self, _connection: &Connection) {
        self.events.send(GuestEvent::Resync(Hypervisor::Kvm));
    }

    fn happened(&mut self, connection: &Connection, what: ffi::Happened) {
        tracing::debug!(?what, "libvirt");
        let (who, stopped) = match what {
            ffi::Happened::Rebooted { who } => {
                // Nobody waits for a restart: then nobody need be told.
                let _ = self.reboots.send(who.name);
                return;
            }
            ffi::Happened::Lifecycle { who, event, detail } => {
                (who, (event == sys::VIR_DOMAIN_EVENT_STOPPED).then_some(detail))
            }
        };
        let name = who.name.clone();
        match report::find_report(connection, &name) {
            Ok(Some(report)) => {
                self.ended.forget(&name);
                self.events.send(GuestEvent::Changed(report));
            }
            Ok(None) => {
                let Some(detail) = stopped else { return };
                if self.is_stopping(&name) {
                    return self.tell_gone(&name);
                }
                // Nobody to clean up only means that noded is ending.
                let _ = self.gone.send(name.clone());
                match ended::meaning(detail) {
                    Some(state) => {
                        let report = ended::report(who, state);
                        self.ended.put(&report);
                        self.events.send(GuestEvent::Changed(report));
                    }
                    None => self.tell_gone(&name),
                }
            }
            Err(error) => {
                tracing::warn!(instance = name, %error, "cannot look at a guest that changed");
                self.events.send(GuestEvent::Resync(Hypervisor::Kvm));
            }
        }
    }
}

#[cfg(test)]
mod tests;
