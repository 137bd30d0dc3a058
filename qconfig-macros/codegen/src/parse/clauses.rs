//! The lines of a pattern's or group's block.

use proc_macro2::{Ident, Span, TokenTree};
use qconfig_core::Fuser;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{LitInt, Path, Token};

use super::{
    PResult, attributes, bounds, braces, brackets, ends_in_braces, keyword, patterns, peek_word,
    statements,
};
use crate::ast::{Clause, ClauseKind, ModuleRole, Observe, Op};
use crate::diag::{Diag, Diags, messages};

pub(super) fn block(
    input: ParseStream<'_>,
    statement: &str,
    diags: &mut Diags,
) -> PResult<Vec<Clause>> {
    let (_, content) = braces(input)?;
    let mut clauses = Vec::new();
    while !content.is_empty() {
        let start = content.cursor();
        match clause(&content, statement, diags) {
            Ok(clause) => clauses.push(clause),
            Err(diag) => {
                diags.error(*diag);
                // an error inside braces: they are consumed already
                if !(ends_in_braces(start, content.cursor()) && next_is_clause(&content)) {
                    skip_clause(&content);
                }
            }
        }
    }
    Ok(clauses)
}

/// To behind the next `;`, or behind a brace group that no `;` follows.
fn skip_clause(input: ParseStream<'_>) {
    while !input.is_empty() {
        match input.parse::<TokenTree>() {
            Ok(TokenTree::Punct(punct)) if punct.as_char() == ';' => return,
            Ok(TokenTree::Group(group))
                if group.delimiter() == proc_macro2::Delimiter::Brace && !input.peek(Token![;]) =>
            {
                return;
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

fn clause(input: ParseStream<'_>, statement: &str, diags: &mut Diags) -> PResult<Clause> {
    let attrs = attributes(input, diags)?;
    let at = input.span();
    let word = input.call(Ident::parse_any)?;
    let text = word.to_string();
    let mut braces = false;
    let kind = match &*text {
        "kernel" => kernel(input)?,
        "observe" if peek_word(input, "by") => {
            braces = true;
            observe_by(input)?
        }
        "observe" => {
            input.parse::<Token![:]>()?;
            ClauseKind::Observe(observation(input)?)
        }
        "args" => {
            braces = true;
            args(input)?
        }
        "root" => module(input, ModuleRole::Root)?,
        "qat" => module(input, ModuleRole::Qat)?,
        "reference" => module(input, ModuleRole::Reference)?,
        "fused" => module(input, ModuleRole::Fused)?,
        "fuser" => fuser(input)?,
        "fix" => {
            braces = true;
            let base = input.call(Ident::parse_any)?;
            ClauseKind::Fix(base, bounds::bounds(input, diags)?)
        }
        "root_node" => {
            input.parse::<Token![:]>()?;
            ClauseKind::RootNode(indices(input)?)
        }
        "extra_inputs" => {
            input.parse::<Token![:]>()?;
            let (_, content) = brackets(input)?;
            let mut paths = Vec::new();
            while !content.is_empty() {
                paths.push(indices(&content)?);
                if !content.is_empty() {
                    content.parse::<Token![,]>()?;
                }
            }
            ClauseKind::ExtraInputs(paths)
        }
        _ => return Err(messages::unknown_clause(&word, statement).into()),
    };
    let last = input.cursor().prev_span();
    if input.peek(Token![;]) {
        input.parse::<Token![;]>()?;
    } else if !braces {
        diags.error(messages::missing_clause_semicolon(last, &text));
        if !next_is_clause(input) {
            skip_clause(input);
        }
    }
    Ok(Clause {
        attrs,
        at: at.into(),
        kind,
    })
}

fn next_is_clause(input: ParseStream<'_>) -> bool {
    input.is_empty()
        || input.peek(Token![#])
        || messages::CLAUSES.iter().any(|word| peek_word(input, word))
}

/// `[configs] [for OP | OP] => path`, or `.. none`
fn kernel(input: ParseStream<'_>) -> PResult<ClauseKind> {
    let none = |input: ParseStream<'_>| peek_word(input, "none");
    let configs = if input.peek(Token![=>]) || input.peek(Token![for]) || none(input) {
        None
    } else {
        Some(statements::configs(input)?)
    };
    let ops = if input.peek(Token![for]) {
        input.parse::<Token![for]>()?;
        let mut ops: Vec<Op> = vec![patterns::op(input)?];
        while input.peek(Token![|]) {
            input.parse::<Token![|]>()?;
            ops.push(patterns::op(input)?);
        }
        Some(ops)
    } else {
        None
    };
    let path = if none(input) {
        keyword(input, "none")?;
        None
    } else if input.peek(Token![=>]) {
        input.parse::<Token![=>]>()?;
        let at = input.span();
        if none(input) {
            keyword(input, "none")?;
            None
        } else {
            Some(
                Path::parse_mod_style(input)
                    .map_err(|_| Diag::new(at, "expected the path of a kernel family"))?,
            )
        }
    } else {
        return Err(Diag::new(input.span(), "expected `=>` or `none`").into());
    };
    Ok(ClauseKind::Kernel { configs, ops, path })
}

fn module(input: ParseStream<'_>, role: ModuleRole) -> PResult<ClauseKind> {
    input.parse::<Token![:]>()?;
    Ok(ClauseKind::Module(role, patterns::op(input)?))
}

fn fuser(input: ParseStream<'_>) -> PResult<ClauseKind> {
    input.parse::<Token![:]>()?;
    let name: Ident = input.parse()?;
    match Fuser::from_name(&name.to_string()) {
        Some(fuser) => Ok(ClauseKind::Fuser(fuser)),
        None => Err(messages::unknown_fuser(&name).into()),
    }
}

fn observation(input: ParseStream<'_>) -> PResult<Observe> {
    let name = input.call(Ident::parse_any)?;
    match &*name.to_string() {
        "separate" => Ok(Observe::Separate),
        "shared" => Ok(Observe::Shared),
        "none" => Ok(Observe::None),
        _ => Err(messages::unknown_observation(&name).into()),
    }
}

/// `by tensor_args { 0: separate, 1: shared }`
fn observe_by(input: ParseStream<'_>) -> PResult<ClauseKind> {
    keyword(input, "by")?;
    keyword(input, "tensor_args")?;
    let (_, content) = braces(input)?;
    let mut cases = Vec::new();
    while !content.is_empty() {
        let count: LitInt = content.parse()?;
        content.parse::<Token![:]>()?;
        let kind = observation(&content)?;
        cases.push((count.base10_parse()?, count.span(), kind));
        if !content.is_empty() {
            content.parse::<Token![,]>()?;
        }
    }
    Ok(ClauseKind::ObserveBy(cases))
}

/// `{ weight: 1, bias: 2 }`
fn args(input: ParseStream<'_>) -> PResult<ClauseKind> {
    let (_, content) = braces(input)?;
    let mut args: Vec<(Ident, u8, Span)> = Vec::new();
    while !content.is_empty() {
        let name = content.call(Ident::parse_any)?;
        content.parse::<Token![:]>()?;
        let index: LitInt = content.parse()?;
        args.push((name, index.base10_parse()?, index.span()));
        if !content.is_empty() {
            content.parse::<Token![,]>()?;
        }
    }
    Ok(ClauseKind::Args(args))
}

/// `[1, 0]`
fn indices(input: ParseStream<'_>) -> PResult<Vec<u8>> {
    let (_, content) = brackets(input)?;
    let mut indices = Vec::new();
    while !content.is_empty() {
        let index: LitInt = content.parse()?;
        indices.push(index.base10_parse()?);
        if !content.is_empty() {
            content.parse::<Token![,]>()?;
        }
    }
    Ok(indices)
}
