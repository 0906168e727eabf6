//! An external volume as a disk of this node. See the module above for its states.

use super::attachment::Attachment;
use super::life::Volume;
use super::mark;
use super::scripts::Noded;
use crate::block::device::{BlockDevice, Place, Work};
use crate::block::uri;
use crate::blocking::blocking;
use crate::hypervisor::{ImageFormat, Source};
use roost_extstorage::{Attached, Call, Medium, Script, device, metadata};
use roost_proto::error::{Error, Result};
use roost_proto::node::{BlockState, BlockStatus, DiskRole, Progress};
use roost_proto::objects::{Disk, LogicalId};
use roost_proto::paths::Paths;
use serde_json::Value;
use std::time::Duration;

/// The hypervisor whose URIs are used: QEMU's.
const HYPERVISOR: &str = "kvm";
/// How long QEMU's tools may take for one piece of work on a volume.
const TOOL: Duration = Duration::from_secs(600);
const MIB: u64 = 1 << 20;
/// What a disk's parameters have that is not the provider's.
const OURS: [&str; 2] = ["access", "provider"];

/// A disk that is a volume of a provider.
#[derive(Clone, Debug)]
pub struct ExtDisk {
    volume: Volume,
    /// MiB.
    size: u64,
    /// Guests open it by URI.
    userspace: bool,
}

impl ExtDisk {
    /// The volume of a disk. Errors: it names none, or one that scripts cannot be given.
    pub fn of(disk: &Disk) -> Result<ExtDisk> {
        let LogicalId::Pair(provider, name) = &disk.logical_id else {
            return Err(Error::wrong_input(format!(
                "Disk {} of template {} has no provider and volume",
                disk.uuid, disk.dev_type
            )));
        };
        roost_extstorage::Volume::check_name(name)?;
        let own = |(key, _): &(&String, &Value)| !OURS.contains(&key.as_str());
        let told = roost_extstorage::Volume {
            name: name.clone(),
            uuid: disk.uuid.to_string(),
            cname: disk.name.clone(),
            params: disk.params.iter().filter(own).map(|(k, v)| (k.clone(), text(v))).collect(),
        };
        let userspace = disk.params.get("access").is_some_and(|access| access == "userspace");
        let volume = Volume { disk: disk.uuid, provider: provider.clone(), told };
        Ok(ExtDisk { volume, size: disk.size, userspace })
    }

    /// What holds the data of an attached volume.
    fn medium(&self, attached: &Attached) -> Result<Medium> {
        match (&attached.device, attached.uri(HYPERVISOR)) {
            (Some(path), _) => Ok(Medium::Device(path.clone())),
            (None, Some(uri)) => Ok(Medium::Uri(uri.to_owned())),
            (None, None) => Err(Error::environment(format!(
                "{}: attach gives neither a block device nor a URI for {HYPERVISOR}",
                self.volume
            ))),
        }
    }

    async fn size_of(medium: &Medium) -> Result<u64> {
        let medium = medium.clone();
        match medium {
            Medium::Device(path) => blocking(move || device::size(&path)).await,
            uri => uri.size(&Noded::default(), TOOL).await,
        }
    }

    fn status_now(&self, paths: &Paths) -> Result<BlockStatus> {
        let mut status = BlockStatus {
            state: BlockState::Inactive,
            path: None,
            major_minor: None,
            size: None,
            sync: None,
            detail: String::new(),
            children: vec![],
        };
        let attachment = Attachment::read(&self.volume.attachment(paths))?;
        let Some(attachment) = attachment.filter(|attachment| attachment.attached) else {
            if mark::read(&self.volume.mark(paths))?.is_none() {
                "not attached here: whether it exists is known to its provider only"
                    .clone_into(&mut status.detail);
            }
            return Ok(status);
        };
        status.state = BlockState::Active;
        let uri = attachment.uris.iter().find(|(name, _)| name.eq_ignore_ascii_case(HYPERVISOR));
        status.path = uri.map(|(_, uri)| uri::shown(uri));
        if let Some(path) = &attachment.device {
            status.path = Some(path.to_string_lossy().into_owned());
            status.major_minor = device::number(path);
            match device::size(path) {
                Ok(bytes) if status.major_minor.is_some() => status.size = Some(bytes / MIB),
                other => {
                    status.state = BlockState::Faulty;
                    status.detail = other.map_or_else(
                        |error| error.message,
                        |_| format!("'{}' is no block device any more", path.display()),
                    );
                }
            }
        }
        Ok(status)
    }
}

impl BlockDevice for ExtDisk {
    async fn create(&self, work: &Work) -> Result<()> {
        let call = Call::Create { size: self.size };
        self.volume.make(&self.volume, call, self.size, work).await
    }

    async fn remove(&self, work: &Work) -> Result<()> {
        self.volume.remove(work).await
    }

    async fn wipe(&self, work: &Work) -> Result<()> {
        let _lock = self.volume.lock(&work.paths).await?;
        let borrowed = self.volume.borrow(work).await?;
        let wiped = match self.medium(&borrowed.attached) {
            Ok(Medium::Device(path)) => {
                let reporter = work.reporter.clone();
                let tell = move |done: f64| reporter.progress(percent(done));
                blocking(move || device::zero(&path, tell)).await
            }
            Ok(Medium::Uri(uri)) => {
                let tell = |done: f64| work.reporter.progress(percent(done));
                Medium::zero(&uri, self.size, &Noded::default(), TOOL, tell).await
            }
            Err(error) => Err(error),
        };
        let given_back = self.volume.give_back(borrowed, work).await;
        wiped.and(given_back)
    }

    async fn assemble(&self, role: DiskRole, work: &Work) -> Result<()> {
        let _lock = self.volume.lock(&work.paths).await?;
        let primary = role == DiskRole::Primary;
        if let (true, Some(instance)) = (primary, &work.instance) {
            self.volume.attach(false, work).await?;
            let metadata = metadata(&instance.name);
            let provider = self.volume.provider(&work.paths).await?;
            let call = Call::SetInfo { metadata: &metadata };
            // Only for people who look at the storage: no reason not to start a guest.
            if let Err(failure) = self.volume.call(&provider, call, work).await {
                work.reporter.message(failure.message);
            }
        }
        self.volume.attach(primary, work).await
    }

    async fn shutdown(&self, work: &Work) -> Result<()> {
        let _lock = self.volume.lock(&work.paths).await?;
        self.volume.detach(work).await
    }

    async fn open(&self, exclusive: bool, work: &Work) -> Result<()> {
        let _lock = self.volume.lock(&work.paths).await?;
        let provider = self.volume.provider(&work.paths).await?;
        self.volume.open(&provider, exclusive, work).await
    }

    async fn close(&self, work: &Work) -> Result<()> {
        let _lock = self.volume.lock(&work.paths).await?;
        let provider = self.volume.provider(&work.paths).await?;
        self.volume.close(&provider, work).await
    }

    async fn grow(&self, size: u64, work: &Work) -> Result<()> {
        let _lock = self.volume.lock(&work.paths).await?;
        let provider = self.volume.provider(&work.paths).await?;
        let borrowed = self.volume.borrow(work).await?;
        let grown = async {
            let medium = self.medium(&borrowed.attached)?;
            // Where the size cannot be told, the script decides.
            let now = Self::size_of(&medium).await.ok().map(|bytes| bytes / MIB);
            if now.is_some_and(|now| now >= size) {
                return Ok(());
            }
            // What the volume really has, where the configuration knows it no better.
            let size_now = if self.size < size { self.size } else { now.unwrap_or(self.size) };
            let call = Call::Grow { size: size_now, new_size: size };
            self.volume.call(&provider, call, work).await?;
            let attached = self.volume.look(&provider, work).await?;
            match Self::size_of(&self.medium(&attached)?).await {
                Ok(bytes) if bytes / MIB < size => work.reporter.message(format!(
                    "{} was grown, and here it still has {} MiB: deactivate and activate the disk \
                     to see the rest",
                    self.volume,
                    bytes / MIB
                )),
                _ => {}
            }
            Ok(())
        };
        let grown = grown.await;
        let given_back = self.volume.give_back(borrowed, work).await;
        grown.and(given_back)
    }

    async fn rename(&self, to: &Disk, _work: &Work) -> Result<()> {
        let to = ExtDisk::of(to)?;
        if (&to.volume.provider, &to.volume.told.name)
            == (&self.volume.provider, &self.volume.told.name)
        {
            return Ok(());
        }
        Err(Error::wrong_input(format!(
            "{} cannot become {}: providers cannot rename volumes",
            self.volume, to.volume
        )))
    }

    async fn snapshot(&self, to: &Disk, work: &Work) -> Result<()> {
        let to = ExtDisk::of(to)?;
        if (&to.volume.provider, &to.volume.told.name)
            == (&self.volume.provider, &self.volume.told.name)
        {
            return Err(Error::wrong_input(format!("{} cannot be its own snapshot", self.volume)));
        }
        if to.volume.provider != self.volume.provider {
            return Err(Error::wrong_input(format!(
                "{} cannot be a snapshot of {}: it is another provider's",
                to.volume, self.volume
            )));
        }
        let _lock = self.volume.lock(&work.paths).await?;
        let provider = self.volume.provider(&work.paths).await?;
        if !provider.has(Script::Snapshot) {
            return Err(Error::environment(format!(
                "{} cannot be snapshotted: its provider has no script 'snapshot'",
                self.volume
            )));
        }
        let call = Call::Snapshot { name: &to.volume.told.name, size: to.size };
        to.volume.make(&self.volume, call, to.size, work).await
    }

    async fn status(&self, work: &Work) -> Result<BlockStatus> {
        let (this, paths) = (self.clone(), work.paths.clone());
        blocking(move || this.status_now(&paths)).await
    }

    async fn place(&self, work: &Work) -> Result<Place> {
        let _lock = self.volume.lock(&work.paths).await?;
        let attached = self.volume.attached_as(work).await?;
        let source = match (self.userspace, attached.uri(HYPERVISOR), &attached.device) {
            (true, Some(uri), _) => Source::Uri(uri.to_owned()),
            (true, None, _) => {
                return Err(Error::environment(format!(
                    "{} cannot be opened with access=userspace: its provider gives no URI for \
                     {HYPERVISOR}; set the disk parameter access=kernelspace",
                    self.volume
                )));
            }
            (false, _, Some(path)) => Source::Block(path.clone()),
            (false, _, None) => {
                return Err(Error::environment(format!(
                    "{} cannot be opened with access=kernelspace: its provider gives no block \
                     device on this node; set the disk parameter access=userspace",
                    self.volume
                )));
            }
        };
        Ok(Place { source, format: ImageFormat::Raw, shared: true })
    }
}

fn percent(done: f64) -> Progress {
    Progress { percent: Some(100.0 * done), ..Progress::default() }
}

/// A parameter as scripts are told it: Python's notation, as Ganeti's.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Null => "None".into(),
        other => other.to_string(),
    }
}
