//! Wrong input and bad luck: exact exit codes and error types, and nothing left behind.

use crate::cluster::Cluster;
use std::time::Instant;

const ADD: &str = "gnt-instance add -t file --disk 0:size=1G -o noop";

#[test]
fn wrong_input_is_refused_with_its_error_type() {
    let c = Cluster::fake("t-wrong");
    c.ok(&format!("{ADD} -n node2 one"));
    let before = c.files();
    let future = c.future_os();
    let mut wrongs = vec![];
    let unknown = "error type: unknown_entity";
    let wrong = "error type: wrong_input";
    for (command, code, words) in [
        (format!("{ADD} -n node9 two"), 1, [unknown, "'node9'"]),
        (format!("{ADD} -n node2 one"), 1, ["error type: already_exists", "'one'"]),
        (
            format!("{ADD} -n node2 -B memory=20T --ignore-ipolicy two"),
            1,
            ["error type: insufficient_resources", "node2"],
        ),
        (format!("{ADD} -n node2 -B memory=64M two"), 1, [wrong, "memory-size"]),
        ("gnt-instance add -t plain -s 1G -o noop -n node2 two".into(), 1, [wrong, "'plain'"]),
        ("gnt-instance add -t nosuch -s 1G -o noop -n node2 two".into(), 2, ["nosuch", "error"]),
        ("gnt-instance add -t diskless -o nosuch -n node2 two".into(), 1, [unknown, "'nosuch'"]),
        ("gnt-instance add -t diskless -o future -n node2 two".into(), 1, ["future", "99"]),
        (format!("{ADD} -n node2 'not a name'"), 1, [wrong, "not a name"]),
        ("gnt-instance startup nosuch".into(), 1, [unknown, "'nosuch'"]),
        ("gnt-instance migrate -f one".into(), 1, ["error type: wrong_state", "'file'"]),
        ("gnt-node remove node1".into(), 1, [wrong, "master node"]),
        ("gnt-node remove node2".into(), 1, ["error type: wrong_state", "one"]),
        ("gnt-group remove default".into(), 1, ["error type: wrong_state", "default"]),
        ("gnt-instance list --nosuch".into(), 2, ["--nosuch", "error"]),
    ] {
        let out = c.run(&command);
        let fits = out.code == code && words.iter().all(|word| out.stderr.contains(word));
        if !fits {
            wrongs.push(format!("{command}: {}, not {code} {words:?}\n{}", out.code, out.stderr));
        }
    }
    assert!(wrongs.is_empty(), "{}", wrongs.join("\n"));
    std::fs::remove_dir_all(future).unwrap();
    assert_eq!(c.instances(), ["one"]);
    assert_eq!(c.files(), before);
    c.verify();
}

#[test]
fn a_creation_that_fails_leaves_nothing() {
    let c = Cluster::fake("t-debris");
    let before = c.files();
    c.refused(
        "gnt-instance add -t file --disk 0:size=1G -o fails -n node2 one",
        1,
        &["no luck today"],
    );
    assert_eq!(c.files(), before);

    // The node's storage fills up while the guest is installed.
    let mount = "mount -t tmpfs -o size=32m tmpfs /srv/ganeti/file-storage";
    assert!(c.on("node2", mount).ok());
    let add = "gnt-instance add -t file --disk 0:size=1G -o fills -n node2 one";
    c.refused(add, 1, &["space"]);
    assert_eq!(c.on("node2", "umount /srv/ganeti/file-storage").code, 0, "something holds it");
    assert_eq!(c.files(), before);
    assert!(c.instances().is_empty());
    assert_eq!(c.json("gnt-debug locks --json"), serde_json::json!([]));
    c.verify();
    c.ok("gnt-instance add -t file --disk 0:size=1G -o noop -n node2 one");
    c.verify();
}

#[test]
fn a_node_that_does_not_answer_is_named_and_nothing_stays() {
    let mut c = Cluster::fake("t-silent");
    let before = c.files();
    for frozen in [true, false] {
        if frozen {
            c.lab.freeze("node2", "noded").unwrap();
        } else {
            c.lab.cut("node2", None).unwrap();
        }
        let began = Instant::now();
        c.refused("gnt-instance add -t file --disk 0:size=1G -o noop -n node2 one", 1, &["node2"]);
        println!("refused after {:?} (frozen: {frozen})", began.elapsed());
        let out = c.run("gnt-cluster verify");
        assert_ne!(out.code, 0, "{}", out.stdout);
        assert!(out.stdout.contains("node2"), "{}", out.stdout);
        // The others still work.
        c.ok("gnt-instance add -t file --disk 0:size=1G -o noop -n node3 two && gnt-instance remove -f two");
        if frozen {
            c.lab.thaw("node2", "noded").unwrap();
        } else {
            c.lab.heal().unwrap();
        }
        c.all_report();
        c.jobs_end();
        assert_eq!(c.files(), before);
        c.verify();
    }
}
