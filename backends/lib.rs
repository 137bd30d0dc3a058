//! What each backend says: a spec a file, and the operator groups that they share.
#![forbid(unsafe_code)]
#![no_std]

use qconfig_core::BackendConfig;
/// Where the specs find kernels, and where specs that extend them find them too.
#[doc(hidden)]
pub use qconfig_kernels as kernels;

mod groups;

/// A file of this folder for each backend; its module has another name, as the spec makes one of its own.
macro_rules! specs {
    ($($file:literal $module:ident: $ident:ident $name:ident;)*) => {
        $(
            #[path = $file]
            mod $module;
            pub use $module::{$ident, $name};
        )*
        /// Every backend.
        pub static ALL: &[&BackendConfig] = &[$(&$ident),*];
    };
}

/// The library of groups that every `backend_config!` has.
#[doc(hidden)]
pub use groups::standard_groups;

/// The library's source: tools that read and write specs need it.
#[doc(hidden)]
pub const GROUPS: &str = include_str!("groups.rs");

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

specs! {
    "qnnpack.rs" qnnpack_spec: QNNPACK qnnpack;
    "fbgemm.rs" fbgemm_spec: FBGEMM fbgemm;
    "x86.rs" x86_spec: X86 x86;
    "onednn.rs" onednn_spec: ONEDNN onednn;
    "executorch.rs" executorch_spec: EXECUTORCH executorch;
    "tensorrt.rs" tensorrt_spec: TENSORRT tensorrt;
    "native.rs" native_spec: NATIVE native;
    "native_and_fp16.rs" native_and_fp16_spec: NATIVE_AND_FP16 native_and_fp16;
    "qnnpack_pt2e.rs" qnnpack_pt2e_spec: QNNPACK_PT2E qnnpack_pt2e;
}
