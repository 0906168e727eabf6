//! The placement tools' whole output for clusters in `fixtures/htools`, as `scripts/record-htools` wrote it
//! down from the reference's, or, behind `# ours`, as it was read and found right.

use super::{FakeMaster, Memory, Ran, run_alone, run_answering};
use crate::context::{Cx, Environment, Io, Tty};
use crate::failure::Outcome;
use crate::htools::TOOLS;
use crate::htools::execute::{JobSet, Label, execute};
use roost_proto::error::Error;
use roost_proto::opcodes::InstanceMigrate;
use roost_proto::query::Resource;
use serde_json::json;
use std::fmt::Write;
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/htools")
}

/// Lines with a mark in front, and paths as the files of cases have them.
fn marked(text: &mut String, mark: char, lines: &str, scratch: &str) {
    let here = fixtures();
    for line in lines.lines() {
        let line = line.replace(scratch, "%").replace(&*here.to_string_lossy(), "@");
        let _ = writeln!(text, "{mark} {line}");
    }
}

/// Runs a command line of a file of cases; the case as the file would have it.
async fn case(line: &str, scratch: &str) -> String {
    let words = line.replace('@', &fixtures().to_string_lossy()).replace('%', scratch);
    let (tool, rest) = words.split_once(' ').unwrap_or((&words, ""));
    let Ran { code, out, err } = run_alone(&format!("/usr/bin/{tool} {rest}")).await;
    let mut text = format!("$ {line}\n= {code}\n");
    marked(&mut text, '>', &out, scratch);
    marked(&mut text, '!', &err, scratch);
    text
}

/// Runs all cases of a file and compares. With UPDATE_FIXTURES=1 our own cases are written anew.
async fn golden(name: &str) {
    let path = fixtures().join(name);
    let text = std::fs::read_to_string(&path).expect("a file of cases");
    let scratch = tempfile::tempdir().expect("temporary directory");
    let directory = scratch.path().to_string_lossy().into_owned();
    let update = std::env::var_os("UPDATE_FIXTURES").is_some();
    let (mut new, mut ours, mut failed) = (String::new(), false, 0);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        ours |= line == "# ours";
        let Some(command) = line.strip_prefix("$ ") else {
            let _ = writeln!(new, "{line}");
            continue;
        };
        let mut expected = format!("{line}\n");
        while let Some(line) = lines.next_if(|line| line.starts_with(['=', '>', '!'])) {
            let _ = writeln!(expected, "{line}");
        }
        let found = case(command, &directory).await;
        if found != expected && !(update && ours) {
            eprintln!("--- expected in {name}:\n{expected}--- found:\n{found}");
            failed += 1;
        }
        new.push_str(if update && ours { &found } else { &expected });
    }
    if update {
        std::fs::write(&path, new).expect("written");
    }
    assert_eq!(failed, 0, "cases of {name} differ");
}

#[tokio::test]
async fn hbal_prints_what_the_reference_prints() {
    golden("hbal.golden").await;
}

#[tokio::test]
async fn hinfo_prints_what_the_reference_prints() {
    golden("hinfo.golden").await;
}

#[tokio::test]
async fn hroller_prints_what_the_reference_prints() {
    golden("hroller.golden").await;
}

#[tokio::test]
async fn hsqueeze_prints_what_the_reference_prints() {
    golden("hsqueeze.golden").await;
}

#[tokio::test]
async fn hcheck_prints_what_the_reference_prints() {
    golden("hcheck.golden").await;
}

#[tokio::test]
async fn hspace_prints_what_the_reference_prints() {
    golden("hspace.golden").await;
}

#[tokio::test]
async fn hail_prints_what_the_reference_prints() {
    golden("hail.golden").await;
}

/// The last score of a plan's lines, or the first if it has none, and how many lines there are.
fn end_of(out: &str) -> (f64, usize) {
    let number = |text: &str| text.parse::<f64>().expect("a score");
    let begin = out.lines().find_map(|line| line.strip_prefix("Initial score: ")).map(number);
    let steps = out.lines().filter_map(|line| line.split_once(" a=").map(|(step, _)| step));
    let scores: Vec<f64> =
        steps.map(|step| number(step.split_whitespace().last().unwrap_or_default())).collect();
    (*scores.last().or(begin.as_ref()).expect("a score"), scores.len())
}

#[tokio::test]
async fn the_default_ends_no_worse_than_greedy_and_tells_what_it_copies() {
    for (cluster, limits) in
        [("eight.data", vec![1, 4]), ("mixed.data", vec![2, 6, 200]), ("speed.data", vec![3, 200])]
    {
        for most in limits {
            let line = format!("hbal -t {}/{cluster} -l {most}", fixtures().display());
            let ours = run_alone(&line).await;
            let greedy = run_alone(&format!("{line} --algorithm=greedy")).await;
            let (ours_end, ours_moves) = end_of(&ours.out);
            let (greedy_end, _) = end_of(&greedy.out);
            assert!(ours_end <= greedy_end + 1e-8, "{line}: {}\n{}", ours.out, greedy.out);
            assert!(ours_moves <= most, "{line}: {}", ours.out);
            let length = format!("Solution length={ours_moves}\n");
            let (_, after) = ours.out.split_once(&length).expect("a length");
            let copied = after.strip_prefix("Data to copy: ").and_then(|r| r.split_once(" GiB\n"));
            let (gib, rest) = copied.expect("how much is copied");
            assert!(gib.parse::<f64>().is_ok_and(|gib| gib >= 0.0) && rest.is_empty(), "{after}");
            assert!(!greedy.out.contains("Data to copy"), "{}", greedy.out);
        }
    }
}

#[tokio::test]
async fn copies_are_limited_on_demand() {
    let line = format!("hbal -t {}/eight.data", fixtures().display());
    for (option, least, most) in [("", 100.0, 1e9), (" --max-copy=50g", 0.0, 50.0)] {
        let ran = run_alone(&format!("{line}{option}")).await;
        let copied =
            ran.out.lines().find_map(|l| l.strip_prefix("Data to copy: ")).expect("a line");
        let gib: f64 = copied.trim_end_matches(" GiB").parse().expect("a number");
        assert!((least..=most).contains(&gib), "{option}: {}", ran.out);
    }
    let ran = run_alone(&format!("{line} --max-copy=much")).await;
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("amount to copy: Can't parse string 'much'"), "{}", ran.err);
}

#[tokio::test]
async fn moves_are_explained() {
    let line =
        format!("hbal --algorithm=greedy --explain -l 2 -t {}/mixed.data", fixtures().display());
    let ran = run_alone(&line).await;
    let expected = [
        "    1. i00016.vm n0002.hw          => n0005.hw          108.03322710 a=fa:n0005.hw",
        "         better: offline_pri_cnt -16.00000000, offline_all_cnt -4.00000000, ",
        "         worse: ",
        "         instead: ",
        "    2. i00005.vm n0002.hw:n0005.hw => n0005.hw:n0000.hw  88.08587220 a=f r:n0000.hw",
    ];
    let mut lines = ran.out.lines();
    for begin in expected {
        assert!(lines.any(|line| line.starts_with(begin)), "{begin}\n{}", ran.out);
    }
    // What it explains is not another plan.
    let plain = run_alone(&line.replace("--explain ", "")).await;
    let without: Vec<&str> =
        ran.out.lines().filter(|line| !line.starts_with("         ")).collect();
    assert_eq!(without, plain.out.lines().collect::<Vec<_>>());
}

#[tokio::test]
async fn what_can_be_had_is_listed_from_cheap_to_good() {
    let line = format!("hbal --pareto -l 5 -t {}/speed.data", fixtures().display());
    let ran = run_alone(&line).await;
    let (_, list) = ran.out.split_once("  Moves").expect("a list");
    let number = |word: &str| word.parse::<f64>().expect("a number");
    let rows: Vec<Vec<f64>> =
        list.lines().skip(1).map(|row| row.split_whitespace().map(number).collect()).collect();
    assert!(rows.len() > 1 && rows[0][..2] == [0.0, 0.0], "{}", ran.out);
    for (one, other) in rows.iter().zip(&rows[1..]) {
        assert!(one[0] <= other[0] && other[0] <= 5.0, "{}", ran.out);
        assert!((0..3).any(|at| one[at] < other[at]), "{}", ran.out);
        assert!((0..3).any(|at| other[at] < one[at]), "{}", ran.out);
    }
    let ran = run_alone(&format!("{line} -C")).await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.starts_with("Error: --pareto only lists plans; choose one"), "{}", ran.err);
}

#[tokio::test]
async fn a_tool_is_found_by_name_and_by_variable() {
    for (line, variable) in [
        ("/usr/bin/hinfo --version", None),
        ("gnt hinfo --version", None),
        ("htools -V", Some("hinfo")),
        ("hbal --vers", Some("HINFO")),
    ] {
        let environment =
            Environment { htools: variable.map(str::to_owned), ..Environment::default() };
        let ran = run_answering(line, environment, &[]).await;
        assert_eq!(ran.code, 0, "{line}: {}", ran.err);
        assert!(ran.out.starts_with("hinfo (ganeti) version "), "{line}: {}", ran.out);
    }
    let environment = Environment { htools: Some("nonsense".into()), ..Environment::default() };
    let ran = run_answering("htools", environment, &[]).await;
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.starts_with("Unrecognised personality 'nonsense'.\n"), "{}", ran.err);
    assert!(ran.err.contains("\n hbal     - cluster balancer that looks at"), "{}", ran.err);
    // The other tools do not care.
    let environment = Environment { htools: Some("hbal".into()), ..Environment::default() };
    let ran = run_answering("gnt-node --version", environment, &[]).await;
    assert!(ran.out.starts_with("gnt-node (ganeti"), "{}", ran.out);
}

#[tokio::test]
async fn wrong_command_lines_are_refused() {
    for (line, code, words) in [
        ("hbal --nonsense", 2, "Command line error: unrecognized option `--nonsense'\n"),
        ("hbal --mi 3", 2, "option `--mi' is ambiguous"),
        ("hbal -t", 2, "option `-t' requires an argument FILE"),
        ("hbal -L x", 1, "Error: This program doesn't take any arguments.\n"),
        ("hbal -X", 1, "Error: hbal: Execution of commands possible only on LUXI\n"),
        (
            "hspace --simulate p,1,1t,1g,1 -t x",
            1,
            "Error: --simulate makes a cluster of its own; no other source of data can be given with it.\n",
        ),
        ("hspace --max-cpu=0", 1, "Invalid value of the max-cpu ratio, expected >0\n"),
        ("hbal -pfoo", 1, "unknown field 'foo' of nodes; there are: idx, name, fqdn, "),
        (
            "hcheck --algorithm=best",
            1,
            "Unknown algorithm 'best', pass one of 'greedy' or 'search'",
        ),
        ("hinfo -t /nonexistent", 1, "Error: failed to load data, aborting: /nonexistent: "),
    ] {
        let ran = run_alone(line).await;
        assert_eq!(ran.code, code, "{line}: {}", ran.err);
        assert!(ran.err.contains(words), "{line}: {}", ran.err);
        assert_eq!(ran.out, "", "{line}");
    }
}

#[tokio::test]
async fn a_malformed_file_is_named_with_line_and_field() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("broken.data");
    let good = std::fs::read_to_string(fixtures().join("eight.data")).expect("a cluster");
    std::fs::write(&path, good.replacen("|65536|4096|", "|65536|much|", 1)).expect("written");
    let ran = run_alone(&format!("hbal -t {}", path.display())).await;
    let expected = format!(
        "Error: failed to load data, aborting: {}: line 5: node memory: 'much' is not a number\n",
        path.display()
    );
    assert_eq!((ran.code, ran.err), (1, expected));
}

#[tokio::test]
async fn an_empty_file_has_no_sections() {
    let ran = run_alone("hinfo -t /dev/null").await;
    let expected = "Error: failed to load data, aborting: /dev/null: Invalid format of the input file: 0 \
                    sections instead of 4 or more\n";
    assert_eq!((ran.code, ran.err.as_str()), (1, expected));
}

#[tokio::test]
async fn columns_may_be_aligned_by_hand() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("aligned.data");
    let good = std::fs::read_to_string(fixtures().join("eight.data")).expect("a cluster");
    std::fs::write(&path, good.replace("|4096|", "|  4096|")).expect("written");
    let aligned = run_alone(&format!("hinfo -t {}", path.display())).await;
    let plain = run_alone(&format!("hinfo -t {}", fixtures().join("eight.data").display())).await;
    assert_eq!((aligned.code, aligned.out), (0, plain.out));
}

#[tokio::test]
async fn hcheck_answers_by_its_exit_code_alone_if_asked_to() {
    let at = fixtures();
    for (file, code) in [("bad.data", 1), ("eight.data", 0)] {
        let ran = run_alone(&format!("hcheck -q -t {}/{file}", at.display())).await;
        assert_eq!((ran.code, ran.out.as_str()), (code, ""), "{file}: {}", ran.err);
    }
    let ran = run_alone(&format!("hcheck -q --machine -t {}/eight.data", at.display())).await;
    assert!(ran.out.ends_with("HCHECK_OK=1\n"), "{}", ran.out);
}

#[tokio::test]
async fn hinfo_says_on_demand_that_a_cluster_is_empty() {
    let line = format!("hinfo -t {}/empty.data", fixtures().display());
    let ran = run_alone(&format!("{line} -v")).await;
    assert!(ran.out.contains("\nCluster is empty.\nLoaded 3 nodes, 0 instances,"), "{}", ran.out);
    assert!(!run_alone(&line).await.out.contains("is empty"));
}

#[tokio::test]
async fn rules_of_a_file_hold_for_what_a_request_asks() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("rules");
    let rule = "only-there only-on --instances 'name == \"new\"' --nodes 'name == \"n0\" or name == \"n1\"'\n";
    std::fs::write(&path, rule).expect("written");
    let request = fixtures().join("request.json");
    let line = |rules: &Path| format!("hail --rules {} {}", rules.display(), request.display());
    let ran = run_alone(&line(&path)).await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let answer: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    let mut nodes: Vec<String> = serde_json::from_value(answer["result"].clone()).expect("nodes");
    nodes.sort();
    assert_eq!(nodes, ["n0", "n1"]);
    let ran = run_alone(&line(Path::new("/nonexistent"))).await;
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.starts_with("Error: /nonexistent: "), "{}", ran.err);
}

#[tokio::test]
async fn every_tool_describes_its_options() {
    for tool in TOOLS {
        let command = tool.command();
        command.clone().debug_assert();
        for option in command.get_opts() {
            let help = option.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(option.get_long().is_some() && !help.is_empty(), "{} {option}", tool.name);
        }
        let ran = run_alone(&format!("{} --help", tool.name)).await;
        assert!(ran.out.contains(&format!("Usage: {} [OPTION...]", tool.name)), "{}", ran.out);
        let ran = run_alone(&format!("{} --help-completion", tool.name)).await;
        assert!(ran.out.contains("-h,--help none\n"), "{}", ran.out);
    }
}

/// Carries sets of one job for each instance named out.
async fn carry_out(master: &FakeMaster, sets: &[&[&str]], count: usize) -> (Outcome, String) {
    let (out, err) = (Memory::default(), Memory::default());
    let io = Io::new(Box::new(out.clone()), Box::new(err), false, Tty::Nobody);
    let cx = Cx::new("hbal", "hbal", master.environment(), io);
    let label = Label {
        tool: "hbal",
        comment: "rebalancing".into(),
        reason: "because".into(),
        priority: -10,
    };
    let sets = sets.iter().map(|names| JobSet {
        title: format!("for instances {}", names.join(", ")),
        jobs: names
            .iter()
            .map(|name| (name.to_string(), vec![InstanceMigrate::new(*name).into()]))
            .collect(),
    });
    let ended = execute(&cx, "", &label, sets.collect(), count).await;
    (ended, out.text())
}

#[tokio::test]
async fn sets_are_carried_out_in_turn() {
    let master = FakeMaster::start();
    let (ended, out) = carry_out(&master, &[&["web1", "web2"], &["web3"]], usize::MAX).await;
    assert!(ended.is_ok(), "{ended:?}");
    assert_eq!(
        out,
        "Executing jobset for instances web1, web2\nGot job IDs 1, 2\nJob 1 for web1 is done\n\
         Job 2 for web2 is done\nExecuting jobset for instances web3\nGot job IDs 3\n\
         Job 3 for web3 is done\n"
    );
    let jobs = master.submitted();
    assert_eq!(jobs.len(), 3);
    let op = &jobs[0][0];
    assert_eq!((&op["OP_ID"], &op["priority"]), (&json!("OP_INSTANCE_MIGRATE"), &json!(-10)));
    assert_eq!((&op["reason"][0][0], &op["reason"][0][1]), (&json!("hbal"), &json!("because")));
    let (ended, out) = carry_out(&master, &[&["web1"], &["web3"]], 1).await;
    assert!(ended.is_ok() && !out.contains("web3"), "{out}");
}

#[tokio::test]
async fn nothing_is_begun_after_a_set_that_failed() {
    let failure = Err(Error::exec("no way"));
    let master = FakeMaster::start().answer("OP_INSTANCE_MIGRATE", failure);
    let (ended, out) = carry_out(&master, &[&["web1"], &["web2"]], usize::MAX).await;
    let failure = ended.expect_err("it failed");
    let text = failure.text().expect("words");
    assert_eq!(failure.code(), 1);
    assert!(
        text.starts_with("Error: Not all jobs completed successfully: job 1 for web1: "),
        "{text}"
    );
    assert!(text.contains("no way") && text.ends_with("\nAborting."), "{text}");
    assert!(!out.contains("web2"), "{out}");
    assert_eq!(master.submitted().len(), 1);
}

#[tokio::test]
async fn this_cluster_is_balanced_by_jobs() {
    let node = |name: &str, free: u32| {
        json!({
            "name": name, "group.uuid": "u1", "offline": false, "drained": false, "vm_capable": true,
            "ndp/spindle_count": 1, "ndp/exclusive_storage": false, "ndp/cpu_speed": 1.0,
            "mtotal": 4096, "mnode": 0, "mfree": free, "dtotal": 9999, "dfree": 9999, "ctotal": 4,
            "cnos": 1, "tags": []
        })
    };
    let instance = |name: &str, status: &str| {
        json!({
            "name": name, "pnode": "full", "snodes": [], "status": status, "be/maxmem": 512,
            "be/vcpus": 1, "be/auto_balance": true, "be/spindle_use": 1, "disk_template": "ext",
            "disk_usage": 1024, "disk.sizes": [1024], "disk.spindles": [null],
            "forthcoming": false, "tags": []
        })
    };
    let policy = json!({
        "minmax": [], "std": {"memory-size": 128, "disk-size": 1024, "disk-count": 1, "cpu-count": 1,
        "nic-count": 1, "spindle-use": 1}, "disk-templates": ["ext"], "vcpu-ratio": 4,
        "spindle-ratio": 32
    });
    let master = FakeMaster::start()
        .table(
            Resource::Group,
            json!([{"name": "default", "uuid": "u1", "alloc_policy": "preferred",
                "ipolicy": policy, "custom_ipolicy": {}, "tags": []}]),
        )
        .table(Resource::Node, json!([node("empty", 4096), node("full", 3072)]))
        .table(
            Resource::Instance,
            json!([
                instance("web1", "running"),
                instance("web2", "running"),
                instance("db1", "ADMIN_down"),
                instance("db2", "ADMIN_down")
            ]),
        )
        .table(Resource::Rule, json!([]))
        .info(
            json!({"master": "full", "tags": [], "ipolicy": policy, "default_hypervisor": "fake"}),
        );
    let line =
        "/usr/bin/hbal -L -X --algorithm=greedy --ignore-dynu --priority=low --reason=even -g 0";
    let ran = master.run(line).await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    let (_, jobs_said) = ran.out.split_once("Executing jobset").expect("it begins");
    let moved = ran.out.lines().filter(|line| line.contains(" a=fa:empty")).count();
    assert!(moved >= 1, "{}", ran.out);
    assert_eq!(jobs_said.matches(" is done\n").count(), moved, "{}", ran.out);
    let jobs = master.submitted();
    assert_eq!(jobs.len(), moved);
    for job in &jobs {
        let [op] = job.as_slice() else { panic!("{job:?}") };
        let stopped = op["instance_name"].as_str().is_some_and(|name| name.starts_with("db"));
        let expected = if stopped { "OP_INSTANCE_FAILOVER" } else { "OP_INSTANCE_MIGRATE" };
        assert_eq!(op["OP_ID"], json!(expected));
        assert_eq!((&op["target_node"], &op["priority"]), (&json!("empty"), &json!(10)));
        assert_eq!(op["reason"][0][1], json!("even"));
    }
    // Only with the first set; without -X nothing is submitted.
    let ran = master.run(&format!("{line} --first-job-group")).await;
    assert_eq!(ran.out.matches("Executing jobset").count(), 1, "{}", ran.out);
    assert_eq!(master.submitted().len(), 1);
    master.run(&line.replace(" -X", "")).await;
    assert!(master.submitted().is_empty());
}
