//! Operators as types and as constants.

use std::collections::HashMap;

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{format_ident, quote};

use crate::ast::{Op, PatternKind, Tree};
use crate::vocabulary::Home;

/// The type of an operator: `__q::nn::Conv2d`, `__q::short::conv2d`, or the user's path.
pub(super) fn ty(op: &Op) -> TokenStream {
    let path = &op.path;
    match op.home() {
        Home::Vocabulary => quote!(__q::#path),
        Home::Short => quote!(__q::short::#path),
        Home::User => quote!(#path),
    }
}

/// The type of a pattern: an operator itself, a tuple for a chain, nested tuples for a tree.
pub(super) fn pattern_type(kind: &PatternKind) -> TokenStream {
    match kind {
        PatternKind::Chain(chain) => match chain.as_slice() {
            [op] => ty(op),
            chain => {
                let types = chain.iter().map(ty);
                quote!((#(#types),*))
            }
        },
        PatternKind::Tree(tree) => tree_type(tree),
    }
}

fn tree_type(tree: &Tree) -> TokenStream {
    match tree {
        Tree::Any => quote!(__q::check::Any),
        Tree::Constant(value) => {
            let value = Literal::i64_suffixed(*value);
            quote!(__q::check::Constant<#value>)
        }
        Tree::Op(op, operands) if operands.is_empty() => ty(op),
        Tree::Op(op, operands) => {
            let op = ty(op);
            let operands = operands.iter().map(tree_type);
            quote!((#op, (#(#operands,)*)))
        }
    }
}

/// Constants for the spellings that a table names, each declared once.
#[derive(Default)]
pub(super) struct Spellings {
    names: HashMap<String, Ident>,
    taken: HashMap<String, usize>,
    declared: TokenStream,
}

impl Spellings {
    /// The spelling of an operator: `NN_CONV2D`, or in full where a constant would outlive the `cfg`
    /// of what needs it.
    pub(super) fn spelling(&mut self, op: &Op, conditional: bool) -> TokenStream {
        if conditional {
            let ty = ty(op);
            return quote!(<#ty as __q::Spelled>::SPELLING);
        }
        let name = self.constant(op);
        quote!(#name)
    }

    fn constant(&mut self, op: &Op) -> Ident {
        let text = op.text();
        if let Some(name) = self.names.get(&text) {
            return name.clone();
        }
        let plain = text.replace("::", "_").replace('$', "").to_uppercase();
        let taken = self.taken.entry(plain.clone()).or_default();
        *taken += 1;
        let name = if *taken == 1 {
            Ident::new(&plain, Span::call_site())
        } else {
            format_ident!("{plain}_{taken}")
        };
        let ty = ty(op);
        self.declared.extend(quote! {
            const #name: &__q::Spelling = <#ty as __q::Spelled>::SPELLING;
        });
        self.names.insert(text, name.clone());
        name
    }

    /// The value of a pattern.
    pub(super) fn pattern(&mut self, kind: &PatternKind, conditional: bool) -> TokenStream {
        match kind {
            PatternKind::Chain(chain) => {
                let chain = chain.iter().map(|op| self.spelling(op, conditional));
                quote!(__q::Pattern::Chain(&[#(#chain),*]))
            }
            PatternKind::Tree(tree) => {
                let tree = self.tree(tree, conditional);
                quote!(__q::Pattern::Tree(&#tree))
            }
        }
    }

    fn tree(&mut self, tree: &Tree, conditional: bool) -> TokenStream {
        match tree {
            Tree::Any => quote!(__q::PatternTree::Any),
            Tree::Constant(value) => {
                let value = Literal::i64_unsuffixed(*value);
                quote!(__q::PatternTree::Constant(#value))
            }
            Tree::Op(op, operands) => {
                let op = self.spelling(op, conditional);
                let operands: Vec<TokenStream> = operands
                    .iter()
                    .map(|operand| self.tree(operand, conditional))
                    .collect();
                quote!(__q::PatternTree::Op(#op, &[#(#operands),*]))
            }
        }
    }

    /// The declarations of all constants asked for.
    pub(super) fn declarations(&self) -> &TokenStream {
        &self.declared
    }
}
