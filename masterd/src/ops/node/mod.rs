//! Opcodes about the node.
