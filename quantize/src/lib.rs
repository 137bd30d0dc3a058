//! qconfig-quantize
