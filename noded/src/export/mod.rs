//! Exports of instances on this node, and imports.

mod directory;

pub use directory::list;
