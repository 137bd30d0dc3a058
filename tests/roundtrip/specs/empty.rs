qconfig::backend_config! {
    /// Imported from PyTorch: 0 patterns, 0 pairs of pattern and dtype config.
    pub backend BACKEND_7_BITS = "7 bits";
}
