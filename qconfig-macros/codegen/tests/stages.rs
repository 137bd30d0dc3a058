//! Each stage by itself, without a compiler.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

use proc_macro2::{TokenStream, TokenTree};
use qconfig_codegen::ast::{Library, Spec};
use qconfig_codegen::diag::Diags;
use qconfig_codegen::model::{Layer, Model, build};
use qconfig_codegen::{backend_config, parse};

fn tokens(text: &str) -> TokenStream {
    text.parse().expect("Rust tokens")
}

fn groups() -> Library {
    let file = tokens(include_str!("../../../backends/groups.rs"));
    let Some(TokenTree::Group(braces)) = file.into_iter().last() else {
        panic!("groups.rs is a macro call");
    };
    let mut diags = Diags::default();
    let library = parse::library(braces.stream(), &mut diags);
    assert!(!diags.any(), "{:?}", diags.errors());
    library
}

fn parsed(text: &str) -> (Spec, Vec<String>) {
    let mut diags = Diags::default();
    let spec = parse::spec(tokens(text), &mut diags);
    let said = diags.errors().into_iter().map(|diag| diag.message.clone());
    (spec, said.collect())
}

fn modelled(text: &str) -> (Option<Model>, Vec<String>, Vec<&'static str>) {
    let library = groups();
    let groups: Vec<_> = library.groups.iter().collect();
    let mut diags = Diags::default();
    let text = format!("pub backend B = \"b\";\n{text}");
    let spec = parse::spec(tokens(&text), &mut diags);
    let layer = Layer {
        spec: &spec,
        inherited: false,
    };
    let model = build(&[layer], &groups, &[], &mut diags);
    let said = diags
        .errors()
        .iter()
        .map(|diag| diag.message.clone())
        .collect();
    let lints = diags.lints().iter().map(|lint| lint.name).collect();
    (model, said, lints)
}

const CONFIGS: &str = "
    config w { input: quint8, output: quint8, weight: qint8, bias: f32 }
    config s { input: qint8, output: qint8, weight: qint8, bias: f32 }
";

/// The kernel of each pair of a pattern, by name.
fn kernels(model: &Model, pattern: &str) -> Vec<Option<String>> {
    let found = model
        .patterns
        .iter()
        .find(|found| found.key == pattern)
        .unwrap();
    found
        .bindings
        .iter()
        .map(|chain| Some(model.kernels[chain.first()?.kernel?].text.clone()))
        .collect()
}

#[test]
fn a_broken_statement_costs_only_itself() {
    let (spec, said) = parsed(
        "pub backend B = \"b\";
         dtype = qint8;
         config a { input quint8, output: quint8 }
         config b { input: quint8, output: quint8 }
         list = [b];
         pattern nn::ReLU: b { kernel => ; observe: shared; }
         pattern nn::Linear: b;",
    );
    assert_eq!(said.len(), 4, "{said:?}");
    assert_eq!(spec.items.len(), 4);
}

#[test]
fn what_follows_an_error_inside_braces_is_read() {
    let (spec, said) = parsed(
        "pub backend B = \"b\";
         pattern nn::ReLU: b { args { weight } kernel none; }
         config b { input: quint8, output: quint8 }",
    );
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(spec.items.len(), 2);
}

#[test]
fn names_of_broken_statements_are_not_missed() {
    let (_, said, _) = modelled(
        "config a { input: , output: quint8 }
         dtype act = { scale >= 1 };
         config b { input: act, output: act }
         pattern nn::ReLU: [a, b] { kernel none; }",
    );
    assert_eq!(said.len(), 2, "{said:?}");
}

#[test]
fn alternatives_vary_from_the_right() {
    let (model, said, _) = modelled(&format!(
        "{CONFIGS} pattern {{nn::Conv2d | F::conv2d}} + {{nn::ReLU | F::relu}}: [w, s] {{ kernel none; }}"
    ));
    assert_eq!(said, [""; 0]);
    let keys: Vec<String> = model
        .unwrap()
        .patterns
        .into_iter()
        .map(|found| found.key)
        .collect();
    assert_eq!(
        keys,
        [
            "nn::Conv2d + nn::ReLU",
            "nn::Conv2d + F::relu",
            "F::conv2d + nn::ReLU",
            "F::conv2d + F::relu"
        ]
    );
}

#[test]
fn an_override_keeps_the_place_of_the_first() {
    let (model, said, _) = modelled(&format!(
        "{CONFIGS} pattern nn::ReLU: w {{ kernel none; }} pattern nn::Linear: w {{ kernel none; }}
         override pattern relu: s {{ kernel none; }} remove pattern F::relu;"
    ));
    assert_eq!(said, ["nothing to remove: `F::relu` is not configured yet"]);
    let model = model.unwrap();
    assert_eq!(model.patterns[0].key, "nn::ReLU");
    assert_eq!(model.patterns[0].refs[0].config, 1);
}

#[test]
fn the_more_specific_kernel_clause_wins() {
    let (model, said, _) = modelled(&format!(
        "{CONFIGS} group conv: [w, s] {{
            kernel => crate::General;
            kernel w => crate::ForConfig;
            kernel for conv2d => crate::ForOperator;
            kernel s for nn::Conv3d none;
        }}"
    ));
    assert_eq!(said, [""; 0]);
    let model = model.unwrap();
    let some = |name: &str| Some(name.to_owned());
    let (config, general) = (some("crate::ForConfig"), some("crate::General"));
    assert_eq!(kernels(&model, "F::conv1d"), [config.clone(), general]);
    assert_eq!(
        kernels(&model, "nni::ConvReLU2d"),
        [some("crate::ForOperator"), some("crate::ForOperator")]
    );
    assert_eq!(kernels(&model, "nn::Conv3d"), [config, None]);
}

#[test]
fn lints_wait_until_there_is_no_error() {
    let unused = "config w { input: quint8, output: quint8 }";
    assert_eq!(modelled(unused).2, ["unused_dtype_config"]);
    let (_, said, lints) = modelled(&format!("{unused} list all = [x];"));
    assert_eq!((said.len(), lints.len()), (1, 0));
    let allowed = format!("#[allow(unused)] {unused}");
    assert!(modelled(&allowed).2.is_empty());
}

#[test]
fn ranks_repeat_a_block() {
    let library = groups();
    let conv = library
        .groups
        .iter()
        .find(|group| group.ident == "conv")
        .unwrap();
    let texts: Vec<String> = conv
        .patterns
        .iter()
        .flat_map(|item| &item.patterns)
        .map(|pattern| pattern.text())
        .collect();
    assert_eq!(texts[0], "nn::Conv1d");
    assert!(texts.contains(&"nn::Conv3d + nn::BatchNorm3d + F::relu".to_owned()));
    assert!(!texts.iter().any(|text| text.contains("Nd")));
    // 19 patterns a rank, two of them set twice
    assert_eq!(texts.len(), 3 * 21);
}

#[test]
fn everything_valid_is_emitted_beside_the_errors() {
    let input = tokens(&format!(
        "[cb] [::q] {{ pub backend B = \"b\"; {CONFIGS} list x = [y];
            pattern nn::ReLU: w {{ kernel none; }} }} {{ pub groups g; }}"
    ));
    let out = backend_config(input).to_string();
    assert!(out.contains("compile_error"));
    assert!(out.contains("pub static B"));
    assert!(out.contains("pub struct w"));
}

#[test]
fn a_call_past_the_wrapper_is_refused() {
    let out = backend_config(tokens("pub backend B = \"b\";")).to_string();
    assert!(out.contains("compile_error"));
}

/// An editor expands a spec while its next statement is being typed: all that stands around it must stay.
#[test]
fn a_half_typed_statement_leaves_the_rest() {
    let half_typed = [
        "d",
        "dtype",
        "dtype act",
        "dtype act =",
        "dtype act = qint8",
        "dtype act = qint8 {",
        "dtype act = qint8 { scale",
        "dtype act = qint8 { scale >=",
        "dtype act = qint8 { scale >= 2^",
        "dtype act = qint8 { quant in -127..",
        "config",
        "config half",
        "config half {",
        "config half { input",
        "config half { input:",
        "config half { input: quint8,",
        "dynamic",
        "dynamic config",
        "list",
        "list half =",
        "list half = [",
        "list half = [w,",
        "group",
        "group conv",
        "group conv:",
        "group conv: w {",
        "group conv: w { kernel",
        "group conv: w { kernel w",
        "group conv: w { kernel for",
        "group conv: w { kernel for conv2d =>",
        "pattern",
        "pattern nn::",
        "pattern nn::Conv2d +",
        "pattern nn::Conv2d + {nn::ReLU |",
        "pattern add(",
        "pattern add(_,",
        "pattern nn::Conv2d:",
        "pattern nn::Conv2d: w {",
        "pattern nn::Conv2d: w { observe",
        "pattern nn::Conv2d: w { observe by tensor_args {",
        "pattern nn::Conv2d: w { args { weight",
        "pattern nn::Conv2d: w { root:",
        "pattern nn::Conv2d: w { root_node: [",
        "override",
        "override pattern",
        "remove",
        "remove pattern",
        "remove pattern nn::",
        "use",
        "use kernels",
        "use groups",
    ];
    for half in half_typed {
        // an editor closes what is open
        let open: Vec<char> = half
            .chars()
            .filter_map(|c| match c {
                '{' => Some('}'),
                '[' => Some(']'),
                '(' => Some(')'),
                _ => None,
            })
            .collect();
        let closed: String = half.chars().chain(open.into_iter().rev()).collect();
        let spec = format!(
            "pub backend B = \"b\";\n {CONFIGS}\n pattern nn::ReLU: w {{ kernel none; }}\n {closed}\n\
             pattern nn::Linear: [w, s] {{ kernel none; }}"
        );
        let input = tokens(&format!("[cb] [::q] {{ {spec} }} {{ pub groups g; }}"));
        let out = backend_config(input).to_string();
        for kept in ["pub static B", "pub struct w", "pub struct s", "NN_RELU"] {
            assert!(out.contains(kept), "`{half}` costs `{kept}`:\n{out}");
        }
        // what follows may be taken for its end, unless it begins on a line of its own with a keyword
        assert!(
            out.contains("NN_LINEAR"),
            "`{half}` costs the next statement"
        );
    }
    println!("{} half-typed statements", half_typed.len());
}
