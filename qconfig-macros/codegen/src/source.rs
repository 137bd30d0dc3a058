//! What the two macros receive, and the bounce that fetches tokens of other crates.
//!
//! `backend_config!` gets `[callback] [root] { spec } { groups }*`: the path to call again, the path to
//! `__private`, the user's tokens, and the libraries and parents fetched so far. A spec that names
//! more of them (`use groups`, `extends`) expands to a call of the macro that holds the next one, which
//! calls `callback` with one block more.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::quote;
use syn::Path;

use crate::ast::{Group, Item, KernelSet, Library, Spec, path_place, path_text};
use crate::diag::{Diag, Diags, messages};
use crate::model::{Layer, build};
use crate::{expand, parse};

struct Source {
    callback: TokenStream,
    root: TokenStream,
    spec: TokenStream,
    blocks: Vec<TokenStream>,
}

fn source(input: TokenStream) -> Option<Source> {
    let mut parts = input.into_iter().map(|token| match token {
        TokenTree::Group(group) => Some((group.delimiter(), group.stream())),
        _ => None,
    });
    let mut next = |expected: Delimiter| match parts.next()?? {
        (delimiter, stream) if delimiter == expected => Some(stream),
        _ => None,
    };
    let callback = next(Delimiter::Bracket)?;
    let root = next(Delimiter::Bracket)?;
    let spec = next(Delimiter::Brace)?;
    let mut blocks = Vec::new();
    while let Some(block) = next(Delimiter::Brace) {
        blocks.push(block);
    }
    Some(Source {
        callback,
        root,
        spec,
        blocks,
    })
}

/// Something that a spec names and another macro holds.
enum Wanted {
    /// `use groups path;`
    Groups(Path),
    /// `extends path`
    Parent(Path),
}

impl Wanted {
    fn path(&self) -> &Path {
        match self {
            Wanted::Groups(path) | Wanted::Parent(path) => path,
        }
    }
}

/// What a spec names, in the order in which it is fetched.
fn wanted(spec: &Spec) -> Vec<Wanted> {
    let groups = spec.items.iter().filter_map(|item| match item {
        Item::UseGroups(path) => Some(Wanted::Groups(path.clone())),
        _ => None,
    });
    let parent = spec
        .backend
        .as_ref()
        .and_then(|backend| backend.extends.clone());
    groups.chain(parent.map(Wanted::Parent)).collect()
}

/// Expands `backend_config!`.
pub fn backend_config(input: TokenStream) -> TokenStream {
    let Some(source) = source(input) else {
        let text = "call `qconfig::backend_config!`, not the macro behind it";
        return quote!(::core::compile_error!(#text););
    };
    let mut diags = Diags::default();
    let spec = parse::spec(source.spec.clone(), &mut diags);
    let mut wants = wanted(&spec);
    if let Some(diag) = extends_itself(&spec) {
        diags.error(diag);
        wants.retain(|want| matches!(want, Wanted::Groups(_)));
    }
    let mut libraries: Vec<Library> = Vec::new();
    let mut parents: Vec<Spec> = Vec::new();
    for (i, block) in source.blocks.iter().enumerate() {
        // what is wrong in the tokens of another macro was said where they stand
        let mut quiet = Diags::default();
        // the wrapper hands in the standard groups unasked
        match i.checked_sub(1).and_then(|i| wants.get(i)) {
            None | Some(Wanted::Groups(_)) => {
                let library = parse::library(block.clone(), &mut quiet);
                if let (None, Some(want)) = (&library.header, i.checked_sub(1)) {
                    not_what_was_asked(wants.get(want), &mut diags);
                }
                libraries.push(library);
            }
            Some(Wanted::Parent(_)) => {
                let parent = parse::spec(block.clone(), &mut quiet);
                if parent.backend.is_none() {
                    not_what_was_asked(wants.get(i - 1), &mut diags);
                }
                wants.extend(wanted(&parent));
                parents.push(parent);
            }
        }
    }
    let fetched = source.blocks.len().saturating_sub(1);
    if let Some(want) = wants.get(fetched).filter(|_| !source.blocks.is_empty()) {
        return bounce(want.path(), &source);
    }
    let layers: Vec<Layer<'_>> = parents
        .iter()
        .rev()
        .map(|spec| Layer {
            spec,
            inherited: true,
        })
        .chain([Layer {
            spec: &spec,
            inherited: false,
        }])
        .collect();
    let groups: Vec<&Group> = libraries
        .iter()
        .flat_map(|library| &library.groups)
        .collect();
    let sets: Vec<&KernelSet> = libraries
        .iter()
        .flat_map(|library| &library.kernels)
        .collect();
    let model = build(&layers, &groups, &sets, &mut diags);
    let mut tokens = diags.to_tokens();
    if let Some(model) = model {
        tokens.extend(expand::expand(&model, source.root, &diags));
        tokens.extend(expand::spec_macro(
            &model.vis,
            &model.ident,
            &model.attrs.cfgs,
            source.spec,
        ));
    }
    tokens
}

/// Calls the macro that holds the next block.
fn bounce(path: &Path, source: &Source) -> TokenStream {
    let (callback, root, spec) = (&source.callback, &source.root, &source.spec);
    let blocks = &source.blocks;
    quote! {
        #path! { [#callback] [#callback] [#root] { #spec } #({ #blocks })* }
    }
}

fn extends_itself(spec: &Spec) -> Option<Diag> {
    let backend = spec.backend.as_ref()?;
    let path = backend.extends.as_ref()?;
    let name = backend.ident.to_string();
    let text = path_text(path);
    let own = text.strip_prefix("self::").unwrap_or(&text) == name;
    own.then(|| messages::extends_itself(path_place(path), &name))
}

fn not_what_was_asked(want: Option<&Wanted>, diags: &mut Diags) {
    if let Some(want) = want {
        let path = want.path();
        diags.error(messages::not_a_backend(path_place(path), &path_text(path)));
    }
}

/// Expands `op_groups!`: checks the groups and hands their tokens on.
pub fn op_groups(input: TokenStream) -> TokenStream {
    let mut diags = Diags::default();
    let library = parse::library(input.clone(), &mut diags);
    for group in &library.groups {
        for pattern in &group.patterns {
            crate::check::patterns::library(pattern, &mut diags);
        }
    }
    for set in &library.kernels {
        crate::check::kernels::library(set, &mut diags);
    }
    let mut tokens = diags.to_tokens();
    if let Some((vis, ident)) = &library.header {
        tokens.extend(expand::groups_macro(vis, ident, input));
    }
    tokens
}

/// Expands `kernels!`: `[root] { table }`.
pub fn kernels(input: TokenStream) -> TokenStream {
    let mut tokens = input.into_iter();
    let (Some(TokenTree::Group(root)), Some(TokenTree::Group(table)), None) =
        (tokens.next(), tokens.next(), tokens.next())
    else {
        return quote!(::core::compile_error! { "call `qconfig::kernels!`" });
    };
    let mut diags = Diags::default();
    let table = parse::kernels(table.stream(), &mut diags);
    let mut tokens = diags.to_tokens();
    if let Some(table) = table {
        tokens.extend(expand::kernel_table(&table, &root.stream()));
    }
    tokens
}
