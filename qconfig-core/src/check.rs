//! The checks that `backend_config!` leaves to constants, because they need facts of other crates:
//! what a kernel takes, which part an operator plays, the value of a named bound.
//!
//! Each is called from a `const _: () = ..` whose span is the word that is wrong; `#[track_caller]`
//! puts the error there.
#![allow(
    clippy::panic,
    reason = "a panic in a constant is how it stops the compiler"
)]

use crate::operator::Spelling;
use crate::{DType, DTypeConfig, DTypeWithConstraints, Kernel, PatternProblem, chain_problem};

/// `_` in the type of a tree pattern.
#[derive(Clone, Copy, Debug)]
pub struct Any;

/// A number in the type of a tree pattern.
#[derive(Clone, Copy, Debug)]
pub struct Constant<const VALUE: i64>;

/// A message put together in a constant, where `format!` cannot be called.
struct Text {
    bytes: [u8; Text::MOST],
    len: usize,
}

impl Text {
    const MOST: usize = 512;

    const fn new() -> Self {
        Self {
            bytes: [0; Self::MOST],
            len: 0,
        }
    }

    const fn with(mut self, text: &str) -> Self {
        let text = text.as_bytes();
        let mut i = 0;
        while i < text.len() && self.len < Self::MOST {
            self.bytes[self.len] = text[i];
            self.len += 1;
            i += 1;
        }
        self
    }

    const fn with_int(self, value: i64) -> Self {
        let mut digits = [0u8; 20];
        let mut at = digits.len();
        let mut rest = value.unsigned_abs();
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let (_, digits) = digits.split_at(at);
        let text = if value < 0 { self.with("-") } else { self };
        match core::str::from_utf8(digits) {
            Ok(digits) => text.with(digits),
            Err(_) => text,
        }
    }

    /// `2^-12` where the value is a power of two, else in billionths.
    const fn with_scale(self, value: f64) -> Self {
        let bits = value.to_bits();
        if bits & ((1 << 52) - 1) == 0 && bits >> 52 != 0 {
            return self.with("2^").with_int((bits >> 52) as i64 - 1023);
        }
        self.with_int((value * 1e9) as i64).with("e-9")
    }

    const fn with_dtypes(self, dtypes: &[DType]) -> Self {
        let mut text = self;
        let mut i = 0;
        while i < dtypes.len() {
            if i > 0 {
                text = text.with(" or ");
            }
            text = text.with("`").with(dtypes[i].name()).with("`");
            i += 1;
        }
        text
    }

    const fn as_str(&self) -> &str {
        let (text, _) = self.bytes.split_at(self.len);
        match core::str::from_utf8(text) {
            Ok(text) => text,
            Err(_) => "",
        }
    }
}

const fn contains(dtypes: &[DType], dtype: DType) -> bool {
    let mut i = 0;
    while i < dtypes.len() {
        if dtypes[i] as u8 == dtype as u8 {
            return true;
        }
        i += 1;
    }
    false
}

/// What is wrong with one dtype of a config, as far as a kernel's signature is concerned.
const fn dtype_problem(
    start: Text,
    config: &str,
    place: &str,
    takes: &[DType],
    found: Option<DType>,
) -> Option<Text> {
    match found {
        Some(found) if contains(takes, found) => None,
        None if takes.is_empty() => None,
        Some(found) if takes.is_empty() => Some(
            start
                .with(" takes no ")
                .with(place)
                .with(", but `")
                .with(config)
                .with("` has `")
                .with(found.name())
                .with("`"),
        ),
        Some(found) => Some(
            start
                .with(" takes ")
                .with_dtypes(takes)
                .with(" ")
                .with(place)
                .with(", but `")
                .with(config)
                .with("` has `")
                .with(found.name())
                .with("`"),
        ),
        None => Some(
            start
                .with(" takes ")
                .with_dtypes(takes)
                .with(" ")
                .with(place)
                .with(", but `")
                .with(config)
                .with("` has none"),
        ),
    }
}

const fn base(dtype: &Option<DTypeWithConstraints>) -> Option<DType> {
    match dtype {
        Some(dtype) => Some(dtype.dtype),
        None => None,
    }
}

/// Whether every quantized dtype among these guarantees a scale of at least `needed`.
const fn scale_guaranteed(dtype: &Option<DTypeWithConstraints>, needed: f64) -> bool {
    match dtype {
        Some(dtype) if dtype.dtype.is_quantized() => {
            match (dtype.scale_min_lower_bound, dtype.scale_exact_match) {
                (Some(bound), _) | (None, Some(bound)) => bound >= needed,
                (None, None) => false,
            }
        }
        _ => true,
    }
}

/// `weighted` is whether the operator has a weight at all: a weight that a config lists for an addition is not looked
/// at.
const fn signature_problem(
    family: &str,
    kernel: &Kernel,
    config: &DTypeConfig,
    weighted: bool,
) -> Option<Text> {
    macro_rules! start {
        () => {
            Text::new().with("kernel family `").with(family).with("`")
        };
    }
    let signature = &kernel.signature;
    let places = [
        ("input", signature.input, base(&config.input)),
        ("output", signature.output, base(&config.output)),
        ("weight", signature.weight, base(&config.weight)),
        ("bias", signature.bias, config.bias),
    ];
    let mut i = 0;
    while i < places.len() {
        let (place, takes, found) = places[i];
        // a bias may be left out: it is then zero; of a weight that stays float nothing need be said
        let is_float = takes.len() == 1 && takes[0].is_float();
        let may_lack = found.is_none() && (i == 3 || (i == 2 && is_float));
        let is_idle = i >= 2 && takes.is_empty() && !weighted;
        if !may_lack && !is_idle {
            let problem = dtype_problem(start!(), config.name, place, takes, found);
            if problem.is_some() {
                return problem;
            }
        }
        i += 1;
    }
    if signature.is_dynamic != config.is_dynamic {
        let (takes, is) = if signature.is_dynamic {
            ("quantizes activations while it runs", "static")
        } else {
            ("takes quantized activations", "dynamic")
        };
        return Some(
            start!()
                .with(" ")
                .with(takes)
                .with(", but `")
                .with(config.name)
                .with("` is ")
                .with(is),
        );
    }
    if let (Some((low, high)), Some(weight)) = (signature.weight_range, &config.weight)
        && let Some((found_low, found_high)) = weight.allowed_range()
        && (found_low < low || found_high > high)
    {
        return Some(
            start!()
                .with(" needs weights in ")
                .with_int(low)
                .with("..=")
                .with_int(high)
                .with(", but `")
                .with(config.name)
                .with("` allows ")
                .with_int(if found_low < low {
                    found_low
                } else {
                    found_high
                }),
        );
    }
    if let Some(needed) = signature.scale_min
        && !(scale_guaranteed(&config.input, needed)
            && scale_guaranteed(&config.output, needed)
            && scale_guaranteed(&config.weight, needed))
    {
        return Some(
            start!()
                .with(" needs `scale >= ")
                .with_scale(needed)
                .with("`, but `")
                .with(config.name)
                .with("` does not guarantee it"),
        );
    }
    None
}

/// Whether a kernel family takes a dtype config: the dtypes, the range of weights, the scales.
pub const fn accepts(kernel: &Kernel, config: &DTypeConfig) -> bool {
    signature_problem("", kernel, config, true).is_none()
}

/// Stops the compiler where a kernel family does not take a dtype config that it is bound to.
#[track_caller]
pub const fn kernel(family: &str, kernel: &Kernel, config: &DTypeConfig, weighted: bool) {
    if let Some(problem) = signature_problem(family, kernel, config, weighted) {
        panic!("{}", problem.as_str());
    }
}

/// Stops the compiler where a chain of operators is none that can be fused.
#[track_caller]
pub const fn chain(chain: &[&'static Spelling]) {
    let Some(problem) = chain_problem(chain) else {
        return;
    };
    let text = Text::new();
    let text = match problem {
        PatternProblem::CannotBegin { operator } => text
            .with("`")
            .with(operator)
            .with("` cannot start a fused pattern"),
        PatternProblem::MustBeLast { operator } => text
            .with("`")
            .with(operator)
            .with("` must be last in a fused pattern"),
        PatternProblem::CannotFollow { operator } => text
            .with("`")
            .with(operator)
            .with("` cannot follow another operator in a fused pattern"),
        PatternProblem::Ranks {
            first,
            second,
            ranks,
        } => text
            .with("`")
            .with(first)
            .with(" + ")
            .with(second)
            .with("`: ranks differ (")
            .with_int(ranks.0 as i64)
            .with(" and ")
            .with_int(ranks.1 as i64)
            .with(")"),
        _ => text.with(problem.message()),
    };
    panic!("{}", text.as_str());
}

/// Stops the compiler where a named scale bound is no positive number of 32 bits.
#[track_caller]
pub const fn scale(name: &str, value: f64) {
    if !(value.is_finite() && value > 0.0 && (value as f32).is_finite() && value as f32 > 0.0) {
        panic!(
            "{}",
            Text::new()
                .with("`")
                .with(name)
                .with("` must be a positive finite f32")
                .as_str()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_holds_numbers_and_scales() {
        let text = Text::new()
            .with_int(-128)
            .with(" ")
            .with_scale(1.0 / 4096.0);
        assert_eq!(text.as_str(), "-128 2^-12");
        assert_eq!(Text::new().with_scale(0.3).as_str(), "300000000e-9");
        assert_eq!(
            Text::new().with_int(i64::MIN).as_str(),
            "-9223372036854775808"
        );
    }

    #[test]
    fn a_long_text_is_cut() {
        let long = Text::new();
        let long = (0..100).fold(long, |text, _| text.with("0123456789"));
        assert_eq!(long.as_str().len(), Text::MOST);
    }
}
