//! The static table: patterns, dtype configs, kernels and the index, as plain data.

use std::collections::HashMap;

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote};

use super::types::{dtype_value, kernel_condition};
use super::{Names, all, allow, cfgs, docs, ops::Spellings, origin};
use crate::ast::{ModuleRole, Observe};
use crate::check::patterns::fixed;
use crate::model::{Binding, Model, PatternModel};

/// `pub static QNNPACK: BackendConfig = { .. };`
pub(super) fn table(model: &Model, names: &Names) -> TokenStream {
    let mut spellings = Spellings::default();
    let mut lists = Lists::default();
    let mut patterns = TokenStream::new();
    for pattern in &model.patterns {
        let value = pattern_value(pattern, model, names, &mut spellings, &mut lists);
        let cfgs = cfgs([pattern.cfgs.as_slice()]);
        patterns.extend(quote!(#cfgs #value,));
    }
    let kernels = model.kernels.iter().enumerate().map(|(i, kernel)| {
        let value = names.kernel(i);
        let cfg = kernel_condition(&kernel.conditions).map(|condition| quote!(#[cfg(#condition)]));
        quote!(#cfg #value)
    });
    let (vis, ident, name) = (&model.vis, &model.ident, &model.name);
    let (docs, allows) = (&model.attrs.docs, &model.attrs.allows);
    let on_backend = &model.attrs.cfgs;
    let about = (model.attrs.docs.is_empty())
        .then(|| format!("The backend `{}`.", name.value()))
        .map(|about| quote!(#[doc = #about]));
    let more = docs::backend(model);
    let (allow, import, root) = (allow(), names.import(), &names.root);
    let positions = positions(model);
    let (spellings, lists) = (spellings.declarations(), &lists.declared);
    quote! {
        #(#docs)*
        #about
        #[doc = #more]
        #(#on_backend)*
        #(#allows)*
        #allow
        #vis static #ident: #root::BackendConfig = {
            #import
            #spellings
            #lists
            #positions
            const PATTERNS: &[__q::BackendPatternConfig] = &[#patterns];
            static SLOTS: [u16; __q::PatternIndex::slots(PATTERNS.len())] =
                __q::PatternIndex::fill(PATTERNS);
            static KERNELS: &[&__q::Kernel] = &[#(#kernels),*];
            __q::BackendConfig {
                name: #name,
                configs: PATTERNS,
                index: __q::PatternIndex::new(&SLOTS),
                kernels: KERNELS,
            }
        };
    }
}

/// Where a kernel stands in the table depends on which ones before it `cfg` leaves out.
fn positions(model: &Model) -> TokenStream {
    if !any_conditional(model) {
        return TokenStream::new();
    }
    let mut tokens = TokenStream::new();
    let mut next = quote!(0);
    for (i, kernel) in model.kernels.iter().enumerate() {
        let (at, present) = (format_ident!("AT_{i}"), format_ident!("PRESENT_{i}"));
        tokens.extend(quote!(const #at: u8 = #next;));
        tokens.extend(match kernel_condition(&kernel.conditions) {
            None => quote!(const #present: u8 = 1;),
            Some(condition) => quote! {
                #[cfg(#condition)]
                const #present: u8 = 1;
                #[cfg(not(#condition))]
                const #present: u8 = 0;
            },
        });
        next = quote!(#at + #present);
    }
    tokens
}

fn any_conditional(model: &Model) -> bool {
    model
        .kernels
        .iter()
        .any(|kernel| !kernel.conditions.is_empty())
}

/// Lists of dtype configs, each declared once.
#[derive(Default)]
struct Lists {
    names: HashMap<String, Ident>,
    declared: TokenStream,
}

impl Lists {
    fn constant(&mut self, pattern: &PatternModel, model: &Model, names: &Names) -> Ident {
        let mut key = String::new();
        for found in &pattern.refs {
            let conditions = all(&found.cfgs).to_string();
            key.push_str(&format!("{} {conditions},", found.config));
        }
        if let Some(fix) = &pattern.details.fix {
            let span = fix.base.span().start();
            let bounds = fix.bounds.readable();
            key.push_str(&format!("{bounds} {}:{}", span.line, span.column));
        }
        if let Some(name) = self.names.get(&key) {
            return name.clone();
        }
        let name = format_ident!("DTYPE_CONFIGS_{}", self.names.len());
        let values = pattern.refs.iter().map(|found| {
            let config = &model.configs[found.config];
            let ty = names.config(&config.ident);
            let cfgs = cfgs([found.cfgs.as_slice(), &config.attrs.cfgs]);
            let fix = pattern.details.fix.as_ref();
            let mut fields = TokenStream::new();
            for (field, dtype) in [("input", &config.input), ("output", &config.output)] {
                let dtype = fix.zip(dtype.as_ref());
                if let Some(dtype) = dtype.and_then(|(fix, dtype)| fixed(dtype, fix)) {
                    let (field, value) = (format_ident!("{field}"), dtype_value(&dtype));
                    fields.extend(quote!(#field: __q::Some(#value),));
                }
            }
            if fields.is_empty() {
                quote!(#cfgs #ty::CONFIG)
            } else {
                quote!(#cfgs __q::DTypeConfig { #fields ..#ty::CONFIG })
            }
        });
        self.declared.extend(quote! {
            const #name: &[__q::DTypeConfig] = &[#(#values),*];
        });
        self.names.insert(key, name.clone());
        name
    }
}

fn pattern_value(
    pattern: &PatternModel,
    model: &Model,
    names: &Names,
    spellings: &mut Spellings,
    lists: &mut Lists,
) -> TokenStream {
    let list = lists.constant(pattern, model, names);
    let conditional = !pattern.cfgs.is_empty();
    let kernels = pattern
        .refs
        .iter()
        .zip(&pattern.bindings)
        .map(|(found, bindings)| {
            let config = &model.configs[found.config];
            let cfgs = cfgs([found.cfgs.as_slice(), &config.attrs.cfgs]);
            let cell = cell(bindings, any_conditional(model));
            quote!(#cfgs #cell)
        });
    let mut fields = quote! {
        dtype_configs: #list,
        kernels: &[#(#kernels),*],
    };
    let details = &pattern.details;
    if let Some((kind, _)) = details.observe
        && kind != Observe::Separate
    {
        let kind = observation(kind);
        fields.extend(quote!(observation_type: #kind,));
    }
    for (role, op) in &details.modules {
        let field = match role {
            ModuleRole::Root => quote!(root_module),
            ModuleRole::Qat => quote!(qat_module),
            ModuleRole::Reference => quote!(reference_quantized_module),
            ModuleRole::Fused => quote!(fused_module),
        };
        let op = spellings.spelling(op, conditional);
        fields.extend(quote!(#field: __q::Some(#op),));
    }
    if let Some(fuser) = details.fuser {
        let fuser = format_ident!("{fuser:?}");
        fields.extend(quote!(fuser: __q::Some(__q::Fuser::#fuser),));
    }
    if let Some(path) = &details.root_node {
        let path = indices(path);
        fields.extend(quote!(root_node: __q::Some(#path),));
    }
    if !details.extra_inputs.is_empty() {
        let paths = details.extra_inputs.iter().map(|path| indices(path));
        fields.extend(quote!(extra_inputs: &[#(#paths),*],));
    }
    if !details.observe_by.is_empty() {
        let cases = details.observe_by.iter().map(|(count, kind)| {
            let (count, kind) = (Literal::u8_unsuffixed(*count), observation(*kind));
            quote!((#count, #kind))
        });
        fields.extend(quote!(num_tensor_args_to_observation_type: &[#(#cases),*],));
    }
    if !details.args.is_empty() {
        let args = details.args.iter().map(|(name, index)| {
            let (name, index) = (name.to_string(), Literal::u8_unsuffixed(*index));
            quote!((#name, #index))
        });
        fields.extend(quote!(input_type_to_index: &[#(#args),*],));
    }
    let origin = origin(pattern.at.first);
    let value = spellings.pattern(&pattern.expr.kind, conditional);
    quote! {
        __q::BackendPatternConfig {
            #fields
            origin: #origin,
            ..__q::BackendPatternConfig::new(#value)
        }
    }
}

fn indices(path: &[u8]) -> TokenStream {
    let path = path.iter().copied().map(Literal::u8_unsuffixed);
    quote!(&[#(#path),*])
}

fn observation(kind: Observe) -> TokenStream {
    let kind = match kind {
        Observe::Separate => quote!(OutputUseDifferentObserverAsInput),
        Observe::Shared => quote!(OutputShareObserverWithInput),
        Observe::None => quote!(InputOutputNotObserved),
    };
    quote!(__q::ObservationType::#kind)
}

/// Which kernel computes a pair: `__q::Some(3)`, or a choice by `cfg`.
fn cell(bindings: &[Binding], conditional: bool) -> TokenStream {
    let value = |kernel: Option<usize>| match kernel {
        None => quote!(__q::None),
        Some(kernel) if conditional => {
            let at = format_ident!("AT_{kernel}");
            quote!(__q::Some(#at))
        }
        Some(kernel) => {
            let kernel = Literal::usize_unsuffixed(kernel);
            quote!(__q::Some(#kernel))
        }
    };
    match bindings {
        [] => quote!(__q::None),
        [only] if only.cfgs.is_empty() => value(only.kernel),
        several => {
            let mut before: Vec<TokenStream> = Vec::new();
            let mut choices = TokenStream::new();
            for binding in several {
                let (own, value) = (all(&binding.cfgs), value(binding.kernel));
                choices.extend(quote! {
                    #[cfg(all(#own #(, not(#before))*))]
                    const CELL: __q::core::option::Option<u8> = #value;
                });
                before.push(own);
            }
            quote! {{
                #choices
                #[cfg(not(any(#(#before),*)))]
                const CELL: __q::core::option::Option<u8> = __q::None;
                CELL
            }}
        }
    }
}
