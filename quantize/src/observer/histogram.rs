//! `HistogramObserver`: the range that loses least, by torch's search for the L2 norm.

/// Counts of values in equal bins over the range seen so far.
#[derive(Clone, PartialEq, Debug)]
pub struct Histogram {
    bins: Vec<f32>,
    range: Option<(f32, f32)>,
}

/// Bins are split this many times before they are moved to a wider range.
const UPSAMPLE: usize = 16;

impl Histogram {
    /// An empty histogram.
    pub fn new(bins: usize) -> Self {
        Self {
            bins: vec![0.0; bins.max(1)],
            range: None,
        }
    }

    /// Takes values in; they must be finite.
    pub fn observe(&mut self, values: &[f32]) {
        let Some((min, max)) = super::Range::of(values).get() else {
            return;
        };
        match self.range {
            None => {
                self.bins = count(values, self.bins.len(), min, max);
                self.range = Some((min, max));
            }
            Some((old_min, old_max)) => {
                let (new_min, new_max) = (old_min.min(min), old_max.max(max));
                let update = count(values, self.bins.len(), new_min, new_max);
                let old = self.moved(old_min, old_max, new_min, new_max, &update);
                self.bins = update.iter().zip(&old).map(|(a, b)| a + b).collect();
                self.range = Some((new_min, new_max));
            }
        }
    }

    /// The bins over a wider range (`_combine_histograms`, `_upscale_histogram`).
    fn moved(&self, min: f32, max: f32, new_min: f32, new_max: f32, update: &[f32]) -> Vec<f32> {
        if (min, max) == (new_min, new_max) {
            return self.bins.clone();
        }
        let bins = self.bins.len();
        if min == max {
            let total: f32 = update.iter().sum();
            return count(&[min], bins, new_min, new_max)
                .iter()
                .map(|n| n * total)
                .collect();
        }
        let fine = bins * UPSAMPLE;
        let half_bin = 0.5 * ((max - min) / fine as f32);
        let boundaries: Vec<f32> = (0..=bins)
            .map(|i| linspace(new_min, new_max, bins + 1, i))
            .collect();
        let mut moved = vec![0.0f64; bins];
        for i in 0..fine {
            let middle = linspace(min, max, fine + 1, i) + half_bin;
            // bucketize(right=True) - 1: the last boundary that is not above the value
            let bucket = boundaries
                .partition_point(|boundary| *boundary <= middle)
                .saturating_sub(1);
            moved[bucket.min(bins - 1)] += f64::from(self.bins[i / UPSAMPLE] / UPSAMPLE as f32);
        }
        moved.into_iter().map(|n| n as f32).collect()
    }

    /// The range that loses least when it is cut into `levels` (`_non_linear_param_search`).
    pub fn search(&self, levels: usize) -> Option<(f32, f32)> {
        let (min, max) = self.range?;
        let bins = self.bins.len();
        let bin_width = (max - min) / bins as f32;
        // torch sums in pairs, which is as good as exact: one f32 after the other drifts by whole counts
        let exact: f64 = self.bins.iter().map(|n| f64::from(*n)).sum();
        let total = f64::from(exact as f32);
        let mut sums = Vec::with_capacity(bins);
        let mut sum = 0.0f64;
        for n in &self.bins {
            sum += f64::from(*n);
            sums.push(f64::from(sum as f32));
        }
        let step = 1e-5;
        let (mut alpha, mut beta) = (0.0f64, 1.0f64);
        let (mut start, mut end) = (0usize, bins - 1);
        let mut best = f64::INFINITY;
        while alpha < beta {
            let (next_alpha, next_beta) = (alpha + step, beta - step);
            let (mut left, mut right) = (start, end);
            while left < end && sums[left] < next_alpha * total {
                left += 1;
            }
            while right > start && sums[right] > next_beta * total {
                right -= 1;
            }
            let (next_start, next_end) = if left - start > end - right {
                alpha = next_alpha;
                (left, end)
            } else {
                beta = next_beta;
                (start, right)
            };
            if (next_start, next_end) == (start, end) {
                continue;
            }
            let norm = self.error(
                f64::from(max) - f64::from(min),
                next_start,
                next_end,
                levels,
            );
            if norm > best {
                break;
            }
            best = norm;
            (start, end) = (next_start, next_end);
        }
        Some((
            min + bin_width * start as f32,
            min + bin_width * (end + 1) as f32,
        ))
    }

    /// The range that holds a share of the values: from where as many are lost below as above, within a bin as if
    /// they were spread evenly. The whole range where `share` is 1 or more.
    pub fn share(&self, share: f64) -> Option<(f32, f32)> {
        let (min, max) = self.range?;
        let total: f64 = self.bins.iter().map(|n| f64::from(*n)).sum();
        let lost = total * ((1.0 - share) / 2.0).clamp(0.0, 0.5);
        let width = (f64::from(max) - f64::from(min)) / self.bins.len() as f64;
        // how far one may go into the bins until so many values are passed
        let depth = |bins: &mut dyn Iterator<Item = &f32>| {
            let (mut passed, mut depth) = (0.0, 0.0);
            for n in bins {
                let n = f64::from(*n);
                if passed + n >= lost {
                    let within = if n > 0.0 { (lost - passed) / n } else { 0.0 };
                    return depth + within;
                }
                passed += n;
                depth += 1.0;
            }
            depth
        };
        let low = f64::from(min) + width * depth(&mut self.bins.iter());
        let high = f64::from(max) - width * depth(&mut self.bins.iter().rev());
        Some((low.min(high) as f32, high as f32))
    }

    /// The squared error of cutting bins `start..=end` into `levels`, values within a bin taken as
    /// spread evenly (`_compute_quantization_error`; `f32` where torch's tensors are).
    fn error(&self, span: f64, start: usize, end: usize, levels: usize) -> f64 {
        let width = span / self.bins.len() as f64;
        let dst_width = width * (end as f64 - start as f64 + 1.0) / levels as f64;
        if dst_width == 0.0 {
            return 0.0;
        }
        let (w, dst) = (width as f32, dst_width as f32);
        let last = (levels - 1) as f32;
        let half = (dst_width / 2.0) as f32;
        let norm = |begin: f32, end: f32, density: f32| {
            density * ((end * end * end - begin * begin * begin) / 3.0)
        };
        let mut sum = 0.0f64;
        for (bin, n) in self.bins.iter().enumerate() {
            let begin = (bin as f32 - start as f32) * w;
            let finish = begin + w;
            let dst_begin = (begin / dst).floor().clamp(0.0, last);
            let dst_finish = (finish / dst).floor().clamp(0.0, last);
            let density = n / w;
            let mut error = norm(begin - (dst_begin + 0.5) * dst, half, density);
            error += (dst_finish - dst_begin - 1.0) * norm(-half, half, density);
            error += norm(-half, finish - (dst_finish * dst + half), density);
            sum += f64::from(error);
        }
        sum
    }
}

/// `torch.histc`: equal bins over `min..=max`, the last one closed; values outside are left out.
fn count(values: &[f32], bins: usize, min: f32, max: f32) -> Vec<f32> {
    // torch widens an empty range by one on both sides
    let (low, high) = if min == max {
        (min - 1.0, max + 1.0)
    } else {
        (min, max)
    };
    let mut counts = vec![0.0f32; bins];
    for x in values {
        if *x >= low && *x <= high {
            let at = ((x - low) / (high - low) * bins as f32) as usize;
            counts[at.min(bins - 1)] += 1.0;
        }
    }
    counts
}

/// `torch.linspace`: counted from the nearer end.
fn linspace(start: f32, end: f32, steps: usize, i: usize) -> f32 {
    let step = (end - start) / (steps - 1) as f32;
    if i < steps / 2 {
        start + step * i as f32
    } else {
        end - step * (steps - 1 - i) as f32
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_share_leaves_as_much_on_both_sides() {
        // a hundred values a unit, from 0 to 100, in as many bins; one value far out
        let mut histogram = Histogram::new(100);
        let values: Vec<f32> = (0..=10_000).map(|i| i as f32 / 100.0).collect();
        histogram.observe(&values);
        let close = |share: f64, low: f32, high: f32| {
            let found = histogram.share(share).unwrap();
            assert!(
                (found.0 - low).abs() < 0.1 && (found.1 - high).abs() < 0.1,
                "{found:?}"
            );
        };
        close(1.0, 0.0, 100.0);
        close(0.98, 1.0, 99.0);
        close(0.5, 25.0, 75.0);
        close(0.0, 50.0, 50.0);
        assert_eq!(histogram.share(2.0), Some((0.0, 100.0)));
        assert_eq!(Histogram::new(4).share(0.9), None);
    }

    #[test]
    fn one_value_far_out_is_lost() {
        let mut histogram = Histogram::new(2048);
        let mut values: Vec<f32> = (0..20_000).map(|i| (i % 100) as f32 / 100.0).collect();
        values.push(1000.0);
        histogram.observe(&values);
        let (low, high) = histogram.share(0.999).unwrap();
        assert!(low >= 0.0 && high < 2.0, "{low}..{high}");
    }
}
