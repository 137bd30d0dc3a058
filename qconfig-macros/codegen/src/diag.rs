//! What is said to the user, and where. Every message of the macro stands in [`messages`].

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};

pub mod messages;

/// From the first to the last token that a message is about.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The first token.
    pub first: Span,
    /// The last one.
    pub last: Span,
}

impl Place {
    /// The line of the first token.
    pub fn line(&self) -> usize {
        self.first.start().line
    }
}

impl From<Span> for Place {
    fn from(span: Span) -> Self {
        Self {
            first: span,
            last: span,
        }
    }
}

impl From<&proc_macro2::Ident> for Place {
    fn from(ident: &proc_macro2::Ident) -> Self {
        ident.span().into()
    }
}

/// An error: what is wrong, facts that explain it, and what to do.
#[derive(Clone, Debug)]
pub struct Diag {
    /// Where it is shown.
    pub at: Place,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// Facts: `note`.
    pub notes: Vec<String>,
    /// Advice: `help`.
    pub helps: Vec<String>,
}

impl Diag {
    /// An error with nothing but its message.
    pub fn new(at: impl Into<Place>, message: impl Into<String>) -> Self {
        Self {
            at: at.into(),
            message: message.into(),
            notes: Vec::new(),
            helps: Vec::new(),
        }
    }

    /// Adds a fact.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.helps.push(help.into());
        self
    }

    /// The text as rustc shows it: the message, a blank line, notes and help.
    pub fn text(&self) -> String {
        let mut text = self.message.clone();
        let lines = self.notes.iter().map(|note| ("note", note));
        let lines = lines.chain(self.helps.iter().map(|help| ("help", help)));
        for (i, (kind, line)) in lines.enumerate() {
            text.push_str(if i == 0 { "\n\n" } else { "\n" });
            text.push_str(&format!("= {kind}: {line}"));
        }
        text
    }
}

impl From<syn::Error> for Diag {
    fn from(error: syn::Error) -> Self {
        Diag::new(error.span(), error.to_string())
    }
}

/// A warning, shown by the use of a deprecated constant: stable Rust has no other way for a macro.
#[derive(Clone, Debug)]
pub struct Lint {
    /// The constant's name, which rustc shows.
    pub name: &'static str,
    /// The text.
    pub diag: Diag,
}

/// Collects what a run finds; everything is said at once, in the order of the source.
#[derive(Default, Debug)]
pub struct Diags {
    errors: Vec<Diag>,
    lints: Vec<Lint>,
}

impl Diags {
    /// Errors beyond this number are only counted.
    pub const MOST: usize = 20;

    /// Adds an error.
    pub fn error(&mut self, diag: Diag) {
        self.errors.push(diag);
    }

    /// Adds a warning.
    pub fn lint(&mut self, name: &'static str, diag: Diag) {
        self.lints.push(Lint { name, diag });
    }

    /// Whether there is an error.
    pub fn any(&self) -> bool {
        !self.errors.is_empty()
    }

    /// How many errors there are.
    pub fn count(&self) -> usize {
        self.errors.len()
    }

    /// The errors in source order.
    pub fn errors(&self) -> Vec<&Diag> {
        let mut errors: Vec<&Diag> = self.errors.iter().collect();
        errors.sort_by_key(|diag| {
            let start = diag.at.first.start();
            (start.line, start.column)
        });
        errors
    }

    /// The warnings; none while there are errors, which may be what causes them.
    pub fn lints(&self) -> &[Lint] {
        if self.any() { &[] } else { &self.lints }
    }

    /// The errors as `compile_error!`s.
    pub fn to_tokens(&self) -> TokenStream {
        let errors = self.errors();
        let mut tokens = TokenStream::new();
        for diag in errors.iter().take(Self::MOST) {
            tokens.extend(compile_error(diag.at, &diag.text()));
        }
        if let Some(next) = errors.get(Self::MOST) {
            let more = errors.len() - Self::MOST;
            tokens.extend(compile_error(next.at, &format!("and {more} more errors")));
        }
        tokens
    }
}

fn compile_error(at: Place, text: &str) -> TokenStream {
    // the path carries the first token's span, the braces the last one's: rustc underlines both and
    // all between
    let path = quote_spanned!(at.first=> ::core::compile_error!);
    let mut text = proc_macro2::Literal::string(text);
    text.set_span(at.last);
    let braces = quote_spanned!(at.last=> { #text });
    quote!(#path #braces)
}
