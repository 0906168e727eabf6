//! Reconcilers: what must stay true is looked at again and again.
//!
//! They take no input but "look again"; what they find wrong they mend by submitting jobs. The one
//! exception is what follows from the configuration and is only copied ([`ssconf`], and trusted
//! authorities and shared secrets in [`certificates`]).

pub mod certificates;
pub mod ssconf;
pub mod store_settings;
