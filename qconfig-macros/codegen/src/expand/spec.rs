//! The tokens of a spec or a library, handed on as a hidden macro, so that `extends`, `use groups`
//! and the wrapper of `backend_config!` can pass them to the next invocation.

use proc_macro2::{Group, Ident, Punct, Spacing, Span, TokenStream, TokenTree};
use quote::{format_ident, quote};
use syn::Visibility;

/// The macro of a backend's spec, of the same name as its static.
pub(crate) fn spec_macro(
    vis: &Visibility,
    ident: &Ident,
    cfgs: &[syn::Attribute],
    tokens: TokenStream,
) -> TokenStream {
    hand_on(vis, ident, cfgs, tokens, "spec")
}

/// The macro of a library of groups.
pub(crate) fn groups_macro(vis: &Visibility, ident: &Ident, tokens: TokenStream) -> TokenStream {
    hand_on(vis, ident, &[], tokens, "groups")
}

fn hand_on(
    vis: &Visibility,
    ident: &Ident,
    cfgs: &[syn::Attribute],
    tokens: TokenStream,
    kind: &str,
) -> TokenStream {
    // macros of a crate share one namespace: the line tells two of the same name apart
    let start = ident.span().start();
    let place = format!(
        "{}_{}_{}",
        hash(&ident.span().file()),
        start.line,
        start.column
    );
    let name = format_ident!("__qconfig_{kind}_{ident}_{place}");
    let export = matches!(vis, Visibility::Public(_)).then(|| quote!(#[macro_export]));
    let tokens = absolute(tokens);
    let dollar = TokenTree::from(Punct::new('$', Spacing::Alone));
    let used = Ident::new(&ident.to_string(), Span::call_site());
    quote! {
        #(#cfgs)*
        #[doc(hidden)]
        #export
        #[allow(unused_macros, clippy::all, clippy::pedantic, clippy::restriction)]
        macro_rules! #name {
            ([#dollar(#dollar callback:tt)*] #dollar(#dollar rest:tt)*) => {
                #dollar(#dollar callback)*! { #dollar(#dollar rest)* { #tokens } }
            };
        }
        #(#cfgs)*
        #[doc(hidden)]
        #[allow(unused_imports, clippy::all, clippy::pedantic, clippy::restriction)]
        #vis use #name as #used;
    }
}

fn hash(text: &str) -> u32 {
    qconfig_core::operator::hash(text)
}

/// `crate::` becomes `$crate::`: in another crate the path must still lead here.
fn absolute(tokens: TokenStream) -> TokenStream {
    let mut out = TokenStream::new();
    for token in tokens {
        match token {
            TokenTree::Ident(ident) if ident == "crate" => {
                out.extend([TokenTree::from(Punct::new('$', Spacing::Alone))]);
                out.extend([TokenTree::from(ident)]);
            }
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), absolute(group.stream()));
                inner.set_span(group.span());
                out.extend([TokenTree::from(inner)]);
            }
            other => out.extend([other]),
        }
    }
    out
}
