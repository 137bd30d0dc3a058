use qconfig::operator::{Operator, Role, Spelled, Spelling, SpellingKind};

pub struct Shuffle;

impl Spelled for Shuffle {
    const SPELLING: &'static Spelling = {
        static SHUFFLE: Operator = Operator { name: "shuffle", onnx: &[], role: Role::Alone, rank: 0 };
        static SPELLING: Spelling =
            Spelling::new("own.Shuffle", "crate::Shuffle", SpellingKind::Custom, &SHUFFLE);
        &SPELLING
    };
}

qconfig::backend_config! {
    pub backend B = "b";
    config w { input: quint8, output: quint8, weight: qint8, bias: f32 }
    pattern nn::Conv2d + crate::Shuffle: w { kernel none; }
}

fn main() {}
