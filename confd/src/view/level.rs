//! Where in an object a value is: that says what is left out and what is filled in, as the reference's daemon does.

use roost_proto::published::Space;

/// What a value is in its object: that says what is left out and what is filled in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Level {
    Object(Space),
    /// A list of disks below a disk, and one of them.
    Children,
    Child,
    Nics,
    Nic,
    Name,
    Serial,
    Any,
}

impl Level {
    /// Of the value of a key in this.
    pub fn of(self, key: &str) -> Level {
        match (self, key) {
            (Level::Object(_), "name") => Level::Name,
            (Level::Object(_), "serial_no") => Level::Serial,
            (Level::Object(Space::Disk) | Level::Child, "children") => Level::Children,
            (Level::Object(Space::Instance), "nics") => Level::Nics,
            _ => Level::Any,
        }
    }

    /// Of the values of a list that is this.
    pub fn item(self) -> Level {
        match self {
            Level::Children => Level::Child,
            Level::Nics => Level::Nic,
            _ => Level::Any,
        }
    }

    pub fn is_disk(self) -> bool {
        matches!(self, Level::Child | Level::Object(Space::Disk))
    }

    /// Whether null means that the key is unset.
    pub fn has_optional(self) -> bool {
        matches!(self, Level::Child | Level::Nic | Level::Object(_))
    }

    /// Keys that are there with these values if they are not set.
    pub fn defaults(self) -> &'static [(&'static str, Default)] {
        match self {
            Level::Child | Level::Object(Space::Disk) => &[
                ("children", Default::Array),
                ("nodes", Default::Array),
                ("iv_name", Default::Text("")),
                ("mode", Default::Text("rw")),
            ],
            Level::Object(Space::Instance) => &[
                ("hvparams", Default::Object),
                ("beparams", Default::Object),
                ("osparams", Default::Object),
                ("osparams_private", Default::Object),
                ("nics", Default::Array),
                ("disks", Default::Array),
            ],
            Level::Object(Space::NodeGroup) => &[("members", Default::Array)],
            Level::Object(Space::Cluster) => {
                &[("hv_state_static", Default::Object), ("disk_state_static", Default::Object)]
            }
            _ => &[],
        }
    }
}

/// A value that a key has if it is not set.
#[derive(Clone, Copy, Debug)]
pub enum Default {
    Array,
    Object,
    Text(&'static str),
}
