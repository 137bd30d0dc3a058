qconfig::backend_config! {
}

fn main() {}
