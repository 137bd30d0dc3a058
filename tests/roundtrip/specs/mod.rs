//! The specs that `qconfig import` writes, compiled.

use qconfig::BackendConfig;

/// A dump and the spec that it becomes.
pub struct Case {
    /// The spec's file.
    pub name: &'static str,
    /// The dump, in `tests/golden`.
    pub dump: &'static str,
    /// The spec's text.
    pub spec: &'static str,
    /// What the compiler made of it.
    pub backend: &'static BackendConfig,
}

macro_rules! cases {
    ($($name:ident $backend:ident $dump:literal;)*) => {
        $(pub mod $name;)*
        /// Every dump.
        pub const CASES: &[Case] = &[$(Case {
            name: stringify!($name),
            dump: $dump,
            spec: include_str!(concat!(stringify!($name), ".rs")),
            backend: &$name::$backend,
        }),*];
    };
}

cases! {
    qnnpack QNNPACK "backends/qnnpack.json.gz";
    fbgemm FBGEMM "backends/fbgemm.json.gz";
    x86 X86 "backends/x86.json.gz";
    onednn ONEDNN "backends/onednn.json.gz";
    executorch EXECUTORCH "backends/executorch.json.gz";
    tensorrt TENSORRT "backends/tensorrt.json.gz";
    native NATIVE "backends/native.json.gz";
    native_and_fp16 NATIVE_AND_FP16 "backends/native_and_fp16.json.gz";
    qnnpack_pt2e QNNPACK_PYTORCH_2_0_EXPORT "backends/qnnpack_pt2e.json.gz";
    accelerator ACCELERATOR "invented/accelerator.json";
    empty BACKEND_7_BITS "invented/empty.json";
    fixed FIXED "invented/fixed.json";
    nested NESTED "invented/nested.json";
    odd ODD_ONE "invented/odd.json";
    own_operators OWN_OPERATORS "invented/own_operators.json";
    several SEVERAL "invented/several.json";
}
