//! Ganeti's KVM parameters, typed; what libvirt cannot do is refused by name, never ignored.

use roost_proto::error::{Error, Result};
use roost_proto::objects::ParamMap;
use serde_json::Value;

/// A filled map of KVM parameters, to ask short questions.
#[derive(Clone, Copy, Debug)]
pub struct KvmParams<'a>(&'a ParamMap);

/// What is done about a parameter. Every KVM parameter is in one of these lists.
#[cfg(test)]
pub mod known {
    /// Become XML.
    pub const XML: &[&str] = &[
        "acpi",
        "boot_order",
        "cdrom2_image_path",
        "cdrom_disk_type",
        "cdrom_image_path",
        "cpu_cores",
        "cpu_mask",
        "cpu_sockets",
        "cpu_threads",
        "cpu_type",
        "disk_aio",
        "disk_cache",
        "disk_discard",
        "disk_type",
        "floppy_image_path",
        "initrd_path",
        "kernel_args",
        "kernel_path",
        "keymap",
        "kvm_extra",
        "kvm_flag",
        "kvm_path",
        "kvm_pci_reservations",
        "machine_version",
        "mem_path",
        "nic_type",
        "reboot_behavior",
        "root_path",
        "scsi_controller_type",
        "security_domain",
        "security_model",
        "serial_console",
        "serial_speed",
        "soundhw",
        "spice_bind",
        "spice_image_compression",
        "spice_ip_version",
        "spice_jpeg_wan_compression",
        "spice_password_file",
        "spice_playback_compression",
        "spice_streaming_video",
        "spice_use_tls",
        "spice_use_vdagent",
        "spice_zlib_glz_wan_compression",
        "usb_devices",
        "usb_mouse",
        "use_guest_agent",
        "use_localtime",
        "vga",
        "vhost_net",
        "virtio_net_queues",
        "vnc_bind_address",
        "vnc_password_file",
    ];
    /// Are used by migrations. The port is not needed: migrations go through noded's own.
    pub const MIGRATION: &[&str] = &[
        "migration_bandwidth",
        "migration_caps",
        "migration_downtime",
        "migration_mode",
        "migration_port",
    ];
    /// Are masterd's business: a guest that shut itself down is always reported as such.
    pub const MASTER: &[&str] = &["user_shutdown"];
    /// Can have their default only.
    pub const REFUSED: &[&str] = &[
        "spice_tls_ciphers",
        "use_chroot",
        "vnc_tls",
        "vnc_x509_path",
        "vnc_x509_verify",
        "vnet_hdr",
    ];
}

/// Ganeti's default of `spice_tls_ciphers`.
const CIPHERS: &str = "HIGH:-DES:-3DES:-EXPORT:-DH";

/// QEMU's migration capabilities that can be asked for with `migration_caps`.
pub const MIGRATION_CAPS: &[&str] = &[
    "postcopy-ram",
    "x-postcopy-ram",
    "postcopy",
    "xbzrle",
    "auto-converge",
    "multifd",
    // Always on.
    "events",
];

impl<'a> KvmParams<'a> {
    /// Takes a filled map. Errors: `wrong_input` for what libvirt cannot do.
    pub fn new(map: &'a ParamMap) -> Result<KvmParams<'a>> {
        let params = KvmParams(map);
        params.refuse()?;
        Ok(params)
    }

    /// A text; empty where there is none.
    pub fn text(&self, name: &str) -> &'a str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A text that is not empty.
    pub fn set(&self, name: &str) -> Option<&'a str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// A flag.
    pub fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// A number that is not zero.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(Value::as_u64).filter(|number| *number != 0)
    }

    /// The items of a list with this separator.
    pub fn list(&self, name: &str, separator: char) -> Vec<&'a str> {
        self.text(name).split(separator).map(str::trim).filter(|item| !item.is_empty()).collect()
    }

    fn refuse(&self) -> Result<()> {
        let default = |name: &str, value: bool| {
            self.0.get(name).and_then(Value::as_bool).is_none_or(|given| given == value)
        };
        refuse_unless(default("use_chroot", false), "use_chroot", "true", NO_CHROOT)?;
        for name in ["vnc_tls", "vnc_x509_verify"] {
            refuse_unless(default(name, false), name, "true", VNC_TLS)?;
        }
        let path = self.text("vnc_x509_path");
        refuse_unless(path.is_empty(), "vnc_x509_path", path, VNC_TLS)?;
        refuse_unless(default("vnet_hdr", true), "vnet_hdr", "false", VNET_HDR)?;
        let ciphers = self.text("spice_tls_ciphers");
        let usual = ciphers.is_empty() || ciphers == CIPHERS;
        refuse_unless(usual, "spice_tls_ciphers", ciphers, CIPHERS_WHERE)?;
        let model = self.text("security_model");
        refuse_unless(model != "pool", "security_model", model, NO_POOL)?;
        for kind in ["disk_type", "cdrom_disk_type"] {
            let value = self.text(kind);
            let fine = !matches!(value, "mtd" | "pflash" | "sd" | "scsi-generic");
            refuse_unless(fine, kind, value, DISK_TYPES)?;
        }
        let nic = self.text("nic_type");
        refuse_unless(nic != "ne2k_isa", "nic_type", nic, "ISA cards cannot be had; use ne2k_pci")?;
        for cap in self.list("migration_caps", ':') {
            let fine = MIGRATION_CAPS.contains(&cap);
            refuse_unless(fine, "migration_caps", cap, CAPS)?;
        }
        Ok(())
    }
}

const NO_CHROOT: &str = "libvirt confines QEMU by name spaces and seccomp instead of a chroot; \
                         leave it false";
const VNC_TLS: &str = "libvirt sets TLS of VNC for all guests of a node: turn on vnc_tls and \
                       vnc_tls_x509_verify in /etc/libvirt/qemu.conf and leave this unset";
const VNET_HDR: &str = "libvirt turns offloading headers on wherever kernel and card can; leave it \
                        true";
const CIPHERS_WHERE: &str = "the ciphers of SPICE are those of the node's TLS policy; leave the \
                             default";
const NO_POOL: &str = "libvirt gives no user of its own to each guest; use none (libvirt's \
                       unprivileged user) or user";
const DISK_TYPES: &str = "libvirt cannot attach disks that way on this machine type; use \
                          paravirtual, scsi, scsi-hd, scsi-block, scsi-cd or ide";
const CAPS: &str = "it is not a migration capability that can be asked for; use some of \
                    postcopy-ram, xbzrle, auto-converge, multifd";

fn refuse_unless(fine: bool, name: &str, value: &str, why: &str) -> Result<()> {
    if fine { Ok(()) } else { Err(refused(name, value, why)) }
}

/// A refusal of a parameter's value: which, why, and the way out.
pub fn refused(name: &str, value: &str, why: &str) -> Error {
    Error::wrong_input(format!("The kvm hypervisor parameter {name}={value} cannot be used: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_proto::choices::Hypervisor;
    use roost_proto::params::hypervisor::{TABLE, defaults};
    use serde_json::json;

    #[test]
    fn every_parameter_has_its_place() {
        let of_kvm = TABLE.iter().filter(|row| row.defaults.iter().any(|d| d.0 == Hypervisor::Kvm));
        let mut table: Vec<_> = of_kvm.map(|row| row.name).collect();
        let mut known = [known::XML, known::MIGRATION, known::MASTER, known::REFUSED].concat();
        table.sort_unstable();
        known.sort_unstable();
        assert_eq!(table, known);
        KvmParams::new(&defaults(Hypervisor::Kvm)).expect("the defaults can be had");
    }

    #[test]
    fn refusals_name_the_parameter_and_the_way_out() {
        for (name, value, hint) in [
            ("use_chroot", json!(true), "leave it false"),
            ("vnc_tls", json!(true), "qemu.conf"),
            ("vnc_x509_path", json!("/x"), "qemu.conf"),
            ("security_model", json!("pool"), "use none"),
            ("disk_type", json!("pflash"), "use paravirtual"),
            ("nic_type", json!("ne2k_isa"), "use ne2k_pci"),
            ("migration_caps", json!("xbzrle:magic"), "auto-converge"),
            ("vnet_hdr", json!(false), "leave it true"),
            ("spice_tls_ciphers", json!("ALL"), "leave the default"),
        ] {
            let mut map = defaults(Hypervisor::Kvm);
            map.insert(name.into(), value);
            let error = KvmParams::new(&map).expect_err(name);
            assert!(error.message.contains(name) && error.message.contains(hint), "{error}");
            assert_eq!(error.error_type, Some(roost_proto::error::ErrorType::WrongInput));
        }
    }
}
