//! What each backend says: a spec a file, and the operator groups that they share.
#![forbid(unsafe_code)]
#![no_std]

use qconfig_core::BackendConfig;
/// Where the specs find kernels, and where specs that extend them find them too.
#[doc(hidden)]
pub use qconfig_kernels as kernels;

mod groups;
#[path = "qnnpack.rs"]
mod qnnpack_spec;

/// The library of groups that every `backend_config!` has.
#[doc(hidden)]
pub use groups::standard_groups;
pub use qnnpack_spec::{QNNPACK, qnnpack};

/// Every backend.
pub static ALL: &[&BackendConfig] = &[&QNNPACK];

/// What `qconfig::backend_config!` is outside this crate.
macro_rules! backend_config {
    ($($spec:tt)*) => {
        $crate::groups::standard_groups! {
            [::qconfig_macros::backend_config]
            [::qconfig_macros::backend_config] [::qconfig_core::__private] { $($spec)* }
        }
    };
}
use backend_config;
