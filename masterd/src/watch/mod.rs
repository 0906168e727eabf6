//! Reconcilers: what must stay true is looked at again and again.
//!
//! They take no input but "look again"; what they find wrong they mend by submitting jobs. The one
//! exception is what is derived from the configuration and only copied ([`ssconf`]).

pub mod ssconf;
