//! The table of hypervisor parameters: which hypervisor knows it, and what it is there by default.
//!
//! Names and defaults are Ganeti's. Where Ganeti's default is chosen when it is built (kernels,
//! the emulator's path), ours is what a Debian system has; a KVM instance boots from its disk.

use super::HvParam;
use crate::choices::Hypervisor::{self, Chroot, Fake, Kvm, Lxc, XenHvm, XenPvm};
use crate::params::value::Check::{
    self, AddressInterfaceOrPath, AddressOrInterface, Any, AtLeast, Between, By, CpuMask, CpuMasks,
    EachOf, Ipv4, Letters, Numbers, OneOf, Path, PathOrUrl, UserName,
};
use crate::params::value::Kind::{self, Bool, Int, MaybeText, Text};
use crate::params::value::Lit::{self, B, I, T};

const KVM_DISK_TYPES: &[&str] = &[
    "ide",
    "mtd",
    "paravirtual",
    "pflash",
    "scsi",
    "sd",
    "scsi-generic",
    "scsi-block",
    "scsi-hd",
    "scsi-cd",
];

const HVM_NIC_TYPES: &[&str] = &["e1000", "ne2k_isa", "ne2k_pci", "paravirtual", "rtl8139"];

const KVM_NIC_TYPES: &[&str] = &[
    "e1000",
    "i82551",
    "i82557b",
    "i82559er",
    "ne2k_isa",
    "ne2k_pci",
    "paravirtual",
    "pcnet",
    "rtl8139",
];

const SERIAL_SPEEDS: &[i64] = &[
    75, 110, 300, 600, 1200, 1800, 2400, 4800, 9600, 14400, 19200, 28800, 38400, 57600, 115_200,
    230_400, 345_600, 460_800,
];

/// Null, zero, full, random, urandom, the terminals, and pseudo terminals.
const LXC_DEVICES: &str = "c 1:3 rw,c 1:5 rw,c 1:7 rw,c 1:8 rw,c 1:9 rw,c 1:10 rw,c 5:0 rw,\
                           c 5:1 rw,c 5:2 rw,c 136:* rw";

const fn row(
    name: &'static str,
    kind: Kind,
    check: Check,
    defaults: &'static [(Hypervisor, Lit)],
) -> HvParam {
    HvParam { name, kind, check, defaults }
}

/// Every hypervisor parameter, by name.
pub const TABLE: &[HvParam] = &[
    // ACPI in guest (needed for clean shutdown / user shutdown)
    row("acpi", Bool, Any, &[(Kvm, B(true)), (XenHvm, B(true))]),
    // device name prefix seen by old guests (sd, hd, xvd)
    row("blockdev_prefix", Text, Any, &[(XenPvm, T("sd")), (XenHvm, T("hd"))]),
    // boot device(s); ignored with kernel_path on kvm; cdrom needs cdrom_image_path
    row(
        "boot_order",
        Text,
        By(&[(Kvm, EachOf(&["floppy", "cdrom", "disk", "network"])), (XenHvm, Letters("acdn"))]),
        &[(Kvm, T("disk")), (XenHvm, T("cd"))],
    ),
    // arguments for bootloader
    row("bootloader_args", Text, Any, &[(XenPvm, T(""))]),
    // bootloader, required if use_bootloader
    row("bootloader_path", Text, Path, &[(XenPvm, T("/usr/lib/xen/bin/pygrub"))]),
    // second CD, not bootable
    row("cdrom2_image_path", Text, PathOrUrl, &[(Kvm, T(""))]),
    // bus for CDs; empty = disk_type
    row("cdrom_disk_type", Text, OneOf(KVM_DISK_TYPES), &[(Kvm, T(""))]),
    // CD image
    row(
        "cdrom_image_path",
        Text,
        By(&[(Kvm, PathOrUrl), (XenHvm, Path)]),
        &[(Kvm, T("")), (XenHvm, T(""))],
    ),
    // Xen credit cap, 0 none
    row("cpu_cap", Int, AtLeast(0), &[(XenPvm, I(0)), (XenHvm, I(0))]),
    // emulated cores, 0 = unset
    row("cpu_cores", Int, AtLeast(0), &[(Kvm, I(0))]),
    // pinning: `all`, `0-2,^1`, per-vcpu lists; count must equal vcpus
    row(
        "cpu_mask",
        Text,
        By(&[(Lxc, CpuMask), (Kvm, CpuMasks), (XenPvm, CpuMasks), (XenHvm, CpuMasks)]),
        &[(Kvm, T("all")), (XenPvm, T("all")), (XenHvm, T("all")), (Lxc, T(""))],
    ),
    // emulated sockets
    row("cpu_sockets", Int, AtLeast(0), &[(Kvm, I(0))]),
    // threads per core
    row("cpu_threads", Int, AtLeast(0), &[(Kvm, I(0))]),
    // -cpu model (host, …)
    row("cpu_type", Text, Any, &[(Kvm, T(""))]),
    // Xen credit weight
    row("cpu_weight", Int, Between(1, 65535), &[(XenPvm, I(256)), (XenHvm, I(256))]),
    // Xen cpuid mask
    row("cpuid", Text, Any, &[(XenPvm, T("")), (XenHvm, T(""))]),
    // qemu-dm path
    row("device_model", Text, Path, &[(XenHvm, T("/usr/lib/xen/bin/qemu-dm"))]),
    // devices the container may use
    row("devices", Text, Any, &[(Lxc, T(LXC_DEVICES))]),
    // I/O engine; native requires disk_cache=none; io_uring needs qemu ≥5
    row("disk_aio", Text, OneOf(&["threads", "native", "io_uring"]), &[(Kvm, T("threads"))]),
    // cache mode; some templates force none
    row(
        "disk_cache",
        Text,
        OneOf(&["default", "none", "writeback", "writethrough"]),
        &[(Kvm, T("default"))],
    ),
    // TRIM handling
    row("disk_discard", Text, OneOf(&["ignore", "unmap"]), &[(Kvm, T("ignore"))]),
    // disk bus
    row(
        "disk_type",
        Text,
        By(&[(Kvm, OneOf(KVM_DISK_TYPES)), (XenHvm, OneOf(&["ioemu", "paravirtual"]))]),
        &[(Kvm, T("paravirtual")), (XenHvm, T("paravirtual"))],
    ),
    // capabilities removed
    row(
        "drop_capabilities",
        Text,
        Any,
        &[(Lxc, T("mac_override,sys_boot,sys_module,sys_time,sys_admin"))],
    ),
    // extra cgroup subsystems
    row("extra_cgroups", Text, Any, &[(Lxc, T(""))]),
    // raw container config lines
    row("extra_config", Text, Any, &[(Lxc, T(""))]),
    // floppy image
    row("floppy_image_path", Text, Path, &[(Kvm, T(""))]),
    // script inside the chroot that starts/stops it
    row("init_script", Text, Path, &[(Chroot, T("/ganeti-chroot"))]),
    // initrd
    row("initrd_path", Text, Path, &[(Kvm, T("")), (XenPvm, T(""))]),
    // kernel command line (kvm adds console=ttyS0,SPEED)
    row("kernel_args", Text, Any, &[(Kvm, T("ro")), (XenPvm, T("ro"))]),
    // kernel; on kvm empty boots from disk; needs root_path
    row(
        "kernel_path",
        Text,
        Path,
        &[
            (Kvm, T("")),
            (XenPvm, T("/boot/vmlinuz-3-xenU")),
            (XenHvm, T("/usr/lib/xen/boot/hvmloader")),
        ],
    ),
    // VNC keymap
    row("keymap", Text, Any, &[(Kvm, T(""))]),
    // raw qemu arguments (double quotes for blanks)
    row("kvm_extra", Text, Any, &[(Kvm, T(""))]),
    // enabled adds accel=kvm
    row("kvm_flag", Text, OneOf(&["enabled", "disabled"]), &[(Kvm, T(""))]),
    // qemu binary
    row("kvm_path", Text, Path, &[(Kvm, T("/usr/bin/qemu-system-x86_64"))]),
    // PCI slots left to qemu
    row("kvm_pci_reservations", Int, Between(0, 32), &[(Kvm, I(12))]),
    // machine type
    row("machine_version", Text, Any, &[(Kvm, T(""))]),
    // hugetlbfs mount (-mem-path + prealloc)
    row("mem_path", Text, Path, &[(Kvm, T(""))]),
    // MiB/s
    row("migration_bandwidth", Int, AtLeast(0), &[(Kvm, I(32))]),
    // qemu migration capabilities (postcopy, xbzrle…)
    row("migration_caps", Text, Any, &[(Kvm, T(""))]),
    // max ms
    row("migration_downtime", Int, AtLeast(0), &[(Kvm, I(30))]),
    // default migration kind
    row(
        "migration_mode",
        Text,
        OneOf(&["live", "non-live"]),
        &[(Kvm, T("live")), (XenPvm, T("live")), (XenHvm, T("non-live")), (Fake, T("live"))],
    ),
    // TCP port
    row(
        "migration_port",
        Int,
        Between(1, 65534),
        &[(Kvm, I(8102)), (XenPvm, I(8002)), (XenHvm, I(8002))],
    ),
    // NIC model
    row(
        "nic_type",
        Text,
        By(&[(Kvm, OneOf(KVM_NIC_TYPES)), (XenHvm, OneOf(HVM_NIC_TYPES))]),
        &[(Kvm, T("paravirtual")), (XenHvm, T("rtl8139"))],
    ),
    // ttys; 0 disables console
    row("num_ttys", Int, AtLeast(0), &[(Lxc, I(6))]),
    // PAE
    row("pae", Bool, Any, &[(XenHvm, B(true))]),
    // PCI passthrough list
    row("pci_pass", Text, Any, &[(XenHvm, T(""))]),
    // guest reboot → restart or stop
    row(
        "reboot_behavior",
        Text,
        OneOf(&["reboot", "exit"]),
        &[(Kvm, T("reboot")), (XenPvm, T("reboot")), (XenHvm, T("reboot"))],
    ),
    // root device (maybe None)
    row("root_path", MaybeText, Any, &[(Kvm, T("/dev/vda1")), (XenPvm, T("/dev/xvda1"))]),
    // SCSI controller
    row(
        "scsi_controller_type",
        Text,
        OneOf(&["lsi", "virtio-scsi-pci", "megasas", "dc390"]),
        &[(Kvm, T("lsi"))],
    ),
    // user for security_model=user
    row("security_domain", Text, UserName, &[(Kvm, T(""))]),
    // run qemu as root / given user / pool uid
    row("security_model", Text, OneOf(&["none", "user", "pool"]), &[(Kvm, T("none"))]),
    // serial console (enables `console`)
    row("serial_console", Bool, Any, &[(Kvm, B(true))]),
    // baud rate
    row("serial_speed", Int, Numbers(SERIAL_SPEEDS), &[(Kvm, I(38400))]),
    // sound card
    row("soundhw", Text, Any, &[(Kvm, T("")), (XenPvm, T("")), (XenHvm, T(""))]),
    // SPICE listener; excludes VNC
    row("spice_bind", Text, AddressOrInterface, &[(Kvm, T(""))]),
    // lossless compression
    row(
        "spice_image_compression",
        Text,
        OneOf(&["auto_glz", "auto_lz", "glz", "lz", "quic", "off"]),
        &[(Kvm, T(""))],
    ),
    // family
    row("spice_ip_version", Int, Numbers(&[0, 4, 6]), &[(Kvm, I(0))]),
    // lossy compression
    row("spice_jpeg_wan_compression", Text, OneOf(&["auto", "never", "always"]), &[(Kvm, T(""))]),
    // password
    row("spice_password_file", Text, Path, &[(Kvm, T(""))]),
    // audio compression
    row("spice_playback_compression", Bool, Any, &[(Kvm, B(true))]),
    // video detection
    row("spice_streaming_video", Text, OneOf(&["all", "filter", "off"]), &[(Kvm, T(""))]),
    // ciphers
    row("spice_tls_ciphers", Text, Any, &[(Kvm, T("HIGH:-DES:-3DES:-EXPORT:-DH"))]),
    // TLS
    row("spice_use_tls", Bool, Any, &[(Kvm, B(false))]),
    // vdagent mouse
    row("spice_use_vdagent", Bool, Any, &[(Kvm, B(true))]),
    // lossy compression
    row(
        "spice_zlib_glz_wan_compression",
        Text,
        OneOf(&["auto", "never", "always"]),
        &[(Kvm, T(""))],
    ),
    // seconds to reach RUNNING
    row("startup_timeout", Int, AtLeast(0), &[(Lxc, I(30))]),
    // USB devices
    row("usb_devices", Text, Any, &[(Kvm, T(""))]),
    // pointer device
    row("usb_mouse", Text, OneOf(&["mouse", "tablet"]), &[(Kvm, T(""))]),
    // use bootloader instead of kernel
    row("use_bootloader", Bool, Any, &[(XenPvm, B(false))]),
    // run qemu in empty chroot
    row("use_chroot", Bool, Any, &[(Kvm, B(false))]),
    // qemu guest agent channel
    row("use_guest_agent", Bool, Any, &[(Kvm, B(false))]),
    // RTC local time
    row("use_localtime", Bool, Any, &[(Kvm, B(false)), (XenHvm, B(false))]),
    // detect guest-initiated shutdown (with cluster flag)
    row("user_shutdown", Bool, Any, &[(Kvm, B(false))]),
    // -vga value
    row("vga", Text, Any, &[(Kvm, T(""))]),
    // vhost-net for virtio NICs
    row("vhost_net", Bool, Any, &[(Kvm, B(true))]),
    // Xen vif script
    row("vif_script", Text, Path, &[(XenPvm, T("")), (XenHvm, T(""))]),
    // Xen vif type
    row("vif_type", Text, OneOf(&["ioemu", "vif"]), &[(XenHvm, T("ioemu"))]),
    // Hyper-V enlightenment
    row("viridian", Bool, Any, &[(XenHvm, B(false))]),
    // multiqueue
    row("virtio_net_queues", Int, Between(1, 32), &[(Kvm, I(1))]),
    // VNC listener; empty = off (kvm)
    row(
        "vnc_bind_address",
        Text,
        By(&[(Kvm, AddressInterfaceOrPath), (XenHvm, Ipv4)]),
        &[(Kvm, T("")), (XenHvm, T("0.0.0.0"))],
    ),
    // VNC password
    row(
        "vnc_password_file",
        Text,
        Path,
        &[(Kvm, T("")), (XenHvm, T("/etc/ganeti/vnc-cluster-password"))],
    ),
    // VNC TLS
    row("vnc_tls", Bool, Any, &[(Kvm, B(false))]),
    // VNC certificate dir
    row("vnc_x509_path", Text, Path, &[(Kvm, T(""))]),
    // verify client certs
    row("vnc_x509_verify", Bool, Any, &[(Kvm, B(false))]),
    // IFF_VNET_HDR on taps
    row("vnet_hdr", Bool, Any, &[(Kvm, B(true))]),
];
