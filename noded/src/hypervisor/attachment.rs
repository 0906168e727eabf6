//! How the block layer hands an assembled disk to a hypervisor.

use roost_proto::ids::DiskId;
use std::path::PathBuf;

/// An assembled disk, ready to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its place among the guest's disks, 0 for the first.
    pub index: u32,
    /// The disk's UUID: by it a plugged disk is found again, and the guest sees it as the serial
    /// number.
    pub uuid: DiskId,
    /// Where the data is.
    pub source: Source,
    /// How the data is laid out there.
    pub format: ImageFormat,
    /// The guest must not write.
    pub readonly: bool,
    /// Other nodes reach the same data (`sharedfile`, `rbd`, `drbd`, …): a migration need not copy
    /// it, and the node's page cache must not be in the way of it.
    pub shared: bool,
}

/// Where the data of a disk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// A block device.
    Block(PathBuf),
    /// Something QEMU itself opens: `rbd:pool/image`, `gluster://host/volume/path`,
    /// `nbd:unix:/path`, …
    Uri(String),
}

impl Source {
    /// The local path, where there is one.
    pub fn path(&self) -> Option<&std::path::Path> {
        match self {
            Source::File(path) | Source::Block(path) => Some(path),
            Source::Uri(_) => None,
        }
    }
}

/// How the data of a disk is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageFormat {
    /// As it is.
    #[default]
    Raw,
    /// QEMU's own format.
    Qcow2,
}

impl ImageFormat {
    /// QEMU's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            ImageFormat::Raw => "raw",
            ImageFormat::Qcow2 => "qcow2",
        }
    }
}
