//! `gnt-storage check` on whole providers: a good one, and broken ones that each must be told why.

use super::{Ran, run_alone};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../extstorage/fixtures")
}

/// Copies what is in a directory over another, links too.
fn lay_over(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("directory");
    for entry in fs::read_dir(from).expect("a directory").flatten() {
        let target = to.join(entry.file_name());
        let _ = fs::remove_file(&target);
        match fs::read_link(entry.path()) {
            Ok(link) => symlink(link, target).expect("link"),
            Err(_) => drop(fs::copy(entry.path(), target).expect("copy")),
        }
    }
}

/// Checks the good provider, or the one that a broken one makes of it.
async fn check(broken: Option<&Path>, options: &str) -> (tempfile::TempDir, Ran) {
    let root = tempfile::tempdir().expect("directory");
    let (provider, volumes) = (root.path().join("provider"), root.path().join("volumes"));
    fs::create_dir(&volumes).expect("directory");
    lay_over(&fixtures().join("good"), &provider);
    if let Some(broken) = broken {
        lay_over(broken, &provider);
        let without = fs::read_to_string(broken.join("without")).unwrap_or_default();
        without.lines().for_each(|file| fs::remove_file(provider.join(file)).expect("a file"));
    }
    let line = format!(
        "gnt-storage check {}/ --param dir={} --size 8 --timeout 4 {options}",
        provider.display(),
        volumes.display()
    );
    (root, run_alone(&line).await)
}

#[tokio::test]
async fn a_good_provider_passes() {
    let (root, ran) = check(None, "").await;
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(ran.out.contains("PASS snapshot: "), "{}", ran.out);
    assert!(ran.out.contains(" passed, 0 failed, 0 skipped\n"), "{}", ran.out);
    let left = fs::read_dir(root.path().join("volumes")).expect("volumes").count();
    assert_eq!(left, 0, "it cleans up");
    let (_, ran) = check(None, "--json").await;
    let report: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(report["keeps_contract"], true);
    assert_eq!(report["provider"], "provider");
    assert!(report["checks"].as_array().is_some_and(|checks| checks.len() > 20));
    let (_, ran) = check(None, "--param color=red").await;
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("FAIL parameters: ") && ran.out.contains("color"), "{}", ran.out);
}

#[tokio::test]
async fn broken_ones_are_told_why() {
    let mut wrong = vec![];
    let mut count = 0;
    for entry in fs::read_dir(fixtures().join("broken")).expect("fixtures").flatten() {
        count += 1;
        let expect = fs::read_to_string(entry.path().join("expect")).expect("an expectation");
        let (check_name, words) = expect.trim_end().split_once('\n').expect("two lines");
        let (root, ran) = check(Some(&entry.path()), "").await;
        let name = entry.file_name().into_string().expect("text");
        let out = ran.out.replace("\n     ", "\n");
        let said = out.split("\nFAIL ").skip(1).find(|part| {
            let part = part.split("\nPASS ").next().unwrap_or_default();
            part.starts_with(&format!("{check_name}: ")) && part.contains(words)
        });
        if ran.code != 1 || said.is_none_or(|part| !part.contains("The contract: ")) {
            wrong.push(format!("{name} (expected {check_name}: {words}):\n{}", ran.out));
        }
        drop(root);
    }
    assert!(count >= 10, "{count} broken providers");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Those that this house brings along, with what they stand on.
#[tokio::test]
async fn the_reference_providers_pass() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("skipped: they need root");
        return;
    }
    for (name, needs) in
        [("loop", "/dev/loop-control"), ("nbd", "/usr/bin/qemu-nbd"), ("iscsi", "/usr/sbin/tgtd")]
    {
        if !Path::new(needs).exists() {
            eprintln!("skipped {name}: there is no {needs}");
            continue;
        }
        let root = tempfile::tempdir().expect("directory");
        let dir = fixtures().join("../providers");
        let options = format!("--param dir={} --size 8", root.path().display());
        let line = format!("gnt-storage check --dir {}/{name} {options} {name}", dir.display());
        let ran = run_alone(&line).await;
        assert_eq!(ran.code, 0, "{}", ran.out);
        assert!(ran.out.contains(" 0 failed, "), "{}", ran.out);
        assert!(ran.out.contains("PASS snapshot: "), "{}", ran.out);
        assert_eq!(fs::read_dir(root.path()).expect("volumes").count(), 0, "{name} cleans up");
    }
}

#[tokio::test]
async fn a_provider_must_be_found() {
    let ran = run_alone("gnt-storage check nowhere").await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("Provider 'nowhere' is in none of") && ran.err.contains("--dir"));
}
