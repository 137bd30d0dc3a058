//! What is around an operator: integers, and the activation that is fused behind it.

use qconfig_core::DType;
use qconfig_core::kernel::{Activation, QParams};
use qconfig_quantize::{Node as GraphNode, QuantizedWeight, ValueId};

use super::Exporter;
use crate::array::Data;
use crate::attributes::Attribute;

impl Exporter<'_> {
    /// The value after it has been rounded to a dtype; as it is where it has no parameters for it.
    pub(super) fn rounded(&mut self, id: ValueId, dtype: DType) -> String {
        if let Some(name) = self.rounded.get(&(id, dtype)) {
            return name.clone();
        }
        let float = self.float(id);
        let Some(qparams) = self.model.qparams(id, dtype) else {
            return float;
        };
        let name = self.model.graph().value(id).name.clone();
        let rounded = self.round(&name, float, dtype, qparams);
        self.rounded.insert((id, dtype), rounded.clone());
        rounded
    }

    fn round(&mut self, name: &str, float: String, dtype: DType, qparams: QParams) -> String {
        let scale = self.floats(&format!("{name}_scale"), &[], &[qparams.scale]);
        let zero_point = match dtype {
            DType::qint8 => Data::Int8(vec![qparams.zero_point as i8]),
            _ => Data::UInt8(vec![qparams.zero_point as u8]),
        };
        let zero_point = self.initializer(&format!("{name}_zero_point"), &[], zero_point);
        let integers = self.fresh(&format!("{name}_quantized"));
        let inputs = vec![float, scale.clone(), zero_point.clone()];
        let integers = self.emit("QuantizeLinear", inputs, integers, []);
        let rounded = self.fresh(&format!("{name}_dequantized"));
        self.emit(
            "DequantizeLinear",
            vec![integers, scale, zero_point],
            rounded,
            [],
        )
    }

    /// What is fused behind an operator. Where rounding to the output's range does the same, nothing is
    /// written; else the value is rounded before as well, which changes nothing and leaves the operator
    /// between integers.
    pub(super) fn activated(
        &mut self,
        node: &GraphNode,
        dtype: Option<DType>,
        result: String,
    ) -> String {
        let (low, high) = match node.activation {
            Activation::None => return result,
            Activation::Relu => (0.0, f32::INFINITY),
            Activation::Clamp { low, high } => (low, high),
        };
        let qparams =
            dtype.and_then(|dtype| Some((dtype, self.model.qparams(node.output, dtype)?)));
        let result = match qparams {
            Some((dtype, qparams)) if implied(dtype, qparams, low, high) => return result,
            Some((dtype, qparams)) => {
                self.round(&format!("{}_before", node.name), result, dtype, qparams)
            }
            None => result,
        };
        let output = self.fresh(&format!("{}_activated", node.name));
        self.clipped(result, low, high, output)
    }

    pub(super) fn clipped(&mut self, input: String, low: f32, high: f32, output: String) -> String {
        if low == 0.0 && high == f32::INFINITY {
            return self.emit("Relu", vec![input], output, []);
        }
        let mut bound = |value: f32, name: &str| match value.is_finite() {
            true => self.floats(&format!("{output}_{name}"), &[], &[value]),
            false => String::new(),
        };
        let inputs = vec![input, bound(low, "min"), bound(high, "max")];
        self.emit("Clip", inputs, output, [])
    }

    /// A weight as integers with their scales along an axis, dequantized.
    pub(super) fn weight(
        &mut self,
        name: &str,
        shape: &[usize],
        data: Vec<i8>,
        weight: &QuantizedWeight,
        axis: usize,
    ) -> String {
        let qparams = &weight.qparams;
        let of = match qparams.scales.len() {
            1 => vec![],
            many => vec![many],
        };
        let zero_points = qparams.zero_points.iter().map(|zp| *zp as i8).collect();
        let integers =
            self.initializer(&format!("{name}_weight_quantized"), shape, Data::Int8(data));
        let scale = self.floats(&format!("{name}_weight_scale"), &of, &qparams.scales);
        let zero_point = self.initializer(
            &format!("{name}_weight_zero_point"),
            &of,
            Data::Int8(zero_points),
        );
        let output = self.fresh(&format!("{name}_weight"));
        let axis = ("axis", Attribute::Int(axis as i64));
        self.emit(
            "DequantizeLinear",
            vec![integers, scale, zero_point],
            output,
            [axis],
        )
    }

    /// A bias in the scale of the products of inputs and weight where all of it fits `int32`, else floats.
    pub(super) fn bias(
        &mut self,
        name: &str,
        bias: &[f32],
        input: Option<QParams>,
        weight: Option<&QuantizedWeight>,
    ) -> String {
        let scales: Option<Vec<f32>> = input.zip(weight).map(|(input, weight)| {
            let scales = weight.qparams.scales.iter();
            scales.map(|scale| input.scale * scale).collect()
        });
        let integers = scales.as_ref().and_then(|scales| {
            let values = bias.iter().enumerate().map(|(at, b)| {
                let scale = scales[at.min(scales.len() - 1)];
                let q = (f64::from(*b) / f64::from(scale)).round_ties_even();
                // room for the sum of products above it
                let fits = scale.is_normal() && q.abs() < f64::from(1 << 30);
                fits.then_some(q as i32)
            });
            values.collect::<Option<Vec<i32>>>()
        });
        let (Some(scales), Some(integers)) = (scales, integers) else {
            return self.floats(&format!("{name}_bias"), &[bias.len()], bias);
        };
        let of = match scales.len() {
            1 => vec![],
            many => vec![many],
        };
        let zeros = Data::Int32(vec![0; scales.len()]);
        let count = [integers.len()];
        let integers = self.initializer(
            &format!("{name}_bias_quantized"),
            &count,
            Data::Int32(integers),
        );
        let scale = self.floats(&format!("{name}_bias_scale"), &of, &scales);
        let zero_point = self.initializer(&format!("{name}_bias_zero_point"), &of, zeros);
        let output = self.fresh(&format!("{name}_bias"));
        let axis = ("axis", Attribute::Int(0));
        self.emit(
            "DequantizeLinear",
            vec![integers, scale, zero_point],
            output,
            [axis],
        )
    }
}

/// Whether the range of an output cuts off what lies outside these bounds.
pub(super) fn implied(dtype: DType, qparams: QParams, low: f32, high: f32) -> bool {
    let Some((first, last)) = dtype.quant_range() else {
        return false;
    };
    let quantized = |x: f32| {
        let q = (x * (1.0 / qparams.scale)).round_ties_even() as i64;
        q.saturating_add(i64::from(qparams.zero_point))
    };
    quantized(low) <= first && quantized(high) >= last
}
