qconfig::backend_config! {
    pub backend B = "b";
    dynamic config dynamic { input: quint8, output: f32 }
    pattern nn::ReLU: dynamic {
        observe: shared;
        kernel none;
    }
}

fn main() {}
