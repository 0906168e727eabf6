//! Asks several daemons and says what the cluster knows.
