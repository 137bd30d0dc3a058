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
        if input.peek(token::Paren) && chains.len() == 1 && alternatives.len() == 1 {
            let tree = operands(input, alternatives.into_iter().next())?;
            patterns.push(PatternExpr {
                at: place(first, input),
                kind: PatternKind::Tree(tree),
            });
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

/// `(_, bn(conv2d))` behind an operator.
fn operands(input: ParseStream<'_>, op: Option<Op>) -> PResult<Tree> {
    let Some(op) = op else {
        return Err(Diag::new(input.span(), "expected an operator").into());
    };
    let content = parentheses(input)?;
    let mut operands = Vec::new();
    while !content.is_empty() {
        operands.push(operand(&content)?);
        if !content.is_empty() {
            content.parse::<Token![,]>()?;
        }
    }
    Ok(Tree::Op(op, operands))
}

/// `_`, a tree, or a chain: `conv2d + bn` is `bn(conv2d)`.
fn operand(input: ParseStream<'_>) -> PResult<Tree> {
    if input.peek(Token![_]) {
        input.parse::<Token![_]>()?;
        return Ok(Tree::Any);
    }
    let first = op(input)?;
    let mut tree = if input.peek(token::Paren) {
        operands(input, Some(first))?
    } else {
        Tree::Op(first, Vec::new())
    };
    while input.peek(Token![+]) {
        input.parse::<Token![+]>()?;
        if input.peek(Token![_]) {
            return Err(messages::any_in_chain(input.span()).into());
        }
        tree = Tree::Op(op(input)?, vec![tree]);
    }
    Ok(tree)
}
