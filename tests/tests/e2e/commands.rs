//! What administrators do all day, on a cluster with simulated guests.

use crate::cluster::Cluster;
use serde_json::Value;

/// Every listing prints rows for people and JSON for programs, and knows its fields.
#[test]
fn everything_can_be_listed_for_people_and_programs() {
    let c = Cluster::fake("t-list");
    c.ok("gnt-instance add -t file --disk 0:size=1G -o noop -n node2 one");
    for tool in ["node", "instance", "group", "job"] {
        let fields = c.json(&format!("gnt-{tool} list-fields --json"));
        let names: Vec<&str> =
            fields.as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
        assert!(names.len() > 10, "{tool}: {names:?}");
        let rows = c.json(&format!("gnt-{tool} list --json -o {}", names.join(",")));
        let first = rows[0].as_object().unwrap_or_else(|| panic!("{tool}: {rows}"));
        for name in names {
            assert!(first.contains_key(name), "gnt-{tool} list shows no {name}");
        }
        let table = c.ok(&format!("gnt-{tool} list --no-headers"));
        assert!(!table.trim().is_empty(), "gnt-{tool} list shows nothing");
    }
    for command in [
        "gnt-cluster info",
        "gnt-node info",
        "gnt-instance info one",
        "gnt-group info",
        "gnt-os diagnose",
        "gnt-os list",
        "gnt-debug locks",
        "gnt-node list-storage",
        "gnt-job info 1",
    ] {
        let text = c.ok(command);
        assert!(!text.trim().is_empty(), "{command} prints nothing");
        let json = c.json(&format!("{command} --json"));
        assert!(json.is_array() || json.is_object(), "{command} --json: {json}");
    }
    assert_eq!(c.ok("gnt-cluster getmaster"), "node1.lab\n");
    let row = &c.json("gnt-instance list --json -o name,pnode,status,disk.sizes one")[0];
    assert_eq!(row["pnode"], "node2.lab");
    assert_eq!(row["status"], "running");
    assert_eq!(row["disk.sizes"], serde_json::json!([1024]));
    c.refused("gnt-instance list -o nosuchfield", 14, &["nosuchfield"]);
}

/// An instance through all that can happen to it on purpose.
#[test]
fn an_instance_lives_a_full_life() {
    let c = Cluster::fake("t-life");
    let clean = c.files();
    c.ok("gnt-instance add -t sharedfile --disk 0:size=1G -o noop -B memory=256,vcpus=2 -n node2 web");
    assert_eq!(c.instance("status", "web"), "running");
    c.refused("gnt-instance reinstall -f web", 1, &["error type: wrong_state"]);
    c.ok("gnt-instance migrate -f -n node3 web");
    assert_eq!(c.instance("pnode", "web"), "node3.lab");
    c.ok("gnt-instance failover -f -n node2 web");
    assert_eq!(
        (c.instance("pnode", "web"), c.instance("status", "web")),
        ("node2.lab".into(), "running".into())
    );
    c.ok("gnt-instance reboot web && gnt-instance shutdown web");
    assert_eq!(c.instance("status", "web"), "ADMIN_down");
    c.ok("gnt-instance modify -B memory=512 web && gnt-instance reinstall -f -o noop web");
    assert_eq!(c.instance("be/maxmem", "web"), "512M");
    c.ok("gnt-instance rename web www && gnt-instance startup www");
    assert_eq!(c.instances(), ["www"]);
    c.ok("gnt-instance add-tags www blue green && gnt-instance remove-tags www green");
    assert_eq!(c.ok("gnt-instance list-tags www"), "blue\n");
    assert_eq!(
        c.ok("gnt-cluster search-tags blue").split_whitespace().collect::<Vec<_>>(),
        ["/instances/www", "blue"]
    );
    c.ok("gnt-group add-tags default g && gnt-node add-tags node2 n && gnt-cluster add-tags c");
    c.ok("gnt-group rename default racks && gnt-node modify -D yes node3 && gnt-node modify -D no node3");
    c.verify();

    // Disks on a node's own files are copied over.
    c.ok("gnt-instance add -t file --disk 0:size=1G -o noop -n node2 local");
    let write = "echo precious | dd of=$(ls /srv/ganeti/file-storage/local/*disk0) conv=notrunc status=none";
    assert!(c.on("node2", write).ok());
    c.ok("gnt-instance move -f -n node3 local");
    assert_eq!(c.instance("pnode", "local"), "node3.lab");
    let read = c.on("node3", "head -c 8 /srv/ganeti/file-storage/local/*disk0").stdout;
    assert_eq!(read, "precious");
    assert!(!c.files().iter().any(|f| f.starts_with("node2:/srv/ganeti/file-storage/local")));
    c.verify();

    c.ok("gnt-node evacuate -f -p node2");
    assert_eq!(c.ok("gnt-node list --no-headers -o pinst_cnt node2").trim(), "0");
    c.ok("gnt-instance remove -f www && gnt-instance remove -f local");
    assert_eq!(c.files(), clean);
    c.verify();
    let failed = c.json("gnt-job list --json -o status,summary");
    let bad: Vec<&Value> =
        failed.as_array().unwrap().iter().filter(|j| j["status"] != "success").collect();
    assert_eq!(bad.len(), 1, "only the refused reinstallation failed: {bad:?}");
}

/// Nodes make disks in another directory as soon as the command that set it has ended.
#[test]
fn another_storage_directory_counts_at_once() {
    let c = Cluster::fake("t-directory");
    for n in 0..5 {
        // None of them lies in the one before.
        let dir = format!("/srv/ganeti/file-storage/number{n}");
        assert!(c.on("node2", &format!("mkdir {dir}")).ok());
        c.ok(&format!(
            "gnt-cluster modify --file-storage-dir={dir} && \
             gnt-instance add -t file --disk 0:size=16M --ignore-ipolicy --no-install --no-start \
             -o noop -n node2 i{n}.lab"
        ));
        assert!(c.files().iter().any(|file| file.starts_with(&format!("node2:{dir}/i{n}.lab/"))));
    }
}
