//! What a builder refuses, and how it says so.
#![allow(clippy::expect_used, reason = "tests fail by panicking")]
#[allow(dead_code, reason = "shared by several tests")]
mod toy;

use qconfig_core::kernel::QParams;
use qconfig_core::{DType, Isa};
use qconfig_runtime::{
    BuildError, Flaw, Plan, PlanBuilder, Session, SessionOptions, StepInfo, TensorId, TensorInfo,
};

const BYTES: TensorInfo<'_> = TensorInfo {
    name: "x",
    dtype: DType::uint8,
    shape: &[8],
    qparams: None,
};

fn named(builder: &mut PlanBuilder, name: &str) -> TensorId {
    builder
        .tensor(TensorInfo { name, ..BYTES })
        .expect("a tensor")
}

fn next(builder: &mut PlanBuilder, name: &str, from: TensorId, to: TensorId) {
    let step = StepInfo::new(
        name,
        &toy::ADD_ONE,
        toy::OP,
        std::slice::from_ref(&from),
        to,
    );
    builder.step(step).expect("fits");
}

fn message(plan: Result<Plan<'static>, BuildError>) -> String {
    plan.expect_err("broken").to_string()
}

#[test]
fn tensors_that_cannot_be() {
    let mut builder = PlanBuilder::new();
    let mut error = |info| match builder.tensor(info) {
        Err(error) => error.to_string(),
        Ok(id) => format!("{id:?}"),
    };
    let quantized = TensorInfo {
        dtype: DType::quint8,
        ..BYTES
    };
    let text = "tensor 0 \"x\" is quint8 and must have a scale and a zero point";
    assert_eq!(error(quantized), text);
    let qparams = |scale, zero_point| TensorInfo {
        qparams: Some(QParams { scale, zero_point }),
        ..quantized
    };
    let text = "tensor 0 \"x\": the scale must be positive and finite";
    assert_eq!(error(qparams(f32::NAN, 0)), text);
    let text = "tensor 0 \"x\": zero point 256 is outside quint8";
    assert_eq!(error(qparams(1.0, 256)), text);
    let large = TensorInfo {
        shape: &[usize::MAX, 2],
        ..BYTES
    };
    assert_eq!(error(large), "tensor 0 \"x\" is larger than memory");
}

#[test]
fn a_kernel_that_refuses_is_named_with_its_node() {
    let mut builder = PlanBuilder::new();
    let x = named(&mut builder, "x");
    let shape = TensorInfo {
        shape: &[9],
        ..BYTES
    };
    let y = builder.tensor(shape).expect("a tensor");
    let step = StepInfo::new(
        "block/conv",
        &toy::ADD_ONE,
        toy::OP,
        std::slice::from_ref(&x),
        y,
    );
    let error = builder.step(step).expect_err("lengths differ");
    let text = "step 0 \"block/conv\": kernel `toy_add_one` refuses it: input and output differ";
    assert_eq!(error.to_string(), text);
    let inputs = [x; 65];
    let step = StepInfo::new("wide", &toy::ADD_ONE, toy::OP, &inputs, y);
    let error = builder.step(step).expect_err("too many");
    let text = "step 0 \"wide\" has 65 inputs, at most 64 are possible";
    assert_eq!(error.to_string(), text);
}

#[test]
fn tensors_of_another_builder_are_unknown() {
    let mut other = PlanBuilder::new();
    named(&mut other, "a");
    let far = named(&mut other, "b");
    let mut builder = PlanBuilder::new();
    let x = named(&mut builder, "x");
    let unknown = |result: Result<(), BuildError>| {
        let error = result.expect_err("unknown");
        assert!(matches!(
            error,
            BuildError::Flaw(Flaw::UnknownTensor {
                tensor: 1,
                tensors: 1,
                ..
            })
        ));
    };
    unknown(builder.input(far));
    unknown(builder.output(far));
    unknown(builder.alias(x, far));
    unknown(builder.alias(far, x));
    unknown(builder.step(StepInfo::new("s", &toy::COPY, toy::OP, &[far], x)));
    unknown(builder.step(StepInfo::new("s", &toy::COPY, toy::OP, &[x], far)));
}

#[test]
fn an_order_that_cannot_be() {
    let mut builder = PlanBuilder::new();
    let [x, y, z] = ["x", "y", "z"].map(|name| named(&mut builder, name));
    builder.input(x).expect("known");
    next(&mut builder, "late", y, z);
    next(&mut builder, "early", x, y);
    let text = "step 0 \"late\" reads tensor 1 \"y\" before anything has written it";
    assert_eq!(message(builder.finish()), text);

    let mut builder = PlanBuilder::new();
    let [x, y] = ["x", "y"].map(|name| named(&mut builder, name));
    builder.input(x).expect("known");
    next(&mut builder, "one", x, y);
    next(&mut builder, "two", x, y);
    let text = "step 1 \"two\" writes tensor 1 \"y\", which already has a value";
    assert_eq!(message(builder.finish()), text);

    let mut builder = PlanBuilder::new();
    let x = named(&mut builder, "x");
    builder.input(x).expect("known");
    next(&mut builder, "itself", x, x);
    let text = "step 0 \"itself\" writes tensor 0 \"x\", which already has a value";
    assert_eq!(message(builder.finish()), text);

    let mut builder = PlanBuilder::new();
    let [x, y] = ["x", "y"].map(|name| named(&mut builder, name));
    builder.input(x).expect("known");
    builder.output(y).expect("known");
    let text = "output 0 reads tensor 1 \"y\" before anything has written it";
    assert_eq!(message(builder.finish()), text);
}

#[test]
fn shapes_that_cannot_share() {
    let mut builder = PlanBuilder::new();
    let [x, y, z] = ["x", "y", "z"].map(|name| named(&mut builder, name));
    let long = TensorInfo {
        shape: &[9],
        ..BYTES
    };
    let long = builder.tensor(long).expect("a tensor");
    let signed = TensorInfo {
        dtype: DType::int8,
        ..BYTES
    };
    let signed = builder.tensor(signed).expect("a tensor");
    let mut error = |from, to| match builder.alias(from, to) {
        Err(error) => error.to_string(),
        Ok(()) => String::new(),
    };
    let text = "tensor 3 \"x\" shares the memory of tensor 0 \"x\", but they differ in length";
    assert_eq!(error(x, long), text);
    let text = "tensor 4 \"x\" shares the memory of tensor 0 \"x\", but they differ in dtype";
    assert_eq!(error(x, signed), text);
    assert_eq!(
        error(x, x),
        "tensor 0 \"x\" cannot be another shape of itself"
    );
    assert_eq!(error(x, y), "");
    assert_eq!(
        error(z, y),
        "tensor 1 \"y\" is already another shape of a tensor"
    );
    assert_eq!(error(y, z), "");
    assert_eq!(
        error(z, x),
        "tensor 0 \"x\" cannot be another shape of itself"
    );
}

/// A reshape of a reshape, each added before what it is of.
#[test]
fn shapes_share_through_shapes_in_any_order() {
    let mut builder = PlanBuilder::new();
    let ids = ["c", "b", "a", "x", "y"].map(|name| named(&mut builder, name));
    let [c, b, a, x, y] = ids;
    builder.alias(b, c).expect("fits");
    builder.alias(a, b).expect("fits");
    builder.input(x).expect("known");
    next(&mut builder, "one", x, a);
    next(&mut builder, "two", c, y);
    builder.output(y).expect("known");
    builder.output(b).expect("known");
    let plan = builder.finish().expect("a plan");
    for id in [a, b, c] {
        assert_eq!(plan.tensor(id).expect("known").storage(), a);
    }
    // x, a and y
    assert_eq!(plan.arena_bytes(), 3 * 64);
}

/// Parts of parts lie where the sum of their offsets says, and keep the whole alive.
#[test]
fn parts_lie_inside() {
    let mut builder = PlanBuilder::new();
    let mut part = |name, len| {
        let shape = &[len][..];
        builder
            .tensor(TensorInfo {
                name,
                shape,
                ..BYTES
            })
            .expect("a tensor")
    };
    let (x, whole, half, end, again) = (
        part("x", 8),
        part("whole", 8),
        part("half", 4),
        part("end", 1),
        part("again", 1),
    );
    let y = part("y", 1);
    builder.input(x).expect("known");
    builder.view(half, 3, end).expect("inside");
    builder.view(whole, 4, half).expect("inside");
    let mut error = |from, offset, to| match builder.view(from, offset, to) {
        Err(error) => error.to_string(),
        Ok(()) => String::new(),
    };
    let text =
        "tensor 4 \"again\" shares the memory of tensor 1 \"whole\", but they differ in offset";
    assert_eq!(error(whole, 8, again), text);
    assert_eq!(error(whole, usize::MAX, again), text);
    let text =
        "tensor 1 \"whole\" shares the memory of tensor 4 \"again\", but they differ in length";
    assert_eq!(error(again, 0, whole), text);
    assert_eq!(error(half, 0, again), "");
    next(&mut builder, "one", x, whole);
    next(&mut builder, "two", end, y);
    builder.output(y).expect("known");
    builder.output(again).expect("known");
    let plan = builder.finish().expect("a plan");
    let range = |id| plan.tensor(id).expect("known").range();
    let start = range(whole).start;
    assert_eq!(range(half), start + 4..start + 8);
    assert_eq!(range(end), start + 7..start + 8);
    assert_eq!(range(again), start + 4..start + 5);
    assert_eq!(plan.tensor(end).expect("known").storage(), whole);
    for keep_all in [false, true] {
        let options = SessionOptions {
            keep_all,
            ..SessionOptions::with_isa(Isa::SCALAR)
        };
        let mut session = Session::new(&plan, options).expect("a session");
        let input = session.input_mut(0).expect("an input");
        input.copy_from_slice(&[0, 1, 2, 3, 4, 5, 6, 7]);
        session.run().expect("runs");
        assert_eq!(session.output(0).expect("an output"), [9]);
        assert_eq!(session.output(1).expect("an output"), [5]);
    }
}

#[test]
fn an_empty_plan_is_a_plan() {
    let plan = PlanBuilder::new().finish().expect("a plan");
    assert_eq!(
        (plan.arena_bytes(), plan.scratch_bytes(), plan.blob_bytes()),
        (0, 0, 0)
    );
    let bytes = plan.to_bytes();
    let plan = Plan::from_bytes(&bytes, toy::find).expect("a plan");
    assert!(plan.steps().is_empty());
}
