//! Choices: closed sets of words that users, scripts and files share. The words are Ganeti's.
//!
//! Each set is an enum that prints, parses and serializes as its words; a wrong word is refused
//! with the list of right ones.

use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! choices {
    ($(
        $(#[$meta:meta])*
        $name:ident ($what:literal) {
            $( $(#[$vmeta:meta])* $variant:ident = $word:literal, )+
        }
    )+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $( $(#[$vmeta])* #[serde(rename = $word)] $variant, )+
        }

        impl $name {
            /// Every choice, in Ganeti's order.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// Every word, in the same order.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// Ganeti's word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                match text {
                    $($word => Ok($name::$variant),)+
                    _ => Err(Error::wrong_input(format!(
                        "'{text}' is not {} {}; allowed: {}",
                        if $what.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" },
                        $what,
                        $name::WORDS.join(", "),
                    ))),
                }
            }
        }
    )+};
}

choices! {
    /// How the disks of an instance are stored.
    DiskTemplate("disk template") {
        /// No disks.
        Diskless = "diskless",
        /// A file on the node.
        File = "file",
        /// A file on a file system that all nodes of the group share.
        SharedFile = "sharedfile",
        /// An LVM logical volume.
        Plain = "plain",
        /// An existing block device that several nodes see.
        BlockDev = "blockdev",
        /// Two logical volumes on two nodes, mirrored by DRBD.
        Drbd = "drbd",
        /// A Ceph RADOS block device.
        Rbd = "rbd",
        /// A device of an external storage provider.
        Ext = "ext",
        /// A file on a Gluster volume.
        Gluster = "gluster",
    }

    /// What runs instances.
    Hypervisor("hypervisor") {
        /// QEMU with KVM.
        Kvm = "kvm",
        /// Xen, paravirtual.
        XenPvm = "xen-pvm",
        /// Xen, full virtualization.
        XenHvm = "xen-hvm",
        /// Linux containers.
        Lxc = "lxc",
        /// A process in a chroot.
        Chroot = "chroot",
        /// Nothing: for tests and simulation.
        Fake = "fake",
    }

    /// How an instance moves to another node while it runs.
    MigrationMode("migration mode") {
        /// It keeps running, but for a blink.
        Live = "live",
        /// It is frozen while its memory moves.
        NonLive = "non-live",
    }

    /// How an instance is restarted.
    RebootType("reboot type") {
        /// The guest is asked.
        Soft = "soft",
        /// The reset button.
        Hard = "hard",
        /// Stopped and started with new devices.
        Full = "full",
    }

    /// Which instances of a node are evacuated.
    EvacMode("evacuation mode") {
        /// Those that run there.
        PrimaryOnly = "primary-only",
        /// Those mirrored there.
        SecondaryOnly = "secondary-only",
        /// Both.
        All = "all",
    }

    /// What a tag is attached to.
    TagKind("kind of tagged object") {
        /// The cluster.
        Cluster = "cluster",
        /// A node.
        Node = "node",
        /// A node group.
        NodeGroup = "nodegroup",
        /// An instance.
        Instance = "instance",
        /// A network.
        Network = "network",
    }

    /// Where the content of a new instance comes from.
    InstCreateMode("creation mode") {
        /// The OS definition installs it.
        Create = "create",
        /// An export in this cluster.
        Import = "import",
        /// Another cluster sends it.
        RemoteImport = "remote-import",
    }

    /// Where an export goes.
    ExportMode("export mode") {
        /// To a node of this cluster.
        Local = "local",
        /// To another cluster.
        Remote = "remote",
    }

    /// How a network card is connected on the node.
    NicMode("NIC mode") {
        /// To a bridge.
        Bridged = "bridged",
        /// Routed, in a routing table of its own.
        Routed = "routed",
        /// To an Open vSwitch.
        OpenVSwitch = "openvswitch",
        /// By the site's network scripts.
        Ext = "ext",
    }

    /// Whether a group takes part in allocation.
    AllocPolicy("allocation policy") {
        /// Yes.
        Preferred = "preferred",
        /// Only when no preferred group has room.
        LastResort = "last_resort",
        /// Never by itself.
        Unallocable = "unallocable",
    }

    /// How a file becomes a block device.
    FileDriver("file driver") {
        /// The loop driver.
        Loop = "loop",
        /// Xen's blktap.
        Blktap = "blktap",
        /// Xen's blktap2.
        Blktap2 = "blktap2",
    }

    /// What an administrator wants of an instance.
    AdminState("administrative state") {
        /// It shall run.
        Up = "up",
        /// It shall not run, but its memory stays reserved.
        Down = "down",
        /// It shall not run and needs no memory.
        Offline = "offline",
    }

    /// Who set the administrative state.
    AdminStateSource("source of an administrative state") {
        /// An administrator.
        Admin = "admin",
        /// The instance's user, from inside.
        User = "user",
    }

    /// Which side of a mirrored disk is replaced.
    ReplaceDisksMode("disk replacement mode") {
        /// The primary's.
        OnPrimary = "replace_on_primary",
        /// The secondary's.
        OnSecondary = "replace_on_secondary",
        /// The mirror moves to another node.
        NewSecondary = "replace_new_secondary",
        /// The side that is faulty.
        Auto = "replace_auto",
    }

    /// What holds disks on a node.
    StorageType("storage type") {
        /// A directory.
        File = "file",
        /// A shared directory.
        SharedFile = "sharedfile",
        /// A Gluster volume.
        Gluster = "gluster",
        /// LVM physical volumes.
        LvmPv = "lvm-pv",
        /// LVM volume groups.
        LvmVg = "lvm-vg",
        /// Nothing.
        Diskless = "diskless",
        /// Block devices.
        BlockDev = "blockdev",
        /// Ceph.
        Rados = "rados",
        /// An external provider.
        Ext = "ext",
    }

    /// Whether a guest may write to a disk.
    DiskMode("disk mode") {
        /// No.
        Ro = "ro",
        /// Yes.
        Rw = "rw",
    }

    /// Who opens a networked disk.
    DiskAccess("disk access") {
        /// The kernel: the guest gets a block device.
        KernelSpace = "kernelspace",
        /// QEMU itself.
        UserSpace = "userspace",
    }

    /// What happens to a disk or network card of an existing instance.
    DeviceAction("device change") {
        /// A new one is made.
        Add = "add",
        /// An existing one changes.
        Modify = "modify",
        /// It is removed and destroyed.
        Remove = "remove",
        /// A detached disk is given to the instance.
        Attach = "attach",
        /// It is taken from the instance and kept.
        Detach = "detach",
    }

    /// A change of a list.
    ListAction("list change") {
        /// An entry is added.
        Add = "add",
        /// An entry is removed.
        Remove = "remove",
    }

    /// What the out-of-band helper of a node can do.
    OobAction("out-of-band command") {
        /// Report the health of the hardware.
        Health = "health",
        /// Off and on.
        PowerCycle = "power-cycle",
        /// Off.
        PowerOff = "power-off",
        /// On.
        PowerOn = "power-on",
        /// Report whether it is on.
        PowerStatus = "power-status",
    }

    /// What can be queried.
    QueryResource("query resource") {
        /// The cluster itself.
        Cluster = "cluster",
        /// Instances.
        Instance = "instance",
        /// Nodes.
        Node = "node",
        /// Locks.
        Lock = "lock",
        /// Node groups.
        Group = "group",
        /// OS definitions.
        Os = "os",
        /// Jobs.
        Job = "job",
        /// Exports.
        Export = "export",
        /// Networks.
        Network = "network",
        /// External storage providers.
        ExtStorage = "extstorage",
        /// Job filters.
        Filter = "filter",
    }

    /// Parts of the cluster's verification that can be left out.
    VerifyCheck("optional check") {
        /// Enough memory to take over from any one node.
        NPlusOneMem = "nplusone_mem",
        /// Judgement of hypervisor parameters.
        HvParamAssessment = "hvparam_assessment",
    }

    /// Which way the allocator is tested.
    IAllocatorTestDir("allocator test direction") {
        /// Show the request.
        In = "in",
        /// Run the allocator and show its answer.
        Out = "out",
    }

    /// What an allocator is asked.
    IAllocatorMode("allocator mode") {
        /// Nodes for one new instance.
        Allocate = "allocate",
        /// A new secondary for an existing instance without one.
        AllocateSecondary = "allocate-secondary",
        /// Nodes for several new instances.
        MultiAllocate = "multi-allocate",
        /// Another node for an instance.
        Relocate = "relocate",
        /// Moves to other groups.
        ChangeGroup = "change-group",
        /// Moves away from a node.
        NodeEvacuate = "node-evacuate",
    }

    /// The kind of the cluster's SSH keys.
    SshKeyType("SSH key type") {
        /// RSA.
        Rsa = "rsa",
        /// DSA.
        Dsa = "dsa",
        /// ECDSA.
        Ecdsa = "ecdsa",
    }

    /// What a placement rule asks for.
    RuleKind("rule kind") {
        /// Instances in one place.
        Together = "together",
        /// Instances in different places.
        Apart = "apart",
        /// Instances on some nodes only.
        OnlyOn = "only-on",
        /// The same as a wish.
        Prefer = "prefer",
    }

    /// What the cluster's balancer does.
    BalancerMode("balancer mode") {
        /// Nothing.
        Off = "off",
        /// It says what it would do.
        Report = "report",
        /// It moves instances.
        On = "on",
    }
}

impl Default for BalancerMode {
    /// Nothing moves by itself unless somebody wants it.
    fn default() -> Self {
        BalancerMode::Off
    }
}

impl Default for AdminStateSource {
    /// An administrator decides, unless something else is recorded.
    fn default() -> Self {
        AdminStateSource::Admin
    }
}

impl Default for DiskMode {
    /// Guests may write, unless something else is said.
    fn default() -> Self {
        DiskMode::Rw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for t in DiskTemplate::ALL {
            assert_eq!(t.as_str().parse::<DiskTemplate>().expect("own word"), *t);
            assert_eq!(serde_json::to_value(t).expect("json"), t.as_str());
        }
        assert_eq!(DiskTemplate::ALL.len(), 9);
        let key: std::collections::BTreeMap<Hypervisor, u8> =
            serde_json::from_str(r#"{"xen-pvm": 1}"#).expect("as a key");
        assert_eq!(key[&Hypervisor::XenPvm], 1);
    }

    #[test]
    fn a_wrong_word_is_refused_with_the_right_ones() {
        let error = "warm".parse::<RebootType>().expect_err("wrong word");
        assert_eq!(error.message, "'warm' is not a reboot type; allowed: soft, hard, full");
        let error = "best".parse::<AllocPolicy>().expect_err("no such policy");
        let expected =
            "'best' is not an allocation policy; allowed: preferred, last_resort, unallocable";
        assert_eq!(error.message, expected);
    }
}
