//! Images of another size.

use qconfig_core::Spelled;
use qconfig_core::kernel::InterpolationMode;
use qconfig_core::operator::{F, method};
use qconfig_quantize::{Interpolate, Movement, Op, Target, ValueId};

use super::{Importer, Place, Refusal, unsupported};
use crate::eval::{Problem, misfit};

impl Importer<'_> {
    pub(super) fn resize(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let attributes = at.attributes();
        let shape = self.shape_of(at, 0)?;
        // `Upsample` and the first `Resize` have the factors second, later ones third
        let is_first = at.node.op_type == "Upsample" || at.opset < 11;
        let factors = match is_first {
            true => match self.optional_weight(at, 1)? {
                Some(factors) => Some(factors.data().to_vec()),
                None => attributes.opt_floats("scales")?.cloned(),
            },
            false => self
                .optional_weight(at, 2)?
                .map(|factors| factors.data().to_vec()),
        };
        let factors = factors.filter(|factors| !factors.is_empty());
        let sizes = self.integers_or(at, 3, "sizes")?;
        for name in [
            "axes",
            "antialias",
            "exclude_outside",
            "keep_aspect_ratio_policy",
        ] {
            let usual = match attributes.iter().find(|(found, _)| *found == name) {
                None | Some((_, crate::attributes::Attribute::Int(0))) => true,
                Some((_, crate::attributes::Attribute::String(text))) => text == "stretch",
                Some(_) => false,
            };
            if !usual {
                return Err(attributes.unsupported(name).into());
            }
        }
        let positions = match is_first {
            true => "asymmetric",
            false => attributes.string("coordinate_transformation_mode", "half_pixel")?,
        };
        let rounding = attributes.string("nearest_mode", "round_prefer_floor")?;
        let mode = match (attributes.string("mode", "nearest")?, positions) {
            ("nearest", "asymmetric") if is_first || rounding == "floor" => {
                InterpolationMode::Nearest
            }
            ("linear", "half_pixel" | "pytorch_half_pixel") => InterpolationMode::Linear,
            ("linear", "align_corners") => InterpolationMode::LinearAligned,
            (mode, positions) => {
                return unsupported(format!(
                    "the mode `{mode}` at `{positions}` positions ({rounding})"
                ));
            }
        };
        let target = match (factors, sizes) {
            (Some(factors), _) => match factors.as_slice() {
                [1.0, 1.0, spatial @ ..] => {
                    Target::Factor(spatial.iter().map(|factor| f64::from(*factor)).collect())
                }
                _ => return unsupported(format!("factors {factors:?}: batch and channels stay")),
            },
            (None, Some(sizes)) => {
                let sizes: Option<Vec<usize>> = sizes
                    .iter()
                    .map(|size| usize::try_from(*size).ok())
                    .collect();
                match sizes.as_deref() {
                    Some([n, c, spatial @ ..]) if shape.get(..2) == Some(&[*n, *c][..]) => {
                        Target::Size(spatial.to_vec())
                    }
                    _ => return unsupported("another batch or other channels"),
                }
            }
            (None, None) => return Err(Problem::Missing(3).into()),
        };
        let input = self.value(at, 0)?;
        let op = Op::Interpolate(Interpolate { mode, target });
        self.add(at, F::interpolate::SPELLING, op, &[input])
    }

    /// `DepthToSpace`: blocks of channels become squares of pixels.
    pub(super) fn depth_to_space(&mut self, at: Place<'_>) -> Result<ValueId, Refusal> {
        let attributes = at.attributes();
        let shape = self.shape_of(at, 0)?;
        let block = usize::try_from(attributes.int("blocksize", 0)?).unwrap_or(0);
        let &[n, c, h, w] = shape.as_slice() else {
            return misfit(format!("an image is [N, C, H, W], not {shape:?}")).map_err(Into::into);
        };
        let square = block.checked_mul(block).filter(|square| *square > 0);
        let Some(square) = square.filter(|square| c.is_multiple_of(*square)) else {
            return Err(attributes.unsupported("blocksize").into());
        };
        let input = self.value(at, 0)?;
        let mode = attributes.string("mode", "DCR")?;
        let order = match mode {
            "CRD" => {
                let op = Op::Movement(Movement::PixelShuffle(block));
                return self.add(at, F::pixel_shuffle::SPELLING, op, &[input]);
            }
            "DCR" => vec![0, 3, 4, 1, 5, 2],
            _ => return Err(attributes.unsupported("mode").into()),
        };
        let name = &at.node.name;
        let split = Op::Reshape(vec![n, block, block, c / square, h, w]);
        let split = self.builder.node(
            &format!("{name}:split"),
            method::reshape::SPELLING,
            split,
            &[input],
        )?;
        let order = Op::Movement(Movement::Permute(order));
        let ordered = self.builder.node(
            &format!("{name}:order"),
            method::permute::SPELLING,
            order,
            &[split],
        )?;
        let merged = Op::Reshape(vec![n, c / square, h * block, w * block]);
        self.add(at, method::reshape::SPELLING, merged, &[ordered])
    }
}
