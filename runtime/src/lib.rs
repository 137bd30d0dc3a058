//! qconfig-runtime
