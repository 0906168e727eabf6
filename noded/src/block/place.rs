//! Where file disks may be: below the cluster's storage directories, or those that the node's own
//! administrator lists in `/etc/ganeti/file-storage-paths`.
//!
//! masterd names the paths, but a bug or a forged configuration there must not make a node
//! overwrite its own files.

use crate::ssconf;
use nix::sys::statvfs::statvfs;
use roost_proto::error::{Error, Result};
use roost_proto::paths::Paths;
use std::path::{Component, Path, PathBuf};

/// The ssconf keys that name directories for disks.
const KEYS: [&str; 3] = ["file_storage_dir", "shared_file_storage_dir", "gluster_storage_dir"];

/// Directories below which disks may be, as the configuration writes them.
pub fn allowed_directories(paths: &Paths) -> Vec<String> {
    let listed = std::fs::read_to_string(paths.file_storage_paths()).unwrap_or_default();
    let mut all: Vec<String> = KEYS.iter().filter_map(|key| ssconf::read(paths, key)).collect();
    all.extend(listed.lines().map(str::trim).filter(|l| !l.starts_with('#')).map(str::to_owned));
    all.retain(|dir| dir.starts_with('/') && dir != "/");
    let mut seen = std::collections::HashSet::new();
    all.retain(|dir| seen.insert(dir.clone()));
    all
}

/// Checks the path of a disk and tells where it is on this machine.
pub fn check(path: &str, paths: &Paths) -> Result<PathBuf> {
    let refuse = |why: String| {
        Error::environment(format!(
            "The path '{path}' may not hold a disk on this node: {why}; directories for disks are \
             the cluster's and those listed in '{}'",
            paths.file_storage_paths().display()
        ))
    };
    let asked = Path::new(path);
    let plain = asked.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
    // `components` drops single dots by itself.
    if !asked.is_absolute() || !plain || path.contains("/./") || path.contains('\0') {
        return Err(refuse("it is not a plain absolute path".into()));
    }
    let allowed = allowed_directories(paths);
    let base = allowed
        .iter()
        .filter(|dir| asked.starts_with(dir) && asked != Path::new(dir.as_str()))
        .max_by_key(|dir| dir.len())
        .ok_or_else(|| refuse("it is in none of the allowed directories".into()))?;
    let (local, base) = (paths.absolute(asked), paths.absolute(base));
    no_escape(&local, &base).map_err(refuse)?;
    Ok(local)
}

/// Follows the symbolic links of what exists of `local` and makes sure that it stays in `base`
/// (which may itself be one: its administrator made it so).
fn no_escape(local: &Path, base: &Path) -> std::result::Result<(), String> {
    if local.symlink_metadata().is_ok_and(|m| m.is_symlink()) {
        return Err("it is a symbolic link".into());
    }
    let Ok(base) = base.canonicalize() else { return Ok(()) };
    let real = local.ancestors().skip(1).find_map(|dir| dir.canonicalize().ok());
    match real {
        Some(real) if real.starts_with(&base) => Ok(()),
        Some(real) => Err(format!("symbolic links lead it to '{}'", real.display())),
        None => Ok(()),
    }
}

/// Total and free MiB of the file system a path is on, or will be.
pub fn space(path: &Path) -> Option<(u64, u64)> {
    let dir = path.ancestors().find(|dir| dir.exists())?;
    let stat = statvfs(dir).ok()?;
    let mib = |blocks: u64| blocks.saturating_mul(stat.fragment_size()) >> 20;
    Some((mib(stat.blocks()), mib(stat.blocks_available())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn node() -> (tempfile::TempDir, Paths) {
        let dir = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(dir.path().to_owned()));
        fs::create_dir_all(paths.data_dir()).expect("data");
        fs::create_dir_all(paths.absolute("/srv/files/i1")).expect("storage");
        fs::write(paths.ssconf("file_storage_dir"), "/srv/files\n").expect("ssconf");
        fs::write(paths.ssconf("shared_file_storage_dir"), "\n").expect("ssconf");
        (dir, paths)
    }

    #[test]
    fn paths_below_a_storage_directory_are_allowed() {
        let (dir, paths) = node();
        let local = check("/srv/files/i1/disk0", &paths).expect("allowed");
        assert_eq!(local, dir.path().join("srv/files/i1/disk0"));
        check("/srv/files/not/there/yet", &paths).expect("allowed");
        for bad in [
            "/srv/files",
            "/srv/files2/x",
            "/etc/passwd",
            "/srv/files/../../etc/passwd",
            "srv/files/x",
            "",
        ] {
            let error = check(bad, &paths).expect_err(bad);
            assert!(error.message.contains("may not hold a disk"), "{error}");
        }
    }

    #[test]
    fn the_nodes_administrator_may_list_more() {
        let (_dir, paths) = node();
        check("/mnt/big/x", &paths).expect_err("not listed");
        fs::create_dir_all(paths.conf_dir()).expect("conf");
        fs::write(paths.file_storage_paths(), "# mine\n/mnt/big\n\n").expect("list");
        check("/mnt/big/x", &paths).expect("listed");
        assert_eq!(allowed_directories(&paths), ["/srv/files", "/mnt/big"]);
    }

    #[test]
    fn symbolic_links_do_not_lead_out() {
        let (dir, paths) = node();
        fs::create_dir(dir.path().join("elsewhere")).expect("directory");
        symlink(dir.path().join("elsewhere"), paths.absolute("/srv/files/link")).expect("link");
        symlink("/etc/passwd", paths.absolute("/srv/files/i1/disk0")).expect("link");
        for bad in ["/srv/files/link/x", "/srv/files/link/a/b", "/srv/files/i1/disk0"] {
            let error = check(bad, &paths).expect_err(bad);
            assert!(error.message.contains("symbolic link"), "{error}");
        }
    }
}
