/// The least and the greatest of zero and the finite values.
pub(super) fn range(input: &[u8]) -> (f32, f32) {
    let values = input.as_chunks().0.iter().map(|x| f32::from_ne_bytes(*x));
    values
        .filter(|x| x.is_finite())
        .fold((0.0, 0.0), |(least, greatest), x| {
            (
                if x < least { x } else { least },
                if x > greatest { x } else { greatest },
            )
        })
}
