qconfig::backend_config! {
    pub backend B = "b";
    config w { input: quint8, output: quint8, weight: qint8, bias: f32 }
    pattern operator::getitem(aten::max_pool2d_with_indices, 0): w { root_node: [1]; kernel none; }
}
fn main() {}
