//! PReLU against its formula.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::*;
use qconfig_core::DType;
use qconfig_core::kernel::{
    Activation, KernelFamily, NodeOp, NodeSpec, QParams, Refusal, WeightSpec,
};
use qconfig_kernels::Q8PRelu;

struct Case {
    dtypes: [DType; 2],
    from: QParams,
    to: QParams,
    activation: Activation,
    shape: Vec<usize>,
    slopes: Vec<f32>,
}

fn random(rng: &mut Rng) -> Case {
    let dtypes = [rng.dtype(), rng.dtype()];
    let (from, to) = (rng.qparams(dtypes[0]), rng.qparams(dtypes[1]));
    let to = QParams {
        // mostly near each other, so that results are spread
        scale: if rng.chance(5) {
            to.scale
        } else {
            from.scale.clamp(1e-30, 1e30) * (0.3 + rng.unit())
        },
        ..to
    };
    let channels = if rng.chance(4) {
        rng.below(1..600)
    } else {
        rng.below(1..40)
    };
    let outer: Vec<usize> = (0..rng.below(0..3)).map(|_| rng.below(1..12)).collect();
    let shape = [outer, vec![channels]].concat();
    let count = if rng.chance(6) { 1 } else { channels };
    let slopes = (0..count).map(|_| match rng.below(0..8) {
        0 => 0.0,
        1 => rng.pick(&[-1.0, 1.0, 1e30, -1e-30]),
        _ => rng.unit() * 3.0 - 1.0,
    });
    let slopes = slopes.collect();
    Case {
        dtypes,
        from,
        to,
        activation: rng.activation(to.scale),
        slopes,
        shape,
    }
}

impl Case {
    fn oracle(&self, input: &[u8]) -> Vec<u8> {
        let from_zero = self.from.zero_point + flip(self.dtypes[0]);
        let to_zero = self.to.zero_point + flip(self.dtypes[1]);
        let channels = self.shape[self.shape.len() - 1];
        let bytes = input.iter().enumerate().map(|(at, q)| {
            let x = self.from.scale * (i32::from(*q) - from_zero) as f32;
            let slope = self.slopes[at % channels % self.slopes.len()];
            let y = if x > 0.0 { x } else { x * slope };
            let q = quantize(y, self.to.scale, to_zero);
            activate(q, self.activation, self.to.scale, to_zero)
        });
        bytes.collect()
    }

    fn with(&self, f: impl FnOnce(&NodeSpec<'_>)) {
        let inputs = [tensor(self.dtypes[0], &self.shape, Some(self.from))];
        let to = tensor(self.dtypes[1], &self.shape, Some(self.to));
        let parameters = [WeightSpec::float(&self.slopes)];
        f(&NodeSpec {
            parameters: &parameters,
            ..node(NodeOp::PRelu, self.activation, &inputs, to)
        });
    }
}

#[test]
fn prelu_equals_its_formula() {
    report();
    for seed in 0..cases(2_000) {
        let rng = &mut Rng::new(seed);
        let case = random(rng);
        let bytes = rng.bytes(case.shape.iter().product());
        let expected = case.oracle(&bytes);
        case.with(|spec| check(Q8PRelu::KERNEL, spec, &[bytes], &expected, rng));
    }
}

#[test]
fn any_bytes_are_safe() {
    for seed in 0..cases(60) {
        let rng = &mut Rng::new(seed);
        let case = random(rng);
        let bytes = rng.bytes(case.shape.iter().product());
        case.with(|spec| attack_all(Q8PRelu::KERNEL, spec, &[bytes], rng));
    }
}

#[test]
fn what_it_cannot_take_is_refused() {
    let refusal = |slopes: &[f32]| {
        let case = Case {
            slopes: slopes.to_vec(),
            shape: vec![2, 3],
            ..random(&mut Rng::new(1))
        };
        let mut found = None;
        case.with(|spec| found = (Q8PRelu::KERNEL.sizes)(spec).err());
        found
    };
    assert_eq!(refusal(&[0.1]), None);
    assert_eq!(refusal(&[0.1, 0.2, 0.3]), None);
    let shape = Some(Refusal::Shape("one slope, or one for each channel"));
    assert_eq!(refusal(&[0.1, 0.2]), shape);
    assert!(matches!(refusal(&[]), Some(Refusal::Shape(_))));
    assert_eq!(
        refusal(&[0.1, f32::NAN, 0.2]),
        Some(Refusal::NotFinite("the slopes"))
    );
}
