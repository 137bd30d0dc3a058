//! Attention, and positions turned into angles.

use super::product::{product, turned};
use super::reduce::softmax;
use super::types::{narrow, room, wide};
use super::{Call, Operator, Problem, misfit};
use crate::array::{Array, Broadcast, Data, broadcast_shape};

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("Attention", attention),
    ("RotaryEmbedding", rotary_embedding),
];

/// A tensor as `[batch, heads, length, size]`.
struct Heads {
    batch: usize,
    heads: usize,
    length: usize,
    size: usize,
    values: Vec<f64>,
}

impl Heads {
    /// From four dimensions, or from three whose last is all heads.
    fn new(call: Call<'_>, at: usize, heads: &str) -> Result<Self, Problem> {
        let values = call.floats(at)?;
        match *call.input(at)?.shape() {
            [batch, heads, length, size] => Ok(Self {
                batch,
                heads,
                length,
                size,
                values,
            }),
            [batch, length, hidden] => {
                let heads = usize::try_from(call.attributes().int(heads, 0)?).unwrap_or(0);
                if heads == 0 || heads > hidden || !hidden.is_multiple_of(heads) {
                    return misfit(format!("{hidden} features in {heads} heads"));
                }
                let size = hidden / heads;
                let mut sorted = Vec::with_capacity(values.len());
                for n in 0..batch {
                    for h in 0..heads {
                        for t in 0..length {
                            let row = (n * length + t) * hidden + h * size;
                            sorted.extend_from_slice(&values[row..row + size]);
                        }
                    }
                }
                Ok(Self {
                    batch,
                    heads,
                    length,
                    size,
                    values: sorted,
                })
            }
            ref other => misfit(format!("input {at} of shape {other:?}")),
        }
    }

    fn shape(&self) -> Vec<usize> {
        vec![self.batch, self.heads, self.length, self.size]
    }

    /// What came before, and these.
    fn after(self, call: Call<'_>, at: usize) -> Result<Self, Problem> {
        let Some(past) = call.optional(at) else {
            return Ok(self);
        };
        let [batch, heads, length, size] = *past.shape() else {
            return misfit(format!("input {at} of shape {:?}", past.shape()));
        };
        if [batch, heads, size] != [self.batch, self.heads, self.size] {
            return misfit(format!("{:?} behind {:?}", self.shape(), past.shape()));
        }
        let past = call.floats(at)?;
        let (old, new) = (length * size, self.length * size);
        let mut values = Vec::with_capacity(past.len() + self.values.len());
        for head in 0..batch * heads {
            values.extend_from_slice(&past[head * old..][..old]);
            values.extend_from_slice(&self.values[head * new..][..new]);
        }
        let length = length + self.length;
        Ok(Self {
            length,
            values,
            ..self
        })
    }

    fn head(&self, n: usize, h: usize) -> &[f64] {
        let each = self.length * self.size;
        &self.values[(n * self.heads + h) * each..][..each]
    }
}

/// What is added to each score, `-inf` where it does not count.
struct Mask {
    map: Broadcast,
    values: Vec<f64>,
    /// The last dimension, which may be shorter than the keys.
    width: usize,
    shape: [usize; 4],
}

impl Mask {
    fn new(array: &Array, at: usize, shape: [usize; 4]) -> Result<Self, Problem> {
        let values = match array.data() {
            Data::Bool(values) => {
                let added = values
                    .iter()
                    .map(|x| if *x { 0.0 } else { f64::NEG_INFINITY });
                added.collect()
            }
            _ if array.element_type().is_float() => wide(array),
            _ => return Err(Problem::Type(at, array.element_type())),
        };
        let width = array.shape().last().copied().unwrap_or(1);
        let mut to = shape;
        to[3] = if width == 1 { shape[3] } else { width };
        let fits =
            width <= shape[3] && broadcast_shape(&[array.shape(), &to]).as_deref() == Some(&to);
        if !fits {
            return misfit(format!("a mask of shape {:?} for {shape:?}", array.shape()));
        }
        let map = Broadcast::new(array.shape(), &to);
        Ok(Self {
            map,
            values,
            width: to[3],
            shape: to,
        })
    }

    fn at(&self, n: usize, h: usize, i: usize, j: usize) -> f64 {
        if j >= self.width {
            return f64::NEG_INFINITY;
        }
        let [_, heads, rows, columns] = self.shape;
        self.values[self.map.from(((n * heads + h) * rows + i) * columns + j)]
    }
}

/// `softmax(Q K^T scale + bias) V`, with caches, masks and grouped heads.
fn attention(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let flat = call.input(0)?.shape().len() == 3;
    let q = Heads::new(call, 0, "q_num_heads")?;
    let k = Heads::new(call, 1, "kv_num_heads")?.after(call, 4)?;
    let v = Heads::new(call, 2, "kv_num_heads")?.after(call, 5)?;
    let fits = [k.batch, v.batch] == [q.batch; 2]
        && k.heads == v.heads
        && k.length == v.length
        && k.size == q.size
        && k.heads > 0
        && q.heads.is_multiple_of(k.heads);
    if !fits {
        return misfit(format!(
            "{:?}, {:?} and {:?}",
            q.shape(),
            k.shape(),
            v.shape()
        ));
    }
    let attributes = call.attributes();
    let default = 1.0 / (q.size as f64).sqrt();
    let scale = attributes
        .opt_float("scale")?
        .map_or(default, |x| f64::from(*x));
    let softcap = f64::from(attributes.float("softcap", 0.0)?);
    let causal = attributes.flag("is_causal", false)?;
    let mode = attributes.int("qk_matmul_output_mode", 0)?;
    let shape = [q.batch, q.heads, q.length, k.length];
    room(&shape)?;
    room(&[q.batch, q.heads, q.length, v.size])?;
    let mask = match call.optional(3) {
        Some(mask) => Some(Mask::new(mask, 3, shape)?),
        None => None,
    };
    let filled = match call.optional(6) {
        Some(_) => Some(call.integers(6)?),
        None => None,
    };
    if filled
        .as_ref()
        .is_some_and(|filled| filled.len() != q.batch)
    {
        return misfit("one length a batch is needed");
    }
    let windows = (
        attributes.int("left_window_size", -1)?,
        attributes.int("right_window_size", -1)?,
    );
    let past = call.optional(4).map(|past| past.shape()[2] as i64);
    let (mut y, mut scores) = (Vec::new(), Vec::new());
    for n in 0..q.batch {
        let offset = match (past, &filled) {
            (Some(past), _) => past,
            (None, Some(filled)) => filled[n].saturating_sub(q.length as i64),
            (None, None) => 0,
        };
        for h in 0..q.heads {
            let of = h / (q.heads / k.heads);
            let keys = turned(k.head(n, of), k.length, k.size);
            let mut rows = product(q.head(n, h), &keys, (q.length, q.size, k.length));
            for score in &mut rows {
                *score *= scale;
            }
            if mode == 0 && call.opset < 24 {
                scores.extend_from_slice(&rows);
            }
            if softcap > 0.0 {
                for score in &mut rows {
                    *score = softcap * libm::tanh(*score / softcap);
                }
            }
            if mode == 1 || (mode == 0 && call.opset >= 24) {
                scores.extend_from_slice(&rows);
            }
            let mut hidden = vec![false; q.length];
            for i in 0..q.length {
                hidden[i] = true;
                for j in 0..k.length {
                    let distance = (i as i64).saturating_add(offset) - j as i64;
                    let seen = (!causal || distance >= 0)
                        && (windows.0 < 0 || distance <= windows.0)
                        && (windows.1 < 0 || -distance <= windows.1)
                        && filled.as_ref().is_none_or(|filled| (j as i64) < filled[n]);
                    let bias = match (&mask, seen) {
                        (_, false) => f64::NEG_INFINITY,
                        (Some(mask), true) => mask.at(n, h, i, j),
                        (None, true) => 0.0,
                    };
                    hidden[i] &= bias == f64::NEG_INFINITY;
                    rows[i * k.length + j] += bias;
                }
            }
            if mode == 2 {
                scores.extend_from_slice(&rows);
            }
            if k.length > 0 {
                for (row, hidden) in rows.chunks_mut(k.length).zip(&hidden) {
                    if *hidden {
                        row.fill(0.0);
                    } else {
                        softmax(row);
                    }
                }
            }
            if mode == 3 {
                scores.extend_from_slice(&rows);
            }
            y.extend(product(&rows, v.head(n, of), (q.length, k.length, v.size)));
        }
    }
    let to = call.input(0)?.element_type();
    let found = if flat {
        let mut sorted = Vec::with_capacity(y.len());
        for n in 0..q.batch {
            for t in 0..q.length {
                for h in 0..q.heads {
                    let row = ((n * q.heads + h) * q.length + t) * v.size;
                    sorted.extend_from_slice(&y[row..row + v.size]);
                }
            }
        }
        narrow(vec![q.batch, q.length, q.heads * v.size], sorted, to)?
    } else {
        narrow(vec![q.batch, q.heads, q.length, v.size], y, to)?
    };
    let mut outputs = vec![found];
    if call.node.outputs.len() > 1 {
        let of = call.input(1)?.element_type();
        outputs.push(narrow(k.shape(), k.values, of)?);
        outputs.push(narrow(v.shape(), v.values, call.input(2)?.element_type())?);
    }
    if call.node.outputs.len() > 3 {
        outputs.push(narrow(shape.to_vec(), scores, to)?);
    }
    Ok(outputs)
}

/// Pairs of features turned by the angle of their position.
fn rotary_embedding(call: Call<'_>) -> Result<Vec<Array>, Problem> {
    let input = call.input(0)?;
    let (batch, heads, length, size, flat) = match *input.shape() {
        [batch, heads, length, size] => (batch, heads, length, size, false),
        [batch, length, hidden] => {
            let heads = usize::try_from(call.attributes().int("num_heads", 0)?).unwrap_or(0);
            if heads == 0 || heads > hidden || !hidden.is_multiple_of(heads) {
                return misfit(format!("{hidden} features in {heads} heads"));
            }
            (batch, heads, length, hidden / heads, true)
        }
        ref other => return misfit(format!("an input of shape {other:?}")),
    };
    let turned = match usize::try_from(call.attributes().int("rotary_embedding_dim", 0)?) {
        Ok(0) => size,
        Ok(turned) if turned <= size => turned,
        _ => return Err(call.attributes().unsupported("rotary_embedding_dim").into()),
    };
    let half = turned / 2;
    let interleaved = call.attributes().flag("interleaved", false)?;
    let (cos, sin) = (call.floats(1)?, call.floats(2)?);
    let rows = cos.len().checked_div(half).unwrap_or(0);
    let positions = match call.optional(3) {
        Some(_) => {
            let positions = call.integers(3)?;
            let positions = positions
                .iter()
                .map(|at| usize::try_from(*at).unwrap_or(usize::MAX));
            positions.collect()
        }
        None => (0..rows).collect::<Vec<usize>>(),
    };
    let shaped =
        |at: usize| -> Result<bool, Problem> { Ok(call.input(at)?.shape().last() == Some(&half)) };
    let fits =
        shaped(1)? && shaped(2)? && cos.len() == sin.len() && positions.len() == batch * length;
    if !fits || positions.iter().any(|at| *at >= rows) {
        return misfit("the angles do not fit the input");
    }
    let mut values = call.floats(0)?;
    for n in 0..batch {
        for h in 0..heads {
            for t in 0..length {
                let row = if flat {
                    ((n * length + t) * heads + h) * size
                } else {
                    ((n * heads + h) * length + t) * size
                };
                let angle = positions[n * length + t] * half;
                for i in 0..half {
                    let (a, b) = if interleaved {
                        (2 * i, 2 * i + 1)
                    } else {
                        (i, half + i)
                    };
                    let (x, y) = (values[row + a], values[row + b]);
                    let (cos, sin) = (cos[angle + i], sin[angle + i]);
                    values[row + a] = cos * x - sin * y;
                    values[row + b] = sin * x + cos * y;
                }
            }
        }
    }
    Ok(vec![narrow(
        input.shape().to_vec(),
        values,
        input.element_type(),
    )?])
}
