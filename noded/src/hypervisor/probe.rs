//! Finds out what QEMU can run guests with here: by running one.
//!
//! That `/dev/kvm` can be opened says little: under a hypervisor that only pretends, or with a
//! processor that QEMU and kernel do not agree about, guests abort or crawl. So a tiny guest
//! (`probe.S`, a boot sector) is started as real ones are, enters 64-bit mode, works, and says
//! done. If it does not within seconds, guests are emulated.

use crate::exec::Command;
use roost_proto::error::Result;
use serde::{Deserialize, Serialize};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `probe.S`, assembled.
const BOOT_SECTOR: &[u8; 512] = include_bytes!("probe.bin");
/// QEMU's exit code when the boot sector has done all its work.
const DONE: i32 = 33;
/// Ten times what a busy machine needs.
const KVM_LIMIT: Duration = Duration::from_secs(5);
const TCG_LIMIT: Duration = Duration::from_secs(60);

/// What a QEMU can do on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Guests run on the processor itself.
    pub kvm: bool,
    /// Guests run at all.
    pub usable: bool,
    /// How that was found out.
    pub reason: String,
    /// `10.0.2`.
    pub version: String,
}

/// A result that was kept, and what it is valid for.
#[derive(Serialize, Deserialize)]
struct Kept {
    boot_id: String,
    emulator: PathBuf,
    changed: (i64, u64),
    probe: Probe,
}

/// Tries an emulator; at once if that was done since the machine's boot. `dir` keeps the result.
pub async fn probe(emulator: &Path, dir: &Path) -> Result<Probe> {
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let changed = std::fs::metadata(emulator).map(|m| (m.mtime(), m.len())).unwrap_or_default();
    let path = dir.join("acceleration.json");
    let kept = std::fs::read(&path).ok().and_then(|c| serde_json::from_slice::<Kept>(&c).ok());
    if let Some(kept) = kept
        && (&kept.boot_id, kept.emulator.as_path(), kept.changed) == (&boot_id, emulator, changed)
    {
        return Ok(kept.probe);
    }
    let probe = try_out(emulator, dir).await?;
    tracing::info!(kvm = probe.kvm, reason = %probe.reason, version = %probe.version, "tried QEMU");
    if probe.usable {
        let kept = Kept { boot_id, emulator: emulator.into(), changed, probe: probe.clone() };
        // Not kept only means trying again.
        if let Ok(content) = serde_json::to_vec(&kept) {
            let _ = std::fs::write(&path, content);
        }
    }
    Ok(probe)
}

async fn try_out(emulator: &Path, dir: &Path) -> Result<Probe> {
    let version = match Command::new(emulator)
        .arg("--version")
        .deadline(Duration::from_secs(20))
        .run_ok()
        .await
    {
        Ok(output) => version(&output.text()),
        Err(error) => {
            let reason = format!("{} does not run: {}", emulator.display(), error.message);
            return Ok(Probe { kvm: false, usable: false, reason, version: String::new() });
        }
    };
    crate::durable::make_dir(dir)?;
    let disk = dir.join("probe.img");
    std::fs::write(&disk, BOOT_SECTOR).map_err(|e| {
        roost_proto::error::Error::exec(format!("Cannot write {}: {e}", disk.display()))
    })?;
    let kvm = run(emulator, &disk, "kvm", "host", KVM_LIMIT).await;
    let probe = match kvm {
        Ok(()) => Probe {
            kvm: true,
            usable: true,
            reason: "a test guest ran on the processor".into(),
            version,
        },
        Err(kvm) => {
            let (usable, tcg) = match run(emulator, &disk, "tcg", "qemu64", TCG_LIMIT).await {
                Ok(()) => (true, "guests are emulated, slowly".to_owned()),
                Err(tcg) => (false, format!("emulation does not work either: {tcg}")),
            };
            let reason = format!("KVM does not run a test guest ({kvm}); {tcg}");
            Probe { kvm: false, usable, reason, version }
        }
    };
    // Only a leftover of 512 bytes.
    let _ = std::fs::remove_file(&disk);
    Ok(probe)
}

/// Runs the test guest. Errors: why it did not end well.
async fn run(
    emulator: &Path,
    disk: &Path,
    accelerator: &str,
    cpu: &str,
    limit: Duration,
) -> std::result::Result<(), String> {
    if accelerator == "kvm" && !Path::new("/dev/kvm").exists() {
        return Err("there is no /dev/kvm".into());
    }
    let output = Command::new(emulator)
        .args(["-machine", &format!("pc,accel={accelerator}"), "-cpu", cpu, "-m", "16"])
        .args(["-display", "none", "-nodefaults", "-no-user-config"])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=1"])
        .args(["-drive", &format!("file={},format=raw,if=ide", disk.display())])
        .deadline(limit)
        .run()
        .await
        .map_err(|e| e.message)?;
    if output.code == DONE {
        return Ok(());
    }
    let words = output.last_lines(1);
    Err(if words.is_empty() { output.end } else { format!("{}: {words}", output.end) })
}

/// The number in `QEMU emulator version 10.0.2 (Debian …)`.
fn version(text: &str) -> String {
    let mut words = text.split_whitespace().skip_while(|word| *word != "version").skip(1);
    words.next().unwrap_or("of an unknown version").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A program that plays QEMU: KVM ends with `kvm`, emulation with `tcg`.
    fn emulator(dir: &Path, kvm: &str, tcg: &str) -> PathBuf {
        let path = dir.join("qemu");
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in --version) echo QEMU emulator version 9.8.7 '(x)';;\n\
             *accel=kvm*) {kvm};; *) {tcg};; esac\n"
        );
        std::fs::write(&path, script).expect("write");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("mode");
        path
    }

    #[test]
    fn the_version_is_found() {
        assert_eq!(version("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds)\n"), "10.0.2");
        assert_eq!(BOOT_SECTOR[510..], [0x55, 0xaa]);
    }

    #[tokio::test]
    async fn a_guest_that_does_not_finish_under_kvm_is_emulated() {
        let dir = tempfile::tempdir().expect("directory");
        let qemu = emulator(dir.path(), "echo MSR >&2; exit 134", "exit 33");
        let probe = probe(&qemu, dir.path()).await.expect("probe");
        assert_eq!((probe.usable, probe.kvm, probe.version.as_str()), (true, false, "9.8.7"));
        assert!(probe.reason.contains("emulated"), "{}", probe.reason);
        // Kept: the emulator is not run again.
        std::fs::remove_file(dir.path().join("probe.img")).expect_err("removed");
        let again = super::probe(&qemu, dir.path()).await.expect("probe");
        assert_eq!(again, probe);
    }

    #[tokio::test]
    async fn nothing_works_is_said_with_reasons_and_not_kept() {
        let dir = tempfile::tempdir().expect("directory");
        let qemu = emulator(dir.path(), "exit 1", "echo broken; exit 2");
        let first = probe(&qemu, dir.path()).await.expect("probe");
        assert!(!first.usable && first.reason.contains("exited with code 2: broken"), "{first:?}");
        let missing = probe(Path::new("/nonexistent/qemu"), dir.path()).await.expect("probe");
        assert!(missing.reason.contains("/nonexistent/qemu does not run"), "{missing:?}");
        assert!(!dir.path().join("acceleration.json").exists());
    }
}
