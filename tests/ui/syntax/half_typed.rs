qconfig::backend_config! {
    pub backend B = "b";
    config w { input: quint8, output: quint8, weight: qint8, bias: f32 }
    pattern nn::Linear: w { kernel none; }
    pattern nn::
}
fn main() {
    // what stands before the half-typed statement is there
    let _ = (&B, b::cfg::w);
}
