//! Reports on this machine over HTTP, also while masterd and confd are away.
//!
//! ```text
//!   confd ══► settings ─► schedule ─► collectors ─► reports (kept) ─► http ══► whoever polls
//!                                        │ files, commands; what only root may see: helper
//! ```

pub mod certificates;
pub mod check;
pub mod clock;
pub mod collector;
pub mod collectors;
pub mod command;
pub mod exec;
pub mod exposition;
pub mod helper;
pub mod http;
pub mod metrics;
pub mod plugins;
pub mod report;
pub mod schedule;
pub mod settings;
pub mod world;
