//! Models that are quantized already. What lies between a QuantizeLinear and a DequantizeLinear is a value
//! of the graph whose scale and zero point are known; operators of integers (QLinearConv and the like)
//! are taken apart into those two and an operator of floats ([`operator`]).

mod blocks;
mod dynamic;
mod operator;

use std::collections::BTreeMap;

use qconfig_core::kernel::QParams;
use qconfig_core::operator::nn;
use qconfig_core::{DType, Spelled};
use qconfig_quantize::observer::ChannelQParams;
use qconfig_quantize::{Op, ValueId};

pub(super) use self::blocks::Stored;
pub(super) use self::dynamic::parts as dynamic;
pub(super) use self::operator::parts;
use super::{Bound, Importer, Place, Refusal, tensor, unsupported};
use crate::array::{Array, Data, ElementType};
use crate::attributes::Attributes;
use crate::eval::{Problem, axis, filled, misfit};
use crate::model::{Model, Node};

/// Scales and zero points of a constant that was integers, along one of its axes.
#[derive(Clone, Debug)]
pub(super) struct Dequantized {
    scales: Vec<f32>,
    /// Of `int8`: those of `uint8` are 128 less.
    zero_points: Vec<i32>,
    /// Meaningless for one pair.
    axis: usize,
}

/// A node that stands for others, named by what it gives.
fn plain(op_type: &str, inputs: Vec<String>, output: String, attributes: Attributes) -> Node {
    Node {
        name: format!("{output}:{op_type}"),
        op_type: op_type.into(),
        domain: String::new(),
        inputs,
        outputs: vec![output],
        attributes,
    }
}

fn is_eight_bits(of: ElementType) -> bool {
    matches!(of, ElementType::Int8 | ElementType::UInt8)
}

/// Operators whose output holds nothing but values of their inputs, so that it has their parameters.
pub(super) fn moves_only(node: &Node) -> bool {
    matches!(
        node.op_type.as_str(),
        "MaxPool"
            | "Relu"
            | "Identity"
            | "Dropout"
            | "Reshape"
            | "Flatten"
            | "Squeeze"
            | "Unsqueeze"
            | "Transpose"
            | "Slice"
            | "Split"
            | "Concat"
    )
}

impl Importer<'_> {
    /// The one scale and zero point of a value.
    fn pair(&self, at: Place<'_>) -> Result<(DType, QParams), Refusal> {
        let scale = self.constant(at, 1)?;
        let zero_point = self.optional_constant(at, 2)?;
        let dtype = match zero_point.map(Array::element_type) {
            // without a zero point the type is in an attribute, else uint8
            None => match at.attributes().int("output_dtype", 0)? {
                0 | 2 => DType::quint8,
                3 => DType::qint8,
                _ => return Err(at.attributes().unsupported("output_dtype").into()),
            },
            Some(ElementType::UInt8) => DType::quint8,
            Some(ElementType::Int8) => DType::qint8,
            Some(other) => return Err(Problem::Type(2, other).into()),
        };
        let scales = scale.to_f32();
        let zero_points = zero_point.map_or(Some(vec![0]), Array::to_i64);
        let (Some([scale]), Some([zero_point])) = (scales.as_deref(), zero_points.as_deref())
        else {
            return unsupported("a value with more than one scale");
        };
        if !(scale.is_normal() && *scale > 0.0) {
            return Err(
                misfit::<()>(format!("the scale {scale:e} is not a positive number"))
                    .err()
                    .unwrap_or(Problem::Missing(1))
                    .into(),
            );
        }
        let zero_point = *zero_point as i32;
        let scale = *scale;
        Ok((dtype, QParams { scale, zero_point }))
    }

    pub(super) fn quantize_linear(&mut self, at: Place<'_>) -> Result<Vec<Bound>, Refusal> {
        let pair = self.pair(at)?;
        let id = self.value(at, 0)?;
        let name = at.node.inputs.first().map_or("", String::as_str);
        let found = self.given.values.get(&id);
        if found == Some(&pair) {
            return Ok(vec![Bound::Quantized(id)]);
        }
        // others read it as it was before, or in other integers
        let readers = self.readers.get(name).copied().unwrap_or(0);
        if found.is_some() || readers > 1 {
            let (spelling, op) = (nn::Identity::SPELLING, Op::Identity);
            let id = self.add(at, spelling, op, &[id])?;
            self.given.values.insert(id, pair);
            return Ok(vec![Bound::Quantized(id)]);
        }
        self.given.values.insert(id, pair);
        Ok(vec![Bound::Quantized(id)])
    }

    pub(super) fn dequantize_linear(&mut self, at: Place<'_>) -> Result<Vec<Bound>, Refusal> {
        let name = at.node.inputs.first().ok_or(Problem::Missing(0))?;
        match self.bound.get(name).cloned() {
            Some(Bound::Quantized(id)) => {
                let pair = self.pair(at)?;
                // without a zero point the type is that of the value
                let found = self.given.values.get(&id).copied();
                let is_same = found.is_some_and(|(dtype, qparams)| {
                    qparams == pair.1 && (dtype == pair.0 || at.node.inputs.len() < 3)
                });
                if is_same {
                    Ok(vec![Bound::Value(id)])
                } else {
                    unsupported("a scale or zero point other than the value was quantized with")
                }
            }
            Some(_) => unsupported("integers that are computed"),
            None => Err(Problem::Missing(0).into()),
        }
    }

    /// A constant of integers with one pair of parameters, or one for each position along an axis: its
    /// floats, with a note of what they were. `None` for what [`evaluate`](crate::evaluate) is left to.
    pub(super) fn dequantize_constant(&mut self, at: Place<'_>) -> Result<Option<Array>, Refusal> {
        if let Some(stored) = Stored::of(self, at)? {
            let name = at.node.outputs.first().cloned().unwrap_or_default();
            self.stored.insert(name, stored);
        }
        let (x, scale) = (self.constant(at, 0)?, self.constant(at, 1)?);
        let of = x.element_type();
        let is_blocked = at.attributes().int("block_size", 0)? != 0;
        let (true, Some(integers), Some(scales)) = (
            is_eight_bits(of) || of == ElementType::Int32,
            x.to_i64(),
            scale.values::<f32>().map(<[f32]>::to_vec),
        ) else {
            return Ok(None);
        };
        let zero_points = match self.optional_constant(at, 2)? {
            None => vec![0; scales.len()],
            Some(array) => array
                .to_i64()
                .ok_or(Problem::Type(2, array.element_type()))?,
        };
        let shape = x.shape().to_vec();
        let along = match scales.len() {
            1 => 0,
            _ => axis(at.attributes().int("axis", 1)?, shape.len())?,
        };
        let fits = scales.len() == 1 || shape.get(along) == Some(&scales.len());
        if is_blocked || !fits || zero_points.len() != scales.len() {
            return Ok(None);
        }
        let inner: usize = shape.iter().skip(along + 1).product();
        let channel = |at: usize| at / inner.max(1) % scales.len().max(1);
        let floats = integers.iter().enumerate().map(|(at, q)| {
            let at = channel(at);
            // both are below 2^53, the product is rounded once
            (q.wrapping_sub(zero_points[at]) as f64 * f64::from(scales[at])) as f32
        });
        let floats = filled(shape, floats.collect())?;
        let name = at.node.outputs.first().cloned().unwrap_or_default();
        if is_eight_bits(of) {
            let flip = if of == ElementType::UInt8 { 128 } else { 0 };
            let zero_points = zero_points
                .iter()
                .map(|zp| (*zp).clamp(-128, 255) as i32 - flip);
            let zero_points = zero_points.collect();
            self.dequantized.insert(
                name,
                Dequantized {
                    scales,
                    zero_points,
                    axis: along,
                },
            );
        }
        Ok(Some(floats))
    }

    /// What a node that is in the graph now says of quantization: the parameters of its weight, and of an
    /// output that only repeats inputs.
    pub(super) fn note(&mut self, at: Place<'_>, bounds: Vec<Bound>) -> Vec<Bound> {
        let is_float = match at.node.inputs.first().and_then(|name| self.bound.get(name)) {
            Some(Bound::Value(id)) => !self.given.values.contains_key(id),
            _ => false,
        };
        let is_dynamic = matches!(at.attributes().int(dynamic::MARK, 0), Ok(1));
        if is_float
            && !is_dynamic
            && let Some(weight) = self.stored_weight(at)
        {
            self.given.blocks.insert(at.node.name.clone(), weight);
        }
        if let Some(qparams) = self.weight_qparams(at) {
            if is_dynamic {
                self.given.dynamic.insert(at.node.name.clone());
            }
            self.given.weights.insert(at.node.name.clone(), qparams);
        }
        if !moves_only(at.node) {
            return bounds;
        }
        let (mut pairs, mut is_integers) = (Vec::new(), false);
        for name in &at.node.inputs {
            match self.bound.get(name) {
                Some(Bound::Value(id)) => pairs.push(self.given.values.get(id).copied()),
                Some(Bound::Quantized(id)) => {
                    is_integers = true;
                    pairs.push(self.given.values.get(id).copied());
                }
                _ => {}
            }
        }
        let Some(Some(pair)) = pairs.first().copied() else {
            return bounds;
        };
        if pairs.iter().any(|other| *other != Some(pair)) {
            return bounds;
        }
        let noted = bounds.into_iter().map(|bound| match bound {
            Bound::Value(id) => {
                self.given.values.entry(id).or_insert(pair);
                match is_integers {
                    true => Bound::Quantized(id),
                    false => Bound::Value(id),
                }
            }
            other => other,
        });
        noted.collect()
    }

    /// The parameters of a weight, one pair or one for each output channel.
    fn weight_qparams(&self, at: Place<'_>) -> Option<ChannelQParams> {
        let Dequantized {
            scales,
            zero_points,
            axis,
        } = self.dequantized.get(at.node.inputs.get(1)?)?.clone();
        let Bound::Constant(weight) = self.bound.get(at.node.inputs.get(1)?)? else {
            return None;
        };
        let attributes = at.attributes();
        let (outputs, repeats, factor) = match at.node.op_type.as_str() {
            "Conv" => (0, 1, 1.0),
            "ConvTranspose" => (1, attributes.int("group", 1).ok()?, 1.0),
            "Gemm" if attributes.flag("transB", false).ok()? => {
                (0, 1, attributes.float("alpha", 1.0).ok()?)
            }
            "Gemm" => (1, 1, attributes.float("alpha", 1.0).ok()?),
            "MatMul" => (weight.shape().len().checked_sub(1)?, 1, 1.0),
            _ => return None,
        };
        if scales.len() > 1 && axis != outputs {
            return None;
        }
        let repeats = match scales.len() {
            1 => 1,
            _ => usize::try_from(repeats).ok()?,
        };
        Some(ChannelQParams {
            scales: (scales.iter().map(|scale| scale * factor))
                .collect::<Vec<_>>()
                .repeat(repeats),
            zero_points: zero_points.repeat(repeats),
        })
    }

    /// A constant that was integers, as an operand with their scale and zero point.
    pub(super) fn quantized_constant(&mut self, name: &str) -> Result<Option<ValueId>, Refusal> {
        let (Some(found), Some(Bound::Constant(array))) =
            (self.dequantized.get(name), self.bound.get(name))
        else {
            return Ok(None);
        };
        let ([scale], [zero_point]) = (&found.scales[..], &found.zero_points[..]) else {
            return Ok(None);
        };
        let (scale, zero_point) = (*scale, *zero_point + 128);
        let Some(tensor) = tensor(array) else {
            return Ok(None);
        };
        let id = self.builder.constant(name, tensor)?;
        let pair = (DType::quint8, QParams { scale, zero_point });
        self.given.values.insert(id, pair);
        self.operands.insert(name.into(), id);
        Ok(Some(id))
    }
}

/// How many nodes read each value of a model, an output counting as two.
pub(super) fn readers(model: &Model) -> BTreeMap<String, usize> {
    let mut readers: BTreeMap<String, usize> = BTreeMap::new();
    for name in model.nodes.iter().flat_map(|node| &node.inputs) {
        *readers.entry(name.clone()).or_default() += 1;
    }
    for name in &model.outputs {
        *readers.entry(name.clone()).or_default() += 2;
    }
    readers
}

/// A product of two scalars or of a scalar and a row.
fn product(a: &Array, b: &Array, factor: f32) -> Option<Array> {
    let (a, b) = (a.to_f32()?, b.to_f32()?);
    let ([a], b) = (&a[..], b) else {
        return None;
    };
    let values: Vec<f32> = b.iter().map(|b| factor * (a * b)).collect();
    Array::new(vec![values.len()], Data::Float32(values)).ok()
}
