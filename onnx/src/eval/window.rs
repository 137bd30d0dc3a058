//! Windows that slide over the dimensions behind batch and channels: what convolutions and pools share.

use super::types::room;
use super::{Call, Problem, misfit};

/// Most positions times taps of one window.
const MOST_TAPS: usize = 1 << 27;

/// A tap that is in the padding.
pub(super) const PADDING: u32 = u32::MAX;

/// How a window slides.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) input: Vec<usize>,
    pub(super) kernel: Vec<usize>,
    pub(super) strides: Vec<usize>,
    pub(super) dilations: Vec<usize>,
    /// Padding in front.
    pub(super) front: Vec<usize>,
    /// Padding behind, without what rounding up adds.
    pub(super) back: Vec<usize>,
    pub(super) output: Vec<usize>,
}

/// Who pads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AutoPad {
    No,
    Valid,
    Upper,
    Lower,
}

pub(super) fn auto_pad(call: Call<'_>) -> Result<AutoPad, Problem> {
    Ok(match call.attributes().string("auto_pad", "NOTSET")? {
        "NOTSET" | "" => AutoPad::No,
        "VALID" => AutoPad::Valid,
        "SAME_UPPER" => AutoPad::Upper,
        "SAME_LOWER" => AutoPad::Lower,
        _ => return Err(call.attributes().unsupported("auto_pad").into()),
    })
}

/// What stands in front of and behind a dimension so that its output is as large as the input over the
/// stride, of a kernel that reaches over so many elements; the odd one stands behind, or in front.
pub(crate) fn same_padding(input: usize, stride: usize, reach: usize, upper: bool) -> [usize; 2] {
    let steps = input.div_ceil(stride).saturating_sub(1);
    let total = (steps * stride + reach).saturating_sub(input);
    let (less, more) = (total / 2, total - total / 2);
    if upper { [less, more] } else { [more, less] }
}

/// Strides, dilations, and padding in front and behind.
type Slide = (Vec<usize>, Vec<usize>, Vec<usize>, Vec<usize>);

/// How a window slides over so many dimensions, as the attributes say it.
pub(super) fn attributes(call: Call<'_>, dims: usize) -> Result<Slide, Problem> {
    let ones = vec![1; dims];
    let strides = call.attributes().sizes("strides", &ones)?;
    let dilations = call.attributes().sizes("dilations", &ones)?;
    let pads = call.attributes().sizes("pads", &vec![0; 2 * dims])?;
    // sums and products of two of them stay far inside 64 bits
    let small = |list: &[usize]| list.iter().all(|x| *x <= 1 << 24);
    let fits = strides.len() == dims
        && dilations.len() == dims
        && pads.len() == 2 * dims
        && small(&strides)
        && small(&dilations)
        && small(&pads);
    if !fits || strides.contains(&0) || dilations.contains(&0) {
        return misfit(format!(
            "strides {strides:?}, dilations {dilations:?} and pads {pads:?} over {dims} dimensions"
        ));
    }
    let (front, back) = pads.split_at(dims);
    Ok((strides, dilations, front.to_vec(), back.to_vec()))
}

impl Window {
    /// From the attributes of a node, the size of its kernel and the sizes it slides over.
    pub(super) fn new(call: Call<'_>, input: &[usize], kernel: &[usize]) -> Result<Self, Problem> {
        let dims = input.len();
        let (strides, dilations, mut front, mut back) = attributes(call, dims)?;
        let small = |list: &[usize]| list.iter().all(|x| (1..=1 << 24).contains(x));
        if dims == 0 || kernel.len() != dims || !small(kernel) || !small(input) {
            return misfit(format!("a window of {kernel:?} over {input:?}"));
        }
        let up = call.attributes().flag("ceil_mode", false)?;
        let auto = auto_pad(call)?;
        let mut output = Vec::new();
        for d in 0..dims {
            let reach = (kernel[d] - 1) * dilations[d] + 1;
            if auto == AutoPad::Valid {
                (front[d], back[d]) = (0, 0);
            } else if auto != AutoPad::No {
                let upper = auto == AutoPad::Upper;
                [front[d], back[d]] = same_padding(input[d], strides[d], reach, upper);
            }
            let padded = input[d] + front[d] + back[d];
            let Some(room) = padded.checked_sub(reach) else {
                return misfit(format!("a window of {reach} over {padded} elements"));
            };
            let mut size = room / strides[d] + 1;
            // the last window must begin inside the input or the padding in front
            if up && !room.is_multiple_of(strides[d]) && size * strides[d] < input[d] + front[d] {
                size += 1;
            }
            output.push(size);
        }
        let window = Self {
            input: input.to_vec(),
            kernel: kernel.to_vec(),
            strides,
            dilations,
            front,
            back,
            output,
        };
        let work = room(&window.output)?.checked_mul(room(kernel)?);
        if room(input)? >= PADDING as usize || work.is_none_or(|work| work > MOST_TAPS) {
            return misfit(format!(
                "a window of {kernel:?} over {input:?} is too large"
            ));
        }
        Ok(window)
    }

    /// Positions of the output.
    pub(super) fn positions(&self) -> usize {
        self.output.iter().product()
    }

    /// Taps of a kernel.
    pub(super) fn size(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Elements of a plane of the input.
    pub(super) fn plane(&self) -> usize {
        self.input.iter().product()
    }

    /// For each tap of the kernel, and for each position of the output: which element of the input's plane
    /// it reads, or [`PADDING`].
    pub(super) fn taps(&self) -> Vec<u32> {
        // dimension by dimension, the last fastest: (taps so far) x (positions so far)
        let mut taps = vec![0u32];
        let (mut kernels, mut places) = (1, 1);
        for d in 0..self.input.len() {
            let (kernel, output) = (self.kernel[d], self.output[d]);
            let mut next = vec![PADDING; taps.len() * kernel * output];
            for k in 0..kernels {
                for tap in 0..kernel {
                    for place in 0..places {
                        let from = taps[k * places + place];
                        let row = (k * kernel + tap) * places + place;
                        for o in 0..output {
                            let at = o * self.strides[d] + tap * self.dilations[d];
                            let inside = at.checked_sub(self.front[d]);
                            let inside = inside.filter(|at| *at < self.input[d]);
                            if let (Some(at), false) = (inside, from == PADDING) {
                                next[row * output + o] = from * self.input[d] as u32 + at as u32;
                            }
                        }
                    }
                }
            }
            taps = next;
            kernels *= kernel;
            places *= output;
        }
        taps
    }

    /// For each position of the output, how many taps are in the input or its padding.
    pub(super) fn padded_taps(&self) -> Vec<usize> {
        let mut counts = vec![1];
        for d in 0..self.input.len() {
            let padded = self.front[d] + self.input[d] + self.back[d];
            let along = |o: usize| {
                let start = o * self.strides[d];
                let inside = |tap: &usize| start + tap * self.dilations[d] < padded;
                (0..self.kernel[d]).filter(inside).count()
            };
            let along: Vec<usize> = (0..self.output[d]).map(along).collect();
            counts = counts
                .iter()
                .flat_map(|count| along.iter().map(move |n| count * n))
                .collect();
        }
        counts
    }
}
