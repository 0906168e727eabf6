//! What the daemon may do once its port is open: nothing that only root may.
//!
//! ```text
//!   root ──► user gnt-confd exists ──► that user, its group only
//!     │  └─► it does not           ──► root, who owns root's files and may nothing else
//!     └──── in both: no capability is left, and none comes back
//!   not root ─────────────────────────► stays who it is, without capabilities
//! ```
//!
//! Capabilities are a thread's: this comes before there are others.

use caps::{CapSet, Capability};
use nix::sys::prctl;
use nix::unistd::{Uid, User, geteuid, setgid, setgroups, setuid};
use roost_proto::error::{Error, Result};
use std::fmt::Display;

/// The user of the daemon on machines that have it.
pub const USER: &str = "gnt-confd";

/// Drops what can be dropped. `user`: who to become if there is such a user and this is root; None:
/// nobody else. `demanded`: then there must be. What happened, for the log. Errors: something could
/// not be dropped, or there is no user that is demanded.
pub fn drop_all(user: Option<&str>, demanded: bool) -> Result<String> {
    let root = geteuid().is_root();
    let become_user = match user.filter(|_| root) {
        None => None,
        Some(name) => {
            let found = User::from_name(name).map_err(|e| failed("look up the user", e))?;
            if found.is_none() && demanded {
                return Err(Error::environment(format!(
                    "There is no user '{name}'; name another with --user, or none with --no-user-checks"
                )));
            }
            found
        }
    };
    // What a program started later could get back. Containers may not even let us drop it.
    for capability in caps::all() {
        if let Err(error) = caps::drop(None, CapSet::Bounding, capability)
            && holds(Capability::CAP_SETPCAP)
        {
            return Err(failed("give up capabilities for good", error));
        }
    }
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        caps::clear(None, set).map_err(|e| failed("give up capabilities", e))?;
    }
    let now = match &become_user {
        Some(user) => {
            let refused = |e| failed(&format!("become user '{}'", user.name), e);
            setgroups(&[]).map_err(refused)?;
            setgid(user.gid).map_err(refused)?;
            setuid(user.uid).map_err(refused)?;
            format!("runs as user {}", user.name)
        }
        None if root => "runs as root without capabilities".to_owned(),
        None => {
            let name = User::from_uid(Uid::effective()).ok().flatten().map(|user| user.name);
            format!("runs as user {}, as it was started", name.unwrap_or_else(|| "?".into()))
        }
    };
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set).map_err(|e| failed("give up capabilities", e))?;
    }
    prctl::set_no_new_privs().map_err(|e| failed("refuse new privileges", e))?;
    if let Some(user) = become_user
        && (geteuid() != user.uid || setuid(Uid::from_raw(0)).is_ok())
    {
        return Err(failed("leave root behind", "it is still there"));
    }
    let left = caps::read(None, CapSet::Permitted).map_err(|e| failed("see what is left", e))?;
    if !left.is_empty() {
        return Err(failed("give up capabilities", format!("{left:?} are left")));
    }
    Ok(now)
}

fn holds(capability: Capability) -> bool {
    caps::has_cap(None, CapSet::Effective, capability).unwrap_or(true)
}

fn failed(what: &str, why: impl Display) -> Error {
    Error::environment(format!(
        "Cannot {what}: {why}. A daemon with more rights than it needs does not start"
    ))
}
