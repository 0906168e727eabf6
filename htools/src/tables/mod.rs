//! What people are shown of a placement: tables of nodes, of instances, of the score's terms.
//!
//! ```text
//!   Placement ─► nodes, instances, score ─► Table (cells of text) ─► Table::render: aligned columns
//! ```
//!
//! The layouts are the reference's, to the last blank; scripts cut them into pieces.

mod instances;
mod layout;
mod nodes;
mod number;
mod score;

pub use instances::instances;
pub use layout::Table;
pub use nodes::{NodeField, columns, nodes};
pub use number::{decimals, general};
pub use score::score;
