//! Networks and layers for measuring: the ones that people run, with seeded random weights, quantized
//! by the whole flow for QNNPACK. `peers/run.py` runs them beside other libraries.

pub mod data;
pub mod export;
pub mod layers;
pub mod nets;
