use super::*;
use serde_json::Value;

fn say(args: &[&str]) -> Said {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let nowhere = tempfile::tempdir().unwrap();
    run("mon-collector", &args, Paths::new(Some(nowhere.path().to_owned())))
}

fn fixture(name: &str) -> String {
    format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A file with that text.
fn file(text: &str) -> (tempfile::NamedTempFile, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    (file, path)
}

fn report(args: &[&str]) -> Value {
    let said = say(args);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{args:?}");
    assert!(said.stdout.ends_with("}\n") && said.stdout.lines().count() == 1, "{}", said.stdout);
    serde_json::from_str(&said.stdout).unwrap()
}

#[test]
fn without_a_collector_the_usage_is_printed() {
    for args in [&[][..], &["nothing"], &["cpu-avg-load"]] {
        let said = say(args);
        assert_eq!((said.code, said.stderr.as_str()), (1, ""));
        assert!(
            said.stdout.starts_with("Usage: mon-collector {command} [options...] [argument...]\n")
        );
        assert!(said.stdout.contains("\nCommands:\n"));
        for name in ["diskstats", "drbd", "inst-status-xen", "lv"] {
            assert!(
                said.stdout.lines().any(|line| line.starts_with(&format!(" {name} "))),
                "{name}"
            );
        }
    }
    let help = say(&["--help"]);
    assert_eq!((help.code, help.stdout), (0, say(&[]).stdout));
    assert!(say(&["--version"]).stdout.starts_with("mon-collector "));
    let completion = say(&["--help-completion"]).stdout;
    assert!(completion.starts_with("choices=diskstats,drbd,inst-status-xen,lv"), "{completion}");
    assert!(completion.ends_with(" 1 1\n"));
}

#[test]
fn each_collector_explains_its_options() {
    let said = say(&["lv", "--help"]);
    assert_eq!(said.code, 0);
    for words in
        ["-f FILE  --file=FILE", "-i FILE  --instances=FILE", "-a IP  --address=IP", "-h  --help"]
    {
        assert!(said.stdout.contains(words), "{words}: {}", said.stdout);
    }
    assert_eq!(
        say(&["drbd", "--help-completion"]).stdout,
        "-s,--drbd-status file\n-p,--drbd-pairing file\n-V,--version none\n-h,--help none\n--help-completion none\n"
    );
    assert!(say(&["diskstats", "-V"]).stdout.starts_with("mon-collector "));
}

#[test]
fn wrong_command_lines_are_refused() {
    let said = say(&["diskstats", "x"]);
    assert_eq!(
        (said.code, said.stderr.as_str()),
        (1, "Error: This program takes exactly zero arguments, got 'x'\n")
    );
    for (args, why) in [
        (&["diskstats", "-x"][..], "unrecognized option `-x'"),
        (&["diskstats", "--nothing"], "unrecognized option `--nothing'"),
        (&["drbd", "--drbd"], "option `--drbd' is ambiguous"),
        (&["drbd", "-s"], "option `-s' requires an argument FILE"),
        (&["lv", "--port=many"], "`many' is not a port"),
        (&["lv", "-a", "host"], "`host' is not an IP address"),
        (&["lv", "--help=x"], "option `--help' doesn't allow an argument"),
    ] {
        let said = say(args);
        assert_eq!((said.code, said.stdout.as_str()), (2, ""), "{args:?}");
        assert!(
            said.stderr.starts_with(&format!("Command line error: {why}\n")),
            "{}",
            said.stderr
        );
    }
    let said = say(&["diskstats", "-f", "/nothing/there"]);
    assert_eq!(said.code, 1);
    assert!(said.stderr.starts_with("Error: Cannot read '/nothing/there': "), "{}", said.stderr);
}

#[test]
fn options_are_read_in_all_their_forms() {
    let path = fixture("proc-diskstats-4.18");
    let (joined, long) = (format!("-f{path}"), format!("--file={path}"));
    let forms: [&[&str]; 5] = [
        &["diskstats", "-f", &path],
        &["diskstats", &joined],
        &["diskstats", &long],
        &["diskstats", "--file", &path],
        &["diskstats", "--fi", &path],
    ];
    for form in forms {
        let report = report(form);
        assert_eq!(report["data"][0]["name"], "sda");
        assert_eq!(report["name"], "diskstats");
        assert_eq!(report["category"], "storage");
    }
}

#[test]
fn drbd_is_read_from_files() {
    let (_file, pairing) =
        file(r#"[["node1", 0, "inst1.example.org", "disk/0", "primary", "node2"]]"#);
    let said = say(&["drbd", "-s", &fixture("proc-drbd-example"), "-p", &pairing]);
    let expected = std::fs::read_to_string(fixture("report-drbd-example.json")).unwrap();
    assert!(said.stdout.ends_with(&format!(
        r#","kind":1,"data":{}}}{}"#,
        expected.trim_end(),
        "\n"
    )));
    // Without the pairing nobody knows whose the minors are; the rest counts.
    let said = say(&["drbd", "-s", &fixture("proc-drbd-example")]);
    assert_eq!(said.code, 0);
    assert!(said.stderr.starts_with("Warning: "), "{}", said.stderr);
    assert!(said.stdout.contains(r#""instance":null"#) && !said.stdout.contains("inst1"));
}

#[test]
fn volumes_are_read_from_files() {
    let (_file, instances) = file(
        r#"[[{"name": "inst1", "uuid": "u"}, [{"dev_type": "drbd", "children": [
            {"dev_type": "plain", "logical_id": ["xenvg", "0bf1.disk0_data"]}]}]]]"#,
    );
    let report = report(&["lv", "-f", &fixture("lvs"), "-i", &instances]);
    let owners: Vec<_> =
        report["data"].as_array().unwrap().iter().map(|one| &one["instance"]).collect();
    assert_eq!(
        owners,
        ["inst1", "inst1"].map(Value::from).iter().chain([&Value::Null; 3]).collect::<Vec<_>>()
    );
}

#[test]
fn instances_of_xen_are_not_told_without_confd() {
    let said = say(&["inst-status-xen"]);
    assert_eq!((said.code, said.stdout.as_str()), (1, ""));
    assert!(
        said.stderr.starts_with("Error: Can't get instance info from ConfD: "),
        "{}",
        said.stderr
    );
}

#[test]
fn this_machine_is_looked_at_without_files() {
    assert!(report(&["diskstats"])["data"].is_array());
    assert_eq!(report(&["node-os"])["name"], "node-os");
}
