//! qconfig-codegen
