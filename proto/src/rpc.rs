//! Generated from `proto/*.proto`: messages, clients and servers.

#![allow(missing_debug_implementations, clippy::all, reason = "generated code")]

/// masterd ↔ noded, and noded ↔ noded.
pub mod node {
    tonic::include_proto!("roost.node.v1");
}

/// Clients ↔ masterd.
pub mod master {
    tonic::include_proto!("roost.master.v1");
}

/// masterd ↔ masterd.
pub mod replica {
    tonic::include_proto!("roost.replica.v1");
}
