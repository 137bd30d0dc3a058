//! Whether a backend quantizes a pattern under a qconfig, and if not, why.
//!
//! The decisions are those of PyTorch's `prepare`: `_qconfig_satisfies_dtype_config_constraints` for
//! bounds, `_is_pattern_dtype_config_and_qconfig_supported_by_backend` for a pattern.

use alloc::vec::Vec;
use core::fmt;

use crate::constraint::{DTypeWithConstraints, Origin};
use crate::operator::SpellingKind;
use crate::pattern::{BackendConfig, BackendPatternConfig};
use crate::qconfig::{ObserverKind, ObserverSpec, QConfig};
use crate::{DType, DTypeConfig};

/// Which part of a dtype config a rule speaks of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Place {
    /// Activations that come in.
    Input,
    /// The activation that goes out.
    Output,
    /// The weight.
    Weight,
    /// The bias.
    Bias,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Place::Input => "input",
            Place::Output => "output",
            Place::Weight => "weight",
            Place::Bias => "bias",
        })
    }
}

/// The rule that a qconfig breaks.
#[derive(Clone, Copy, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Rule {
    /// Another dtype than the config's.
    #[error("the qconfig gives {found}, the backend takes {wanted}")]
    DType {
        /// The qconfig's.
        found: DType,
        /// The config's.
        wanted: DType,
    },
    /// One is dynamic, the other static.
    #[error("the qconfig is {}, the config is {}", dynamic(*.found), dynamic(!*.found))]
    Dynamic {
        /// Whether the qconfig is dynamic.
        found: bool,
    },
    /// The observer has no range of its own.
    #[error("the observer must say `quant_min` and `quant_max`: the backend takes {min}..={max}")]
    NoRange {
        /// Lower bound.
        min: i64,
        /// Upper bound.
        max: i64,
    },
    /// The observer's range is wider than the backend's.
    #[error("the observer uses {}..={}, the backend takes {}..={}", found.0, found.1, bound.0, bound.1)]
    Range {
        /// The observer's range.
        found: (i64, i64),
        /// The backend's.
        bound: (i64, i64),
    },
    /// The observer has no smallest scale.
    #[error("the observer must say `eps`: the backend takes scales from {bound:e}")]
    NoScaleMin {
        /// The backend's smallest scale.
        bound: f64,
    },
    /// The observer may give a scale below the backend's.
    #[error(
        "the observer's smallest scale (eps) is {found:e}, the backend takes scales from {bound:e}"
    )]
    ScaleMin {
        /// The observer's `eps`.
        found: f64,
        /// The backend's smallest scale.
        bound: f64,
    },
    /// The operator's parameters are fixed, the observer's are not.
    #[error(
        "the operator has fixed parameters (scale {scale:e}, zero point {zero_point}); the observer computes its own"
    )]
    NotFixed {
        /// The backend's scale.
        scale: f64,
        /// The backend's zero point.
        zero_point: i64,
    },
    /// The operator answers with something else than a tensor: its size.
    #[error("its output is no tensor")]
    NoTensor,
    /// The observer's fixed parameters are others.
    #[error("the observer's fixed scale {} and zero point {} are not the backend's {} and {}", found.0, found.1, bound.0, bound.1)]
    FixedQParams {
        /// The observer's scale and zero point.
        found: (f64, i64),
        /// The backend's.
        bound: (f64, i64),
    },
}

fn dynamic(is: bool) -> &'static str {
    if is { "dynamic" } else { "static" }
}

/// Why one dtype config does not apply.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Reason {
    /// Its name.
    pub dtype_config: &'static str,
    /// Which part of it.
    pub place: Place,
    /// The rule.
    pub rule: Rule,
    /// Where the bound is written.
    pub origin: Origin,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.dtype_config, self.place, self.rule)?;
        if self.origin.line > 0 {
            write!(f, " ({})", self.origin)?;
        }
        Ok(())
    }
}

/// The outcome for a pattern.
#[derive(Clone, PartialEq, Debug)]
pub struct Verdict {
    /// Position of the first dtype config that applies.
    pub dtype_config: Option<usize>,
    /// Why each config before it (or each, if none applies) does not.
    pub reasons: Vec<Reason>,
}

impl Verdict {
    /// Whether the pattern is quantized.
    pub fn is_supported(&self) -> bool {
        self.dtype_config.is_some()
    }
}

/// Checks bounds as PyTorch's `_qconfig_satisfies_dtype_config_constraints`: where the observer's
/// dtype is another than the constraint's, nothing is compared.
///
/// # Errors
/// The first [`Rule`] broken.
pub fn satisfies(
    qconfig: &QConfig,
    observer: &ObserverSpec,
    constraint: &DTypeWithConstraints,
) -> Result<(), Rule> {
    if observer.dtype != constraint.dtype {
        return Ok(());
    }
    if let (Some(min), Some(max)) = (
        constraint.quant_min_lower_bound,
        constraint.quant_max_upper_bound,
    ) {
        match observer.quant_range() {
            None => return Err(Rule::NoRange { min, max }),
            Some(found) if found.0 < min || found.1 > max => {
                return Err(Rule::Range {
                    found,
                    bound: (min, max),
                });
            }
            Some(_) => {}
        }
    }
    if let Some(bound) = constraint.scale_min_lower_bound {
        match observer.eps {
            None => return Err(Rule::NoScaleMin { bound }),
            Some(found) if found < bound => return Err(Rule::ScaleMin { found, bound }),
            Some(_) => {}
        }
    }
    if let (Some(scale), Some(zero_point)) = (
        constraint.scale_exact_match,
        constraint.zero_point_exact_match,
    ) {
        // PyTorch lets the two fp16 qconfigs pass
        if *qconfig == QConfig::FLOAT16_STATIC || *qconfig == QConfig::FLOAT16_DYNAMIC {
            return Ok(());
        }
        match observer.kind {
            ObserverKind::FixedQParams {
                scale: found,
                zero_point: at,
            } if found == scale && at == zero_point => {}
            ObserverKind::FixedQParams {
                scale: found,
                zero_point: at,
            } => {
                return Err(Rule::FixedQParams {
                    found: (found, at),
                    bound: (scale, zero_point),
                });
            }
            _ => return Err(Rule::NotFixed { scale, zero_point }),
        }
    }
    Ok(())
}

/// Why one dtype config does not apply, or `None` where it does. `weight` and `bias` say whether they
/// are looked at, `tensor` whether the output is one.
fn reason(
    config: &DTypeConfig,
    qconfig: &QConfig,
    (weight, bias, tensor): (bool, bool, bool),
) -> Option<Reason> {
    let because = |place, rule, origin: Origin| {
        let origin = if origin.line > 0 {
            origin
        } else {
            config.origin
        };
        Some(Reason {
            dtype_config: config.name,
            place,
            rule,
            origin,
        })
    };
    let (activation, observed_weight) = (&qconfig.activation, &qconfig.weight);
    if let Some(input) = &config.input {
        if activation.dtype != input.dtype {
            let rule = Rule::DType {
                found: activation.dtype,
                wanted: input.dtype,
            };
            return because(Place::Input, rule, input.origin);
        }
        if activation.is_dynamic != config.is_dynamic {
            return because(
                Place::Input,
                Rule::Dynamic {
                    found: activation.is_dynamic,
                },
                config.origin,
            );
        }
        if let Err(rule) = satisfies(qconfig, activation, input) {
            return because(Place::Input, rule, input.origin);
        }
    }
    if let (true, Some(wanted)) = (weight, &config.weight) {
        if observed_weight.dtype != wanted.dtype {
            let rule = Rule::DType {
                found: observed_weight.dtype,
                wanted: wanted.dtype,
            };
            return because(Place::Weight, rule, wanted.origin);
        }
        if let Err(rule) = satisfies(qconfig, observed_weight, wanted) {
            return because(Place::Weight, rule, wanted.origin);
        }
    }
    if let (true, Some(wanted)) = (bias, config.bias) {
        let found = if activation.dtype == DType::float16
            && observed_weight.dtype == DType::float16
            && !activation.is_dynamic
        {
            DType::float16
        } else {
            DType::float32
        };
        if found != wanted {
            return because(Place::Bias, Rule::DType { found, wanted }, config.origin);
        }
    }
    if let Some(output) = &config.output {
        if !tensor {
            return because(Place::Output, Rule::NoTensor, config.origin);
        }
        let found = if activation.is_dynamic {
            DType::float32
        } else {
            activation.dtype
        };
        if found != output.dtype {
            return because(
                Place::Output,
                Rule::DType {
                    found,
                    wanted: output.dtype,
                },
                output.origin,
            );
        }
        if let Err(rule) = satisfies(qconfig, activation, output) {
            return because(Place::Output, rule, output.origin);
        }
    }
    None
}

impl BackendConfig {
    /// Which dtype config of a pattern applies under a qconfig, with the reasons against the others:
    /// PyTorch's decision.
    ///
    /// Weight and bias count only where they are arguments of the pattern's first operator, which
    /// PyTorch reads from what the backend says of that operator alone. It does not look at a module's;
    /// [`BackendPatternConfig::strict_verdict`] does.
    pub fn verdict(&self, config: &BackendPatternConfig, qconfig: &QConfig) -> Verdict {
        let head = config.head().filter(|head| {
            matches!(
                head.kind,
                SpellingKind::Functional
                    | SpellingKind::Function
                    | SpellingKind::Operator
                    | SpellingKind::Method
                    | SpellingKind::Aten
            )
        });
        let arguments = head
            .and_then(|head| self.find(&[head]))
            .map_or(&[][..], |alone| alone.input_type_to_index);
        let argument = |name| arguments.iter().any(|(found, _)| *found == name);
        config.first(qconfig, argument("weight"), argument("bias"))
    }
}

impl BackendPatternConfig {
    /// As [`BackendConfig::verdict`], but weight and bias are always held against the dtype config:
    /// what a kernel needs to be sure of.
    pub fn strict_verdict(&self, qconfig: &QConfig) -> Verdict {
        self.first(qconfig, true, true)
    }

    /// The first dtype config that nothing speaks against.
    fn first(&self, qconfig: &QConfig, weight: bool, bias: bool) -> Verdict {
        // PyTorch knows `size` by name (`all_node_args_have_no_tensors`)
        let tensor = self.head().is_none_or(|head| head.path != "size");
        let mut reasons = Vec::new();
        for (at, config) in self.dtype_configs.iter().enumerate() {
            match reason(config, qconfig, (weight, bias, tensor)) {
                None => {
                    return Verdict {
                        dtype_config: Some(at),
                        reasons,
                    };
                }
                Some(reason) => reasons.push(reason),
            }
        }
        Verdict {
            dtype_config: None,
            reasons,
        }
    }
}
