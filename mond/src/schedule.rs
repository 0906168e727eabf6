//! When which collector works, and the last report of each.
