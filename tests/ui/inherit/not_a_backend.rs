mod groups {
    qconfig::op_groups! {
        pub groups own_groups;
        group own { pattern nn::ReLU; }
    }
}
pub use groups::own_groups;

qconfig::backend_config! {
    pub backend B = "b" extends crate::own_groups;
    config d { input: quint8, output: quint8 }
    pattern nn::ReLU: d { kernel none; }
}

fn main() {}
