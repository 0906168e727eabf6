//! A directory of plugins and what becomes of it.

use super::*;
use crate::collector::Collected;
use crate::helper::Helper;
use crate::world::World;
use roost_proto::paths::Paths;
use std::os::unix::fs::PermissionsExt;

struct Site {
    dir: tempfile::TempDir,
    plugins: Plugins,
}

impl Site {
    fn new() -> Site {
        let dir = tempfile::tempdir().unwrap();
        let owner = nix::unistd::geteuid().as_raw();
        let plugins = Plugins::new(dir.path().to_owned(), owner).besides(vec!["plugin-own".into()]);
        Site { dir, plugins }
    }

    fn put(&self, name: &str, mode: u32, text: &str) {
        // In its place at once: a file that is written while it runs cannot be run.
        let path = self.dir.path().join(name);
        let aside = self.dir.path().join(".aside");
        std::fs::write(&aside, text).unwrap();
        std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(mode)).unwrap();
        std::fs::rename(aside, path).unwrap();
    }

    fn scan(&mut self) -> Vec<Arc<dyn Collector>> {
        self.plugins.scan()
    }
}

async fn collect(collector: &Arc<dyn Collector>) -> Result<Collected> {
    let world = World::new(Paths::new(None), Helper::default());
    collector.collect(&world).await
}

#[tokio::test]
async fn programs_are_found_run_and_looked_at_again_when_they_change() {
    let mut site = Site::new();
    site.put("raid.sh", 0o755, "#!/bin/sh\necho '{\"degraded\": 1,'\necho '\"x\": []}'\n");
    site.put("raid.json", 0o644, r#"{"category": "storage", "interval": 5}"#);
    site.put("README", 0o644, "not a program");
    site.put("own", 0o755, "#!/bin/sh\n");
    let all = site.scan();
    assert_eq!(all.len(), 1);
    let about = all[0].about();
    assert_eq!((about.name.as_ref(), about.version.as_ref()), ("plugin-raid", "P"));
    assert_eq!((about.category.as_str(), about.interval.as_secs()), ("storage", 5));
    let collected = collect(&all[0]).await.unwrap();
    assert_eq!(collected.data.get(), "{\"degraded\": 1,\n\"x\": []}");
    assert_eq!(collected.metrics.families[0].samples[0].value, 1.0);
    assert!(Arc::ptr_eq(&site.scan()[0], &all[0]));
    site.put("raid.sh", 0o755, "#!/bin/sh\necho broken >&2; exit 3\n");
    let next = site.scan();
    assert!(!Arc::ptr_eq(&next[0], &all[0]));
    let error = collect(&next[0]).await.unwrap_err();
    assert!(error.message.ends_with("exited with code 3: broken"), "{error}");
    std::fs::remove_file(site.dir.path().join("raid.sh")).unwrap();
    assert!(site.scan().is_empty());
}

#[tokio::test]
async fn what_others_may_write_is_refused_and_says_so() {
    let mut site = Site::new();
    site.put("a", 0o775, "#!/bin/sh\necho 1\n");
    site.put("b", 0o755, "#!/bin/sh\necho 1\n");
    site.put("b.json", 0o666, "{}");
    site.put("c", 0o755, "#!/bin/sh\necho 1\n");
    site.put("c.json", 0o644, r#"{"kind": 7}"#);
    site.put("Dd", 0o755, "#!/bin/sh\necho 1\n");
    let all = site.scan();
    let mut whys = vec![];
    for one in &all {
        whys.push(collect(one).await.unwrap_err().message);
    }
    // In the order of their files' names.
    for (why, part) in
        whys.iter().zip(["small letters", "can be written", "can be written", "0 or 1"])
    {
        assert!(why.contains(part), "{why}");
    }
    assert_eq!(whys.len(), 4);
    site.plugins.owner = 12345;
    site.put("a", 0o755, "#!/bin/sh\necho 2\n");
    if !nix::unistd::geteuid().is_root() {
        assert!(site.scan().is_empty(), "the directory itself is somebody else's");
    }
    let dir = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(site.dir.path(), dir).unwrap();
    assert!(site.scan().is_empty());
}

#[tokio::test]
async fn nonsense_and_endless_work_are_errors() {
    let mut site = Site::new();
    site.put("a", 0o755, "#!/bin/sh\necho '{'\n");
    site.put("b", 0o755, "#!/bin/sh\nsleep 1000\n");
    site.put("b.json", 0o644, r#"{"timeout": 0.2}"#);
    let all = site.scan();
    assert!(collect(&all[0]).await.unwrap_err().message.contains("not JSON"));
    assert!(collect(&all[1]).await.unwrap_err().message.contains("did not end within 0.2 s"));
}
