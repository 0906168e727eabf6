//! Plans that make a placement better.

mod greedy;
mod options;

pub use greedy::{Greedy, Step};
pub use options::Options;
