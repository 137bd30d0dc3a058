//! The type-level form: a module of marker types, and `Dispatch` for every bound pair.

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Attribute;

use super::{Names, all, allow, at_span, cfgs, docs, ops, option, origin};
use crate::ast::{Scale, ScaleValue};
use crate::model::{ConfigModel, DTypeModel, Model};

/// `pub mod qnnpack { pub struct Backend; pub mod cfg { .. } }`
pub(super) fn module(model: &Model, names: &Names) -> TokenStream {
    let allow = allow();
    let (vis, module) = (&model.vis, &names.module);
    let on_backend = &model.attrs.cfgs;
    let about = format!(
        "The backend `{}` at the type level: `<Backend as Dispatch<Pattern, Config>>::KERNEL`.",
        model.name.value()
    );
    let markers = model.configs.iter().map(|config| {
        let ident = &config.ident;
        let (docs, allows) = (&config.attrs.docs, &config.attrs.allows);
        let cfgs = cfgs([config.attrs.cfgs.as_slice()]);
        let line = docs::config(config);
        quote! {
            #(#docs)*
            #[doc = #line]
            #cfgs
            #(#allows)*
            pub struct #ident;
        }
    });
    quote! {
        #[doc = #about]
        #(#on_backend)*
        #allow
        #vis mod #module {
            #[doc = #about]
            pub struct Backend;
            #[doc = "The dtype configs, each as a type; `CONFIG` is its value."]
            pub mod cfg {
                #(#markers)*
            }
        }
    }
}

/// Values of the dtype configs, kernels, and the dispatch itself, where the user's paths resolve.
pub(super) fn dispatch(model: &Model, names: &Names) -> TokenStream {
    let allow = allow();
    let import = names.import();
    let on_backend = &model.attrs.cfgs;
    let configs = model.configs.iter().map(|config| {
        let ty = names.config(&config.ident);
        let cfgs = cfgs([config.attrs.cfgs.as_slice()]);
        let value = config_value(config);
        quote! {
            #cfgs
            impl #ty {
                /// What the config says.
                pub const CONFIG: __q::DTypeConfig = #value;
            }
        }
    });
    let backend = names.backend();
    let kernels = model.kernels.iter().enumerate().map(|(i, kernel)| {
        let name = format_ident!("KERNEL_{i}");
        let path = &kernel.path;
        let cfg = kernel_condition(&kernel.conditions).map(|condition| quote!(#[cfg(#condition)]));
        quote! {
            #cfg
            #[doc(hidden)]
            pub const #name: &'static __q::Kernel = <#path as __q::KernelFamily>::KERNEL;
        }
    });
    let pairs = pairs(model, names);
    quote! {
        #(#on_backend)*
        #allow
        const _: () = {
            #import
            #(#configs)*
            impl #backend {
                #(#kernels)*
            }
            #pairs
        };
    }
}

/// Under which condition a kernel is bound at all; `None` is always.
pub(super) fn kernel_condition(conditions: &[Vec<Attribute>]) -> Option<TokenStream> {
    if conditions.is_empty() {
        return None;
    }
    let conditions = conditions.iter().map(all);
    Some(quote!(any(#(#conditions),*)))
}

fn pairs(model: &Model, names: &Names) -> TokenStream {
    let backend = names.backend();
    let mut tokens = TokenStream::new();
    for pattern in &model.patterns {
        let ty = ops::pattern_type(&pattern.expr.kind);
        for (found, bindings) in pattern.refs.iter().zip(&pattern.bindings) {
            let config = names.config(&model.configs[found.config].ident);
            let outer = cfgs([
                pattern.cfgs.as_slice(),
                &found.cfgs,
                &model.configs[found.config].attrs.cfgs,
            ]);
            let mut before: Vec<TokenStream> = Vec::new();
            for binding in bindings {
                let own = all(&binding.cfgs);
                if let Some(kernel) = binding.kernel {
                    let kernel = names.kernel(kernel);
                    let mut cfg = TokenStream::new();
                    if !(before.is_empty() && binding.cfgs.is_empty()) {
                        cfg = quote!(#[cfg(all(#own #(, not(#before))*))]);
                    }
                    tokens.extend(quote! {
                        #outer
                        #cfg
                        impl __q::Dispatch<#ty, #config> for #backend {
                            const KERNEL: &'static __q::Kernel = #kernel;
                        }
                    });
                }
                before.push(own);
            }
        }
    }
    tokens
}

/// A dtype config as a struct literal.
fn config_value(config: &ConfigModel) -> TokenStream {
    let name = config.ident.to_string();
    let dynamic = config.dynamic;
    let dtype = |dtype: &Option<DTypeModel>| dtype.as_ref().map(dtype_value);
    let fields = [
        ("input", dtype(&config.input)),
        ("output", dtype(&config.output)),
        ("weight", dtype(&config.weight)),
        ("bias", config.bias.as_ref().map(base_value)),
    ];
    let misspelt = !config.unknown.is_empty();
    let fields = fields.into_iter().filter_map(|(field, value)| {
        // rustc proposes only fields that are not given
        if misspelt && value.is_none() {
            return None;
        }
        let (field, value) = (format_ident!("{field}"), option(value));
        Some(quote!(#field: #value,))
    });
    // fields that do not exist are written as the user wrote them: rustc knows what is near
    let unknown = config.unknown.iter().map(|(field, dtype)| {
        let dtype = dtype_value(dtype);
        quote_spanned!(field.span()=> #field: __q::Some(#dtype),)
    });
    let rest = misspelt.then(|| {
        let float = quote!(__q::DType::float32);
        quote!(..__q::DTypeConfig::new(#name, #float, #float))
    });
    let origin = origin(config.ident.span());
    let fields = quote! {
        name: #name,
        #(#fields)*
        is_dynamic: #dynamic,
        origin: #origin,
        #(#unknown)*
        #rest
    };
    if misspelt {
        // rustc proposes fields only for a literal that is the user's own
        let at = config.ident.span();
        let ty = at_span(quote!(__q::DTypeConfig), at);
        let fields = quote_spanned!(at=> { #fields });
        return quote!(#ty #fields);
    }
    quote!(__q::DTypeConfig { #fields })
}

/// `__q::DType::qint8`, the user's word where the macro does not know it.
fn base_value(dtype: &DTypeModel) -> TokenStream {
    let base = match dtype.dtype {
        Some(known) => proc_macro2::Ident::new(known.name(), dtype.base.span()),
        None => dtype.base.clone(),
    };
    quote!(__q::DType::#base)
}

/// A dtype with its bounds as a struct literal.
pub(super) fn dtype_value(dtype: &DTypeModel) -> TokenStream {
    let base = base_value(dtype);
    let mut bounds = TokenStream::new();
    if let Some((min, max)) = dtype.quant {
        let (min, max) = (Literal::i64_unsuffixed(min), Literal::i64_unsuffixed(max));
        bounds.extend(quote! {
            quant_min_lower_bound: __q::Some(#min),
            quant_max_upper_bound: __q::Some(#max),
        });
    }
    let scales = [
        ("scale_min_lower_bound", &dtype.scale_min),
        ("scale_max_upper_bound", &dtype.scale_max),
        ("scale_exact_match", &dtype.scale_exact),
    ];
    for (field, scale) in scales {
        if let Some(scale) = scale {
            let field = format_ident!("{field}");
            let value = scale_value(scale);
            bounds.extend(quote!(#field: __q::Some(#value),));
        }
    }
    if let Some(zero_point) = dtype.zero_point {
        let zero_point = Literal::i64_unsuffixed(zero_point);
        bounds.extend(quote!(zero_point_exact_match: __q::Some(#zero_point),));
    }
    if let Some(name) = &dtype.name {
        bounds.extend(quote!(name: __q::Some(#name),));
    }
    let origin = origin(dtype.origin);
    quote! {
        __q::DTypeWithConstraints {
            #bounds
            origin: #origin,
            ..__q::DTypeWithConstraints::new(#base)
        }
    }
}

fn scale_value(scale: &Scale) -> TokenStream {
    match &scale.value {
        ScaleValue::Number(value) if value.is_finite() && *value >= 0.0 => {
            let value = Literal::f64_unsuffixed(*value);
            quote!(#value)
        }
        // an error has been reported; any number keeps the rest alive
        ScaleValue::Number(_) => quote!(1.0),
        ScaleValue::Path(path) => quote!(#path),
    }
}
