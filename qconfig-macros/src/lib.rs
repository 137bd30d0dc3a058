//! qconfig-macros
