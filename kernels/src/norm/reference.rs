use super::{Affine, Channels, Moments, Row};

pub(super) fn affine(
    Affine {
        a,
        b,
        zero_point,
        output: to,
    }: &Affine<'_>,
    input: &[u8],
    output: &mut [u8],
) {
    let period = a.len().max(1);
    for (input, output) in input.chunks(period).zip(output.chunks_mut(period)) {
        for ((x, y), (a, b)) in input.iter().zip(output).zip(a.iter().zip(*b)) {
            let d = f32::from(i16::from(*x) - i16::from(*zero_point));
            *y = to.byte(d * f32::from_le_bytes(*a) + f32::from_le_bytes(*b));
        }
    }
}

pub(super) fn row(
    Row {
        p,
        r,
        a,
        b,
        zero_point,
        output: to,
    }: &Row<'_>,
    input: &[u8],
    output: &mut [u8],
) {
    for ((x, y), (a, b)) in input.iter().zip(output).zip(a.iter().zip(*b)) {
        let d = f32::from(i16::from(*x) - i16::from(*zero_point));
        let normal = d * p + r;
        *y = to.byte(normal * f32::from_le_bytes(*a) + f32::from_le_bytes(*b));
    }
}

pub(super) fn add_channels(
    Channels {
        image,
        channels,
        first,
    }: Channels<'_>,
    sums: &mut [[u64; 2]],
) {
    for position in image.chunks_exact(channels) {
        let own = position.get(first..).unwrap_or_default();
        for (x, [sum, squares]) in own.iter().zip(&mut *sums) {
            *sum += u64::from(*x);
            *squares += u64::from(*x) * u64::from(*x);
        }
    }
}

#[inline(always)]
pub(super) fn row_moments(input: &[u8]) -> Moments {
    let mut moments = Moments {
        count: input.len() as u64,
        ..Moments::default()
    };
    // parts whose squares fit 32 bits
    for part in input.chunks(1 << 15) {
        let (mut sum, mut squares) = (0u32, 0u32);
        for x in part {
            let x = u32::from(*x);
            sum += x;
            squares += x * x;
        }
        moments.sum += u64::from(sum);
        moments.squares += u64::from(squares);
    }
    moments
}
