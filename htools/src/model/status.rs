//! How an instance is.

/// Ganeti's status of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    Running,
    AdminDown,
    AdminOffline,
    ErrorUp,
    ErrorDown,
    ErrorNodeDown,
    ErrorNodeOffline,
    ErrorWrongNode,
    UserDown,
}

impl Status {
    /// All of them.
    pub const ALL: [Status; 9] = [
        Status::Running,
        Status::AdminDown,
        Status::AdminOffline,
        Status::ErrorUp,
        Status::ErrorDown,
        Status::ErrorNodeDown,
        Status::ErrorNodeOffline,
        Status::ErrorWrongNode,
        Status::UserDown,
    ];

    /// Of Ganeti's word.
    pub fn parse(word: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Ganeti's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Running => "running",
            Status::AdminDown => "ADMIN_down",
            Status::AdminOffline => "ADMIN_offline",
            Status::ErrorUp => "ERROR_up",
            Status::ErrorDown => "ERROR_down",
            Status::ErrorNodeDown => "ERROR_nodedown",
            Status::ErrorNodeOffline => "ERROR_nodeoffline",
            Status::ErrorWrongNode => "ERROR_wrongnode",
            Status::UserDown => "USER_down",
        }
    }

    /// Whether it takes memory of its node.
    pub fn uses_memory(self) -> bool {
        !matches!(
            self,
            Status::AdminDown | Status::AdminOffline | Status::ErrorDown | Status::UserDown
        )
    }

    /// Whether its resources are promised to it.
    pub fn online(self) -> bool {
        self != Status::AdminOffline
    }

    /// Whether it is seen to run.
    pub fn running(self) -> bool {
        matches!(self, Status::Running | Status::ErrorUp)
    }
}
