//! What is checked, in the words of the contract.

use std::fmt;

/// A check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    Files,
    Parameters,
    Verify,
    Missing,
    Create,
    Output,
    Twice,
    Size,
    Data,
    CreateAgain,
    SetInfo,
    Open,
    Close,
    Grow,
    Snapshot,
    Detach,
    Keep,
    Remove,
    Gone,
    Refusal,
    Unlisted,
    Time,
    CleanUp,
}

impl Check {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Check::Files => "files",
            Check::Parameters => "parameters",
            Check::Verify => "verify",
            Check::Missing => "missing",
            Check::Create => "create",
            Check::Output => "attach-output",
            Check::Twice => "attach-twice",
            Check::Size => "size",
            Check::Data => "data",
            Check::CreateAgain => "create-again",
            Check::SetInfo => "setinfo",
            Check::Open => "open",
            Check::Close => "close",
            Check::Grow => "grow",
            Check::Snapshot => "snapshot",
            Check::Detach => "detach-twice",
            Check::Keep => "keep",
            Check::Remove => "remove",
            Check::Gone => "gone",
            Check::Refusal => "refusal",
            Check::Unlisted => "unlisted",
            Check::Time => "time",
            Check::CleanUp => "clean-up",
        }
    }

    /// What the contract says about it.
    pub fn contract(self) -> &'static str {
        match self {
            Check::Files => {
                "A provider has the executable files create, attach, detach, remove, grow, setinfo \
                 and verify, and the file parameters.list with a name and a description a line. \
                 snapshot, open and close may be missing; if they are there they are executable."
            }
            Check::Parameters => {
                "Only parameters named in parameters.list are given to scripts: NAME as EXTP_NAME, \
                 in capitals."
            }
            Check::Verify => "verify ends with 0 if the parameters can be used on this node.",
            Check::Missing => {
                "attach fails for a volume that does not exist. This is how a node finds out \
                 whether there is one; it must not make one."
            }
            Check::Create => {
                "create makes the volume VOL_NAME of VOL_SIZE MiB. Scripts get no arguments, no \
                 input, and no environment but PATH and the documented variables; they run in the \
                 provider's directory. 0 means that the volume is there, anything else that it is \
                 not."
            }
            Check::Output => {
                "attach prints the path of an existing block device on the first line of standard \
                 output, or an empty line where there is none; then lines HYPERVISOR:URI, as many \
                 as it likes. Everything else belongs on standard error."
            }
            Check::Twice => {
                "attach of an attached volume succeeds and prints the same: it is called often."
            }
            Check::Size => "The volume has VOL_SIZE MiB at least.",
            Check::Data => "The volume can be written, and what was written can be read.",
            Check::CreateAgain => {
                "create of a volume that exists must not touch its data, whether it fails (better) \
                 or not."
            }
            Check::SetInfo => {
                "setinfo is told whose the volume is (VOL_METADATA) and ends with 0, also if the \
                 storage has no place for it."
            }
            Check::Open => {
                "open allows writing, VOL_OPEN_EXCLUSIVE=True: from here only, False: from another \
                 node, too, while a guest moves. It may be called again with the other word."
            }
            Check::Close => "close forbids writing from this node. open allows it again.",
            Check::Grow => {
                "grow makes an attached volume VOL_NEW_SIZE MiB large; its data stays. The new \
                 size is to be seen at once, or after detach and attach at the latest."
            }
            Check::Snapshot => {
                "snapshot makes VOL_SNAPSHOT_NAME, a volume of its own with the data of VOL_NAME \
                 as of now: it is attached, detached and removed like any other, and what is \
                 written to one is not to be seen in the other."
            }
            Check::Detach => "detach of a volume that is not attached succeeds.",
            Check::Keep => "Data outlives detach and attach.",
            Check::Remove => "remove removes a volume that is not attached, with its data.",
            Check::Gone => {
                "attach fails after remove. A volume that can still be attached takes up space \
                 that nobody knows of."
            }
            Check::Refusal => {
                "A script that did not do what it was asked for ends with another code than 0, and \
                 says why on standard error: grow of a volume that does not exist fails."
            }
            Check::Unlisted => {
                "A variable EXTP_… that the provider does not know does no harm: create makes the \
                 volume, or refuses and leaves nothing."
            }
            Check::Time => {
                "Each script ends in time, and with it all it started that holds its output. A \
                 node kills what takes longer than the provider's timeouts.list says (else: \
                 create, remove, grow and snapshot an hour, all others five minutes)."
            }
            Check::CleanUp => "Nothing that was made is left.",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
