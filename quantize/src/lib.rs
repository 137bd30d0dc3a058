//! How a float model becomes a plan. Data runs one way, one type in and one type out:
//!
//! [`Graph`] -> [`fuse`] -> [`prepare`] -> [`calibrate`] -> [`convert`] ([`ReferenceModel`]) ->
//! [`lower`] ([`Lowered`], a plan).
//!
//! A model that brings its scales along goes from [`Graph`] to [`ReferenceModel`] by [`adopt`].
//!
//! No backend is known here by name: every pass takes a `BackendConfig`.

mod bias;
mod calibrate;
mod convert;
mod equalize;
mod float;
mod fuse;
mod given;
mod graph;
mod lower;
pub mod observer;
mod prepare;
mod reference;
mod report;
mod sensitivity;
mod tensor;
mod weight_only;
mod weights;

pub use bias::correct_bias;
pub use calibrate::{CalibrateError, Calibrated, calibrate};
pub use convert::{ConvertError, QuantizedTable, QuantizedWeight, ReferenceModel, convert};
pub use equalize::equalize;
pub use float::{InputError, Values, check_inputs};
pub use fuse::fuse;
pub use given::{Given, Missing, adopt};
pub use graph::{
    Bag, BatchNorm, Conv, ConvTranspose, Embedding, Gates, Graph, GraphBuilder, GraphError,
    GraphProblem, Interpolate, Linear, Movement, Node, NodeId, Norm, Op, Own, OwnOp, Pool,
    Recurrent, Target, Value, ValueId,
};
pub use lower::{FloatPolicy, LowerError, LowerOptions, Lowered, lower, lower_with};
pub use prepare::{Decision, FloatReason, PrepareError, Prepared, Quantized, prepare};
pub use report::{Energy, LayerReport, ReportError, report, set_input, sqnr_db};
pub use sensitivity::{Histogram, Sensitivity, costly, sensitivity};
pub use tensor::{ShapeError, Tensor};
pub use weight_only::{BlockWeight, WeightOnly, weight_only};
pub use weights::{Weights, WeightsError};
