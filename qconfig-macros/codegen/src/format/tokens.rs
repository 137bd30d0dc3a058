//! Tokens with the comments and line breaks before them, which Rust's own tokens do not have.

use core::ops::Range;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A comment between two tokens.
#[derive(Clone, Debug)]
pub(super) struct Comment {
    /// As it stands in the source.
    pub(super) text: String,
    /// Whether a line break stands before it.
    pub(super) own_line: bool,
    /// Whether an empty line stands before it.
    pub(super) blank_before: bool,
}

/// What stands between two tokens.
#[derive(Clone, Default, Debug)]
pub(super) struct Gap {
    /// As it stands in the source.
    pub(super) text: String,
    /// Comments, in order.
    pub(super) comments: Vec<Comment>,
    /// Whether there is a line break.
    pub(super) broken: bool,
    /// Whether an empty line stands directly before the token.
    pub(super) blank: bool,
}

/// A token, or a group of them.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    /// What stands before it.
    pub(super) gap: Gap,
    /// What it is.
    pub(super) kind: Kind,
    /// Where it stands in the source.
    pub(super) text: String,
}

/// What a token is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// A name, a number, a string.
    Word,
    /// `::`, `=>`, `..=` and the like.
    Punct,
    /// `/// ..` or `#[..]`
    Attribute,
    /// Delimiters and what they hold, with what stands before the closing one.
    Group(Delimiter, Vec<Tree>, Gap),
}

impl Tree {
    pub(super) fn is_punct(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Punct) && self.text == text
    }

    pub(super) fn is_word(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word) && self.text == text
    }

    pub(super) fn is_brace(&self) -> bool {
        matches!(self.kind, Kind::Group(Delimiter::Brace, ..))
    }

    /// Whether a comment stands somewhere inside.
    pub(super) fn has_comments_inside(&self) -> bool {
        match &self.kind {
            Kind::Group(_, trees, end) => {
                !end.comments.is_empty()
                    || trees
                        .iter()
                        .any(|tree| !tree.gap.comments.is_empty() || tree.has_comments_inside())
            }
            _ => false,
        }
    }
}

/// Signs of several characters, the longest first.
const PUNCTS: [&str; 8] = ["..=", "::", "=>", "..", ">=", "<=", "==", "->"];

struct Reader<'s> {
    source: &'s str,
    skipped: usize,
    /// Where the last token ended.
    end: usize,
}

/// Reads what stands in `body`, and the gap at its end.
pub(super) fn read(
    tokens: TokenStream,
    source: &str,
    skipped: usize,
    body: Range<usize>,
) -> (Vec<Tree>, Gap) {
    let mut reader = Reader {
        source,
        skipped,
        end: body.start,
    };
    let trees = reader.trees(tokens);
    let end = reader.gap(body.end);
    (trees, end)
}

impl Reader<'_> {
    fn trees(&mut self, tokens: TokenStream) -> Vec<Tree> {
        let mut trees = Vec::new();
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            let mut range = self.range(&token);
            let gap = self.gap(range.start);
            let kind = match token {
                TokenTree::Group(group) => {
                    self.end = group.span_open().byte_range().end + self.skipped;
                    let inner = self.trees(group.stream());
                    let close = group.span_close().byte_range().start + self.skipped;
                    let end = self.gap(close);
                    Kind::Group(group.delimiter(), inner, end)
                }
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    // of a doc comment both tokens stand where it stands
                    if let Some(TokenTree::Group(_)) = tokens.peek()
                        && let Some(next) = tokens.next()
                    {
                        range.end = range.end.max(self.range(&next).end);
                    }
                    Kind::Attribute
                }
                TokenTree::Punct(_) => {
                    let rest = self.source.get(range.start..).unwrap_or_default();
                    if let Some(sign) = PUNCTS.into_iter().find(|sign| rest.starts_with(sign)) {
                        for _ in 1..sign.len() {
                            tokens.next();
                        }
                        range.end = range.start + sign.len();
                    }
                    Kind::Punct
                }
                _ => Kind::Word,
            };
            self.end = range.end;
            let text = self.source.get(range).unwrap_or_default();
            trees.push(Tree {
                gap,
                kind,
                // a doc comment ends before the line break, which may be `\r\n`
                text: text.trim_end_matches('\r').replace("\r\n", "\n"),
            });
        }
        trees
    }

    fn range(&self, token: &TokenTree) -> Range<usize> {
        let range = token.span().byte_range();
        range.start + self.skipped..range.end + self.skipped
    }

    /// What stands from the last token to `start`: white space and comments.
    fn gap(&self, start: usize) -> Gap {
        let mut rest = self.source.get(self.end..start).unwrap_or_default();
        let mut gap = Gap {
            text: rest.replace("\r\n", "\n"),
            ..Gap::default()
        };
        let mut breaks = 0;
        loop {
            let white = rest.len() - rest.trim_start().len();
            let (space, after) = rest.split_at(white);
            breaks += space.matches('\n').count();
            gap.broken |= breaks > 0;
            if after.is_empty() {
                gap.blank = breaks > 1;
                return gap;
            }
            let length = comment(after);
            let (text, behind) = after.split_at(length);
            gap.comments.push(Comment {
                text: text.trim_end().replace("\r\n", "\n"),
                own_line: breaks > 0,
                blank_before: breaks > 1,
            });
            gap.broken |= text.contains('\n');
            breaks = 0;
            rest = behind;
        }
    }
}

/// How long the comment is that a text begins with.
fn comment(text: &str) -> usize {
    if !text.starts_with("/*") {
        return text.find('\n').unwrap_or(text.len());
    }
    // they nest
    let (mut depth, mut at) = (0usize, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}
