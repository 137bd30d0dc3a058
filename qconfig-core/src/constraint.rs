//! Dtypes with bounds, and the rules that a bound must obey.

use core::fmt;

use crate::DType;

/// Where a statement of a spec stands in the source.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Origin {
    /// The file as the compiler names it; empty where a config did not come from source.
    pub file: &'static str,
    /// Line, from 1; 0 where unknown.
    pub line: u32,
}

/// `backends/qnnpack.rs:12`, or `nowhere` where a config did not come from source.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return f.write_str("nowhere");
        }
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A dtype and the bounds a backend sets on its quantization parameters
/// (`torch.ao.quantization.backend_config.DTypeWithConstraints`).
///
/// ```
/// use qconfig_core::{DType, DTypeWithConstraints};
/// const ACT: DTypeWithConstraints =
///     DTypeWithConstraints { scale_min_lower_bound: Some(1.0 / 4096.0), ..DTypeWithConstraints::new(DType::qint8) };
/// assert!(ACT.problems().is_empty());
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct DTypeWithConstraints {
    /// The dtype.
    pub dtype: DType,
    /// The smallest quantized value that may be used.
    pub quant_min_lower_bound: Option<i64>,
    /// The largest quantized value that may be used.
    pub quant_max_upper_bound: Option<i64>,
    /// The smallest scale that may occur.
    pub scale_min_lower_bound: Option<f64>,
    /// The largest scale that may occur.
    pub scale_max_upper_bound: Option<f64>,
    /// The only scale allowed.
    pub scale_exact_match: Option<f64>,
    /// The only zero point allowed.
    pub zero_point_exact_match: Option<i64>,
    /// The name the spec gives it, if it does.
    pub name: Option<&'static str>,
    /// Where its bounds are written.
    pub origin: Origin,
}

/// A power of two as one: `2^-12`.
struct Scale(f64);

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0.to_bits();
        let is_power = bits & ((1 << 52) - 1) == 0 && self.0 > 0.0 && self.0 < 1.0;
        if is_power && bits >> 52 != 0 {
            write!(f, "2^{}", (bits >> 52) as i64 - 1023)
        } else {
            write!(f, "{}", self.0)
        }
    }
}

/// `qint8, -127..=127, scale >= 2^-12`
impl fmt::Display for DTypeWithConstraints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.dtype)?;
        match (self.quant_min_lower_bound, self.quant_max_upper_bound) {
            (None, None) => {}
            (Some(min), Some(max)) => write!(f, ", {min}..={max}")?,
            (Some(min), None) => write!(f, ", {min}..")?,
            (None, Some(max)) => write!(f, ", ..={max}")?,
        }
        let scales = [
            (">=", self.scale_min_lower_bound),
            ("<=", self.scale_max_upper_bound),
            ("==", self.scale_exact_match),
        ];
        for (sign, scale) in scales {
            if let Some(scale) = scale {
                write!(f, ", scale {sign} {}", Scale(scale))?;
            }
        }
        match self.zero_point_exact_match {
            Some(zero_point) => write!(f, ", zero point {zero_point}"),
            None => Ok(()),
        }
    }
}

impl DTypeWithConstraints {
    /// The dtype without bounds.
    pub const fn new(dtype: DType) -> Self {
        Self {
            dtype,
            quant_min_lower_bound: None,
            quant_max_upper_bound: None,
            scale_min_lower_bound: None,
            scale_max_upper_bound: None,
            scale_exact_match: None,
            zero_point_exact_match: None,
            name: None,
            origin: Origin { file: "", line: 0 },
        }
    }

    /// Every rule that the bounds break; the macro and a config read from JSON both ask here.
    pub const fn problems(&self) -> Problems {
        let mut found = Problems::NONE;
        match (self.quant_min_lower_bound, self.quant_max_upper_bound) {
            (Some(min), Some(max)) => found = quant_problems(self.dtype, min, max, found),
            (None, None) => {}
            (Some(_), None) | (None, Some(_)) => found = found.with(BoundProblem::OneSidedQuant),
        }
        let scales = [
            self.scale_min_lower_bound,
            self.scale_max_upper_bound,
            self.scale_exact_match,
        ];
        let mut i = 0;
        while i < scales.len() {
            if let Some(scale) = scales[i] {
                found = scale_problems(scale, found);
            }
            i += 1;
        }
        if let (Some(min), Some(max)) = (self.scale_min_lower_bound, self.scale_max_upper_bound)
            && min > max
        {
            found = found.with(BoundProblem::ScaleContradiction { min, max });
        }
        match (self.scale_exact_match, self.zero_point_exact_match) {
            (Some(_), None) => found = found.with(BoundProblem::ExactScaleAlone),
            (None, Some(_)) => found = found.with(BoundProblem::ExactZeroPointAlone),
            _ => {}
        }
        if self.scale_exact_match.is_some() && self.scale_min_lower_bound.is_some() {
            found = found.with(BoundProblem::ExactScaleWithMinimum);
        }
        if self.scale_exact_match.is_some() && self.scale_max_upper_bound.is_some() {
            found = found.with(BoundProblem::ExactScaleWithMaximum);
        }
        if let (Some(zero_point), Some((low, high))) =
            (self.zero_point_exact_match, self.allowed_range())
            && (zero_point < low || zero_point > high)
        {
            found = found.with(BoundProblem::ZeroPointOutside {
                zero_point,
                low,
                high,
            });
        }
        found
    }

    /// The quantized values that remain: the dtype's range cut by the bounds.
    pub const fn allowed_range(&self) -> Option<(i64, i64)> {
        let Some((mut low, mut high)) = self.dtype.quant_range() else {
            return None;
        };
        if let Some(min) = self.quant_min_lower_bound
            && min > low
        {
            low = min;
        }
        if let Some(max) = self.quant_max_upper_bound
            && max < high
        {
            high = max;
        }
        Some((low, high))
    }
}

const fn quant_problems(dtype: DType, min: i64, max: i64, found: Problems) -> Problems {
    if min > max {
        return found.with(BoundProblem::EmptyQuant { min, max });
    }
    match dtype.quant_range() {
        None => found.with(BoundProblem::QuantOnUnquantized { dtype }),
        Some((low, high)) if max < low || min > high => found.with(BoundProblem::QuantDisjoint {
            min,
            max,
            dtype,
            low,
            high,
        }),
        Some((low, high)) if min < low || max > high => {
            found.with(BoundProblem::QuantWithoutEffect { dtype, low, high })
        }
        Some(_) => found,
    }
}

const fn scale_problems(scale: f64, found: Problems) -> Problems {
    if !(scale.is_finite() && scale > 0.0) {
        found.with(BoundProblem::ScaleNotPositive)
    } else if !((scale as f32).is_finite() && scale as f32 > 0.0) {
        found.with(BoundProblem::ScaleNotInF32 { scale })
    } else {
        found
    }
}

/// A rule that bounds break.
#[derive(Clone, Copy, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BoundProblem {
    /// Minimum above maximum.
    #[error("`quant in {min}..={max}` is empty")]
    EmptyQuant {
        /// Lower bound.
        min: i64,
        /// Upper bound.
        max: i64,
    },
    /// No value of the dtype is left.
    #[error("`quant in {min}..={max}` leaves no value of `{dtype}` ({low}..={high})")]
    QuantDisjoint {
        /// Lower bound.
        min: i64,
        /// Upper bound.
        max: i64,
        /// The dtype.
        dtype: DType,
        /// Its smallest value.
        low: i64,
        /// Its largest value.
        high: i64,
    },
    /// A bound beyond the dtype's own (a lint: PyTorch's older specs have such bounds).
    #[error("a bound outside `{dtype}` has no effect: it is {low}..={high}")]
    QuantWithoutEffect {
        /// The dtype.
        dtype: DType,
        /// Its smallest value.
        low: i64,
        /// Its largest value.
        high: i64,
    },
    /// PyTorch compares ranges only where both bounds are set.
    #[error("`quant` needs both bounds")]
    OneSidedQuant,
    /// Integers bound a float.
    #[error("`{dtype}` is not quantized, so `quant in` has no meaning")]
    QuantOnUnquantized {
        /// The dtype.
        dtype: DType,
    },
    /// Zero, negative, NaN or infinite.
    #[error("scale bound must be a positive finite number")]
    ScaleNotPositive,
    /// Underflows to zero or overflows.
    #[error("scale bound {scale:e} is not representable as f32")]
    ScaleNotInF32 {
        /// The bound.
        scale: f64,
    },
    /// Minimum above maximum.
    #[error("`scale >= {min}` contradicts `scale <= {max}`")]
    ScaleContradiction {
        /// Lower bound.
        min: f64,
        /// Upper bound.
        max: f64,
    },
    /// PyTorch checks scale and zero point only as a pair.
    #[error("an exact scale needs an exact zero point")]
    ExactScaleAlone,
    /// PyTorch checks scale and zero point only as a pair.
    #[error("an exact zero point needs an exact scale")]
    ExactZeroPointAlone,
    /// Two ways of saying the minimum.
    #[error("an exact scale already fixes the minimum")]
    ExactScaleWithMinimum,
    /// Two ways of saying the maximum.
    #[error("an exact scale already fixes the maximum")]
    ExactScaleWithMaximum,
    /// The zero point is no quantized value that the bounds allow.
    #[error("zero point {zero_point} is outside {low}..={high}")]
    ZeroPointOutside {
        /// The zero point.
        zero_point: i64,
        /// Smallest allowed value.
        low: i64,
        /// Largest allowed value.
        high: i64,
    },
}

impl BoundProblem {
    /// Whether it is only worth a warning.
    pub const fn is_lint(&self) -> bool {
        matches!(self, BoundProblem::QuantWithoutEffect { .. })
    }
}

/// The problems of one dtype, in the order found; a fixed array, so that constants can hold it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Problems {
    found: [Option<BoundProblem>; Problems::MOST],
    len: usize,
}

impl Problems {
    /// More cannot occur together: one of the range, one of each of three scales, six of pairs.
    const MOST: usize = 10;
    const NONE: Problems = Problems {
        found: [None; Problems::MOST],
        len: 0,
    };

    const fn with(mut self, problem: BoundProblem) -> Self {
        if self.len < Self::MOST {
            self.found[self.len] = Some(problem);
            self.len += 1;
        }
        self
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The problems.
    pub fn iter(&self) -> impl Iterator<Item = BoundProblem> + '_ {
        self.found.iter().flatten().copied()
    }
}
