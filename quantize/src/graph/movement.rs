//! Operators that only move elements, and the view that each is.

/// What moves where; dimensions are logical ones (channels first).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Movement {
    /// `torch.permute`: output dimension `i` is input dimension `order[i]`.
    Permute(Vec<usize>),
    /// `torch.narrow`: `length` positions of a dimension from `start` on.
    Narrow {
        /// The dimension.
        dim: usize,
        /// Its first position.
        start: usize,
        /// How many.
        length: usize,
    },
    /// `x[start::step]` along a dimension, `length` positions.
    Slice {
        /// The dimension.
        dim: usize,
        /// Its first position.
        start: usize,
        /// From one position to the next; not 0.
        step: usize,
        /// How many.
        length: usize,
    },
    /// `Tensor.repeat`: so many copies along each dimension, more dimensions than there are going in front.
    Repeat(Vec<usize>),
    /// `torch.repeat_interleave`: each position of a dimension so many times.
    RepeatInterleave {
        /// The dimension; `None` flattens first.
        dim: Option<usize>,
        /// How many times.
        repeats: usize,
    },
    /// `torch.nn.PixelShuffle`: `[N, C r r, H, W]` to `[N, C, H r, W r]`.
    PixelShuffle(usize),
    /// `torch.nn.PixelUnshuffle`: `[N, C, H r, W r]` to `[N, C r r, H, W]`.
    PixelUnshuffle(usize),
}

/// A factor of an output dimension: `size` positions, each `step` further along an input dimension, or
/// all at the same place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Factor {
    pub(crate) size: usize,
    pub(crate) along: Option<(usize, usize)>,
}

/// The output as positions of the input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct View {
    /// Of each output dimension, the outermost first.
    pub(crate) factors: Vec<Vec<Factor>>,
    /// Where it begins along each input dimension.
    pub(crate) start: Vec<usize>,
}

fn along(size: usize, dim: usize, step: usize) -> Factor {
    let along = Some((dim, step));
    Factor { size, along }
}

fn copies(size: usize) -> Factor {
    Factor { size, along: None }
}

impl Movement {
    /// The view of an input of that shape, or what does not fit.
    pub(crate) fn view(&self, shape: &[usize]) -> Result<View, String> {
        let rank = shape.len();
        let whole = |dim: usize| vec![along(shape[dim], dim, 1)];
        let mut view = View {
            factors: (0..rank).map(whole).collect(),
            start: vec![0; rank],
        };
        let inside = |dim: usize| match dim < rank {
            true => Ok(()),
            false => Err(format!("there is no dimension {dim}")),
        };
        match self {
            Movement::Permute(order) => {
                let mut sorted = order.clone();
                sorted.sort_unstable();
                if !sorted.into_iter().eq(0..rank) {
                    return Err(format!("{order:?} does not name each dimension once"));
                }
                view.factors = order.iter().map(|dim| whole(*dim)).collect();
            }
            Movement::Narrow { dim, start, length } => {
                inside(*dim)?;
                if start
                    .checked_add(*length)
                    .is_none_or(|end| end > shape[*dim])
                    || *length == 0
                {
                    return Err(format!(
                        "{length} positions from {start} on do not lie in a dimension of {}",
                        shape[*dim]
                    ));
                }
                view.factors[*dim] = vec![along(*length, *dim, 1)];
                view.start[*dim] = *start;
            }
            Movement::Slice {
                dim,
                start,
                step,
                length,
            } => {
                inside(*dim)?;
                let last = length
                    .checked_sub(1)
                    .and_then(|steps| steps.checked_mul(*step))
                    .and_then(|reach| reach.checked_add(*start));
                if *step == 0 || last.is_none_or(|last| last >= shape[*dim]) {
                    return Err(format!(
                        "{length} positions from {start} on, {step} apart, do not lie in a dimension of {}",
                        shape[*dim]
                    ));
                }
                view.factors[*dim] = vec![along(*length, *dim, *step)];
                view.start[*dim] = *start;
            }
            Movement::Repeat(counts) => {
                let Some(front) = counts.len().checked_sub(rank) else {
                    return Err(format!(
                        "{counts:?} has fewer numbers than there are dimensions"
                    ));
                };
                view.factors = counts
                    .iter()
                    .enumerate()
                    .map(|(at, count)| match at.checked_sub(front) {
                        Some(dim) => vec![copies(*count), along(shape[dim], dim, 1)],
                        None => vec![copies(*count)],
                    })
                    .collect();
            }
            Movement::RepeatInterleave {
                dim: Some(dim),
                repeats,
            } => {
                inside(*dim)?;
                view.factors[*dim].push(copies(*repeats));
            }
            Movement::RepeatInterleave { dim: None, repeats } => {
                view.factors.push(vec![copies(*repeats)]);
                view.factors = vec![view.factors.concat()];
            }
            Movement::PixelShuffle(r) => {
                let &[_, c, h, w] = shape else {
                    return Err("pixel shuffle takes [N, C, H, W]".into());
                };
                let area = r.checked_mul(*r).filter(|area| *area > 0);
                let Some(area) = area.filter(|area| c.is_multiple_of(*area)) else {
                    return Err(format!("{c} channels are no multiple of {r} x {r}"));
                };
                view.factors[1] = vec![along(c / area, 1, area)];
                view.factors[2] = vec![along(h, 2, 1), along(*r, 1, *r)];
                view.factors[3] = vec![along(w, 3, 1), along(*r, 1, 1)];
            }
            Movement::PixelUnshuffle(r) => {
                let &[_, c, h, w] = shape else {
                    return Err("pixel unshuffle takes [N, C, H, W]".into());
                };
                if *r == 0 || !h.is_multiple_of(*r) || !w.is_multiple_of(*r) {
                    return Err(format!("{h} x {w} is no multiple of {r}"));
                }
                view.factors[1] = vec![along(c, 1, 1), along(*r, 2, 1), along(*r, 3, 1)];
                view.factors[2] = vec![along(h / r, 2, *r)];
                view.factors[3] = vec![along(w / r, 3, *r)];
            }
        }
        Ok(view)
    }
}

impl View {
    /// The output's shape; `None` where a size overflows.
    pub(crate) fn shape(&self) -> Option<Vec<usize>> {
        let product = |factors: &Vec<Factor>| {
            factors
                .iter()
                .try_fold(1usize, |n, factor| n.checked_mul(factor.size))
        };
        self.factors.iter().map(product).collect()
    }

    /// Sizes and steps, outermost first, and the offset, over an input whose dimensions are `strides`
    /// apart, with the output's dimensions in `order`.
    pub(crate) fn strides(
        &self,
        strides: &[usize],
        order: impl IntoIterator<Item = usize>,
    ) -> (Vec<(usize, usize)>, usize) {
        let factors = order.into_iter().flat_map(|dim| &self.factors[dim]);
        let steps = factors.map(|factor| {
            let step = factor.along.map_or(0, |(dim, step)| step * strides[dim]);
            (factor.size, step)
        });
        let offset = self.start.iter().zip(strides).map(|(at, s)| at * s).sum();
        (steps.collect(), offset)
    }
}
