//! Opcodes about the group.
