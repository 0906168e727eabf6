//! Disk parameters, by disk template.

use super::ParamMap;
use super::value::{self, Check, Kind, Lit, Param, param};
use crate::choices::{DiskAccess, DiskTemplate};
use crate::error::Result;

const DRBD: &[Param] = &[
    // KiB/s, when the controller is off.
    param("resync-rate", Kind::Int, Lit::I(61440), Check::AtLeast(1)),
    param("data-stripes", Kind::Int, Lit::I(1), Check::AtLeast(1)),
    param("meta-stripes", Kind::Int, Lit::I(1), Check::AtLeast(1)),
    // Which of barriers, flushes and drain are switched off; n is none of them.
    param("disk-barriers", Kind::Text, Lit::T("n"), Check::OneOf(BARRIERS)),
    // True switches flushes of the meta data off.
    param("meta-barriers", Kind::Bool, Lit::B(false), Check::Any),
    // Empty: the cluster's volume group.
    param("metavg", Kind::Text, Lit::T(""), Check::Any),
    param("disk-custom", Kind::Text, Lit::T(""), Check::Any),
    param("net-custom", Kind::Text, Lit::T(""), Check::Any),
    param("protocol", Kind::Text, Lit::T("C"), Check::OneOf(&["A", "B", "C"])),
    param("dynamic-resync", Kind::Bool, Lit::B(false), Check::Any),
    // The controller: 0.1 s, sectors, 0.1 s, KiB/s, KiB/s.
    param("c-plan-ahead", Kind::Int, Lit::I(20), Check::AtLeast(0)),
    param("c-fill-target", Kind::Int, Lit::I(0), Check::AtLeast(0)),
    param("c-delay-target", Kind::Int, Lit::I(1), Check::AtLeast(0)),
    param("c-max-rate", Kind::Int, Lit::I(61440), Check::AtLeast(0)),
    param("c-min-rate", Kind::Int, Lit::I(4096), Check::AtLeast(0)),
];

const BARRIERS: &[&str] = &[
    "n", "b", "f", "d", "bf", "fb", "bd", "db", "fd", "df", "bfd", "bdf", "fbd", "fdb", "dbf",
    "dfb",
];

const ACCESS: Param =
    param("access", Kind::Text, Lit::T("kernelspace"), Check::OneOf(DiskAccess::WORDS));

const PLAIN: &[Param] = &[
    param("stripes", Kind::Int, Lit::I(1), Check::AtLeast(1)),
    // Ours. A thin pool of the volume group, in which new volumes are made; empty: none.
    param("thin-pool", Kind::Text, Lit::T(""), Check::Any),
];

const RBD: &[Param] = &[
    param("pool", Kind::Text, Lit::T("rbd"), Check::Any),
    ACCESS,
    param("user-id", Kind::Text, Lit::T(""), Check::Any),
];

const EXT: &[Param] = &[ACCESS];

const GLUSTER: &[Param] = &[
    param("host", Kind::Text, Lit::T("127.0.0.1"), Check::Any),
    param("port", Kind::Int, Lit::I(24007), Check::Between(1, 65535)),
    param("volume", Kind::Text, Lit::T("gv0"), Check::Any),
    ACCESS,
];

/// The parameters of a disk template.
pub fn table(template: DiskTemplate) -> &'static [Param] {
    match template {
        DiskTemplate::Drbd => DRBD,
        DiskTemplate::Plain => PLAIN,
        DiskTemplate::Rbd => RBD,
        DiskTemplate::Ext => EXT,
        DiskTemplate::Gluster => GLUSTER,
        DiskTemplate::File
        | DiskTemplate::SharedFile
        | DiskTemplate::BlockDev
        | DiskTemplate::Diskless => &[],
    }
}

/// Types and checks settings as a user gives them. Errors: `wrong_input`.
pub fn typed(template: DiskTemplate, settings: &ParamMap) -> Result<ParamMap> {
    value::typed(table(template), settings, &format!("{template} disk"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn twenty_four_parameters_of_ganeti_and_one_of_ours() {
        let count: usize = DiskTemplate::ALL.iter().map(|t| table(*t).len()).sum();
        assert_eq!(count, 25);
        for template in DiskTemplate::ALL {
            let defaults = value::defaults(table(*template));
            assert_eq!(typed(*template, &defaults).expect("defaults are good"), defaults);
        }
    }

    #[test]
    fn settings_are_typed() {
        let one = |key: &str, value| ParamMap::from([(key.to_owned(), value)]);
        let good = typed(DiskTemplate::Drbd, &one("c-max-rate", json!("100"))).expect("good");
        assert_eq!(good, one("c-max-rate", json!(100)));
        let error = typed(DiskTemplate::File, &one("stripes", json!(1))).expect_err("has none");
        assert!(error.message.contains("file disk parameter 'stripes'"), "{error}");
        assert!(typed(DiskTemplate::Drbd, &one("disk-barriers", json!("bb"))).is_err());
        assert!(typed(DiskTemplate::Rbd, &one("access", json!("elsewhere"))).is_err());
    }
}
