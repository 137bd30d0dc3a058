qconfig::backend_config! {
    /// One pattern, one kernel.
    pub backend ONE = "one";

    dtype act = quint8 { quant in 0..=127 };

    /// Seven bits.
    config plain { input: act, output: act }

    pattern torch::add: plain { kernel => crate::Add; }
}
