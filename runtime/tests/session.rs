//! Plans of toy kernels, built, saved, read and run.
#![allow(clippy::expect_used, reason = "tests fail by panicking")]
mod toy;

use proptest::prelude::*;
use qconfig_core::{DType, Isa, Kernel};
use qconfig_runtime::{
    AlignedBytes, BufferError, Plan, PlanBuilder, Session, SessionError, SessionOptions, StepInfo,
    TensorId, TensorInfo,
};

/// What each step does, and which earlier tensors it reads (modulo how many there are).
#[derive(Clone, Copy, Debug)]
enum Op {
    AddOne(usize),
    Copy(usize),
    Sum(usize, usize),
    Reshape(usize),
}

#[derive(Clone, Debug)]
struct Recipe {
    lengths: [usize; 2],
    ops: Vec<Op>,
}

/// One chain of tensors for each of the two lengths, so that sizes differ.
fn recipe() -> impl Strategy<Value = Recipe> {
    let op = prop_oneof![
        any::<usize>().prop_map(Op::AddOne),
        any::<usize>().prop_map(Op::Copy),
        any::<(usize, usize)>().prop_map(|(a, b)| Op::Sum(a, b)),
        any::<usize>().prop_map(Op::Reshape),
    ];
    let length = prop_oneof![Just(0usize), 1..300usize];
    let ops = proptest::collection::vec(op, 1..20);
    ([length.clone(), length], ops).prop_map(|(lengths, ops)| Recipe { lengths, ops })
}

/// The plan, and for each tensor how it is computed from earlier ones.
fn build(recipe: &Recipe) -> (Plan<'static>, Vec<(TensorId, Option<Op>)>) {
    let mut builder = PlanBuilder::new();
    let mut made: Vec<(TensorId, Option<Op>)> = Vec::new();
    let mut chains: [Vec<usize>; 2] = [vec![], vec![]];
    for (chain, len) in chains.iter_mut().zip(recipe.lengths) {
        let id = tensor(&mut builder, "in", &[len]);
        builder.input(id).expect("known");
        chain.push(made.len());
        made.push((id, None));
    }
    for (index, op) in recipe.ops.iter().enumerate() {
        let chain = &mut chains[index % 2];
        let len = recipe.lengths[index % 2];
        let pick = |at: usize| chain[at % chain.len()];
        let shape: &[usize] = if matches!(op, Op::Reshape(_)) {
            &[1, len]
        } else {
            &[len]
        };
        let out = tensor(&mut builder, &format!("t{index}"), shape);
        let (kernel, sources) = match *op {
            Op::AddOne(a) => (Some(&toy::ADD_ONE), vec![pick(a)]),
            Op::Copy(a) => (Some(&toy::COPY), vec![pick(a)]),
            Op::Sum(a, b) => (Some(&toy::SUM), vec![pick(a), pick(b)]),
            Op::Reshape(a) => (None, vec![pick(a)]),
        };
        let ids: Vec<TensorId> = sources.iter().map(|at| made[*at].0).collect();
        match kernel {
            Some(kernel) => {
                let name = format!("s{index}");
                let step = StepInfo::new(&name, kernel, toy::OP, &ids, out);
                builder.step(step).expect("fits");
            }
            None => builder.alias(ids[0], out).expect("fits"),
        }
        let op = match *op {
            Op::AddOne(_) => Op::AddOne(sources[0]),
            Op::Copy(_) => Op::Copy(sources[0]),
            Op::Sum(..) => Op::Sum(sources[0], sources[1]),
            Op::Reshape(_) => Op::Reshape(sources[0]),
        };
        chain.push(made.len());
        made.push((out, Some(op)));
    }
    for chain in &chains {
        builder
            .output(made[chain[chain.len() - 1]].0)
            .expect("known");
    }
    (builder.finish().expect("a plan"), made)
}

fn tensor(builder: &mut PlanBuilder, name: &str, shape: &[usize]) -> TensorId {
    let info = TensorInfo {
        name,
        dtype: DType::uint8,
        shape,
        qparams: None,
    };
    builder.tensor(info).expect("a tensor")
}

fn fill(input: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + input * 31) as u8).collect()
}

/// All tensors, by the definition of the toys.
fn oracle(recipe: &Recipe, made: &[(TensorId, Option<Op>)]) -> Vec<Vec<u8>> {
    let mut values: Vec<Vec<u8>> = Vec::new();
    for (index, (_, op)) in made.iter().enumerate() {
        let value = match *op {
            None => fill(index, recipe.lengths[index]),
            Some(Op::AddOne(a)) => values[a].iter().map(|x| x.wrapping_add(1)).collect(),
            Some(Op::Copy(a) | Op::Reshape(a)) => values[a].clone(),
            Some(Op::Sum(a, b)) => {
                let pairs = values[a].iter().zip(&values[b]);
                pairs
                    .map(|(a, b)| a.wrapping_mul(3).wrapping_add(*b))
                    .collect()
            }
        };
        values.push(value);
    }
    values
}

fn run<'p>(plan: &'p Plan<'_>, recipe: &Recipe, options: SessionOptions) -> Session<'p> {
    let mut session = Session::new(plan, options).expect("a session");
    for (index, len) in recipe.lengths.iter().enumerate() {
        let input = session.input_mut(index).expect("an input");
        input.copy_from_slice(&fill(index, *len));
    }
    // the second on what the first left behind
    session.run().expect("a run");
    session.run().expect("a run");
    session
}

const SCALAR: SessionOptions = SessionOptions::with_isa(Isa::SCALAR);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn results_are_right_for_any_threads_saved_or_not(recipe in recipe()) {
        let (plan, made) = build(&recipe);
        let expected = oracle(&recipe, &made);
        let outputs: Vec<usize> = plan.outputs().iter()
            .map(|id| made.iter().position(|(made, _)| made == id).expect("made"))
            .collect();

        for threads in [1, 2, 3, 8] {
            let session = run(&plan, &recipe, SessionOptions { threads, ..SCALAR });
            for (index, made) in outputs.iter().enumerate() {
                prop_assert_eq!(session.output(index).expect("an output"), &expected[*made]);
            }
        }
        let session = run(&plan, &recipe, SessionOptions { keep_all: true, threads: 2, ..SCALAR });
        for ((id, _), expected) in made.iter().zip(&expected) {
            prop_assert_eq!(session.tensor_bytes(*id).expect("kept"), expected);
        }

        let bytes = plan.to_bytes();
        prop_assert_eq!(&plan.to_bytes(), &bytes);
        let aligned = AlignedBytes::copy_of(&bytes).expect("memory");
        let read = Plan::from_bytes(&aligned, toy::find).expect("a plan");
        prop_assert!(read.borrows_weights());
        prop_assert_eq!(&read.to_bytes(), &bytes);
        let session = run(&read, &recipe, SCALAR);
        for (index, made) in outputs.iter().enumerate() {
            prop_assert_eq!(session.output(index).expect("an output"), &expected[*made]);
        }
        let copy = AlignedBytes::copy_of(&bytes).expect("memory");
        let owned = Plan::from_aligned(copy, toy::find).expect("a plan");
        prop_assert_eq!(&owned.to_bytes(), &bytes);
        let again = run(&owned, &recipe, SCALAR);
        prop_assert_eq!(again.output(0), session.output(0));
    }

    #[test]
    fn what_lives_together_lies_apart(recipe in recipe()) {
        let (plan, _) = build(&recipe);
        // lives, by the definition: from the writing step to the last reading one
        let steps = plan.steps();
        let life = |owner: TensorId| {
            let owns = |id: &TensorId| plan.tensor(*id).expect("known").storage() == owner;
            if plan.inputs().iter().any(owns) {
                return (0, usize::MAX);
            }
            let written = steps.iter().position(|step| owns(&step.output())).expect("written");
            if plan.outputs().iter().any(owns) {
                return (written, usize::MAX);
            }
            let read = steps.iter().rposition(|step| step.inputs().iter().any(owns));
            (written, read.unwrap_or(written))
        };
        let owners: Vec<TensorId> = plan.inputs().iter().copied()
            .chain(steps.iter().map(|step| step.output()))
            .collect();
        for (index, a) in owners.iter().enumerate() {
            let (first, last) = life(*a);
            let lies = plan.tensor(*a).expect("known").range();
            prop_assert!(lies.start % 64 == 0 && lies.end <= plan.arena_bytes());
            for b in &owners[..index] {
                let (other_first, other_last) = life(*b);
                let other = plan.tensor(*b).expect("known").range();
                let together = first <= other_last && other_first <= last;
                let apart = lies.end <= other.start || other.end <= lies.start;
                prop_assert!(!together || apart || lies.is_empty() || other.is_empty(), "{a:?} on {b:?}");
            }
        }
    }
}

#[test]
fn memory_is_used_again() {
    let ops = (0..20).map(|_| Op::AddOne(usize::MAX)).collect();
    let recipe = Recipe {
        lengths: [6400, 6400],
        ops,
    };
    // each step reads the last but one or so; far fewer than 22 tensors are alive at once
    let (plan, _) = build(&recipe);
    assert!(plan.arena_bytes() < 22 * 6400, "{}", plan.arena_bytes());
}

fn one_step() -> Plan<'static> {
    let mut builder = PlanBuilder::new();
    let x = tensor(&mut builder, "x", &[2, 8]);
    let y = tensor(&mut builder, "y", &[2, 8]);
    builder.input(x).expect("known");
    builder.output(y).expect("known");
    let reads = [x];
    let step = StepInfo::new("add", &toy::ADD_ONE, toy::OP, &reads, y);
    builder.step(step).expect("fits");
    builder.finish().expect("a plan")
}

#[test]
fn buffers_that_do_not_fit_are_typed_errors() {
    let plan = one_step();
    let mut session = Session::new(&plan, SCALAR).expect("a session");
    let error = session.input_mut(1).expect_err("one input");
    assert_eq!(error.to_string(), "there is no input 1: the plan has 1");
    assert!(matches!(
        session.output(7),
        Err(BufferError::Unknown { count: 1, .. })
    ));
    let error = session.set_input_f32(0, &[0.0; 16]).expect_err("uint8");
    assert_eq!(error.to_string(), "tensor 0 \"x\" is uint8, not float32");
    let error = session.output_f32(0, &mut [0.0; 16]).expect_err("uint8");
    assert_eq!(error.to_string(), "tensor 1 \"y\" is uint8, not float32");
    let error = session
        .tensor_bytes(plan.outputs()[0])
        .expect_err("not kept");
    assert!(matches!(error, BufferError::NotKept(_)));
}

#[test]
fn floats_go_in_and_out() {
    let mut builder = PlanBuilder::new();
    let info = |name| TensorInfo {
        name,
        dtype: DType::float32,
        shape: &[3],
        qparams: None,
    };
    let x = builder.tensor(info("x")).expect("a tensor");
    let y = builder.tensor(info("y")).expect("a tensor");
    builder.input(x).expect("known");
    builder.output(y).expect("known");
    let reads = [x];
    let step = StepInfo::new("copy", &toy::COPY, toy::OP, &reads, y);
    builder.step(step).expect("fits");
    let plan = builder.finish().expect("a plan");
    let mut session = Session::new(plan, SCALAR).expect("a session");
    session.set_input_f32(0, &[1.5, -2.0, 3.25]).expect("fits");
    session.run().expect("a run");
    let mut out = [0.0; 3];
    session.output_f32(0, &mut out).expect("fits");
    assert_eq!(out, [1.5, -2.0, 3.25]);
    let error = session.set_input_f32(0, &[0.0; 4]).expect_err("three");
    let text = "tensor 0 \"x\" has 3 elements, the buffer 4";
    assert_eq!(error.to_string(), text);
}

#[test]
fn options_out_of_range_are_typed_errors() {
    let plan = one_step();
    for threads in [0, 65, usize::MAX] {
        let error = Session::new(&plan, SessionOptions { threads, ..SCALAR });
        assert!(matches!(error, Err(SessionError::Threads(found)) if found == threads));
    }
    let small = SessionOptions {
        memory_limit: 100,
        ..SCALAR
    };
    let error = Session::new(&plan, small).expect_err("192 bytes are needed");
    assert!(matches!(
        error,
        SessionError::MemoryLimit {
            needed: 192,
            limit: 100
        }
    ));
}

#[test]
fn sessions_move_between_threads_and_share_a_plan() {
    let plan = std::sync::Arc::new(one_step());
    let work = (0..3).map(|value| {
        let plan = std::sync::Arc::clone(&plan);
        std::thread::spawn(move || {
            let mut session = Session::new(plan, SCALAR).expect("a session");
            session.input_mut(0).expect("an input").fill(value);
            session.run().expect("a run");
            assert_eq!(session.output(0).expect("an output"), [value + 1; 16]);
        })
    });
    for thread in work.collect::<Vec<_>>() {
        thread.join().expect("no panic");
    }
}

/// A bug of a kernel that shows on a worker thread only.
static FAULTY: Kernel = Kernel {
    run: |call| {
        assert!(call.units.start == 0, "on purpose");
        Ok(())
    },
    ..toy::COPY
};

#[test]
fn a_kernel_that_panics_on_a_worker_is_an_error() {
    let mut builder = PlanBuilder::new();
    let x = tensor(&mut builder, "x", &[100]);
    let y = tensor(&mut builder, "y", &[100]);
    builder.input(x).expect("known");
    let reads = [x];
    let step = StepInfo::new("bug", &FAULTY, toy::OP, &reads, y);
    builder.step(step).expect("fits");
    let options = SessionOptions {
        threads: 2,
        ..SCALAR
    };
    let plan = builder.finish().expect("a plan");
    let mut session = Session::new(plan, options).expect("a session");
    for _ in 0..3 {
        let error = session.run().expect_err("a panic").to_string();
        let text = "step 0 \"bug\": the kernel panicked on a worker thread";
        assert_eq!(error, text);
    }
}

#[test]
fn a_profile_has_a_time_for_each_step() {
    let mut session = Session::new(one_step(), SCALAR).expect("a session");
    for (runs, expected) in [(0, 1), (1, 1), (5, 5)] {
        let profile = session.profile(runs).expect("runs");
        assert_eq!(profile.runs(), expected);
        assert_eq!(profile.steps().len(), 1);
        let step = &profile.steps()[0];
        let plan = session.plan();
        assert_eq!(step.name, plan.steps()[0].name());
        assert_eq!(step.kernel, plan.steps()[0].kernel().name);
        assert_eq!(step.output, plan.tensors()[1].shape());
        assert_eq!(profile.total(), step.time);
        // the toy kernels multiply nothing
        assert_eq!(step.operations_per_second(), None);
        assert_eq!(profile.operations_per_second(), None);
    }
}
