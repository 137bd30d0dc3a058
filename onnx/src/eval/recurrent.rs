//! Recurrent layers.

use super::product::{product, turned};
use super::types::{narrow, room};
use super::unary::{sigmoid, softplus};
use super::{Call, Operator, Problem, misfit};
use crate::array::Array;

pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("GRU", |call| run(call, &Gru::new(call)?)),
    ("LSTM", |call| run(call, &Lstm::new(call)?)),
    ("RNN", |call| run(call, &Rnn)),
];

/// An activation function, with its parameters.
#[derive(Clone, Copy)]
struct Activation {
    f: fn(f64, f64, f64) -> f64,
    alpha: f64,
    beta: f64,
    clip: f64,
}

impl Activation {
    fn of(self, x: f64) -> f64 {
        let x = if self.clip > 0.0 {
            x.clamp(-self.clip, self.clip)
        } else {
            x
        };
        (self.f)(x, self.alpha, self.beta)
    }
}

/// The functions of all directions, `each` a direction.
fn activations(
    call: Call<'_>,
    default: &[&str],
    directions: usize,
) -> Result<Vec<Activation>, Problem> {
    let names = call.attributes().opt_strings("activations")?;
    let names: Vec<&str> = match names {
        Some(names) => names.iter().map(String::as_str).collect(),
        None => default.repeat(directions),
    };
    if names.len() != default.len() * directions {
        return misfit(format!("activations {names:?} for {directions} directions"));
    }
    let mut alphas = call
        .attributes()
        .opt_floats("activation_alpha")?
        .into_iter()
        .flatten();
    let mut betas = call
        .attributes()
        .opt_floats("activation_beta")?
        .into_iter()
        .flatten();
    let clip = f64::from(call.attributes().float("clip", 0.0)?);
    let mut found = Vec::new();
    for name in names {
        let mut alpha = |default: f64| alphas.next().map_or(default, |x| f64::from(*x));
        let mut beta = |default: f64| betas.next().map_or(default, |x| f64::from(*x));
        type F = fn(f64, f64, f64) -> f64;
        let (f, alpha, beta): (F, f64, f64) = match name.to_ascii_lowercase().as_str() {
            "sigmoid" => (|x, _, _| sigmoid(x), 0.0, 0.0),
            "tanh" => (|x, _, _| libm::tanh(x), 0.0, 0.0),
            "relu" => (|x, _, _| x.max(0.0), 0.0, 0.0),
            "affine" => (|x, a, b| a * x + b, alpha(1.0), beta(0.0)),
            "leakyrelu" => (|x, a, _| if x < 0.0 { a * x } else { x }, alpha(0.01), 0.0),
            "thresholdedrelu" => (|x, a, _| if x > a { x } else { 0.0 }, alpha(1.0), 0.0),
            "scaledtanh" => (|x, a, b| a * libm::tanh(b * x), alpha(1.0), beta(1.0)),
            "hardsigmoid" => (|x, a, b| (a * x + b).clamp(0.0, 1.0), alpha(0.2), beta(0.5)),
            "elu" => (
                |x, a, _| if x < 0.0 { a * libm::expm1(x) } else { x },
                alpha(1.0),
                0.0,
            ),
            "softsign" => (|x, _, _| x / (1.0 + x.abs()), 0.0, 0.0),
            "softplus" => (|x, _, _| softplus(x), 0.0, 0.0),
            _ => return Err(Problem::Unsupported(format!("the activation `{name}`"))),
        };
        found.push(Activation {
            f,
            alpha,
            beta,
            clip,
        });
    }
    Ok(found)
}

/// What a step has: the input's share of the gates with all biases of the input, the state, the matrices.
struct Step<'a> {
    /// `W x + Wb` of one sample, gates behind each other.
    input: &'a [f64],
    /// `[gates * hidden, hidden]`.
    recurrence: &'a [f64],
    /// `Rb`.
    bias: &'a [f64],
    peephole: &'a [f64],
    f: &'a [Activation],
}

impl Step<'_> {
    /// `R h + Rb` of one unit of one gate.
    fn recurrent(&self, gate: usize, unit: usize, h: &[f64]) -> f64 {
        let row = gate * h.len() + unit;
        let weights = &self.recurrence[row * h.len()..][..h.len()];
        weights.iter().zip(h).map(|(w, h)| w * h).sum::<f64>() + self.bias[row]
    }

    /// The whole of one gate before its function.
    fn gate(&self, gate: usize, unit: usize, h: &[f64]) -> f64 {
        self.input[gate * h.len() + unit] + self.recurrent(gate, unit, h)
    }
}

/// What differs between the layers.
trait Cell {
    const GATES: usize;
    /// The functions of one direction.
    const FUNCTIONS: &'static [&'static str];
    /// Whether there is a cell state.
    const MEMORY: bool;
    /// One sample's step: `h` and `c` become the next.
    fn step(&self, step: &Step<'_>, h: &mut Vec<f64>, c: &mut [f64]);
}

struct Rnn;

impl Cell for Rnn {
    const GATES: usize = 1;
    const FUNCTIONS: &'static [&'static str] = &["Tanh"];
    const MEMORY: bool = false;

    fn step(&self, step: &Step<'_>, h: &mut Vec<f64>, _c: &mut [f64]) {
        let next = (0..h.len()).map(|unit| step.f[0].of(step.gate(0, unit, h)));
        *h = next.collect();
    }
}

/// Gates in the order z, r, h.
struct Gru {
    linear_before_reset: bool,
}

impl Gru {
    fn new(call: Call<'_>) -> Result<Self, Problem> {
        let linear_before_reset = call.attributes().flag("linear_before_reset", false)?;
        Ok(Self {
            linear_before_reset,
        })
    }
}

impl Cell for Gru {
    const GATES: usize = 3;
    const FUNCTIONS: &'static [&'static str] = &["Sigmoid", "Tanh"];
    const MEMORY: bool = false;

    fn step(&self, step: &Step<'_>, h: &mut Vec<f64>, _c: &mut [f64]) {
        let gate = |gate: usize| -> Vec<f64> {
            (0..h.len())
                .map(|unit| step.f[0].of(step.gate(gate, unit, h)))
                .collect()
        };
        let (z, r) = (gate(0), gate(1));
        let reset: Vec<f64> = r.iter().zip(&*h).map(|(r, h)| r * h).collect();
        let size = h.len();
        let next = (0..size).map(|unit| {
            let recurrent = if self.linear_before_reset {
                r[unit] * step.recurrent(2, unit, h)
            } else {
                step.recurrent(2, unit, &reset)
            };
            let candidate = step.f[1].of(step.input[2 * size + unit] + recurrent);
            (1.0 - z[unit]) * candidate + z[unit] * h[unit]
        });
        *h = next.collect();
    }
}

/// Gates in the order i, o, f, c.
struct Lstm {
    /// The forget gate is what the input gate leaves.
    coupled: bool,
}

impl Lstm {
    fn new(call: Call<'_>) -> Result<Self, Problem> {
        let coupled = call.attributes().flag("input_forget", false)?;
        Ok(Self { coupled })
    }
}

impl Cell for Lstm {
    const GATES: usize = 4;
    const FUNCTIONS: &'static [&'static str] = &["Sigmoid", "Tanh", "Tanh"];
    const MEMORY: bool = true;

    fn step(&self, step: &Step<'_>, h: &mut Vec<f64>, c: &mut [f64]) {
        let size = h.len();
        let peep = |gate: usize, unit: usize, c: f64| {
            step.peephole.get(gate * size + unit).map_or(0.0, |p| p * c)
        };
        let mut next = Vec::with_capacity(size);
        for (unit, memory) in c.iter_mut().enumerate() {
            let old = *memory;
            let i = step.f[0].of(step.gate(0, unit, h) + peep(0, unit, old));
            let f = if self.coupled {
                1.0 - i
            } else {
                step.f[0].of(step.gate(2, unit, h) + peep(2, unit, old))
            };
            let new = f * old + i * step.f[1].of(step.gate(3, unit, h));
            let o = step.f[0].of(step.gate(1, unit, h) + peep(1, unit, new));
            *memory = new;
            next.push(o * step.f[2].of(new));
        }
        *h = next;
    }
}

/// X `[T, N, I]`, W `[D, gates H, I]`, R `[D, gates H, H]`, B `[D, 2 gates H]`, lengths `[N]`, states
/// `[D, N, H]`; with `layout` the batch stands first.
fn run<C: Cell>(call: Call<'_>, cell: &C) -> Result<Vec<Array>, Problem> {
    let (x, w, r) = (call.input(0)?, call.input(1)?, call.input(2)?);
    let batch_first = call.attributes().flag("layout", false)?;
    let (&[a, b, inputs], &[directions, rows, columns], &[.., hidden]) =
        (x.shape(), w.shape(), r.shape())
    else {
        return misfit("an input of three dimensions is needed");
    };
    let (time, batch) = if batch_first { (b, a) } else { (a, b) };
    let expected = match call.attributes().string("direction", "forward")? {
        "forward" | "reverse" => 1,
        "bidirectional" => 2,
        _ => return Err(call.attributes().unsupported("direction").into()),
    };
    let gates = C::GATES * hidden;
    let states = if batch_first {
        [batch, directions, hidden]
    } else {
        [directions, batch, hidden]
    };
    let shaped =
        |at: usize, shape: &[usize]| call.optional(at).is_none_or(|array| array.shape() == shape);
    let fits = directions == expected
        && rows == gates
        && columns == inputs
        && r.shape() == [directions, gates, hidden]
        && shaped(3, &[directions, 2 * gates])
        && shaped(4, &[batch])
        && shaped(5, &states)
        && (!C::MEMORY || shaped(6, &states) && shaped(7, &[directions, 3 * hidden]))
        && call.attributes().int("hidden_size", hidden as i64)? == hidden as i64;
    if !fits || hidden == 0 {
        return misfit(format!(
            "weights of shapes {:?} and {:?} on an input of shape {:?}",
            w.shape(),
            r.shape(),
            x.shape()
        ));
    }
    let functions = activations(call, C::FUNCTIONS, directions)?;
    let lengths: Vec<usize> = match call.optional(4) {
        Some(_) => {
            let lengths = call.integers(4)?;
            let lengths = lengths
                .iter()
                .map(|x| usize::try_from(*x).ok().filter(|x| *x <= time));
            let lengths: Option<Vec<usize>> = lengths.collect();
            lengths.ok_or_else(|| Problem::Input("a sequence longer than the input".into()))?
        }
        None => vec![time; batch],
    };
    let count = room(&[time, directions, batch, hidden])?;
    let (xs, ws, rs) = (call.floats(0)?, call.floats(1)?, call.floats(2)?);
    let biases = call
        .opt_floats(3)?
        .unwrap_or_else(|| vec![0.0; 2 * directions * gates]);
    let peepholes = if C::MEMORY { call.opt_floats(7)? } else { None }.unwrap_or_default();
    let start = |at: usize| -> Result<Vec<f64>, Problem> {
        Ok(call
            .opt_floats(at)?
            .unwrap_or_else(|| vec![0.0; directions * batch * hidden]))
    };
    let (mut hs, mut cs) = (
        start(5)?,
        if C::MEMORY {
            start(6)?
        } else {
            start(usize::MAX)?
        },
    );
    room(&[time, batch, gates])?;
    let place = |d: usize, n: usize| {
        if batch_first {
            n * directions + d
        } else {
            d * batch + n
        }
    };
    let mut y = vec![0.0; count];
    for d in 0..directions {
        let backwards = d == 1 || call.attributes().string("direction", "forward")? == "reverse";
        let weights = turned(&ws[d * gates * inputs..][..gates * inputs], gates, inputs);
        let shares = product(&xs, &weights, (time * batch, inputs, gates));
        let bias = &biases[d * 2 * gates..][..2 * gates];
        for (n, length) in lengths.iter().enumerate() {
            let at = place(d, n) * hidden;
            let mut h = hs[at..at + hidden].to_vec();
            let mut c = cs[at..at + hidden].to_vec();
            for step in 0..*length {
                let t = if backwards { length - 1 - step } else { step };
                let row = if batch_first {
                    n * time + t
                } else {
                    t * batch + n
                };
                let share = shares[row * gates..][..gates].iter().zip(bias);
                let input: Vec<f64> = share.map(|(share, bias)| share + bias).collect();
                let step = Step {
                    input: &input,
                    recurrence: &rs[d * gates * hidden..][..gates * hidden],
                    bias: &bias[gates..],
                    peephole: peepholes.get(d * 3 * hidden..).unwrap_or_default(),
                    f: &functions[d * C::FUNCTIONS.len()..][..C::FUNCTIONS.len()],
                };
                cell.step(&step, &mut h, &mut c);
                let to = if batch_first {
                    (n * time + t) * directions + d
                } else {
                    (t * directions + d) * batch + n
                };
                y[to * hidden..][..hidden].copy_from_slice(&h);
            }
            hs[at..at + hidden].copy_from_slice(&h);
            cs[at..at + hidden].copy_from_slice(&c);
        }
    }
    let shape = if batch_first {
        vec![batch, time, directions, hidden]
    } else {
        vec![time, directions, batch, hidden]
    };
    let to = x.element_type();
    let mut outputs = vec![narrow(shape, y, to)?, narrow(states.to_vec(), hs, to)?];
    if C::MEMORY {
        outputs.push(narrow(states.to_vec(), cs, to)?);
    }
    Ok(outputs)
}
