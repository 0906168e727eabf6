//! Which values of hypervisor parameters do not go together.

use crate::choices::Hypervisor;
use crate::error::{Error, Result};
use crate::params::ParamMap;
use serde_json::Value;

/// A filled map, to ask short questions.
struct Values<'a>(&'a ParamMap);

impl Values<'_> {
    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn is_set(&self, name: &str) -> bool {
        !self.text(name).is_empty()
    }

    fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }
}

/// SPICE settings that mean nothing without `spice_bind`. Those with a default of their own are
/// not among them.
const SPICE: &[&str] = &[
    "spice_image_compression",
    "spice_jpeg_wan_compression",
    "spice_password_file",
    "spice_streaming_video",
    "spice_zlib_glz_wan_compression",
];

/// Errors: `wrong_input`, naming the values that contradict each other and the way out.
pub(super) fn fit_together(hypervisor: Hypervisor, filled: &ParamMap) -> Result<()> {
    let values = Values(filled);
    match hypervisor {
        Hypervisor::Kvm => kvm(&values),
        Hypervisor::XenPvm => xen_pvm(&values),
        Hypervisor::XenHvm => xen_hvm(&values),
        Hypervisor::Lxc | Hypervisor::Chroot | Hypervisor::Fake => Ok(()),
    }
}

fn refuse_if(wrong: bool, why: impl Into<String>) -> Result<()> {
    if wrong { Err(Error::wrong_input(why)) } else { Ok(()) }
}

fn kvm(v: &Values<'_>) -> Result<()> {
    refuse_if(
        v.is_set("kernel_path") && !v.is_set("root_path"),
        "A kernel (kernel_path) needs a root partition: set root_path too",
    )?;
    refuse_if(
        v.is_set("initrd_path") && !v.is_set("kernel_path"),
        "An initrd (initrd_path) needs a kernel: set kernel_path too",
    )?;
    refuse_if(
        v.text("boot_order").split(',').any(|d| d == "cdrom") && !v.is_set("cdrom_image_path"),
        "Cannot boot from cdrom without a CD: set cdrom_image_path or change boot_order",
    )?;
    refuse_if(
        v.text("disk_aio") == "native" && v.text("disk_cache") != "none",
        "disk_aio=native bypasses the cache: set disk_cache=none too",
    )?;
    refuse_if(
        v.is_set("vnc_bind_address") && v.is_set("spice_bind"),
        "Both spice_bind and vnc_bind_address are set; an instance has one display, clear one",
    )?;
    if !v.is_set("spice_bind") {
        let set = SPICE.iter().find(|name| v.is_set(name));
        let set = set.copied().or(v.flag("spice_use_tls").then_some("spice_use_tls"));
        if let Some(name) = set {
            return Err(Error::wrong_input(format!(
                "{name} is set, but there is no SPICE without spice_bind: set spice_bind too"
            )));
        }
    }
    refuse_if(
        v.flag("vnc_x509_verify") && !v.is_set("vnc_x509_path"),
        "vnc_x509_verify needs certificates: set vnc_x509_path too",
    )?;
    let user_model = v.text("security_model") == "user";
    refuse_if(
        user_model && !v.is_set("security_domain"),
        "security_model=user needs a user: set security_domain too",
    )?;
    refuse_if(
        !user_model && v.is_set("security_domain"),
        "security_domain has a meaning only with security_model=user: set that, or clear it",
    )
}

fn xen_pvm(v: &Values<'_>) -> Result<()> {
    if v.flag("use_bootloader") {
        return refuse_if(
            !v.is_set("bootloader_path"),
            "use_bootloader needs a boot loader: set bootloader_path too",
        );
    }
    refuse_if(
        !v.is_set("kernel_path"),
        "A paravirtual instance needs a kernel: set kernel_path, or use_bootloader=true",
    )?;
    refuse_if(
        !v.is_set("root_path"),
        "A kernel (kernel_path) needs a root partition: set root_path too",
    )
}

fn xen_hvm(v: &Values<'_>) -> Result<()> {
    refuse_if(v.flag("viridian") && !v.flag("acpi"), "viridian needs ACPI: set acpi=true too")
}

#[cfg(test)]
mod tests {
    use crate::choices::Hypervisor::{self, Kvm, XenPvm};
    use crate::params::hypervisor::{check_hvparams, defaults};
    use serde_json::{Value, json};

    /// The defaults with changes; none if they are good, else the reason.
    fn refusal(hypervisor: Hypervisor, changes: Value) -> Option<String> {
        let mut filled = defaults(hypervisor);
        for (key, value) in changes.as_object().expect("object") {
            filled.insert(key.clone(), value.clone());
        }
        check_hvparams(hypervisor, &filled).err().map(|e| e.message)
    }

    #[test]
    fn contradictions_are_refused_and_the_way_out_is_good() {
        for (hypervisor, wrong, right) in [
            (Kvm, json!({"kernel_path": "/k", "root_path": null}), json!({"kernel_path": "/k"})),
            (Kvm, json!({"initrd_path": "/i"}), json!({"initrd_path": "/i", "kernel_path": "/k"})),
            (
                Kvm,
                json!({"boot_order": "disk,cdrom"}),
                json!({"boot_order": "cdrom", "cdrom_image_path": "/a.iso"}),
            ),
            (
                Kvm,
                json!({"disk_aio": "native"}),
                json!({"disk_aio": "native", "disk_cache": "none"}),
            ),
            (
                Kvm,
                json!({"spice_bind": "127.0.0.1", "vnc_bind_address": "127.0.0.1"}),
                json!({"spice_bind": "lo"}),
            ),
            (
                Kvm,
                json!({"spice_use_tls": true}),
                json!({"spice_use_tls": true, "spice_bind": "::1"}),
            ),
            (
                Kvm,
                json!({"spice_streaming_video": "off"}),
                json!({"spice_streaming_video": "off", "spice_bind": "::1"}),
            ),
            (
                Kvm,
                json!({"vnc_x509_verify": true}),
                json!({"vnc_x509_verify": true, "vnc_x509_path": "/x"}),
            ),
            (
                Kvm,
                json!({"security_model": "user"}),
                json!({"security_model": "user", "security_domain": "vm"}),
            ),
            (Kvm, json!({"security_domain": "vm"}), json!({"security_model": "pool"})),
            (
                XenPvm,
                json!({"kernel_path": ""}),
                json!({"kernel_path": "", "use_bootloader": true}),
            ),
            (
                XenPvm,
                json!({"use_bootloader": true, "bootloader_path": ""}),
                json!({"use_bootloader": true}),
            ),
            (
                Hypervisor::XenHvm,
                json!({"viridian": true, "acpi": false}),
                json!({"viridian": true}),
            ),
        ] {
            assert!(refusal(hypervisor, wrong.clone()).is_some(), "{wrong} must be refused");
            assert_eq!(refusal(hypervisor, right.clone()), None, "{right} is good");
        }
    }
}
