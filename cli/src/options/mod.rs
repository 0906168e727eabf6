//! Options that several commands share.

pub mod device;
pub mod group;
pub mod instance;
pub mod ipolicy;
pub mod migration;

use roost_proto::error::Result;
use roost_proto::units;

/// A value parser for `yes` and `no`.
pub fn yes_no(text: &str) -> Result<bool> {
    units::parse_bool(text)
}

/// A value parser for sizes: MiB.
pub fn size(text: &str) -> Result<u64> {
    units::parse_size(text)
}
