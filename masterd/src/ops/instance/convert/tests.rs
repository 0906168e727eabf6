//! Plans of conversions.
