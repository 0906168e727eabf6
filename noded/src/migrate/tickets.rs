//! Which migrations this node accepts: kept in files, so that a restart of noded breaks none.
//!
//! A ticket is a directory `<migration dir>/ID`, ID being a digest of the token, that also has the
//! sockets of this migration in it. The hypervisor's user may make sockets in it but not list it.

use roost_proto::choices::Hypervisor;
use roost_proto::error::{Error, Result};
use roost_proto::node::InstanceRef;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What a token stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ticket {
    pub guest: InstanceRef,
    pub hypervisor: Hypervisor,
}

/// All tickets of this node.
#[derive(Clone, Debug)]
pub struct Tickets {
    dir: PathBuf,
}

impl Tickets {
    pub fn new(dir: PathBuf) -> Tickets {
        Tickets { dir }
    }

    /// The directory of a migration; the same path on source and target.
    pub fn dir(&self, token: &str) -> PathBuf {
        let digest = Sha256::digest(token.as_bytes());
        let id: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        self.dir.join(id)
    }

    /// Makes the directory of a migration.
    pub fn make_dir(&self, token: &str) -> Result<PathBuf> {
        let dir = self.dir(token);
        let made = std::fs::create_dir_all(&dir)
            .and_then(|()| set_mode(&self.dir, 0o711))
            .and_then(|()| set_mode(&dir, 0o733));
        made.map_err(|e| failed("make", &dir, &e))?;
        Ok(dir)
    }

    /// Accepts the migration of a token.
    pub fn issue(&self, token: &str, guest: &InstanceRef, hypervisor: Hypervisor) -> Result<()> {
        let path = self.make_dir(token)?.join("ticket.json");
        let ticket = Ticket { guest: guest.clone(), hypervisor };
        let content = serde_json::to_vec(&ticket)
            .map_err(|e| Error::internal(format!("ticket of {}: {e}", guest.name)))?;
        let new = path.with_extension("new");
        let write = || {
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            std::io::Write::write_all(&mut file, &content)?;
            std::fs::rename(&new, &path)
        };
        write().map_err(|e| failed("write", &path, &e))
    }

    /// What a token stands for, if it is accepted.
    pub fn find(&self, token: &str) -> Option<Ticket> {
        let content = std::fs::read(self.dir(token).join("ticket.json")).ok()?;
        serde_json::from_slice(&content).ok()
    }

    /// Accepts it no more; its directory goes.
    pub fn revoke(&self, token: &str) -> Result<()> {
        let dir = self.dir(token);
        match std::fs::remove_dir_all(&dir) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(failed("remove", &dir, &e)),
            _ => Ok(()),
        }
    }
}

fn set_mode(path: &Path, mode: u32) -> std::io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::exec(format!("Cannot {what} {} for a migration: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_until_revoked() {
        let dir = tempfile::tempdir().expect("directory");
        let tickets = Tickets::new(dir.path().join("migration"));
        let guest = InstanceRef {
            uuid: uuid::Uuid::from_u128(1).into(),
            name: roost_proto::names::InstanceName::new("web").expect("name"),
        };
        assert_eq!(tickets.find("secret"), None);
        tickets.issue("secret", &guest, Hypervisor::Fake).expect("issue");
        tickets.issue("secret", &guest, Hypervisor::Fake).expect("again");
        let after_restart = Tickets::new(dir.path().join("migration"));
        assert_eq!(after_restart.find("secret").expect("found").guest, guest);
        assert_eq!(after_restart.find("other"), None);
        assert!(!tickets.dir("secret").display().to_string().contains("secret"));
        tickets.revoke("secret").expect("revoke");
        tickets.revoke("secret").expect("revoked already");
        assert_eq!(tickets.find("secret"), None);
    }
}
