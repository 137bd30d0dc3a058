//! A case of ONNX's backend tests: a model, inputs, and the outputs that it must have.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use qconfig_onnx::{
    Array, Data, EvalError, Model, Problem, ReadError, RunError, read, read_tensor,
};

/// Relative and absolute tolerance of ONNX's own runner for cases of one node.
const TOLERANCE: (f64, f64) = (1e-3, 1e-7);
/// The relative one for `bfloat16` there.
const BFLOAT16_TOLERANCE: f64 = 1.0 / 64.0;

/// The contents of some files, in order.
pub(crate) type Files = Vec<Vec<u8>>;

/// One case.
pub(crate) struct Case {
    /// The folder's name.
    pub(crate) name: String,
    /// `model.onnx`.
    pub(crate) model: Vec<u8>,
    /// `input_N.pb` and `output_N.pb` of each set of data, in order.
    pub(crate) sets: Vec<(Files, Files)>,
}

/// What came out.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// As ONNX has it.
    Passed,
    /// A clear error that says what is not supported.
    Unsupported(String),
    /// Anything else.
    Wrong(String),
}

/// The operator that a case is about, and what came out.
pub(crate) fn run(case: &Case) -> (String, Outcome) {
    let mut operator = "(no model)".to_owned();
    let ran = catch_unwind(AssertUnwindSafe(|| outcome(case, &mut operator)));
    let outcome = ran.unwrap_or_else(|_| Outcome::Wrong("a panic".into()));
    (operator, outcome)
}

fn outcome(case: &Case, operator: &mut String) -> Outcome {
    let model = match read(&case.model) {
        Ok(model) => model,
        Err(error) => return refused(&error),
    };
    *operator = about(&model, &case.name);
    for (inputs, outputs) in &case.sets {
        match check(&model, inputs, outputs) {
            Outcome::Passed => {}
            other => return other,
        }
    }
    Outcome::Passed
}

/// The operator of a model of one node; functions that are written out have many.
fn about(model: &Model, name: &str) -> String {
    match model.nodes.as_slice() {
        [one] => one.operator(),
        _ if name.contains("_expanded") => "(functions written out)".into(),
        _ => "(several)".into(),
    }
}

fn refused(error: &ReadError) -> Outcome {
    let text = error.to_string();
    match error {
        ReadError::Tensor { problem, .. } if problem.contains("is not supported") => {
            Outcome::Unsupported(text)
        }
        ReadError::Opset(_) => Outcome::Unsupported(text),
        _ => Outcome::Wrong(text),
    }
}

fn check(model: &Model, inputs: &[Vec<u8>], outputs: &[Vec<u8>]) -> Outcome {
    let mut given = BTreeMap::new();
    for (input, bytes) in model.inputs.iter().zip(inputs) {
        if input.element_type.is_none() {
            let what = format!(
                "input `{}` is no tensor of a type that is supported",
                input.name
            );
            return Outcome::Unsupported(what);
        }
        match read_tensor(bytes) {
            Ok(array) => given.insert(input.name.clone(), array),
            Err(error) => return refused(&error),
        };
    }
    let found = match model.run(&given) {
        Ok(found) => found,
        Err(RunError::Node(error)) => return failed(&error),
        Err(error) => return Outcome::Wrong(error.to_string()),
    };
    if found.len() != outputs.len() {
        return Outcome::Wrong(format!(
            "{} outputs instead of {}",
            found.len(),
            outputs.len()
        ));
    }
    for (at, (found, bytes)) in found.iter().zip(outputs).enumerate() {
        let wanted = match read_tensor(bytes) {
            Ok(wanted) => wanted,
            Err(error) => return refused(&error),
        };
        if let Err(problem) = same(found, &wanted) {
            return Outcome::Wrong(format!("output {at}: {problem}"));
        }
    }
    Outcome::Passed
}

fn failed(error: &EvalError) -> Outcome {
    let text = error.to_string();
    match &error.problem {
        Problem::Operator | Problem::Type(..) | Problem::Unsupported(_) | Problem::Attribute(_) => {
            Outcome::Unsupported(text)
        }
        _ => Outcome::Wrong(text),
    }
}

/// Floats within the tolerance, everything else exactly.
fn same(found: &Array, wanted: &Array) -> Result<(), String> {
    if found.shape() != wanted.shape() {
        return Err(format!(
            "shape {:?} instead of {:?}",
            found.shape(),
            wanted.shape()
        ));
    }
    if found.element_type() != wanted.element_type() {
        let types = (found.element_type(), wanted.element_type());
        return Err(format!("{:?} instead of {:?}", types.0, types.1));
    }
    if !wanted.element_type().is_float() {
        return match found.data() == wanted.data() {
            true => Ok(()),
            false => Err(format!("{:?} instead of {:?}", found.data(), wanted.data())),
        };
    }
    let relative = match wanted.data() {
        Data::BFloat16(_) => BFLOAT16_TOLERANCE,
        _ => TOLERANCE.0,
    };
    let pairs = floats(found).into_iter().zip(floats(wanted));
    for (at, (x, y)) in pairs.enumerate() {
        let close = x == y || (x.is_nan() && y.is_nan());
        let near = (x - y).abs() <= TOLERANCE.1 + relative * y.abs();
        if !close && !near {
            return Err(format!("element {at} is {x} instead of {y}"));
        }
    }
    Ok(())
}

fn floats(array: &Array) -> Vec<f64> {
    match array.data() {
        Data::Float64(values) => values.clone(),
        _ => array
            .to_f32()
            .unwrap_or_default()
            .into_iter()
            .map(f64::from)
            .collect(),
    }
}
