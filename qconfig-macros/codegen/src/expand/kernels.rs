//! A table of the kernels that a model needs.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};

use super::ops;
use crate::ast::{KernelRow, KernelTable, path_place};

/// A static whose cells name their pairs by type: a pair without a kernel does not compile, and no kernel is linked
/// that has no row.
pub(crate) fn table(table: &KernelTable, root: &TokenStream) -> TokenStream {
    let (docs, cfgs, allows) = (&table.attrs.docs, &table.attrs.cfgs, &table.attrs.allows);
    let (vis, ident, backend) = (&table.vis, &table.ident, &table.backend);
    let cells = table.rows.iter().map(|row| match row {
        KernelRow::Pairs(patterns, configs) => {
            let cells = patterns.iter().flat_map(|pattern| {
                let ty = ops::pattern_type(&pattern.kind);
                configs.iter().map(move |config| {
                    quote_spanned! {pattern.at.first=>
                        <__b::Backend as __q::Dispatch<#ty, __b::cfg::#config>>::KERNEL,
                    }
                })
            });
            quote!(#(#cells)*)
        }
        KernelRow::Family(path) => {
            quote_spanned!(path_place(path).first=> <#path as __q::KernelFamily>::KERNEL,)
        }
    });
    quote! {
        #(#docs)*
        #(#cfgs)*
        #(#allows)*
        #vis static #ident: #root::KernelTable = {
            use #root as __q;
            #[allow(unused_imports)]
            use #backend as __b;
            __q::KernelTable::new(&[#(#cells)*])
        };
    }
}
