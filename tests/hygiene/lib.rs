//! `backend_config!` in a crate without std, without a prelude, without unsafe code, with its
//! dependency under another name and every lint of rustc and clippy denied.
#![no_std]
#![no_implicit_prelude]
#![forbid(unsafe_code)]
#![deny(
    warnings,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::restriction
)]
#![deny(future_incompatible, nonstandard_style, rust_2018_idioms, unused)]
#![deny(
    absolute_paths_not_starting_with_crate,
    ambiguous_negative_literals,
    closure_returning_async_block,
    deprecated_in_future,
    deref_into_dyn_supertrait,
    elided_lifetimes_in_paths,
    explicit_outlives_requirements,
    ffi_unwind_calls,
    impl_trait_redundant_captures,
    let_underscore_drop,
    macro_use_extern_crate,
    meta_variable_misuse,
    missing_copy_implementations,
    missing_debug_implementations,
    missing_docs,
    non_ascii_idents,
    redundant_imports,
    redundant_lifetimes,
    single_use_lifetimes,
    trivial_casts,
    trivial_numeric_casts,
    unit_bindings,
    unnameable_types,
    unreachable_pub,
    unused_crate_dependencies,
    unused_extern_crates,
    unused_import_braces,
    unused_lifetimes,
    unused_macro_rules,
    unused_qualifications,
    unused_results,
    variant_size_differences
)]
#![allow(
    clippy::blanket_clippy_restriction_lints,
    reason = "all of them is the point here"
)]
#![allow(
    clippy::missing_trait_methods,
    reason = "`#[derive]` sets it off by itself"
)]

/// What the user's crate may call anything.
pub mod core {}

/// Groups of its own.
pub mod groups {
    ::renamed::op_groups! {
        pub groups own_groups;
        /// Two ranks.
        group own {
            ranks 1..=2 { pattern nn::ConvNd + nn::BatchNormNd + nn::ReLU; }
        }
    }
}

::renamed::backend_config! {
    /// A backend.
    pub backend STRICT = "strict";

    /// Activations.
    dtype act = qint8 { scale >= 2^-12 };
    dtype wt = qint8 { scale >= 2^-12, quant in -127..=127 };

    /// Weighted.
    config weighted { input: act, output: act, weight: wt, bias: f32 }
    config plain { input: quint8, output: quint8 }
    dynamic config on_the_fly { input: quint8, output: f32, weight: qint8, bias: f32 }

    use groups crate::groups::own_groups;

    group linear: [weighted, on_the_fly] {
        kernel weighted => ::renamed::kernels::Q8Linear;
        #[cfg(all())]
        kernel on_the_fly => ::renamed::kernels::Q8LinearDynamic;
    }
    group own: weighted {
        kernel for conv2d => ::renamed::kernels::Q8Conv;
        kernel none;
    }
    pattern relu(add(_, conv2d)): plain { kernel none; }
    pattern sigmoid: plain {
        fix quint8 { quant in 0..=255, scale == 1/256, zero_point == 0 }
        kernel none;
    }
}

::renamed::backend_config! {
    /// One that adds to the first.
    pub(crate) backend ADDED = "added" extends crate::STRICT;
    pattern nn::ReLU6: plain { observe: shared; kernel => ::renamed::kernels::Q8Clamp; }
}

use ::renamed::Dispatch;
use ::renamed::operator::nn;

/// A kernel by the types of its pattern and dtype config.
pub const KERNEL: &::renamed::Kernel =
    <strict::Backend as Dispatch<nn::Linear, strict::cfg::weighted>>::KERNEL;

/// The backend that extends the other, at run time.
pub static ALL: &[&::renamed::BackendConfig] = &[&STRICT, &ADDED];
