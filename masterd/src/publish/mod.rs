//! What masterd tells other programs of its machine.

pub mod status;
