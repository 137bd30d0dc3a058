//! Values that depend on a seed only.

use qconfig::quantize::{ShapeError, Tensor};

/// A small generator (xorshift64*): the same values on every machine.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Values that depend on `seed` only.
    pub fn new(seed: u64) -> Self {
        // neighbouring seeds must not give neighbouring states
        let mixed = (seed ^ (seed >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(mixed | 1)
    }

    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Uniform in `-1..1`.
    pub fn uniform(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// Near enough to normal with deviation 1: four uniform values, so that no machine's logarithm
    /// plays a part.
    pub fn normal(&mut self) -> f32 {
        let sum: f32 = (0..4).map(|_| self.uniform()).sum();
        // each has variance 1/3
        sum * 0.866_025_4
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        (self.bits() >> 56) as u8
    }

    /// A number below `count`.
    pub fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.bits()) * count as u128) >> 64) as usize
    }

    /// Normal values of that deviation.
    ///
    /// # Errors
    /// [`ShapeError`] where the elements cannot be counted.
    pub fn tensor(&mut self, shape: &[usize], deviation: f32) -> Result<Tensor, ShapeError> {
        let count = shape.iter().product();
        let values = (0..count).map(|_| deviation * self.normal()).collect();
        Tensor::new(shape.to_vec(), values)
    }
}

/// Cells of the coarse grid that [`image`] interpolates, along each side.
const CELLS: usize = 8;

/// An image `[1, channels, size, size]` with about the mean and deviation of normalised photographs: a
/// coarse random grid, interpolated, under fine noise.
///
/// # Errors
/// [`ShapeError`] where the elements cannot be counted.
pub fn image(channels: usize, size: usize, seed: u64) -> Result<Tensor, ShapeError> {
    let mut random = Random::new(seed);
    let mut values = Vec::with_capacity(channels * size * size);
    for _ in 0..channels {
        let grid: Vec<f32> = (0..(CELLS + 1) * (CELLS + 1))
            .map(|_| 1.2 * random.normal())
            .collect();
        let place = |at: usize| {
            let exact = at as f32 * CELLS as f32 / size as f32;
            (exact as usize, exact.fract())
        };
        for (y, fy) in (0..size).map(place) {
            for (x, fx) in (0..size).map(place) {
                let at = |dy: usize, dx: usize| grid[(y + dy) * (CELLS + 1) + x + dx];
                let top = at(0, 0) + fx * (at(0, 1) - at(0, 0));
                let bottom = at(1, 0) + fx * (at(1, 1) - at(1, 0));
                values.push(top + fy * (bottom - top) + 0.3 * random.normal());
            }
        }
    }
    Tensor::new(vec![1, channels, size, size], values)
}
