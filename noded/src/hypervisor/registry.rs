//! The hypervisors of a node that are in use.

use super::{AnyHypervisor, EventSender, Events, Fake, Kvm};
use roost_proto::choices::Hypervisor;
use roost_proto::error::{Error, Result};
use roost_proto::ids::DiskId;
use roost_proto::node::{Acceleration, GuestReport, InstanceRef};
use roost_proto::objects::Disk;
use roost_proto::paths::Paths;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// All hypervisors of this node. One is set up when it is first asked for or enabled; from then on
/// its guests are listed and its events told. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Hypervisors {
    paths: Arc<Paths>,
    events: EventSender,
    all: Arc<Mutex<BTreeMap<Hypervisor, AnyHypervisor>>>,
}

impl Hypervisors {
    /// None in use yet.
    pub fn new(paths: Paths) -> Hypervisors {
        Hypervisors {
            paths: Arc::new(paths),
            events: EventSender::new(),
            all: Arc::new(Mutex::new(BTreeMap::new())),
        }
    }

    /// Sets up the hypervisors the cluster has enabled (at the start of noded and when ssconf's
    /// `hypervisor_list` changes). Those this version cannot do are left out: asking for one says
    /// so.
    pub fn enable(&self, kinds: &[Hypervisor]) {
        for kind in kinds {
            if let Err(error) = self.get(*kind) {
                tracing::warn!(hypervisor = %kind, %error, "hypervisor left out");
            }
        }
    }

    /// A hypervisor. Errors: `environment_error` if this version has none of that kind.
    pub fn get(&self, kind: Hypervisor) -> Result<AnyHypervisor> {
        let mut all = self.all.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(known) = all.get(&kind) {
            return Ok(known.clone());
        }
        let new = match kind {
            Hypervisor::Kvm => AnyHypervisor::Kvm(Kvm::new(&self.paths, self.events.clone())?),
            Hypervisor::Fake => AnyHypervisor::Fake(Fake::new(&self.paths, self.events.clone())?),
            other => {
                return Err(Error::environment(format!(
                    "hypervisor {other} cannot be used on this node: this version runs kvm and \
                     fake; choose one of them with -H"
                )));
            }
        };
        all.insert(kind, new.clone());
        Ok(new)
    }

    /// What happens to guests, from now on, of all hypervisors.
    pub fn events(&self) -> Events {
        self.events.subscribe()
    }

    fn in_use(&self) -> Vec<AnyHypervisor> {
        let all = self.all.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        all.values().cloned().collect()
    }

    /// All guests of all hypervisors in use, and what went wrong while listing.
    pub async fn list(&self) -> (Vec<GuestReport>, Vec<(Hypervisor, Error)>) {
        let (mut guests, mut problems) = (vec![], vec![]);
        for hypervisor in self.in_use() {
            match hypervisor.list().await {
                Ok(more) => guests.extend(more),
                Err(error) => problems.push((hypervisor.kind(), error)),
            }
        }
        (guests, problems)
    }

    /// Makes sure that a guest holds none of its disks here. Errors: it does, or nobody can tell.
    pub async fn let_go(&self, guest: &InstanceRef, disks: &[Disk]) -> Result<()> {
        let ids: Vec<DiskId> = disks.iter().map(|disk| disk.uuid).collect();
        for hypervisor in self.in_use() {
            let Some(used) = hypervisor.uses(&guest.name, &ids).await? else { continue };
            let place = disks.iter().find(|d| d.uuid == used).map_or("", |d| d.iv_name.as_str());
            return Err(Error::wrong_state(format!(
                "Disk {used} ({place}) is in use: instance {} has it here; stop the instance or \
                 unplug the disk first",
                guest.name
            )));
        }
        Ok(())
    }

    /// What each hypervisor in use runs guests with, by name.
    pub async fn accelerations(&self) -> BTreeMap<String, Acceleration> {
        let mut all = BTreeMap::new();
        for hypervisor in self.in_use() {
            all.insert(hypervisor.kind().to_string(), hypervisor.acceleration().await);
        }
        all
    }

    /// Removes what is left of a guest that is not here.
    pub async fn forget(&self, kind: Hypervisor, guest: &InstanceRef) -> Result<()> {
        self.get(kind)?.forget(guest).await
    }
}
