//! QNNPACK once more, for graphs of ATen operators as `torch.export` makes them: PyTorch's prototype.

crate::backend_config! {
    /// `_qnnpack_pt2e`: the prototype that matches exported graphs.
    pub backend QNNPACK_PT2E = "qnnpack_pytorch_2.0_export";

    use kernels standard;

    // PyTorch lists a weight for operators that have none
    config weighted_quint8 { input: quint8, output: quint8, weight: qint8, bias: f32 }

    pattern aten::addmm: weighted_quint8 { args { bias: 0, weight: 2 } }
    // a linear layer without a bias
    pattern aten::mm: weighted_quint8 { args { weight: 1 } kernel => crate::kernels::Q8Linear; }
    pattern aten::add + aten::relu | aten::add | aten::add + aten::relu_
        | aten::add_ + aten::relu | aten::add_ | aten::add_ + aten::relu_: weighted_quint8
    {
        observe by tensor_args { 0: separate, 1: shared, 2: separate }
    }
    pattern aten::convolution | aten::convolution + {aten::relu | aten::relu_}: weighted_quint8 {
        args { weight: 1, bias: 2 }
    }
    pattern operator::getitem(aten::max_pool2d_with_indices, 0): weighted_quint8 {
        observe: shared; root_node: [0];
    }
    pattern aten::relu: weighted_quint8 { observe: shared; }
}
