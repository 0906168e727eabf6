//! Runs commands: the one place that does.
