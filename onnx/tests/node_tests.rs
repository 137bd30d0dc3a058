//! A selection of ONNX's backend tests (made by `tests/oracle/onnx_node_tests.py`), and the same with what
//! no sane file has in it. All of them: `examples/node_tests.rs`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use qconfig_onnx::{Array, Attribute, Data, Node, evaluate, read, read_tensor};

mod case;

use case::{Case, Outcome, run};

fn cases() -> Vec<Case> {
    let bytes = include_bytes!("../../tests/golden/onnx/node_tests.zip");
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut cases: BTreeMap<String, Case> = BTreeMap::new();
    for at in 0..archive.len() {
        let mut file = archive.by_index(at).unwrap();
        let path = file.name().unwrap().into_owned();
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        let (name, rest) = path.split_once('/').unwrap();
        let case = cases.entry(name.into()).or_insert_with(|| Case {
            name: name.into(),
            model: Vec::new(),
            sets: Vec::new(),
        });
        if rest == "model.onnx" {
            case.model = content;
            continue;
        }
        // test_data_set_N/input_M.pb, which the archive has in order up to ten
        let (set, file) = rest.split_once('/').unwrap();
        let set: usize = set.strip_prefix("test_data_set_").unwrap().parse().unwrap();
        let (kind, number) = file.strip_suffix(".pb").unwrap().split_once('_').unwrap();
        case.sets
            .resize_with(case.sets.len().max(set + 1), Default::default);
        let (inputs, outputs) = &mut case.sets[set];
        let list = if kind == "input" { inputs } else { outputs };
        let number: usize = number.parse().unwrap();
        list.resize_with(list.len().max(number + 1), Vec::new);
        list[number] = content;
    }
    cases.into_values().collect()
}

/// Types that are none of ours.
const OTHER_TYPES: [&str; 5] = ["e4m3fn", "e5m2", "float4e2m1", "int2", "uint2"];

#[test]
fn selected_cases_pass_or_are_refused_clearly() {
    let (mut passed, mut refused, mut wrong) = (0, 0, Vec::new());
    for case in cases() {
        let quantization = case.name.contains("quantizelinear") || case.name.contains("qlinear");
        let ours = !OTHER_TYPES.iter().any(|of| case.name.contains(of));
        match run(&case).1 {
            Outcome::Passed => passed += 1,
            Outcome::Unsupported(_) if !(quantization && ours) => refused += 1,
            other => wrong.push(format!("{}: {other:?}", case.name)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{passed} passed, {refused} refused");
    assert!(
        passed >= 452 && refused >= 100,
        "{passed} passed, {refused} refused"
    );
}

#[test]
fn quantization_cases_of_our_types_pass() {
    let names = ["quantizelinear", "qlinear", "convinteger", "matmulinteger"];
    let of_quantization = |case: &Case| names.iter().any(|name| case.name.contains(name));
    let outcomes: Vec<_> = cases()
        .into_iter()
        .filter(of_quantization)
        .map(|case| run(&case).1)
        .collect();
    let passed = outcomes
        .iter()
        .filter(|found| **found == Outcome::Passed)
        .count();
    assert_eq!((passed, outcomes.len()), (33, 45), "{outcomes:?}");
}

/// A generator of numbers that needs no seed from outside.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// A small number, or one at an end of what there is; none makes an output that is large and allowed.
    fn integer(&mut self) -> i64 {
        const ODD: [i64; 8] = [
            i64::MIN,
            i64::MAX,
            i32::MIN as i64,
            1 << 31,
            1 << 40,
            -(1 << 40),
            1 << 62,
            -1,
        ];
        match self.below(3) {
            0 => ODD[self.below(ODD.len())],
            _ => self.below(9) as i64 - 4,
        }
    }

    fn float(&mut self) -> f32 {
        const ODD: [f32; 8] = [
            0.0,
            -0.0,
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            1e-40,
            3e38,
            -1.5,
        ];
        ODD[self.below(ODD.len())]
    }
}

fn attribute(value: &Attribute, random: &mut Random) -> Attribute {
    match value {
        Attribute::Int(_) => Attribute::Int(random.integer()),
        Attribute::Float(_) => Attribute::Float(random.float()),
        Attribute::Ints(values) => {
            let mut values = values.clone();
            match random.below(4) {
                0 => values.truncate(random.below(values.len())),
                1 => values.push(random.integer()),
                _ if values.is_empty() => values.push(random.integer()),
                _ => {
                    let at = random.below(values.len());
                    values[at] = random.integer();
                }
            }
            Attribute::Ints(values)
        }
        Attribute::String(_) => Attribute::String("sideways".into()),
        other => other.clone(),
    }
}

/// A tensor with another shape, type or value.
fn tensor(array: &Array, random: &mut Random) -> Array {
    let (mut shape, data) = array.clone().into_parts();
    match random.below(5) {
        0 => {
            shape = (0..random.below(5)).map(|_| random.below(4)).collect();
            let count = shape.iter().product::<usize>();
            return Array::new(shape, Data::Float32(vec![random.float(); count])).unwrap();
        }
        1 => {
            let count = array.len();
            let mut values = vec![0; count];
            values.fill_with(|| random.integer());
            return Array::new(shape, Data::Int64(values)).unwrap();
        }
        2 if !shape.is_empty() => {
            let at = random.below(shape.len());
            shape.insert(at, 1);
        }
        3 => shape = vec![array.len()],
        _ => {
            if let Data::Int64(values) = &data {
                let mut values = values.clone();
                if !values.is_empty() {
                    let at = random.below(values.len());
                    values[at] = random.integer();
                }
                return Array::new(shape, Data::Int64(values)).unwrap();
            }
            let data = match data {
                Data::Float32(values) => {
                    Data::Float32(values.iter().map(|_| random.float()).collect())
                }
                other => other,
            };
            return Array::new(shape, data).unwrap();
        }
    }
    Array::new(shape, data).unwrap()
}

fn mutated(
    node: &Node,
    inputs: &[Option<Array>],
    random: &mut Random,
) -> (Node, Vec<Option<Array>>) {
    let (mut node, mut inputs) = (node.clone(), inputs.to_vec());
    for _ in 0..1 + random.below(3) {
        let attributes: Vec<_> = node
            .attributes
            .iter()
            .map(|(k, v)| (k.to_owned(), v.clone()))
            .collect();
        let (n, m) = (attributes.len(), inputs.len());
        let at = random.below(n + m + 1);
        if at < n {
            let mut attributes = attributes;
            attributes[at].1 = attribute(&attributes[at].1, random);
            if random.below(8) == 0 {
                attributes.remove(at);
            }
            node.attributes = attributes.into_iter().collect();
        } else if at < n + m {
            inputs[at - n] = match (&inputs[at - n], random.below(8)) {
                (Some(array), 1..) => Some(tensor(array, random)),
                _ => None,
            };
        } else {
            inputs.truncate(random.below(m + 1));
        }
    }
    (node, inputs)
}

/// Overflow is checked in the profile of tests, so what is not thought of is seen here.
#[test]
fn no_mutation_of_a_case_panics() {
    let mut random = Random(7);
    let (mut count, mut panics) = (0, Vec::new());
    for case in cases() {
        let Ok(model) = read(&case.model) else {
            continue;
        };
        let ([node], Some((inputs, _))) = (model.nodes.as_slice(), case.sets.first()) else {
            continue;
        };
        let named: BTreeMap<&str, Array> = model
            .inputs
            .iter()
            .zip(inputs)
            .filter_map(|(input, bytes)| Some((input.name.as_str(), read_tensor(bytes).ok()?)))
            .collect();
        let inputs: Vec<Option<Array>> = node
            .inputs
            .iter()
            .map(|name| named.get(name.as_str()).cloned())
            .collect();
        for _ in 0..400 {
            let (node, inputs) = mutated(node, &inputs, &mut random);
            let inputs: Vec<Option<&Array>> = inputs.iter().map(Option::as_ref).collect();
            for opset in [7, 10, 12, model.opset] {
                let ran = std::panic::catch_unwind(|| {
                    evaluate(&node, &inputs, opset).map(|found| found.len())
                });
                if ran.is_err() {
                    panics.push(format!(
                        "{}: {node:?} of {inputs:?} in opset {opset}",
                        case.name
                    ));
                }
                count += 1;
            }
        }
    }
    panics.dedup_by_key(|panic| panic.split(':').next().map(str::to_owned));
    assert!(panics.is_empty(), "{}", panics.join("\n"));
    assert!(count > 500_000, "{count}");
}
