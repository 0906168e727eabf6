//! What the helper may: less than root, more than nobody.

use caps::{CapSet, Capability};
use roost_proto::error::{Error, Result};
use std::fmt::Display;

/// What its commands need: the device mapper's controls, files of others (to read), memory that stays in memory
/// (LVM), netlink of DRBD.
const KEPT: [Capability; 4] = [
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_DAC_READ_SEARCH,
    Capability::CAP_IPC_LOCK,
    Capability::CAP_NET_ADMIN,
];

/// Gives up everything else, for good, also for what it starts. Errors: not possible.
pub fn give_up() -> Result<()> {
    let kept = KEPT.into_iter().collect();
    // Without this one the bounding set is out of reach; then there is less to give up, too.
    let may = caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).unwrap_or(false);
    for capability in caps::all().difference(&kept).filter(|_| may) {
        // Those that this kernel does not know are no loss.
        if caps::has_cap(None, CapSet::Bounding, *capability).unwrap_or(false) {
            caps::drop(None, CapSet::Bounding, *capability).map_err(failed)?;
        }
    }
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        caps::clear(None, set).map_err(failed)?;
    }
    let have = caps::read(None, CapSet::Permitted).map_err(failed)?;
    let left = have.intersection(&kept).copied().collect();
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &left).map_err(failed)?;
    }
    nix::sys::prctl::set_no_new_privs().map_err(failed)
}

fn failed(why: impl Display) -> Error {
    Error::environment(format!("The helper cannot give up rights it does not need: {why}"))
}
