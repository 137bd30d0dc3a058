//! `qconfig expand`: what a spec becomes.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use proc_macro2::TokenStream;
use qconfig::backends;
use qconfig_codegen::format::{Macro, invocations};
use quote::quote;

const EXAMPLES: &str = "Examples:
  qconfig expand src/backend.rs
  qconfig expand src/backend.rs | less

Errors of the spec stand in it as `compile_error!`, as the compiler would find them. A spec that extends another or
uses groups of another library is shown up to the call that fetches those.";

/// The command's arguments.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExpandArgs {
    /// A Rust file with specs in it.
    file: PathBuf,
}

/// What is printed.
pub(crate) fn run(args: &ExpandArgs) -> anyhow::Result<String> {
    let place = args.file.display();
    let source = fs::read_to_string(&args.file)
        .with_context(|| format!("{place}: the file could not be read"))?;
    let calls = invocations(&source).map_err(|diag| anyhow::anyhow!("{place}: {}", diag.text()))?;
    let groups = invocations(backends::GROUPS).map_err(|diag| anyhow::anyhow!(diag.text()))?;
    let groups: TokenStream = groups.into_iter().map(|call| call.tokens).collect();
    let mut text = String::new();
    for call in calls {
        let spec = call.tokens;
        let expanded = match call.kind {
            Macro::Spec => qconfig_codegen::backend_config(quote! {
                [::qconfig::__private::backend_config] [::qconfig::__private] { #spec } { #groups }
            }),
            Macro::Library => qconfig_codegen::op_groups(spec),
        };
        // the macros that hand tokens on are no Rust that could be laid out: they are left out
        let file: syn::File =
            syn::parse2(expanded).with_context(|| format!("{place}: the expansion is no Rust"))?;
        text += &prettyplease::unparse(&file);
    }
    if text.is_empty() {
        bail!("{place}: there is no `backend_config!` or `op_groups!` in it");
    }
    Ok(text)
}
