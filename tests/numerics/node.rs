//! Nodes out of golden cases.

use qconfig_core::DType;
use qconfig_core::kernel::{
    Activation, NodeSpec, QParams, TensorSpec, WeightData, WeightSpec, Window, Window3,
};
use qconfig_tests::golden::{Case, Tensor};

/// What is handed a node, its inputs, and torch's bytes.
pub type Visit<'a> = &'a mut dyn FnMut(&NodeSpec<'_>, &[&[u8]], &[u8]);

/// The dtype that the name of a family speaks of: `linear_qint8`.
pub fn dtype(name: &str) -> DType {
    if name.contains("qint8") {
        DType::qint8
    } else {
        DType::quint8
    }
}

/// A quantized activation.
pub fn quantized(dtype: DType, shape: &[usize], qparams: QParams) -> TensorSpec<'_> {
    TensorSpec {
        dtype,
        shape,
        qparams: Some(qparams),
    }
}

/// A float activation.
pub fn float(shape: &[usize]) -> TensorSpec<'_> {
    TensorSpec {
        dtype: DType::float32,
        shape,
        qparams: None,
    }
}

/// The weight of a case, channels last, with what it is quantized by.
pub struct Weight {
    values: Tensor<i8>,
    scales: Vec<f32>,
    zero_points: Vec<i32>,
    bias: Option<Vec<f32>>,
}

impl Weight {
    pub fn of(case: &Case<'_>) -> Self {
        Self {
            values: case.i8("w").channels_last(),
            scales: case.f32("w_scales").data,
            zero_points: case.i32("w_zero_points"),
            bias: case.f32_if_any("bias").map(|bias| bias.data),
        }
    }

    /// As [`Weight::of`], of a transposed convolution: torch has `[I, O / groups, k..]`.
    pub fn transposed(case: &Case<'_>) -> Self {
        let Tensor { shape, data } = case.i8("w");
        let groups = case.count("groups");
        let (ins, outs) = (shape[0] / groups, shape[1]);
        let area: usize = shape[2..].iter().product();
        let cell = |o: usize, i: usize, at: usize| {
            data[((o / outs * ins + i) * outs + o % outs) * area + at]
        };
        let rows = (0..outs * groups)
            .flat_map(|o| (0..area).flat_map(move |at| (0..ins).map(move |i| (o, i, at))));
        let values = rows.map(|(o, i, at)| cell(o, i, at)).collect();
        let shape = [&[outs * groups], &shape[2..], &[ins]].concat();
        Self {
            values: Tensor {
                shape,
                data: values,
            },
            ..Self::of(case)
        }
    }

    pub fn spec(&self) -> WeightSpec<'_> {
        WeightSpec {
            dtype: DType::qint8,
            shape: &self.values.shape,
            data: WeightData::I8(&self.values.data),
            scales: &self.scales,
            zero_points: &self.zero_points,
        }
    }

    pub fn bias(&self) -> Option<&[f32]> {
        self.bias.as_deref()
    }
}

/// The `relu` of a case.
pub fn relu(case: &Case<'_>) -> Activation {
    if case.flag("relu") {
        Activation::Relu
    } else {
        Activation::None
    }
}

/// A list of one or two numbers as `[height, width]`.
pub fn pair(list: &[usize], height: usize) -> [usize; 2] {
    match *list {
        [width] => [height, width],
        [height, width] => [height, width],
        _ => panic!("one or two spatial dimensions"),
    }
}

/// The three-dimensional window of a case; the axes that it lacks are the first.
pub fn window3(case: &Case<'_>, kernel: &[usize]) -> Window3 {
    let three = |list: &[usize], missing: usize| {
        let mut all = [missing; 3];
        all[3 - list.len()..].copy_from_slice(list);
        all
    };
    let [front, top, left] = three(&case.counts("padding"), 0);
    let dilation = case.fields.contains_key("dilation");
    let dilation = dilation.then(|| case.counts("dilation"));
    Window3 {
        kernel: three(kernel, 1),
        stride: three(&case.counts("stride"), 1),
        padding: [front, top, left, front, top, left],
        dilation: three(&dilation.unwrap_or_default(), 1),
    }
}

/// The window of a case; what it has no key for is neutral. In ceil mode torch's last window may
/// reach beyond the padding: our padding is then larger, as far as the output needs it.
pub fn window(case: &Case<'_>, kernel: &[usize], input: &[usize], output: &[usize]) -> Window {
    let get = |name: &str| {
        let found = case.fields.contains_key(name);
        found.then(|| case.counts(name))
    };
    let kernel = pair(kernel, 1);
    let stride = get("stride").map_or([1, 1], |list| pair(&list, 1));
    let dilation = get("dilation").map_or([1, 1], |list| pair(&list, 1));
    let [top, left] = get("padding").map_or([0, 0], |list| pair(&list, 0));
    let spatial = |shape: &[usize]| match *shape {
        [_, width, _] => [1, width],
        [_, height, width, _] => [height, width],
        _ => panic!("one or two spatial dimensions"),
    };
    let (input, output) = (spatial(input), spatial(output));
    let behind = |axis: usize, before: usize| {
        let reach = (output[axis] - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1;
        reach.saturating_sub(input[axis] + before).max(before)
    };
    Window {
        kernel,
        stride,
        padding: [top, left, behind(0, top), behind(1, left)],
        dilation,
    }
}
