//! Opcodes about the cluster.
