//! A model to Rust. What comes out is data: struct literals in a static, marker types, and consts that
//! call the checks of `qconfig-core`.

use proc_macro2::{Ident, Literal, Span, TokenStream, TokenTree};
use quote::{format_ident, quote};
use syn::Attribute;

use crate::diag::Diags;
use crate::model::Model;

mod asserts;
mod docs;
mod kernels;
mod ops;
mod spec;
mod tables;
mod types;

pub(crate) use kernels::table as kernel_table;
pub(crate) use spec::{groups_macro, spec_macro};

/// What every part of the expansion needs.
pub(crate) struct Names {
    /// The path to `__private`.
    pub(crate) root: TokenStream,
    /// `qnnpack`: the module beside the static.
    pub(crate) module: Ident,
}

impl Names {
    fn new(root: TokenStream, backend: &Ident) -> Self {
        let module = backend.to_string().to_lowercase();
        Self {
            root,
            module: Ident::new(&module, backend.span()),
        }
    }

    /// `use <root> as __q;`: opens a block, inside which `__q::` is `qconfig_core::__private`.
    fn import(&self) -> TokenStream {
        let root = &self.root;
        quote!(use #root as __q;)
    }

    /// `qnnpack::cfg::weighted_qint8`
    fn config(&self, ident: &Ident) -> TokenStream {
        let module = self.module_at_call_site();
        let ident = Ident::new(&ident.to_string(), Span::call_site());
        quote!(#module::cfg::#ident)
    }

    /// `qnnpack::Backend`
    fn backend(&self) -> TokenStream {
        let module = self.module_at_call_site();
        quote!(#module::Backend)
    }

    /// `qnnpack::Backend::KERNEL_0`
    fn kernel(&self, index: usize) -> TokenStream {
        let backend = self.backend();
        let name = format_ident!("KERNEL_{index}");
        quote!(#backend::#name)
    }

    fn module_at_call_site(&self) -> Ident {
        Ident::new(&self.module.to_string(), Span::call_site())
    }
}

/// The whole expansion of a backend, errors apart.
pub fn expand(model: &Model, root: TokenStream, diags: &Diags) -> TokenStream {
    let names = Names::new(root, &model.ident);
    let table = tables::table(model, &names);
    let module = types::module(model, &names);
    let dispatch = types::dispatch(model, &names);
    let asserts = asserts::asserts(model, &names);
    let lints = asserts::lints(diags, &model.attrs.cfgs);
    quote! {
        #table
        #module
        #dispatch
        #asserts
        #lints
    }
}

/// The lints that generated items would set off in a crate that denies them all.
fn allow() -> TokenStream {
    quote! {
        #[allow(
            non_camel_case_types, non_upper_case_globals, missing_debug_implementations,
            missing_copy_implementations, unreachable_pub, unused_qualifications, dead_code,
            clippy::all, clippy::pedantic, clippy::nursery, clippy::restriction, clippy::cargo
        )]
    }
}

/// What stands in the parentheses of `#[cfg(..)]`.
fn condition(cfg: &Attribute) -> TokenStream {
    match &cfg.meta {
        syn::Meta::List(list) => list.tokens.clone(),
        _ => quote!(all()),
    }
}

/// `all(a, b)`
fn all<'a>(cfgs: impl IntoIterator<Item = &'a Attribute>) -> TokenStream {
    let conditions = cfgs.into_iter().map(condition);
    quote!(all(#(#conditions),*))
}

/// Several lists of `cfg`s as attributes, each once.
fn cfgs<'a>(lists: impl IntoIterator<Item = &'a [Attribute]>) -> TokenStream {
    let mut said: Vec<String> = Vec::new();
    let mut tokens = TokenStream::new();
    for cfg in lists.into_iter().flatten() {
        let text = condition(cfg).to_string();
        if !said.contains(&text) {
            said.push(text);
            tokens.extend(quote!(#cfg));
        }
    }
    tokens
}

/// `__q::Origin { file: "backends/qnnpack.rs", line: 12 }`
fn origin(span: Span) -> TokenStream {
    let file = span.file();
    let line = Literal::u32_unsuffixed(u32::try_from(span.start().line).unwrap_or_default());
    quote!(__q::Origin { file: #file, line: #line })
}

/// `__q::Some(..)` or `__q::None`
fn option(value: Option<TokenStream>) -> TokenStream {
    match value {
        Some(value) => quote!(__q::Some(#value)),
        None => quote!(__q::None),
    }
}

/// The same tokens at another place; every name is resolved as the place's are.
fn at_span(tokens: TokenStream, span: Span) -> TokenStream {
    tokens
        .into_iter()
        .map(|mut token| {
            if let TokenTree::Group(group) = &token {
                let inner = at_span(group.stream(), span);
                let mut group = proc_macro2::Group::new(group.delimiter(), inner);
                group.set_span(span);
                return group.into();
            }
            token.set_span(span);
            token
        })
        .collect()
}
