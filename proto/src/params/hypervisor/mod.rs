//! Hypervisor parameters.

mod checks;
mod table;

pub use table::TABLE;

use super::ParamMap;
use super::value::{self, Check, Kind, Lit};
use crate::choices::Hypervisor;
use crate::error::{Error, Result};

/// One hypervisor parameter.
#[derive(Clone, Copy, Debug)]
pub struct HvParam {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What values are allowed.
    pub check: Check,
    /// Which hypervisors know it, and what it is there if nobody says anything.
    pub defaults: &'static [(Hypervisor, Lit)],
}

/// Parameters that only the cluster can have: all instances of a node share what they describe.
pub const GLOBAL: &[&str] = &["migration_bandwidth", "migration_mode", "migration_port"];

/// What a hypervisor cannot do without.
const REQUIRED: &[(Hypervisor, &str)] = &[
    (Hypervisor::Kvm, "boot_order"),
    (Hypervisor::Kvm, "kvm_path"),
    (Hypervisor::XenHvm, "boot_order"),
    (Hypervisor::XenHvm, "device_model"),
    (Hypervisor::XenHvm, "kernel_path"),
    (Hypervisor::XenHvm, "vnc_password_file"),
    (Hypervisor::Chroot, "init_script"),
];

/// A hypervisor's parameter of this name.
pub fn find(hypervisor: Hypervisor, name: &str) -> Option<&'static HvParam> {
    let row = TABLE.iter().find(|row| row.name == name)?;
    row.defaults.iter().any(|(hv, _)| *hv == hypervisor).then_some(row)
}

/// The built-in values of a hypervisor.
pub fn defaults(hypervisor: Hypervisor) -> ParamMap {
    let of = |row: &HvParam| {
        let (_, value) = row.defaults.iter().find(|(hv, _)| *hv == hypervisor)?;
        Some((row.name.to_owned(), value.to_json()))
    };
    TABLE.iter().filter_map(of).collect()
}

/// Where hypervisor parameters are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// For the cluster: everything is allowed.
    Cluster,
    /// For an OS or an instance: not [`GLOBAL`].
    Instance,
}

/// Types and checks settings as a user gives them, each for itself. Errors: `wrong_input`.
pub fn typed(hypervisor: Hypervisor, settings: &ParamMap, scope: Scope) -> Result<ParamMap> {
    let what = format!("{hypervisor} hypervisor");
    let mut out = ParamMap::new();
    for (name, given) in settings {
        let Some(param) = find(hypervisor, name) else {
            let known = TABLE.iter().filter(|row| row.defaults.iter().any(|d| d.0 == hypervisor));
            return Err(value::unknown(&what, name, known.map(|row| row.name)));
        };
        if scope == Scope::Instance && GLOBAL.contains(&param.name) {
            return Err(Error::wrong_input(format!(
                "The hypervisor parameter '{name}' is global: set it for the cluster with \
                 gnt-cluster modify -H {hypervisor}:{name}=…"
            )));
        }
        let checked =
            value::check_one(param.kind, &param.check, Some(hypervisor), &what, name, given)?;
        out.insert(name.clone(), checked);
    }
    Ok(out)
}

/// Checks a filled map: every value, what is required, and that values fit together.
/// Errors: `wrong_input`.
pub fn check_hvparams(hypervisor: Hypervisor, filled: &ParamMap) -> Result<()> {
    typed(hypervisor, filled, Scope::Cluster)?;
    for (_, name) in REQUIRED.iter().filter(|(hv, _)| *hv == hypervisor) {
        if filled.get(*name).is_none_or(|v| v.is_null() || v == "") {
            return Err(Error::wrong_input(format!(
                "The {hypervisor} hypervisor parameter '{name}' must have a value"
            )));
        }
    }
    checks::fit_together(hypervisor, filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn map(value: Value) -> ParamMap {
        serde_json::from_value(value).expect("object")
    }

    #[test]
    fn the_table_is_sound() {
        assert_eq!(TABLE.len(), 85);
        assert!(TABLE.is_sorted_by_key(|row| row.name));
        for hypervisor in Hypervisor::ALL {
            let defaults = defaults(*hypervisor);
            let typed = typed(*hypervisor, &defaults, Scope::Cluster).expect("defaults are good");
            for (name, value) in &defaults {
                assert_eq!(&typed[name], value, "{hypervisor} {name} has its type");
            }
            check_hvparams(*hypervisor, &defaults).expect("defaults fit together");
        }
        for name in GLOBAL {
            assert!(TABLE.iter().any(|row| row.name == *name));
        }
    }

    #[test]
    fn settings_are_typed() {
        let good = typed(
            Hypervisor::Kvm,
            &map(json!({"acpi": "false", "cpu_cores": "4", "root_path": null, "vga": false,
                        "boot_order": "default"})),
            Scope::Instance,
        );
        let expected = map(json!({"acpi": false, "cpu_cores": 4, "root_path": null, "vga": "",
                                  "boot_order": "default"}));
        assert_eq!(good.expect("good"), expected);
        for (settings, why) in [
            (json!({"pae": true}), "Unknown kvm hypervisor parameter 'pae'"),
            (json!({"disk_type": "ioemu"}), "allowed: ide"),
            (json!({"serial_speed": 1}), "allowed: 75"),
            (json!({"migration_port": 9000}), "gnt-cluster modify -H kvm:migration_port"),
            (json!({"cdrom_image_path": "disc.iso"}), "absolute path"),
        ] {
            let error = typed(Hypervisor::Kvm, &map(settings), Scope::Instance).expect_err(why);
            assert!(error.message.contains(why), "{error}");
        }
        typed(Hypervisor::Kvm, &map(json!({"migration_port": 9000})), Scope::Cluster)
            .expect("for the cluster");
    }

    #[test]
    fn what_is_required() {
        let mut filled = defaults(Hypervisor::Kvm);
        filled.insert("kvm_path".into(), json!(""));
        let error = check_hvparams(Hypervisor::Kvm, &filled).expect_err("needed");
        assert!(error.message.contains("'kvm_path' must have a value"), "{error}");
    }
}
