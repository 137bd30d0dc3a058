//! `pub static DIGITS: qconfig::backends::qnnpack; conv2d + relu @ weighted_quint8;`

use proc_macro2::Ident;
use syn::parse::ParseStream;
use syn::{Path, Token, Visibility};

use super::{PResult, attempt, attributes, keyword, patterns, peek_word, semicolon, statements};
use crate::ast::{KernelRow, KernelTable};
use crate::diag::{Diag, Diags, messages};

pub(super) fn table(input: ParseStream<'_>, diags: &mut Diags) -> PResult<KernelTable> {
    let attrs = attributes(input, diags)?;
    let vis: Visibility = input.parse()?;
    let at = input.span();
    input
        .parse::<Token![static]>()
        .map_err(|_| messages::no_table(at))?;
    let ident: Ident = input.parse()?;
    input.parse::<Token![:]>()?;
    let backend = Path::parse_mod_style(input)?;
    semicolon(input, "static")?;
    let mut table = KernelTable {
        attrs,
        vis,
        ident,
        backend,
        rows: Vec::new(),
    };
    let before = diags.count();
    while !input.is_empty() {
        match attempt(input, |input| row(input, diags)) {
            Ok(row) => table.rows.push(row),
            Err(diag) => diags.error(*diag),
        }
    }
    if table.rows.is_empty() && diags.count() == before {
        diags.error(messages::empty_table(&table.ident));
    }
    Ok(table)
}

fn row(input: ParseStream<'_>, diags: &mut Diags) -> PResult<KernelRow> {
    if peek_word(input, "kernel") {
        keyword(input, "kernel")?;
        let at = input.span();
        let path = Path::parse_mod_style(input)
            .map_err(|_| Diag::new(at, "expected the path of a kernel family"))?;
        semicolon(input, "kernel")?;
        return Ok(KernelRow::Family(path));
    }
    let patterns = patterns::patterns(input)?;
    if !input.peek(Token![@]) {
        return Err(messages::no_at(input.cursor().prev_span()).into());
    }
    input.parse::<Token![@]>()?;
    let configs = statements::configs(input)?;
    semicolon(input, "row")?;
    if configs.names.is_empty() {
        diags.error(messages::no_configs(configs.at, "the row"));
    }
    let mut names = Vec::new();
    for (name, is_spread) in configs.names {
        if is_spread {
            diags.error(messages::spread_in_table(&name));
        } else {
            names.push(name);
        }
    }
    Ok(KernelRow::Pairs(patterns, names))
}
