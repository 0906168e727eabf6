//! The secret files that nodes share: written whole, readable by who needs them and nobody else.
//!
//! Only the files of [`SecretFile`] can be written this way, whatever masterd asks for.

use crate::credentials::hex;
use crate::durable;
use roost_proto::error::{Error, Result};
use roost_proto::paths::Paths;
use roost_proto::secrets::SecretFile;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, chown};

/// Larger than any chain of certificates.
const LIMIT: usize = 1 << 20;

/// The permission bits of a file, and the group that may read it besides root, where the machine
/// has that group.
fn access(file: SecretFile) -> (u32, Option<&'static str>) {
    match file {
        // By which clients recognise consoles: it is given to them anyway.
        SecretFile::SpiceAuthority => (0o644, None),
        SecretFile::RapiCertificate => (0o640, Some("gnt-rapi")),
        SecretFile::ConfdHmacKey => (0o640, Some("gnt-confd")),
        SecretFile::SpiceCertificate | SecretFile::ClusterDomainSecret => (0o600, None),
    }
}

/// Has the content in the file.
pub fn write(paths: &Paths, file: SecretFile, content: &str) -> Result<()> {
    if content.is_empty() || content.len() > LIMIT {
        return Err(Error::wrong_input(format!(
            "The {} to write has {} bytes; it must have some, and at most {LIMIT}",
            file.describe(),
            content.len()
        )));
    }
    let path = paths.secret(file);
    let (mode, group) = access(file);
    let group = group.and_then(|name| nix::unistd::Group::from_name(name).ok().flatten());
    let Some(group) = group else {
        // Without the group nobody but root has any business with it.
        let mode = if mode & 0o004 == 0 { mode & 0o700 } else { mode };
        return durable::write(&path, content.as_bytes(), mode);
    };
    // First closed, then given to the group: it is never open to anybody else.
    durable::write(&path, content.as_bytes(), mode)?;
    let gid = group.gid.as_raw();
    let is = std::fs::metadata(&path).map(|meta| meta.gid());
    if is.ok() != Some(gid) {
        chown(&path, None, Some(gid)).map_err(|e| {
            Error::exec(format!(
                "Cannot give '{}' to the group {}: {e}",
                path.display(),
                group.name
            ))
        })?;
    }
    Ok(())
}

/// SHA-256 of each file that is there, hexadecimal.
pub fn digests(paths: &Paths) -> BTreeMap<SecretFile, String> {
    let digest = |file: &SecretFile| {
        let content = std::fs::read(paths.secret(*file)).ok()?;
        Some((*file, hex(Sha256::digest(content))))
    };
    SecretFile::ALL.iter().filter_map(digest).collect()
}

/// Removes all of them.
pub fn wipe(paths: &Paths) -> Result<()> {
    SecretFile::ALL.iter().try_for_each(|file| durable::remove(&paths.secret(*file)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn nobody_else_can_read_them() {
        let dir = tempfile::tempdir().expect("directory");
        let paths = Paths::new(Some(dir.path().to_owned()));
        std::fs::create_dir_all(paths.data_dir()).expect("directory");
        for file in SecretFile::ALL {
            std::fs::write(paths.secret(file), "open to all").expect("written");
            write(&paths, file, "new").expect("written");
            let mode = std::fs::metadata(paths.secret(file)).expect("stat").permissions().mode();
            let open = file == SecretFile::SpiceAuthority;
            assert_eq!(mode & 0o007 != 0, open, "{file}: {mode:o}");
            assert_eq!(std::fs::read_to_string(paths.secret(file)).expect("read"), "new");
        }
        assert_eq!(digests(&paths).len(), SecretFile::ALL.len());
        write(&paths, SecretFile::ConfdHmacKey, "").expect_err("empty");
        wipe(&paths).expect("removed");
        assert!(digests(&paths).is_empty());
    }
}
