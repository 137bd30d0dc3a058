//! Checks that rustc makes when it compiles the expansion, and lints that it shows.

use std::collections::HashSet;

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::Attribute;

use super::{Names, allow, at_span, cfgs, docs::family, ops};
use crate::ast::{PatternKind, path_place, path_text};
use crate::diag::{Diags, Lint, Place};
use crate::model::Model;

/// Kernels take the configs they are bound to, chains can be fused, constants are scales.
pub(super) fn asserts(model: &Model, names: &Names) -> TokenStream {
    let mut checks = TokenStream::new();
    kernels(model, names, &mut checks);
    for pattern in &model.patterns {
        let PatternKind::Chain(chain) = &pattern.expr.kind else {
            continue;
        };
        if pattern.checked || chain.len() < 2 {
            continue;
        }
        let types = chain.iter().map(ops::ty);
        let call = call(
            pattern.expr.at,
            quote!(__q::check::chain),
            quote!(&[#(<#types as __q::Spelled>::SPELLING),*]),
        );
        let cfgs = cfgs([pattern.cfgs.as_slice()]);
        checks.extend(quote!(#cfgs const _: () = #call;));
    }
    for path in &model.constants {
        let text = path_text(path);
        let call = call(
            path_place(path),
            quote!(__q::check::scale),
            quote!(#text, #path),
        );
        checks.extend(quote!(const _: () = #call;));
    }
    if checks.is_empty() {
        return checks;
    }
    let (allow, import, on_backend) = (allow(), names.import(), &model.attrs.cfgs);
    quote! {
        #(#on_backend)*
        #allow
        const _: () = {
            #import
            #checks
        };
    }
}

/// Each kernel against each config it is bound to, once.
fn kernels(model: &Model, names: &Names, checks: &mut TokenStream) {
    let mut done: HashSet<(usize, usize, bool, String)> = HashSet::new();
    for pattern in &model.patterns {
        let weighted = pattern
            .head()
            .and_then(|head| head.spelling())
            .is_none_or(|head| head.operator.has_weight());
        for (found, bindings) in pattern.refs.iter().zip(&pattern.bindings) {
            let config = &model.configs[found.config];
            if config.broken {
                continue;
            }
            for binding in bindings {
                let Some(kernel) = binding.kernel else {
                    continue;
                };
                let cfgs = cfgs([
                    pattern.cfgs.as_slice(),
                    &found.cfgs,
                    &config.attrs.cfgs,
                    &binding.cfgs,
                ]);
                if !done.insert((kernel, found.config, weighted, cfgs.to_string())) {
                    continue;
                }
                let text = family(&model.kernels[kernel].text);
                let (value, ty) = (names.kernel(kernel), names.config(&config.ident));
                let call = call(
                    binding.at,
                    quote!(__q::check::kernel),
                    at_span(
                        quote!(#text, #value, &#ty::CONFIG, #weighted),
                        binding.at.first,
                    ),
                );
                checks.extend(quote!(#cfgs const _: () = #call;));
            }
        }
    }
}

/// A call that rustc shows at `at`.
fn call(at: Place, function: TokenStream, arguments: TokenStream) -> TokenStream {
    let function = at_span(function, at.first);
    let arguments = quote_spanned!(at.last=> (#arguments));
    quote!(#function #arguments)
}

/// Lints as the use of deprecated constants.
pub(super) fn lints(diags: &Diags, on_backend: &[Attribute]) -> TokenStream {
    diags
        .lints()
        .iter()
        .map(|Lint { name, diag }| {
            let note = format!("\n{}", diag.text());
            let declared = Ident::new(name, proc_macro2::Span::call_site());
            let used = Ident::new(name, diag.at.first);
            let on_backend = on_backend.iter();
            quote! {
                #(#on_backend)*
                const _: () = {
                    #[deprecated(note = #note)]
                    #[allow(non_upper_case_globals)]
                    const #declared: () = ();
                    const _: () = #used;
                };
            }
        })
        .collect()
}
