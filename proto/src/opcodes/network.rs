//! Opcodes about networks.

use super::define::opcodes;
use crate::choices::NicMode;

opcodes! {
    /// Makes a network.
    struct NetworkAdd = "OP_NETWORK_ADD", summary network_name;
    required {
        network_name: String,
        /// IPv4, as `192.0.2.0/24`.
        network: String,
    }
    optional {
        gateway: Option<String> = None,
        network6: Option<String> = None,
        gateway6: Option<String> = None,
        mac_prefix: Option<String> = None,
        /// Addresses no instance shall get.
        add_reserved_ips: Option<Vec<String>> = None,
        /// Also reserve the nodes' and the master's addresses.
        conflicts_check: bool = true,
        tags: Vec<String> = Vec::new(),
    }

    /// Removes a network that no group is connected to.
    struct NetworkRemove = "OP_NETWORK_REMOVE", summary network_name;
    required { network_name: String }
    optional { force: bool = false }

    /// Gives a network another name. Result: the name.
    struct NetworkRename = "OP_NETWORK_RENAME";
    required {
        network_name: String,
        new_name: String,
    }

    /// Changes a network; absent settings stay, `none` clears.
    struct NetworkSetParams = "OP_NETWORK_SET_PARAMS", summary network_name;
    required { network_name: String }
    optional {
        gateway: Option<String> = None,
        network6: Option<String> = None,
        gateway6: Option<String> = None,
        mac_prefix: Option<String> = None,
        add_reserved_ips: Option<Vec<String>> = None,
        remove_reserved_ips: Option<Vec<String>> = None,
    }

    /// Says how the nodes of a group reach a network.
    struct NetworkConnect = "OP_NETWORK_CONNECT", summary network_name;
    required {
        group_name: String,
        network_name: String,
        network_mode: NicMode,
        network_link: String,
    }
    optional {
        network_vlan: String = String::new(),
        /// Refuse if an instance already uses an address of the network.
        conflicts_check: bool = true,
    }

    /// The opposite.
    struct NetworkDisconnect = "OP_NETWORK_DISCONNECT", summary network_name;
    required {
        group_name: String,
        network_name: String,
    }
}
