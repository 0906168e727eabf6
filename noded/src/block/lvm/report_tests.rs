use super::*;

const LVS: &[u8] = include_bytes!("fixtures/lvs.json");
const PVS: &[u8] = include_bytes!("fixtures/pvs.json");
const LVS_LOST: &[u8] = include_bytes!("fixtures/lvs-lost-pv.json");
const PVS_LOST: &[u8] = include_bytes!("fixtures/pvs-lost-pv.json");

fn named(all: &[Logical], name: &str) -> Logical {
    all.iter().find(|lv| lv.name == name).expect(name).clone()
}

#[test]
fn groups_and_what_they_are_made_of() {
    let (groups, loose) = physical(PVS).expect("readable");
    assert!(loose.is_empty());
    let group = &groups["xenvg"];
    assert_eq!((group.size, group.free), (4_286_578_688, 3_376_414_720));
    assert_eq!((group.extent, group.missing, group.exported), (4 << 20, 0, false));
    assert_eq!(group.usable(), group.free);
    assert_eq!(group.spindles(), (2, 0), "volumes are on both");
    assert_eq!(group.physical[0].name, "/dev/ubdb");
    assert!(group.physical[0].is_usable() && !group.physical[0].is_empty());
}

#[test]
fn a_lost_physical_volume_has_no_room() {
    let (groups, _) = physical(PVS_LOST).expect("readable");
    let group = &groups["xenvg"];
    assert_eq!(group.missing, 1);
    assert_eq!(group.usable(), 1_358_954_496, "only what is there");
    let lost = &group.physical[1];
    assert!(lost.missing && !lost.is_usable());
    assert_eq!(lost.name, "[unknown]");
}

#[test]
fn volumes_of_all_sorts() {
    let all = logical(LVS).expect("readable");
    assert_eq!(all.len(), 10, "one that has two segments is one");
    let one = named(&all, "one.disk0");
    assert_eq!(one.sort, Sort::Thick);
    assert_eq!((one.size, one.kernel, one.stripes), (100 << 20, Some((254, 0)), 1));
    assert_eq!(
        one.tags,
        ["originstname+web.example.com", "roost-disk+22222222-0000-4000-8000-000000000001"]
    );
    assert!(one.active && !one.open && !one.suspended);
    let two = named(&all, "two.disk0");
    assert_eq!((two.stripes, two.spindles()), (2, vec!["/dev/ubdb", "/dev/ubdc"]));
    assert!(two.suspended && two.active);
    let split = named(&all, "split");
    assert_eq!(split.devices, ["/dev/ubdb(87)", "/dev/ubdc(25)"]);
    let off = named(&all, "off");
    assert_eq!((off.active, off.kernel), (false, None));
    let snap = named(&all, "snap");
    assert_eq!(
        (snap.sort, snap.origin.as_str(), snap.invalid),
        (Sort::Snapshot, "one.disk0", true)
    );
    let thin = named(&all, "thin.disk0");
    assert_eq!((thin.sort, thin.pool.as_str(), thin.size), (Sort::Thin, "tp", 1 << 30));
    assert_eq!(named(&all, "thin.snap").origin, "thin.disk0");
    let pool = named(&all, "tp");
    assert_eq!(
        (pool.sort, pool.chunk, pool.discards, pool.zeroes),
        (Sort::ThinPool, 65536, true, true)
    );
    assert_eq!((pool.data_percent, pool.metadata_percent), (Some(0.0), Some(11.04)));
}

#[test]
fn volumes_that_lost_a_part() {
    let all = logical(LVS_LOST).expect("readable");
    assert!(named(&all, "split").is_partial() && named(&all, "two.disk0").is_partial());
    assert!(!named(&all, "one.disk0").is_partial());
    assert!(!named(&all, "mir").is_partial(), "the other half is whole");
}

#[test]
fn nothing_and_nonsense() {
    let nothing = br#"{"report": [{"lv": []}]}"#;
    assert_eq!(logical(nothing).expect("nothing"), []);
    let error = logical(b"  Volume group not found").expect_err("no report");
    assert!(error.message.contains("cannot be understood"), "{error}");
}
