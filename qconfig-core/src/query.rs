//! The questions that `torch.ao.quantization.backend_config.utils` answers, over the static tables: no heap, in the
//! order of the patterns.
//!
//! ```
//! # use qconfig_core::{BackendConfig, PatternIndex};
//! # static EMPTY: BackendConfig =
//! #     BackendConfig { name: "", configs: &[], index: PatternIndex::new(&[]), kernels: &[] };
//! # let backend = &EMPTY;
//! for (module, qat) in backend.module_to_qat_module() {
//!     println!("{module} is trained as {qat}");
//! }
//! ```

use core::fmt;

use crate::pattern::{BackendConfig, BackendPatternConfig, Fuser, Pattern};
use crate::{DTypeConfig, Spelling};

type Module = &'static Spelling;

impl BackendConfig {
    fn all<T>(
        &self,
        of: impl Fn(&'static BackendPatternConfig) -> Option<T>,
    ) -> impl Iterator<Item = (Pattern, T)> {
        let configs = self.configs.iter();
        configs.filter_map(move |config| Some((config.pattern, of(config)?)))
    }

    /// Each class once, where it first occurs.
    fn classes(
        &self,
        of: fn(&'static BackendPatternConfig) -> Option<Module>,
    ) -> impl Iterator<Item = Module> {
        let configs = self.configs;
        configs.iter().enumerate().filter_map(move |(at, config)| {
            let class = of(config)?;
            let before = configs[..at].iter().filter_map(of);
            (!before.into_iter().any(|earlier| earlier == class)).then_some(class)
        })
    }

    /// The dtype configs of each pattern (`get_pattern_to_dtype_configs`).
    pub fn pattern_to_dtype_configs(
        &self,
    ) -> impl Iterator<Item = (Pattern, &'static [DTypeConfig])> {
        self.all(|config| Some(config.dtype_configs))
    }

    /// Every class for quantization-aware training (`get_qat_module_classes`).
    pub fn qat_module_classes(&self) -> impl Iterator<Item = Module> {
        self.classes(|config| config.qat_module)
    }

    /// Every fused class (`get_fused_module_classes`).
    pub fn fused_module_classes(&self) -> impl Iterator<Item = Module> {
        self.classes(|config| config.fused_module)
    }

    /// Which positional argument is the weight, the bias, for each pattern (`get_pattern_to_input_type_to_index`).
    pub fn pattern_to_input_type_to_index(
        &self,
    ) -> impl Iterator<Item = (Pattern, &'static [(&'static str, u8)])> {
        self.all(|config| Some(config.input_type_to_index))
    }

    /// What convert puts in the place of a float module (`get_root_module_to_quantized_reference_module`); each module
    /// once, of several answers the last.
    pub fn root_module_to_quantized_reference_module(
        &self,
    ) -> impl Iterator<Item = (Module, Module)> {
        fn pair(config: &BackendPatternConfig) -> Option<(Module, Module)> {
            Some((config.root_module?, config.reference_quantized_module?))
        }
        let configs = self.configs;
        configs.iter().enumerate().filter_map(move |(at, config)| {
            let (root, _) = pair(config)?;
            let mut before = configs[..at].iter().filter_map(pair);
            if before.any(|(earlier, _)| earlier == root) {
                return None;
            }
            let mut all = configs[at..].iter().filter_map(pair);
            all.rfind(|(later, _)| *later == root)
        })
    }

    /// How each pattern that is fused is (`get_fuser_method_mapping`).
    pub fn fuser_method_mapping(&self) -> impl Iterator<Item = (Pattern, Fuser)> {
        self.all(|config| config.fuser)
    }

    /// The class for quantization-aware training of each pattern that has one (`get_module_to_qat_module`).
    pub fn module_to_qat_module(&self) -> impl Iterator<Item = (Pattern, Module)> {
        self.all(|config| config.qat_module)
    }

    /// The operands to go through from a tree pattern's last operator to its root, where the backend says so
    /// (`get_fusion_pattern_to_root_node_getter`).
    pub fn fusion_pattern_to_root_node_getter(
        &self,
    ) -> impl Iterator<Item = (Pattern, &'static [u8])> {
        self.all(|config| config.root_node)
    }

    /// The same for the further inputs of a fused module (`get_fusion_pattern_to_extra_inputs_getter`).
    pub fn fusion_pattern_to_extra_inputs_getter(
        &self,
    ) -> impl Iterator<Item = (Pattern, &'static [&'static [u8]])> {
        self.all(|config| (!config.extra_inputs.is_empty()).then_some(config.extra_inputs))
    }
}

/// An entry made for reading (`entry_to_pretty_str`).
impl fmt::Display for BackendPatternConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.pattern)?;
        for config in self.dtype_configs {
            writeln!(f, "  {config}")?;
        }
        writeln!(f, "  observation: {}", self.observation_type.name())?;
        for (count, kind) in self.num_tensor_args_to_observation_type {
            writeln!(f, "    of {count} tensors: {}", kind.name())?;
        }
        for (name, index) in self.input_type_to_index {
            writeln!(f, "  {name}: argument {index}")?;
        }
        let modules = [
            ("root", self.root_module),
            ("qat", self.qat_module),
            ("reference", self.reference_quantized_module),
            ("fused", self.fused_module),
        ];
        for (role, module) in modules {
            if let Some(module) = module {
                writeln!(f, "  {role}: {}", module.path)?;
            }
        }
        if let Some(fuser) = self.fuser {
            writeln!(f, "  fuser: {}", fuser.name())?;
        }
        if let Some(path) = self.root_node {
            writeln!(f, "  root node: {path:?}")?;
        }
        if !self.extra_inputs.is_empty() {
            writeln!(f, "  extra inputs: {:?}", self.extra_inputs)?;
        }
        write!(f, "  declared at {}", self.origin)
    }
}
