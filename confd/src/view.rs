//! The configuration in memory, in a form that answers without searching.
