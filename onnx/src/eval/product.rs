//! Products of matrices.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, LinalgScalar};

use super::types::{lanes, narrow, room, wide};
use super::{Call, Operator, Problem, filled, misfit};
use crate::array::{Array, Broadcast, Data, broadcast_shape, cast, row_major};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("Det", det),
    ("Einsum", einsum),
    ("Gemm", gemm),
    ("MatMul", mat_mul),
    ("MatMulInteger", mat_mul_integer),
];

/// Floats that products are made of.
pub(super) trait Real: LinalgScalar {}
impl Real for f32 {}
impl Real for f64 {}

/// `a[m, k] b[k, n]`, row-major.
pub(super) fn product<T: Real>(a: &[T], b: &[T], (m, k, n): (usize, usize, usize)) -> Vec<T> {
    let mut c = vec![T::zero(); m * n];
    let views = (
        ArrayView2::from_shape((m, k), a),
        ArrayView2::from_shape((k, n), b),
        ArrayViewMut2::from_shape((m, n), &mut c),
    );
    match views {
        (Ok(a), Ok(b), Ok(mut to)) => general_mat_mul(T::one(), &a, &b, T::zero(), &mut to),
        _ => debug_assert!(false, "operands of a product do not fit"),
    }
    c
}

/// What a product of stacked matrices is: shapes of the stack, and sizes of a matrix.
struct Stack {
    /// Shape of the output.
    shape: Vec<usize>,
    /// How many matrices.
    count: usize,
    from: [Broadcast; 2],
    m: usize,
    k: usize,
    n: usize,
}

impl Stack {
    fn new(a: &[usize], b: &[usize]) -> Result<Self, Problem> {
        let misfits = || Problem::Input(format!("{a:?} times {b:?}"));
        // a vector is a row in front and a column behind
        let (row, column) = (a.len() == 1, b.len() == 1);
        let left = if row { vec![1, a[0]] } else { a.to_vec() };
        let right = if column { vec![b[0], 1] } else { b.to_vec() };
        let ([front @ .., m, k], [behind @ .., rows, n]) = (left.as_slice(), right.as_slice())
        else {
            return Err(misfits());
        };
        if k != rows {
            return Err(misfits());
        }
        let stack = broadcast_shape(&[front, behind]).ok_or_else(misfits)?;
        let mut shape = stack.clone();
        if !row {
            shape.push(*m);
        }
        if !column {
            shape.push(*n);
        }
        room(&shape)?;
        Ok(Self {
            count: room(&stack)?,
            from: [
                Broadcast::new(front, &stack),
                Broadcast::new(behind, &stack),
            ],
            shape,
            m: *m,
            k: *k,
            n: *n,
        })
    }

    fn multiplied<T: Real>(&self, a: &[T], b: &[T]) -> Vec<T> {
        let Self { m, k, n, .. } = *self;
        let (left, right) = (m * k, k * n);
        let mut found = Vec::with_capacity(self.shape.iter().product());
        for at in 0..self.count {
            let (x, y) = (self.from[0].from(at) * left, self.from[1].from(at) * right);
            found.extend(product(&a[x..x + left], &b[y..y + right], (m, k, n)));
        }
        found
    }
}

pub(super) fn mat_mul(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    let stack = Stack::new(a.shape(), b.shape())?;
    if let (Data::Float32(a), Data::Float32(b)) = (a.data(), b.data()) {
        let found = stack.multiplied(a, b);
        return Ok(vec![filled(stack.shape, found)?]);
    }
    let to = a.element_type();
    if to != b.element_type() {
        return Err(Problem::Type(1, b.element_type()));
    }
    if to.is_float() {
        let found = stack.multiplied(&call.floats(0)?, &call.floats(1)?);
        return Ok(vec![narrow(stack.shape, found, to)?]);
    }
    // sums of integers wrap
    let (x, y) = (call.integers(0)?, call.integers(1)?);
    let Stack { m, k, n, count, .. } = stack;
    let mut found = Vec::with_capacity(stack.shape.iter().product());
    for at in 0..count {
        let (x0, y0) = (
            stack.from[0].from(at) * m * k,
            stack.from[1].from(at) * k * n,
        );
        for i in 0..m * n {
            let (row, column) = (x0 + i / n * k, y0 + i % n);
            let terms = (0..k).map(|j| x[row + j].wrapping_mul(y[column + j * n]));
            found.push(terms.fold(0, i64::wrapping_add));
        }
    }
    match cast(&filled(stack.shape, found)?, to) {
        Some(array) => Ok(vec![array]),
        None => Err(Problem::Type(0, to)),
    }
}

/// Sums of products of 8-bit numbers without their zero points: exact, as whole numbers in `f64`. The
/// zero point of `a` may be one a row, that of `b` one a column.
pub(super) fn sums(
    (a, a_zero): (&Array, Option<&Array>),
    (b, b_zero): (&Array, Option<&Array>),
) -> Result<(Vec<usize>, Vec<f64>), Problem> {
    let stack = Stack::new(a.shape(), b.shape())?;
    let a = centred(a, a_zero, true)?;
    let b = centred(b, b_zero, false)?;
    let found = stack.multiplied(&a, &b);
    Ok((stack.shape, found))
}

/// Values without their zero point: a single one, one a row (or column), or one that stretches.
fn centred(array: &Array, zero: Option<&Array>, rows: bool) -> Result<Vec<f64>, Problem> {
    let map = along(array.shape(), zero.map(Array::shape), rows)?;
    let zero = zero.map_or_else(|| vec![0.0], wide);
    let values = wide(array).into_iter().enumerate();
    Ok(values.map(|(at, x)| x - zero[map.from(at)]).collect())
}

/// Which parameter stands at an element of a matrix.
pub(super) fn along(
    shape: &[usize],
    parameter: Option<&[usize]>,
    rows: bool,
) -> Result<Broadcast, Problem> {
    let misfits = || Problem::Input(format!("parameters of shape {parameter:?} for {shape:?}"));
    let mut from = match parameter {
        None | Some([]) => Vec::new(),
        Some(from) if from.iter().product::<usize>() == 1 => Vec::new(),
        Some(from) => from.to_vec(),
    };
    if rows && from.len() == 1 && shape.len() > 1 {
        from.push(1);
    }
    let fits = from.len() <= shape.len()
        && from
            .iter()
            .rev()
            .zip(shape.iter().rev())
            .all(|(a, b)| a == b || *a == 1);
    if fits {
        Ok(Broadcast::new(&from, shape))
    } else {
        Err(misfits())
    }
}

fn mat_mul_integer(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    super::quantized::eight_bits(call, 0)?;
    super::quantized::eight_bits(call, 1)?;
    let a = (call.input(0)?, call.optional(2));
    let b = (call.input(1)?, call.optional(3));
    let (shape, sums) = sums(a, b)?;
    Ok(vec![filled(shape, super::quantized::wrapped(&sums))?])
}

/// A matrix with its dimensions exchanged.
pub(super) fn turned<T: Copy>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
    let mut found = Vec::with_capacity(values.len());
    for c in 0..columns {
        found.extend((0..rows).map(|r| values[r * columns + c]));
    }
    found
}

/// `alpha A B + beta C`.
fn gemm(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    let (&[a0, a1], &[b0, b1]) = (a.shape(), b.shape()) else {
        return misfit(format!("{:?} times {:?}", a.shape(), b.shape()));
    };
    let turn = (
        call.attributes().flag("transA", false)?,
        call.attributes().flag("transB", false)?,
    );
    let (m, k) = if turn.0 { (a1, a0) } else { (a0, a1) };
    let (rows, n) = if turn.1 { (b1, b0) } else { (b0, b1) };
    if k != rows {
        return misfit(format!("{:?} times {:?}", a.shape(), b.shape()));
    }
    let count = room(&[m, n])?;
    let alpha = call.attributes().float("alpha", 1.0)?;
    let beta = call.attributes().float("beta", 1.0)?;
    let map = match call.optional(2) {
        Some(c) => {
            let fits = c.shape().len() <= 2
                && broadcast_shape(&[c.shape(), &[m, n]]).as_deref() == Some(&[m, n]);
            if !fits || c.element_type() != a.element_type() {
                return misfit(format!("{:?} added to [{m}, {n}]", c.shape()));
            }
            Some(Broadcast::new(c.shape(), &[m, n]))
        }
        None => None,
    };
    if let (Data::Float32(a), Data::Float32(b)) = (a.data(), b.data()) {
        let a = if turn.0 { &turned(a, a0, a1) } else { a };
        let b = if turn.1 { &turned(b, b0, b1) } else { b };
        let mut found = product(a, b, (m, k, n));
        for y in &mut found {
            *y *= alpha;
        }
        if let Some(map) = map {
            let c = call.values::<f32>(2)?;
            for (at, y) in found.iter_mut().enumerate() {
                *y += beta * c[map.from(at)];
            }
        }
        return Ok(vec![filled(vec![m, n], found)?]);
    }
    let to = a.element_type();
    let number = |array: &Array| array.element_type().is_float() || array.to_i64().is_some();
    if to != b.element_type() || !number(a) {
        return Err(Problem::Type(1, b.element_type()));
    }
    let (a, b) = (wide(a), wide(b));
    let a = if turn.0 { turned(&a, a0, a1) } else { a };
    let b = if turn.1 { turned(&b, b0, b1) } else { b };
    let mut found = product(&a, &b, (m, k, n));
    let c = call.optional(2).map(wide).unwrap_or_default();
    for at in 0..count {
        found[at] *= f64::from(alpha);
        if let Some(map) = &map {
            found[at] += f64::from(beta) * c[map.from(at)];
        }
    }
    match cast(&filled(vec![m, n], found)?, to) {
        Some(array) => Ok(vec![array]),
        None => Err(Problem::Type(0, to)),
    }
}

/// By elimination, with the largest pivot of a column.
fn det(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let [stack @ .., n, columns] = input.shape() else {
        return misfit("a matrix is needed");
    };
    let n = *n;
    if n != *columns {
        return misfit(format!("{:?} is not square", input.shape()));
    }
    let mut values = call.floats(0)?;
    let mut found = vec![1.0; room(stack)?];
    if n > 0 {
        for (matrix, det) in values.chunks_mut(n * n).zip(&mut found) {
            for c in 0..n {
                let size = |row: &usize| matrix[row * n + c].abs();
                let pivot = (c..n)
                    .max_by(|a, b| size(a).total_cmp(&size(b)))
                    .unwrap_or(c);
                if pivot != c {
                    for x in 0..n {
                        matrix.swap(c * n + x, pivot * n + x);
                    }
                    *det = -*det;
                }
                let top = matrix[c * n + c];
                *det *= top;
                if top == 0.0 {
                    break;
                }
                for row in c + 1..n {
                    let factor = matrix[row * n + c] / top;
                    for x in c..n {
                        matrix[row * n + x] -= factor * matrix[c * n + x];
                    }
                }
            }
        }
    }
    Ok(vec![narrow(stack.to_vec(), found, input.element_type())?])
}

/// Sums over letters that the output does not have.
fn einsum(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let equation: String = call
        .attributes()
        .string("equation", "")?
        .split_whitespace()
        .collect();
    let refused = || Problem::Input(format!("the equation `{equation}` does not fit its inputs"));
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    let inputs = call.all()?;
    if terms.len() != inputs.len() {
        return Err(refused());
    }
    // the dots are digits, right-aligned: '9' is the last of them
    let spelled = |term: &str, rank: Option<usize>, most: usize| -> Option<Vec<char>> {
        let (before, after) = match term.split_once("...") {
            Some((before, after)) => (before, Some(after)),
            None => (term, None),
        };
        let letters: Vec<char> = before.chars().chain(after.unwrap_or("").chars()).collect();
        if !letters.iter().all(char::is_ascii_alphabetic) {
            return None;
        }
        let dots = match (after, rank) {
            (None, Some(rank)) if rank != letters.len() => return None,
            (None, _) => 0,
            (Some(_), Some(rank)) => rank.checked_sub(letters.len()).filter(|n| *n <= 10)?,
            (Some(_), None) => most,
        };
        let digits = (0..dots).map(|at| (b'0' + (10 - dots + at) as u8) as char);
        Some(
            before
                .chars()
                .chain(digits)
                .chain(after.unwrap_or("").chars())
                .collect(),
        )
    };
    let spelled_inputs: Option<Vec<Vec<char>>> = terms
        .iter()
        .zip(&inputs)
        .map(|(term, input)| spelled(term, Some(input.shape().len()), 0))
        .collect();
    let spelled_inputs = spelled_inputs.ok_or_else(refused)?;
    let mut sizes: Vec<(char, usize)> = Vec::new();
    for (letters, input) in spelled_inputs.iter().zip(&inputs) {
        for (letter, size) in letters.iter().zip(input.shape()) {
            match sizes.iter_mut().find(|known| known.0 == *letter) {
                Some(known) if known.1 == *size || *size == 1 => {}
                Some(known) if known.1 == 1 => known.1 = *size,
                Some(_) => return Err(refused()),
                None => sizes.push((*letter, *size)),
            }
        }
    }
    sizes.sort_unstable();
    let dots = sizes
        .iter()
        .filter(|known| known.0.is_ascii_digit())
        .count();
    let output = match right {
        Some(right) => spelled(right, None, dots).ok_or_else(refused)?,
        // the letters that stand once, in order
        None => {
            let uses = |letter: char| {
                spelled_inputs
                    .iter()
                    .flatten()
                    .filter(|l| **l == letter)
                    .count()
            };
            let letters = sizes.iter().map(|known| known.0);
            letters
                .filter(|l| l.is_ascii_digit() || uses(*l) == 1)
                .collect()
        }
    };
    let size = |letter: &char| {
        sizes
            .iter()
            .find(|known| known.0 == *letter)
            .map(|known| known.1)
    };
    let shape: Vec<usize> = output
        .iter()
        .map(&size)
        .collect::<Option<_>>()
        .ok_or_else(refused)?;
    let twice = (1..output.len()).any(|at| output[..at].contains(&output[at]));
    if twice {
        return Err(refused());
    }
    let summed: Vec<char> = sizes
        .iter()
        .map(|known| known.0)
        .filter(|letter| !output.contains(letter))
        .collect();
    let inner: Vec<usize> = summed
        .iter()
        .map(&size)
        .collect::<Option<_>>()
        .ok_or_else(refused)?;
    let work = room(&shape)?.checked_mul(room(&inner)?);
    if work.is_none_or(|work| work > 1 << 32) {
        return misfit(format!("`{equation}` is too much work"));
    }
    // how far a step of each letter leads in each input
    let steps = |letters: &[char]| -> Vec<Vec<usize>> {
        let of = |(spelled, input): (&Vec<char>, &&Array)| {
            let strides = row_major(input.shape());
            let step = |letter: &char| {
                let places = spelled.iter().zip(input.shape()).zip(&strides);
                places
                    .filter(|((l, size), _)| *l == letter && **size != 1)
                    .map(|(_, stride)| stride)
                    .sum()
            };
            letters.iter().map(step).collect()
        };
        spelled_inputs.iter().zip(&inputs).map(of).collect()
    };
    let places = |sizes: &[usize], letters: &[char]| -> Vec<Vec<usize>> {
        let steps = steps(letters);
        steps
            .iter()
            .map(|steps| super::types::offsets(sizes, steps))
            .collect()
    };
    let (outer, within) = (places(&shape, &output), places(&inner, &summed));
    let to = inputs[0].element_type();
    let values: Vec<Vec<f64>> = (0..inputs.len())
        .map(|at| call.floats(at))
        .collect::<Result<_, _>>()?;
    let count = outer.first().map_or(0, Vec::len);
    let terms = within.first().map_or(0, Vec::len);
    let element = |at: usize| {
        let term = |i: usize| {
            let factors = values.iter().zip(outer.iter().zip(&within));
            factors
                .map(|(values, (outer, within))| values[outer[at] + within[i]])
                .product::<f64>()
        };
        (0..terms).map(term).sum()
    };
    Ok(vec![narrow(shape, (0..count).map(element).collect(), to)?])
}

/// Rows of a tensor as a matrix with the last dimension as columns.
pub(super) fn matrix(shape: &[usize]) -> (usize, usize) {
    match shape.len() {
        0 => (1, 1),
        rank => {
            let (outer, size, _) = lanes(shape, rank - 1);
            (outer, size)
        }
    }
}
