//! Quantized backends described once, checked by the compiler, and run fast on the CPU.
//!
//! - [`backend_config!`] turns a spec into checked static tables: which operator patterns, with which
//!   dtypes under which constraints, a backend can quantize, and which kernel computes each.
//! - [`backends`] holds PyTorch's, equal to its `BackendConfig`s entry by entry.
//! - [`quantize`] takes a float graph through fuse, prepare, calibrate, convert and lower to a plan.
//! - [`runtime`] runs a plan: one arena, no allocation, from memory or from a file compiled in.
//!
//! A spec and a question to it:
//!
//! ```
//! use qconfig::{Dispatch, QConfig, backend_config};
//! use qconfig::operator::nn;
//!
//! backend_config! {
//!     /// Linear layers in eight bits, and nothing else.
//!     pub backend MINE = "mine";
//!     dtype wt = qint8 { quant in -127..=127 };
//!     config weighted { input: quint8, output: quint8, weight: wt, bias: f32 }
//!     group linear: weighted { kernel => qconfig::kernels::Q8Linear; }
//! }
//!
//! // a graph loaded at run time asks the table
//! let linear = MINE.find(&[<nn::Linear as qconfig::Spelled>::SPELLING]).unwrap();
//! assert!(MINE.verdict(linear, &QConfig::QNNPACK).is_supported());
//!
//! // a model known at compile time asks the types: a missing pair does not compile
//! let kernel = <mine::Backend as Dispatch<nn::Linear, mine::cfg::weighted>>::KERNEL;
//! assert_eq!(kernel.name, "q8_linear");
//! ```
#![forbid(unsafe_code)]

pub use qconfig_core::*;

pub use qconfig_backends as backends;
pub use qconfig_kernels as kernels;
/// Declares a library of operator groups, for `use groups path;` and `group name: ..` of [`backend_config!`].
pub use qconfig_macros::op_groups;
#[cfg(feature = "onnx")]
pub use qconfig_onnx as onnx;
#[cfg(feature = "quantize")]
pub use qconfig_quantize as quantize;
pub use qconfig_runtime as runtime;

/// What `backend_config!` needs to name.
#[doc(hidden)]
pub mod __private {
    pub use qconfig_backends::standard_groups;
    pub use qconfig_core::__private::*;
    pub use qconfig_macros::{backend_config, kernels, op_groups};
}

/// Describes a quantized backend; expands to static tables that the compiler has checked.
///
/// # Statements
/// ```text
/// spec     = backend item*
/// backend  = attrs vis "backend" IDENT "=" STR ["extends" path] ";"
/// item     = attrs ( dtype | config | list | group | pattern | remove | use )
/// dtype    = "dtype" IDENT "=" IDENT [ "{" bound % "," "}" ] ";"
/// bound    = "quant" "in" INT "..=" INT | "scale" (">=" | "<=" | "==") scale | "zero_point" "==" INT
/// scale    = FLOAT | INT "/" INT | INT "^" ["-"] INT | path
/// config   = ["override"] ["dynamic"] "config" IDENT "{" (FIELD ":" IDENT) % "," "}"
/// list     = "list" IDENT "=" configs ";"          configs = IDENT | "[" (IDENT [".."]) % "," "]"
/// group    = "group" path ":" configs ( ";" | "{" clause* "}" )
/// pattern  = ["override"] "pattern" chain % "|" ":" configs ( ";" | "{" clause* "}" )
/// chain    = op % "+" | op "(" (chain | "_" | INT) % "," ")"
/// op       = path | "{" path % "|" "}"
/// clause   = "kernel" [configs] ["for" path % "|"] ("=>" path | "none") ";"
///          | "observe" ":" ("separate" | "shared" | "none") ";"
///          | "observe" "by" "tensor_args" "{" (INT ":" kind) % "," "}"
///          | "args" "{" ("input" | "weight" | "bias") ":" INT % "," "}"
///          | ("fused" | "root" | "qat" | "reference") ":" path ";" | "fuser" ":" IDENT ";"
///          | "fix" IDENT "{" bound % "," "}"
///          | "root_node" ":" "[" INT % "," "]" ";" | "extra_inputs" ":" "[" .. "]" ";"
/// remove   = "remove" "pattern" chain ";"
/// use      = "use" "groups" path ";" | "use" "kernels" IDENT ";"
/// ```
/// Operators are types: `nn::Conv2d`, `F::relu`, `torch::add`, `operator::mul`, `method::relu_`, or any
/// path to a type that implements [`Spelled`]. A single identifier (`conv2d`) is the spelling that
/// PyTorch's users write first. Groups are those of PyTorch's own backends: `conv`, `linear`, `binary`,
/// `cat`, `default_ops`, `fixed_qparams`, `share_qparams`, `tensor_info`, `bn`, `rnn`, `embedding`, `layer_norm`, and
/// of parts `conv2d` and `linear_alone`. `use kernels standard;` binds a kernel to each of their operators.
///
/// # What it makes
/// `pub backend NAME = "name";` makes a static `NAME` of type [`BackendConfig`] and a module `name` with
/// the type `Backend`, on which [`Dispatch`] is implemented for each pair that has a kernel, and one type
/// in `cfg` for each dtype config.
///
/// A mistake is an error on the word that is wrong; everything that is right is still emitted. Write the
/// macro with braces: rustfmt then leaves it as it is.
#[macro_export]
macro_rules! backend_config {
    ($($spec:tt)*) => {
        $crate::__private::standard_groups! {
            [$crate::__private::backend_config]
            [$crate::__private::backend_config] [$crate::__private] { $($spec)* }
        }
    };
}

/// The kernels that a model needs, as a static [`KernelTable`]: a program that loads plans through it links those
/// and no others, and a pair for which the backend has no kernel does not compile.
///
/// ```text
/// table = attrs vis "static" IDENT ":" path ";" row*
/// row   = pattern % "|" "@" configs ";" | "kernel" path ";"
/// ```
/// The path is that of the module that a spec makes, patterns are written as in a spec, and `kernel` rows name what
/// stands between quantized steps.
///
/// ```
/// qconfig::kernels! {
///     /// What a network of convolutions needs.
///     pub static CONVOLUTIONS: qconfig::backends::qnnpack;
///
///     conv2d + relu | conv2d @ weighted_quint8;
///     torch::add @ [default_quint8, default_qint8];
///     kernel qconfig::kernels::Quantize;
///     kernel qconfig::kernels::Dequantize;
/// }
///
/// assert_eq!(CONVOLUTIONS.named("q8_conv").unwrap().name, "q8_conv");
/// assert!(CONVOLUTIONS.named("q8_linear").is_none());
/// ```
#[macro_export]
macro_rules! kernels {
    ($($table:tt)*) => {
        $crate::__private::kernels! { [$crate::__private] { $($table)* } }
    };
}

/// The book: every block of code in it is compiled by the tests.
#[cfg(any(doc, doctest))]
pub mod book {
    #[doc = include_str!("../docs/first_backend.md")]
    pub mod first_backend {}
    #[doc = include_str!("../docs/grammar.md")]
    pub mod grammar {}
    #[doc = include_str!("../docs/diagnostics.md")]
    pub mod diagnostics {}
    #[doc = include_str!("../docs/own_kernel.md")]
    pub mod own_kernel {}
    #[doc = include_str!("../docs/from_pytorch.md")]
    pub mod from_pytorch {}
    #[doc = include_str!("../docs/commands.md")]
    pub mod commands {}
}

/// The README's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
