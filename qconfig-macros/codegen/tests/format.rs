//! The layout of specs: fixed points, laws, and what is left alone.
#![cfg(feature = "tools")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use proptest::prelude::*;
use qconfig_codegen::format;

fn laid_out(source: &str) -> String {
    format::file(source).unwrap_or_else(|errors| {
        let said: Vec<String> = errors.iter().map(|error| error.text()).collect();
        panic!("{said:?}\n{source}")
    })
}

/// A spec of these statements, as it comes out, without the call around it.
fn spec(statements: &str) -> String {
    let source = format!("backend_config! {{ pub backend B = \"b\";\n{statements}\n}}");
    let out = laid_out(&source);
    let inner = out
        .strip_prefix("backend_config! {\n    pub backend B = \"b\";\n")
        .unwrap();
    inner.strip_suffix("}").unwrap().to_owned()
}

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The project's own specs.
fn own_files() -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(repository().join("backends"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.push(repository().join("examples/own_backend/main.rs"));
    let mut read: Vec<_> = files
        .iter()
        .map(|path| {
            (
                path.display().to_string(),
                fs::read_to_string(path).unwrap(),
            )
        })
        .collect();
    read.sort();
    read
}

#[test]
fn own_specs_are_fixed_points() {
    for (path, text) in own_files() {
        let out = laid_out(&text);
        if out != text {
            let first = out.lines().zip(text.lines()).position(|(a, b)| a != b);
            let at = first.unwrap_or(0);
            panic!(
                "{path}:{}\nis      {}\nbecomes {}",
                at + 1,
                text.lines().nth(at).unwrap_or_default(),
                out.lines().nth(at).unwrap_or_default()
            );
        }
    }
}

#[test]
fn neighbours_stand_below_each_other() {
    let out = spec(
        "dtype a=quint8{quant in 0..=127}; dtype long=qint8{quant in-127..=127,}; dtype c = f32;
         config one{input:a,output:a,} #[allow(unused)] dynamic config two {input:a,output:f32}

         list x=[one,]; list longer=[x..,two];",
    );
    assert_eq!(
        out,
        "    dtype a    = quint8 { quant in 0..=127 };
    dtype long = qint8  { quant in -127..=127 };
    dtype c    = f32;
    config one         { input: a, output: a }
    #[allow(unused)]
    dynamic config two { input: a, output: f32 }

    list x      = [one];
    list longer = [x.., two];
"
    );
}

#[test]
fn a_block_stays_on_its_line_where_it_has_room() {
    let out = spec(
        "group conv:[a..,b]{kernel a=>crate::A;kernel for conv2d|linear=>crate::B;kernel longer => ::x::C;
            kernel b=>crate::D; kernel none;}
         group cat : a { kernel=>crate::kernels::Q8Cat ; } ;
         pattern {nn::Conv2d|F::conv2d}+{nn::ReLU|F::relu} : a {
            root:nn::Conv2d; fuser:conv_bn; fused:nni::ConvReLU2d; qat:nniqat::ConvReLU2d; args{weight:1,bias:2} kernel none; }
         pattern relu(add(_,conv2d+bn2d)):a{ root_node:[1,0]; extra_inputs:[[0],]; }
         pattern sigmoid:a{fix quint8{quant in 0..=255,scale==1/256,zero_point==0,}kernel none;}
         remove pattern   tanh;",
    );
    assert_eq!(
        out,
        "    group conv: [a.., b] {
        kernel a => crate::A;
        kernel for conv2d | linear => crate::B;
        kernel longer => ::x::C;
        kernel b      => crate::D;
        kernel none;
    }
    group cat: a { kernel => crate::kernels::Q8Cat; }
    pattern {nn::Conv2d | F::conv2d} + {nn::ReLU | F::relu}: a {
        root: nn::Conv2d; fuser: conv_bn; fused: nni::ConvReLU2d; qat: nniqat::ConvReLU2d;
        args { weight: 1, bias: 2 }
        kernel none;
    }
    pattern relu(add(_, conv2d + bn2d)): a { root_node: [1, 0]; extra_inputs: [[0]]; }
    pattern sigmoid: a { fix quint8 { quant in 0..=255, scale == 1/256, zero_point == 0 } kernel none; }
    remove pattern tanh;
"
    );
}

#[test]
fn long_lists_of_patterns_keep_their_authors_breaks() {
    let out = spec(
        "pattern nn::ELU | nn::LeakyReLU | nn::Hardswish
            | nn::InstanceNorm1d | nn::InstanceNorm2d | nn::InstanceNorm3d | nn::Dropout | nn::PReLU |
            F::elu | F::hardswish : default { observe: shared; }
         pattern nn::ELU | nn::LeakyReLU | nn::Hardswish | nn::InstanceNorm1d | nn::InstanceNorm2d | nn::InstanceNorm3d | nn::Dropout: default;",
    );
    assert_eq!(
        out,
        "    pattern nn::ELU | nn::LeakyReLU | nn::Hardswish
        | nn::InstanceNorm1d | nn::InstanceNorm2d | nn::InstanceNorm3d | nn::Dropout | nn::PReLU
        | F::elu | F::hardswish: default
    {
        observe: shared;
    }
    pattern nn::ELU | nn::LeakyReLU | nn::Hardswish | nn::InstanceNorm1d | nn::InstanceNorm2d
        | nn::InstanceNorm3d | nn::Dropout: default;
"
    );
}

#[test]
fn comments_docs_and_blank_lines_stay() {
    let out = spec(
        "  // above


         /// Documented.
         #[cfg(any())] // why
         config a { input: f32, output: f32 } // behind


         /* a block */ config b { input: f32, output: f32 }
         // in the middle: left as it stands
         config c { input: f32, // here
            output:   f32 }
         pattern nn::ReLU : a { // first
            // own line
            kernel   none ; // last

            // at the end
         }
         // after all",
    );
    assert_eq!(
        out,
        "    // above

    /// Documented.
    #[cfg(any())] // why
    config a { input: f32, output: f32 } // behind

    /* a block */
    config b { input: f32, output: f32 }
    // in the middle: left as it stands
    config c { input: f32, // here
            output:   f32 }
    pattern nn::ReLU: a {
        // first
        // own line
        kernel none; // last

        // at the end
    }
    // after all
"
    );
}

#[test]
fn all_else_in_the_file_stays_byte_for_byte() {
    let before = "#!/usr/bin/env run\n\u{feff}// ä\nfn  f( ) { }\n  ";
    let after = "\n\nmod  m{ }   // backend_config! { x }";
    let source = format!("{before}q::backend_config!{{backend B=\"ö\";\t}}{after}");
    let out = laid_out(&source.replace('\u{feff}', ""));
    let expected = format!("{before}q::backend_config!{{\n      backend B = \"ö\";\n  }}{after}");
    assert_eq!(out, expected.replace('\u{feff}', ""));
    let windows =
        "fn f() {}\r\nbackend_config! {\r\nbackend B = \"b\";\r\n/// d\r\nuse groups x;\r\n}\r\n";
    let out = laid_out(windows);
    assert_eq!(
        out,
        "fn f() {}\r\nbackend_config! {\r\n    backend B = \"b\";\r\n    /// d\r\n    use groups x;\r\n}\r\n"
    );
    assert_eq!(laid_out("fn main() {}\n"), "fn main() {}\n");
}

#[test]
fn what_does_not_parse_is_an_error_with_its_place() {
    let errors =
        format::file("\n\nbackend_config! { backend B = \"b\"; config a { input } }").unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].at.line(), 3);
    assert!(format::file("fn f( {").is_err());
    // one spec is broken: no word about the others, nothing is written
    assert!(format::file("backend_config! { lst; } backend_config! {backend B=\"b\";}").is_err());
}

/// Tokens as text, separators that nothing follows left out.
fn flat(tokens: TokenStream, out: &mut Vec<String>) {
    let mut tokens = tokens.into_iter().peekable();
    let mut before_is_brace = false;
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => {
                before_is_brace = group.delimiter() == Delimiter::Brace;
                out.push(format!("{:?}", group.delimiter()));
                flat(group.stream(), out);
                out.push("end".into());
            }
            TokenTree::Punct(punct)
                if (punct.as_char() == ',' && tokens.peek().is_none())
                    || (punct.as_char() == ';' && before_is_brace) => {}
            other => {
                before_is_brace = false;
                out.push(other.to_string());
            }
        }
    }
}

fn same_tokens(a: &str, b: &str) -> Result<(), TestCaseError> {
    let flat = |text: &str| {
        let mut out = Vec::new();
        flat(text.parse().expect("tokens"), &mut out);
        out
    };
    prop_assert_eq!(flat(a), flat(b));
    Ok(())
}

/// Comments that a test put in, in order.
fn comments(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for part in text.split("/*C").skip(1) {
        found.push(part.split("*/").next().unwrap());
    }
    for part in text.split("//C").skip(1) {
        found.push(part.lines().next().unwrap().trim());
    }
    found
}

/// Specs to take apart.
fn corpus() -> Vec<String> {
    let mut texts: Vec<String> = own_files().into_iter().map(|(_, text)| text).collect();
    texts.push(fs::read_to_string(repository().join("tests/ui/pass.rs")).unwrap());
    let mut specs = Vec::new();
    for text in texts {
        for call in format::invocations(&text).unwrap() {
            let name = match call.kind {
                format::Macro::Spec => "backend_config",
                format::Macro::Library => "op_groups",
            };
            let body: Vec<&str> = text[call.body].lines().collect();
            specs.push(format!("{name}! {{{}}}\n", body.join("\n")));
        }
    }
    specs
}

/// A spec with other white space, and with comments between its tokens, by what `choices` say.
fn disturbed(spec: &str, choices: &[u8]) -> String {
    fn write(tokens: TokenStream, next: &mut impl FnMut() -> u8, out: &mut String) {
        let mut joint = false;
        for token in tokens {
            if !joint {
                match next() {
                    0..=99 => out.push(' '),
                    100..=169 => out.push('\n'),
                    170..=199 => out.push_str("\n\n\n   "),
                    200..=235 => out.push_str("  "),
                    c @ 236..=245 => out.push_str(&format!(" /*C{c}*/ ")),
                    c => out.push_str(&format!(" //C{c}\n")),
                }
            }
            joint = false;
            match token {
                TokenTree::Group(group) => {
                    let (open, close) = match group.delimiter() {
                        Delimiter::Brace => ('{', '}'),
                        Delimiter::Bracket => ('[', ']'),
                        _ => ('(', ')'),
                    };
                    out.push(open);
                    write(group.stream(), next, out);
                    out.push(' ');
                    out.push(close);
                }
                TokenTree::Punct(punct) => {
                    out.push(punct.as_char());
                    joint = punct.spacing() == proc_macro2::Spacing::Joint;
                }
                other => out.push_str(&other.to_string()),
            }
        }
    }
    let mut at = 0;
    let mut next = || {
        at += 1;
        choices[at % choices.len()]
    };
    let mut out = String::new();
    write(spec.parse().unwrap(), &mut next, &mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn layout_keeps_tokens_and_comments_and_is_reached_at_once(
        which in any::<prop::sample::Index>(),
        choices in prop::collection::vec(any::<u8>(), 3..400),
        quiet in any::<bool>(),
    ) {
        let corpus = corpus();
        let spec = &corpus[which.index(corpus.len())];
        // half of the cases without comments: only then nothing is left as it stands
        let choices: Vec<u8> = choices.into_iter().map(|c| if quiet { c % 236 } else { c }).collect();
        let source = disturbed(spec, &choices);
        let out = laid_out(&source);
        same_tokens(&source, &out)?;
        prop_assert_eq!(comments(&source), comments(&out));
        prop_assert_eq!(&laid_out(&out), &out);
    }
}
