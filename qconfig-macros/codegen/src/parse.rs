//! Tokens to syntax. A mistake costs the statement or clause it stands in, never the next one.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::buffer::Cursor;
use syn::ext::IdentExt;
use syn::parse::discouraged::Speculative;
use syn::parse::{ParseBuffer, ParseStream, Parser};
use syn::{Attribute, LitStr, Path, Token, Visibility, braced, bracketed, parenthesized, token};

use crate::ast::{Attrs, Backend, Group, Item, KernelSet, KernelTable, Library, PatternItem, Spec};
use crate::diag::{Diag, Diags, Place, messages};

mod bounds;
mod clauses;
mod kernels;
mod patterns;
mod statements;

pub(crate) type PResult<T> = Result<T, Box<Diag>>;

impl From<syn::Error> for Box<Diag> {
    fn from(error: syn::Error) -> Self {
        Box::new(error.into())
    }
}

/// Reads a spec; what could be read is returned, the rest is in `diags`.
pub fn spec(tokens: TokenStream, diags: &mut Diags) -> Spec {
    let mut spec = Spec::default();
    let mut read = |input: ParseStream<'_>| {
        spec_items(input, &mut spec, diags);
        Ok(())
    };
    let result = (|input: ParseStream<'_>| read(input)).parse2(tokens);
    leftover(result, diags);
    spec
}

/// Reads a library of groups.
pub fn library(tokens: TokenStream, diags: &mut Diags) -> Library {
    let mut library = Library::default();
    let mut read = |input: ParseStream<'_>| {
        library_items(input, &mut library, diags);
        Ok(())
    };
    let result = (|input: ParseStream<'_>| read(input)).parse2(tokens);
    leftover(result, diags);
    library
}

/// Reads a table of kernels; `None` where its first statement is not one.
pub fn kernels(tokens: TokenStream, diags: &mut Diags) -> Option<KernelTable> {
    let mut table = None;
    let mut read = |input: ParseStream<'_>| {
        match kernels::table(input, diags) {
            Ok(found) => table = Some(found),
            Err(diag) => {
                diags.error(*diag);
                input.parse::<TokenStream>()?;
            }
        }
        Ok(())
    };
    let result = (|input: ParseStream<'_>| read(input)).parse2(tokens);
    leftover(result, diags);
    table
}

/// syn complains of tokens left in a group that was given up; the mistake itself is known by then.
fn leftover(result: syn::Result<()>, diags: &mut Diags) {
    if let Err(error) = result
        && !diags.any()
    {
        diags.error(error.into());
    }
}

fn spec_items(input: ParseStream<'_>, spec: &mut Spec, diags: &mut Diags) {
    let start = input.span();
    while !input.is_empty() {
        let name = declared_name(input);
        match attempt(input, |input| spec_item(input, spec, diags)) {
            Ok(Some(item)) => spec.items.push(item),
            Ok(None) => {}
            Err(diag) => {
                diags.error(*diag);
                spec.broken.extend(name);
            }
        }
    }
    if spec.backend.is_none() && !spec.broken.iter().any(|name| name == BROKEN_BACKEND) {
        diags.error(messages::missing_backend(start));
    }
}

/// Stands among the broken names where the `backend` statement itself is broken.
const BROKEN_BACKEND: &str = " backend";

fn spec_item(input: ParseStream<'_>, spec: &mut Spec, diags: &mut Diags) -> PResult<Option<Item>> {
    let attrs = attributes(input, diags)?;
    if input.peek(Token![pub]) || peek_word(input, "backend") {
        let first = spec.backend.as_ref().map(|backend| backend.ident.span());
        let at = input.span();
        let result = backend(input, attrs);
        match (result, first) {
            (Ok(backend), None) => spec.backend = Some(backend),
            (Ok(backend), Some(first)) => {
                diags.error(messages::second_backend(&backend.ident, first.start().line));
            }
            (Err(diag), _) => {
                spec.broken.push(BROKEN_BACKEND.into());
                let _ = at;
                return Err(diag);
            }
        }
        return Ok(None);
    }
    statements::statement(input, attrs, diags).map(Some)
}

/// `pub backend QNNPACK = "qnnpack" extends path::PARENT;`
fn backend(input: ParseStream<'_>, attrs: Attrs) -> PResult<Backend> {
    let vis: Visibility = input.parse()?;
    keyword(input, "backend")?;
    let ident: Ident = input.parse()?;
    input.parse::<Token![=]>()?;
    let name: LitStr = input.parse()?;
    let extends = if peek_word(input, "extends") {
        keyword(input, "extends")?;
        Some(Path::parse_mod_style(input)?)
    } else {
        None
    };
    semicolon(input, "backend")?;
    Ok(Backend {
        attrs,
        vis,
        ident,
        name,
        extends,
    })
}

fn library_items(input: ParseStream<'_>, library: &mut Library, diags: &mut Diags) {
    let start = input.span();
    while !input.is_empty() {
        if let Err(diag) = attempt(input, |input| library_item(input, library, diags)) {
            diags.error(*diag);
        }
    }
    if library.header.is_none() {
        diags.error(messages::missing_groups_header(start));
    }
}

fn library_item(input: ParseStream<'_>, library: &mut Library, diags: &mut Diags) -> PResult<()> {
    let attrs = attributes(input, diags)?;
    if input.peek(Token![pub]) || peek_word(input, "groups") {
        let vis: Visibility = input.parse()?;
        keyword(input, "groups")?;
        let ident = input.parse()?;
        semicolon(input, "groups")?;
        library.header = Some((vis, ident));
        return Ok(());
    }
    if peek_word(input, "kernels") {
        keyword(input, "kernels")?;
        let ident: Ident = input.parse()?;
        let clauses = clauses::block(input, "kernels", diags)?;
        library.kernels.push(KernelSet { ident, clauses });
        return Ok(());
    }
    let is_template = peek_word(input, "template");
    if !is_template && !peek_word(input, "group") {
        return Err(messages::no_group(input.span()).into());
    }
    input.call(Ident::parse_any)?;
    let ident: Ident = input.parse()?;
    let (_, content) = braces(input)?;
    if let Some((first, _)) = library.blocks.iter().find(|(name, _)| *name == ident) {
        let first = first.span().start().line;
        diags.error(messages::group_defined_twice(&ident, first));
    }
    let tokens = content.cursor().token_stream();
    if is_template {
        // read where it is included
        content.parse::<TokenStream>()?;
    } else {
        let mut block = Block {
            above: &library.blocks,
            rank: None,
            patterns: Vec::new(),
        };
        let before = diags.count();
        block.items(&content, diags);
        let patterns = block.patterns;
        if patterns.is_empty() && diags.count() == before {
            diags.error(messages::empty_group(&ident));
        }
        let ident = ident.clone();
        library.groups.push(Group {
            attrs,
            ident,
            patterns,
        });
    }
    library.blocks.push((ident, tokens));
    Ok(())
}

/// The inside of a group as it is read.
struct Block<'l> {
    /// What can be included.
    above: &'l [(Ident, TokenStream)],
    /// What `Nd` stands for.
    rank: Option<String>,
    /// What has been read.
    patterns: Vec<PatternItem>,
}

impl Block<'_> {
    fn items(&mut self, input: ParseStream<'_>, diags: &mut Diags) {
        while !input.is_empty() {
            if let Err(diag) = attempt(input, |input| self.item(input, diags)) {
                diags.error(*diag);
            }
        }
    }

    fn item(&mut self, input: ParseStream<'_>, diags: &mut Diags) -> PResult<()> {
        let attrs = attributes(input, diags)?;
        if peek_word(input, "ranks") {
            return self.ranks(input, diags);
        }
        if peek_word(input, "include") {
            return self.include(input, diags);
        }
        let overrides = modifier(input, "override")?;
        keyword(input, "pattern")?;
        let pattern = statements::pattern(input, attrs, overrides, false, diags)?;
        self.patterns.push(pattern);
        Ok(())
    }

    /// `ranks 1..=3 { pattern nn::ConvNd; }`: the block once for each rank, `Nd` replaced.
    fn ranks(&mut self, input: ParseStream<'_>, diags: &mut Diags) -> PResult<()> {
        keyword(input, "ranks")?;
        let low: syn::LitInt = input.parse()?;
        input.parse::<Token![..=]>()?;
        let high: syn::LitInt = input.parse()?;
        let (_, content) = braces(input)?;
        let block: TokenStream = content.parse()?;
        let (from, to): (u8, u8) = (low.base10_parse()?, high.base10_parse()?);
        if from > to {
            return Err(messages::empty_ranks(low.span(), from, to).into());
        }
        for (rank, at) in [(from, &low), (to, &high)] {
            if !(1..=3).contains(&rank) {
                return Err(messages::rank_unheard_of(at.span(), rank).into());
            }
        }
        for rank in from..=to {
            self.rank = Some(format!("{rank}d"));
            self.tokens(block.clone(), diags)?;
        }
        self.rank = None;
        Ok(())
    }

    /// `include conv_nd;`: what stands in the braces of an earlier group or template.
    fn include(&mut self, input: ParseStream<'_>, diags: &mut Diags) -> PResult<()> {
        keyword(input, "include")?;
        let ident: Ident = input.parse()?;
        semicolon(input, "include")?;
        let Some((_, tokens)) = self.above.iter().find(|(name, _)| *name == ident) else {
            let names: Vec<String> = self
                .above
                .iter()
                .map(|(name, _)| name.to_string())
                .collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            diags.error(messages::unknown_include(&ident, names));
            return Ok(());
        };
        self.tokens(tokens.clone(), diags)
    }

    fn tokens(&mut self, tokens: TokenStream, diags: &mut Diags) -> PResult<()> {
        let tokens = match &self.rank {
            Some(rank) => with_rank(tokens, rank),
            None => tokens,
        };
        let mut read = |input: ParseStream<'_>| {
            self.items(input, diags);
            Ok(())
        };
        Ok((|input: ParseStream<'_>| read(input)).parse2(tokens)?)
    }
}

fn with_rank(tokens: TokenStream, rank: &str) -> TokenStream {
    tokens
        .into_iter()
        .map(|token| match token {
            TokenTree::Ident(ident) => {
                let text = ident.to_string();
                if text.contains("Nd") {
                    Ident::new(&text.replace("Nd", rank), ident.span()).into()
                } else {
                    ident.into()
                }
            }
            TokenTree::Group(group) => {
                let mut inner =
                    proc_macro2::Group::new(group.delimiter(), with_rank(group.stream(), rank));
                inner.set_span(group.span());
                inner.into()
            }
            other => other,
        })
        .collect()
}

fn attributes(input: ParseStream<'_>, diags: &mut Diags) -> PResult<Attrs> {
    let mut attrs = Attrs::default();
    for attribute in input.call(Attribute::parse_outer)? {
        let path = attribute.path();
        if path.is_ident("doc") {
            attrs.docs.push(attribute);
        } else if path.is_ident("cfg") {
            attrs.cfgs.push(attribute);
        } else if path.is_ident("allow") {
            let lints = match &attribute.meta {
                syn::Meta::List(list) => list.tokens.to_string(),
                _ => String::new(),
            };
            let mut lints = lints.split(',').map(str::trim);
            let has = |name: &str| lints.clone().any(|lint| lint == name);
            attrs.allow_unused |= has("unused");
            attrs.allow_lints |= has("deprecated");
            attrs.allow_no_kernel |= has("no_kernel");
            if lints.all(|lint| !matches!(lint, "unused" | "deprecated" | "no_kernel")) {
                attrs.allows.push(attribute);
            }
        } else {
            let at = crate::ast::path_place(path);
            diags.error(messages::unknown_attribute(
                at,
                &crate::ast::path_text(path),
            ));
        }
    }
    Ok(attrs)
}

/// The name that the next statement would declare: its second word behind modifiers.
fn declared_name(input: ParseStream<'_>) -> Option<String> {
    let fork = input.fork();
    fork.call(Attribute::parse_outer).ok()?;
    let mut word = fork.call(Ident::parse_any).ok()?;
    while word == "override" || word == "dynamic" || word == "pub" {
        word = fork.call(Ident::parse_any).ok()?;
    }
    if word == "backend" {
        return Some(BROKEN_BACKEND.into());
    }
    fork.call(Ident::parse_any)
        .ok()
        .map(|name| name.to_string())
}

/// Reads a statement; where that fails, goes to the next one from where it began: a half-typed statement may have
/// taken the next one's first words for its own.
fn attempt<T>(
    input: ParseStream<'_>,
    read: impl FnOnce(ParseStream<'_>) -> PResult<T>,
) -> PResult<T> {
    let fork = input.fork();
    let result = read(&fork);
    match &result {
        Ok(_) => input.advance_to(&fork),
        Err(_) => skip_statement(input),
    }
    result
}

/// Whether the last token before `end` is a brace group.
fn ends_in_braces(start: Cursor<'_>, end: Cursor<'_>) -> bool {
    let (mut at, mut braces) = (start, false);
    while at != end {
        let Some((token, next)) = at.token_tree() else {
            break;
        };
        braces = matches!(&token, TokenTree::Group(group)
            if group.delimiter() == proc_macro2::Delimiter::Brace);
        at = next;
    }
    braces
}

/// To behind the next `;`, or a brace group behind which a statement begins, or in front of one that begins on a line
/// of its own.
fn skip_statement(input: ParseStream<'_>) {
    while !input.is_empty() {
        match input.parse::<TokenTree>() {
            Ok(TokenTree::Punct(punct)) if punct.as_char() == ';' => return,
            Ok(TokenTree::Group(group)) if group.delimiter() == proc_macro2::Delimiter::Brace => {
                if input.peek(Token![;]) {
                    let _ = input.parse::<Token![;]>();
                    return;
                }
                if statements::next_is_statement(input) {
                    return;
                }
            }
            Ok(_) => {}
            Err(_) => return,
        }
        if starts_statement(input) {
            return;
        }
    }
}

/// Whether a statement's keyword comes next, on a line of its own.
fn starts_statement(input: ParseStream<'_>) -> bool {
    let fork = input.fork();
    let before = input.cursor().prev_span().end().line;
    fork.call(Ident::parse_any).is_ok_and(|word| {
        let text = word.to_string();
        let known = messages::STATEMENTS.iter().chain(&messages::MODIFIERS);
        known.into_iter().any(|known| *known == text) && word.span().start().line > before
    })
}

fn peek_word(input: ParseStream<'_>, word: &str) -> bool {
    let fork = input.fork();
    fork.call(Ident::parse_any).is_ok_and(|found| found == word)
}

fn keyword(input: ParseStream<'_>, word: &'static str) -> PResult<Span> {
    let at = input.span();
    if peek_word(input, word) {
        Ok(input.call(Ident::parse_any)?.span())
    } else {
        Err(Diag::new(at, format!("expected `{word}`")).into())
    }
}

fn modifier(input: ParseStream<'_>, word: &'static str) -> PResult<Option<Span>> {
    peek_word(input, word)
        .then(|| keyword(input, word))
        .transpose()
}

fn semicolon(input: ParseStream<'_>, statement: &str) -> PResult<()> {
    if input.peek(Token![;]) {
        input.parse::<Token![;]>()?;
        return Ok(());
    }
    Err(messages::missing_semicolon(input.cursor().prev_span(), statement).into())
}

/// From a token to the last one read.
fn place(first: Span, input: ParseStream<'_>) -> Place {
    Place {
        first,
        last: input.cursor().prev_span(),
    }
}

fn braces<'a>(input: ParseStream<'a>) -> syn::Result<(token::Brace, ParseBuffer<'a>)> {
    let content;
    let braces = braced!(content in input);
    Ok((braces, content))
}

fn brackets<'a>(input: ParseStream<'a>) -> syn::Result<(token::Bracket, ParseBuffer<'a>)> {
    let content;
    let brackets = bracketed!(content in input);
    Ok((brackets, content))
}

fn parentheses<'a>(input: ParseStream<'a>) -> syn::Result<ParseBuffer<'a>> {
    let content;
    parenthesized!(content in input);
    Ok(content)
}
