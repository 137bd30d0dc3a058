//! A small network of the real kernels: any thread count, instruction set and way of loading gives the
//! same bytes, and damaged plans are safe.
#![allow(clippy::expect_used, reason = "tests fail by panicking")]
mod net;

use proptest::prelude::*;
use qconfig_core::{DType, Isa};
use qconfig_runtime::{AlignedBytes, Plan, Session, SessionOptions};

fn run(plan: &Plan<'_>, options: SessionOptions) -> Vec<f32> {
    let mut session = Session::new(plan, options).expect("a session");
    let image = net::noise(1, net::INPUT);
    session.set_input_f32(0, &image).expect("fits");
    session.run().expect("a run");
    let mut out = vec![0.0; net::OUTPUT];
    session.output_f32(0, &mut out).expect("fits");
    out
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    for dtype in [DType::quint8, DType::qint8] {
        let plan = net::plan(dtype);
        let expected = run(&plan, SessionOptions::with_isa(Isa::SCALAR));
        assert!(expected.iter().any(|x| *x != expected[0]), "{expected:?}");
        let bytes = AlignedBytes::copy_of(&plan.to_bytes()).expect("memory");
        let saved = Plan::from_bytes(&bytes, net::find).expect("a plan");
        for isa in Isa::available() {
            for threads in [1, 2, 3, 8] {
                for keep_all in [false, true] {
                    let options = SessionOptions {
                        threads,
                        keep_all,
                        ..SessionOptions::with_isa(isa)
                    };
                    assert_eq!(run(&plan, options), expected, "{dtype} {options:?}");
                    assert_eq!(run(&saved, options), expected, "{dtype} {options:?}, saved");
                }
            }
        }
    }
}

#[test]
fn kept_tensors_have_real_values() {
    for dtype in [DType::quint8, DType::qint8] {
        let plan = net::plan(dtype);
        let options = SessionOptions {
            keep_all: true,
            ..SessionOptions::with_isa(Isa::SCALAR)
        };
        let mut session = Session::new(&plan, options).expect("a session");
        let image = net::noise(1, net::INPUT);
        session.set_input_f32(0, &image).expect("fits");
        session.run().expect("a run");
        let tensor = |name| {
            let id = plan.tensor_named(name).expect("it is there");
            session.tensor_f32(id).expect("kept")
        };
        assert_eq!(tensor("image"), image);
        for (quantized, real) in tensor("x").iter().zip(&image) {
            assert!(
                (quantized - real).abs() <= 0.005_001,
                "{quantized} for {real}"
            );
        }
        assert_eq!(tensor("scores"), tensor("out"));
        assert_eq!(tensor("mean"), tensor("flat"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn damage_behind_a_right_checksum_is_safe(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..4),
    ) {
        let mut bytes = net::plan(DType::quint8).to_bytes();
        for (at, value, in_header_of_blob) in damage {
            // anywhere, or in the first bytes of some packed weights
            let blocks = bytes.len() / 64;
            let at = if in_header_of_blob {
                at.index(blocks) * 64 + usize::from(value) % 64
            } else {
                at.index(bytes.len())
            };
            if let Some(byte) = bytes.get_mut(at.max(16)) {
                *byte = value;
            }
        }
        let sum = crc32fast::hash(&bytes[16..]).to_le_bytes();
        bytes[12..16].copy_from_slice(&sum);
        let bytes = AlignedBytes::copy_of(&bytes).expect("memory");
        if let Ok(plan) = Plan::from_bytes(&bytes, net::find) {
            for threads in [1, 2] {
                let isa = Isa::detect();
                let options = SessionOptions { threads, memory_limit: 1 << 24, ..SessionOptions::with_isa(isa) };
                if let Ok(mut session) = Session::new(&plan, options) {
                    let _ = session.run();
                }
            }
        }
    }
}
