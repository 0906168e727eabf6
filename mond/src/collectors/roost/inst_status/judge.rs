//! What the state of a guest means: whether it hangs, whether it is as it should be, and what to do about it.

use super::Found;
use crate::collectors::inst_status::ActualState;
use crate::collectors::roost::libvirt::{Domain, State, reason};
use crate::collectors::roost::proc;
use crate::report::{Code, Health};
use crate::world::Guest;
use std::time::Duration;

/// For how long a guest may be here before its configuration says so: migrations end with that, and confd is asked
/// every few seconds only.
const ARRIVING: Duration = Duration::from_secs(60);
/// A QEMU that has not answered for so long hangs, whatever its processors do.
const SILENT: Duration = Duration::from_secs(60);
/// Two looks that tell whether a guest uses its processors are at least this far apart.
const APART: Duration = Duration::from_secs(3);

/// Why a guest hangs; None: it does not, as far as can be seen.
pub fn hangs(found: &Found<'_>) -> Option<String> {
    if let Some(process) = &found.process
        && process.stat.is_stopped()
    {
        return Some("a signal or a debugger has stopped its process".into());
    }
    let (since, cpu_then) = found.seen.silent.filter(|_| found.domain.answered == Some(false))?;
    let silent = found.at.duration_since(since);
    let idle = cpu_then.is_some() && cpu_then == found.domain.cpu_time;
    let time = proc::about(silent.as_secs_f64());
    if silent >= SILENT {
        return Some(format!("its QEMU has not answered for {time}"));
    }
    (idle && silent >= APART)
        .then(|| format!("its QEMU has neither answered nor done anything for {time}"))
}

/// The state, by the words of the reference.
pub fn actual_state(found: &Found<'_>) -> ActualState {
    let domain = found.domain;
    match domain.state {
        State::Running | State::Blocked | State::Unknown if hangs(found).is_some() => {
            ActualState::Hung
        }
        State::Running => ActualState::Running,
        State::Blocked => ActualState::Blocked,
        State::Paused if domain.reason == reason::PAUSED_CRASHED => ActualState::Crashed,
        State::Paused | State::Asleep => ActualState::Paused,
        State::Ending => ActualState::Dying,
        State::Off => ActualState::Shutdown,
        State::Crashed => ActualState::Crashed,
        State::Unknown => ActualState::Unknown,
    }
}

/// Whether a paused guest is so for a moment, by the work of somebody.
fn is_passing(domain: &Domain) -> bool {
    let passing = [
        reason::PAUSED_MIGRATION,
        reason::PAUSED_SAVE,
        reason::PAUSED_DUMP,
        reason::PAUSED_SNAPSHOT,
        reason::PAUSED_STARTING_UP,
        reason::PAUSED_POSTCOPY,
    ];
    domain.state == State::Paused && passing.contains(&domain.reason)
}

/// Judges an instance whose primary node this is: the reference's rules and sentences, and what to do. `left`: it
/// was here a moment ago.
pub fn judge(guest: &Guest, found: Option<&Found<'_>>, left: bool) -> Health {
    let name = &guest.name;
    match guest.admin_state.as_str() {
        "up" if found.is_none() && left => Health::new(
            Code::Unknown,
            "Its guest was here a moment ago and is gone: it will be seen whether it was migrated, \
             starts anew, or has ended",
        ),
        "up" => judge_up(name, found),
        "down" => match found.map(|found| (found.domain.state, found)) {
            None | Some((State::Off | State::Ending, _)) => Health::ok(),
            Some(_) => Health::new(
                Code::Bad,
                format!(
                    "The instance is not stopped as it should be: stop it with 'gnt-instance \
                     shutdown {name}', or let it run with 'gnt-instance start {name}'"
                ),
            ),
        },
        "offline" => Health::new(Code::Unknown, "The instance is marked as offline"),
        other => Health::new(Code::Unknown, format!("'{other}' is no state that is known here")),
    }
}

fn judge_up(name: &str, found: Option<&Found<'_>>) -> Health {
    let bad = |why: String| {
        Health::new(Code::Bad, format!("The instance is not running as it should be: {why}"))
    };
    let start = format!("start it with 'gnt-instance start {name}'");
    let Some(found) = found else {
        return bad(format!("there is no guest of it on this node; {start}"));
    };
    if let (ActualState::Hung, Some(why)) = (actual_state(found), hangs(found)) {
        let message = format!(
            "Instance marked as running, but it appears to be hung: {why}. See whether its storage \
             answers; 'gnt-instance reboot --type=hard {name}' starts it anew"
        );
        return Health::new(Code::Unknown, message);
    }
    let domain = found.domain;
    match domain.state {
        State::Running | State::Blocked => Health::ok(),
        _ if is_passing(domain) => {
            Health::new(Code::Fixing, "It is paused while it is moved, saved or started")
        }
        State::Paused => match domain.reason {
            reason::PAUSED_IOERROR => bad(format!(
                "it was paused because a disk of it failed. Mend the disk ('gnt-instance \
                 info {name}' shows it), then 'virsh resume {name}' on this node"
            )),
            reason::PAUSED_CRASHED => {
                bad(format!("its system crashed; 'gnt-instance reboot {name}'"))
            }
            reason::PAUSED_POSTCOPY_FAILED => bad(format!(
                "its migration broke while part of its memory was on the other node. If that node \
                 is lost, 'gnt-instance reboot --type=hard {name}' starts it anew"
            )),
            _ => bad(format!("it is paused; 'virsh resume {name}' on this node lets it go on")),
        },
        State::Asleep => bad(format!(
            "its system has put itself to sleep; 'virsh dompmwakeup {name}' on this node wakes it"
        )),
        State::Ending => bad(format!("it is shutting down; when it has, {start}")),
        State::Off => bad(format!("it has ended; {start}")),
        State::Crashed => bad(format!("it crashed; {start}")),
        State::Unknown => Health::new(
            Code::Unknown,
            "libvirt does not know what it does: see libvirt's log on this node",
        ),
    }
}

/// Judges an instance that is here although another node is its primary.
pub fn judge_stranger(found: &Found<'_>) -> Health {
    let is_new = found.at.duration_since(found.seen.since) < ARRIVING;
    if is_new || is_passing(found.domain) {
        return Health::new(
            Code::Unknown,
            "It has just come here: if it was migrated, its configuration will say so in a moment",
        );
    }
    Health::new(
        Code::Bad,
        "The instance runs here, but its primary node is another: if it runs there too, its disks \
         are in danger. 'gnt-cluster verify' shows both; 'virsh destroy' ends the one that is wrong",
    )
}
