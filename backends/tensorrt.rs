//! TensorRT, by way of `fx2trt`: NVIDIA's graphics processors.

crate::backend_config! {
    /// PyTorch's TensorRT backend, to be asked what it supports. A TensorRT engine is built and run by NVIDIA's library
    /// on NVIDIA's hardware: there is nothing here for a CPU to compute, so that no pair has a kernel.
    pub backend TENSORRT = "tensorrt";

    config weighted_qint8 { input: qint8, output: qint8, weight: qint8, bias: f32 }
    config default_qint8  { input: qint8, output: qint8 }

    group conv: weighted_qint8 { kernel none; }
    pattern torch::addmm: weighted_qint8 { args { bias: 0, input: 1, weight: 2 } kernel none; }
    group cat: default_qint8 { kernel none; }
    group linear: weighted_qint8 { kernel none; }
    group binary: weighted_qint8 { kernel none; }
    group share_qparams: default_qint8 { kernel none; }
    group tensor_info: default_qint8 { kernel none; }
}
