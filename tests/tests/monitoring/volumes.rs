//! What mond says of real volumes and mirrors, on nodes with kernels of their own.

use super::site::Site;
use roost_tests::lab::wait_until;
use serde_json::Value;
use std::time::Duration;

/// The report of a storage collector on the first node, when it satisfies somebody.
#[track_caller]
fn until(site: &Site, collector: &str, wanted: impl Fn(&Value) -> bool) {
    let path = format!("/1/report/storage/{collector}");
    let page = || site.page("node1", &path);
    let told = || format!("the report of {collector}: {:?}", page());
    let found = || page().is_some_and(|report| wanted(&report["data"]));
    wait_until(Duration::from_secs(120), told, found).unwrap();
}

#[test]
#[ignore = "boots user-mode Linux: needs its image (make uml), and a minute"]
fn mirrors_and_volumes_are_reported_with_their_instances() {
    let mut site = Site::with_volumes("mon-volumes");
    for (name, disks) in
        [("m1.example.com", "-t drbd -n node1:node2"), ("p1.example.com", "-t plain -n node1")]
    {
        site.ok(
            "node1",
            &format!(
                "gnt-instance add {disks} --disk 0:size=64m -o tiny --no-install --no-start \
                 --no-name-check --no-ip-check --ignore-ipolicy {name}"
            ),
        );
    }
    site.ok("node1", "gnt-instance activate-disks m1.example.com");
    until(&site, "drbd", |data| {
        let device = &data["deviceInfos"][0];
        data["status"]["code"] == 0
            && device["connectionState"] == "Connected"
            && device["instance"] == "m1.example.com"
    });
    until(&site, "lv", |data| {
        let all = data.as_array().map(Vec::as_slice).unwrap_or_default();
        let of = |name: &str| all.iter().filter(|volume| volume["instance"] == name).count();
        // A mirror's side has data and metadata.
        (of("m1.example.com"), of("p1.example.com"), all.len()) == (2, 1, 3)
    });
    let listed = site.ok("node1", "lvs --noheadings -o lv_name xenvg | sort | tr -d ' '");
    let report = site.ok("node1", "mon-collector lv");
    let report: Value = serde_json::from_str(&report).unwrap();
    let mut names: Vec<&str> =
        report["data"].as_array().unwrap().iter().filter_map(|v| v["name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, listed.lines().collect::<Vec<_>>());

    // The other side is gone: being mended, until somebody says that it is not.
    site.lab.cut("node2", None).unwrap();
    until(&site, "drbd", |data| data["status"]["code"] == 1);
    site.ok("node1", "! gnt-mond check --host 127.0.0.1 --collector drbd");
    site.lab.heal().unwrap();
    until(&site, "drbd", |data| data["status"]["code"] == 0);
}
