//! A storage service that runs beside the nodes of a lab, in the network of its switch.

use roost_tests::lab::{Lab, layout};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a lab's service has all its files.
pub fn dir(lab: &str) -> PathBuf {
    let root = std::env::temp_dir();
    root.join(format!("roost-service-{lab}"))
}

/// A service at work; it ends when this is dropped.
pub struct Service<'a> {
    lab: &'a Lab,
    script: String,
    dir: PathBuf,
}

impl Service<'_> {
    /// Starts what a script of this folder starts.
    pub fn up<'a>(lab: &'a Lab, script: &str) -> Service<'a> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services").join(script);
        let name = lab.dir().file_name().unwrap().to_str().unwrap().to_owned();
        let dir = dir(&name);
        let _ = std::fs::remove_dir_all(&dir);
        let script = script.to_str().unwrap().to_owned();
        let service = Service { lab, script, dir };
        let (script, dir) = (&service.script, service.dir.to_str().unwrap());
        let argv = [script.as_str(), "up", dir, layout::SWITCH_IP];
        let out = lab.exec_within(Duration::from_secs(300), layout::SWITCH, &argv).unwrap();
        assert!(out.code == 0, "{script}: {} {}", out.stdout, out.stderr);
        service
    }

    /// Its files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn signal(&self, signal: &str, program: &str) {
        let pattern = format!("^{program} ");
        let argv = ["pkill", signal, "-f", pattern.as_str()];
        let out = self.lab.exec(layout::SWITCH, &argv).unwrap();
        assert!(out.code == 0, "{program} does not run");
    }

    /// One of its programs hangs.
    pub fn freeze(&self, program: &str) {
        self.signal("-STOP", program);
    }

    /// It goes on.
    pub fn thaw(&self, program: &str) {
        self.signal("-CONT", program);
    }
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        let argv = [self.script.as_str(), "down", self.dir.to_str().unwrap()];
        let _ = self.lab.exec(layout::SWITCH, &argv);
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
