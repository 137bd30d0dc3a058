//! Functions of two tensors whose shapes broadcast.

use qconfig_core::DType;
use qconfig_core::kernel::{
    Binary, BlobError, Call, Kernel, KernelFamily, NodeOp, NodeSpec, Refusal, Signature, Sizes,
    Split,
};

use super::loops::{Cells, Loop, cells, cells_mut, clamp, get, variant, vectorized};
use crate::blob::{HEADER, Tag, exact};
use crate::broadcast::{Broadcast, SECTION};
use crate::q8_linear_dynamic::{float_bounds, floats};
use crate::units;

/// `a + b`, `a * b` and the other functions of two `float32` tensors ([`NodeOp::Add`], [`NodeOp::Mul`],
/// [`NodeOp::Binary`]), whose shapes broadcast as numpy's do; an activation behind.
#[derive(Clone, Copy, Debug)]
pub struct F32Binary;

const NAME: &str = "f32_binary";
const TAG: Tag = Tag {
    word: *b"fbi1",
    kernel: NAME,
};

impl KernelFamily for F32Binary {
    const KERNEL: &'static Kernel = &Kernel {
        name: NAME,
        signature: Signature::activations(&[DType::float32], &[DType::float32]),
        sizes,
        pack,
        split,
        run,
        variant,
    };
}

/// The functions by number, behind sum and product.
const FUNCTIONS: &[Binary] = &[
    Binary::Sub,
    Binary::Div,
    Binary::Pow,
    Binary::Minimum,
    Binary::Maximum,
    Binary::Less,
    Binary::LessEqual,
    Binary::Greater,
    Binary::GreaterEqual,
    Binary::Equal,
];

/// What is computed of a pair.
#[derive(Clone, Copy)]
enum Function {
    Add,
    Mul,
    Other(Binary),
}

impl Function {
    fn word(self) -> Option<u32> {
        match self {
            Function::Add => Some(0),
            Function::Mul => Some(1),
            Function::Other(function) => {
                let at = FUNCTIONS.iter().position(|known| *known == function)?;
                Some(at as u32 + 2)
            }
        }
    }

    fn read(word: u32) -> Option<Self> {
        match word {
            0 => Some(Function::Add),
            1 => Some(Function::Mul),
            at => FUNCTIONS.get(at as usize - 2).copied().map(Function::Other),
        }
    }
}

/// Words: function, bounds. Section: how the operands broadcast.
struct Header {
    function: Function,
    low: f32,
    high: f32,
    shapes: Broadcast,
}

fn plan(spec: &NodeSpec<'_>) -> Result<Header, Refusal> {
    floats(spec)?;
    let function = match spec.op {
        NodeOp::Add => Function::Add,
        NodeOp::Mul => Function::Mul,
        NodeOp::Binary(function) => Function::Other(function),
        _ => {
            return Err(Refusal::Operator(
                "this kernel takes functions of two tensors",
            ));
        }
    };
    let (low, high) = float_bounds(spec.activation);
    Ok(Header {
        function,
        low,
        high,
        shapes: Broadcast::new(units::arity(spec)?, &spec.output)?,
    })
}

fn sizes(spec: &NodeSpec<'_>) -> Result<Sizes, Refusal> {
    plan(spec)?;
    Ok(Sizes {
        blob: HEADER + SECTION,
        scratch: 0,
    })
}

fn pack(spec: &NodeSpec<'_>, blob: &mut [u8]) -> Result<(), Refusal> {
    let header = plan(spec)?;
    units::blob_length(blob, HEADER + SECTION)?;
    let function = header.function.word().ok_or(Refusal::Operator(
        "a function that this kernel does not know",
    ))?;
    let mut words = [0; 15];
    words[..3].copy_from_slice(&[function, header.low.to_bits(), header.high.to_bits()]);
    let (first, section) = blob.split_at_mut(HEADER);
    TAG.write(first, &words);
    header.shapes.write(section)
}

fn read(blob: &[u8], inputs: &[usize]) -> Result<Header, BlobError> {
    exact("the blob", blob.len(), HEADER + SECTION)?;
    let damaged = BlobError::Header(NAME);
    let [function, low, high, ..] = TAG.read(blob)?;
    let shapes = Broadcast::read(&blob[HEADER..]).ok_or(damaged)?;
    let inputs: [usize; 2] = units::lengths(inputs)?;
    for input in inputs {
        exact("an input", input, input / 4 * 4)?;
    }
    shapes.check(inputs.map(|input| input / 4))?;
    Ok(Header {
        function: Function::read(function).ok_or(damaged)?,
        low: f32::from_bits(low),
        high: f32::from_bits(high),
        shapes,
    })
}

impl Header {
    fn split(&self) -> Split {
        units::split(self.shapes.elements(), 4, 1 << 15)
    }
}

fn split(blob: &[u8], inputs: &[usize]) -> Result<Split, BlobError> {
    Ok(read(blob, inputs)?.split())
}

fn run(call: Call<'_>) -> Result<(), BlobError> {
    exact("the list of inputs", call.inputs.len(), 2)?;
    let (a, b) = (units::input(call.inputs, 0)?, units::input(call.inputs, 1)?);
    let header = read(call.blob, &[a.len(), b.len()])?;
    let part = units::part(&header.split(), &call.units, call.output.len())?;
    let (start, inputs) = (part.start / 4, [cells(a), cells(b)]);
    let output = cells_mut(call.output);
    header.shapes.spans(start, inputs, output, |a, b, output| {
        let work = Zip {
            header: &header,
            a,
            b,
            output,
        };
        vectorized(call.isa, work);
    });
    Ok(())
}

struct Zip<'a> {
    header: &'a Header,
    a: &'a Cells,
    b: &'a Cells,
    output: &'a mut Cells,
}

impl Zip<'_> {
    #[inline(always)]
    fn each(self, f: impl Fn(f32, f32) -> f32) {
        let (low, high) = (self.header.low, self.header.high);
        for (y, (a, b)) in self.output.iter_mut().zip(self.a.iter().zip(self.b)) {
            *y = clamp(f(get(a), get(b)), low, high).to_ne_bytes();
        }
    }
}

impl Loop for Zip<'_> {
    #[inline(always)]
    fn run(self) {
        let truth = |holds: bool| if holds { 1.0 } else { 0.0 };
        let function = match self.header.function {
            Function::Add => return self.each(|a, b| a + b),
            Function::Mul => return self.each(|a, b| a * b),
            Function::Other(function) => function,
        };
        match function {
            Binary::Sub => self.each(|a, b| a - b),
            Binary::Div => self.each(|a, b| a / b),
            Binary::Less => self.each(|a, b| truth(a < b)),
            Binary::LessEqual => self.each(|a, b| truth(a <= b)),
            Binary::Greater => self.each(|a, b| truth(a > b)),
            Binary::GreaterEqual => self.each(|a, b| truth(a >= b)),
            Binary::Equal => self.each(|a, b| truth(a == b)),
            other => self.each(|a, b| crate::binary(other, a, b)),
        }
    }
}
