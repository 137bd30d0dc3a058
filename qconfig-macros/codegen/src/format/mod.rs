//! One canonical layout for the specs inside Rust files. Tokens, comments and docs stay as they are;
//! what changes is the white space between them, and separators that nothing follows.
//!
//! - A statement a line, indented by four; at most one blank line between two.
//! - `=` of neighbouring `dtype`s and `list`s, `{` of neighbouring `config`s and `=>` of neighbouring
//!   `kernel` clauses stand below each other.
//! - A block with at most one `kernel` clause stays on its line where that has room
//!   ([`WIDTH`] columns); else short clauses fill lines and the others have one each.
//! - A list of patterns that has no room is broken before `|`: where its author did, and where a line
//!   would be too long.
//! - A statement with a comment where none is expected is left as it stands.
//!
//! ```
//! let file = "qconfig::backend_config!{pub backend B=\"b\";config c{input:f32,output:f32,}}";
//! let formatted = qconfig_codegen::format::file(file).unwrap();
//! assert_eq!(formatted, "qconfig::backend_config!{
//!     pub backend B = \"b\";
//!     config c { input: f32, output: f32 }
//! }");
//! ```

use core::ops::Range;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use crate::diag::{Diag, Diags};
use crate::parse;

mod block;
mod body;
mod inline;
mod patterns;
mod statement;
mod tokens;

/// Lines are at most that long where they can be broken.
pub const WIDTH: usize = 110;

/// Which of the two macros is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Macro {
    /// `backend_config!`
    Spec,
    /// `op_groups!`
    Library,
}

/// A call of one of the macros in a file.
pub struct Invocation {
    /// Which macro.
    pub kind: Macro,
    /// What stands in its braces.
    pub tokens: TokenStream,
    /// From behind `{` to before `}`, in bytes.
    pub body: Range<usize>,
}

/// The calls in a file, in order.
///
/// # Errors
/// Where the file is no sequence of Rust tokens.
pub fn invocations(source: &str) -> Result<Vec<Invocation>, Diag> {
    let (skipped, rest) = behind_shebang(source);
    let tokens: TokenStream = rest.parse().map_err(|error: proc_macro2::LexError| {
        Diag::new(error.span(), "this is no sequence of Rust tokens")
    })?;
    let mut found = Vec::new();
    find(tokens, skipped, &mut found);
    Ok(found)
}

/// The file with every spec and library laid out.
///
/// # Errors
/// What does not parse; the file is then to be left alone.
pub fn file(source: &str) -> Result<String, Vec<Diag>> {
    let mut diags = Diags::default();
    let mut out = String::with_capacity(source.len());
    let mut done = 0;
    for call in invocations(source).map_err(|diag| vec![diag])? {
        let before = diags.errors().len();
        match call.kind {
            Macro::Spec => drop(parse::spec(call.tokens.clone(), &mut diags)),
            Macro::Library => drop(parse::library(call.tokens.clone(), &mut diags)),
        }
        if diags.errors().len() > before {
            continue;
        }
        out.push_str(source.get(done..call.body.start).unwrap_or_default());
        out.push_str(&body(source, &call));
        done = call.body.end;
    }
    if diags.any() {
        return Err(diags.errors().into_iter().cloned().collect());
    }
    out.push_str(source.get(done..).unwrap_or_default());
    Ok(out)
}

/// What stands between the braces, laid out; the file's line ends are kept.
fn body(source: &str, call: &Invocation) -> String {
    let text = source.get(call.body.clone()).unwrap_or_default();
    let (skipped, _) = behind_shebang(source);
    let (trees, end) = tokens::read(call.tokens.clone(), source, skipped, call.body.clone());
    let start = source.get(..call.body.start).unwrap_or_default();
    let line = start.rsplit('\n').next().unwrap_or_default();
    let indent = line.len() - line.trim_start().len();
    let lines = block::lines(trees, end, indent + 4);
    let body = format!("\n{}\n{}", lines.join("\n"), " ".repeat(indent));
    if text.contains("\r\n") {
        body.replace('\n', "\r\n")
    } else {
        body
    }
}

/// How many bytes a `#!` line takes, and what follows it.
fn behind_shebang(source: &str) -> (usize, &str) {
    let is_shebang = source.starts_with("#!") && !source[2..].trim_start().starts_with('[');
    let skipped = match source.find('\n') {
        Some(end) if is_shebang => end,
        _ if is_shebang => source.len(),
        _ => 0,
    };
    (skipped, &source[skipped..])
}

fn find(tokens: TokenStream, skipped: usize, found: &mut Vec<Invocation>) {
    let mut word: Option<Macro> = None;
    let mut called = false;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                word = match &*ident.to_string() {
                    "backend_config" => Some(Macro::Spec),
                    "op_groups" => Some(Macro::Library),
                    _ => None,
                };
                called = false;
            }
            TokenTree::Punct(punct) if punct.as_char() == '!' && !called => called = true,
            TokenTree::Group(group) => {
                match word.filter(|_| called && group.delimiter() == Delimiter::Brace) {
                    Some(kind) => found.push(Invocation {
                        kind,
                        body: inside(&group, skipped),
                        tokens: group.stream(),
                    }),
                    None => find(group.stream(), skipped, found),
                }
                (word, called) = (None, false);
            }
            _ => (word, called) = (None, false),
        }
    }
}

fn inside(group: &Group, skipped: usize) -> Range<usize> {
    let (open, close) = (
        group.span_open().byte_range(),
        group.span_close().byte_range(),
    );
    open.end + skipped..close.start + skipped
}
