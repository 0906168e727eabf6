//! Who has a block device open: what an administrator asks first when it cannot be let go.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// Who uses the device of these numbers, in words: `mounted at /mnt`, `qemu-system-x86 (process
/// 123)`, `drbd0`. Blocks; looks through all processes.
pub fn of(major: u32, minor: u32) -> Vec<String> {
    let mut users = holders(major, minor);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    users.extend(mounted(&mounts, major, minor));
    users.extend(processes(major, minor));
    users.into_iter().collect()
}

/// The same as the end of a sentence: ` (used by …)`, or nothing.
pub fn told(kernel: Option<(u32, u32)>) -> String {
    let users = kernel.map(|(major, minor)| of(major, minor)).unwrap_or_default();
    if users.is_empty() { String::new() } else { format!(" (used by: {})", users.join(", ")) }
}

/// Devices that stand on it.
fn holders(major: u32, minor: u32) -> BTreeSet<String> {
    let dir = format!("/sys/dev/block/{major}:{minor}/holders");
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            // What device mapper's own number hides.
            match fs::read_to_string(entry.path().join("dm/name")) {
                Ok(mapped) => mapped.trim().to_owned(),
                Err(_) => name,
            }
        })
        .collect()
}

/// Where it is mounted, by the lines of mountinfo.
fn mounted(mounts: &str, major: u32, minor: u32) -> Vec<String> {
    let device = format!("{major}:{minor}");
    let at = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        (words.get(2) == Some(&device.as_str())).then(|| words.get(4).map(|dir| (*dir).to_owned()))
    };
    mounts.lines().filter_map(at).flatten().map(|dir| format!("mounted at {dir}")).collect()
}

/// Processes that have it open.
fn processes(major: u32, minor: u32) -> BTreeSet<String> {
    let device = nix::sys::stat::makedev(major.into(), minor.into());
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        let files = fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten();
        // Only devices are looked at: another file may be on a server that does not answer.
        let devices = files
            .map(|file| file.path())
            .filter(|file| fs::read_link(file).is_ok_and(|target| target.starts_with("/dev")));
        let opens = devices
            .filter_map(|file| fs::metadata(file).ok())
            .any(|meta| meta.file_type().is_block_device() && meta.rdev() == device);
        if opens {
            let program = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            found.insert(format!("{} (process {name})", program.trim()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_told_by_device_number() {
        let mounts = "22 1 254:0 / / rw - ext4 /dev/root rw\n\
                      36 22 254:3 / /mnt/a rw - ext4 /dev/mapper/xenvg-a rw\n\
                      37 22 254:31 / /mnt/b rw - ext4 /dev/mapper/xenvg-b rw\n";
        assert_eq!(mounted(mounts, 254, 3), ["mounted at /mnt/a"]);
        assert!(mounted(mounts, 253, 3).is_empty());
    }

    #[test]
    fn nobody_uses_what_is_not_there() {
        assert!(of(4095, 4095).is_empty());
        assert_eq!(told(None), "");
    }
}
