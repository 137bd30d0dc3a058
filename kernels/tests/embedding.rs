//! Lookups and bags against their formulas, one value at a time, on every instruction set to the bit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod harness;

use half::f16;
use harness::*;
use qconfig_core::kernel::{
    Activation, BagMode, BlobError, Call, KernelFamily, NodeOp, NodeSpec, Refusal, TensorSpec,
    WeightData, WeightSpec,
};
use qconfig_core::{DType, Isa};
use qconfig_kernels::EmbeddingRowwise;

#[derive(Debug)]
enum Table {
    Floats(Vec<f32>),
    Integers {
        values: Vec<u8>,
        scales: Vec<f32>,
        zero_points: Vec<f32>,
    },
}

#[derive(Debug)]
struct Case {
    rows: usize,
    columns: usize,
    nibbles: bool,
    table: Table,
    /// `None` for lookups.
    mode: Option<BagMode>,
    indices: Vec<i64>,
    shape: Vec<usize>,
    wide: [bool; 2],
    offsets: Option<Vec<i64>>,
    last_offset: bool,
    weights: Option<Vec<f32>>,
    padding: Option<usize>,
}

impl Case {
    fn bags(&self) -> usize {
        match (&self.offsets, self.mode) {
            (Some(offsets), _) => offsets.len() - usize::from(self.last_offset),
            (None, Some(_)) => self.shape[0],
            (None, None) => self.indices.len(),
        }
    }

    fn inputs(&self) -> Vec<Vec<u8>> {
        let integers = |values: &[i64], wide: bool| -> Vec<u8> {
            if wide {
                values.iter().flat_map(|x| x.to_ne_bytes()).collect()
            } else {
                values
                    .iter()
                    .flat_map(|x| (*x as i32).to_ne_bytes())
                    .collect()
            }
        };
        let mut inputs = vec![integers(&self.indices, self.wide[0])];
        inputs.extend(
            self.offsets
                .iter()
                .map(|offsets| integers(offsets, self.wide[1])),
        );
        inputs.extend(
            self.weights
                .iter()
                .map(|weights| weights.iter().flat_map(|x| x.to_ne_bytes()).collect()),
        );
        inputs
    }

    fn with<T>(&self, visit: impl FnOnce(&NodeSpec<'_>) -> T) -> T {
        let integer = |wide| if wide { DType::int64 } else { DType::int32 };
        let mut inputs = vec![tensor(integer(self.wide[0]), &self.shape, None)];
        let count = [self.offsets.as_ref().map_or(0, Vec::len)];
        if self.offsets.is_some() {
            inputs.push(tensor(integer(self.wide[1]), &count, None));
        }
        if self.weights.is_some() {
            inputs.push(tensor(DType::float32, &self.shape, None));
        }
        let shape = [self.rows, self.columns];
        let (data, scales, parameters) = match &self.table {
            Table::Floats(values) => (WeightData::F32(values), &[][..], Vec::new()),
            Table::Integers {
                values,
                scales,
                zero_points,
            } => (
                WeightData::U8(values),
                scales.as_slice(),
                vec![WeightSpec::float(zero_points)],
            ),
        };
        let weight = WeightSpec {
            dtype: if self.nibbles {
                DType::quint4x2
            } else {
                DType::quint8
            },
            shape: &shape,
            data,
            scales,
            zero_points: &[],
        };
        let op = match self.mode {
            None => NodeOp::Embedding,
            Some(mode) => NodeOp::EmbeddingBag {
                mode,
                include_last_offset: self.last_offset,
                padding_idx: self.padding,
            },
        };
        let output = if self.mode.is_some() {
            vec![self.bags(), self.columns]
        } else {
            [self.shape.as_slice(), &[self.columns]].concat()
        };
        visit(&NodeSpec {
            weight: Some(weight),
            parameters: &parameters,
            ..NodeSpec::new(op, &inputs, tensor(DType::float32, &output, None))
        })
    }

    /// Scale, bias and integers of a row.
    fn row(&self, row: usize) -> (f32, f32, Vec<u8>) {
        let range = row * self.columns..(row + 1) * self.columns;
        let half = |x: f32| f16::from_f32(x).to_f32();
        match &self.table {
            Table::Integers {
                values,
                scales,
                zero_points,
            } => {
                let bias = -(zero_points[row] * scales[row]);
                let q = values[range].to_vec();
                if self.nibbles {
                    (half(scales[row]), half(bias), q)
                } else {
                    (scales[row], bias, q)
                }
            }
            Table::Floats(values) => {
                let values = &values[range];
                let low = values.iter().copied().fold(f32::INFINITY, f32::min);
                let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                if self.nibbles {
                    let low = half(low);
                    let scale = if high == low {
                        1.0
                    } else {
                        half((high - low) / 15.0)
                    };
                    let scale = if scale == 0.0 || (1.0 / scale).is_infinite() {
                        1.0
                    } else {
                        scale
                    };
                    let q = values.iter().map(|x| {
                        ((x - low) * (1.0 / scale))
                            .round_ties_even()
                            .clamp(0.0, 15.0) as u8
                    });
                    (scale, low, q.collect())
                } else {
                    let inverse = 255.0 / ((high - low) + 1e-8);
                    let q = values
                        .iter()
                        .map(|x| ((x - low) * inverse).round_ties_even() as u8);
                    ((high - low) / 255.0, low, q.collect())
                }
            }
        }
    }
}

fn oracle(case: &Case) -> Vec<u8> {
    let rows: Vec<_> = (0..case.rows).map(|row| case.row(row)).collect();
    let mut out = Vec::new();
    for bag in 0..case.bags() {
        let range = match (&case.offsets, case.mode) {
            (Some(offsets), _) => {
                let end = offsets
                    .get(bag + 1)
                    .map_or(case.indices.len(), |end| *end as usize);
                offsets[bag] as usize..end
            }
            (None, Some(_)) => bag * case.shape[1]..(bag + 1) * case.shape[1],
            (None, None) => bag..bag + 1,
        };
        let positions: Vec<usize> = range
            .filter(|at| case.padding != Some(case.indices[*at] as usize))
            .collect();
        for column in 0..case.columns {
            let value = |at: usize, sum: f32| {
                let (scale, bias, q) = &rows[case.indices[at] as usize];
                let w = case.weights.as_ref().map_or(1.0, |weights| weights[at]);
                (w * scale).mul_add(f32::from(q[column]), sum + w * bias)
            };
            let y: f32 = match case.mode {
                Some(BagMode::Max) if !positions.is_empty() => positions
                    .iter()
                    .map(|at| value(*at, 0.0))
                    .fold(f32::NEG_INFINITY, f32::max),
                mode => {
                    let sum = positions.iter().fold(0.0, |sum, at| value(*at, sum));
                    if mode == Some(BagMode::Mean) && !positions.is_empty() {
                        sum / positions.len() as f32
                    } else {
                        sum
                    }
                }
            };
            out.extend(y.to_ne_bytes());
        }
    }
    out
}

fn random(rng: &mut Rng) -> Case {
    let rows = rng.below(1..40);
    let columns = rng.pick(&[
        1, 2, 3, 7, 8, 9, 12, 15, 16, 17, 24, 31, 40, 63, 64, 65, 72, 127, 130,
    ]);
    let nibbles = rng.chance(2);
    let table = if rng.chance(2) {
        let reach = rng.pick(&[1e-9f32, 1e-3, 1.0, 1e3]);
        let shift = rng.pick(&[0.0f32, 0.0, 1.0, -2.0]);
        let constant = rng.chance(12);
        Table::Floats(
            (0..rows * columns)
                .map(|_| {
                    if constant {
                        0.25
                    } else {
                        (rng.unit() * 2.0 - 1.0 + shift) * reach
                    }
                })
                .collect(),
        )
    } else {
        let top = if nibbles { 16 } else { 256 };
        Table::Integers {
            values: (0..rows * columns)
                .map(|_| rng.below(0..top) as u8)
                .collect(),
            scales: (0..rows).map(|_| 1e-3 + rng.unit()).collect(),
            zero_points: (0..rows).map(|_| rng.unit() * 300.0 - 20.0).collect(),
        }
    };
    let mode = rng.pick(&[
        None,
        Some(BagMode::Sum),
        Some(BagMode::Sum),
        Some(BagMode::Mean),
        Some(BagMode::Max),
    ]);
    let (mut offsets, mut last_offset) = (None, false);
    let shape = match mode {
        None if rng.chance(2) => vec![rng.below(1..5), rng.below(1..9)],
        None => vec![rng.below(1..30)],
        Some(_) if rng.chance(3) => vec![rng.below(1..8), rng.below(1..25)],
        Some(_) => {
            let bags = rng.below(1..9);
            let mut list = vec![0i64];
            for _ in 0..bags {
                // empty bags, and some that are long enough for rows to be asked for ahead
                let length = if rng.chance(4) { 0 } else { rng.below(1..30) };
                list.push(list[list.len() - 1] + length as i64);
            }
            let end = list[bags].max(1);
            last_offset = rng.chance(2);
            if !last_offset {
                list.pop();
            }
            offsets = Some(list);
            vec![end as usize]
        }
    };
    let count = shape.iter().product();
    let extreme = rng.chance(10);
    let indices = (0..count)
        .map(|_| {
            if extreme {
                (rows - 1) as i64
            } else {
                rng.below(0..rows) as i64
            }
        })
        .collect();
    let weights = (mode == Some(BagMode::Sum) && rng.chance(2))
        .then(|| (0..count).map(|_| rng.unit() * 3.0 - 1.0).collect());
    Case {
        rows,
        columns,
        nibbles,
        table,
        mode,
        indices,
        shape,
        wide: [rng.chance(2), rng.chance(2)],
        offsets,
        last_offset,
        weights,
        padding: (mode.is_some() && rng.chance(3)).then(|| rng.below(0..rows)),
    }
}

#[test]
fn lookups_and_bags_are_their_formula_on_every_instruction_set() {
    report();
    let mut rng = Rng::new(41);
    for _ in 0..cases(2_500) {
        let case = random(&mut rng);
        let (inputs, expected) = (case.inputs(), oracle(&case));
        case.with(|node| check(EmbeddingRowwise::KERNEL, node, &inputs, &expected, &mut rng));
    }
}

#[test]
fn damaged_blobs_are_errors_or_harmless() {
    let mut rng = Rng::new(42);
    for _ in 0..cases(150) {
        let case = random(&mut rng);
        let inputs = case.inputs();
        case.with(|node| attack_all(EmbeddingRowwise::KERNEL, node, &inputs, &mut rng));
    }
}

fn run(case: &Case, inputs: &[Vec<u8>], isa: Isa) -> Result<Vec<u8>, BlobError> {
    let blob = case.with(|node| pack(EmbeddingRowwise::KERNEL, node));
    let lengths: Vec<usize> = inputs.iter().map(Vec::len).collect();
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let split = (EmbeddingRowwise::KERNEL.split)(&blob, &lengths)?;
    let mut output = vec![0; split.output_bytes];
    (EmbeddingRowwise::KERNEL.run)(Call {
        blob: &blob,
        inputs: &inputs,
        output: &mut output,
        units: 0..split.units,
        scratch: &mut [],
        isa,
    })?;
    Ok(output)
}

/// Whatever indices and offsets come from outside, the answer is an error that names the first bad one.
#[test]
fn indices_from_outside_are_errors() {
    let mut rng = Rng::new(43);
    for _ in 0..cases(1_500) {
        let mut case = random(&mut rng);
        let bad = rng.pick(&[
            -1,
            case.rows as i64,
            i64::from(i32::MAX),
            i64::from(i32::MIN),
        ]);
        let at = rng.below(0..case.indices.len());
        let used = case
            .last_offset
            .then(|| case.offsets.as_ref().unwrap().last().copied().unwrap());
        case.indices[at] = bad;
        for isa in levels() {
            match run(&case, &case.inputs(), isa) {
                Ok(_) => assert!(used.is_some_and(|end| at as i64 >= end), "{case:?}"),
                Err(error) => assert_eq!(
                    error,
                    BlobError::Index {
                        what: "index",
                        at,
                        value: bad,
                        start: 0,
                        end: case.rows
                    }
                ),
            }
        }
    }
    for _ in 0..cases(1_500) {
        let mut case = random(&mut rng);
        let len = case.indices.len() as i64;
        let Some(offsets) = &mut case.offsets else {
            continue;
        };
        let at = rng.below(0..offsets.len());
        offsets[at] = rng.pick(&[-1, len + 1, i64::from(i32::MIN), i64::from(i32::MAX)]);
        let value = offsets[at];
        for isa in levels() {
            let error = run(&case, &case.inputs(), isa).expect_err("a bad offset");
            assert!(
                matches!(error, BlobError::Index { what: "offset", at: found, value: v, .. } if found == at && v == value),
                "{error}"
            );
        }
    }
}

#[test]
fn any_indices_do_no_harm() {
    let mut rng = Rng::new(44);
    for _ in 0..cases(500) {
        let case = random(&mut rng);
        let inputs: Vec<Vec<u8>> = case
            .inputs()
            .iter()
            .map(|input| {
                (0..input.len())
                    .map(|_| rng.bits() as u8 & rng.pick(&[0, 3, 255]))
                    .collect()
            })
            .collect();
        let blob = case.with(|node| pack(EmbeddingRowwise::KERNEL, node));
        attack(EmbeddingRowwise::KERNEL, &blob, &inputs, 0, 64);
    }
}

#[test]
fn nodes_that_do_not_fit_are_refused() {
    let mut rng = Rng::new(45);
    let case = loop {
        let case = random(&mut rng);
        if case.weights.is_some() && case.offsets.is_some() {
            break case;
        }
    };
    let refusal = |change: &dyn Fn(&mut NodeSpec<'_>)| {
        case.with(|node| {
            let mut node = *node;
            change(&mut node);
            (EmbeddingRowwise::KERNEL.sizes)(&node).expect_err("refused")
        })
    };
    let mean = NodeOp::EmbeddingBag {
        mode: BagMode::Mean,
        include_last_offset: case.last_offset,
        padding_idx: None,
    };
    let far = NodeOp::EmbeddingBag {
        mode: BagMode::Sum,
        include_last_offset: case.last_offset,
        padding_idx: Some(1000),
    };
    assert!(matches!(
        refusal(&|node| node.op = NodeOp::Linear),
        Refusal::Operator(_)
    ));
    assert!(matches!(
        refusal(&|node| node.op = mean),
        Refusal::Operator(_)
    ));
    assert!(matches!(refusal(&|node| node.op = far), Refusal::Shape(_)));
    assert!(matches!(
        refusal(&|node| node.op = NodeOp::Embedding),
        Refusal::Shape(_)
    ));
    assert!(matches!(
        refusal(&|node| node.activation = Activation::Relu),
        Refusal::Operator(_)
    ));
    assert!(matches!(
        refusal(&|node| node.weight = None),
        Refusal::Shape(_)
    ));
    assert!(matches!(
        refusal(&|node| node.inputs = &node.inputs[..1]),
        Refusal::Shape(_)
    ));
    assert!(matches!(
        refusal(&|node| node.output.shape = &[1]),
        Refusal::Shape(_)
    ));
    assert!(matches!(
        refusal(&|node| node.output.dtype = DType::quint8),
        Refusal::DType { .. }
    ));
    let float = [TensorSpec {
        dtype: DType::float32,
        shape: &[1],
        qparams: None,
    }];
    case.with(|node| {
        let node = NodeSpec {
            inputs: &float,
            ..*node
        };
        assert!(matches!(
            (EmbeddingRowwise::KERNEL.sizes)(&node),
            Err(Refusal::DType {
                place: "indices",
                ..
            })
        ));
    });
}
