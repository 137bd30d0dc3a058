qconfig::backend_config! {
    pub backend B = "b";
    config w { input: quint8, output: quint8, weight: qint8, bias: f32 }
    pattern relu(add(_, conv2d)): w { root_node: [0, 1]; extra_inputs: [[0, 0], [1]]; kernel none; }
}
fn main() {}
