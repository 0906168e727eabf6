//! Questions about the configuration.

use crate::site::{NODES, SOON, Site};
use roost_tests::lab::wait_until;

#[test]
fn every_candidate_answers_also_without_masterd() {
    let site = Site::up("mon-away");
    site.add_instance("web1.lab", "node2");
    let serials = NODES.map(|node| site.until_known(node, "web1.lab"));
    assert_eq!(serials, [serials[0]; 3], "all have the same commit");

    for node in NODES {
        site.lab.kill_daemon(node, "masterd").unwrap();
    }
    for node in NODES {
        assert_eq!(site.knows(node, "web1.lab"), Some((true, serials[0])), "{node}");
    }
    // From disk, and the file was written before masterd died or the view would be of an older commit.
    site.lab.kill_daemon("node2", "confd").unwrap();
    assert!(site.ask("node2", &["node2"], "ping").is_none());
    site.lab.start_daemon("node2", "confd").unwrap();
    let (known, serial) = site.knows("node2", "web1.lab").unwrap();
    assert!(known && serial <= serials[0]);

    for node in NODES {
        let all = site.page(node, "/1/report/all").unwrap();
        assert!(all.as_array().unwrap().len() > 5, "{all}");
    }

    // A bad file in place of the good one changes nothing for whoever runs, and is said by whoever starts.
    site.ok("node3", "echo '{\"version\": 1' > /var/lib/ganeti/config.data");
    assert_eq!(site.knows("node3", "web1.lab"), Some((true, serials[0])));
    site.lab.kill_daemon("node3", "confd").unwrap();
    site.lab.start_daemon("node3", "confd").unwrap();
    let said = site.ask("node3", &["node3"], "ping").unwrap();
    let why = said["answers"][0]["answer"].to_string();
    assert!(why.contains("Cannot load configuration from /var/lib/ganeti/config.data"), "{said}");

    for node in NODES {
        site.lab.start_daemon(node, "masterd").unwrap();
    }
    let back = NODES.map(|node| site.until_known(node, "web1.lab"));
    assert!(back.iter().all(|serial| *serial >= serials[0]), "{back:?}");
}

#[test]
fn of_two_candidates_the_newer_one_counts() {
    let mut site = Site::up("mon-cut");
    site.add_instance("web1.lab", "node2");
    for node in NODES {
        site.until_known(node, "web1.lab");
    }
    // node2 hears both.
    site.lab.cut("node1", Some("node3")).unwrap();
    site.add_instance("web2.lab", "node2");
    let newer = site.until_known("node2", "web2.lab");
    let (known, older) = site.knows("node3", "web2.lab").unwrap();
    assert!(!known && older < newer, "{older}, {newer}");
    let said = site.ask("node2", &["node2", "node3"], "config /cluster/serial_no").unwrap();
    assert_eq!(said["answers"].as_array().unwrap().len(), 2, "{said}");
    assert_eq!((said["answer"].as_u64(), &said["from"]), (Some(newer), &"10.78.0.2".into()));
    site.lab.heal().unwrap();
    site.until_known("node3", "web2.lab");
}

#[test]
fn a_new_key_is_the_only_one_and_commands_nobody() {
    let site = Site::up("mon-key");
    let epoch = site.ok("node2", "cat /var/lib/ganeti/noded/epoch");
    for node in NODES {
        site.ok(node, "cp /var/lib/ganeti/hmac.key /run/old.key");
    }
    let with_old = "gnt-confd-client ping --address 127.0.0.1 --timeout 1 --hmac-key /run/old.key";
    assert!(site.succeeds("node3", with_old));
    site.ok("node1", "gnt-cluster renew-crypto --new-confd-hmac-key -f");
    for node in NODES {
        let gone = || !site.succeeds(node, with_old);
        wait_until(SOON, || format!("the end of the old key on {node}"), gone).unwrap();
        site.until(node, "gnt-confd-client ping --address 127.0.0.1 --timeout 2");
    }
    // All candidates take the same one.
    let said = site.ask("node2", &NODES, "ping").unwrap();
    assert_eq!(said["answers"].as_array().unwrap().len(), 3, "{said}");
    assert_eq!(site.ok("node2", "cat /var/lib/ganeti/noded/epoch"), epoch);
    site.ok("node1", "gnt-cluster verify");
}

#[test]
fn who_is_no_candidate_any_more_knows_nothing() {
    let site = Site::up("mon-pool");
    let file = "test -e /var/lib/ganeti/config.data";
    for node in NODES {
        site.until(node, file);
    }
    site.ok("node1", "gnt-cluster modify --candidate-pool-size=2");
    let roles = site.ok("node1", "gnt-node list --no-headers -o name,role");
    let regular = roles.lines().find(|line| line.trim_end().ends_with('R')).unwrap();
    let node = NODES.into_iter().find(|node| regular.starts_with(node)).unwrap();
    site.until(node, &format!("! {file}"));
    let forgot =
        || site.ask(node, &[node], "ping").is_some_and(|said| said["answers"][0]["status"] == 1);
    wait_until(SOON, || format!("{node} to forget"), forgot).unwrap();
    // Least of all that a node is offline: that would stop its guests.
    let said = site.ask(node, &[node], &format!("role {node}.lab")).unwrap();
    assert_eq!(said["answers"][0]["status"], 1, "{said}");

    site.ok("node1", "gnt-cluster modify --candidate-pool-size=10");
    site.until(node, file);
    site.until(node, "gnt-confd-client ping --timeout 2 --address 127.0.0.1");
}
