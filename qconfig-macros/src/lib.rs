//! The procedural macros of qconfig; everything they do is in `qconfig-codegen`.
use proc_macro::TokenStream;

/// What `qconfig::backend_config!` calls, with the path to `__private` and the standard groups.
#[doc(hidden)]
#[proc_macro]
pub fn backend_config(input: TokenStream) -> TokenStream {
    qconfig_codegen::backend_config(input.into()).into()
}

/// Declares a library of operator groups for `group` statements of `backend_config!`.
#[proc_macro]
pub fn op_groups(input: TokenStream) -> TokenStream {
    qconfig_codegen::op_groups(input.into()).into()
}

/// What `qconfig::kernels!` calls, with the path to `__private`.
#[doc(hidden)]
#[proc_macro]
pub fn kernels(input: TokenStream) -> TokenStream {
    qconfig_codegen::kernels(input.into()).into()
}
