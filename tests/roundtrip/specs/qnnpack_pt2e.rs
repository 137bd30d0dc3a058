qconfig::backend_config! {
    /// Imported from PyTorch: 13 patterns, 13 pairs of pattern and dtype config.
    pub backend QNNPACK_PYTORCH_2_0_EXPORT = "qnnpack_pytorch_2.0_export";

    config weighted_quint8 { input: quint8, output: quint8, weight: qint8, bias: f32 }

    pattern aten::addmm: weighted_quint8 { args { bias: 0, weight: 2 } kernel none; }
    pattern aten::mm: weighted_quint8 { args { weight: 1 } kernel none; }
    pattern aten::add + aten::relu | aten::add | aten::add + aten::relu_ | aten::add_ + aten::relu
        | aten::add_ | aten::add_ + aten::relu_: weighted_quint8
    {
        observe by tensor_args { 0: separate, 1: shared, 2: separate }
        kernel none;
    }
    pattern aten::convolution | aten::convolution + {aten::relu | aten::relu_}: weighted_quint8 {
        args { weight: 1, bias: 2 }
        kernel none;
    }
    pattern operator::getitem(aten::max_pool2d_with_indices, 0): weighted_quint8 {
        root_node: [0]; observe: shared; kernel none;
    }
    pattern aten::relu: weighted_quint8 { observe: shared; kernel none; }
}
