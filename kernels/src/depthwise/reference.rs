use super::{Layer, Row};

impl Layer<'_> {
    /// The weight of a tap, less its zero point.
    fn weight(&self, [ky, kx]: [usize; 2], channel: usize) -> i32 {
        let [even_low, even_high, odd_low, odd_high] =
            self.pairs[(kx * self.pair_rows() + ky / 2) * self.out_channels + channel];
        let half = if ky.is_multiple_of(2) {
            [even_low, even_high]
        } else {
            [odd_low, odd_high]
        };
        i16::from_le_bytes(half).into()
    }

    /// The stored result of an exact sum.
    fn finish(&self, sum: i32, channel: usize) -> u8 {
        let acc = sum.wrapping_add(i32::from_le_bytes(self.init[channel]));
        // without biases 0, which changes nothing
        let bias = self.bias.get(channel).copied().unwrap_or_default();
        let sum = acc as f32 + f32::from_le_bytes(bias);
        self.output
            .byte(sum * f32::from_le_bytes(self.scale[channel]))
    }
}

/// Computes as many outputs as fit.
pub(super) fn row(
    Row {
        layer,
        input,
        first,
    }: Row<'_>,
    output: &mut [u8],
) {
    let [kh, kw] = layer.geometry.window.kernel;
    let multiplier = layer.out_channels / layer.geometry.channels;
    for (i, pixel) in output.chunks_exact_mut(layer.out_channels).enumerate() {
        let mut at = first;
        at.x += i;
        for (channel, y) in pixel.iter_mut().enumerate() {
            let mut sum = 0i32;
            for tap in (0..kh).flat_map(|ky| (0..kw).map(move |kx| [ky, kx])) {
                let cell = layer
                    .cell(at, tap)
                    .and_then(|cell| input.get(cell + channel / multiplier));
                let a = i32::from(cell.copied().unwrap_or(layer.zero_point));
                sum = sum.wrapping_add(a * layer.weight(tap, channel));
            }
            *y = layer.finish(sum, channel);
        }
    }
}
