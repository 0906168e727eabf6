//! A plugin's life as its clients see it.

use crate::client::get;
use crate::fakes::serve;
use roost_mond::helper::Helper;
use roost_mond::http::Limits;
use roost_mond::plugins::Plugins;
use roost_mond::settings::furnish;
use roost_mond::world::World;
use roost_proto::paths::Paths;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;

fn put(path: &Path, mode: u32, text: &str) {
    let aside = path.with_file_name(".aside");
    std::fs::write(&aside, text).unwrap();
    std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(mode)).unwrap();
    std::fs::rename(aside, path).unwrap();
}

#[tokio::test]
async fn a_plugin_comes_fails_is_mended_and_goes() {
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::new(Some(root.path().to_owned()));
    let dir = paths.collector_plugins();
    std::fs::create_dir_all(&dir).unwrap();
    let owner = nix::unistd::geteuid().as_raw();
    let world = World::new(paths, Helper::default());
    let (schedule, mut settings) = furnish(world, Plugins::new(dir.clone(), owner));
    let mond = serve(schedule, watch::Sender::new(true), Limits::default(), None);
    let path = "/1/report/default/plugin-raid";
    settings.once().await;
    assert_eq!(get(mond.address, path).await.status(), 404);

    // What it says is in a file, so that it can change its mind.
    let says = root.path().join("says");
    std::fs::write(&says, r#"{"degraded": 0, "disks": ["a", "b"]}"#).unwrap();
    let script = format!("#!/bin/sh\nexec cat {}\n", says.display());
    put(&dir.join("raid.sh"), 0o755, &script);
    put(&dir.join("raid.json"), 0o644, r#"{"interval": 0.1}"#);
    put(&dir.join("open"), 0o777, &script);
    settings.once().await;
    let report = get(mond.address, path).await.json();
    assert_eq!(report["version"], "P");
    assert_eq!(report["data"], json!({"degraded": 0, "disks": ["a", "b"]}));
    let list = get(mond.address, "/1/list/collectors").await.json();
    assert!(list.as_array().unwrap().contains(&json!(["plugin-raid", "default", 0])), "{list}");
    let metrics = get(mond.address, "/metrics").await.body;
    let line = "roost_plugin_value{plugin=\"raid\",key=\"degraded\"} 0\n";
    assert!(metrics.contains(line), "{metrics}");

    let refused = get(mond.address, "/1/report/default/plugin-open").await;
    assert_eq!(refused.status(), 500);
    assert!(refused.body.contains("can be written by others"), "{}", refused.body);

    std::fs::remove_file(&says).unwrap();
    let stale = wait(&mond, path, |data| data.get("stale_seconds").is_some()).await;
    assert_eq!((&stale["degraded"], &stale["disks"]), (&json!(0), &json!(["a", "b"])));
    assert!(stale["stale_reason"].as_str().unwrap().contains("exited with code 1"), "{stale}");

    std::fs::write(&says, r#"{"degraded": 1}"#).unwrap();
    let mended = wait(&mond, path, |data| data.get("stale_seconds").is_none()).await;
    assert_eq!(mended, json!({"degraded": 1}));

    std::fs::remove_file(dir.join("raid.sh")).unwrap();
    settings.once().await;
    assert_eq!(get(mond.address, path).await.status(), 404);
}

/// Asks until the data is like this.
async fn wait(
    mond: &crate::fakes::Mond,
    path: &str,
    like: impl Fn(&serde_json::Value) -> bool,
) -> serde_json::Value {
    let asking = async {
        loop {
            let data = get(mond.address, path).await.json()["data"].take();
            if like(&data) {
                return data;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asking).await.expect("it comes")
}
