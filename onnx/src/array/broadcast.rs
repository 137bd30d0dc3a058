//! Shapes that stretch to each other, as numpy's do.

use super::{elements, row_major};

/// The shape that all stretch to, or `None` where two sizes differ and neither is 1, or it is too large.
pub fn broadcast_shape(shapes: &[&[usize]]) -> Option<Vec<usize>> {
    let rank = shapes.iter().map(|shape| shape.len()).max()?;
    let mut to = vec![1; rank];
    for shape in shapes {
        for (to, size) in to.iter_mut().rev().zip(shape.iter().rev()) {
            match (*to, *size) {
                (a, b) if a == b => {}
                (1, b) => *to = b,
                (_, 1) => {}
                _ => return None,
            }
        }
    }
    elements(&to).map(|_| to)
}

/// The element of a smaller tensor that stands at each element of the stretched one.
#[derive(Clone, Debug)]
pub struct Broadcast {
    sizes: Vec<usize>,
    steps: Vec<usize>,
}

impl Broadcast {
    /// From a shape to one that it stretches to.
    pub fn new(from: &[usize], to: &[usize]) -> Self {
        let mut steps = vec![0; to.len()];
        let strides = row_major(from);
        for ((step, stride), size) in steps
            .iter_mut()
            .rev()
            .zip(strides.iter().rev())
            .zip(from.iter().rev())
        {
            *step = if *size == 1 { 0 } else { *stride };
        }
        let sizes = to.to_vec();
        Self { sizes, steps }
    }

    /// The position in the smaller tensor of position `at` in the stretched one.
    pub fn from(&self, at: usize) -> usize {
        let (mut rest, mut position) = (at, 0);
        for (size, step) in self.sizes.iter().zip(&self.steps).rev() {
            position += rest % size * step;
            rest /= size;
        }
        position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_one_stretch() {
        assert_eq!(broadcast_shape(&[&[2, 1], &[3]]), Some(vec![2, 3]));
        assert_eq!(broadcast_shape(&[&[2], &[3]]), None);
        let row = Broadcast::new(&[2, 1], &[2, 3]);
        let found: Vec<usize> = (0..6).map(|at| row.from(at)).collect();
        assert_eq!(found, [0, 0, 0, 1, 1, 1]);
    }
}
