//! Which qconfig a node gets (`torch.ao.quantization.QConfigMapping`).

use alloc::string::String;
use alloc::vec::Vec;

use crate::qconfig::{FakeQuantize, ObserverSpec, QConfig};

/// What is known of a node when its qconfig is looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeName<'a> {
    /// Dotted path of the module that holds it: `features.0.conv`; empty at the top.
    pub module: &'a str,
    /// PyTorch's path of its type: `torch.nn.Conv2d`, or a method's bare name.
    pub object_type: &'a str,
    /// How many nodes of this type came before it in this module.
    pub index: usize,
}

/// From nodes to qconfigs. Each rule may also say `None`: leave it float.
///
/// Precedence is PyTorch's, from the strongest: module name + type + order, module name (the longest
/// dotted prefix that is set), module name regex (the first that matches at the beginning), object
/// type, global.
///
/// ```
/// use qconfig_core::{NodeName, QConfig, QConfigMapping};
/// let mapping = QConfigMapping::new()
///     .global(Some(QConfig::QNNPACK))
///     .module_name("head", None);
/// let node = NodeName { module: "head.fc", object_type: "torch.nn.Linear", index: 0 };
/// assert_eq!(mapping.qconfig(&node, |_, _| false), None);
/// ```
#[derive(Clone, PartialEq, Debug, Default)]
pub struct QConfigMapping {
    global: Option<QConfig>,
    object_types: Vec<(String, Option<QConfig>)>,
    module_name_regexes: Vec<(String, Option<QConfig>)>,
    module_names: Vec<(String, Option<QConfig>)>,
    orders: Vec<(String, String, usize, Option<QConfig>)>,
}

fn set<T>(list: &mut Vec<(String, T)>, key: &str, value: T) {
    match list.iter_mut().find(|(found, _)| found == key) {
        Some((_, old)) => *old = value,
        None => list.push((key.into(), value)),
    }
}

impl QConfigMapping {
    /// No rule: everything stays float.
    pub fn new() -> Self {
        Self::default()
    }

    /// The qconfig of nodes that nothing else names.
    #[must_use]
    pub fn global(mut self, qconfig: Option<QConfig>) -> Self {
        self.global = qconfig;
        self
    }

    /// The qconfig of a type: `torch.nn.Conv2d`, `torch.add`, `reshape`.
    #[must_use]
    pub fn object_type(mut self, path: &str, qconfig: Option<QConfig>) -> Self {
        set(&mut self.object_types, path, qconfig);
        self
    }

    /// The qconfig of modules whose dotted path matches from its beginning.
    #[must_use]
    pub fn module_name_regex(mut self, regex: &str, qconfig: Option<QConfig>) -> Self {
        set(&mut self.module_name_regexes, regex, qconfig);
        self
    }

    /// The qconfig of a module and all below it.
    #[must_use]
    pub fn module_name(mut self, path: &str, qconfig: Option<QConfig>) -> Self {
        set(&mut self.module_names, path, qconfig);
        self
    }

    /// The qconfig of the `index`-th node of a type in a module.
    #[must_use]
    pub fn module_name_object_type_order(
        mut self,
        module: &str,
        object_type: &str,
        index: usize,
        qconfig: Option<QConfig>,
    ) -> Self {
        let key = |order: &&mut (String, String, usize, Option<QConfig>)| {
            order.0 == module && order.1 == object_type && order.2 == index
        };
        match self.orders.iter_mut().find(key) {
            Some(order) => order.3 = qconfig,
            None => self
                .orders
                .push((module.into(), object_type.into(), index, qconfig)),
        }
        self
    }

    /// The qconfig of a node. `matches(regex, module)` says whether a regex matches from the
    /// beginning of a path, as Python's `re.match`; this crate has no regex engine of its own.
    pub fn qconfig(
        &self,
        node: &NodeName<'_>,
        matches: impl Fn(&str, &str) -> bool,
    ) -> Option<QConfig> {
        let order = self.orders.iter().find(|(module, object_type, index, _)| {
            module == node.module && object_type == node.object_type && *index == node.index
        });
        if let Some((.., qconfig)) = order {
            return *qconfig;
        }
        let mut path = node.module;
        while !path.is_empty() {
            if let Some((_, qconfig)) = self.module_names.iter().find(|(name, _)| name == path) {
                return *qconfig;
            }
            path = path.rsplit_once('.').map_or("", |(parent, _)| parent);
        }
        if let Some((_, qconfig)) = self
            .module_name_regexes
            .iter()
            .find(|(regex, _)| matches(regex, node.module))
        {
            return *qconfig;
        }
        match self
            .object_types
            .iter()
            .find(|(path, _)| path == node.object_type)
        {
            Some((_, qconfig)) => *qconfig,
            None => self.global,
        }
    }

    /// The regexes, so that a caller can compile them once.
    pub fn regexes(&self) -> impl Iterator<Item = &str> {
        self.module_name_regexes
            .iter()
            .map(|(regex, _)| regex.as_str())
    }

    /// The qconfig of nodes that nothing else names.
    pub fn global_qconfig(&self) -> Option<QConfig> {
        self.global
    }

    /// The rules by type, in order.
    pub fn object_type_qconfigs(&self) -> impl Iterator<Item = (&str, Option<QConfig>)> {
        self.object_types
            .iter()
            .map(|(path, qconfig)| (path.as_str(), *qconfig))
    }
}

/// Types whose output has fixed parameters, with their observer.
const FIXED_QPARAMS: &[(&str, ObserverSpec)] = {
    const ZERO_TO_ONE: ObserverSpec = ObserverSpec::fixed(1.0 / 256.0, 0);
    const MINUS_ONE_TO_ONE: ObserverSpec = ObserverSpec::fixed(2.0 / 256.0, 128);
    &[
        ("torch.nn.Hardsigmoid", ZERO_TO_ONE),
        ("torch.nn.functional.hardsigmoid", ZERO_TO_ONE),
        ("hardsigmoid", ZERO_TO_ONE),
        ("hardsigmoid_", ZERO_TO_ONE),
        ("torch.nn.Sigmoid", ZERO_TO_ONE),
        ("torch.sigmoid", ZERO_TO_ONE),
        ("sigmoid", ZERO_TO_ONE),
        ("sigmoid_", ZERO_TO_ONE),
        ("torch.nn.Softmax", ZERO_TO_ONE),
        ("torch.nn.Tanh", MINUS_ONE_TO_ONE),
        ("torch.tanh", MINUS_ONE_TO_ONE),
        ("tanh", MINUS_ONE_TO_ONE),
        ("tanh_", MINUS_ONE_TO_ONE),
    ]
};

const CONV_TRANSPOSES: [&str; 6] = [
    "torch.nn.ConvTranspose1d",
    "torch.nn.ConvTranspose2d",
    "torch.nn.ConvTranspose3d",
    "torch.nn.functional.conv_transpose1d",
    "torch.nn.functional.conv_transpose2d",
    "torch.nn.functional.conv_transpose3d",
];

/// PyTorch's `get_default_qconfig_mapping(backend)`, for the backends it has one for
/// (`qnnpack`, `x86`, `fbgemm`, `onednn`).
pub fn default_qconfig_mapping(backend: &str) -> Option<QConfigMapping> {
    let qconfig = match backend {
        "qnnpack" => QConfig::QNNPACK,
        "x86" | "fbgemm" => QConfig::X86,
        "onednn" => QConfig::ONEDNN,
        _ => return None,
    };
    Some(mapping(backend, qconfig, QConfig::QNNPACK.weight, None))
}

/// PyTorch's `get_default_qat_qconfig_mapping(backend)`: the same for quantization-aware training.
pub fn default_qat_qconfig_mapping(backend: &str) -> Option<QConfigMapping> {
    let qconfig = match backend {
        "qnnpack" => QConfig::QNNPACK_QAT,
        "x86" | "fbgemm" => QConfig::X86_QAT,
        "onednn" => QConfig::ONEDNN_QAT,
        _ => return None,
    };
    let fake = FakeQuantize::FixedQParams;
    Some(mapping(
        backend,
        qconfig,
        QConfig::WEIGHT_FAKE_QUANT,
        Some(fake),
    ))
}

/// `_get_default_qconfig_mapping`: what both have in common. `weight` observes where there can be no weight for each
/// channel.
fn mapping(
    backend: &str,
    qconfig: QConfig,
    weight: ObserverSpec,
    fake_quantize: Option<FakeQuantize>,
) -> QConfigMapping {
    // fbgemm's transposed convolution takes no per-channel weights
    let transpose = match backend {
        "x86" | "fbgemm" => QConfig { weight, ..qconfig },
        _ => qconfig,
    };
    let layer_norm = QConfig {
        weight: ObserverSpec::placeholder(crate::DType::float32),
        ..qconfig
    };
    let mut mapping = QConfigMapping::new()
        .global(Some(qconfig))
        .object_type("reshape", Some(QConfig::DEFAULT_REUSE_INPUT));
    for path in CONV_TRANSPOSES {
        mapping = mapping.object_type(path, Some(transpose));
    }
    mapping = mapping
        .object_type("torch.nn.functional.layer_norm", Some(layer_norm))
        .object_type("torch.nn.LayerNorm", Some(layer_norm))
        .object_type("torch.nn.PReLU", Some(QConfig::DEFAULT_QUINT8_WEIGHT));
    for (path, activation) in FIXED_QPARAMS {
        let activation = ObserverSpec {
            fake_quantize,
            ..*activation
        };
        mapping = mapping.object_type(path, Some(QConfig { activation, weight }));
    }
    mapping
}

/// PyTorch's `_get_default_qconfig_mapping_with_default_qconfig`: the backend's mapping with another
/// qconfig for everything but the operators with fixed parameters.
pub fn qconfig_mapping_with(backend: &str, qconfig: QConfig) -> Option<QConfigMapping> {
    let mut mapping = default_qconfig_mapping(backend)?.global(Some(qconfig));
    for (path, old) in &mut mapping.object_types {
        if !FIXED_QPARAMS.iter().any(|(fixed, _)| fixed == path) {
            *old = Some(qconfig);
        }
    }
    Some(mapping)
}
