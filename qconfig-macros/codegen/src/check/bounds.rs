//! Bounds of dtypes: each given once, and `qconfig-core`'s rules.

use qconfig_core::BoundProblem;

use super::names::Names;
use crate::ast::{Attrs, Bound, BoundKind, ScaleValue};
use crate::diag::{Diags, Place, messages};
use crate::model::DTypeModel;

/// Reads the bounds of every `dtype` statement.
pub fn check(names: &mut Names<'_>, diags: &mut Diags) {
    for decl in &mut names.dtypes {
        let mut quiet = Diags::default();
        let diags = if decl.inherited {
            &mut quiet
        } else {
            &mut *diags
        };
        let item = decl.item;
        let mut model = DTypeModel::plain(&item.base);
        model.name = Some(item.ident.to_string());
        model.origin = item.ident.span();
        read(&mut model, &item.bounds, &item.attrs, diags);
        decl.model = model;
    }
}

fn word(kind: &BoundKind) -> &'static str {
    match kind {
        BoundKind::Quant(..) => "quant",
        BoundKind::ScaleMin(_) => "scale >=",
        BoundKind::ScaleMax(_) => "scale <=",
        BoundKind::ScaleExact(_) => "scale ==",
        BoundKind::ZeroPoint(_) => "zero_point",
    }
}

fn text(kind: &BoundKind) -> String {
    match kind {
        BoundKind::Quant(min, max) => {
            let end = |end: &Option<i64>| end.map(|end| end.to_string()).unwrap_or_default();
            format!("quant in {}..={}", end(min), end(max))
        }
        BoundKind::ScaleMin(scale) => format!("scale >= {}", scale.text),
        BoundKind::ScaleMax(scale) => format!("scale <= {}", scale.text),
        BoundKind::ScaleExact(scale) => format!("scale == {}", scale.text),
        BoundKind::ZeroPoint(zero_point) => format!("zero_point == {zero_point}"),
    }
}

/// Whether a problem is about a bound.
fn concerns(problem: &BoundProblem, kind: &BoundKind) -> bool {
    let number = |kind: &BoundKind| match kind {
        BoundKind::ScaleMin(scale) | BoundKind::ScaleMax(scale) | BoundKind::ScaleExact(scale) => {
            match scale.value {
                ScaleValue::Number(value) => Some(value),
                ScaleValue::Path(_) => None,
            }
        }
        _ => None,
    };
    match problem {
        BoundProblem::EmptyQuant { .. }
        | BoundProblem::QuantDisjoint { .. }
        | BoundProblem::QuantWithoutEffect { .. }
        | BoundProblem::OneSidedQuant
        | BoundProblem::QuantOnUnquantized { .. } => matches!(kind, BoundKind::Quant(..)),
        BoundProblem::ScaleNotPositive => {
            number(kind).is_some_and(|value| !(value.is_finite() && value > 0.0))
        }
        BoundProblem::ScaleNotInF32 { scale } => number(kind) == Some(*scale),
        BoundProblem::ScaleContradiction { .. } => {
            matches!(kind, BoundKind::ScaleMin(_) | BoundKind::ScaleMax(_))
        }
        BoundProblem::ExactScaleAlone => matches!(kind, BoundKind::ScaleExact(_)),
        BoundProblem::ExactZeroPointAlone | BoundProblem::ZeroPointOutside { .. } => {
            matches!(kind, BoundKind::ZeroPoint(_))
        }
        BoundProblem::ExactScaleWithMinimum => matches!(kind, BoundKind::ScaleMin(_)),
        BoundProblem::ExactScaleWithMaximum => matches!(kind, BoundKind::ScaleMax(_)),
        _ => false,
    }
}

/// Reads bounds into `model`; a bound that breaks a rule is left out.
pub(crate) fn read(model: &mut DTypeModel, bounds: &[Bound], attrs: &Attrs, diags: &mut Diags) {
    let mut kept: Vec<&Bound> = Vec::new();
    let mut one_sided = None;
    for bound in bounds {
        if let Some(first) = kept
            .iter()
            .find(|kept| word(&kept.kind) == word(&bound.kind))
        {
            let line = first.at.line();
            diags.error(messages::bound_twice(bound.at, word(&bound.kind), line));
            continue;
        }
        kept.push(bound);
        match &bound.kind {
            BoundKind::Quant(Some(min), Some(max)) => model.quant = Some((*min, *max)),
            BoundKind::Quant(..) => one_sided = Some(bound.at),
            BoundKind::ScaleMin(scale) => model.scale_min = Some(scale.clone()),
            BoundKind::ScaleMax(scale) => model.scale_max = Some(scale.clone()),
            BoundKind::ScaleExact(scale) => model.scale_exact = Some(scale.clone()),
            BoundKind::ZeroPoint(zero_point) => model.zero_point = Some(*zero_point),
        }
    }
    if let Some(at) = one_sided {
        diags.error(messages::bound(at, &BoundProblem::OneSidedQuant, &[]));
    }
    let texts: Vec<(Place, String)> = kept
        .iter()
        .map(|bound| (bound.at, text(&bound.kind)))
        .collect();
    rules(model, &kept, &texts, attrs, diags);
    if attrs.allow_lints {
        return;
    }
    for bound in kept {
        let dtype = model.dtype.filter(|dtype| dtype.is_float());
        match (&bound.kind, dtype) {
            (
                BoundKind::ScaleMin(_) | BoundKind::ScaleMax(_) | BoundKind::ScaleExact(_),
                Some(dtype),
            ) => diags.lint("scale_on_float", messages::scale_on_float(bound.at, dtype)),
            (BoundKind::ScaleMax(_), None) => {
                diags.lint("unenforced_maximum_scale", messages::scale_max(bound.at));
            }
            _ => {}
        }
    }
}

fn rules(
    model: &mut DTypeModel,
    kept: &[&Bound],
    texts: &[(Place, String)],
    attrs: &Attrs,
    diags: &mut Diags,
) {
    let Some(constraints) = model.constraints() else {
        // an unknown dtype: rustc says so
        return;
    };
    let mut said_positive = false;
    for problem in constraints.problems().iter() {
        // a scale that is a constant's path counts as given
        let exact_by_path = model.scale_exact.is_some() && constraints.scale_exact_match.is_none();
        if exact_by_path && problem == BoundProblem::ExactZeroPointAlone {
            continue;
        }
        let places: Vec<Place> = kept
            .iter()
            .filter(|bound| concerns(&problem, &bound.kind))
            .map(|bound| bound.at)
            .collect();
        if problem.is_lint() {
            if let (Some(at), false) = (places.first(), attrs.allow_lints) {
                diags.lint(
                    "bound_without_effect",
                    messages::quant_without_effect(*at, &problem),
                );
            }
            continue;
        }
        let at = match problem {
            BoundProblem::ScaleNotPositive if said_positive => continue,
            BoundProblem::ScaleNotPositive => {
                said_positive = true;
                places.first()
            }
            // the second of two that contradict each other is the mistake
            _ => places.last(),
        };
        if let Some(at) = at {
            diags.error(messages::bound(*at, &problem, texts));
        }
    }
}
