//! `{ scale >= 2^-12, quant in -127..=127 }`

use proc_macro2::{Ident, Span};
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{LitFloat, LitInt, Path, Token};

use super::{PResult, braces, place, statements::skip_to_comma};
use crate::ast::{Bound, BoundKind, Scale, ScaleValue, path_text};
use crate::diag::{Diag, Diags, messages};

pub(super) fn bounds(input: ParseStream<'_>, diags: &mut Diags) -> PResult<Vec<Bound>> {
    let (_, content) = braces(input)?;
    let mut bounds = Vec::new();
    while !content.is_empty() {
        match bound(&content) {
            Ok(bound) => bounds.push(bound),
            Err(diag) => {
                diags.error(*diag);
                skip_to_comma(&content);
            }
        }
    }
    Ok(bounds)
}

fn bound(input: ParseStream<'_>) -> PResult<Bound> {
    let first = input.span();
    let name = input.call(Ident::parse_any)?;
    let kind = match &*name.to_string() {
        "quant" => quant(input)?,
        "scale" => scale_bound(input)?,
        "zero_point" => {
            if !input.peek(Token![==]) {
                return Err(messages::zero_point_syntax(input.span()).into());
            }
            input.parse::<Token![==]>()?;
            BoundKind::ZeroPoint(integer(input)?)
        }
        _ => return Err(messages::unknown_bound(&name).into()),
    };
    let at = place(first, input);
    if !input.is_empty() {
        input.parse::<Token![,]>()?;
    }
    Ok(Bound { at, kind })
}

/// `in -127..=127`; a missing end is told apart from wrong syntax.
fn quant(input: ParseStream<'_>) -> PResult<BoundKind> {
    if !input.peek(Token![in]) {
        return Err(messages::quant_syntax(input.span()).into());
    }
    input.parse::<Token![in]>()?;
    let low = if input.peek(Token![..]) || input.peek(Token![..=]) {
        None
    } else {
        Some(integer(input)?)
    };
    if !input.peek(Token![..=]) {
        if input.peek(Token![..]) && (input.peek2(Token![,]) || low.is_some() && open_ended(input))
        {
            input.parse::<Token![..]>()?;
            return Ok(BoundKind::Quant(low, None));
        }
        return Err(messages::quant_syntax(input.span()).into());
    }
    input.parse::<Token![..=]>()?;
    Ok(BoundKind::Quant(low, Some(integer(input)?)))
}

/// Whether nothing follows `..`.
fn open_ended(input: ParseStream<'_>) -> bool {
    let fork = input.fork();
    fork.parse::<Token![..]>().is_ok() && fork.is_empty()
}

fn scale_bound(input: ParseStream<'_>) -> PResult<BoundKind> {
    if input.peek(Token![>=]) {
        input.parse::<Token![>=]>()?;
        Ok(BoundKind::ScaleMin(scale(input)?))
    } else if input.peek(Token![<=]) {
        input.parse::<Token![<=]>()?;
        Ok(BoundKind::ScaleMax(scale(input)?))
    } else if input.peek(Token![==]) {
        input.parse::<Token![==]>()?;
        Ok(BoundKind::ScaleExact(scale(input)?))
    } else {
        Err(messages::scale_syntax(input.span()).into())
    }
}

/// `0.5`, `1/256`, `2^-12`, `crate::MIN_SCALE`
fn scale(input: ParseStream<'_>) -> PResult<Scale> {
    let number = |value, text| Scale {
        value: ScaleValue::Number(value),
        text,
    };
    let sign = if input.peek(Token![-]) {
        input.parse::<Token![-]>()?;
        "-"
    } else {
        ""
    };
    if input.peek(LitFloat) {
        let literal: LitFloat = input.parse()?;
        let value: f64 = literal.base10_parse()?;
        let value = if sign.is_empty() { value } else { -value };
        return Ok(number(value, format!("{sign}{literal}")));
    }
    if input.peek(LitInt) {
        let base: LitInt = input.parse()?;
        let value: i32 = base.base10_parse()?;
        let value = f64::from(if sign.is_empty() { value } else { -value });
        if input.peek(Token![/]) {
            input.parse::<Token![/]>()?;
            let by: LitInt = input.parse()?;
            let divisor = f64::from(by.base10_parse::<i32>()?);
            return Ok(number(value / divisor, format!("{sign}{base}/{by}")));
        }
        if input.peek(Token![^]) {
            input.parse::<Token![^]>()?;
            let exponent = integer(input)?;
            let exponent = i32::try_from(exponent)
                .map_err(|_| Diag::new(base.span(), "exponent out of range"))?;
            return Ok(number(
                value.powi(exponent),
                format!("{sign}{base}^{exponent}"),
            ));
        }
        return Ok(number(value, format!("{sign}{base}")));
    }
    let at = input.span();
    let path = Path::parse_mod_style(input).map_err(|_| messages::scale_value(at))?;
    let text = path_text(&path);
    Ok(Scale {
        value: ScaleValue::Path(path),
        text,
    })
}

/// `-127`
pub(super) fn integer(input: ParseStream<'_>) -> PResult<i64> {
    let negative = input.peek(Token![-]);
    let mut at: Span = input.span();
    if negative {
        input.parse::<Token![-]>()?;
        at = input.span();
    }
    let literal: LitInt = input
        .parse()
        .map_err(|_| Diag::new(at, "expected an integer"))?;
    let value: i64 = literal.base10_parse()?;
    Ok(if negative { -value } else { value })
}
