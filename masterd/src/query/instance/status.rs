//! The status of an instance: what was decided and what is the case, in one word.
//!
//! ```text
//!                               admin: up            down             offline
//!  primary node offline         ERROR_nodeoffline    …                …
//!  primary node out of reach    ERROR_nodedown       …                …
//!  runs on its primary node     running              ERROR_up         ERROR_up
//!  runs elsewhere               ERROR_wrongnode      …                …
//!  shut down from inside        USER_down ¹          ADMIN_down       ADMIN_down
//!  not there                    ERROR_down           ADMIN_down ²     ADMIN_offline
//! ```
//!
//! ¹ if users may do that (cluster, and for kvm the instance's `user_shutdown`), else ERROR_down
//! ² USER_down if a user did that, and may

use roost_proto::choices::{AdminState, AdminStateSource, Hypervisor};
use roost_proto::node::{GuestReport, GuestState};
use roost_proto::objects::{Cluster, Instance};

/// Where an instance is, as far as the nodes tell.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// Its primary node is marked offline: nobody asks it.
    NodeOffline,
    /// Its primary node does not answer.
    NodeDown,
    /// Its primary node has it, in whatever state.
    Here(&'a GuestReport),
    /// It runs on another node.
    Elsewhere,
    /// No node has it.
    Nowhere,
}

/// The status, as Ganeti's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Running,
    AdminDown,
    AdminOffline,
    UserDown,
    ErrorUp,
    ErrorDown,
    ErrorWrongNode,
    ErrorNodeDown,
    ErrorNodeOffline,
}

impl Status {
    /// Ganeti's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Running => "running",
            Status::AdminDown => "ADMIN_down",
            Status::AdminOffline => "ADMIN_offline",
            Status::UserDown => "USER_down",
            Status::ErrorUp => "ERROR_up",
            Status::ErrorDown => "ERROR_down",
            Status::ErrorWrongNode => "ERROR_wrongnode",
            Status::ErrorNodeDown => "ERROR_nodedown",
            Status::ErrorNodeOffline => "ERROR_nodeoffline",
        }
    }
}

/// The status of an instance. `may_shut_down`: its own hypervisor parameters let its user shut it
/// down; asked only where it matters.
pub fn status(
    cluster: &Cluster,
    instance: &Instance,
    place: Place<'_>,
    may_shut_down: impl FnOnce() -> bool,
) -> Status {
    let user_shutdown = cluster.enabled_user_shutdown;
    match (place, instance.admin_state) {
        (Place::NodeOffline, _) => Status::ErrorNodeOffline,
        (Place::NodeDown, _) => Status::ErrorNodeDown,
        (Place::Elsewhere, _) => Status::ErrorWrongNode,
        (Place::Here(guest), admin) if guest.state.is_running() => match admin {
            AdminState::Up => Status::Running,
            AdminState::Down | AdminState::Offline => Status::ErrorUp,
        },
        (Place::Here(guest), admin) if guest.state == GuestState::Shutdown => match admin {
            AdminState::Up
                if user_shutdown && (instance.hypervisor != Hypervisor::Kvm || may_shut_down()) =>
            {
                Status::UserDown
            }
            AdminState::Up => Status::ErrorDown,
            AdminState::Down | AdminState::Offline => Status::AdminDown,
        },
        // One that died or is only being received is not there.
        (Place::Here(_) | Place::Nowhere, admin) => match admin {
            AdminState::Up => Status::ErrorDown,
            AdminState::Down
                if user_shutdown && instance.admin_state_source == AdminStateSource::User =>
            {
                Status::UserDown
            }
            AdminState::Down => Status::AdminDown,
            AdminState::Offline => Status::AdminOffline,
        },
    }
}
