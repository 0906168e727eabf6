//! How guests ended that nobody stopped: libvirt forgets a transient domain the moment it is gone.
//!
//! A file `<run dir>/kvm/ended/NAME` for each guest that shut itself down or died, until it is
//! started or stopped. A guest that ends while noded does not run is just gone.

use super::ffi::Who;
use roost_proto::choices::Hypervisor;
use roost_proto::node::{GuestReport, GuestState};
use std::path::PathBuf;
use virt_sys as sys;

/// The files.
#[derive(Clone, Debug)]
pub struct Ended {
    dir: PathBuf,
}

/// What an end means that libvirt reported; `None` if somebody wanted it.
pub fn meaning(detail: u32) -> Option<GuestState> {
    match detail {
        sys::VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN => Some(GuestState::Shutdown),
        sys::VIR_DOMAIN_EVENT_STOPPED_CRASHED | sys::VIR_DOMAIN_EVENT_STOPPED_FAILED => {
            Some(GuestState::Crashed)
        }
        _ => None,
    }
}

impl Ended {
    pub fn new(dir: PathBuf) -> Ended {
        Ended { dir }
    }

    /// Keeps how a guest ended.
    pub fn put(&self, report: &GuestReport) {
        let kept = std::fs::create_dir_all(&self.dir)
            .and_then(|()| Ok(serde_json::to_vec(report)?))
            .and_then(|content| std::fs::write(self.dir.join(&report.name), content));
        if let Err(error) = kept {
            tracing::warn!(instance = report.name, %error, "cannot keep how a guest ended");
        }
    }

    /// How a guest ended.
    pub fn get(&self, name: &str) -> Option<GuestReport> {
        serde_json::from_slice(&std::fs::read(self.dir.join(name)).ok()?).ok()
    }

    /// All that ended.
    pub fn all(&self) -> Vec<GuestReport> {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return vec![] };
        entries.flatten().filter_map(|entry| self.get(entry.file_name().to_str()?)).collect()
    }

    /// It matters no more.
    pub fn forget(&self, name: &str) {
        // None there is the usual case.
        let _ = std::fs::remove_file(self.dir.join(name));
    }
}

/// The report of a guest that is not there any more.
pub fn report(who: Who, state: GuestState) -> GuestReport {
    GuestReport {
        name: who.name,
        uuid: Some(who.uuid.into()),
        hypervisor: Hypervisor::Kvm,
        state,
        memory: 0,
        vcpus: 0,
        cpu_time: 0.0,
    }
}
