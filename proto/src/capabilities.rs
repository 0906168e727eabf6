//! What disk templates and hypervisors can do.
//!
//! Facts about the words in [`crate::choices`], so that operations ask a question instead of
//! listing words.

use crate::choices::{DiskTemplate, Hypervisor, StorageType};

/// Who keeps a second copy of a disk, or makes it visible on other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mirroring {
    /// Nobody: the disk is on one node.
    None,
    /// We do, on a secondary node.
    Internal,
    /// The storage does: any node of the group sees the disk.
    External,
}

/// Whether existing volumes can become disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// No.
    Never,
    /// If asked for.
    May,
    /// There is no other way.
    Must,
}

impl DiskTemplate {
    /// What holds such disks.
    pub fn storage_type(self) -> StorageType {
        match self {
            DiskTemplate::Diskless => StorageType::Diskless,
            DiskTemplate::Plain | DiskTemplate::Drbd => StorageType::LvmVg,
            DiskTemplate::File => StorageType::File,
            DiskTemplate::SharedFile => StorageType::SharedFile,
            DiskTemplate::Gluster => StorageType::Gluster,
            DiskTemplate::BlockDev => StorageType::BlockDev,
            DiskTemplate::Rbd => StorageType::Rados,
            DiskTemplate::Ext => StorageType::Ext,
        }
    }

    /// Who mirrors. Instances without disks move as freely as those on shared storage.
    pub fn mirroring(self) -> Mirroring {
        match self {
            DiskTemplate::Plain | DiskTemplate::File => Mirroring::None,
            DiskTemplate::Drbd => Mirroring::Internal,
            DiskTemplate::Diskless
            | DiskTemplate::SharedFile
            | DiskTemplate::Gluster
            | DiskTemplate::BlockDev
            | DiskTemplate::Rbd
            | DiskTemplate::Ext => Mirroring::External,
        }
    }

    /// Whether an instance can run on another node without its disks being copied.
    pub fn is_mirrored(self) -> bool {
        self.mirroring() != Mirroring::None
    }

    /// Nodes an instance needs: two if it has a secondary.
    pub fn required_nodes(self) -> usize {
        if self.mirroring() == Mirroring::Internal { 2 } else { 1 }
    }

    /// Whether disks can be made larger.
    pub fn can_grow(self) -> bool {
        !matches!(self, DiskTemplate::Diskless | DiskTemplate::BlockDev)
    }

    /// Whether disks can be copied to another node by `gnt-instance move`.
    pub fn can_move(self) -> bool {
        matches!(self, DiskTemplate::Plain | DiskTemplate::File)
    }

    /// Whether a disk can be frozen while its instance goes on.
    pub fn can_snapshot(self) -> bool {
        matches!(self, DiskTemplate::Plain | DiskTemplate::Drbd | DiskTemplate::Ext)
    }

    /// Whether existing volumes can become disks.
    pub fn adoption(self) -> Adoption {
        match self {
            DiskTemplate::Plain => Adoption::May,
            DiskTemplate::BlockDev => Adoption::Must,
            _ => Adoption::Never,
        }
    }

    /// Whether it works on nodes with exclusive storage.
    pub fn can_use_exclusive_storage(self) -> bool {
        self == DiskTemplate::Plain
    }

    /// Whether disks have a choice of who opens them.
    pub fn has_access_mode(self) -> bool {
        matches!(self, DiskTemplate::Gluster | DiskTemplate::Rbd | DiskTemplate::Ext)
    }

    /// Whether it needs a volume group.
    pub fn uses_lvm(self) -> bool {
        self.storage_type() == StorageType::LvmVg
    }

    /// Whether disks are files.
    pub fn is_file_based(self) -> bool {
        matches!(self, DiskTemplate::File | DiskTemplate::SharedFile | DiskTemplate::Gluster)
    }

    /// Whether instances can be converted to it.
    pub fn can_convert_to(self) -> bool {
        !matches!(self, DiskTemplate::Diskless | DiskTemplate::BlockDev)
    }

    /// Whether instances can be converted from it.
    pub fn can_convert_from(self) -> bool {
        self != DiskTemplate::Diskless
    }
}

impl Hypervisor {
    /// Whether a running instance can move to another node.
    pub fn can_migrate(self) -> bool {
        !matches!(self, Hypervisor::Lxc | Hypervisor::Chroot)
    }

    /// Whether the memory of a running instance can change.
    pub fn can_balloon(self) -> bool {
        self != Hypervisor::Chroot
    }

    /// Whether disks and network cards can change while an instance runs.
    pub fn can_hotplug(self) -> bool {
        self == Hypervisor::Kvm
    }

    /// Whether an instance can be restarted.
    pub fn can_reboot(self) -> bool {
        self != Hypervisor::Chroot
    }

    /// Whether each instance has a TCP port for its display.
    pub fn needs_network_port(self) -> bool {
        matches!(self, Hypervisor::Kvm | Hypervisor::XenHvm)
    }

    /// Whether QEMU can open disks itself.
    pub fn can_open_disks_itself(self) -> bool {
        self == Hypervisor::Kvm
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::disk;

    #[test]
    fn facts_agree_with_each_other() {
        for template in DiskTemplate::ALL {
            let template = *template;
            assert_eq!(
                template.has_access_mode(),
                disk::table(template).iter().any(|p| p.name == "access"),
                "{template}"
            );
            assert!(!template.can_move() || !template.is_mirrored(), "{template}");
            assert!(!template.can_use_exclusive_storage() || template.uses_lvm());
            assert_eq!(template.required_nodes() == 2, template == DiskTemplate::Drbd);
        }
        for hypervisor in Hypervisor::ALL {
            let migrates = crate::params::hypervisor::find(*hypervisor, "migration_mode").is_some();
            assert_eq!(hypervisor.can_migrate(), migrates, "{hypervisor}");
        }
    }
}
