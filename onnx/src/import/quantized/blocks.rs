//! Weights that are rounded alone: `com.microsoft.MatMulNBits`, and constants of integers before a product whose other
//! operand is float, with a scale for all, for each output or for each block (DequantizeLinear with a block size).

use qconfig_quantize::{BlockWeight, Tensor, ValueId, WeightOnly};

use super::super::{Importer, Place, Refusal, unsupported};
use crate::array::{Array, Data, ElementType};
use crate::attributes::AttributeError;
use crate::eval::{Problem, axis};

/// Constants of integers with their scales and zero points, before they are floats.
#[derive(Clone, Debug)]
pub(in super::super) struct Stored {
    bits: u32,
    /// From 0 on.
    levels: Vec<u8>,
    shape: [usize; 2],
    along: usize,
    /// Positions of a block along that axis; all along the other one where it is `None`.
    block: Option<usize>,
    scales: Vec<f32>,
    zero_points: Vec<i32>,
}

/// Integers of few bits from 0 on, and how many bits.
fn levels(array: &Array) -> Option<(u32, Vec<u8>)> {
    Some(match array.data() {
        Data::UInt8(values) => (8, values.clone()),
        Data::Int8(values) => (8, values.iter().map(|q| (*q as u8) ^ 128).collect()),
        Data::UInt4(values) => (4, values.clone()),
        Data::Int4(values) => (4, values.iter().map(|q| (q + 8) as u8).collect()),
        _ => return None,
    })
}

impl Stored {
    /// What a DequantizeLinear of constants says; `None` for what no kernel takes.
    pub(super) fn of(importer: &Importer<'_>, at: Place<'_>) -> Result<Option<Self>, Refusal> {
        let (x, scale) = (importer.constant(at, 0)?, importer.constant(at, 1)?);
        let (Some((bits, found)), Ok(shape), Data::Float32(scales)) =
            (levels(x), <[usize; 2]>::try_from(x.shape()), scale.data())
        else {
            return Ok(None);
        };
        let zero_points = match importer.optional_constant(at, 2)? {
            Some(array) if array.element_type() == x.element_type() => levels(array)
                .map_or(Vec::new(), |(_, levels)| {
                    levels.into_iter().map(i32::from).collect()
                }),
            Some(_) => return Ok(None),
            None => {
                let signed = matches!(x.element_type(), ElementType::Int8 | ElementType::Int4);
                let zero = if signed { 1 << (bits - 1) } else { 0 };
                vec![zero; scales.len()]
            }
        };
        let along = axis(at.attributes().int("axis", 1)?, 2)?;
        let block = usize::try_from(at.attributes().int("block_size", 0)?).unwrap_or(0);
        Ok(Some(Self {
            bits,
            levels: found,
            shape,
            along,
            block: Some(block).filter(|block| *block > 0),
            scales: scales.clone(),
            zero_points,
        }))
    }

    /// The weight of a product over the axis `inner`.
    fn weight(&self, inner: usize) -> Option<BlockWeight> {
        let (rows, k) = (self.shape[1 - inner], self.shape[inner]);
        let blocks = match self.block {
            // blocks along the outputs are no blocks of a row
            Some(_) if self.along != inner => return None,
            Some(block) => k.div_ceil(block),
            None => 1,
        };
        let is_single = self.scales.len() == 1 && self.block.is_none();
        let is_fitting = rows.checked_mul(blocks) == Some(self.scales.len());
        if !is_single && !(is_fitting && (self.block.is_some() || self.along != inner)) {
            return None;
        }
        // row-major `[K, O]` or `[O, K]`
        let place = |row: usize, at: usize, width: usize| match inner {
            0 => at * rows + row,
            _ => row * width + at,
        };
        let each = |row: usize, block: usize| {
            if is_single {
                0
            } else {
                place(row, block, blocks)
            }
        };
        let pairs = || (0..rows).flat_map(|row| (0..blocks).map(move |block| (row, block)));
        let data = (0..rows * k).map(|at| self.levels.get(place(at / k, at % k, k)).copied());
        let scales = pairs().map(|(row, block)| self.scales.get(each(row, block)).copied());
        let zero_points =
            pairs().map(|(row, block)| self.zero_points.get(each(row, block)).copied());
        let zero_points: Option<Vec<i32>> = zero_points.collect();
        let how = WeightOnly {
            bits: self.bits,
            block: self.block,
            zero_points: has_zero_points(self.bits, zero_points.as_ref()?),
        };
        BlockWeight::new(
            how,
            [rows, k],
            data.collect::<Option<_>>()?,
            scales.collect::<Option<_>>()?,
            zero_points?,
        )
    }
}

fn has_zero_points(bits: u32, zero_points: &[i32]) -> bool {
    zero_points.iter().any(|zp| *zp != 1 << (bits - 1))
}

impl Importer<'_> {
    /// The weight of a product, if it was integers and the other operand is float.
    pub(super) fn stored_weight(&self, at: Place<'_>) -> Option<BlockWeight> {
        let stored = self.stored.get(at.node.inputs.get(1)?)?;
        let attributes = at.attributes();
        let inner = match at.node.op_type.as_str() {
            "MatMul" => 0,
            "Gemm" if attributes.float("alpha", 1.0).ok()? == 1.0 => {
                usize::from(attributes.flag("transB", false).ok()?)
            }
            _ => return None,
        };
        stored.weight(inner)
    }

    /// A product with weights of few bits in blocks along the depth: `[N, blocks, bytes]`, the low bits first.
    pub(in super::super) fn mat_mul_n_bits(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let attributes = at.attributes();
        let size = |name: &str| -> Result<usize, AttributeError> {
            let size = usize::try_from(attributes.int(name, 0)?).ok();
            let size = size.filter(|size| (1..=1 << 24).contains(size));
            size.ok_or_else(|| attributes.unsupported(name))
        };
        let (k, n, block) = (size("K")?, size("N")?, size("block_size")?);
        let bits = match attributes.int("bits", 4)? {
            bits @ (2 | 4 | 8) => bits as usize,
            _ => return Err(attributes.unsupported("bits").into()),
        };
        if self.optional_constant(at, 4)?.is_some() {
            return unsupported("an order of the depth");
        }
        let blocks = k.div_ceil(block);
        let (bytes, per_row) = ((block * bits).div_ceil(8), (blocks * bits).div_ceil(8));
        let of = |count: usize| n.checked_mul(count);
        let packed = self.constant(at, 1)?;
        let scales = self.constant(at, 2)?;
        let (Data::UInt8(packed), Some(scales)) = (packed.data(), scales.to_f32()) else {
            return Err(Problem::Type(1, packed.element_type()).into());
        };
        if blocks.checked_mul(bytes).and_then(of) != Some(packed.len())
            || of(blocks) != Some(scales.len())
        {
            return Err(Problem::Input(format!("{n} x {k} weights in blocks of {block}")).into());
        }
        let picked = |bytes: &[u8], at: usize| {
            let byte = bytes.get(at * bits / 8).copied().unwrap_or(0);
            byte >> (at * bits % 8) & ((1u16 << bits) - 1) as u8
        };
        let zero_points: Vec<f32> = match self
            .optional_constant(at, 3)?
            .map(|array| (array, array.data()))
        {
            None => vec![f32::from(1u8 << (bits - 1)); scales.len()],
            Some((_, Data::UInt8(zeros))) if of(per_row) == Some(zeros.len()) => {
                let rows = zeros.chunks(per_row);
                let each = |row| (0..blocks).map(move |block| f32::from(picked(row, block)));
                rows.flat_map(each).collect()
            }
            Some((array, _)) => match array.to_f32() {
                Some(zeros) if zeros.len() == scales.len() => zeros,
                _ => {
                    return Err(
                        Problem::Input("the zero points do not fit the blocks".into()).into(),
                    );
                }
            },
        };
        let levels = packed.chunks(blocks * bytes).flat_map(|row| {
            (0..k).map(move |at| picked(&row[at / block * bytes..][..bytes], at % block))
        });
        let levels: Vec<u8> = levels.collect();
        let weight = levels.iter().enumerate().map(|(at, q)| {
            let block = at / k * blocks + at % k / block;
            (f32::from(*q) - zero_points[block]) * scales[block]
        });
        let weight = Tensor::new(vec![n, k], weight.collect())
            .map_err(|error| Problem::Input(error.to_string()))?;
        let whole =
            |zp: &f32| (zp.fract() == 0.0 && (0.0..256.0).contains(zp)).then_some(*zp as i32);
        // zero points between levels have no kernel: those weights are floats
        let stored =
            (zero_points.iter().map(whole).collect::<Option<Vec<i32>>>()).and_then(|zero_points| {
                let how = WeightOnly {
                    bits: bits as u32,
                    block: Some(block),
                    zero_points: has_zero_points(bits as u32, &zero_points),
                };
                BlockWeight::new(how, [n, k], levels, scales, zero_points)
            });
        let bias = self
            .optional_weight(at, 5)?
            .map(|bias| bias.data().to_vec());
        if bias.as_ref().is_some_and(|bias| bias.len() != n) {
            return Err(Problem::Input(format!("another number of biases than {n}")).into());
        }
        let bias = bias.and_then(|bias| Tensor::new(vec![n], bias).ok());
        if let Some(stored) = stored {
            self.given.blocks.insert(at.node.name.clone(), stored);
        }
        self.linear(at, weight, bias)
    }
}
