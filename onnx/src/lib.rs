//! ONNX in: a model is read, what is constant is computed, and the rest becomes a graph to quantize.
//!
//! `.onnx` bytes -> [`Model`] -> [`import`] -> [`Imported`], with a `qconfig_quantize::Graph` inside.
//! [`export`] and [`write`](fn@write) go the other way, with the scales of a quantized model.
//! [`Model::run`] computes a whole model operator by operator, in the types it has: slow, and the
//! oracle of the rest.

mod array;
mod attributes;
mod eval;
mod export;
mod import;

mod model;
mod read;
mod run;
mod wire;
mod write;

pub use array::{
    Array, Broadcast, Data, Element, ElementType, FillError, Number, broadcast_shape, cast,
    elements, row_major, saturated,
};
pub use attributes::{Attribute, AttributeError, Attributes};
pub use eval::{EvalError, Problem, evaluate, operators};

pub use export::{ExportError, export};
pub use import::{ImportError, ImportOptions, Imported, import};
pub use model::{Dimension, Input, Model, Node};
pub use read::{ReadError, read, read_file, read_tensor};
pub use run::RunError;
pub use wire::WireError;
pub use write::{WriteError, write};
