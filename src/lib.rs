//! qconfig
