use qconfig::operator::{Operator, Role, Spelled, Spelling, SpellingKind};

pub struct Own;

impl Spelled for Own {
    const SPELLING: &'static Spelling = {
        static OWN: Operator = Operator { name: "own", onnx: &[], role: Role::Alone, rank: 0 };
        static SPELLING: Spelling = Spelling::new("own.Own", "crate::Own", SpellingKind::Custom, &OWN);
        &SPELLING
    };
}

qconfig::backend_config! {
    pub backend B = "b" extends qconfig::backends::QNNPACK;
    override config weighted_int8 { input: quint8, output: quint8, weight: qint8 }
    pattern crate::Own: weighted_int8 { kernel none; }
}

fn main() {}
