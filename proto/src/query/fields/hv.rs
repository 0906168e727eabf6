//! The family `hv/`: hypervisor parameters of instances.
//!
//! All of them but those that only a whole cluster has (`migration_mode`, `migration_port`,
//! `migration_bandwidth`). Text parameters are of the kind `other`, as in Ganeti.

use super::{FieldKind, ParamField};

const fn flag(name: &'static str) -> ParamField {
    ParamField { name, title: None, kind: FieldKind::Boolean, doc: "" }
}

const fn number(name: &'static str) -> ParamField {
    ParamField { name, title: None, kind: FieldKind::Number, doc: "" }
}

const fn text(name: &'static str) -> ParamField {
    ParamField { name, title: None, kind: FieldKind::Other, doc: "" }
}

/// With a header other than its name.
const fn titled(param: ParamField, title: &'static str) -> ParamField {
    ParamField { title: Some(title), ..param }
}

/// The hypervisor parameters of instances, whatever the hypervisor.
pub static HV_PARAMS: [ParamField; 82] = [
    titled(flag("acpi"), "ACPI"),
    text("blockdev_prefix"),
    titled(text("boot_order"), "Boot_order"),
    text("bootloader_args"),
    text("bootloader_path"),
    text("cdrom2_image_path"),
    text("cdrom_disk_type"),
    titled(text("cdrom_image_path"), "CDROM_image_path"),
    number("cpu_cap"),
    number("cpu_cores"),
    text("cpu_mask"),
    number("cpu_sockets"),
    number("cpu_threads"),
    titled(text("cpu_type"), "cpu_type"),
    number("cpu_weight"),
    text("cpuid"),
    text("device_model"),
    text("devices"),
    text("disk_aio"),
    text("disk_cache"),
    text("disk_discard"),
    titled(text("disk_type"), "Disk_type"),
    text("drop_capabilities"),
    text("extra_cgroups"),
    text("extra_config"),
    text("floppy_image_path"),
    text("init_script"),
    titled(text("initrd_path"), "Initrd_path"),
    text("kernel_args"),
    titled(text("kernel_path"), "Kernel_path"),
    text("keymap"),
    text("kvm_extra"),
    text("kvm_flag"),
    text("kvm_path"),
    number("kvm_pci_reservations"),
    text("machine_version"),
    text("mem_path"),
    text("migration_caps"),
    number("migration_downtime"),
    titled(text("nic_type"), "NIC_type"),
    number("num_ttys"),
    titled(flag("pae"), "PAE"),
    titled(text("pci_pass"), "pci_pass"),
    text("reboot_behavior"),
    text("root_path"),
    text("scsi_controller_type"),
    text("security_domain"),
    text("security_model"),
    flag("serial_console"),
    number("serial_speed"),
    text("soundhw"),
    text("spice_bind"),
    text("spice_image_compression"),
    number("spice_ip_version"),
    text("spice_jpeg_wan_compression"),
    text("spice_password_file"),
    flag("spice_playback_compression"),
    text("spice_streaming_video"),
    text("spice_tls_ciphers"),
    flag("spice_use_tls"),
    flag("spice_use_vdagent"),
    text("spice_zlib_glz_wan_compression"),
    number("startup_timeout"),
    text("usb_devices"),
    text("usb_mouse"),
    flag("use_bootloader"),
    flag("use_chroot"),
    flag("use_guest_agent"),
    flag("use_localtime"),
    flag("user_shutdown"),
    text("vga"),
    flag("vhost_net"),
    text("vif_script"),
    text("vif_type"),
    flag("viridian"),
    number("virtio_net_queues"),
    titled(text("vnc_bind_address"), "VNC_bind_address"),
    text("vnc_password_file"),
    flag("vnc_tls"),
    text("vnc_x509_path"),
    flag("vnc_x509_verify"),
    flag("vnet_hdr"),
];
