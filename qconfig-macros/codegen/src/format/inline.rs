//! Tokens on one line.

use proc_macro2::Delimiter;

use super::tokens::{Kind, Tree};

/// Tokens with one space where one belongs; separators that nothing follows are left out.
pub(super) fn line(trees: &[Tree]) -> String {
    let mut out = String::new();
    write(trees, &mut out);
    out
}

fn write(trees: &[Tree], out: &mut String) {
    for (at, tree) in trees.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| trees.get(at));
        if let Some(before) = before
            && space(before, tree)
        {
            out.push(' ');
        }
        let Kind::Group(delimiter, inner, _) = &tree.kind else {
            out.push_str(&tree.text);
            continue;
        };
        let inner = match inner.split_last() {
            Some((last, rest)) if last.is_punct(",") => rest,
            _ => inner,
        };
        let (open, close) = match delimiter {
            Delimiter::Parenthesis => ("(", ")"),
            Delimiter::Bracket => ("[", "]"),
            Delimiter::Brace if inner.is_empty() => ("{", "}"),
            // `{nn::ReLU | F::relu}` is one operator
            Delimiter::Brace if alternatives(before) => ("{", "}"),
            Delimiter::Brace => ("{ ", " }"),
            Delimiter::None => ("", ""),
        };
        out.push_str(open);
        write(inner, out);
        out.push_str(close);
    }
}

/// Whether braces behind that token hold alternatives of an operator.
pub(super) fn alternatives(before: Option<&Tree>) -> bool {
    before.is_none_or(|before| {
        before.is_punct("|") || before.is_punct("+") || before.is_word("pattern")
    })
}

/// Whether a space stands between two tokens.
fn space(before: &Tree, tree: &Tree) -> bool {
    const TIGHT: [&str; 5] = ["::", "^", "/", "..=", "$"];
    let is_any = |tree: &Tree, signs: &[&str]| signs.iter().any(|sign| tree.is_punct(sign));
    if is_any(before, &TIGHT) || is_any(tree, &TIGHT[..4]) {
        // a path that begins with `::` is a word of its own
        return tree.is_punct("::") && starts_path(before);
    }
    if is_any(tree, &[",", ";", ":", ".."]) {
        return false;
    }
    if before.is_punct("-") {
        return false;
    }
    if let Kind::Group(Delimiter::Parenthesis, ..) = tree.kind {
        return false;
    }
    true
}

/// Whether a token is none that a path goes on from.
fn starts_path(before: &Tree) -> bool {
    let keyword = ["pattern", "groups", "for", "extends"]
        .iter()
        .any(|word| before.is_word(word));
    keyword || (matches!(before.kind, Kind::Punct) && !before.is_punct("$"))
}
