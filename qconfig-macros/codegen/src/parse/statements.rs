//! `dtype`, `config`, `list`, `group`, `pattern`, `remove`, `use groups`, `use kernels`.

use proc_macro2::{Ident, Span, TokenTree};
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Path, Token, token};

use super::{
    PResult, bounds, braces, brackets, clauses, keyword, modifier, patterns, peek_word, semicolon,
};
use crate::ast::{Attrs, Config, Configs, DType, GroupUse, Item, List, PatternItem, Remove};
use crate::diag::{Diags, Place, messages};

pub(super) fn statement(input: ParseStream<'_>, attrs: Attrs, diags: &mut Diags) -> PResult<Item> {
    let overrides = modifier(input, "override")?;
    let dynamic = modifier(input, "dynamic")?;
    let at = input.span();
    let word = input
        .call(Ident::parse_any)
        .map_err(|_| messages::no_statement(at))?;
    let text = word.to_string();
    if let Some(span) = dynamic.filter(|_| text != "config") {
        diags.error(messages::misplaced_modifier(span, "dynamic", &text));
    }
    if let Some(span) = overrides.filter(|_| matches!(&*text, "group" | "remove" | "use")) {
        diags.error(messages::misplaced_modifier(span, "override", &text));
    }
    match &*text {
        "dtype" => dtype(input, attrs, overrides, diags).map(Item::DType),
        "config" => config(input, attrs, overrides, dynamic, diags).map(Item::Config),
        "list" => list(input, attrs, overrides).map(Item::List),
        "group" => group(input, attrs, diags).map(Item::Group),
        "pattern" => pattern(input, attrs, overrides, true, diags).map(Item::Pattern),
        "remove" => {
            keyword(input, "pattern")?;
            let patterns = patterns::patterns(input)?;
            semicolon(input, "remove")?;
            Ok(Item::Remove(Remove { patterns }))
        }
        "use" => {
            if peek_word(input, "kernels") {
                keyword(input, "kernels")?;
                let ident = input.call(Ident::parse_any)?;
                semicolon(input, "use")?;
                return Ok(Item::UseKernels(ident));
            }
            keyword(input, "groups")?;
            let path = Path::parse_mod_style(input)?;
            semicolon(input, "use")?;
            Ok(Item::UseGroups(path))
        }
        _ => Err(messages::unknown_statement(&word).into()),
    }
}

/// `dtype act_qint8 = qint8 { scale >= 2^-12 };`
fn dtype(
    input: ParseStream<'_>,
    attrs: Attrs,
    overrides: Option<Span>,
    diags: &mut Diags,
) -> PResult<DType> {
    let ident = input.call(Ident::parse_any)?;
    input.parse::<Token![=]>()?;
    let base = input.call(Ident::parse_any)?;
    let bounds = if input.peek(token::Brace) {
        bounds::bounds(input, diags)?
    } else {
        Vec::new()
    };
    let dtype = DType {
        attrs,
        overrides,
        ident,
        base,
        bounds,
    };
    whole(input, "dtype", diags)?;
    Ok(dtype)
}

/// `config weighted { input: quint8, output: quint8 }`
fn config(
    input: ParseStream<'_>,
    attrs: Attrs,
    overrides: Option<Span>,
    dynamic: Option<Span>,
    diags: &mut Diags,
) -> PResult<Config> {
    let ident = input.call(Ident::parse_any)?;
    let (_, content) = braces(input)?;
    let mut config = Config {
        attrs,
        overrides,
        dynamic,
        ident,
        fields: Vec::new(),
        broken: false,
    };
    while !content.is_empty() {
        match field(&content) {
            Ok(field) => config.fields.push(field),
            Err(diag) => {
                diags.error(*diag);
                config.broken = true;
                skip_to_comma(&content);
            }
        }
    }
    if input.peek(Token![;]) {
        input.parse::<Token![;]>()?;
    }
    Ok(config)
}

fn field(input: ParseStream<'_>) -> PResult<(Ident, Ident)> {
    let name = input.call(Ident::parse_any)?;
    input.parse::<Token![:]>()?;
    let dtype = input.call(Ident::parse_any)?;
    if !input.is_empty() {
        input.parse::<Token![,]>()?;
    }
    Ok((name, dtype))
}

pub(super) fn skip_to_comma(input: ParseStream<'_>) {
    while !input.is_empty() {
        match input.parse::<TokenTree>() {
            Ok(TokenTree::Punct(punct)) if punct.as_char() == ',' => return,
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

/// `list weighted = [weighted_qint8, weighted_quint8];`
fn list(input: ParseStream<'_>, attrs: Attrs, overrides: Option<Span>) -> PResult<List> {
    let ident = input.call(Ident::parse_any)?;
    input.parse::<Token![=]>()?;
    let configs = configs(input)?;
    semicolon(input, "list")?;
    Ok(List {
        attrs,
        overrides,
        ident,
        configs,
    })
}

/// `weighted` or `[weighted.., dynamic_int8]`
pub(super) fn configs(input: ParseStream<'_>) -> PResult<Configs> {
    let first = input.span();
    if !input.peek(token::Bracket) {
        let ident = input.call(Ident::parse_any)?;
        return Ok(Configs {
            at: first.into(),
            bracketed: false,
            names: vec![(ident, false)],
        });
    }
    let (bracket, content) = brackets(input)?;
    let mut names = Vec::new();
    while !content.is_empty() {
        let ident = content.call(Ident::parse_any)?;
        let spread = content.peek(Token![..]);
        if spread {
            content.parse::<Token![..]>()?;
        }
        names.push((ident, spread));
        if !content.is_empty() {
            content.parse::<Token![,]>()?;
        }
    }
    Ok(Configs {
        at: Place {
            first: bracket.span.open(),
            last: bracket.span.close(),
        },
        bracketed: true,
        names,
    })
}

/// `group conv: weighted { kernel => crate::Q8Conv; }`
fn group(input: ParseStream<'_>, attrs: Attrs, diags: &mut Diags) -> PResult<GroupUse> {
    let name = input.call(Ident::parse_any)?;
    let configs = required_configs(input)?;
    let clauses = block(input, "group", diags)?;
    Ok(GroupUse {
        attrs,
        name,
        configs,
        clauses,
    })
}

fn required_configs(input: ParseStream<'_>) -> PResult<Configs> {
    if !input.peek(Token![:]) {
        return Err(messages::missing_configs(input.cursor().prev_span()).into());
    }
    input.parse::<Token![:]>()?;
    configs(input)
}

/// `pattern conv2d + relu: weighted { fused: nni::ConvReLU2d; }`, behind the keyword.
pub(super) fn pattern(
    input: ParseStream<'_>,
    attrs: Attrs,
    overrides: Option<Span>,
    with_configs: bool,
    diags: &mut Diags,
) -> PResult<PatternItem> {
    let patterns = patterns::patterns(input)?;
    let configs = with_configs.then(|| required_configs(input)).transpose()?;
    let clauses = block(input, "pattern", diags)?;
    Ok(PatternItem {
        attrs,
        overrides,
        patterns,
        configs,
        clauses,
    })
}

/// `;` or clauses in braces.
fn block(
    input: ParseStream<'_>,
    statement: &str,
    diags: &mut Diags,
) -> PResult<Vec<crate::ast::Clause>> {
    if input.peek(token::Brace) {
        let clauses = clauses::block(input, statement, diags)?;
        if input.peek(Token![;]) {
            input.parse::<Token![;]>()?;
        }
        return Ok(clauses);
    }
    whole(input, statement, diags)?;
    Ok(Vec::new())
}

/// The `;` of a statement that is whole without it, if another begins behind it.
fn whole(input: ParseStream<'_>, statement: &str, diags: &mut Diags) -> PResult<()> {
    match semicolon(input, statement) {
        Err(diag) if next_is_statement(input) => {
            diags.error(*diag);
            Ok(())
        }
        result => result,
    }
}

pub(super) fn next_is_statement(input: ParseStream<'_>) -> bool {
    input.is_empty()
        || input.peek(Token![#])
        || input.peek(Token![pub])
        || messages::STATEMENTS
            .iter()
            .chain(&messages::MODIFIERS)
            .any(|word| peek_word(input, word))
}
