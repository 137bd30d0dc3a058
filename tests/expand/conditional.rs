qconfig::backend_config! {
    #[cfg(feature = "backend")]
    pub backend COND = "cond";

    config a { input: quint8, output: quint8 }
    #[cfg(feature = "signed")]
    config b { input: qint8, output: qint8 }

    pattern torch::add: [a, b] {
        #[cfg(feature = "fast")]
        kernel for add => crate::Fast;
        kernel => crate::Plain;
    }
    #[cfg(feature = "mul")]
    pattern torch::mul: a { kernel => crate::Mul; }
}
