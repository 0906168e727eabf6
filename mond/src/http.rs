//! Serves the reports.
