//! `conv2d + {nn::ReLU | F::relu} | relu(add(_, conv2d))`

use syn::parse::ParseStream;
use syn::{Path, Token, token};

use super::{PResult, braces, parentheses, place};
use crate::ast::{Op, PatternExpr, PatternKind, Tree};
use crate::diag::{Diag, messages};

/// Patterns separated by `|`, alternatives inside them spelled out: left to right, the last varies
/// fastest.
pub(super) fn patterns(input: ParseStream<'_>) -> PResult<Vec<PatternExpr>> {
    let mut patterns = Vec::new();
    loop {
        one(input, &mut patterns)?;
        if !input.peek(Token![|]) {
            return Ok(patterns);
        }
        input.parse::<Token![|]>()?;
    }
}

fn one(input: ParseStream<'_>, patterns: &mut Vec<PatternExpr>) -> PResult<()> {
    let first = input.span();
    let mut chains: Vec<Vec<Op>> = vec![Vec::new()];
    loop {
        if input.peek(Token![_]) {
            return Err(messages::any_in_chain(input.span()).into());
        }
        let alternatives = alternatives(input)?;
        if input.peek(token::Paren) && chains.len() == 1 && chains[0].is_empty() {
            let trees = operands(input, alternatives)?;
            let at = place(first, input);
            patterns.extend(trees.into_iter().map(|tree| PatternExpr {
                at,
                kind: PatternKind::Tree(tree),
            }));
            return Ok(());
        }
        chains = chains
            .into_iter()
            .flat_map(|chain| {
                alternatives.iter().map(move |op| {
                    let mut chain = chain.clone();
                    chain.push(op.clone());
                    chain
                })
            })
            .collect();
        if !input.peek(Token![+]) {
            break;
        }
        input.parse::<Token![+]>()?;
    }
    let at = place(first, input);
    patterns.extend(chains.into_iter().map(|chain| PatternExpr {
        at,
        kind: PatternKind::Chain(chain),
    }));
    Ok(())
}

/// `nn::ReLU` or `{nn::ReLU | F::relu}`
fn alternatives(input: ParseStream<'_>) -> PResult<Vec<Op>> {
    if !input.peek(token::Brace) {
        return Ok(vec![op(input)?]);
    }
    let (_, content) = braces(input)?;
    let mut ops = vec![op(&content)?];
    while content.peek(Token![|]) {
        content.parse::<Token![|]>()?;
        ops.push(op(&content)?);
    }
    if !content.is_empty() {
        return Err(Diag::new(content.span(), "expected `|`").into());
    }
    Ok(ops)
}

pub(super) fn op(input: ParseStream<'_>) -> PResult<Op> {
    let at = input.span();
    let path = Path::parse_mod_style(input).map_err(|_| Diag::new(at, "expected an operator"))?;
    Ok(Op { path })
}

/// `(_, bn(conv2d))` behind operators: every choice of alternatives, the last varies fastest.
fn operands(input: ParseStream<'_>, ops: Vec<Op>) -> PResult<Vec<Tree>> {
    let content = parentheses(input)?;
    let mut choices: Vec<Vec<Tree>> = vec![Vec::new()];
    while !content.is_empty() {
        let operand = operand(&content)?;
        choices = choices
            .into_iter()
            .flat_map(|before| {
                operand.iter().map(move |next| {
                    let mut operands = before.clone();
                    operands.push(next.clone());
                    operands
                })
            })
            .collect();
        if !content.is_empty() {
            content.parse::<Token![,]>()?;
        }
    }
    let trees = ops.into_iter().flat_map(|op| {
        choices
            .iter()
            .map(move |operands| Tree::Op(op.clone(), operands.clone()))
    });
    Ok(trees.collect())
}

/// `_`, a number, a tree, or a chain: `conv2d + bn` is `bn(conv2d)`.
fn operand(input: ParseStream<'_>) -> PResult<Vec<Tree>> {
    if input.peek(Token![_]) {
        input.parse::<Token![_]>()?;
        return Ok(vec![Tree::Any]);
    }
    if input.peek(syn::LitInt) {
        let value = input.parse::<syn::LitInt>()?.base10_parse()?;
        return Ok(vec![Tree::Constant(value)]);
    }
    let first = alternatives(input)?;
    let mut trees = if input.peek(token::Paren) {
        operands(input, first)?
    } else {
        let alone = first.into_iter().map(|op| Tree::Op(op, Vec::new()));
        alone.collect()
    };
    while input.peek(Token![+]) {
        input.parse::<Token![+]>()?;
        if input.peek(Token![_]) {
            return Err(messages::any_in_chain(input.span()).into());
        }
        let next = alternatives(input)?;
        trees = trees
            .into_iter()
            .flat_map(|tree| {
                next.iter()
                    .map(move |op| Tree::Op(op.clone(), vec![tree.clone()]))
            })
            .collect();
    }
    Ok(trees)
}
