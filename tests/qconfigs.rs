//! QConfigs rebuilt from the oracle's description of torch's.

use qconfig_core::{DType, FakeQuantize, ObserverKind, ObserverSpec, QConfig, QScheme};
use serde_json::Value;

/// An observer as the oracle describes it; `None` where there is none (`None`, `torch.nn.Identity`).
pub fn observer(described: &Value) -> Option<ObserverSpec> {
    let number = |name: &str| described[name].as_f64();
    let integer = |name: &str| described[name].as_i64();
    let flag = |name: &str| described[name].as_bool().unwrap_or(false);
    let averaging_constant = number("averaging_constant").unwrap_or(f64::NAN);
    let ch_axis = integer("ch_axis").unwrap_or(-1) as usize;
    let kind = match described["observer"].as_str()? {
        "MinMaxObserver" => ObserverKind::MinMax,
        "MovingAverageMinMaxObserver" => ObserverKind::MovingAverageMinMax { averaging_constant },
        "PerChannelMinMaxObserver" => ObserverKind::PerChannelMinMax { ch_axis },
        "MovingAveragePerChannelMinMaxObserver" => ObserverKind::MovingAveragePerChannelMinMax {
            averaging_constant,
            ch_axis,
        },
        "HistogramObserver" => ObserverKind::Histogram {
            bins: integer("bins").expect("bins") as usize,
        },
        "FixedQParamsObserver" => ObserverKind::FixedQParams {
            scale: number("scale").expect("scale"),
            zero_point: integer("zero_point").expect("zero point"),
        },
        "PlaceholderObserver" => ObserverKind::Placeholder,
        "NoopObserver" => ObserverKind::Noop,
        "ReuseInputObserver" => ObserverKind::ReuseInput,
        "Identity" => return None,
        other => panic!("unknown observer {other}"),
    };
    let qscheme = match described["qscheme"].as_str() {
        None | Some("per_tensor_affine") => QScheme::PerTensorAffine,
        Some("per_tensor_symmetric") => QScheme::PerTensorSymmetric,
        Some("per_channel_affine") => QScheme::PerChannelAffine,
        Some("per_channel_symmetric") => QScheme::PerChannelSymmetric,
        Some("per_channel_affine_float_qparams") => QScheme::PerChannelAffineFloatQparams,
        Some(other) => panic!("unknown qscheme {other}"),
    };
    // an observer that was given no range computes its own: ours is then `None`
    let given = |name: &str| described["args"][name].as_i64();
    let spec = ObserverSpec {
        kind,
        dtype: DType::from_name(described["dtype"].as_str().expect("dtype")).expect("known"),
        qscheme,
        quant_min: given("quant_min"),
        quant_max: given("quant_max"),
        eps: number("eps"),
        reduce_range: flag("reduce_range"),
        is_dynamic: flag("is_dynamic"),
        fake_quantize: match described["fake_quantize"].as_str() {
            None => None,
            Some("FakeQuantize") => Some(FakeQuantize::Plain),
            Some("FusedMovingAvgObsFakeQuantize") => Some(FakeQuantize::FusedMovingAvgObs),
            Some("FixedQParamsFakeQuantize") => Some(FakeQuantize::FixedQParams),
            Some(other) => panic!("unknown class {other}"),
        },
    };
    let spec = match kind {
        // its range has defaults of its own
        ObserverKind::FixedQParams { .. } => ObserverSpec {
            quant_min: integer("quant_min"),
            quant_max: integer("quant_max"),
            ..spec
        },
        _ => spec,
    };
    let range = integer("quant_min").zip(integer("quant_max"));
    assert_eq!(spec.quant_range(), range, "the range of {described}");
    Some(spec)
}

/// A qconfig, where torch has both observers.
pub fn qconfig(described: &Value) -> Option<QConfig> {
    Some(QConfig {
        activation: observer(&described["activation"])?,
        weight: observer(&described["weight"])?,
    })
}
