//! An LVM that says what was recorded and notes what it is told, for tests.

use super::inventory::Lvm;
use super::tools::Tools;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

pub struct StandIn {
    dir: tempfile::TempDir,
}

impl StandIn {
    pub fn new() -> StandIn {
        let dir = tempfile::tempdir().expect("directory");
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/block/lvm/fixtures");
        let program = dir.path().join("lvm");
        let here = dir.path().display();
        let script = format!(
            "#!/bin/sh\necho \"$*\" >> {here}/asked\n[ ! -e {here}/before ] || . {here}/before\n\
             case $1 in lvs|pvs) cat {}/$1.json;; esac\n",
            fixtures.display()
        );
        std::fs::write(&program, script).expect("script");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("mode");
        StandIn { dir }
    }

    /// With so long to answer.
    pub fn lvm(&self, deadline: Duration) -> &'static Lvm {
        let tools = Tools::stand_in(self.dir.path().join("lvm"), deadline);
        Box::leak(Box::new(Lvm::new(tools)))
    }

    /// Runs a line of shell before it does anything else.
    pub fn before(&self, script: &str) {
        std::fs::write(self.dir.path().join("before"), script).expect("script");
    }

    /// All it was told.
    pub fn asked(&self) -> Vec<String> {
        let asked = std::fs::read_to_string(self.dir.path().join("asked")).unwrap_or_default();
        asked.lines().map(str::to_owned).collect()
    }

    /// What it was told to change.
    pub fn changes(&self) -> Vec<String> {
        let mut all = self.asked();
        all.retain(|line| !line.starts_with("lvs ") && !line.starts_with("pvs "));
        all
    }
}
