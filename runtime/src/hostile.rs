//! Bytes that are well-formed and checksummed, and lie.
#![allow(clippy::expect_used, reason = "tests fail by panicking")]

use alloc::string::ToString;

use proptest::prelude::*;
use qconfig_core::Isa;
use qconfig_core::kernel::BlobError;

use super::*;
use crate::{PlanBuilder, Session, SessionOptions, StepInfo, TensorInfo};

#[path = "../tests/toy/mod.rs"]
mod toy;

/// `y = 3 (x + 1) + x`, reshaped, beside a quantized tensor and a part of a float one that are only copied.
fn plan() -> Plan<'static> {
    let mut builder = PlanBuilder::new();
    let info = |name, dtype, shape| TensorInfo {
        name,
        dtype,
        shape,
        qparams: dtype.is_quantized().then_some(QParams {
            scale: 0.5,
            zero_point: 3,
        }),
    };
    let mut tensor = |name, dtype, shape| builder.tensor(info(name, dtype, shape)).expect("fits");
    let x = tensor("x", DType::uint8, &[2, 35]);
    let more = tensor("more", DType::uint8, &[2, 35]);
    let sum = tensor("sum", DType::uint8, &[2, 35]);
    let flat = tensor("flat", DType::uint8, &[70]);
    let q = tensor("q", DType::qint8, &[5]);
    let q_copy = tensor("q_copy", DType::qint8, &[1, 5]);
    let f = tensor("f", DType::float32, &[1, 3]);
    let f_copy = tensor("f_copy", DType::float32, &[2]);
    let y = tensor("y", DType::uint8, &[70]);
    let f_part = tensor("f_part", DType::float32, &[2]);
    builder.alias(sum, flat).expect("same length");
    builder.view(f, 4, f_part).expect("inside");
    for id in [x, q, f] {
        builder.input(id).expect("known");
    }
    for (name, kernel, inputs, output) in [
        ("next", &toy::ADD_ONE, &[x][..], more),
        ("sum", &toy::SUM, &[more, x], sum),
        ("q", &toy::COPY, &[q], q_copy),
        ("f", &toy::COPY, &[f_part], f_copy),
        ("last", &toy::COPY, &[flat], y),
    ] {
        let step = StepInfo {
            pattern: "conv2d + relu",
            dtype_config: "weighted_int8",
            ..StepInfo::new(name, kernel, toy::OP, inputs, output)
        };
        builder.step(step).expect("fits");
    }
    for id in [y, q_copy, f_copy] {
        builder.output(id).expect("known");
    }
    builder.finish().expect("a plan")
}

fn read(bytes: &[u8]) -> Result<Plan<'_>, PlanError> {
    Plan::from_bytes(bytes, toy::find)
}

/// What a reader says of a plan changed behind the builder's back.
fn changed(change: impl FnOnce(&mut Plan<'static>)) -> String {
    let mut plan = plan();
    change(&mut plan);
    let error = read(&plan.to_bytes())
        .expect_err("the plan is broken")
        .to_string();
    error
        .strip_suffix("; make the plan again with this version")
        .expect("every error says what to do")
        .to_string()
}

/// Makes the checksum and the length right.
fn fix(bytes: &mut [u8]) {
    let len = (bytes.len() as u64).to_le_bytes();
    if let Some(field) = bytes.get_mut(16..24) {
        field.copy_from_slice(&len);
    }
    let sum = crc32fast::hash(bytes.get(CHECKED..).unwrap_or_default()).to_le_bytes();
    if let Some(field) = bytes.get_mut(12..16) {
        field.copy_from_slice(&sum);
    }
}

/// Reads, and runs what can be read, on one thread and on two.
fn exercise(bytes: &[u8]) {
    let Ok(plan) = read(bytes) else { return };
    for threads in [1, 2] {
        let options = SessionOptions {
            threads,
            memory_limit: 1 << 20,
            ..SessionOptions::with_isa(Isa::SCALAR)
        };
        if let Ok(mut session) = Session::new(&plan, options) {
            // whatever comes of it
            let _ = session.run();
        }
    }
    let _ = plan.to_bytes();
}

#[test]
fn what_is_written_is_read() {
    let plan = plan();
    let bytes = plan.to_bytes();
    let again = read(&bytes).expect("a plan");
    assert_eq!(again.to_bytes(), bytes);
    assert_eq!(again.arena_bytes(), plan.arena_bytes());
    assert_eq!(again.scratch_bytes(), plan.scratch_bytes());
    assert_eq!(again.blob_bytes(), plan.blob_bytes());
    for (a, b) in again.steps().iter().zip(plan.steps()) {
        assert_eq!(
            (a.name(), a.pattern(), a.dtype_config()),
            (b.name(), b.pattern(), b.dtype_config())
        );
        assert_eq!(
            (a.inputs(), a.output(), a.split()),
            (b.inputs(), b.output(), b.split())
        );
        assert_eq!(again.blob(a), plan.blob(b));
        assert_eq!(a.multiply_adds(), b.multiply_adds());
    }
    for (a, b) in again.tensors().iter().zip(plan.tensors()) {
        assert_eq!(
            (a.name(), a.spec(), a.storage(), a.range()),
            (b.name(), b.spec(), b.storage(), b.range())
        );
    }
}

#[test]
fn bytes_that_start_anywhere_are_read() {
    let bytes = plan().to_bytes();
    for start in 0..64 {
        let mut buffer = AlignedBytes::zeroed(bytes.len() + start).expect("memory");
        let place = buffer.get_mut(start..).expect("inside");
        place.copy_from_slice(&bytes);
        let again = read(place).expect("a plan");
        assert_eq!(again.borrows_weights(), start == 0);
        assert_eq!(again.to_bytes(), bytes);
    }
}

#[test]
fn truncated_anywhere_is_an_error() {
    let bytes = plan().to_bytes();
    for len in 0..bytes.len() {
        let mut short = bytes.get(..len).expect("shorter").to_vec();
        assert!(read(&short).is_err(), "{len}");
        fix(&mut short);
        assert!(read(&short).is_err(), "{len}, with the checksum made right");
    }
}

#[test]
fn any_changed_byte_is_noticed() {
    let mut bytes = plan().to_bytes();
    for at in 0..bytes.len() {
        for bit in [1, 0x80] {
            *bytes.get_mut(at).expect("inside") ^= bit;
            assert!(read(&bytes).is_err(), "byte {at}");
            *bytes.get_mut(at).expect("inside") ^= bit;
        }
    }
}

#[test]
fn any_changed_byte_behind_a_right_checksum_is_safe() {
    let bytes = plan().to_bytes();
    for at in CHECKED..bytes.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            *bytes.get_mut(at).expect("inside") = value;
            let sum = crc32fast::hash(bytes.get(CHECKED..).expect("longer"));
            let field = bytes.get_mut(12..16).expect("longer");
            field.copy_from_slice(&sum.to_le_bytes());
            exercise(&bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Several fields at once, with the values that break arithmetic.
    #[test]
    fn lies_behind_a_right_checksum_are_safe(
        lies in proptest::collection::vec((any::<prop::sample::Index>(), prop_oneof![
            any::<u8>().prop_map(|byte| vec![byte]),
            prop::sample::select(vec![0u32, 1, 2, 63, 64, 1 << 31, u32::MAX - 1, u32::MAX])
                .prop_map(|value| value.to_le_bytes().to_vec()),
            prop::sample::select(vec![
                0u64, 1, 64, 128, 1 << 20, 1 << 32, 1 << 62, (1 << 63) - 64, 1 << 63, u64::MAX - 63, u64::MAX,
            ]).prop_map(|value| value.to_le_bytes().to_vec()),
        ]), 1..6),
    ) {
        let mut bytes = plan().to_bytes();
        for (at, value) in lies {
            let at = CHECKED + at.index(bytes.len() - CHECKED);
            for (byte, value) in bytes.iter_mut().skip(at).zip(value) {
                *byte = value;
            }
        }
        fix(&mut bytes);
        exercise(&bytes);
    }

    #[test]
    fn any_bytes_are_safe(mut tail in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.append(&mut tail);
        exercise(&bytes);
        fix(&mut bytes);
        exercise(&bytes);
    }
}

#[test]
fn errors_before_the_tables() {
    assert!(matches!(read(b""), Err(PlanError::Magic)));
    assert!(matches!(read(b"QCFGPLAM"), Err(PlanError::Magic)));
    let bytes = plan().to_bytes();
    let mut newer = bytes.clone();
    *newer.get_mut(8).expect("inside") = 9;
    let error = read(&newer).expect_err("newer").to_string();
    let text =
        "the plan has version 9, this program reads 2; make the plan again with this version";
    assert_eq!(error, text);
    let error = read(bytes.get(..100).expect("longer"))
        .expect_err("short")
        .to_string();
    assert!(
        error.contains("bytes, there are 100; copy the file again"),
        "{error}"
    );
    let mut damaged = bytes.clone();
    *damaged.last_mut().expect("longer") ^= 1;
    let error = read(&damaged).expect_err("damaged").to_string();
    assert!(
        error.starts_with("the plan is damaged: its checksum is "),
        "{error}"
    );
    let mut longer = bytes;
    longer.push(0);
    assert!(matches!(read(&longer), Err(PlanError::Length { .. })));
}

#[test]
fn a_kernel_that_the_program_lacks_is_named() {
    let bytes = plan().to_bytes();
    let error = Plan::from_bytes(&bytes, |name| toy::find(name).filter(|_| name != "toy_sum"));
    assert_eq!(
        error.expect_err("no sum").to_string(),
        "step 1 \"sum\" calls kernel \"toy_sum\", which this program does not have; link the backend \
         that the plan was made with, or make the plan again with this version"
    );
}

#[test]
fn tensors_that_lie() {
    let quantized = "tensor 4 \"q\" is qint8 and must have a scale and a zero point";
    assert_eq!(changed(|plan| plan.tensors[4].qparams = None), quantized);
    let float = "tensor 6 \"f\" is float32 and must have no scale and no zero point";
    let qparams = |scale, zero_point| Some(QParams { scale, zero_point });
    assert_eq!(
        changed(|plan| plan.tensors[6].qparams = qparams(1.0, 0)),
        float
    );
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let text = "tensor 4 \"q\": the scale must be positive and finite";
        assert_eq!(
            changed(|plan| plan.tensors[4].qparams = qparams(scale, 0)),
            text
        );
    }
    let text = "tensor 4 \"q\": zero point 128 is outside qint8";
    assert_eq!(
        changed(|plan| plan.tensors[4].qparams = qparams(1.0, 128)),
        text
    );
    let text = "tensor 0 \"x\" is larger than memory";
    assert_eq!(
        changed(|plan| plan.tensors[0].shape = vec![usize::MAX, 2]),
        text
    );
    assert_eq!(
        changed(|plan| plan.tensors[0].shape = vec![usize::MAX / 2]),
        text
    );
    let text = "tensor 3 \"flat\" shares the memory of tensor 2 \"sum\", but they differ in length";
    assert_eq!(changed(|plan| plan.tensors[3].shape = vec![71]), text);
    let text = "tensor 3 \"flat\" shares the memory of tensor 2 \"sum\", but they differ in offset";
    assert_eq!(changed(|plan| plan.tensors[3].offset += 64), text);
    assert_eq!(changed(|plan| plan.tensors[3].offset = usize::MAX), text);
    // before its beginning, in the middle of an element, beyond its end
    let text = "tensor 9 \"f_part\" shares the memory of tensor 6 \"f\", but they differ in offset";
    for offset in [4usize.wrapping_neg(), 1, 8, usize::MAX - 7] {
        let error = changed(|plan| {
            let start = plan.tensors[6].offset;
            plan.tensors[9].offset = start.wrapping_add(offset);
        });
        assert_eq!(error, text);
    }
    let text =
        "tensor 0 \"x\" shares the memory of tensor 3 \"flat\", but they differ in whose it is";
    assert_eq!(changed(|plan| plan.tensors[0].storage = TensorId(3)), text);
    let text = "tensor 8 \"y\" names tensor 10, but there are 10";
    assert_eq!(changed(|plan| plan.tensors[8].storage = TensorId(10)), text);
}

#[test]
fn an_order_that_lies() {
    let text = "step 0 \"next\" reads tensor 2 \"sum\" before anything has written it";
    assert_eq!(
        changed(|plan| plan.steps[0].inputs = vec![TensorId(2)]),
        text
    );
    let text = "step 0 \"next\" reads tensor 1 \"more\" before anything has written it";
    assert_eq!(
        changed(|plan| plan.steps[0].inputs = vec![TensorId(1)]),
        text
    );
    let text = "step 1 \"sum\" writes tensor 1 \"more\", which already has a value";
    assert_eq!(changed(|plan| plan.steps[1].output = TensorId(1)), text);
    let text = "step 1 \"sum\" writes tensor 0 \"x\", which already has a value";
    assert_eq!(changed(|plan| plan.steps[1].output = TensorId(0)), text);
    let text = "step 1 \"sum\" writes tensor 3 \"flat\", which already has a value";
    assert_eq!(changed(|plan| plan.steps[1].output = TensorId(3)), text);
    let text = "step 0 \"next\" names tensor 99, but there are 10";
    assert_eq!(
        changed(|plan| plan.steps[0].inputs = vec![TensorId(99)]),
        text
    );
    assert_eq!(changed(|plan| plan.steps[0].output = TensorId(99)), text);
    let text = "input 1 writes tensor 0 \"x\", which already has a value";
    assert_eq!(changed(|plan| plan.inputs[1] = TensorId(0)), text);
    let text = "output 0 names tensor 4294967295, but there are 10";
    assert_eq!(changed(|plan| plan.outputs[0] = TensorId(u32::MAX)), text);
    let text = "step 0 \"next\" has 65 inputs, at most 64 are possible";
    assert_eq!(
        changed(|plan| plan.steps[0].inputs = vec![TensorId(0); 65]),
        text
    );
    let orphan = |plan: &mut Plan<'static>| {
        let mut tensor = plan.tensors[0].clone();
        tensor.storage = TensorId(10);
        plan.tensors.push(tensor);
    };
    let text = "nothing writes tensor 10 \"x\": make it an input, a step's output or another shape of a tensor";
    assert_eq!(changed(orphan), text);
}

#[test]
fn an_arena_that_lies() {
    let text = "tensor 0 \"x\" has no possible place in the arena";
    for offset in [1, 32, usize::MAX - 63, isize::MAX as usize & !63] {
        assert_eq!(changed(|plan| plan.tensors[0].offset = offset), text);
    }
    let onto = |from: usize, to: usize| {
        move |plan: &mut Plan<'static>| plan.tensors[from].offset = plan.tensors[to].offset
    };
    let text = "step 0 \"next\" would overwrite another tensor when it writes tensor 1 \"more\"";
    assert_eq!(changed(onto(1, 0)), text);
    let text = "input 1 would overwrite another tensor when it writes tensor 4 \"q\"";
    assert_eq!(changed(onto(4, 0)), text);
    // an output that is complete long before the end
    let text = "step 4 \"last\" would overwrite another tensor when it writes tensor 8 \"y\"";
    assert_eq!(changed(onto(8, 5)), text);
    // far away is no lie, only large
    let mut far = plan();
    far.tensors[8].offset = 1 << 40;
    let bytes = far.to_bytes();
    let far = read(&bytes).expect("a plan");
    let session = Session::new(&far, SessionOptions::with_isa(Isa::SCALAR));
    assert!(matches!(
        session,
        Err(crate::SessionError::MemoryLimit { .. })
    ));
}

#[test]
fn packed_weights_that_lie() {
    let blob = |plan: &mut Plan<'static>, change: &dyn Fn(&mut [u8])| {
        let range = plan.steps[1].blob.clone();
        if let Blobs::Owned { memory, .. } = &mut plan.blobs {
            change(memory.get_mut(range).expect("inside"));
        }
    };
    let error = changed(|plan| blob(plan, &|blob| blob[0] ^= 1));
    let text = BlobError::Header("toy").to_string();
    assert_eq!(error, ["step 1 \"sum\": ", &text].concat());
    let error = changed(|plan| plan.steps[1].blob.end -= 1);
    assert_eq!(error, ["step 1 \"sum\": ", &text].concat());
    // another step's weights
    let error = changed(|plan| plan.steps[1].blob = plan.steps[0].blob.clone());
    assert_eq!(error, ["step 1 \"sum\": ", &text].concat());
    // an output of another length than the weights say
    let error = changed(|plan| plan.tensors[1].shape = vec![71]);
    assert_eq!(error, "step 0 \"next\" writes 70 bytes, its output has 71");
    let error = changed(|plan| plan.tensors[0].shape = vec![71]);
    let text = "step 0 \"next\": input has 71 bytes, 70 are needed";
    assert_eq!(error, text);
}

#[test]
fn scratch_that_lies_is_an_error_when_it_runs() {
    let mut plan = plan();
    plan.steps[1].scratch = 0;
    for threads in [1, 3] {
        let options = SessionOptions {
            threads,
            ..SessionOptions::with_isa(Isa::SCALAR)
        };
        let mut session = Session::new(&plan, options).expect("a session");
        let error = session.run().expect_err("no scratch").to_string();
        assert_eq!(error, "step 1 \"sum\": scratch has 0 bytes, 4 are needed");
    }
    plan.steps[1].scratch = usize::MAX;
    let session = Session::new(&plan, SessionOptions::with_isa(Isa::SCALAR));
    assert!(matches!(
        session,
        Err(crate::SessionError::MemoryLimit {
            needed: usize::MAX,
            ..
        })
    ));
}

#[test]
fn text_that_lies() {
    let bytes = plan().to_bytes();
    let find = |text: &[u8]| {
        let at = bytes.windows(text.len()).position(|window| window == text);
        at.expect("it is there")
    };
    let with = |at: usize, value: &[u8]| {
        let mut bytes = bytes.clone();
        let field = bytes.get_mut(at..at + value.len()).expect("inside");
        field.copy_from_slice(value);
        fix(&mut bytes);
        read(&bytes).expect_err("broken").to_string()
    };
    let text = "tensor 1, name: not UTF-8; make the plan again with this version";
    assert_eq!(with(find(b"more"), &[0xff]), text);
    let text =
        "tensor 4 \"q\", dtype: not the name of a dtype; make the plan again with this version";
    assert_eq!(with(find(b"qint8"), b"qint9"), text);
    let text =
        "tensor 1, name: the bytes end in the middle of it; make the plan again with this version";
    assert_eq!(with(find(b"more") - 4, &[0xff; 4]), text);
    // names are escaped: a message cannot take over a terminal
    let error = with(find(b"toy_sum"), b"\x1b[2Jsum");
    assert!(error.contains(r#"kernel "\u{1b}[2Jsum""#), "{error}");
}
