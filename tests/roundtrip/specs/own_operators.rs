qconfig::backend_config! {
    /// Imported from PyTorch: 4 patterns, 4 pairs of pattern and dtype config.
    pub backend OWN_OPERATORS = "own operators";

    config default_quint8  { input: quint8, output: quint8 }
    config weighted_quint8 { input: quint8, output: quint8, weight: qint8, bias: f32 }

    pattern crate::ops::Swish | crate::ops::swish: default_quint8 { kernel none; }
    pattern nn::Conv2d + crate::ops::Swish | crate::ops::swish(torch::add(_, nn::Linear)): weighted_quint8 {
        kernel none;
    }
}
